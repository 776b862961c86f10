"""Clicks mend a mask, can be taken back, and give the same mask when they are replayed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import flipenv
from flipagents.cli import main
from flipagents.maps.geometry import ellipse
from flipagents.metrics import dice
from flipagents.segment.corrections import (
    Correction,
    CorrectionError,
    Subject,
    read_corrections,
    write_corrections,
)
from flipagents.segment.mend import FARTHEST, Mender, clicks_of, default_cell_area, mend_points
from flipagents.segment.origin import read_origin
from flipagents.serve.page_saving import open_mask
from flipenv.errors import BoxError, ImageError, MaskError, SourceError
from flipenv.pixels import Mask
from flipenv.sources import read_mask
from flipenv.types import Box, Case


def start(case: Case) -> Mask:
    """A mask that misses one side of the nodule and covers too much of the other."""
    assert case.mask is not None
    return np.roll(case.mask, (3, 9), axis=(0, 1))


def mender(case: Case) -> Mender:
    return Mender(case.image, case.box, start(case))


def worst(mask: Mask, truth: Mask) -> tuple[int, int, str]:
    """The deepest pixel of the largest error, and what to do there."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats((mask != truth).astype(np.uint8), connectivity=4)
    largest = (pieces == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    depth = cv2.distanceTransform(np.pad(largest, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = (int(each) for each in np.unravel_index(depth.argmax(), depth.shape))
    return row, column, "erase" if truth[row, column] else "pass"


def test_clicks_on_the_errors_mend_the_mask(real_and_phantom: list[Case]) -> None:
    before, after, single = [], [], []
    for case in real_and_phantom:
        assert case.mask is not None
        for reach, found in ((1.0, after), (0.0, single)):
            each = Mender(case.image, case.box, start(case) & ellipse(case.box, case.image.shape), reach=reach)
            for _ in range(3):
                each.click(*worst(each.mask, case.mask))
            found.append(dice(each.mask, case.mask))
        before.append(dice(each.base, case.mask))
    assert np.mean(after) > np.mean(before) + 0.3 * (1 - np.mean(before)), (before, after)
    assert np.mean(after) > np.mean(single), "the spread is worth more than one superpixel"


def test_undo_and_redo(phantoms: list[Case]) -> None:
    case = phantoms[1]
    each = mender(case)
    assert each.undo() is None
    assert each.redo() is None
    masks = [each.mask]
    for _ in range(3):
        each.click(*worst(each.mask, case.mask))
        masks.append(each.mask)
    done = each.corrections
    assert len(done) == 3
    for count in (2, 1, 0):
        assert each.undo() == done[count]
        np.testing.assert_array_equal(each.mask, masks[count])
        assert each.corrections == done[:count]
    assert each.redo() == done[0]
    assert each.redo() == done[1]
    np.testing.assert_array_equal(each.mask, masks[2])
    each.click(case.box.top + 1, case.box.left + 1, "pass")
    assert each.redo() is None, "a new click forgets what was undone"


def test_preview_is_what_a_click_changes(phantoms: list[Case]) -> None:
    case = phantoms[2]
    each = mender(case)
    row, column, action = worst(each.mask, case.mask)
    before = each.mask.copy()
    shown = each.preview(row, column, action, reach=1.5)
    np.testing.assert_array_equal(each.mask, before)
    assert each.corrections == ()
    each.click(row, column, action, reach=1.5)
    np.testing.assert_array_equal(shown, each.mask != before)
    assert shown.any()


def test_the_mask_is_not_writable(phantoms: list[Case]) -> None:
    each = mender(phantoms[0])
    given = start(phantoms[0])
    each.click(phantoms[0].box.top + 1, phantoms[0].box.left + 1, "erase")
    for mask in (each.mask, each.base):
        with pytest.raises(ValueError, match="read-only"):
            mask[0, 0] = True
    np.testing.assert_array_equal(each.base, given)


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_saved_corrections_give_the_same_mask(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    case = flipenv.open_source("phantom:1?height=96&width=150").load(0)
    path = tmp_path_factory.getbasetemp() / "some_corrections.json"
    each = mender(case)
    area = each.area
    for _ in range(data.draw(st.integers(1, 5))):
        if data.draw(st.booleans()):
            data.draw(st.sampled_from([each.finer, each.coarser]))()
        each.click(
            data.draw(st.integers(area.top, area.bottom - 1)),
            data.draw(st.integers(area.left, area.right - 1)),
            data.draw(st.sampled_from(["erase", "pass"])),
            data.draw(st.sampled_from([0.0, 0.5, 1.0, 3.0])),
        )
        assert each.mask[each.corrections[-1].row, each.corrections[-1].column] == (
            each.corrections[-1].action == "erase"
        )
    write_corrections(path, each.subject, each.corrections)
    again = mender(case)
    np.testing.assert_array_equal(again.replay(read_corrections(path, again.subject)), each.mask)
    assert again.corrections == each.corrections


def test_earlier_clicks_stay(phantoms: list[Case]) -> None:
    """On other superpixels, whatever is clicked later."""
    case = phantoms[3]
    generator = np.random.default_rng(0)
    each = mender(case)
    clicks: dict[int, Correction] = {}
    for _ in range(25):
        row, column = generator.integers(each.area[:2], each.area[2:]).tolist()
        found = each.click(row, column, generator.choice(["erase", "pass"]), reach=2.0)
        clicks[int(each.superpixels[row, column])] = found
        for one in clicks.values():
            assert each.mask[one.row, one.column] == (one.action == "erase")


def test_superpixels_cover_box_and_mask() -> None:
    case = flipenv.open_source("phantom:1").load(0)
    each = mender(case)
    labels = each.superpixels
    assert labels.shape == case.image.shape
    assert (labels[case.box.rows, case.box.columns] >= 0).all()
    assert (labels[each.base] >= 0).all()
    assert (labels >= 0).sum() > case.box.height * case.box.width, "and a margin"
    count = labels.max() + 1
    assert each.cell_area == pytest.approx(default_cell_area(case.box))
    assert each.finer() == pytest.approx(each.cell_area)
    assert 1.4 * count < each.superpixels.max() + 1 < 2.7 * count
    each.coarser()
    np.testing.assert_array_equal(each.superpixels, labels)
    for step in (each.finer, each.coarser):
        for _ in range(12):
            step()
        assert each.cell_area in each.cell_areas
        each.click(case.box.top + 3, case.box.left + 3, "erase")


def test_an_empty_mask_is_begun_by_a_click(phantoms: list[Case]) -> None:
    case = phantoms[0]
    middle = (case.box.top + case.box.bottom) // 2, (case.box.left + case.box.right) // 2
    mask = mend_points(case.image, case.box, np.zeros(case.image.shape, np.bool_), [middle[::-1]], [1])
    assert mask[middle]
    assert dice(mask, ellipse(case.box, case.image.shape)) > 0.2


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 2), (40, 3)])
def test_any_size_works(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    each = Mender(image, Box(0, 0, *shape), np.zeros(shape, np.bool_))
    each.click(shape[0] - 1, shape[1] - 1, "erase")
    each.click(0, 0, "pass")
    assert not each.mask[0, 0]


def test_points_are_clicks(phantoms: list[Case]) -> None:
    case = phantoms[0]
    each = mender(case)
    row, column, action = worst(each.mask, case.mask)
    each.click(row, column, action)
    each.click(case.box.top + 4, case.box.left + 6, "pass")
    label = int(action == "erase")
    points = np.array([[column + 0.4, row + 0.9], [case.box.left + 6, case.box.top + 4]])
    found = mend_points(case.image, case.box, start(case), points, np.array([label, 0]))
    np.testing.assert_array_equal(found, each.mask)
    found[0, 0] = True
    np.testing.assert_array_equal(mend_points(case.image, case.box, start(case), [], []), start(case))


@pytest.mark.parametrize(
    ("points", "labels", "told"),
    [
        ([[1, 2]], [1, 0], r"labels have shape \(2,\) for 1 points"),
        ([[1, 2, 3]], [1], r"points have shape \(1, 3\)"),
        ([1, 2], [1], r"points have shape \(2,\)"),
        ([[1, 2]], [2], "expected 1 .nodule. or 0"),
        ([[1, -2]], [1], "expected pixels"),
        ([[1, float("nan")]], [1], "expected pixels"),
        ([["a", 2]], [1], "are not numbers"),
        ([], [1], r"points have shape \(0,\)"),
    ],
)
def test_bad_points(points: list[object], labels: list[object], told: str) -> None:
    with pytest.raises(CorrectionError, match=told):
        clicks_of(points, labels)  # type: ignore[arg-type]


def test_bad_clicks(phantoms: list[Case]) -> None:
    case = phantoms[0]
    each = mender(case)
    height, width = case.image.shape
    with pytest.raises(CorrectionError, match=rf"row 3, column {width} is outside the image of {height}x{width} px"):
        each.click(3, width, "erase")
    far = Mender(np.zeros((400, 500), np.uint8), (10, 20, 40, 60), np.zeros((400, 500), np.bool_))
    with pytest.raises(CorrectionError, match=r"too far from the box .* rows 0 to 49 and columns 10 to 69"):
        far.click(300, 30, "erase")
    with pytest.raises(CorrectionError, match="action='flip'"):
        each.click(3, 3, "flip")
    for reach in (-0.1, FARTHEST + 1, float("nan"), True):
        with pytest.raises(CorrectionError, match="reach="):
            each.click(3, 3, "erase", reach=reach)
    for row in (1.5, True, "2"):
        with pytest.raises(CorrectionError, match="row="):
            each.click(row, 3, "erase")  # type: ignore[arg-type]
    with pytest.raises(CorrectionError, match="cell_area=0.5"):
        each.cell_area = 0.5
    assert each.corrections == ()


def test_bad_masks(phantoms: list[Case]) -> None:
    case = phantoms[0]
    for mask in (None, np.zeros((3, 4), np.bool_), case.image):
        with pytest.raises(MaskError, match="mask"):
            Mender(case.image, case.box, mask)  # type: ignore[arg-type]
    with pytest.raises(ImageError):
        Mender(case.image / 255, case.box, start(case))
    with pytest.raises(BoxError):
        Mender(case.image, (0, 0, 9999, 5), start(case))


def test_corrections_of_something_else_are_refused(tmp_path: Path, phantoms: list[Case]) -> None:
    case, path = phantoms[0], tmp_path / "a_corrections.json"
    each = mender(case)
    each.click(case.box.top + 5, case.box.left + 5, "erase")
    write_corrections(path, each.subject, each.corrections)
    assert read_corrections(path) == list(each.corrections)
    bright = case.image.copy()
    bright[0, 0] += 1
    smaller = case.box._replace(bottom=case.box.bottom - 1)
    for told, other in (
        ("another image", Mender(bright, case.box, each.base)),
        ("holds corrections of box", Mender(case.image, smaller, each.base)),
        ("another mask", Mender(case.image, case.box, each.mask)),
    ):
        with pytest.raises(CorrectionError, match=told):
            read_corrections(path, other.subject)
    values = json.loads(path.read_text())
    first = values["corrections"][0]
    for bad in (
        "{",
        "[]",
        json.dumps({**values, "format": "x"}),
        json.dumps({**values, "corrections": [{}]}),
        json.dumps({**values, "corrections": [{**first, "row": -1}]}),
        json.dumps({**values, "corrections": [{**first, "action": "flip"}]}),
        json.dumps({**values, "corrections": [{**first, "reach": None}]}),
    ):
        path.write_text(bad)
        with pytest.raises(flipenv.FlipError, match=r"a_corrections\.json: is not a file of corrections"):
            read_corrections(path)
    with pytest.raises(SourceError, match="no such file"):
        read_corrections(tmp_path / "none.json")
    assert Subject.of(case.image, case.box, each.base) == each.subject


def test_a_click_is_fast() -> None:
    """On a picture of usual size; ten times what it takes, for machines that are busy."""
    case = flipenv.open_source("phantom:1").load(0)
    each = mender(case)
    each.preview(case.box.top + 2, case.box.left + 2, "erase")
    started = time.process_time()
    for index in range(10):
        each.click(case.box.top + 3 * index, case.box.left + 5 * index, ("erase", "pass")[index % 2])
    assert (time.process_time() - started) / 10 < 0.1


def test_mending_needs_no_torch() -> None:
    code = "import sys, flipagents.segment.mend; assert not {'torch', 'onnxruntime'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_points_on_the_command_line(phantoms: list[Case], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case, out = phantoms[0], tmp_path / "out"
    cv2.imwrite(str(tmp_path / "scan.png"), case.image)
    box = case.box
    words = ["segment", str(tmp_path / "scan.png"), "--method", "ellipse", "-o", str(out), "--box"]
    words += [str(each) for each in (box.left, box.top, box.right, box.bottom)]
    assert main(words) == 0
    plain = (out / "scan_mask.png").read_bytes()
    x, y = box.left + 2, box.top + 2
    clicks = ["--points", f"{x},{y}+", f"{box.right - 5},{(box.top + box.bottom) // 2}-"]
    assert main([*words, *clicks]) == 0
    assert "of them again (other points)" in capsys.readouterr().out
    mask = np.asarray(Image.open(out / "scan_mask.png")) > 0
    assert mask[y, x]
    assert not mask[(box.top + box.bottom) // 2, box.right - 5]
    again = Mender(case.image, box, ellipse(box, case.image.shape))
    found = again.replay(read_corrections(out / "scan_corrections.json", again.subject))
    np.testing.assert_array_equal(found, mask)
    origin = read_origin(out / "scan_mask.png")
    assert origin is not None
    assert origin.points[0] == (x, y, 1)
    assert main(["info", str(out / "scan_mask.png")]) == 0
    assert f"{x},{y}+" in capsys.readouterr().out
    assert main([*words, *clicks]) == 0
    assert "1 already done" in capsys.readouterr().out
    kept = {path.name: path.read_bytes() for path in out.iterdir()}
    assert read_mask(out / "scan_unmended.png", case.image.shape).sum() == ellipse(box, case.image.shape).sum()
    for other in ([], ["--points", f"{x},{y}-"]):  # clicks are not lost by a command that has others, or none
        assert main([*words, *other]) == 2
        assert "was mended by a person and would be made again (other points)" in capsys.readouterr().err
        assert {path.name: path.read_bytes() for path in out.iterdir()} == kept
    opened = open_mask(out / "scan_mask.png").nodule
    assert len(opened.corrections) == len(origin.points), "the page goes on from them"
    np.testing.assert_array_equal(opened.mask, mask)
    assert main([*words, "--overwrite"]) == 0
    assert (out / "scan_mask.png").read_bytes() == plain, "without points as before"
    assert not (out / "scan_corrections.json").exists()


def test_bad_points_on_the_command_line(
    phantoms: list[Case], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "scan.png"), phantoms[0].image)
    words = ["segment", str(tmp_path / "scan.png"), "--method", "ellipse", "-o", str(tmp_path / "out"), "--points"]
    box = ["--box", "20", "20", "60", "50"]
    for typed, told in (("5,5", "expected X,Y+"), ("900,5+", "outside the image"), ("1.5,2+", "expected X,Y+")):
        assert main([*words, typed, *box]) == 2
        assert told in capsys.readouterr().err
    assert main([*words, "30,30+"]) == 2
    assert "--box" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
