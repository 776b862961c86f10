"""How large a pixel is, from the file to what is exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flipagents.cli import main
from flipagents.formats.scans import Scan
from flipagents.formats.spacing import spacing_of
from tests.sources.test_medical import LEVELS, write_dicom

CM, SECONDS = 3, 4  # units of a region's axes


def region(down: float, across: float, unit: int = CM) -> Any:
    pydicom = pytest.importorskip("pydicom")
    one = pydicom.Dataset()
    one.PhysicalUnitsXDirection = one.PhysicalUnitsYDirection = unit
    one.PhysicalDeltaX, one.PhysicalDeltaY = across, down
    return one


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, None),
        ({"PixelSpacing": [0.2, 0.1]}, (0.2, 0.1)),
        ({"PixelSpacing": [0, 0.1]}, None),
        ({"PixelSpacing": [1e-12, 0.1]}, None),
        ({"PixelSpacing": [0.1, 1e9]}, None),
        ({"PixelSpacing": []}, None),
        ({"SequenceOfUltrasoundRegions": [(0.02, 0.01)]}, (0.2, 0.1)),
        ({"SequenceOfUltrasoundRegions": [(0.02, -0.01), (0.02, 0.01)]}, (0.2, 0.1)),
        ({"SequenceOfUltrasoundRegions": [(0.02, 0.01), (0.03, 0.01)]}, None),
        ({"SequenceOfUltrasoundRegions": [(0.02, 0.01, SECONDS)]}, None),
    ],
)
def test_dicom(tags: dict[str, Any], expected: tuple[float, float] | None, tmp_path: Path) -> None:
    if "SequenceOfUltrasoundRegions" in tags:
        tags = {"SequenceOfUltrasoundRegions": [region(*each) for each in tags["SequenceOfUltrasoundRegions"]]}
    found = spacing_of(Scan(write_dicom(tmp_path / "scan", LEVELS, **tags)))
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("unit", "expected"), [("mm", (0.25, 0.5)), ("unknown", None)])
def test_nifti(unit: str, expected: tuple[float, float] | None, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    picture = nibabel.Nifti1Image(LEVELS.T, np.diag([0.5, 0.25, 1, 1]))
    picture.header.set_xyzt_units(unit)
    nibabel.save(picture, tmp_path / "scan.nii.gz")
    assert spacing_of(Scan(tmp_path / "scan.nii.gz")) == expected


def test_other_files_tell_nothing(tmp_path: Path) -> None:
    Image.fromarray(LEVELS).save(tmp_path / "scan.png", dpi=(300, 300))
    assert spacing_of(Scan(tmp_path / "scan.png")) is None
    assert spacing_of(None) is None


def test_what_is_exported_is_as_large_as_its_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nibabel = pytest.importorskip("nibabel")
    scan, out = write_dicom(tmp_path / "scan.dcm", LEVELS, PixelSpacing=[0.2, 0.1]), tmp_path / "out"
    words = ["segment", str(scan), "--box", "5", "6", "25", "20", "--method", "box", "-o", str(out), "--json"]
    assert main([*words, "--export", "nifti"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["spacing_mm"], told["area_px"], told["area_mm2"]) == ([0.2, 0.1], 280, pytest.approx(5.6))
    written = nibabel.load(out / "scan_mask.nii.gz")
    assert written.header.get_zooms() == pytest.approx((0.1, 0.2))
    assert written.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_array_equal(np.asarray(written.dataobj).T, np.asarray(Image.open(out / "scan_mask.png")) // 255)
    across, down = Image.open(out / "scan_mask.png").info["dpi"]
    assert (25.4 / down, 25.4 / across) == pytest.approx((0.2, 0.1), rel=1e-3)


@pytest.mark.parametrize("field", ["pixdim", "srow_x"])
def test_nifti_that_places_no_voxel(field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nibabel = pytest.importorskip("nibabel")
    picture = nibabel.Nifti1Image(LEVELS.T, np.diag([0.5, 0.25, 1, 1]))
    picture.header.set_xyzt_units("mm")
    picture.header[field][1] = np.nan
    data = bytearray(picture.to_bytes())
    place = picture.header.template_dtype.fields[field][1]
    data[place + 4 : place + 8] = np.float32(np.nan).tobytes()
    (tmp_path / "scan.nii").write_bytes(data)
    words = ["segment", str(tmp_path / "scan.nii"), "--box", "5", "6", "25", "20", "--method", "box", "--json"]
    assert main([*words, "-o", str(tmp_path / "out")]) == 0
    json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert main([*words, "-o", str(tmp_path / "out"), "--export", "nifti"]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err
