"""Interpretation of stored values as a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipenv.errors import MaskError

MAX_NAMED = 5  # values listed in an error


def as_mask(path: Path, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return (height, width) bool, True where a stored number is not 0, or a colour (height, width, 3) is not black.

    Accepted are 0 and one other value, labels (whole numbers from 0, or colours on black), and one constant value.
    Raises MaskError, listing the values, for anything else: NaN, negatives, fractions, several values without 0.
    """
    single = values if values.ndim == 2 else _packed(values)
    mask: NDArray[np.bool_] = single != 0
    if single.dtype.kind == "f" and not np.isfinite(single).all():
        raise _mask_error(path, values, "is not a number")
    if single.dtype.kind in "if" and single.min() < 0:
        raise _mask_error(path, values, "is negative")
    if single.dtype.kind == "f":
        set_values = single[mask]
        if (set_values != np.rint(set_values)).any() and set_values.min() != set_values.max():
            raise _mask_error(path, values, "is a fraction")
    if mask.all() and single.min() != single.max():
        raise _mask_error(path, values, "is 0" if values.ndim == 2 else "is black", none=True)
    return mask


def _packed(colours: NDArray[Any]) -> NDArray[np.uint64]:
    """One number per colour (height, width, channels of at most 16 bits), 0 for black."""
    packed = np.zeros(colours.shape[:2], np.uint64)
    for channel in range(colours.shape[2]):
        packed = packed << np.uint64(16) | colours[:, :, channel].astype(np.uint64)
    return packed


def _mask_error(path: Path, values: NDArray[Any], fault: str, *, none: bool = False) -> MaskError:
    if values.ndim == 2:
        unique = [f"{value:g}" for value in np.unique(values)]
    else:
        unique = [str(tuple(colour)) for colour in np.unique(values.reshape(-1, values.shape[2]), axis=0).tolist()]
    more = f", ... ({len(unique)} values)" if len(unique) > MAX_NAMED else ""
    return MaskError(
        f"{path}: mask holds {', '.join(unique[:MAX_NAMED])}{more}, {'none' if none else 'one'} of which {fault}; "
        "expected 0 outside and one other value inside, or labels 0, 1, 2, ...: save it so"
    )
