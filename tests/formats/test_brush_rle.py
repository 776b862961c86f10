"""Brush run lengths, read back by a plain decoder and by Label Studio's own."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from flipagents.formats import brush_rle as brush


def decoded(values: list[int], height: int, width: int) -> NDArray[np.bool_]:
    """Bit by bit, as rle-pack's decoder goes."""
    bits = "".join(f"{value:08b}" for value in values)
    at = 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    number, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    out: list[int] = []
    while len(out) < number:
        repeated = read(1)
        length = read(sizes[read(2)]) + 1
        out += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    assert len(bits) - at < 8
    pixels = np.array(out, np.uint8).reshape(height, width, 4)
    assert set(np.unique(pixels)) <= {0, 255}
    return pixels[:, :, 3] > 0


def masks() -> list[NDArray[np.bool_]]:
    random = np.random.default_rng(5)
    rows, columns = np.mgrid[:70, :300]
    return [
        np.zeros((1, 1), bool),
        np.ones((1, 1), bool),
        np.zeros((3, 7), bool),
        np.ones((200, 300), bool),  # runs of more than 2**16 values
        random.random((37, 23)) < 0.5,
        random.random((160, 130)) < 0.001,
        (rows - 30) ** 2 / 400 + (columns - 170) ** 2 / 6000 < 1,
        np.arange(64 * 3).reshape(3, 64) % 65 != 0,
    ]


@pytest.mark.parametrize("mask", masks(), ids=lambda mask: "x".join(map(str, mask.shape)))
def test_read_back(mask: NDArray[np.bool_]) -> None:
    values = brush.encode(mask)
    assert all(type(value) is int and 0 <= value <= 255 for value in values)
    np.testing.assert_array_equal(decoded(values, *mask.shape), mask)


@pytest.mark.parametrize("mask", masks(), ids=lambda mask: "x".join(map(str, mask.shape)))
def test_read_back_by_label_studio(mask: NDArray[np.bool_]) -> None:
    theirs = pytest.importorskip(
        "label_studio_sdk.converter.brush", reason="label-studio-sdk is not installed", exc_type=ImportError
    )
    pixels = theirs.decode_rle(brush.encode(mask)).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(pixels, np.repeat(mask[:, :, None] * np.uint8(255), 4, axis=2))
    again = theirs.decode_rle(theirs.mask2rle(mask.astype(np.uint8) * 255))
    np.testing.assert_array_equal(pixels.ravel(), again)
