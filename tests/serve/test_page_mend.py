"""Mending on the page without a page: clicks, several boxes and images, what is kept, and what is written back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from flipagents.cli import main
from flipagents.segment.corrections import read_corrections
from flipagents.segment.mend import Mender
from flipagents.segment.origin import read_origin
from flipagents.serve.page_actions import Actions
from flipagents.serve.page_saving import open_mask
from flipagents.serve.page_state import Session
from flipagents.serve.page_view import outline
from flipagents.serve.page_weights import Choices
from flipenv.errors import BoxError, ConfigError, FlipError, SourceError
from flipenv.sources import read_mask
from flipenv.types import Case
from tests.serve.test_page_actions import corners, last, mask_of, opened, picture, saved, segmented

pytest.importorskip("nibabel")
pytest.importorskip("pycocotools")


@pytest.fixture
def actions(tmp_path: Path) -> Actions:
    return Actions(Choices(), tmp_path / "made")


@pytest.fixture
def loaded(actions: Actions, phantoms: list[Case], tmp_path: Path) -> Session:
    """An image with a mask by the ellipse."""
    session = opened(actions, picture(tmp_path / "scan.png", phantoms[1]))
    segmented(actions, session, "ellipse", corners(phantoms[1]))
    return session


def click(
    case: Case, what: str = "erase", reach: float = 0, size: float = 1, at: tuple[float, float] = (0.02, 0.02)
) -> Any:
    """A click at a share of the box from its corner, where the ellipse is not."""
    row, column = case.box.top + int(at[0] * case.box.height), case.box.left + int(at[1] * case.box.width)
    return {"ask": {"what": what, "row": row, "column": column, "reach": reach, "size": size}}


def test_a_click_is_the_menders_own(actions: Actions, loaded: Session, phantoms: list[Case]) -> None:
    case, first = phantoms[1], mask_of(loaded)
    mender = Mender(case.image, case.box, first)
    asks = [click(case), click(case, "pass", reach=1, at=(0.5, 0.5)), click(case, reach=2, size=0.5, at=(0.9, 0.1))]
    for ask in asks:
        values = ask["ask"]
        mender.cell_area = max(values["size"] * Mender(case.image, case.box, first).cell_area, mender.cell_areas[0])
        before = mask_of(loaded)
        mender.click(values["row"], values["column"], values["what"], values["reach"])
        key, image = loaded.key, actions._drawing(loaded)["image"]
        previewed = actions.preview({"key": key, "image": image, **ask})
        changes = actions.asked(loaded, ask)
        np.testing.assert_array_equal(mask_of(loaded), mender.mask)
        assert previewed == outline(before != mask_of(loaded)) != ""
    assert "3 corrections" in changes["card"]["value"]
    assert mask_of(loaded)[asks[0]["ask"]["row"], asks[0]["ask"]["column"]]
    assert not mask_of(loaded)[asks[1]["ask"]["row"], asks[1]["ask"]["column"]]


def test_undo_and_redo(actions: Actions, loaded: Session, phantoms: list[Case]) -> None:
    masks = [mask_of(loaded)]
    for at in ((0.02, 0.02), (0.97, 0.97)):
        actions.asked(loaded, click(phantoms[1], at=at))
        masks.append(mask_of(loaded))
    assert len({mask.tobytes() for mask in masks}) == 3
    for what, shown, undo, redo in (
        ("undo", 1, True, True),
        ("undo", 0, False, True),
        ("undo", 0, False, True),
        ("redo", 1, True, True),
        ("redo", 2, True, False),
        ("redo", 2, True, False),
        ("undo", 1, True, True),
    ):
        value = actions.asked(loaded, {"ask": {"what": what}})["drawing"]["value"]
        np.testing.assert_array_equal(mask_of(loaded), masks[shown])
        assert (value["undo"], value["redo"]) == (undo, redo)
    value = actions.asked(loaded, click(phantoms[1], "pass", at=(0.5, 0.5)))["drawing"]["value"]
    assert (value["undo"], value["redo"]) == (True, False)


@pytest.mark.parametrize(
    "ask", [{"row": "a"}, {"row": 10_000}, {"row": -1}, {"reach": 99}, {"reach": float("nan")}, {"size": None}]
)
def test_clicks_that_are_none(actions: Actions, loaded: Session, phantoms: list[Case], ask: dict[str, Any]) -> None:
    asked = {"ask": {**click(phantoms[1])["ask"], **ask}}
    with pytest.raises(FlipError, match=r"expected|outside"):
        actions.asked(loaded, asked)
    assert actions.preview({"key": loaded.key, "image": actions._drawing(loaded)["image"], **asked}) == ""
    assert not loaded.shown().nodule.corrections


def test_no_preview_for_another_window_or_image(actions: Actions, loaded: Session, phantoms: list[Case]) -> None:
    image = actions._drawing(loaded)["image"]
    asked = click(phantoms[1])
    assert actions.preview({"key": loaded.key, "image": image, **asked})
    for key, address in (("0" * 32, image), (loaded.key, "other.png"), (None, image), (loaded.key, None)):
        assert actions.preview({"key": key, "image": address, **asked}) == ""


def test_each_box_has_its_mask(actions: Actions, loaded: Session, phantoms: list[Case], tmp_path: Path) -> None:
    first = mask_of(loaded)
    value = actions.asked(loaded, {"ask": {"what": "add"}})["drawing"]["value"]
    assert (value["chosen"], value["box"], value["mask"]) == (1, None, None)
    assert value["others"] == outline(first)
    assert actions.asked(loaded, {"ask": {"what": "add"}})["drawing"]["value"]["chosen"] == 1, "that is empty already"
    segmented(actions, loaded, "box", [2, 3, 12, 9])
    assert mask_of(loaded).sum() == 60
    taken = saved(actions, loaded, tmp_path / "taken")
    content = json.loads(taken["coco.json"].read_text())
    assert [each["area"] for each in content["annotations"]] == [first.sum(), 60]
    assert len(content["images"]) == 1
    assert {"scan_mask.png", "scan~2_mask.png"} < set(taken)
    value = actions.asked(loaded, {"ask": {"what": "choose", "index": 0}})["drawing"]["value"]
    assert value["box"] == corners(phantoms[1])
    for index in (7, -1, None, "0", 0.0):
        assert actions.asked(loaded, {"ask": {"what": "delete", "index": index}})["drawing"]["value"]["chosen"] == 0
    value = actions.asked(loaded, {"ask": {"what": "delete", "index": 0}})["drawing"]["value"]
    assert (value["box"], value["chosen"], len(value["boxes"])) == ([2, 3, 12, 9], 0, 1)
    value = actions.asked(loaded, {"ask": {"what": "delete", "index": 0}})["drawing"]["value"]
    assert (value["box"], value["boxes"]) == (None, [{"mask": False}])


def test_images_are_turned_in_order(actions: Actions, phantoms: list[Case], tmp_path: Path) -> None:
    session = opened(actions, *(picture(tmp_path / f"{name}.png", phantoms[0]) for name in "cab"))
    seen = []
    for by in (1, 1, 1, -1):
        seen.append(session.shown().name)
        actions.turned(session, {"ask": {"by": by}})
    assert seen == ["a.png", "b.png", "c.png", "a.png"]
    assert session.shown().name == "c.png"
    assert actions.turned(session, {"ask": {"by": 5}}) == {}


def test_a_reload_loses_nothing(actions: Actions, loaded: Session, phantoms: list[Case], tmp_path: Path) -> None:
    for ask in (click(phantoms[1]), click(phantoms[1], "pass", at=(0.5, 0.5)), {"ask": {"what": "undo"}}):
        actions.asked(loaded, ask)
    actions.asked(loaded, {"ask": {"what": "add"}})
    actions.typed(loaded, None, 1, 2, 30, 40)
    cv2.imwrite(str(tmp_path / "truth.png"), phantoms[1].mask.astype(np.uint8) * 255)
    actions.truth(loaded, str(tmp_path / "truth.png"))
    actions.phantom(loaded)
    actions.turned(loaded, {"ask": {"by": -1}})
    before = actions._drawing(loaded)
    again = Session()
    assert actions.begin(again, {"ask": {"key": loaded.key, "own": False}}) == {}, "another window shows it"
    value = actions.begin(again, {"ask": {"key": loaded.key, "own": True}})["drawing"]["value"]
    assert {**value, "turn": 0} == {**before, "turn": 0}
    for one, other in zip(loaded.sheets, again.sheets, strict=True):
        assert (one.name, one.chosen, len(one.nodules)) == (other.name, other.chosen, len(other.nodules))
        for first, second in zip(one.nodules, other.nodules, strict=True):
            assert (first.box, first.given, first.corrections) == (second.box, second.given, second.corrections)
            np.testing.assert_array_equal(first.mask, second.mask)
    actions.store.leave(again)
    assert actions.begin(Session(), {"ask": {"key": loaded.key}}) != {}
    for key in (None, 7, "../" * 11, "0" * 32, ["a"]):
        assert actions.begin(Session(), {"ask": {"key": key, "own": True}}) == {}


def test_old_work_is_deleted(actions: Actions, loaded: Session, phantoms: list[Case], tmp_path: Path) -> None:
    kept = actions.store.folder / loaded.key
    old = kept.stat().st_mtime - 2 * actions.store.lifetime
    os.utime(kept / "session.json", (old, old))
    actions.store.sweep()
    assert kept.exists(), "a window shows it"
    actions.store.leave(loaded)
    actions.store.sweep()
    assert kept.exists(), "it was shown just now"
    os.utime(kept / "session.json", (old, old))
    actions.begin(Session(), None)
    assert not kept.exists()

    other = opened(actions, picture(tmp_path / "other.png", phantoms[0]))
    kept = actions.store.folder / other.key
    assert kept.exists()
    value = actions.clear(other)["drawing"]["value"]
    assert (value["image"], kept.exists()) == (None, False)


def test_saved_corrections_are_played_back(
    actions: Actions, loaded: Session, phantoms: list[Case], tmp_path: Path
) -> None:
    case = phantoms[1]
    for ask in (click(case, reach=1), click(case, "pass", at=(0.5, 0.5))):
        actions.asked(loaded, ask)
    taken = saved(actions, loaded, tmp_path / "taken")
    assert sorted(taken) == [
        "coco.json",
        *(f"scan_{end}" for end in ("corrections.json", "mask.nii.gz", "mask.png", "overlay.png", "unmended.png")),
    ]
    again = Mender(case.image, case.box, read_mask(taken["scan_unmended.png"], case.image.shape))
    again.replay(read_corrections(taken["scan_corrections.json"], again.subject))
    np.testing.assert_array_equal(again.mask, read_mask(taken["scan_mask.png"], case.image.shape))
    np.testing.assert_array_equal(again.mask, mask_of(loaded))


@pytest.fixture
def segment(tmp_path: Path, phantoms: list[Case], capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Segment one scan into `out` with `flip segment`; exit code and what was printed."""
    picture(tmp_path / "scan.png", phantoms[1])
    box = list(map(str, corners(phantoms[1])))

    def run(*words: str) -> tuple[int, str]:
        given = ["--box", *box, "--method", "ellipse", "-o", str(tmp_path / "out")]
        code = main(["segment", str(tmp_path / "scan.png"), *given, *words])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    assert run("--export", "nifti", "coco")[0] == 0
    return run


def begun(folder: Path) -> tuple[Actions, Session]:
    """A window of `flip app --mend`."""
    actions, session = Actions(Choices(), folder / "made", folder / "out" / "scan_mask.png"), Session()
    changes = actions.begin(session, None)
    assert changes["back"] == {"visible": True}
    return actions, session


def test_a_mask_is_mended_where_it_lies(
    segment: Callable[..., tuple[int, str]], phantoms: list[Case], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case, out = phantoms[1], tmp_path / "out"
    actions, session = begun(tmp_path)
    first = read_mask(out / "scan_mask.png", case.image.shape)
    overlay = (out / "scan_overlay.png").read_bytes()
    np.testing.assert_array_equal(mask_of(session), first)
    assert session.shown().nodule.box == case.box
    with pytest.raises(BoxError, match=r"this is the box of scan_mask\.png"):
        actions.asked(session, {"ask": {"what": "delete", "index": 0}})
    actions.asked(session, click(case))
    assert "written with 1 correction" in actions.back(session)["status"]["value"]
    mended = mask_of(session)
    assert (mended != first).any()
    np.testing.assert_array_equal(read_mask(out / "scan_mask.png", case.image.shape), mended)
    np.testing.assert_array_equal(read_mask(out / "scan_mask.nii.gz", case.image.shape), mended)
    np.testing.assert_array_equal(read_mask(out / "scan_unmended.png", case.image.shape), first)
    assert (out / "scan_overlay.png").read_bytes() != overlay
    assert read_origin(out / "scan_mask.png").mended  # type: ignore[union-attr]
    assert main(["info", str(out / "scan_mask.png")]) == 0
    assert "mended by a person" in capsys.readouterr().out

    actions, session = begun(tmp_path)
    np.testing.assert_array_equal(mask_of(session), mended)
    actions.asked(session, click(case, "pass", at=(0.5, 0.5)))
    actions.back(session)
    assert len(json.loads((out / "scan_corrections.json").read_text())["corrections"]) == 2
    for _ in range(2):
        actions.asked(session, {"ask": {"what": "undo"}})
    actions.back(session)
    np.testing.assert_array_equal(read_mask(out / "scan_mask.png", case.image.shape), first)
    assert not read_origin(out / "scan_mask.png").mended  # type: ignore[union-attr]
    assert not (out / "scan_corrections.json").exists()
    assert not (out / "scan_unmended.png").exists()


def test_a_mended_mask_is_not_made_again(
    segment: Callable[..., tuple[int, str]], phantoms: list[Case], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    actions, session = begun(tmp_path)
    actions.asked(session, click(phantoms[1]))
    actions.back(session)
    mended = (out / "scan_mask.png").read_bytes()
    code, told = segment("--export", "nifti", "coco")
    assert (code, "1 already done" in told) == (0, True)
    content = json.loads((out / "coco.json").read_text())
    assert content["annotations"][0]["area"] == mask_of(session).sum(), "COCO has the mended mask"
    code, told = segment("--method", "box")
    assert code == 2
    assert "scan_mask.png was mended by a person and would be made again (other method)" in told
    assert "--overwrite" in told
    (out / "scan_mask.nii.gz").unlink()
    assert "(no scan_mask.nii.gz)" in segment("--export", "nifti")[1]
    assert (out / "scan_mask.png").read_bytes() == mended
    assert segment("--method", "box", "--overwrite")[0] == 0
    assert not read_origin(out / "scan_mask.png").mended  # type: ignore[union-attr]
    assert not list(out.glob("*_corrections.json"))
    assert not list(out.glob("*_unmended.png"))


def test_segmented_again_on_the_page(
    segment: Callable[..., tuple[int, str]], phantoms: list[Case], tmp_path: Path
) -> None:
    actions, session = begun(tmp_path)
    last(actions.segment(session, "", "polar", None, 0, 20, 20, 60, 50))
    actions.back(session)
    origin = read_origin(tmp_path / "out" / "scan_mask.png")
    assert origin is not None
    assert (origin.method, origin.box, origin.mended) == ("polar", (20, 20, 60, 50), False)


def test_masks_that_cannot_be_mended(segment: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(SourceError, match=r"none_mask\.png does not exist"):
        open_mask(out / "none_mask.png")
    Image.new("L", (30, 20)).save(out / "bare_mask.png")
    with pytest.raises(ConfigError, match=r"bare_mask\.png does not record its origin"):
        open_mask(out / "bare_mask.png")
    assert main(["segment", "phantom:1", "--method", "box", "-o", str(out)]) == 0
    (made,) = out.glob("phantom*_mask.png")
    with pytest.raises(ConfigError, match="of a case without an image file"):
        open_mask(made)
    shutil.move(tmp_path / "scan.png", tmp_path / "moved.png")
    with pytest.raises(SourceError, match=r"scan\.png"):
        open_mask(out / "scan_mask.png")


def test_outline() -> None:
    """The sides between a pixel of the mask and one that is not, counted one by one."""
    mask = np.random.default_rng(3).random((9, 14)) > 0.4
    framed = np.pad(mask, 1)
    sides = {
        (row, column, along)
        for row in range(11)
        for column in range(16)
        for along in (True, False)
        if (along and column < 15 and framed[row, column] != framed[row, column + 1])
        or (not along and row < 10 and framed[row, column] != framed[row + 1, column])
    }
    drawn = set()
    for part in outline(mask).split("M")[1:]:
        along = "v" in part
        place, length = part.split("v" if along else "h")
        x, y = map(int, place.split())
        for step in range(int(length)):
            drawn.add((y + step + 1, x, True) if along else (y, x + step + 1, False))
    assert drawn == sides
    assert outline(None) == outline(np.zeros((3, 4), np.bool_)) == ""
