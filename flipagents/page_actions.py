"""What each button of the page does: from a session and what the page holds to what the page shows next.

An action returns, by the name of a part of the page, the properties that change, and the session as it is then.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

from flipagents import desk
from flipagents.desk import AGENTS, Desk, Picture, Result
from flipenv.errors import EpisodeError
from flipenv.render import ERASED, Scene, draw
from flipenv.types import Box

FIRST_PHANTOM = 1_000_005  # nobody trains on seeds from 1_000_000 on, and this one shows what agents can do
NO_TRUTH = "Where the true mask is known, Dice and distances are shown here."
ROOM = (540, 760)  # px, height and width that the drawing has on the page
VIEWS = ("overlay", "outline", "mask", "erased")

Changes: TypeAlias = dict[str, Any]  # part of the page -> its new properties; "session" -> the session


@dataclass(frozen=True, eq=False)
class Session:
    """What one open page has so far."""

    picture: Picture | None = None
    file: Path | None = None  # that was uploaded as the picture
    phantoms: int = 0  # made so far
    walked: tuple[Scene, ...] = ()
    walk_of: tuple[Box, int] | None = None  # box and margin of that walk; None where it did not come to its end
    result: Result | None = None


class Actions:
    """The actions; files for download are written into new folders of `folder`."""

    def __init__(self, work: Desk, folder: Path) -> None:
        self.work, self.folder = work, folder

    def open(self, session: Session, file: str) -> Changes:
        """Load an uploaded image, of a film the first frame."""
        return self._loaded(session, desk.open_picture(Path(file), 0), Path(file))

    def frame(self, session: Session, number: int) -> Changes:
        """Load another frame of the film."""
        if session.file is None:
            return {}
        return self._loaded(session, desk.open_picture(session.file, int(number)), session.file)

    def phantom(self, session: Session) -> Changes:
        """Load the next phantom, with its box and truth."""
        picture = desk.phantom(FIRST_PHANTOM + session.phantoms)
        return self._loaded(dataclasses.replace(session, phantoms=session.phantoms + 1), picture)

    def drawn(self, session: Session, drawing: dict[str, Any] | None) -> Changes:
        """Put the box that was dragged into the four numbers; without a box they are emptied."""
        boxes = (drawing or {}).get("boxes") or []
        if session.picture is None or not boxes:
            return _numbers(None)
        x0, y0, x1, y1 = (boxes[-1][side] / _zoom(session.picture) for side in SIDES)
        return _numbers(Box.covering(y0, x0, y1, x1))

    def typed(self, session: Session, *corners: float | None) -> Changes:
        """Draw the box of the four numbers, once all are there."""
        if session.picture is None or any(corner is None for corner in corners):
            return {}
        return {"drawing": {"value": _drawing(session.picture, desk.box_of(session.picture, corners))}}

    def superpixels(self, session: Session, *corners: float | None) -> Changes:
        """Show what the agents walk over."""
        picture = _picture(session)
        shown, count = self.work.superpixels(picture, desk.box_of(picture, corners))
        told = f"{count} superpixels: what the agents of the last stage walk over."
        return {"cells": {"value": shown}, "count": {"value": told}, "tabs": {"selected": "cells"}}

    def watch(self, session: Session, margin: int, *corners: float | None) -> Iterator[Changes]:
        """Show the agents at work, scene by scene; at the end the walk can be gone through again."""
        picture = _picture(session)
        box = desk.box_of(picture, corners)
        yield {"tabs": {"selected": "agents"}, "film": {"value": None}, "gif": {"visible": False}}
        walked: tuple[Scene, ...] = ()
        for scene in self.work.walk(picture, box, margin):
            walked = (*walked, scene)
            last = len(walked) - 1
            yield {
                "session": dataclasses.replace(session, walked=walked, walk_of=None),
                "film": {"value": draw(scene)},
                "step": {"maximum": max(last, 1), "value": last, "interactive": last > 0},
            }
        yield {"session": dataclasses.replace(session, walked=walked, walk_of=(box, margin))}

    def step(self, session: Session, number: int) -> Changes:
        """Show one scene of the walk again."""
        return {"film": {"value": draw(session.walked[number])}} if number < len(session.walked) else {}

    def gif(self, session: Session) -> Changes:
        """Make the film of the walk, which then plays and can be taken."""
        if not session.walked:
            raise EpisodeError("there is no walk to film yet; press 'Watch' first")
        path = desk.write_film(self._new_folder(), _picture(session), session.walked)
        return {"film": {"value": str(path)}, "gif": {"value": str(path), "visible": True}}

    def segment(self, session: Session, method: str, margin: int, *corners: float | None) -> Iterator[Changes]:
        """Make the mask, show it in all ways, compare it with the truth, write the files."""
        picture = _picture(session)
        box = desk.box_of(picture, corners)
        yield {"tabs": {"selected": "mask"}}
        result = self.work.segment(picture, box, method, margin)
        session = dataclasses.replace(session, result=result)
        curve: Changes = {"value": None}
        if method == AGENTS:
            if session.walk_of != (box, margin):
                walked = tuple(self.work.walk(picture, box, margin))
                session = dataclasses.replace(session, walked=walked, walk_of=(box, margin))
            curve = {"value": draw(session.walked[-1])}
        files = [str(path) for path in desk.write_files(self._new_folder(), picture, result)]
        shown = {name: {"value": view} for name, view in desk.pictures(picture, result).items()}
        yield {
            **shown,
            "session": session,
            "curve": curve,
            "files": {"value": files, "visible": True},
            "table": {"value": _table(picture, result, box)},
        }

    def truth(self, session: Session, file: str) -> Changes:
        """Load the true mask, and compare with it what is there already."""
        picture = desk.with_truth(_picture(session), Path(file))
        assert picture.truth is not None
        session = dataclasses.replace(session, picture=picture)
        changes: Changes = {"session": session, "table": {"value": f"True mask: {picture.truth.sum()} px."}}
        if session.result is not None:
            changes["table"] = {"value": _table(picture, session.result, session.result.case.box)}
            changes |= {name: {"value": view} for name, view in desk.pictures(picture, session.result).items()}
        return changes

    def _loaded(self, session: Session, picture: Picture, file: Path | None = None) -> Changes:
        """A new picture: nothing of the one before stays."""
        empty = {name: {"value": None} for name in (*VIEWS, "curve", "film", "cells")}
        last = picture.frames - 1
        return {
            **empty,
            "session": Session(picture, file, session.phantoms),
            "frame": {"value": picture.frame or 0, "maximum": max(last, 1), "visible": last > 0},
            "drawing": {"value": _drawing(picture, picture.box)},
            "files": {"visible": False},
            "gif": {"visible": False},
            "step": {"value": 0, "interactive": False},
            "count": {"value": ""},
            "table": {"value": NO_TRUTH if picture.truth is None else "The true mask is known: press 'Segment'."},
            "tabs": {"selected": "picture"},
            **_numbers(picture.box),
        }

    def _new_folder(self) -> Path:
        """A folder that no other page has, because files of one name may differ."""
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir(parents=True)
        return folder


CORNERS = ("x0", "y0", "x1", "y1")  # parts of the page
SIDES = ("xmin", "ymin", "xmax", "ymax")  # of a box as the drawing has it


def _picture(session: Session) -> Picture:
    if session.picture is None:
        raise EpisodeError("there is no picture yet; open an image, or make a phantom")
    return session.picture


def _drawing(picture: Picture, box: Box | None) -> dict[str, Any]:
    """The picture and its box as the drawing takes them: RGB, and small pictures enlarged."""
    zoom = _zoom(picture)
    shown: Any = picture.image
    if zoom > 1:
        shown = cv2.resize(shown, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    boxes = []
    if box is not None:
        corners = (round(corner * zoom) for corner in (box.left, box.top, box.right, box.bottom))
        boxes = [{**dict(zip(SIDES, corners, strict=True)), "color": ERASED}]
    return {"image": np.repeat(shown[..., None], 3, axis=2), "boxes": boxes}


def _zoom(picture: Picture) -> float:
    """Picture px of the drawing an image px, at least 1: it shows small pictures no larger than they are."""
    height, width = picture.image.shape
    return float(max(1, min(ROOM[0] / height, ROOM[1] / width)))


def _numbers(box: Box | None) -> Changes:
    corners = (None,) * 4 if box is None else (box.left, box.top, box.right, box.bottom)
    return {name: {"value": corner} for name, corner in zip(CORNERS, corners, strict=True)}


def _table(picture: Picture, result: Result, given: Box) -> str:
    """How good the mask is, as Markdown; and where the box was found, where it was looked for."""
    found = result.case.box
    lines = []
    if found != given:
        lines.append(f"Box moved by {found.left - given.left:+d} px across, {found.top - given.top:+d} px down.\n")
    if picture.truth is None:
        return "\n".join([*lines, f"Mask: {result.mask.sum()} px. {NO_TRUTH}"])
    lines += ["| | Dice | HD, px | ASD, px |", "|---|---:|---:|---:|"]
    for name, overlap, largest, mean in desk.compare(result, picture.truth):
        shown = f"**{name}**" if name == result.method else name
        lines.append(f"| {shown} | {overlap:.3f} | {largest:.1f} | {mean:.2f} |")
    return "\n".join(lines)
