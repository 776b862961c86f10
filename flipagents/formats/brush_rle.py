"""Masks as Label Studio's brush run lengths: rle-pack of thi.ng/umbrella on the bytes of an RGBA image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WORD = 8  # bits of a value
SIZES = (3, 4, 8, 16)  # available bit widths of a run's length
CHANNELS = 4  # equal bytes per pixel; readers use the last


def encode(mask: NDArray[np.bool_]) -> list[int]:
    """Encode a mask (height, width) bool as bytes 0..255 that decode to 255 inside the mask and 0 elsewhere.

    A header of 53 bits (32: number of values, 5: `WORD` - 1, 4 each: `SIZES` - 1), then the runs along the rows: a 1,
    two bits that select a size, the run's length - 1 in that size, and the value. Longer runs are split. The last byte
    is padded with 0. The mask must have at least one and fewer than 2**30 pixels.
    """
    flat = mask.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    head = [f"{flat.size * CHANNELS:032b}", f"{WORD - 1:05b}", *(f"{size - 1:04b}" for size in SIZES)]
    runs = []
    start = 0
    for end in ends.tolist():
        value = f"{255 if flat[start] else 0:0{WORD}b}"
        left = (end - start) * CHANNELS
        while left:
            length = min(left, 1 << SIZES[-1])
            choice, size = next((at, size) for at, size in enumerate(SIZES) if length <= 1 << size)
            runs.append(f"1{choice:02b}{length - 1:0{size}b}{value}")
            left -= length
        start = end
    bits = "".join(head + runs)
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))
