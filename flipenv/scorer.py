"""Scorers: anything that assigns each canvas a nodule score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from array_api_compat import array_namespace

from flipenv.types import Array


class Scorer(Protocol):
    """Canvases (B, H, W) uint8 -> nodule score (B,) float32 in [0, 1], on the canvases' array library and device.

    1 means 'nodule', 0 'normal tissue'; the tag flips below 0.5. A canvas must get the same score whatever else is in
    the batch: the composition of the batches changes from step to step.
    """

    def __call__(self, canvases: Array, /) -> Array:
        """Score these canvases."""
        ...


@dataclass(frozen=True)
class ContrastScorer:
    """Score of the darkest blob: the largest contrast of a square to the frame around it, anywhere on the canvas.

    Needs no training and no torch, so that every part of the environment runs without a classifier. A centre-surround
    detector (as in Viola and Jones 2001, doi 10.1109/CVPR.2001.990517) followed by a logistic function. Sums are
    integers, hence the same on every array library.
    """

    threshold: float = 30.0  # grey levels between frame and square at which the score is 0.5
    width: float = 6.0  # grey levels, scale of the logistic function
    sides: tuple[float, ...] = (0.15, 0.25, 0.4)  # side of the inner square, share of the canvas' shorter side
    stride: int = 4  # px between the squares tried

    def __call__(self, canvases: Array, /) -> Array:
        """Canvases (B, H, W) uint8 -> score (B,) float32."""
        xp = array_namespace(canvases)
        batch, height, width = canvases.shape
        sums = xp.astype(canvases, xp.int64)
        for axis in (1, 2):
            sums = xp.cumulative_sum(sums, axis=axis, include_initial=True)
        best = None
        for share in self.sides:
            inner = max(2, round(share * min(height, width)) // 2 * 2)
            outer = min(2 * inner, min(height, width) // 2 * 2)
            contrast = self._contrast(sums, inner, outer)
            strongest = xp.max(xp.reshape(contrast, (batch, -1)), axis=1)
            best = strongest if best is None else xp.maximum(best, strongest)
        assert best is not None
        return xp.astype(1.0 / (1.0 + xp.exp((self.threshold - best) / self.width)), xp.float32)

    def _contrast(self, sums: Array, inner: int, outer: int) -> Array:
        """Frame mean minus square mean, in grey levels, at each place where the outer square fits."""
        xp = array_namespace(sums)
        whole = self._square(sums, outer, 0, outer)
        square = self._square(sums, inner, (outer - inner) // 2, outer)
        frame = xp.astype(whole - square, xp.float64) / (outer * outer - inner * inner)
        return frame - xp.astype(square, xp.float64) / (inner * inner)

    def _square(self, sums: Array, side: int, inset: int, outer: int) -> Array:
        """Sum of grey levels over squares of `side` px whose corner lies `inset` px into an outer square."""
        rows, columns = sums.shape[1] - outer, sums.shape[2] - outer

        def corner(down: int, right: int) -> Array:
            row, column = inset + down * side, inset + right * side
            return sums[:, row : row + rows : self.stride, column : column + columns : self.stride]

        return corner(1, 1) - corner(0, 1) - corner(1, 0) + corner(0, 0)
