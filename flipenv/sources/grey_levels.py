"""Conversion of DICOM pixels to 8 bits: window, palette and padding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ImageError

FAR = 1e12  # beyond any stored value; windowing maps it to the end of the output range
LINEAR = "LINEAR"  # the default VOI LUT function


def to_display(dataset: Any, pixels: NDArray[Any], pixel_tools: Any) -> NDArray[np.uint8]:
    """Return stored pixels (height, width) or (height, width, channels) as a viewer shows them, in uint8.

    Removes tags without effect from `dataset`. pixel_tools: `pydicom.pixels`. Raises ImageError that names an invalid
    tag, and any error of pydicom.
    """
    photometric = dataset.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        return _coloured(dataset, pixels, pixel_tools)
    if pixels.ndim == 3:
        return (pixels >> max(int(dataset.BitsStored) - 8, 0)).astype(np.uint8)
    _tidy_rescale(dataset)
    has_window = _tidy_window(dataset)
    levels = pixel_tools.apply_modality_lut(pixels, dataset)
    if not np.isfinite(levels).all():
        raise ImageError("found NaN or infinite levels; export it again as integers")
    if dataset.get("VOILUTSequence"):
        levels = pixel_tools.apply_voi(np.rint(levels).astype(np.int64), dataset)
        low, high = 0.0, 2.0 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
    elif has_window:
        levels = pixel_tools.apply_windowing(levels, dataset)
        low, high = pixel_tools.apply_windowing(np.array([-FAR, FAR]), dataset)
    elif levels.dtype == np.uint8 or (levels.min() >= 0 and dataset.BitsStored <= 8 and levels.max() <= 255):
        low, high = 0.0, 255.0
    else:
        meant = levels[~_padding(dataset, pixels)]
        meant = meant if meant.size else levels
        low, high = float(meant.min()), float(meant.max())
    picture = to_uint8(levels, low, high)
    return 255 - picture if photometric == "MONOCHROME1" else picture


def to_uint8(levels: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Map low..high to 0..255, clipped; inverted if low > high, all 0 if they are equal."""
    if low == high:
        return np.zeros(levels.shape, np.uint8)
    scaled = (levels.astype(np.float64) - low) / (high - low) * 255
    stretched: NDArray[np.uint8] = np.rint(scaled.clip(0, 255)).astype(np.uint8)
    return stretched


def _coloured(dataset: Any, pixels: NDArray[Any], pixel_tools: Any) -> NDArray[np.uint8]:
    colours = pixel_tools.apply_color_lut(pixels, dataset)
    if colours.dtype == np.uint16:
        count, first, _ = dataset.RedPaletteColorLookupTableDescriptor
        entries = pixel_tools.apply_color_lut(np.arange(first, first + (count or 1 << 16)), dataset)
        # Many writers store 8-bit entries in the low byte of 16.
        colours = colours if entries.max() <= 255 else colours >> 8
    picture: NDArray[np.uint8] = colours.astype(np.uint8)
    return picture


def _tidy_rescale(dataset: Any) -> None:
    """Set both slope and intercept or neither, as pydicom requires; empty ones are removed."""
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    for name in ("RescaleSlope", "RescaleIntercept"):
        if name in dataset:
            delattr(dataset, name)
    if slope or intercept:
        dataset.RescaleSlope, dataset.RescaleIntercept = slope or 1, intercept or 0


def _tidy_window(dataset: Any) -> bool:
    """Keep only the first valid window; return whether there is one."""
    centers, widths = (_numbers(dataset, name) for name in ("WindowCenter", "WindowWidth"))
    if not dataset.get("VOILUTFunction") and "VOILUTFunction" in dataset:
        del dataset.VOILUTFunction
    for center, width in zip(centers, widths, strict=False):
        if center is None or not width:
            continue
        if width < 0 or (width < 1 and dataset.get("VOILUTFunction", LINEAR).upper() == LINEAR):
            raise ImageError(f"WindowWidth (0028,1051) is {width:g}; expected at least 1: export with another window")
        dataset.WindowCenter, dataset.WindowWidth = center, width
        return True
    return False


def _padding(dataset: Any, pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """Padding pixels, by PixelPaddingValue and RangeLimit, if given."""
    value, limit = _number(dataset, "PixelPaddingValue"), _number(dataset, "PixelPaddingRangeLimit")
    if value is None:
        return np.zeros(pixels.shape, bool)
    if pixels.dtype.kind in "iu":
        # Wrap to the range of stored pixels: some writers store negative values as unsigned.
        size = 1 << int(dataset.BitsStored)
        least = -size // 2 if pixels.dtype.kind == "i" else 0
        value, limit = ((int(each) - least) % size + least for each in (value, value if limit is None else limit))
    low, high = sorted([value, value if limit is None else limit])
    padding: NDArray[np.bool_] = (pixels >= low) & (pixels <= high)
    return padding


def _number(dataset: Any, name: str) -> float | None:
    """The first number of a tag; None if absent or empty, ImageError if not a number."""
    return next(iter(_numbers(dataset, name)), None)


def _numbers(dataset: Any, name: str) -> list[float | None]:
    value = dataset.get(name)
    values = (
        [value] if value is None or isinstance(value, str | bytes) or not hasattr(value, "__iter__") else list(value)
    )
    return [_finite(dataset, name, each) for each in values]


def _finite(dataset: Any, name: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ImageError(f"{name} {dataset[name].tag} is {value!r}; expected a number: export it again")
    return number
