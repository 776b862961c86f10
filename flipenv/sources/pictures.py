"""PNG, JPEG, TIFF and BMP through Pillow, whole files only."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from flipenv.errors import ImageError, MaskError
from flipenv.sources.contents import check_extent, check_frame

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_DEPTH = 24  # byte of a PNG that holds its bits a channel
TIFF_DEPTH = 258  # TIFF tag BitsPerSample
WINDOWED = "((x - low) / (high - low) * 255).clip(0, 255).astype('uint8')"

_strict = threading.Lock()


def decode_picture(path: Path, data: bytes, frame: int | None = None, limit: int | None = None) -> NDArray[np.uint8]:
    """Return (height, width) or (height, width, 3) uint8 pixels as stored; `data` are the bytes of `path`.

    Raises ImageError when the file is damaged, holds no such frame, or several and none is named, has more than `limit`
    pixels or more than 8 bits a channel, is transparent, or is of a colour model other than grey, palette and RGB.
    """
    picture = _load(path, data, frame, limit)
    bits = _bits(picture, data)
    if bits > 8:
        raise ImageError(
            f"{path}: found {bits}-bit {'floats' if picture.mode == 'F' else 'levels'} (Pillow mode {picture.mode}); "
            f"expected 8-bit grey levels 0..255: choose a window and save the result, for example {WINDOWED}"
        )
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        pixels = np.asarray(picture.convert("RGBA"))
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


def decode_picture_mask(path: Path, data: bytes, limit: int | None = None) -> NDArray[np.bool_]:
    """Return (height, width) bool: True where a pixel is neither black nor fully transparent.

    Raises ImageError when the file is damaged or has more than `limit` pixels, MaskError when it is a JPEG.
    """
    picture = _load(path, data, None, limit)
    if picture.format in ("JPEG", "MPO"):
        raise MaskError(
            f"{path}: is a JPEG, which smears a mask's edge; save the mask as PNG, 0 outside and 255 inside"
        )
    if picture.mode in ("F", "I") or picture.mode.startswith("I;"):
        inside: NDArray[np.bool_] = np.asarray(picture) != 0
        return inside
    if _bits(picture, data) > 8:
        raise MaskError(f"{path}: found a colour mask of more than 8 bits a channel; save it as an 8-bit grey PNG")
    pixels = np.asarray(picture.convert("RGBA"))
    inside = (pixels[:, :, :3] > 0).any(axis=2) & (pixels[:, :, 3] > 0)
    return inside


def _load(path: Path, data: bytes, frame: int | None, limit: int | None) -> Image.Image:
    if not data:
        raise ImageError(f"{path}: is empty (0 bytes); copy or download it again")
    try:
        with _whole_files_only():
            if data.startswith(PNG_SIGNATURE):
                # Decoding alone does not look at a PNG's checksums, so that a flipped bit would pass as a grey level.
                Image.open(io.BytesIO(data), formats=("PNG",)).verify()
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            picture.seek(check_frame(path, frame, getattr(picture, "n_frames", 1)))
            check_extent(path, picture.height, picture.width, limit)
            picture.load()
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            f"{path}: is no readable {', '.join(FORMATS)}, DICOM or NIfTI file; check that it is a picture and complete"
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: is too large ({error}); cut out the part around the nodule") from None
    # Damaged bytes make Pillow raise nearly anything: OSError, SyntaxError, ValueError, struct.error, zlib.error.
    except Exception as error:
        raise ImageError(f"{path}: is damaged or cut short ({error}); copy, download or export it again") from error
    return picture


def _bits(picture: Image.Image, data: bytes) -> int:
    """Bits a channel as stored: Pillow reads 16-bit colour as 8-bit without a word."""
    bits = 32 if picture.mode in ("F", "I") else 16 if picture.mode.startswith("I;") else 8
    if data.startswith(PNG_SIGNATURE):
        return max(data[PNG_DEPTH], 8)
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        return max(bits, *(int(depth) for depth in picture.tag_v2.get(TIFF_DEPTH, ())))
    return bits


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
