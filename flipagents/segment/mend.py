"""Mending a mask by clicks: a person is an agent too, with the environment's two actions on a superpixel.

    mender = Mender(image, box, mask)
    mender.click(row, column, "erase")      # this belongs to the nodule, and what is like it nearby
    mender.click(row, column, "pass")       # this does not
    mender.undo()
    mask = mender.mask
    write_corrections(path, mender.subject, mender.corrections)

    again = Mender(image, box, mask)        # the mask before the first click
    again.replay(read_corrections(path, again.subject))

How far a click spreads is in `flipagents.segment.spread`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flipagents.segment.corrections import ACTIONS, ERASE, Correction, CorrectionError, Subject, now
from flipagents.segment.spread import Cells, Click, Rule, spread
from flipenv.checks import check_box, check_companion, check_image
from flipenv.config import FINE, CanvasSpec
from flipenv.episode import grow_box
from flipenv.errors import MaskError
from flipenv.pixels import Grey, Mask
from flipenv.types import Box

REACH = 1.0  # of a click, if none is given
FARTHEST = 4.0  # largest reach
MARGIN = 0.25  # width of the area around box and mask that clicks can reach, share of the box's longer side
STEP = 2.0  # factor on the area of a superpixel from one size to the next finer or coarser one
SMALLEST, LARGEST = 2.0, 0.25  # area of a superpixel: at least px², at most this share of the box


class Mender:
    """A mask under correction; deterministic, fast (some ms a click), without torch.

    image: (height, width) uint8. box: (top, left, bottom, right), half-open, px of the image. mask: (height, width)
    bool, by any method; may be empty. cell_area: image px² a superpixel, None for `default_cell_area`; it may be set
    between clicks. reach: of clicks that name none.

    Rows and columns are px of the image, rows first. Raises ImageError, BoxError, MaskError, and CorrectionError for
    what does not fit.
    """

    def __init__(
        self,
        image: Grey,
        box: Any,
        mask: Mask,
        *,
        cell_area: float | None = None,
        reach: float = REACH,
        rule: Rule | None = None,
    ) -> None:
        check_image(image)
        self.image = np.array(image)
        self.box = Box(*check_box(box, image.shape))
        if mask is None:
            raise MaskError("mask is None; expected the (height, width) bool mask to mend, which may be empty")
        check_companion("mask", mask, image.shape, "bool")
        self.rule = rule or Rule()
        self.reach = _reach(reach)
        self.base = np.array(mask)  # before the first correction
        self.base.setflags(write=False)
        self.area = _area(self.box, self.base)  # px of the image, that clicks can reach
        self._cells: dict[float, Cells] = {}
        self._masks = [self.base]  # before the first correction, and after each
        self._done: list[Correction] = []
        self._undone: list[tuple[Correction, Mask]] = []
        least, most = self.cell_areas
        self.cell_area = min(max(default_cell_area(self.box), least), most) if cell_area is None else cell_area

    @property
    def mask(self) -> Mask:
        """The mask now, (height, width) bool, not writable."""
        return self._masks[-1]

    @property
    def corrections(self) -> tuple[Correction, ...]:
        """Corrections so far, without those undone."""
        return tuple(self._done)

    @property
    def subject(self) -> Subject:
        """What the corrections belong to, for `write_corrections` and `read_corrections`."""
        return Subject.of(self.image, self.box, self.base)

    @property
    def cell_area(self) -> float:
        """Image px² a superpixel of the next click, within `SMALLEST` px² and `LARGEST` of the box."""
        return self._cell_area

    @cell_area.setter
    def cell_area(self, value: float) -> None:
        least, most = self.cell_areas
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise CorrectionError(f"cell_area={value!r}; expected px² a superpixel, {least:g} to {most:g} in this box")
        self._cell_area = float(value)

    @property
    def cell_areas(self) -> tuple[float, float]:
        """Smallest and largest `cell_area` in this box."""
        # as many superpixels as int16 holds, with room for their count being off by a quarter
        least = max(SMALLEST, self.area.height * self.area.width / 25_000)
        return least, max(LARGEST * self.box.height * self.box.width, least)

    def finer(self) -> float:
        """Halve the superpixels of the next clicks, as far as that goes; return the new `cell_area`."""
        self.cell_area = max(self.cell_area / STEP, self.cell_areas[0])
        return self.cell_area

    def coarser(self) -> float:
        """Double the superpixels of the next clicks, as far as that goes; return the new `cell_area`."""
        self.cell_area = min(self.cell_area * STEP, self.cell_areas[1])
        return self.cell_area

    @property
    def superpixels(self) -> NDArray[np.int16]:
        """Labels (height, width) int16 of the superpixels under the next click, for drawing; -1 outside the area."""
        labels = np.full(self.image.shape, -1, np.int16)
        labels[self.area.rows, self.area.columns] = self._cut(self.cell_area).labels
        return labels

    def click(self, row: int, column: int, action: str, reach: float | None = None) -> Correction:
        """Take one action at a pixel, and return the correction; forgets what was undone.

        action: "erase" (this is nodule: a positive point) or "pass" (it is not: a negative one). reach: 0 for the
        superpixel under the click alone; 1 (default) for as far beyond the click as the outline is before it; at most
        `FARTHEST`. Raises CorrectionError for a pixel outside the image or its area, an unknown action or reach.
        """
        correction = self._correction(row, column, action, reach)
        self._apply(dataclasses.replace(correction, time=now()))
        return self._done[-1]

    def preview(self, row: int, column: int, action: str, reach: float | None = None) -> Mask:
        """The pixels (height, width) bool that `click` with these values would change; changes nothing."""
        return np.asarray(self._after(self._correction(row, column, action, reach)) != self.mask)

    def undo(self) -> Correction | None:
        """Take back the latest correction and return it; None if there is none."""
        if not self._done:
            return None
        correction = self._done.pop()
        self._undone.append((correction, self._masks.pop()))
        return correction

    def redo(self) -> Correction | None:
        """Do the latest undone correction again and return it; None if there is none."""
        if not self._undone:
            return None
        correction, mask = self._undone.pop()
        self._done.append(correction)
        self._masks.append(mask)
        return correction

    def replay(self, corrections: Iterable[Correction]) -> Mask:
        """Apply saved corrections after those so far; return the mask: bit for bit that of the clicks when new."""
        for each in corrections:
            self._check(each)
            self._apply(each)
        return self.mask

    def _apply(self, correction: Correction) -> None:
        mask = self._after(correction)
        mask.setflags(write=False)
        self._masks.append(mask)
        self._done.append(correction)
        self._undone.clear()

    def _after(self, correction: Correction) -> Mask:
        area = self.area
        mask = np.array(self.mask)
        mask[area.rows, area.columns] = spread(
            self._cut(correction.cell_area),
            mask[area.rows, area.columns],
            self._in_area(correction),
            [self._in_area(each) for each in self._done],
            Box(*(side - start for side, start in zip(self.box, (area.top, area.left) * 2, strict=True))),
            reach=correction.reach,
            rule=self.rule,
        )
        return mask

    def _in_area(self, correction: Correction) -> Click:
        return Click(correction.row - self.area.top, correction.column - self.area.left, correction.action == ERASE)

    def _cut(self, cell_area: float) -> Cells:
        if cell_area not in self._cells:
            self._cells[cell_area] = Cells.of(self.image[self.area.rows, self.area.columns], cell_area)
        return self._cells[cell_area]

    def _correction(self, row: int, column: int, action: str, reach: float | None) -> Correction:
        reach = self.reach if reach is None else _reach(reach)
        correction = Correction(row, column, action, reach, self.cell_area)
        self._check(correction)
        return correction

    def _check(self, correction: Correction) -> None:
        row, column, (height, width) = correction.row, correction.column, self.image.shape
        if not (row < height and column < width):
            raise CorrectionError(
                f"click at row {row}, column {column} is outside the image of {height}x{width} px (height x width); "
                "check the order: points are (x, y), clicks row first"
            )
        top, left, bottom, right = self.area
        if not (top <= row < bottom and left <= column < right):
            raise CorrectionError(
                f"click at row {row}, column {column} is too far from the box {tuple(self.box)}; expected rows "
                f"{top} to {bottom - 1} and columns {left} to {right - 1}: draw a larger box first"
            )


def mend_points(
    image: Grey,
    box: Any,
    mask: Mask,
    points: ArrayLike,
    labels: ArrayLike,
    *,
    reach: float = REACH,
    cell_area: float | None = None,
) -> Mask:
    """The mask after clicks at `points` (N, 2), (x, y) px as in segment-anything, with `labels` (N,), 1 nodule, 0 not.

    In their order; other values as `Mender`. Raises CorrectionError for other shapes, labels or points outside.
    """
    mender = Mender(image, box, mask, reach=reach, cell_area=cell_area)
    for column, row, action in clicks_of(points, labels):
        mender.click(row, column, action)
    return np.array(mender.mask)


def clicks_of(points: ArrayLike, labels: ArrayLike) -> list[tuple[int, int, str]]:
    """Column, row and action of points (N, 2), (x, y), with labels (N,), 1 or 0; fractions belong to their pixel.

    Raises CorrectionError for anything else.
    """
    try:
        places, kinds = np.asarray(points, float), np.asarray(labels, float)
    except (TypeError, ValueError) as error:
        raise CorrectionError(
            f"points and labels are not numbers ({error}); expected points (N, 2), labels (N,)"
        ) from None
    if places.size == 0 and kinds.size == 0:
        return []
    if places.ndim != 2 or places.shape[1] != 2:
        raise CorrectionError(f"points have shape {places.shape}; expected (N, 2): x and y of each in pixels")
    if kinds.shape != places.shape[:1]:
        raise CorrectionError(f"labels have shape {kinds.shape} for {len(places)} points; expected ({len(places)},)")
    if not np.isin(kinds, (0, 1)).all():
        raise CorrectionError(f"labels {kinds.tolist()}; expected 1 (nodule) or 0 (not nodule) for each point")
    if not (np.isfinite(places).all() and (places >= 0).all()):
        raise CorrectionError(f"points {places.tolist()}; expected pixels (x, y) of the image, from 0")
    return [(int(x), int(y), ACTIONS[int(kind)]) for (x, y), kind in zip(places, kinds, strict=True)]


def default_cell_area(box: Box) -> float:
    """Image px² a superpixel in this box: half as wide as the environment's fine ones (`flipenv.config.FINE`).

    A click names its place more exactly than a walk over all superpixels needs to.
    """
    canvas = CanvasSpec()
    scale = max(box.height / canvas.height, box.width / canvas.width) * (1 + canvas.context)
    return FINE / 4 * scale**2


def _area(box: Box, mask: Mask) -> Box:
    """Box and mask with a margin, in the image."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows):
        both = Box(
            min(box.top, int(rows[0])),
            min(box.left, int(columns[0])),
            max(box.bottom, int(rows[-1]) + 1),
            max(box.right, int(columns[-1]) + 1),
        )
    else:
        both = box
    return grow_box(both, max(round(MARGIN * max(box.height, box.width)), 4), mask.shape)


def _reach(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= FARTHEST:
        raise CorrectionError(
            f"reach={value!r}; expected 0 (this superpixel alone) to {FARTHEST:g}; {REACH:g} is the default"
        )
    return float(value)
