"""The page's buttons without a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from flipagents.desk import Desk, offered
from flipagents.methods import make_method, run_method
from flipagents.metrics import dice
from flipagents.page_actions import Actions, Session
from flipenv.errors import BoxError, ConfigError, EpisodeError, FlipError, ImageError, MaskError
from flipenv.types import Case

pytest.importorskip("nibabel")
pytest.importorskip("pycocotools")


@pytest.fixture
def actions(tmp_path: Path) -> Actions:
    return Actions(Desk(), tmp_path / "made")


@pytest.fixture
def loaded(actions: Actions, phantoms: list[Case], tmp_path: Path) -> Session:
    cv2.imwrite(str(tmp_path / "scan.one.png"), phantoms[1].image)
    session: Session = actions.open(Session(), str(tmp_path / "scan.one.png"))["session"]
    return session


def corners(case: Case) -> list[int]:
    return [case.box.left, case.box.top, case.box.right, case.box.bottom]


def last(changes: Any) -> Any:
    *_, end = changes
    return end


def test_an_image_and_its_mask(actions: Actions, loaded: Session, phantoms: list[Case], tmp_path: Path) -> None:
    case = phantoms[1]
    changes = last(actions.segment(loaded, "polar", 0, *corners(case)))
    (expected,) = run_method(make_method("polar"), [case])
    np.testing.assert_array_equal(changes["mask"]["value"] > 0, expected)
    assert changes["curve"] == {"value": None}
    files = {Path(path).name: Path(path) for path in changes["files"]["value"]}
    assert sorted(files) == ["scan_coco.json", "scan_mask.nii.gz", "scan_mask.png", "scan_overlay.png"]
    assert all(path.is_relative_to(tmp_path / "made") for path in files.values())
    assert "Dice" not in changes["table"]["value"].replace("Dice and distances", "")

    cv2.imwrite(str(tmp_path / "truth.png"), case.mask.astype(np.uint8) * 255)
    compared = actions.truth(changes["session"], str(tmp_path / "truth.png"))
    assert f"| **polar** | {dice(expected, case.mask):.3f} |" in compared["table"]["value"]
    assert "| ellipse |" in compared["table"]["value"]
    again = actions.open(compared["session"], str(tmp_path / "scan.one.png"))
    assert again["session"].result is None
    assert again["session"].picture.truth is None
    assert again["mask"] == {"value": None}


def test_a_film(actions: Actions, loaded: Session, phantoms: list[Case], tmp_path: Path) -> None:
    images = [phantoms[0].image, phantoms[0].image[::-1]]
    first, second = map(Image.fromarray, images)
    first.save(tmp_path / "film.tif", save_all=True, append_images=[second])
    opened = actions.open(loaded, str(tmp_path / "film.tif"))
    assert opened["frame"] == {"visible": True, "maximum": 1, "value": 0}
    np.testing.assert_array_equal(opened["session"].picture.image, images[0])
    moved = actions.frame(opened["session"], 1)
    np.testing.assert_array_equal(moved["session"].picture.image, images[1])
    files = last(actions.segment(moved["session"], "box", 0, 10, 10, 40, 40))["files"]["value"]
    assert "film-frame1_mask.png" in {Path(path).name for path in files}
    with pytest.raises(ImageError, match=r"^film\.tif: has no frame 2"):
        actions.frame(opened["session"], 2)
    assert actions.phantom(moved["session"])["frame"]["visible"] is False
    assert actions.open(moved["session"], str(tmp_path / "scan.one.png"))["frame"]["visible"] is False
    assert actions.frame(Session(), 1) == {}


def test_a_phantom_comes_with_box_and_truth(actions: Actions) -> None:
    changes = actions.phantom(Session())
    picture = changes["session"].picture
    rows, columns = np.nonzero(picture.truth)
    assert [changes[name]["value"] for name in ("x0", "y0", "x1", "y1")] == [
        columns.min(),
        rows.min(),
        columns.max() + 1,
        rows.max() + 1,
    ]
    assert actions.phantom(changes["session"])["session"].picture.file != picture.file


def test_the_drawing_and_the_numbers_tell_the_same(actions: Actions, loaded: Session) -> None:
    """The drawing shows small pictures enlarged; every box comes back as it was typed."""
    generator = np.random.default_rng(5)
    height, width = loaded.picture.image.shape  # type: ignore[union-attr]
    for _ in range(50):
        x0, y0 = generator.integers(0, width - 2), generator.integers(0, height - 2)
        box = [int(x0), int(y0), int(generator.integers(x0 + 1, width)), int(generator.integers(y0 + 1, height))]
        drawing = actions.typed(loaded, *box)["drawing"]["value"]
        assert drawing["image"].shape[0] > height
        drawn = actions.drawn(loaded, drawing)
        assert [drawn[name]["value"] for name in ("x0", "y0", "x1", "y1")] == box
    assert actions.drawn(loaded, {"boxes": []})["x0"] == {"value": None}
    assert actions.typed(loaded, 1, 2, None, 4) == {}


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ([0, 0, 0, 0], "there is no box yet"),
        ([1, 2, None, 4], "there is no box yet"),
        ([5, 5, 5, 9], r"X0 5, Y0 5, X1 5, Y1 9: .* has no width"),
        ([30, 5, 20, 9], "is inverted"),
        ([5, 5, 9999, 9], "reaches outside its image"),
    ],
)
def test_bad_boxes(actions: Actions, loaded: Session, box: list[Any], fault: str) -> None:
    with pytest.raises(BoxError, match=fault):
        last(actions.segment(loaded, "box", 0, *box))


def test_bad_files(actions: Actions, loaded: Session, phantoms: list[Case], tmp_path: Path) -> None:
    image = phantoms[0].image
    colour = np.repeat(image[..., None], 3, axis=2)
    colour[..., 0] //= 2
    whole = cv2.imencode(".png", image)[1].tobytes()
    for name, data, fault in (
        ("colour.png", cv2.imencode(".png", colour)[1].tobytes(), "found colour"),
        ("deep.png", cv2.imencode(".png", image.astype(np.uint16) * 256)[1].tobytes(), "found 16-bit"),
        ("cut.png", whole[: len(whole) // 2], "damaged or cut short"),
        ("text.png", b"hello", "is no readable"),
        ("large.png", cv2.imencode(".png", np.zeros((4001, 4000), np.uint8))[1].tobytes(), "is 4001x4000 pixels"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=fault) as told:
            actions.open(loaded, str(tmp_path / name))
        assert str(told.value).startswith(name)
        assert str(tmp_path) not in str(told.value)
    cv2.imwrite(str(tmp_path / "other.png"), image[:50])
    with pytest.raises(MaskError, match=r"^other\.png: mask is 50x"):
        actions.truth(loaded, str(tmp_path / "other.png"))


def test_what_comes_too_early_or_is_unknown(actions: Actions, loaded: Session, phantoms: list[Case]) -> None:
    with pytest.raises(EpisodeError, match="there is no picture yet"):
        actions.superpixels(Session(), 1, 2, 3, 4)
    with pytest.raises(EpisodeError, match="there is no walk to film yet"):
        actions.gif(loaded)
    with pytest.raises(ConfigError, match="unknown method"):
        last(actions.segment(loaded, "unet:/etc/passwd", 0, *corners(phantoms[1])))
    assert actions.step(loaded, 0) == {}


@pytest.mark.parametrize("name", ["oracle", "onnx"])
def test_methods_that_want_truth_or_a_file_are_not_offered(
    name: str, actions: Actions, loaded: Session, phantoms: list[Case]
) -> None:
    assert name not in offered()
    with pytest.raises(ConfigError, match="unknown method"):
        last(actions.segment(loaded, name, 0, *corners(phantoms[1])))


def test_agents_are_watched(phantoms: list[Case], loaded: Session, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the agents need torch")
    pytest.importorskip("monai", reason="a pipeline's student is one of MONAI's networks")
    from tests.agents.test_segment import tiny_pipeline
    from tests.agents.test_student import tiny_students

    tiny_students(tiny_pipeline(tmp_path / "weights"))
    actions = Actions(Desk(tmp_path / "weights"), tmp_path / "made")
    box = corners(phantoms[1])
    cells = actions.superpixels(loaded, *box)
    assert int(cells["count"]["value"].split()[0]) > 3

    seen = list(actions.watch(loaded, 0, *box))
    session = seen[-1]["session"]
    assert session.walk_of is not None
    assert seen[1]["session"].walk_of is None
    assert len(session.walked) == len(seen) - 2
    np.testing.assert_array_equal(actions.step(session, 1)["film"]["value"], seen[2]["film"]["value"])
    assert actions.step(session, len(session.walked)) == {}
    film = Path(actions.gif(session)["gif"]["value"])
    assert film.name == "scan.gif"
    assert film.read_bytes().startswith(b"GIF8")

    changes = last(actions.segment(session, "flip", 0, *box))
    assert changes["session"].walked is session.walked
    np.testing.assert_array_equal(changes["curve"]["value"], seen[-2]["film"]["value"])
    moved = last(actions.segment(session, "flip", 7, *box))
    assert moved["session"].walk_of == (session.walk_of[0], 7)
    assert (moved["session"].result.case.box != phantoms[1].box) == ("Box moved by" in moved["table"]["value"])


def test_errors_are_this_projects_own(actions: Actions, loaded: Session, phantoms: list[Case]) -> None:
    """A pipeline that is not there is told on the page as on the command line."""
    lost = Actions(Desk(Path("nowhere")), actions.folder)
    with pytest.raises(FlipError, match="nowhere"):
        lost.superpixels(loaded, *corners(phantoms[1]))
