"""PNG, JPEG, TIFF and BMP through Pillow, whole files only."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from flipenv.errors import ImageError, MaskError
from flipenv.sources.contents import check_extent, check_frame
from flipenv.sources.orientation import load_as_stored

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_DEPTH = 24  # byte of a PNG that holds its bits a channel
TIFF_DEPTH = 258  # TIFF tag BitsPerSample
TIFF_SAMPLES = 339  # TIFF tag SampleFormat
SIGNED = 2  # value of SampleFormat
WINDOWED = "((x - low) / (high - low) * 255).clip(0, 255).astype('uint8')"

_strict = threading.Lock()


@dataclass(frozen=True, eq=False)
class Stored:
    """A decoded picture, its rows and columns as they are in the file."""

    picture: Image.Image
    format: str  # one of FORMATS, or MPO
    bits: int  # a channel, 8 for fewer
    signed: bool  # whole numbers that may be negative, of 8 bits, which Pillow reads as 0..255
    orientation: int  # 1 upright; 2 to 8 are mirrored or turned by viewers


def decode_picture(
    path: Path, data: bytes, frame: int | None = None, limit: int | None = None
) -> tuple[NDArray[np.uint8], int]:
    """Return (height, width) or (height, width, 3) uint8 pixels as stored, and their orientation, 1 to 8.

    `data` are the bytes of `path`. Raises ImageError when the file is damaged, holds no such frame, or several and none
    is named, has more than `limit` pixels or more than 8 bits a channel, is transparent, or is of a colour model other
    than grey, palette and RGB.
    """
    stored = _load(path, data, frame, limit)
    return _levels(path, stored), stored.orientation


def _levels(path: Path, stored: Stored) -> NDArray[np.uint8]:
    picture, bits = stored.picture, stored.bits
    if bits > 8 or stored.signed:
        raise ImageError(
            f"{path}: found {bits}-bit {'floats' if picture.mode == 'F' else 'levels'} "
            f"({'signed, ' if stored.signed else ''}Pillow mode {picture.mode}); "
            f"expected 8-bit grey levels 0..255: choose a window and save the result, for example {WINDOWED}"
        )
    if _has_alpha(picture):
        pixels = _rgba(path, picture)
        clear = (pixels[:, :, 3] != 255).mean()
        if clear:
            raise ImageError(
                f"{path}: found an alpha channel that is not opaque in {clear:.1%} of the pixels (Pillow mode "
                f"{picture.mode}); expected plain grey: put it on a background first, then save without alpha"
            )
        return pixels[:, :, :3]
    if picture.mode in ("1", "L"):
        return np.array(picture.convert("L"))
    if picture.mode in ("P", "RGB"):
        return np.array(picture.convert("RGB"))
    raise ImageError(
        f"{path}: found Pillow mode {picture.mode}; expected 8-bit grey: convert it first, for example "
        f"Image.open({path.name!r}).convert('L').save(...)"
    )


def count_pages(data: bytes) -> int:
    """How many pages there are in the bytes of a picture; 1 for a damaged one."""
    try:
        return int(getattr(Image.open(io.BytesIO(data), formats=FORMATS), "n_frames", 1))
    except Exception:  # damaged bytes make Pillow raise nearly anything; `decode_picture` says what
        return 1


def decode_picture_labels(path: Path, data: bytes, limit: int | None = None) -> NDArray[Any]:
    """Return the numbers (height, width) or colours (height, width, 3) of a mask as stored; black where transparent.

    Raises ImageError when the file is damaged or has more than `limit` pixels, MaskError when it is a JPEG.
    """
    stored = _load(path, data, None, limit)
    picture = stored.picture
    if stored.format in ("JPEG", "MPO"):
        raise MaskError(
            f"{path}: is a JPEG, which smears a mask's edge; save the mask as PNG, 0 outside and 255 inside"
        )
    if stored.signed:
        return np.asarray(picture).view(np.int8)
    if picture.mode in ("F", "I") or picture.mode.startswith("I;"):
        numbers = np.asarray(picture)
        return np.where(numbers == picture.info.get("transparency"), 0, numbers)
    if picture.mode in ("1", "L") and not _has_alpha(picture):
        return np.asarray(picture)
    if stored.bits > 8:
        raise MaskError(f"{path}: found a colour mask of more than 8 bits a channel; save it as an 8-bit grey PNG")
    pixels = _rgba(path, picture)
    return pixels[:, :, :3] * (pixels[:, :, 3:] > 0)


def _load(path: Path, data: bytes, frame: int | None, limit: int | None) -> Stored:
    if not data:
        raise ImageError(f"{path}: is empty (0 bytes); copy or download it again")
    try:
        with _whole_files_only():
            if data.startswith(PNG_SIGNATURE):
                # Decoding alone does not look at a PNG's checksums, so that a flipped bit would pass as a grey level.
                Image.open(io.BytesIO(data), formats=("PNG",)).verify()
            opened = Image.open(io.BytesIO(data), formats=FORMATS)
            opened.seek(check_frame(path, frame, getattr(opened, "n_frames", 1)))
            check_extent(path, opened.height, opened.width, limit)
            bits = _bits(opened, data)
            signed = bits == 8 and opened.mode == "L" and _tag(opened, TIFF_SAMPLES) == (SIGNED,)
            picture, orientation = load_as_stored(opened)
            return Stored(picture, str(opened.format), bits, signed, orientation)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            f"{path}: cannot be read as {', '.join(FORMATS)}, DICOM or NIfTI; check that it is a complete image file"
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: is too large ({error}); cut out the part around the nodule") from None
    # Damaged bytes make Pillow raise nearly anything: OSError, SyntaxError, ValueError, struct.error, zlib.error.
    except Exception as error:
        raise ImageError(f"{path}: is damaged or cut short ({error}); copy, download or export it again") from error


def _bits(picture: Image.Image, data: bytes) -> int:
    """Bits a channel as stored: Pillow reads 16-bit colour as 8-bit without a word."""
    bits = 32 if picture.mode in ("F", "I") else 16 if picture.mode.startswith("I;") else 8
    if data.startswith(PNG_SIGNATURE):
        return max(data[PNG_DEPTH], 8)
    return max(bits, *_tag(picture, TIFF_DEPTH))


def _tag(picture: Image.Image, tag: int) -> tuple[int, ...]:
    """The numbers of a TIFF's tag; (1,), TIFF's default for those that are asked for here, where it has none."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return (1,)
    value = picture.tag_v2.get(tag, 1)
    return tuple(int(number) for number in value) if isinstance(value, tuple) else (int(value),)


def _rgba(path: Path, picture: Image.Image) -> NDArray[np.uint8]:
    try:
        return np.asarray(picture.convert("RGBA"))
    except (ValueError, TypeError, SystemError) as error:  # a transparency of another form than the pixels
        raise ImageError(f"{path}: is damaged ({error}); copy, download or export it again") from error


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info


@contextmanager
def _whole_files_only() -> Iterator[None]:
    """Hold Pillow's switch for cut-short files off: with it on, the missing rows come out grey."""
    if not ImageFile.LOAD_TRUNCATED_IMAGES:
        yield
        return
    with _strict:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = True
