"""Orientation of an image, and its pixels as stored."""

from __future__ import annotations

from PIL import ExifTags, Image, TiffImagePlugin

UPRIGHT = 1  # 2..8 mirror or rotate
UNDO = {  # inverse of what Pillow applies to a TIFF
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def load_as_stored(picture: Image.Image) -> tuple[Image.Image, int]:
    """Decode an opened image; return it with rows and columns as stored, and its orientation, 1 to 8.

    Pillow applies the orientation to TIFF only, which is undone. Raises as Pillow.
    """
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        orientation = _orientation(picture)  # before load, which drops it
        picture.load()
        return picture.transpose(UNDO[orientation]) if orientation in UNDO else picture, orientation
    picture.load()
    try:
        return picture, _orientation(picture)
    except Exception:  # Pillow raises almost anything on damaged metadata, which viewers ignore
        return picture, UPRIGHT


def _orientation(picture: Image.Image) -> int:
    value = picture.getexif().get(ExifTags.Base.Orientation)
    return int(value) if value in UNDO else UPRIGHT
