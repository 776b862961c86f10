"""A person mends a mask with the agents' two actions: what a click in the drawing does."""

from __future__ import annotations

from typing import Any

from flipagents.segment.corrections import ACTIONS, CorrectionError
from flipagents.segment.mend import Mender, default_cell_area
from flipagents.serve.page_state import Nodule
from flipenv.pixels import Mask


def mend(nodule: Nodule, ask: dict[str, Any]) -> None:
    """Do what a window asks for: erase or pass at a pixel, undo or redo. Raises EpisodeError without a mask.

    ask: {what: erase, pass, undo or redo; row, column: px of the image; reach: see `Mender.click`; size: of a
    superpixel, as a multiple of the mender's own}
    """
    mender = nodule.mending()
    match ask["what"]:
        case "undo":
            nodule.undone += mender.undo() is not None
        case "redo":
            nodule.undone -= mender.redo() is not None
        case _:
            mender.click(*_aimed(mender, ask))
            nodule.undone = 0


def would_mend(nodule: Nodule, ask: dict[str, Any]) -> Mask:
    """The pixels (height, width) bool that a click would change."""
    mender = nodule.mending()
    return mender.preview(*_aimed(mender, ask))


def _aimed(mender: Mender, ask: dict[str, Any]) -> tuple[int, int, str, float]:
    """Set the size of the superpixels, and return row, column, action and reach. CorrectionError for nonsense."""
    given: list[Any] = [ask.get(name) for name in ("row", "column", "what", "reach", "size")]
    row, column, action, reach, size = given
    numbers = all(isinstance(each, int | float) for each in (row, column, reach, size))
    if not numbers or action not in ACTIONS:
        raise CorrectionError("expected row, column, erase or pass, reach and size of a click")
    least, most = mender.cell_areas
    mender.cell_area = min(max(size * default_cell_area(mender.box), least), most)
    return row, column, action, reach
