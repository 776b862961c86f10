"""What a mask may hold: 0 and one other value, or labels; in every format that masks come in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from flipenv.errors import MaskError
from flipenv.sources import read_mask

INSIDE = np.zeros((30, 50), bool)
INSIDE[4:20, 31:44] = True
RAMP = np.where(INSIDE, np.linspace(0.1, 0.9, 50), 0)


def save(array: NDArray[Any], path: Path) -> Path:
    if path.name.endswith((".nii", ".nii.gz")):
        nibabel = pytest.importorskip("nibabel")
        nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4)), path)
    elif path.suffix == ".dcm":
        pytest.importorskip("pydicom")
        from tests.sources.test_medical import write_dicom

        write_dicom(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


FLOATS, SIGNED, UNSIGNED = ["m.tif", "m.nii.gz"], ["m.tif", "m.nii", "m.dcm"], ["m.png", "m.tif", "m.nii", "m.dcm"]


@pytest.mark.parametrize(
    ("names", "array"),
    [
        (FLOATS, np.where(INSIDE, 1, 0).astype(np.float32)),
        (FLOATS, np.where(INSIDE, 0.5, 0).astype(np.float32)),
        (FLOATS, np.where(INSIDE, np.arange(50) % 3 + 1, 0).astype(np.float32)),
        (SIGNED, np.where(INSIDE, 1000, 0).astype(np.int16)),
        (UNSIGNED, np.where(INSIDE, np.arange(50) % 3 + 1, 0).astype(np.uint8)),
        (UNSIGNED, np.where(INSIDE, 65535, 0).astype(np.uint16)),
    ],
    ids=["0 and 1", "0 and 0.5", "float labels", "signed", "labels", "16 bits"],
)
def test_masks(tmp_path: Path, names: list[str], array: NDArray[Any]) -> None:
    for name in names:
        if name.endswith("tif") and array.dtype == np.int16:
            array = array.astype(np.int32)
        np.testing.assert_array_equal(read_mask(save(array, tmp_path / name), (30, 50)), INSIDE)


@pytest.mark.parametrize(
    ("names", "array", "found"),
    [
        (FLOATS, np.where(INSIDE, 1, np.nan).astype(np.float32), "holds 1, nan, one of which is not a number"),
        (FLOATS, np.where(INSIDE, np.nan, 0).astype(np.float32), "holds 0, nan, one of which is not a number"),
        (FLOATS, np.where(INSIDE, np.inf, 0).astype(np.float32), "holds 0, inf, one of which is not a number"),
        (FLOATS, np.where(INSIDE, 1, -1).astype(np.float32), "holds -1, 1, one of which is negative"),
        (FLOATS, np.where(INSIDE, -0.5, 0).astype(np.float32), "holds -0.5, 0, one of which is negative"),
        (FLOATS, RAMP.astype(np.float32), r"holds 0, .*, \.\.\. \(14 values\), one of which is a fraction"),
        (FLOATS, np.where(INSIDE, 1, 2).astype(np.float32), "holds 1, 2, none of which is 0"),
        (SIGNED, np.where(INSIDE, 1, -1).astype(np.int16), "holds -1, 1, one of which is negative"),
        (SIGNED, np.where(INSIDE, -1024, 0).astype(np.int16), "holds -1024, 0, one of which is negative"),
        (UNSIGNED, np.where(INSIDE, 255, 128).astype(np.uint8), "holds 128, 255, none of which is 0"),
        (UNSIGNED, np.where(INSIDE, 2, 1).astype(np.uint16), "holds 1, 2, none of which is 0"),
    ],
)
def test_what_is_no_mask(tmp_path: Path, names: list[str], array: NDArray[Any], found: str) -> None:
    for name in names:
        if name.endswith("tif") and array.dtype == np.int16:
            array = array.astype(np.int32)
        with pytest.raises(MaskError, match=rf"{name}: mask {found}; expected 0 outside and one other value inside"):
            read_mask(save(array, tmp_path / name), (30, 50))


@pytest.mark.parametrize("value", [0, 1, 255])
def test_one_value_everywhere_is_nothing_or_all(tmp_path: Path, value: int) -> None:
    mask = read_mask(save(np.full((30, 50), value, np.uint8), tmp_path / "m.png"), (30, 50))
    assert mask.all() if value else not mask.any()


def test_colours_are_labels_on_black(tmp_path: Path) -> None:
    colours = np.zeros((30, 50, 3), np.uint8)
    colours[INSIDE] = 0, 0, 200
    colours[5, 35] = 200, 0, 0
    np.testing.assert_array_equal(read_mask(save(colours, tmp_path / "m.png"), (30, 50)), INSIDE)
    colours[~INSIDE] = 0, 9, 0
    with pytest.raises(MaskError, match=r"holds \(0, 0, 200\), \(0, 9, 0\), \(200, 0, 0\), none of which is black"):
        read_mask(save(colours, tmp_path / "m.png"), (30, 50))
    clear = np.dstack([colours, np.where(INSIDE, 255, 0).astype(np.uint8)])
    np.testing.assert_array_equal(read_mask(save(clear, tmp_path / "m.png"), (30, 50)), INSIDE)


def test_a_16_bit_mask_with_a_transparent_value(tmp_path: Path) -> None:
    array = np.where(INSIDE, 3, 7).astype(np.uint16)
    Image.fromarray(array).save(tmp_path / "m.png", transparency=7)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", (30, 50)), INSIDE)


def test_signed_numbers_of_8_bits_are_not_taken_for_255(tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[339] = 2
    Image.fromarray(np.where(INSIDE, 1, -1).astype(np.int8).view(np.uint8)).save(tmp_path / "m.tif", tiffinfo=tags)
    with pytest.raises(MaskError, match="holds -1, 1, one of which is negative"):
        read_mask(tmp_path / "m.tif", (30, 50))
    Image.fromarray(INSIDE.astype(np.uint8)).save(tmp_path / "m.tif", tiffinfo=tags)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif", (30, 50)), INSIDE)


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "group4"])
@pytest.mark.parametrize("absent", [(258,), (258, 277), (277, 278)])
def test_1_bit_tiffs_without_the_tags_that_have_a_default(
    tmp_path: Path, photometric: int, compression: str | None, absent: tuple[int, ...]
) -> None:
    path = tmp_path / "bit.tif"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = photometric
    Image.fromarray(INSIDE).save(path, tiffinfo=tags, compression=compression)
    path.write_bytes(without(path.read_bytes(), absent))
    with Image.open(path) as picture:
        assert not set(absent) & set(picture.tag_v2)
    shown = read_mask(path, (30, 50))
    np.testing.assert_array_equal(shown, INSIDE)


def without(tiff: bytes, tags: tuple[int, ...]) -> bytes:
    """The bytes of a little-endian TIFF of one page without some of its tags."""
    assert tiff[:4] == b"II*\0"
    start = int.from_bytes(tiff[4:8], "little")
    count = int.from_bytes(tiff[start : start + 2], "little")
    entries = [tiff[start + 2 + 12 * number : start + 14 + 12 * number] for number in range(count)]
    kept = [entry for entry in entries if int.from_bytes(entry[:2], "little") not in tags]
    table = len(kept).to_bytes(2, "little") + b"".join(kept) + bytes(4)
    return tiff[:4] + len(tiff).to_bytes(4, "little") + tiff[8:] + table
