"""PNG, JPEG, TIFF and BMP through Pillow; truncated files are rejected."""

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
PNG_DEPTH = 24  # offset of the bits per channel in a PNG
TIFF_DEPTH = 258  # TIFF tag BitsPerSample
TIFF_SAMPLES = 339  # TIFF tag SampleFormat
SIGNED = 2  # value of SampleFormat
WINDOWED = "((x - low) / (high - low) * 255).clip(0, 255).astype('uint8')"

_strict = threading.Lock()


@dataclass(frozen=True, eq=False)
class Stored:
    """A decoded image, rows and columns as stored."""

    picture: Image.Image
    format: str  # one of FORMATS, or MPO
    bits: int  # per channel, at least 8
    signed: bool  # signed 8-bit integers, which Pillow reads as 0..255
    orientation: int  # 1 upright; viewers mirror or rotate 2 to 8


def decode_picture(
    path: Path, data: bytes, frame: int | None = None, limit: int | None = None
) -> tuple[NDArray[np.uint8], int]:
    """Return (height, width) or (height, width, 3) uint8 pixels as stored, and their orientation, 1 to 8.

    `data` are the bytes of `path`. Raises ImageError if the file is damaged, lacks the frame, has several frames and
    none is given, has more than `limit` pixels or 8 bits per channel, is transparent, or is not grey, palette or RGB.
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
                f"{picture.mode}); expected opaque grey: flatten it onto a background and save without alpha"
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
    """Number of pages in the bytes of an image; 1 if damaged."""
    try:
        return int(getattr(Image.open(io.BytesIO(data), formats=FORMATS), "n_frames", 1))
    except Exception:  # Pillow raises almost anything on damaged bytes; `decode_picture` reports it
        return 1


def decode_picture_labels(path: Path, data: bytes, limit: int | None = None) -> NDArray[Any]:
    """Return the numbers (height, width) or colours (height, width, 3) of a mask as stored; black where transparent.

    Raises ImageError if the file is damaged or has more than `limit` pixels, MaskError if it is a JPEG.
    """
    stored = _load(path, data, None, limit)
    picture = stored.picture
    if stored.format in ("JPEG", "MPO"):
        raise MaskError(
            f"{path}: is a JPEG, which blurs the edge of a mask; save the mask as PNG, 0 outside and 255 inside"
        )
    if stored.signed:
        return np.asarray(picture).view(np.int8)
    if picture.mode in ("F", "I") or picture.mode.startswith("I;"):
        numbers = np.asarray(picture)
        return np.where(numbers == picture.info.get("transparency"), 0, numbers)
    if picture.mode in ("1", "L") and not _has_alpha(picture):
        return np.asarray(picture)
    if stored.bits > 8:
        raise MaskError(f"{path}: found a colour mask with more than 8 bits per channel; save it as an 8-bit grey PNG")
    pixels = _rgba(path, picture)
    return pixels[:, :, :3] * (pixels[:, :, 3:] > 0)


def _load(path: Path, data: bytes, frame: int | None, limit: int | None) -> Stored:
    if not data:
        raise ImageError(f"{path}: is empty (0 bytes); copy or download it again")
    try:
        with _whole_files_only():
            if data.startswith(PNG_SIGNATURE):
                # Decoding skips a PNG's checksums, so a flipped bit would pass as a grey level.
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
        raise ImageError(f"{path}: is too large ({error}); crop it around the nodule") from None
    # Pillow raises almost anything on damaged bytes: OSError, SyntaxError, ValueError, struct.error, zlib.error.
    except Exception as error:
        raise ImageError(f"{path}: is damaged or truncated ({error}); copy, download or export it again") from error


def _bits(picture: Image.Image, data: bytes) -> int:
    """Bits per channel as stored: Pillow silently reads 16-bit colour as 8-bit."""
    bits = 32 if picture.mode in ("F", "I") else 16 if picture.mode.startswith("I;") else 8
    if data.startswith(PNG_SIGNATURE):
        return max(data[PNG_DEPTH], 8)
    return max(bits, *_tag(picture, TIFF_DEPTH))


def _tag(picture: Image.Image, tag: int) -> tuple[int, ...]:
    """The values of a TIFF tag; (1,), the default of the tags used here, if absent or not a TIFF."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return (1,)
    value = picture.tag_v2.get(tag, 1)
    return tuple(int(number) for number in value) if isinstance(value, tuple) else (int(value),)


def _rgba(path: Path, picture: Image.Image) -> NDArray[np.uint8]:
    try:
        return np.asarray(picture.convert("RGBA"))
    except (ValueError, TypeError, SystemError) as error:  # transparency does not match the pixels
        raise ImageError(f"{path}: is damaged ({error}); copy, download or export it again") from error


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info


@contextmanager
def _whole_files_only() -> Iterator[None]:
    """Turn off Pillow's LOAD_TRUNCATED_IMAGES, which fills missing rows with grey."""
    if not ImageFile.LOAD_TRUNCATED_IMAGES:
        yield
        return
    with _strict:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = True
