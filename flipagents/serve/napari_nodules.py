"""The boxes of one frame and a mender for each, which follow a label image that others change too; no napari, no Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flipagents.segment.corrections import CorrectionError
from flipagents.segment.mend import Mender, default_cell_area
from flipenv.errors import BoxError
from flipenv.pixels import Mask

LabelImage: TypeAlias = NDArray[np.uint16]  # (height, width), 0 background, k the mask of box k
MAX_BOXES = np.iinfo(np.uint16).max  # boxes on one image


def labels_of(masks: Mapping[int, Mask], shape: tuple[int, ...]) -> LabelImage:
    """The masks (height, width) bool as one label image of this shape; where they overlap, the higher label wins."""
    labels = np.zeros(shape, np.uint16)
    for label in sorted(masks):
        labels[masks[label]] = label
    return labels


class Nodules:
    """Menders by label. The label image shown is the truth, because undo, redo and brushes belong to another program.

    `follow` therefore looks for each mask among the states of its menders, and starts a new mender on what was painted
    by hand.
    """

    def __init__(self) -> None:
        self.now: dict[int, Mender] = {}  # of the masks shown
        self._made: dict[int, list[Mender]] = {}  # all so far, since an undo may bring any of them back

    def replace(self, menders: Sequence[Mender]) -> None:
        """Other masks in place of all so far, labelled from 1."""
        self.now = {}
        for label, mender in enumerate(menders, start=1):
            self._put(label, mender)

    def add(self, mender: Mender, shown: LabelImage) -> int:
        """One more mask, in place of that of the same box if there is one; return its label.

        Raises BoxError without a free label.
        """
        same = [label for label, other in self.now.items() if other.box == mender.box]
        label = same[0] if same else max(int(shown.max()), *self._made, 0) + 1
        if label > MAX_BOXES:
            raise BoxError(f"all {MAX_BOXES} labels are in use; delete some masks first")
        self._put(label, mender)
        return label

    def labels(self, shape: tuple[int, ...]) -> LabelImage:
        """The masks as one label image."""
        return labels_of({label: mender.mask for label, mender in self.now.items()}, shape)

    def follow(self, shown: LabelImage) -> None:
        """Bring the menders to the masks in `shown`, (height, width)."""
        later = np.zeros(shown.shape, bool)  # masks of higher labels, which hide this one
        for label in sorted(self._made, reverse=True):
            visible = shown == label
            if label in self.now or visible.any():
                self.now[label] = self._matching(label, visible, later)
                later |= self.now[label].mask

    def click(
        self, shown: LabelImage, row: int, column: int, action: str, *, reach: float, size: float
    ) -> tuple[LabelImage, int]:
        """Mend the mask whose box contains a pixel or is nearest to it; return the label image after it, and the label.

        size: of the superpixels, as a multiple of the mender's own. Otherwise as `Mender.click`; BoxError without a
        box.
        """
        self.follow(shown)
        if not self.now:
            raise BoxError("there is no mask to mend on this frame; draw a box and press Segment first")
        label = self._nearest(row, column, int(shown[row, column]))
        mender = self.now[label]
        before = self.labels(shown.shape)
        least, most = mender.cell_areas
        mender.cell_area = min(max(size * default_cell_area(mender.box), least), most)
        mender.click(row, column, action, reach)
        after = self.labels(shown.shape)
        return np.where(after != before, after, shown), label

    def _put(self, label: int, mender: Mender) -> None:
        self._made.setdefault(label, []).append(mender)
        self.now[label] = mender

    def _nearest(self, row: int, column: int, under: int) -> int:
        """The label of the box nearest to a pixel; of several that contain it, the one `under` the click."""

        def distance(label: int) -> tuple[float, bool, float]:
            top, left, bottom, right = self.now[label].box
            down = max(top - row, 0, row - (bottom - 1))
            across = max(left - column, 0, column - (right - 1))
            centre = np.hypot((top + bottom - 1) / 2 - row, (left + right - 1) / 2 - column)
            return float(np.hypot(down, across)), label != under, float(centre)

        return min(self.now, key=distance)

    def _matching(self, label: int, visible: Mask, later: Mask) -> Mender:
        """The mender of this label that gives what is `visible` of its mask, rewound to it; else a new one."""
        newest = self._made[label][-1]
        current = self.now.get(label, newest)
        for mender in (current, *reversed(self._made[label])):
            if _rewind(mender, visible, later):
                return mender
        painted = Mender(current.image, current.box, visible)
        self._made[label].append(painted)
        return painted


def _rewind(mender: Mender, visible: Mask, later: Mask) -> bool:
    """Undo or redo a mender's clicks until it shows this mask; leave it as it is, and return False, if it never did."""

    def fits() -> bool:
        return np.array_equal(mender.mask & ~later, visible)

    if fits():
        return True
    start = len(mender.corrections)
    while mender.undo():
        if fits():
            return True
    while mender.redo():
        if len(mender.corrections) > start and fits():
            while mender.redo():  # clicks that changed nothing come back with the one before them
                if not fits():
                    mender.undo()
                    break
            return True
    while len(mender.corrections) > start:
        mender.undo()
    return False


def check_pixel(place: Sequence[float] | NDArray[np.float64], shape: tuple[int, ...]) -> tuple[int, int]:
    """Row and column of the pixel at a place in pixels, whose centres are whole numbers; CorrectionError outside."""
    row, column = (int(np.rint(each)) for each in place)
    if not (0 <= row < shape[0] and 0 <= column < shape[1]):
        raise CorrectionError(
            f"click at row {row}, column {column} is outside the image of {shape[0]}x{shape[1]} px (height x width)"
        )
    return row, column
