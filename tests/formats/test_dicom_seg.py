"""DICOM Segmentations, read back by another library than the one that wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flipagents.cli import main
from flipagents.compare.methods import make_method, run_method
from flipagents.formats.dicom_seg import film_seg_bytes, seg_bytes
from flipagents.formats.scans import Scan
from flipenv.errors import ImageError, MaskError
from flipenv.types import Case
from tests.sources.test_medical import write_dicom

pytest.importorskip("highdicom", reason="DICOM Segmentations need the extra seg")
pydicom = pytest.importorskip("pydicom")


def with_study(path: Path, pixels: np.ndarray, **tags: Any) -> Path:
    study = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4", "PatientID": "P1", "Modality": "US"}
    empty = ("PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime")
    rest: dict[str, Any] = dict.fromkeys((*empty, "AccessionNumber", "ReferringPhysicianName"), "")
    written: Path = write_dicom(path, pixels, SeriesNumber=1, InstanceNumber=1, **study, **rest, **tags)
    return written


@pytest.fixture
def scan(tmp_path: Path, phantoms: list[Case]) -> Path:
    return with_study(tmp_path / "scan.dcm", phantoms[1].image)


def test_the_command(scan: Path, phantoms: list[Case], tmp_path: Path) -> None:
    box = [str(phantoms[1].box[side]) for side in (1, 0, 3, 2)]
    words = ["segment", str(scan), "--box", *box, "-o", str(tmp_path / "out"), "--method", "ellipse"]
    assert main([*words, "--export", "dicom-seg", "nifti"]) == 0
    found, image = pydicom.dcmread(tmp_path / "out" / "scan_seg.dcm"), pydicom.dcmread(scan)
    from flipenv.sources import read_mask

    expected = read_mask(tmp_path / "out" / "scan_mask.png", phantoms[1].image.shape)
    np.testing.assert_array_equal(found.pixel_array > 0, expected)
    assert found.SOPClassUID.name == "Segmentation Storage"
    assert (found.StudyInstanceUID, found.PatientID) == (image.StudyInstanceUID, "P1")
    assert found.SeriesInstanceUID != image.SeriesInstanceUID
    (series,) = found.ReferencedSeriesSequence
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert found.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"


def test_a_frame_of_a_film(phantoms: list[Case], tmp_path: Path) -> None:
    """The mask is of that frame alone, and the Segmentation says of which."""
    case = phantoms[1]
    multi_frame = pydicom.uid.UltrasoundMultiFrameImageStorage
    film = with_study(
        tmp_path / "film.dcm", np.stack([case.image, 255 - case.image, case.image]), SOPClassUID=multi_frame
    )
    box = [str(case.box[side]) for side in (1, 0, 3, 2)]
    words = ["segment", str(film), "--box", *box, "-o", str(tmp_path / "out"), "--method", "polar"]
    assert main([*words, "--export", "dicom-seg"]) == 2
    assert main([*words, "--frame", "1", "--export", "dicom-seg"]) == 0
    found, image = pydicom.dcmread(tmp_path / "out" / "film-frame1_seg.dcm"), pydicom.dcmread(film)
    (expected,) = run_method(make_method("polar"), [Case(255 - case.image, case.box)])
    np.testing.assert_array_equal(found.pixel_array > 0, expected)
    assert found.NumberOfFrames == 1
    (source,) = found.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence
    (series,) = found.ReferencedSeriesSequence
    (listed,) = series.ReferencedInstanceSequence
    for each in (source, listed):
        assert (each.ReferencedSOPClassUID, each.ReferencedSOPInstanceUID) == (multi_frame, image.SOPInstanceUID)
    assert source.ReferencedFrameNumber == 2  # DICOM counts from 1


def test_what_cannot_be_referred_to(scan: Path, phantoms: list[Case], tmp_path: Path) -> None:
    mask = phantoms[1].mask
    with pytest.raises(ImageError, match="has no file of its own"):
        seg_bytes(mask, None)
    with pytest.raises(MaskError, match="the mask is empty"):
        seg_bytes(np.zeros_like(mask), Scan(scan))
    bare = write_dicom(tmp_path / "bare.dcm", phantoms[1].image)
    (tmp_path / "scan.png").write_bytes(b"\x89PNG")
    film = write_dicom(tmp_path / "film.dcm", np.repeat(phantoms[1].image[None], 2, axis=0))
    with pytest.raises(ImageError, match=r"bare\.dcm: a DICOM Segmentation cannot refer to it"):
        seg_bytes(mask, Scan(bare))
    with pytest.raises(ImageError, match=r"scan\.png: is not DICOM"):
        seg_bytes(mask, Scan(tmp_path / "scan.png"))
    with pytest.raises(ImageError, match=r"film\.dcm: has 2 frames; expected .* 0\.\.1"):
        seg_bytes(mask, Scan(film))


def test_many_frames_of_a_film(phantoms: list[Case], tmp_path: Path) -> None:
    """A frame for each mask, which says of which frame it is."""
    height, width = phantoms[1].image.shape
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (5, height, width)).astype(np.uint8)
    film = with_study(tmp_path / "film.dcm", pixels, SOPClassUID=pydicom.uid.UltrasoundMultiFrameImageStorage)
    masks = {frame: random.random((height, width)) < 0.3 for frame in (3, 1, 4)}
    masks[2] = np.zeros((height, width), bool)
    (tmp_path / "seg.dcm").write_bytes(film_seg_bytes(masks, Scan(film)))
    found, image = pydicom.dcmread(tmp_path / "seg.dcm"), pydicom.dcmread(film)
    assert found.NumberOfFrames == 3
    np.testing.assert_array_equal(found.pixel_array > 0, np.stack([masks[1], masks[3], masks[4]]))
    for place, (group, frame) in enumerate(zip(found.PerFrameFunctionalGroupsSequence, (1, 3, 4), strict=True), 1):
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        assert (source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber) == (image.SOPInstanceUID, frame + 1)
        (content,) = group.FrameContentSequence
        assert (list(content.DimensionIndexValues), content.InStackPositionNumber) == ([1, place], frame + 1)
    (series,) = found.ReferencedSeriesSequence
    (listed,) = series.ReferencedInstanceSequence
    assert listed.ReferencedSOPInstanceUID == image.SOPInstanceUID
    highdicom = pytest.importorskip("highdicom")
    assert highdicom.seg.segread(tmp_path / "seg.dcm").number_of_segments == 1
    with pytest.raises(MaskError, match="all masks are empty"):
        film_seg_bytes({2: masks[2]}, Scan(film))
    with pytest.raises(ImageError, match="has no frame 7"):
        film_seg_bytes({7: masks[1]}, Scan(film))
