"""What `drawing.js` shows: the value of the drawing, from the state of a window.

{key: of the session, turn: of the latest that was asked for, image: URL, or null for none, name, width, height: px,
box: [x0, y0, x1, y1] or null, chosen: its index among boxes, boxes: [{mask: whether it has one}], mask: URL of the
chosen box's mask, or null, edge, others, truth: outlines of that mask, of those of other boxes and of the true one, as
SVG paths in px of the image, undo, redo: whether there is something to, number, count: of the image among those opened,
download: URL of a file for the user, if any}
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flipagents.serve.page_state import Session
from flipenv.pictures.render import ERASED
from flipenv.pixels import Mask
from flipenv.types import Box


def drawing(session: Session, address: str) -> dict[str, Any]:
    """The value of the drawing; address: of the image."""
    sheet = session.sheet
    about: dict[str, Any] = {"key": session.key, "image": None, "turn": session.turn}
    if sheet is None:
        return about
    nodule, (height, width) = sheet.nodule, sheet.picture.image.shape
    others = [each.mask for each in sheet.nodules if each is not nodule]
    return {
        **about,
        "image": address,
        "name": sheet.picture.file,
        "width": width,
        "height": height,
        "box": None if nodule.box is None else list(corners(nodule.box)),
        "boxes": [{"mask": each.mask is not None} for each in sheet.nodules],
        "chosen": sheet.chosen,
        "mask": None if nodule.mask is None else _painted(nodule.mask),
        "edge": outline(nodule.mask),
        "others": "".join(map(outline, others)),
        "truth": outline(sheet.picture.truth),
        "undo": bool(nodule.corrections),
        "redo": nodule.undone > 0,
        "number": session.at + 1,
        "count": len(session.sheets),
    }


def corners(box: Box | None) -> tuple[int | None, ...]:
    """X0, Y0, X1, Y1 of a box, each None without one."""
    return (None,) * 4 if box is None else (box.left, box.top, box.right, box.bottom)


def outline(mask: Mask | None) -> str:
    """The sides of a mask's pixels (height, width) bool that lie on its edge, as an SVG path; "" for none."""
    if mask is None or not mask.any():
        return ""
    framed = np.pad(mask, 1)
    across = _runs(framed[1:] != framed[:-1])  # rows of sides between pixels above and below
    along = _runs((framed[:, 1:] != framed[:, :-1]).T)
    return "".join(f"M{start - 1} {line}h{length}" for line, start, length in across) + "".join(
        f"M{line} {start - 1}v{length}" for line, start, length in along
    )


def _runs(where: Mask) -> NDArray[np.int64]:
    """Line, start and length of each run of True in the lines, (N, 3)."""
    steps = np.diff(np.pad(where, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    lines, starts = np.nonzero(steps == 1)
    return np.stack([lines, starts, np.nonzero(steps == -1)[1] - starts], axis=1)


def _painted(mask: Mask) -> str:
    """The mask in its colour on nothing, as a data URL of a PNG."""
    picture = Image.fromarray(mask.astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, *ERASED])
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=0)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
