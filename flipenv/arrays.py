"""Two gathers that the array API standard has no word for, built from its 1-D `take`."""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace, device

from flipenv.types import Array


def pick(values: Array, index: Array) -> Array:
    """Return values[b, index[b, a]] for values (B, S, ...) and whole-number index (B, A): (B, A, ...)."""
    xp = array_namespace(values)
    batch, rows, *rest = values.shape
    first = xp.arange(batch, dtype=xp.int64, device=device(values))[:, None] * rows
    flat = xp.reshape(first + xp.astype(index, xp.int64), (-1,))
    taken = xp.take(xp.reshape(values, (batch * rows, *rest)), flat, axis=0)
    return xp.reshape(taken, (batch, index.shape[1], *rest))


def windows(pictures: Array, centers: Array, side: int) -> Array:
    """Cut a square of `side` pixels around each centre; pixels beyond a picture repeat its edge.

    pictures (B, ..., H, W), centers (B, A, 2) row and column -> (B, ..., A, side, side), the centre at
    [side // 2, side // 2].
    A take of flat indices: on two CPU cores `take_along_axis` over the same pixels was over 20 times slower with torch.
    """
    xp = array_namespace(pictures)
    batch, *layers, height, width = pictures.shape
    layered = (batch, math.prod(layers), 1, 1)
    where: dict[str, Any] = {"dtype": xp.int64, "device": device(pictures)}
    reach = xp.arange(side, **where) - side // 2
    middle = xp.astype(centers, xp.int64)
    row = xp.minimum(xp.maximum(middle[:, :, 0, None] + reach, 0), height - 1)
    row = row[:, None, ...] + xp.reshape(xp.arange(math.prod(layered), **where) * height, layered)
    column = xp.minimum(xp.maximum(middle[:, :, 1, None] + reach, 0), width - 1)
    flat = xp.reshape(row[..., :, None] * width + column[:, None, :, None, :], (-1,))
    return xp.reshape(
        xp.take(xp.reshape(pictures, (-1,)), flat, axis=0), (batch, *layers, centers.shape[1], side, side)
    )
