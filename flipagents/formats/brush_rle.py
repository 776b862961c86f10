"""Masks in the run lengths of Label Studio's brush: rle-pack of thi.ng/umbrella on the bytes of an RGBA picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WORD = 8  # bits of a value
SIZES = (3, 4, 8, 16)  # bits in which a run's length may be written
CHANNELS = 4  # equal bytes a pixel, of which the reader takes the last


def encode(mask: NDArray[np.bool_]) -> list[int]:
    """The mask (height, width) bool as bytes 0..255, which read as 255 where the mask is and 0 elsewhere.

    A head of 53 bits (32: number of values, 5: `WORD` - 1, 4 each: `SIZES` - 1), then the runs along the rows: a 1, two
    bits that choose a size, the run's length - 1 in that size, and the value. Longer runs are cut. The last byte is
    filled with 0. The mask must have fewer than 2**30 pixels, and one at least.
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
