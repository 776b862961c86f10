"""A mask says what it was made from: the same work is skipped, and another box, image or method never passes for it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from flipagents.cli import main
from flipagents.segment.origin import read_origin
from flipenv.types import Case

HEADER = "image,x0,y0,x1,y1\n"


@pytest.fixture
def folder(tmp_path: Path, phantoms: list[Case]) -> Path:
    """Two scans with a table of their boxes."""
    for name, case in zip(("one.png", "two.png"), phantoms[:2], strict=True):
        cv2.imwrite(str(tmp_path / name), case.image)
    (tmp_path / "t.csv").write_text(f"{HEADER}one.png,20,20,60,50\ntwo.png,30,20,70,60\n")
    return tmp_path


@pytest.fixture
def segment(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Segment the table into `out`; exit code and what was printed."""

    def run(*words: str, data: str = "t.csv", method: str = "ellipse") -> tuple[int, str]:
        code = main(["segment", str(folder / data), "--method", method, "-o", str(folder / "out"), *words])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def mask(folder: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(folder / "out" / f"{name}_mask.png")) > 0


def extent(where: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(where)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_the_same_work_is_skipped_and_its_files_are_left(folder: Path, segment: Callable[..., tuple[int, str]]) -> None:
    assert segment() == (0, f"2 segmented by ellipse into {folder / 'out'}\n")
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").iterdir()}
    code, told = segment()
    assert (code, "0 segmented" in told, "2 already done" in told) == (0, True, True)
    (folder / "one.png").touch()
    assert "2 already done" in segment()[1], "its bytes are the same"
    assert {path: path.stat().st_mtime_ns for path in (folder / "out").iterdir()} == before


def test_another_box_is_done_again(folder: Path, segment: Callable[..., tuple[int, str]]) -> None:
    segment()
    assert extent(mask(folder, "one")) == (20, 20, 60, 50)
    (folder / "t.csv").write_text(f"{HEADER}one.png,10,30,40,60\ntwo.png,30,20,70,60\n")
    code, told = segment("--export", "coco")
    assert (code, "1 of them again (other box)" in told, "1 already done" in told) == (0, True, True)
    assert extent(mask(folder, "one")) == (10, 30, 40, 60)
    content = json.loads((folder / "out" / "coco.json").read_text())
    assert [each["bbox"] for each in content["annotations"]] == [[10, 30, 30, 30], [30, 20, 40, 40]]


def test_one_image_with_another_box_is_done_again(folder: Path, segment: Callable[..., tuple[int, str]]) -> None:
    for x0 in (20, 30):
        assert segment("--box", str(x0), "20", "60", "50", data="one.png")[0] == 0
        assert extent(mask(folder, "one")) == (x0, 20, 60, 50)


def test_another_image_in_its_place_is_done_again(
    folder: Path, segment: Callable[..., tuple[int, str]], phantoms: list[Case]
) -> None:
    segment(method="polar")
    before = mask(folder, "one")
    cv2.imwrite(str(folder / "one.png"), phantoms[2].image)
    code, told = segment(method="polar")
    assert (code, "1 of them again (other image)" in told) == (0, True)
    assert mask(folder, "one").shape == phantoms[2].image.shape != before.shape


def test_another_method_margin_or_weights_is_done_again(
    folder: Path, segment: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    segment()
    assert "2 of them again (other method)" in segment(method="box")[1]
    assert mask(folder, "one").sum() == 40 * 30
    monkeypatch.setattr("flipagents.scale.origins.RULES", {})
    assert "2 of them again (other weights)" in segment(method="box")[1], "box counts as having weights now"
    assert "2 of them again (other weights)" in segment("--weights", str(folder / "t.csv"), method="box")[1]


def test_two_images_are_never_one_mask(folder: Path, segment: Callable[..., tuple[int, str]]) -> None:
    (folder / "left").mkdir()
    shutil.copy(folder / "two.png", folder / "left" / "one.png")
    assert segment("--box", "20", "20", "60", "50", data="one.png")[0] == 0
    before = (folder / "out" / "one_mask.png").read_bytes()
    code, told = segment("--box", "20", "20", "60", "50", data="left/one.png")
    assert (code, told.count("\n")) == (2, 1)
    assert "one_mask.png is the mask of ../one.png, not of ../left/one.png; choose another folder" in told
    assert (folder / "out" / "one_mask.png").read_bytes() == before
    assert segment("--box", "20", "20", "60", "50", "--overwrite", data="left/one.png")[0] == 0


def test_an_image_that_was_moved_is_the_same(folder: Path, segment: Callable[..., tuple[int, str]]) -> None:
    segment()
    (folder / "moved").mkdir()
    for name in ("t.csv", "one.png", "two.png"):
        shutil.copy(folder / name, folder / "moved" / name)
        (folder / name).unlink()
    assert "2 already done" in segment(data="moved/t.csv")[1]


@pytest.mark.parametrize("content", [b"mine", None])
def test_a_mask_of_other_hands_is_never_replaced(
    folder: Path, segment: Callable[..., tuple[int, str]], content: bytes | None
) -> None:
    (folder / "out").mkdir()
    own = folder / "out" / "two_mask.png"
    if content is None:
        cv2.imwrite(str(own), np.zeros((9, 9), np.uint8))
    else:
        own.write_bytes(content)
    before = own.read_bytes()
    code, told = segment()
    assert (code, told.count("\n")) == (2, 1)
    assert "two_mask.png exists and does not record its origin; choose another folder" in told
    assert own.read_bytes() == before
    assert not (folder / "out" / "one_mask.png").exists(), "said before anything is segmented"
    assert segment("--overwrite")[0] == 0


def test_dots_belong_to_names(folder: Path, segment: Callable[..., tuple[int, str]]) -> None:
    for name in ("P003.2021.left", "P003.2021.right", "1.2.840.7"):
        shutil.copy(folder / "one.png", folder / f"{name}.png")
        assert segment("--box", "20", "20", "60", "50", "--only-masks", data=f"{name}.png")[0] == 0
    shutil.copy(folder / "one.png", folder / "1.2.840.8")
    (folder / "u.csv").write_text(f"{HEADER}1.2.840.8,20,20,60,50\nP003.2021.left.png,20,20,60,50\n")
    assert "1 segmented" in segment("--only-masks", data="u.csv")[1]
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "1.2.840.7_mask.png",
        "1.2.840.8_mask.png",
        "P003.2021.left_mask.png",
        "P003.2021.right_mask.png",
        "quality.csv",
    ]


def test_a_name_that_is_too_long_fails_alone(folder: Path, segment: Callable[..., tuple[int, str]]) -> None:
    (folder / "t.csv").write_text(f"id,{HEADER}{'x' * 300},one.png,20,20,60,50\nshort,two.png,30,20,70,60\n")
    for _ in range(2):
        code, told = segment()
        assert (code, "1 failed" in told) == (1, True)
        assert "File name too long); give the case a shorter id" in told
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "quality.csv",
        "short_mask.png",
        "short_overlay.png",
    ]


def test_what_is_told(
    folder: Path, segment: Callable[..., tuple[int, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = segment("--json")
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert (code, [each["id"] for each in lines]) == (0, ["one", "two"])
    assert [each["box"] for each in lines] == [[20, 20, 60, 50], [30, 20, 70, 60]]
    assert [each["area_px"] for each in lines] == [mask(folder, name).sum() for name in ("one", "two")]
    assert all(Path(each["mask"]).exists() and each["seconds"] > 0 for each in lines)
    (folder / "two.png").write_bytes(b"")
    code, told = segment("--json", "--quiet")
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert code == 1
    assert {each["id"]: "error" in each for each in lines} == {"one": False, "two": True}
    assert main(["info", str(folder / "out" / "one_mask.png")]) == 0
    told = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert dict(told) == {
        "image": "../one.png",
        "box": "20 20 60 50",
        "method": "ellipse, margin 0 px",
        "weights": "none",
    }


def test_many_masks_are_looked_at_quickly(
    folder: Path, segment: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done is known from the mask's head and what the file system tells of the image: no image is read."""
    lines = [HEADER, *(f"one.png,{x0},20,60,50\n" for x0 in range(10, 40))]
    (folder / "t.csv").write_text("".join(lines))
    segment("--only-masks")
    monkeypatch.setattr("flipagents.scale.origins.digest", lambda *_: pytest.fail("an image was read"))
    assert "30 already done" in segment("--only-masks")[1]


def test_another_image_of_the_same_size_and_time_is_seen(folder: Path, segment: Callable[..., tuple[int, str]]) -> None:
    segment("--only-masks")
    image = folder / "one.png"
    before = image.stat()
    image.write_bytes(image.read_bytes()[::-1])
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert image.stat().st_mtime_ns == before.st_mtime_ns
    assert segment("--only-masks")[0] == 1, "what is there now is no picture"


def test_no_export_of_another_mask_stays(folder: Path, segment: Callable[..., tuple[int, str]]) -> None:
    nibabel = pytest.importorskip("nibabel")
    box, other = ("20", "20", "60", "50"), ("30", "20", "70", "60")
    segment("--box", *box, "--export", "nifti", data="one.png")
    segment("--box", *other, "--only-masks", data="one.png")
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["one_mask.png", "quality.csv"]
    assert "1 segmented" in segment("--box", *other, "--export", "nifti", data="one.png")[1]
    exported = np.asarray(nibabel.load(folder / "out" / "one_mask.nii.gz").dataobj).T > 0
    np.testing.assert_array_equal(exported, mask(folder, "one"))
    segment("--box", *other, "--only-masks", "--overwrite", data="one.png")
    assert len(list((folder / "out").iterdir())) == 4, "they show the same mask"
    assert "1 already done" in segment("--box", *other, "--export", "nifti", data="one.png")[1]


@pytest.mark.parametrize("with_mask", [True, False])
def test_files_of_others_beside_a_mask_are_never_replaced(
    folder: Path, segment: Callable[..., tuple[int, str]], with_mask: bool
) -> None:
    pytest.importorskip("nibabel")
    if with_mask:
        segment("--only-masks")
    else:
        (folder / "out").mkdir()
    truth = folder / "out" / "two_mask.nii.gz"
    truth.write_bytes(b"drawn by hand")
    code, told = segment("--only-masks", "--export", "nifti")
    assert (code, told.count("\n")) == (2, 1)
    assert "two_mask.nii.gz exists and was not written with a mask; choose another folder" in told
    assert truth.read_bytes() == b"drawn by hand"


def test_a_mask_that_is_cut_short_is_done_again(folder: Path, segment: Callable[..., tuple[int, str]]) -> None:
    segment("--only-masks")
    whole = (folder / "out" / "one_mask.png").read_bytes()
    (folder / "out" / "one_mask.png").write_bytes(whole[:-60])
    assert "1 of them again (other mask, which is truncated)" in segment("--only-masks")[1]
    assert (folder / "out" / "one_mask.png").read_bytes() == whole


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "7",
        "{}",
        json.dumps({"image": "../one.png", "box": "abcd", "method": [], "stamp": [], "files": []}),
        json.dumps(
            {
                **{"image": "../one.png", "stamp": [1], "digest": "", "frame": None, "box": [1, 2, 3, 4]},
                **{"method": "box", "margin": 0, "weights": "", "files": ["../../else.png"]},
            }
        ),
    ],
)
def test_nonsense_in_a_mask_is_no_origin(folder: Path, segment: Callable[..., tuple[int, str]], text: str) -> None:
    told = PngImagePlugin.PngInfo()
    told.add_text("flip-learning", text)
    (folder / "out").mkdir()
    Image.new("L", (20_000, 10_000)).save(folder / "out" / "one_mask.png", pnginfo=told)
    assert read_origin(folder / "out" / "one_mask.png") is None
    assert segment("--only-masks")[0] == 2


def test_coco_of_others_is_never_replaced(folder: Path, segment: Callable[..., tuple[int, str]]) -> None:
    pytest.importorskip("pycocotools")
    (folder / "out").mkdir()
    (folder / "out" / "coco.json").write_text("{}")
    code, told = segment("--export", "coco")
    assert (code, "coco.json exists and holds other annotations" in told) == (2, True)
    assert not (folder / "out" / "one_mask.png").exists()
    assert segment("--export", "coco", "--overwrite")[0] == segment("--export", "coco")[0] == 0


def test_coco_holds_the_masks_of_earlier_commands(folder: Path, segment: Callable[..., tuple[int, str]]) -> None:
    pytest.importorskip("pycocotools")
    segment("--box", "20", "20", "60", "50", "--export", "coco", data="one.png")
    segment("--box", "30", "20", "70", "60", "--export", "coco", data="two.png")
    content = json.loads((folder / "out" / "coco.json").read_text())
    assert [each["file_name"] for each in content["images"]] == ["../two.png", "../one.png"]
    assert [each["id"] for each in content["annotations"]] == [1, 2]
    assert [each["bbox"] for each in content["annotations"]] == [[30, 20, 40, 40], [20, 20, 40, 30]]
