"""The page's buttons without a page."""

from __future__ import annotations

import base64
import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from flipagents.compare.methods import make_method, run_method
from flipagents.metrics import dice
from flipagents.segment.answer import Answer
from flipagents.serve.page_actions import Actions
from flipagents.serve.page_messages import briefly, refused
from flipagents.serve.page_state import Session
from flipagents.serve.page_weights import Choices
from flipagents.serve.service import available_methods
from flipenv.errors import BoxError, ConfigError, EpisodeError, FlipError, ImageError, MaskError
from flipenv.sources import open_source, read_image
from flipenv.types import Box, Case

nibabel = pytest.importorskip("nibabel")
pytest.importorskip("pycocotools")


@pytest.fixture
def actions(tmp_path: Path) -> Actions:
    return Actions(Choices(), tmp_path / "made")


@pytest.fixture
def loaded(actions: Actions, phantoms: list[Case], tmp_path: Path) -> Session:
    return opened(actions, picture(tmp_path / "scan.one.png", phantoms[1]))


def picture(path: Path, case: Case) -> Path:
    cv2.imwrite(str(path), case.image)
    return path


def opened(actions: Actions, *paths: Path) -> Session:
    session = Session()
    actions.open(session, [str(path) for path in paths])
    return session


def segmented(actions: Actions, session: Session, method: str, box: list[int], margin: int = 0) -> Any:
    return last(actions.segment(session, "", method, None, margin, *box))


def mask_of(session: Session) -> Any:
    return session.shown().nodule.mask


def corners(case: Case) -> list[int]:
    return [case.box.left, case.box.top, case.box.right, case.box.bottom]


def last(changes: Any) -> Any:
    *_, end = changes
    return end


def test_an_image_and_its_mask(actions: Actions, loaded: Session, phantoms: list[Case], tmp_path: Path) -> None:
    case = phantoms[1]
    changes = segmented(actions, loaded, "polar", corners(case))
    (expected,) = run_method(make_method("polar"), [case])
    np.testing.assert_array_equal(mask_of(loaded), expected)
    assert shown_mask(changes["drawing"]["value"]).sum() == expected.sum()
    assert f"**{expected.sum()} px**, no corrections" in changes["card"]["value"]
    assert "Made by polar (busi-small)" in changes["card"]["value"]
    assert "ellipse" not in changes["card"]["value"]

    cv2.imwrite(str(tmp_path / "truth.png"), case.mask.astype(np.uint8) * 255)
    compared = actions.truth(loaded, str(tmp_path / "truth.png"))
    assert f"| **polar** | {dice(expected, case.mask):.3f} |" in compared["card"]["value"]
    assert "| ellipse |" in compared["card"]["value"]
    again = actions.open(loaded, [str(tmp_path / "scan.one.png")])
    assert loaded.shown().nodule.result is None
    assert loaded.shown().picture.truth is None
    assert (again["drawing"]["value"]["mask"], again["drawing"]["value"]["count"]) == (None, 2)


def shown_mask(value: dict[str, Any]) -> Any:
    data = base64.b64decode(value["mask"].removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[..., 3] > 0


def test_a_film(actions: Actions, loaded: Session, phantoms: list[Case], tmp_path: Path) -> None:
    images = [phantoms[0].image, phantoms[0].image[::-1]]
    first, second = map(Image.fromarray, images)
    first.save(tmp_path / "film.tif", save_all=True, append_images=[second])
    changes = actions.open(loaded, [str(tmp_path / "film.tif")])
    assert changes["frame"] == {"visible": True, "maximum": 1, "value": 0}
    np.testing.assert_array_equal(loaded.shown().picture.image, images[0])
    actions.frame(loaded, 1)
    np.testing.assert_array_equal(loaded.shown().picture.image, images[1])
    segmented(actions, loaded, "box", [10, 10, 40, 40])
    assert "film-frame1_mask.png" in saved(actions, loaded, tmp_path / "taken")
    with pytest.raises(ImageError, match=r"^film\.tif: has no frame 2"):
        actions.frame(loaded, 2)
    actions.frame(loaded, 0)
    assert mask_of(loaded) is None
    actions.frame(loaded, 1)
    assert mask_of(loaded).sum() == 900, "a frame keeps its boxes and masks"
    assert actions.phantom(loaded)["frame"]["visible"] is False
    assert actions.frame(Session(), 1) == {}


def saved(actions: Actions, session: Session, folder: Path) -> dict[str, Path]:
    """The files of the download, by name."""
    url = actions.save(session)["drawing"]["value"]["download"]
    with zipfile.ZipFile(url.removeprefix("gradio_api/file=")) as file:
        file.extractall(folder)
    return {path.name: path for path in folder.iterdir()}


def test_a_turned_image_is_shown_as_it_is_taken(
    actions: Actions, phantoms: list[Case], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    Image.fromarray(phantoms[0].image).save(tmp_path / "turned.png", exif=exif)
    session = Session()
    changes = actions.open(session, [str(tmp_path / "turned.png")])
    np.testing.assert_array_equal(session.shown().picture.image, phantoms[0].image)
    assert changes["drawing"]["value"]["height"] == phantoms[0].image.shape[0]
    assert not recwarn.list
    read_image(tmp_path / "turned.png")
    assert len(recwarn.list) == 1


def test_a_phantom_comes_with_box_and_truth(actions: Actions) -> None:
    session = Session()
    changes = actions.phantom(session)
    rows, columns = np.nonzero(session.shown().picture.truth)
    assert [changes[name]["value"] for name in ("x0", "y0", "x1", "y1")] == [
        columns.min(),
        rows.min(),
        columns.max() + 1,
        rows.max() + 1,
    ]
    actions.phantom(session)
    first, second = session.sheets
    assert first.name != second.name


def test_the_drawing_and_the_numbers_tell_the_same(actions: Actions, loaded: Session) -> None:
    """Every box comes back as it was typed."""
    generator = np.random.default_rng(5)
    height, width = loaded.shown().picture.image.shape
    for turn in range(50):
        x0, y0 = generator.integers(0, width - 2), generator.integers(0, height - 2)
        box = [int(x0), int(y0), int(generator.integers(x0 + 1, width)), int(generator.integers(y0 + 1, height))]
        drawing = actions.typed(loaded, {"turn": turn}, *box)["drawing"]["value"]
        assert (drawing["width"], drawing["height"], drawing["turn"]) == (width, height, turn)
        drawn = actions.drawn(loaded, drawing)
        assert [drawn[name]["value"] for name in ("x0", "y0", "x1", "y1")] == box
        assert drawn["drawing"]["value"] == drawing
    assert actions.drawn(loaded, {"box": None}) == {}
    assert actions.typed(loaded, None, 1, 2, None, 4) == {}
    assert actions.typing(loaded, None, 9, 2, 3, 4) == {}


@pytest.mark.parametrize(
    ("sides", "box"),
    [
        ([10.4, 20.5, 30.5, 40.4], [10, 20, 31, 40]),
        ([-59, -0.2, 20, 1e9], [0, 0, 20, 160]),
        ([30, 40, 30.2, 40], [30, 40, 31, 41]),
        ([-5, -5, -1, -1], [0, 0, 1, 1]),
        ([500, 500, 600, 600], [223, 159, 224, 160]),
    ],
)
def test_a_box_that_is_dragged_never_leaves_the_image(
    actions: Actions, tmp_path: Path, sides: list[float], box: list[int]
) -> None:
    cv2.imwrite(str(tmp_path / "scan.png"), np.zeros((160, 224), np.uint8))
    loaded = opened(actions, tmp_path / "scan.png")
    drawn = actions.drawn(loaded, {"box": sides})
    assert [drawn[name]["value"] for name in ("x0", "y0", "x1", "y1")] == box


@pytest.mark.parametrize("sides", [[1, 2, 3], "abcd", [1, 2, 3, "4"], [1, 2, 3, float("nan")], {}])
def test_sides_that_are_none(actions: Actions, loaded: Session, sides: Any) -> None:
    with pytest.raises(BoxError):
        actions.drawn(loaded, {"box": sides})


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ([0, 0, 0, 0], "there is no box yet"),
        ([None, None, None, None], "there is no box yet"),
        ([1, 2, None, 4], "expected four whole numbers for the box"),
        ([1, 2, 30.5, 40], "expected four whole numbers for the box"),
        ([5, 5, 5, 9], "the box is empty"),
        ([30, 5, 20, 9], "the box is empty"),
        ([5, 5, 9999, 9], "the box leaves the image; X goes from 0 to "),
        ([-59, 5, 50, 9], "the box leaves the image; X goes from 0 to "),
        ([5, -1, 50, 9], "the box leaves the image; X goes from 0 to "),
    ],
)
def test_bad_boxes(actions: Actions, loaded: Session, box: list[Any], fault: str) -> None:
    with pytest.raises(BoxError, match=fault):
        segmented(actions, loaded, "box", box)


def test_a_mask_of_another_box_is_outdated(actions: Actions, loaded: Session, phantoms: list[Case]) -> None:
    box = corners(phantoms[1])
    assert segmented(actions, loaded, "polar", box)["note"]["value"] == ""
    for other, told in (([1, 2, 30, 40], "Outdated: made with another box. Press 'Segment'."), (box, "")):
        assert actions.typed(loaded, None, *other)["note"]["value"] == told


@pytest.mark.parametrize(
    ("name", "images"), [("1.2.840.7.png", 1), ("P003.2021.left.nii.gz", 1), ("1.2.840.8.dcm", 1), ("loop.v2.tif", 2)]
)
def test_what_was_taken_is_segmented_again(
    actions: Actions, phantoms: list[Case], tmp_path: Path, name: str, images: int
) -> None:
    """The JSON beside the image is a source: same image, same box, same mask."""
    case = phantoms[1]
    upload = tmp_path / "sent" / name
    upload.parent.mkdir()
    if name.endswith(".gz"):
        nibabel.Nifti1Image(case.image.T, np.eye(4)).to_filename(upload)
    elif name.endswith(".dcm"):
        pytest.importorskip("pydicom")
        write_dicom(upload, case.image)
    else:
        first, *rest = [Image.fromarray(case.image[:: (-1) ** number]) for number in range(images)]
        first.save(upload, **({"save_all": True, "append_images": rest} if rest else {}))
    session = opened(actions, upload)
    if images > 1:
        actions.frame(session, 1)
    segmented(actions, session, "ellipse", corners(case))
    taken = saved(actions, session, tmp_path / "taken")
    stem = {"P003.2021.left.nii.gz": "P003.2021.left", "loop.v2.tif": "loop.v2-frame1"}.get(name, name[:-4])
    assert f"{stem}_mask.png" in taken
    shutil.copy(taken["coco.json"], upload.parent)
    source = open_source(f"coco:{upload.parent / 'coco.json'}")
    again = source.load(0)
    assert len(source) == 1
    assert again.box == case.box
    np.testing.assert_array_equal(again.image, session.shown().picture.image)
    np.testing.assert_array_equal(again.mask, mask_of(session))


def test_a_slice_of_a_volume_is_taken_as_that_slice(actions: Actions, phantoms: list[Case], tmp_path: Path) -> None:
    case = phantoms[1]
    volume = np.stack([case.image[::-1].T, case.image.T, case.image[::-1].T], axis=2)
    nibabel.Nifti1Image(volume, np.eye(4)).to_filename(tmp_path / "breast.nii.gz")
    session = opened(actions, tmp_path / "breast.nii.gz")
    assert session.shown().picture.frames == 3
    actions.frame(session, 1)
    segmented(actions, session, "ellipse", corners(case))
    taken = saved(actions, session, tmp_path / "taken")
    written = np.asarray(nibabel.load(taken["breast-frame1_mask.nii.gz"]).dataobj)
    np.testing.assert_array_equal(written[:, :, 1].T > 0, mask_of(session))
    assert not written[:, :, [0, 2]].any()


def test_a_phantom_is_taken_with_its_image(actions: Actions, tmp_path: Path) -> None:
    session = Session()
    changes = actions.phantom(session)
    segmented(actions, session, "ellipse", [changes[name]["value"] for name in ("x0", "y0", "x1", "y1")])
    taken = saved(actions, session, tmp_path / "taken")
    again = open_source(f"coco:{taken['coco.json']}").load(0)
    np.testing.assert_array_equal(again.image, session.shown().picture.image)


def test_bad_files(actions: Actions, loaded: Session, phantoms: list[Case], tmp_path: Path) -> None:
    image = phantoms[0].image
    colour = np.repeat(image[..., None], 3, axis=2)
    colour[..., 0] //= 2
    whole = cv2.imencode(".png", image)[1].tobytes()
    for name, data, fault in (
        ("colour.png", cv2.imencode(".png", colour)[1].tobytes(), "found colour"),
        ("deep.png", cv2.imencode(".png", image.astype(np.uint16) * 256)[1].tobytes(), "found 16-bit"),
        ("cut.png", whole[: len(whole) // 2], "damaged or truncated"),
        ("text.png", b"hello", "cannot be read as"),
        ("clear.png", cv2.imencode(".png", np.dstack([colour, image]))[1].tobytes(), "alpha channel"),
        ("large.png", cv2.imencode(".png", np.zeros((4001, 4000), np.uint8))[1].tobytes(), "is 4001x4000 pixels"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=fault) as told:
            actions.open(loaded, [str(tmp_path / name)])
        assert str(told.value).startswith(name)
        assert str(tmp_path) not in str(told.value)
        said = briefly(told.value)
        assert said.startswith(name)
        assert len(said) <= 222
        assert not [word for word in ("Image.", "convert(", "astype", "Pillow", "example", "`") if word in said]
    cv2.imwrite(str(tmp_path / "other.png"), image[:50])
    with pytest.raises(MaskError, match=r"^other\.png: mask is 50x"):
        actions.truth(loaded, str(tmp_path / "other.png"))
    several = actions.open(loaded, [str(tmp_path / name) for name in ("text.png", "other.png", "deep.png")])
    assert several["status"]["value"].startswith("2 of 3 files are left out: text.png: ")
    assert [sheet.name for sheet in loaded.sheets] == ["scan.one.png", "other.png"]


def test_what_comes_too_early_or_is_unknown(actions: Actions, loaded: Session, phantoms: list[Case]) -> None:
    with pytest.raises(EpisodeError, match="there is no picture yet"):
        last(actions.watching.superpixels(Session(), "", 1, 2, 3, 4))
    with pytest.raises(EpisodeError, match="there is no walk yet"):
        actions.watching.gif(loaded)
    with pytest.raises(ConfigError, match="unknown method"):
        segmented(actions, loaded, "unet:/etc/passwd", corners(phantoms[1]))
    with pytest.raises(ConfigError, match="there is no method yet"):
        last(actions.segment(loaded, "", None, None, 0, *corners(phantoms[1])))
    with pytest.raises(EpisodeError, match="there is no mask yet"):
        actions.save(loaded)
    with pytest.raises(EpisodeError, match="there is no mask to mend yet"):
        actions.asked(loaded, {"ask": {"what": "erase", "row": 1, "column": 1, "reach": 0, "size": 1}})
    assert actions.watching.step(loaded, 0) == {}


@pytest.mark.parametrize("name", ["oracle", "onnx"])
def test_methods_that_want_truth_or_a_file_are_not_offered(
    name: str, actions: Actions, loaded: Session, phantoms: list[Case]
) -> None:
    assert name not in available_methods()
    with pytest.raises(ConfigError, match="unknown method"):
        last(actions.segment(loaded, "", None, name, 0, *corners(phantoms[1])))


def test_agents_are_watched(phantoms: list[Case], loaded: Session, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the agents need torch")
    pytest.importorskip("monai", reason="a pipeline's student is one of MONAI's networks")
    from tests.maps.test_network import tiny_students
    from tests.segment.test_segmenter import tiny_pipeline

    tiny_students(tiny_pipeline(tmp_path / "weights"))
    actions = Actions(Choices(tmp_path / "weights"), tmp_path / "made")
    assert actions.choices.first.method == "flip"
    box = corners(phantoms[1])
    cells = last(actions.watching.superpixels(loaded, "weights", *box))
    assert int(cells["count"]["value"].split()[0]) > 3

    seen = []
    for changes in actions.watching.watch(loaded, "weights", 0, *box):
        seen.append(changes)
        assert (loaded.walk_of is None) == ("status" not in changes or changes["status"]["value"] != "")
    assert loaded.walk_of is not None
    scenes = [each for each in seen if "step" in each]
    assert len(loaded.walked) == len(scenes)
    np.testing.assert_array_equal(actions.watching.step(loaded, 1)["film"]["value"], scenes[1]["film"]["value"])
    assert actions.watching.step(loaded, len(loaded.walked)) == {}
    film = Path(actions.watching.gif(loaded)["gif"]["value"])
    assert film.name == "scan.one.gif"
    assert film.read_bytes().startswith(b"GIF8")

    last(actions.segment(loaded, "weights", "flip", None, 0, *box))
    assert mask_of(loaded).any()
    moved = last(actions.segment(loaded, "weights", "flip", None, 7, *box))
    assert (loaded.shown().nodule.result.case.box != phantoms[1].box) == ("Box moved by" in moved["card"]["value"])  # type: ignore[union-attr]


def test_errors_are_this_projects_own(actions: Actions, loaded: Session, phantoms: list[Case]) -> None:
    """A pipeline that is not there is told on the page as on the command line."""
    lost = Actions(Choices(Path("nowhere")), actions.store.folder)
    with pytest.raises(FlipError, match="nowhere"):
        last(lost.watching.superpixels(loaded, "nowhere", *corners(phantoms[1])))


def write_dicom(path: Path, image: np.ndarray[Any, Any]) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = image.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = image.tobytes()
    data.save_as(path, enforce_file_format=True)


def test_messages() -> None:
    assert refused(FlipError("<b>no</b>")) == '<span class="refused">&lt;b&gt;no&lt;/b&gt;</span>'
    assert briefly(FlipError("there is\n  none")) == "There is none"
    box = FlipError("all pixels inside the box (17, 63, 29, 88) are grey level 3")  # rows first, as no part of the page
    assert briefly(box) == "All pixels inside the box are grey level 3"
    long = briefly(FlipError("word " * 100))
    assert len(long) <= 222
    assert long.endswith("word …")


def test_how_sure_each_mask_is_and_which_comes_first(actions: Actions, phantoms: list[Case], tmp_path: Path) -> None:
    names = ["a.png", "b.png", "c.png"]
    session = opened(actions, *(picture(tmp_path / name, case) for name, case in zip(names, phantoms, strict=False)))
    rated: dict[str, float] = {}
    for index, case in enumerate(phantoms[:3]):
        session.show(index)
        card = segmented(actions, session, "contour", corners(case))["card"]["value"]
        assert "Predicted Dice **0." in card
        assert ", 90%: 0." in card
        rated[session.shown().name] = float(card.partition("Dice **")[2][:4])
    shown = session.shown().nodule.mending()
    inside = np.argwhere(shown.mask)[0]
    ask = {"what": "pass", "row": int(inside[0]), "column": int(inside[1]), "reach": 0, "size": 1}
    mended = actions.asked(session, {"turn": 1, "ask": ask})["card"]["value"]
    assert "1 correction" in mended
    assert "Predicted Dice **0." in mended, "it is rated again"
    session.shown().nodule.mending().undo()
    actions.sort(session)
    assert [sheet.name for sheet in session.sheets] == sorted(rated, key=lambda name: (rated[name], name))
    first = session.shown().name
    card = segmented(actions, session, "polar", corners(phantoms[names.index(first)]))["card"]["value"]
    assert "Predicted" not in card, "a rule has no map to rate it by"
    actions.sort(session)
    assert session.sheets[-1].name == first


def test_a_person_s_word_is_certain() -> None:
    seen = np.full((4, 5), 0.3, np.float32)
    answer = Answer(np.zeros((4, 5), bool), Box(0, 0, 4, 5), seen, {"rule": 1 - seen})
    mask = np.zeros((4, 5), bool)
    mask[1, 2:4] = True
    mended = answer.mended(mask)
    np.testing.assert_array_equal(mended.map, np.where(mask, np.float32(1), seen))
    np.testing.assert_array_equal(mended.opinions["rule"], np.where(mask, np.float32(1), 1 - seen))
    assert mended.map is not None
    assert mended.map.dtype == np.float32
