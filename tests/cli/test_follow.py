"""`flip segment --follow`: what it writes for each kind of film, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from flipagents.cli import main
from flipagents.compare.methods import make_method, run_method
from flipagents.metrics import dice
from flipagents.segment.origin import read_origin
from flipenv.sources import Film, open_source, phantom_film, read_image, tight_box
from flipenv.types import Case

START = 2


@pytest.fixture(scope="module")
def film() -> Film:
    return phantom_film(2, 10, 112, 152, fade=True)


@pytest.fixture
def tiff(film: Film, tmp_path: Path) -> Path:
    first, *rest = map(Image.fromarray, film.frames)
    first.save(tmp_path / "loop.tif", save_all=True, append_images=rest)
    return tmp_path / "loop.tif"


def words(path: Path, film: Film, *more: str) -> list[str]:
    box = tight_box(film.masks[START])
    corners = map(str, (box.left, box.top, box.right, box.bottom))
    out = str(path.parent / "out")
    return ["segment", str(path), "--box", *corners, "--frame", str(START), "--follow", "-o", out, "-q", *more]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_film(film: Film, tiff: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out = tiff.parent / "out"
    assert main([*words(tiff, film, "--json", "--gif")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = table(out / "loop_follow.csv")
    kept = [row for row in rows if row["kept"] == "yes"]
    assert film.gone is not None
    assert abs(len(kept) - film.gone) <= 3
    assert [int(row["number"]) for row in kept] == list(range(len(kept)))
    assert rows[-1]["kept"] == "no"
    assert "contrast" in rows[-1]["reason"]
    method = make_method("contour")
    for row in kept:
        number, path = int(row["number"]), out / f"loop-frame{row['number']}_mask.png"
        mask = read_image(path) > 0
        corners = tuple(int(row[side]) for side in ("y0", "x0", "y1", "x1"))
        (expected,) = run_method(method, [Case(film.frames[number], corners)])  # type: ignore[arg-type]
        np.testing.assert_array_equal(mask, expected)
        assert int(row["area_px"]) == mask.sum()
        if number < film.gone - 4:
            assert dice(mask, film.masks[number]) > 0.85
    assert [line["frame"] for line in lines][:2] == [START, START + 1]
    by_frame = {line["frame"]: line for line in lines}
    assert set(by_frame) == {int(row["number"]) for row in rows}
    first = by_frame[START]
    assert set(first) >= {
        "id",
        "frame",
        "mask",
        "box",
        "method",
        "area_px",
        "seconds",
        "agreement",
        "contrast",
        "score",
    }
    assert first["id"] == "loop-frame2"
    assert first["mask"] == str(out / "loop-frame2_mask.png")
    assert by_frame[len(kept)]["gone"] == rows[-1]["reason"]
    assert "mask" not in by_frame[len(kept)]
    with Image.open(out / "loop.gif") as animation:
        assert animation.size == (152, 112 + 22)
    assert cv2.imread(str(out / "loop_follow.png")) is not None
    assert main(["segment", f"csv:{out / 'loop_follow.csv'}?kept=yes", "-o", str(out), "--only-masks", "--json"]) == 0
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in again] == [f"loop-frame{row['number']}" for row in kept]
    assert all(line["there_already"] for line in again), "a mask is that of its box, whoever found the box"


def test_a_second_run(film: Film, tiff: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tiff.parent / "out"
    assert main(words(tiff, film, "--only-masks")) == 0
    before = sorted(path.name for path in out.iterdir())
    assert main(words(tiff, film, "--only-masks")) == 2
    assert "exists; choose another folder, or replace it with --overwrite" in capsys.readouterr().err
    rows = (out / "loop_follow.csv").read_text()
    (out / "loop_follow.csv").write_text(rows.replace(",no,", ",yes,"))
    gone = out / f"loop-frame{len(before) - 1}_mask.png"
    gone.write_bytes(b"of an earlier run, which kept it")
    assert main(words(tiff, film, "--only-masks", "--overwrite")) == 0
    assert sorted(path.name for path in out.iterdir()) == before, "and the mask that is no longer kept is gone"
    assert (out / "loop_follow.csv").read_text() == rows


def test_a_folder(film: Film, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(film.frames, start=5):
        Image.fromarray(frame).save(folder / f"im {number}.png")
    assert main(words(folder, film, "--only-masks", "--method", "polar")) == 0
    rows = table(tmp_path / "out" / "frames_follow.csv")
    assert rows[0]["image"] == "../frames/im 5.png"
    assert rows[0]["frame"] == ""
    assert (tmp_path / "out" / "im 5_mask.png").exists()
    assert open_source(f"csv:{tmp_path / 'out' / 'frames_follow.csv'}").ids[0].endswith("im 5")


def test_a_volume_along_an_axis(film: Film, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    voxels = np.ascontiguousarray(film.frames.transpose(2, 0, 1))  # x, slices, z
    picture = nibabel.Nifti1Image(voxels, np.diag([0.2, 0.7, 0.3, 1]))
    picture.header.set_xyzt_units("mm")
    nibabel.save(picture, tmp_path / "volume.nii.gz")
    path, out = tmp_path / "volume.nii.gz", tmp_path / "out"
    assert main(words(path, film, "--axis", "y", "--only-masks", "--export", "nifti")) == 0
    rows = [row for row in table(out / "volume-y_follow.csv") if row["kept"] == "yes"]
    found = nibabel.load(out / "volume-y_masks.nii.gz")
    np.testing.assert_allclose(found.affine, picture.affine, rtol=1e-6)
    written = np.asarray(found.dataobj)
    assert written.shape == voxels.shape
    for number in range(10):
        mask = out / f"volume-y-frame{number}_mask.png"
        expected = read_image(mask) > 0 if number < len(rows) else np.zeros((112, 152), bool)
        np.testing.assert_array_equal(written[:, number].T > 0, expected)
    assert float(rows[0]["area_mm2"]) == pytest.approx(int(rows[0]["area_px"]) * 0.2 * 0.3, abs=1e-3)
    one = [*words(path, film, "--axis", "y", "--only-masks", "--overwrite"), "--export", "nifti"]
    one.remove("--follow")
    assert main(one) == 0
    single = np.asarray(nibabel.load(out / f"volume-y-frame{START}_mask.nii.gz").dataobj)
    np.testing.assert_array_equal(single[:, START], written[:, START])
    assert single.sum() == written[:, START].sum()
    origin = read_origin(out / f"volume-y-frame{START}_mask.png")
    assert origin is not None
    assert origin.frame == START


def test_a_cine_loop_as_a_segmentation(film: Film, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    pydicom = pytest.importorskip("pydicom")
    from tests.formats.test_dicom_seg import with_study

    kind = pydicom.uid.UltrasoundMultiFrameImageStorage
    path = with_study(tmp_path / "cine.dcm", film.frames, SOPClassUID=kind, PixelSpacing=[0.3, 0.2])
    assert main(words(path, film, "--only-masks", "--export", "dicom-seg", "nifti")) == 0
    out = tmp_path / "out"
    kept = [row for row in table(out / "cine_follow.csv") if row["kept"] == "yes"]
    found = pydicom.dcmread(out / "cine_seg.dcm")
    assert found.NumberOfFrames == len(kept)
    for frame, mask in zip(kept, found.pixel_array, strict=True):
        np.testing.assert_array_equal(mask > 0, read_image(out / f"cine-frame{frame['number']}_mask.png") > 0)
    nibabel = pytest.importorskip("nibabel")
    stack = nibabel.load(out / "cine_masks.nii.gz")
    assert stack.shape == (152, 112, 10)
    assert tuple(stack.header.get_zooms()[:2]) == pytest.approx((0.2, 0.3))


def test_without_a_classifier_and_a_locator_it_says_so(
    film: Film, tiff: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiff.parent / "weights").mkdir()
    more = ["--method", "polar", "--only-masks", "--weights", str(tiff.parent / "weights")]
    shown = [word for word in words(tiff, film, *more) if word != "-q"]
    assert main(shown) == 0
    said = capsys.readouterr().out
    assert "judged by contrast, map of boundaries alone" in said
    assert "without: weights has no locator" in said
    assert "without: weights has no classifier" in said
    assert all(row["score"] == "" for row in table(tiff.parent / "out" / "loop_follow.csv"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"--frame": None}, "--follow starts from one box on one frame"),
        ({"--box": None}, "--follow starts from one box on one frame"),
        ({"--frame": "10"}, "has no frame 10; expected 0..9"),
        ({"--boxes": "boxes.csv"}, "does not go with --boxes"),
        ({"--shard": "1/2"}, "does not go with --shard"),
        ({"--margin": "8"}, "does not go with --margin"),
        ({"--engine": "ray"}, "does not go with --engine ray"),
        ({"--export": "coco"}, "does not go with --export coco"),
        ({"--axis": "z"}, "is not NIfTI"),
        ({"--export": "dicom-seg"}, "is not DICOM"),
    ],
)
def test_what_does_not_go_together(
    film: Film, tiff: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], told: str
) -> None:
    if change.get("--export") == "dicom-seg":
        pytest.importorskip("highdicom")
    ((option, value),) = change.items()
    given = words(tiff, film, "--only-masks")
    if value is None:
        at = given.index(option)
        del given[at : at + (5 if option == "--box" else 2)]
    elif option in given:
        given[given.index(option) + 1] = value
    else:
        given += [option, value]
    assert main(given) == 2
    assert told in capsys.readouterr().err
    assert not (tiff.parent / "out").exists()


def test_one_image_is_no_film(film: Film, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(film.frames[0]).save(tmp_path / "scan.png")
    given = words(tmp_path / "scan.png", film, "--only-masks")
    given[given.index("--frame") + 1] = "0"
    assert main(given) == 2
    assert "has one frame; expected a film" in capsys.readouterr().err
