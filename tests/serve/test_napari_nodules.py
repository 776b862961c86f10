"""Menders that follow a label image, and their files; without napari."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from flipagents.maps.geometry import ellipse
from flipagents.segment.corrections import CorrectionError, read_corrections
from flipagents.segment.mend import Mender, default_cell_area
from flipagents.serve.napari_files import open_corrections, save
from flipagents.serve.napari_nodules import LabelImage, Nodules, labels_of
from flipagents.store.files import OutputError
from flipenv import Box, Case, open_source
from flipenv.errors import BoxError, ConfigError, EpisodeError
from flipenv.sources import read_mask

FAR = Box(2, 3, 30, 45)  # beside the phantom's nodule


@pytest.fixture(scope="module")
def case() -> Case:
    return open_source("phantom:1").load(0)


def mender(case: Case, box: Box | None = None) -> Mender:
    box = box or case.box
    return Mender(case.image, box, ellipse(box, case.image.shape))


def nodules(case: Case, *boxes: Box) -> tuple[Nodules, LabelImage]:
    made = Nodules()
    made.replace([mender(case, box) for box in boxes or (case.box,)])
    return made, made.labels(case.image.shape)


def edge(box: Box) -> tuple[int, int]:
    """A pixel of the box outside its ellipse."""
    return box.top + 2, box.left + 2


def test_a_click_is_the_menders(case: Case) -> None:
    made, shown = nodules(case)
    row, column = edge(case.box)
    alone = mender(case)
    for action, reach, size in (("erase", 0.0, 1.0), ("erase", 1.5, 0.5), ("pass", 1.0, 2.0)):
        alone.cell_area = size * default_cell_area(case.box)
        alone.click(row, column, action, reach)
        shown, label = made.click(shown, row, column, action, reach=reach, size=size)
        assert label == 1
        np.testing.assert_array_equal(shown == 1, alone.mask)
    assert [each.reach for each in made.now[1].corrections] == [0, 1.5, 1]


def test_the_box_that_is_meant(case: Case) -> None:
    made, shown = nodules(case, case.box, FAR)
    for box, label in ((case.box, 1), (FAR, 2)):
        assert made.click(shown, *edge(box), "pass", reach=0, size=1)[1] == label
    assert made.click(shown, FAR.bottom + 1, FAR.right - 2, "pass", reach=0, size=1)[1] == 2
    with pytest.raises(CorrectionError, match="too far from the box"):
        made.click(shown, case.image.shape[0] - 1, case.image.shape[1] - 1, "pass", reach=0, size=1)
    with pytest.raises(BoxError, match="press Segment"):
        Nodules().click(shown, 5, 5, "erase", reach=0, size=1)


def test_where_two_boxes_overlap(case: Case) -> None:
    """The click goes to the mask under it, and neither mask loses what the other hides."""
    top, left, bottom, right = case.box
    other = Box(top, (left + right) // 2, bottom, right)
    made, shown = nodules(case, case.box, other)
    whole = ellipse(case.box, case.image.shape)
    assert ((shown == 2) & whole).any()
    inside = (top + bottom) // 2
    for column, label in ((left + 4, 1), ((other.left + right) // 2, 2)):
        assert shown[inside, column] == label
        after, clicked = made.click(shown, inside, column, "pass", reach=0, size=1)
        assert clicked == label
        assert after[inside, column] == (0 if label == 1 else 1)
        shown = after
    assert (made.now[1].mask & whole).sum() > (shown == 1).sum()
    made.follow(shown)
    assert [len(made.now[label].corrections) for label in (1, 2)] == [1, 1]


def test_following_undo_and_redo(case: Case) -> None:
    made, shown = nodules(case)
    states = [shown]
    row, column = edge(case.box)
    for place in ((row, column), (case.box.bottom - 3, case.box.right - 3), (row, case.box.right - 3)):
        shown, _ = made.click(shown, *place, "erase", reach=0, size=1)
        states.append(shown)
    assert all((a != b).any() for a, b in itertools.pairwise(states))
    for at in (2, 1, 3, 0, 3, 1):
        made.follow(states[at])
        assert len(made.now[1].corrections) == at
        np.testing.assert_array_equal(made.labels(shown.shape), states[at])
    made.click(states[1], *edge(case.box), "pass", reach=0, size=1)
    assert [each.action for each in made.now[1].corrections] == ["erase", "pass"]


def test_a_click_without_effect_comes_back_with_the_one_before(case: Case) -> None:
    made, before = nodules(case)
    row, column = edge(case.box)
    shown, _ = made.click(before, row, column, "erase", reach=0, size=1)
    again, _ = made.click(shown, row, column, "erase", reach=0, size=1)
    np.testing.assert_array_equal(again, shown)
    for state, count in ((before, 0), (shown, 2)):
        made.follow(state)
        assert len(made.now[1].corrections) == count


def test_what_was_painted_by_hand_is_mended_further(case: Case) -> None:
    made, shown = nodules(case)
    row, column = edge(case.box)
    clicked, _ = made.click(shown, row, column, "erase", reach=0, size=1)
    painted = clicked.copy()
    painted[case.box.bottom - 6 : case.box.bottom, case.box.left : case.box.left + 6] = 1
    painted[0, :5] = 7  # a label that is of no box
    after, _ = made.click(painted, row, case.box.right - 3, "erase", reach=0, size=1)
    np.testing.assert_array_equal(made.now[1].base, painted == 1)
    assert (after[0, :5] == 7).all()
    assert len(made.now[1].corrections) == 1
    made.follow(clicked)  # both strokes and the click undone
    np.testing.assert_array_equal(made.now[1].base, shown == 1)
    assert len(made.now[1].corrections) == 1


def test_segmenting_again_and_taking_that_back(case: Case) -> None:
    made, shown = nodules(case, case.box, FAR)
    clicked, _ = made.click(shown, *edge(FAR), "erase", reach=0, size=1)
    made.replace([mender(case, FAR)])
    assert list(made.now) == [1]
    assert made.now[1].box == FAR
    made.follow(clicked)
    assert [made.now[label].box for label in (1, 2)] == [case.box, FAR]
    assert len(made.now[2].corrections) == 1


def test_the_files(case: Case, tmp_path: Path) -> None:
    made, shown = nodules(case, case.box, FAR)
    shown, _ = made.click(shown, *edge(case.box), "erase", reach=1, size=0.5)
    known: set[Path] = set()
    masks = save(tmp_path / "out", "scan.png", {(): made}, known)
    assert [each.name for each in masks] == ["scan_mask.png", "scan~2_mask.png"]
    assert known == set(masks)
    written = ["scan_corrections.json", "scan_mask.png", "scan_unmended.png", "scan~2_mask.png"]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == written
    np.testing.assert_array_equal(read_mask(masks[0], shown.shape), made.now[1].mask)
    corrections = tmp_path / "out" / "scan_corrections.json"
    again, clicks = open_corrections(corrections, case.image, Nodules())
    np.testing.assert_array_equal(again.mask, made.now[1].base)
    np.testing.assert_array_equal(again.replay(clicks), made.now[1].mask)
    assert read_corrections(corrections, made.now[1].subject) == list(made.now[1].corrections)
    made.now[1].undo()
    save(tmp_path / "out", "scan.png", {(): made}, known)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["scan_mask.png", "scan~2_mask.png"]
    frames = save(tmp_path / "film", "scan", {(3,): made, (0, 2): made}, known)
    assert [each.name for each in frames[::2]] == ["scan-frame0-2_mask.png", "scan-frame3_mask.png"]


def test_a_true_mask_is_not_replaced(case: Case, tmp_path: Path) -> None:
    made, _ = nodules(case)
    (tmp_path / "scan_mask.png").write_bytes(b"a radiologist's")
    with pytest.raises(OutputError, match="choose another folder"):
        save(tmp_path, "scan", {(): made}, set())
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"a radiologist's"]
    with pytest.raises(EpisodeError, match="no mask to save"):
        save(tmp_path, "scan", {(): Nodules()}, set())


def test_corrections_that_do_not_fit(case: Case, tmp_path: Path) -> None:
    made, shown = nodules(case)
    made.click(shown, *edge(case.box), "erase", reach=1, size=1)
    save(tmp_path, "scan", {(): made}, set())
    file = tmp_path / "scan_corrections.json"
    with pytest.raises(CorrectionError, match="another image"):
        open_corrections(file, 255 - case.image, made)
    np.testing.assert_array_equal(open_corrections(file, case.image, Nodules())[0].mask, shown == 1)
    (tmp_path / "scan_unmended.png").unlink()
    again, clicks = open_corrections(file, case.image, made)
    np.testing.assert_array_equal(again.replay(clicks), made.now[1].mask)
    box = case.box
    with pytest.raises(ConfigError, match=rf"column {box.left} to {box.right - 1}, row {box.top} .* press Segment"):
        open_corrections(file, case.image, Nodules())
    values = json.loads(file.read_text())
    values["box"][0] = 10_000
    file.write_text(json.dumps(values))
    with pytest.raises(ConfigError):
        open_corrections(file, case.image, made)


def test_labels() -> None:
    masks = {2: np.array([[0, 1, 1]], bool), 1: np.array([[1, 1, 0]], bool)}
    assert labels_of(masks, (1, 3)).tolist() == [[1, 2, 2]]
    assert not labels_of({}, (2, 3)).any()
