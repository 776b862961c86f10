"""One rule for all formats: pixels as they are stored, whatever EXIF data or TIFF tags say of their orientation."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from flipenv.errors import BoxError, ImageError, OrientationWarning
from flipenv.sources import CocoSource, TableSource, read_image, read_mask

# Smooth, as JPEG smears, and the same from no two sides.
GREY = np.add.outer(np.arange(32) * 2, np.arange(48) * 3).astype(np.uint8)
MASK = np.zeros((32, 48), np.uint8)
MASK[4:20, 30:40] = MASK[4:8, 5:40] = 255
TURNED = range(2, 9)
TIFFS = ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "multiple"]
WAYS = ["png", "jpg", *TIFFS]


def save(array: NDArray[Any], path: Path, orientation: int, way: str) -> Path:
    """Write a picture with its orientation, as EXIF data or as the tag of a TIFF."""
    options: dict[str, Any] = {}
    if way in TIFFS:
        path = path.with_suffix(".tif")
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[274] = orientation
        options = {"tiffinfo": tags, "compression": None if way in ("raw", "multiple") else way}
    else:
        path = path.with_suffix(f".{way}")
        exif = Image.Exif()
        exif[274] = orientation
        options = {"exif": exif} | ({"quality": 100} if way == "jpg" else {})
    picture = Image.fromarray(array)
    if way == "multiple":
        options |= {"save_all": True, "append_images": [Image.fromarray(255 - array)]}
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("way", WAYS)
def test_images(tmp_path: Path, way: str, orientation: int) -> None:
    path = save(GREY, tmp_path / "scan", orientation, way)
    frame = 0 if way == "multiple" else None
    with pytest.warns(OrientationWarning, match=rf"scan\..*read as stored.*\(orientation {orientation}\)") as told:
        image = read_image(path, frame=frame)
    assert len(told) == 1
    assert image.shape == GREY.shape
    assert np.abs(image.astype(int) - GREY).max() <= (2 if way == "jpg" else 0)
    with pytest.raises(ImageError, match=rf"scan\..*\(orientation {orientation}\).*save it upright"):
        read_image(path, frame=frame, upright=True)


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize(
    ("way", "kind"),
    [(way, kind) for way in ("png", "raw", "tiff_lzw", "tiff_adobe_deflate", "packbits") for kind in ("grey", "bit")]
    + [(way, "float") for way in ("raw", "tiff_lzw", "tiff_adobe_deflate")],
)
def test_masks_say_nothing_and_are_as_stored(tmp_path: Path, way: str, orientation: int, kind: str) -> None:
    array = {"grey": MASK, "bit": MASK > 0, "float": MASK.astype(np.float32)}[kind]
    path = save(array, tmp_path / "mask", orientation, way)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_mask(path, GREY.shape), MASK > 0)


@pytest.mark.parametrize("orientation", [1, 0, 9, 77])
@pytest.mark.parametrize("way", ["png", "jpg", "raw", "multiple"])
def test_upright_and_unheard_of_orientations_are_no_matter(tmp_path: Path, way: str, orientation: int) -> None:
    path = save(GREY, tmp_path / "scan", orientation, way)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path, frame=0 if way == "multiple" else None, upright=True).shape == GREY.shape


def test_damaged_exif_data_turn_nothing(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "scan.png", exif=b"Exif\0\0nonsense that is no TIFF")
    np.testing.assert_array_equal(read_image(tmp_path / "scan.png", upright=True), GREY)


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("way", ["png", "jpg", "raw", "tiff_lzw"])
def test_a_box_and_a_mask_fit_whatever_each_of_them_says(tmp_path: Path, way: str, orientation: int) -> None:
    image = save(GREY, tmp_path / "scan", orientation, way)
    mask = save(MASK, tmp_path / "mask", 10 - orientation, "png" if way == "jpg" else way)
    table = tmp_path / "t.csv"
    table.write_text(f"image,mask,top,left,bottom,right\n{image.name},{mask.name},4,5,20,40\n")
    with pytest.warns(OrientationWarning):
        case = TableSource(table).load(0)
    np.testing.assert_array_equal(case.mask, MASK > 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.filterwarnings("ignore::flipenv.errors.OrientationWarning")
def test_a_coco_file_that_was_drawn_on_the_turned_picture_is_refused(tmp_path: Path, orientation: int) -> None:
    save(GREY, tmp_path / "phone", orientation, "jpg")
    height, width = GREY.shape if orientation < 5 else GREY.T.shape
    record = {"id": 1, "file_name": "phone.jpg", "height": height, "width": width}
    source = CocoSource(coco(tmp_path, record))
    if orientation < 5:  # a viewer's picture has the same size: all that can be done is to warn
        assert source.load(0).image.shape == GREY.shape
    else:
        with pytest.raises(BoxError, match="drawn on an image of 48x32 .* but the file has 32x48: .* EXIF orientation"):
            source.load(0)


def coco(folder: Path, record: dict[str, Any]) -> Path:
    content = {"images": [record], "annotations": [{"id": 1, "image_id": 1, "bbox": [5, 4, 20, 12]}]}
    (folder / "c.json").write_text(json.dumps(content))
    return folder / "c.json"
