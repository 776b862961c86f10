"""Actions of the page: from a session and input values to updates.

An action returns the changed properties by part, and the new session.
"""

from __future__ import annotations

import dataclasses
import secrets
import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

from flipagents.serve import service
from flipagents.serve.page_messages import doing
from flipagents.serve.page_turns import Turns, Visit
from flipagents.serve.service import AGENTS, Picture, Result, SegmentationService
from flipenv.errors import BoxError, ConfigError, EpisodeError, OrientationWarning
from flipenv.pictures.render import Scene, draw
from flipenv.types import Box

FIRST_PHANTOM = 1_000_005  # seeds from 1_000_000 on are not trained on; chosen to demonstrate the agents
NO_TRUTH = "Where the true mask is known, Dice and distances are shown here."
NO_MASK = "No mask yet: draw a box and press 'Segment'."
CORNERS = ("x0", "y0", "x1", "y1")  # parts of the page
VIEWS = ("overlay", "outline", "mask", "erased")

Changes: TypeAlias = dict[str, Any]  # part of the page -> its new properties; "session" -> the session
Given: TypeAlias = tuple[Box, int, str]  # what a mask is made from: box, margin, method
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Session:
    """State of one open page."""

    picture: Picture | None = None
    address: str = ""  # of the picture, for the browser
    file: Path | None = None  # the uploaded picture
    phantoms: int = 0  # made so far
    walked: tuple[Scene, ...] = ()
    walk_of: tuple[Box, int] | None = None  # box and margin of that walk; None if it was not completed
    result: Result | None = None
    given: Given | None = None  # inputs of the result
    visit: Visit = field(default_factory=Visit)


class Actions:
    """The actions; downloads are written to new folders in `folder`.

    Computations run one at a time, and yield status messages while waiting and running.
    """

    def __init__(self, segmentation: SegmentationService, folder: Path) -> None:
        self.segmentation, self.folder = segmentation, folder
        self._turns = Turns()

    def open(self, session: Session, file: str) -> Changes:
        """Load an uploaded image, or the first frame of a film."""
        return self._loaded(session, _open(Path(file), 0), Path(file))

    def frame(self, session: Session, number: int) -> Changes:
        """Load another frame of the film."""
        if session.file is None:
            return {}
        return self._loaded(session, _open(session.file, int(number)), session.file)

    def phantom(self, session: Session) -> Changes:
        """Load the next phantom, with its box and truth."""
        picture = service.phantom(FIRST_PHANTOM + session.phantoms)
        return self._loaded(dataclasses.replace(session, phantoms=session.phantoms + 1), picture)

    def drawn(self, session: Session, drawing: dict[str, Any] | None) -> Changes:
        """Copy the dragged box to the four numbers."""
        sides = (drawing or {}).get("box")
        if session.picture is None or sides is None:
            return {}
        if not (isinstance(sides, list) and len(sides) == 4 and all(isinstance(side, int | float) for side in sides)):
            raise BoxError("expected a box of four numbers")
        box = service.box_drawn(session.picture, sides)
        return {"drawing": {"value": _drawing(session, box, drawing)}, **_numbers(box)}

    def typed(self, session: Session, drawing: dict[str, Any] | None, *corners: float | None) -> Changes:
        """Draw the box of the four numbers, once all are given."""
        if session.picture is None or any(corner is None for corner in corners):
            return {}
        return {"drawing": {"value": _drawing(session, service.box_of(session.picture, corners), drawing)}}

    def typing(self, session: Session, drawing: dict[str, Any] | None, *corners: float | None) -> Changes:
        """As `typed`, but incomplete input is not an error."""
        try:
            return self.typed(session, drawing, *corners)
        except BoxError:
            return {}

    def changed(
        self, session: Session, method: str | None, other: str | None, margin: int, *corners: float | None
    ) -> Changes:
        """Mark a mask and its files as outdated if the page's inputs have changed."""
        if session.picture is None or session.given is None:
            return {"note": {"value": NO_MASK}, "old": {"value": ""}}
        try:
            box: Box | None = service.box_of(session.picture, corners)
        except BoxError:
            box = None
        now = (box, int(margin), method or other)
        names = ("box", "box tolerance", "method")
        parts = [name for name, one, two in zip(names, now, session.given, strict=True) if one != two]
        note = f"Outdated: made with another {' and '.join(parts)}. Press 'Segment'." if parts else ""
        return {"note": {"value": note}, "old": {"value": note}}

    def superpixels(self, session: Session, *corners: float | None) -> Iterator[Changes]:
        """Show the superpixels that the agents visit."""
        picture = _picture(session)
        box = service.box_of(picture, corners)
        shown, count = yield from self._in_turn(
            session, "Cutting superpixels …", lambda: self.segmentation.superpixels(picture, box)
        )
        text = f"{count} superpixels, visited by the agents of the last stage."
        yield {
            "cells": {"value": shown},
            "count": {"value": text},
            "tabs": {"selected": "cells"},
            "status": {"value": ""},
        }

    def watch(self, session: Session, margin: int, *corners: float | None) -> Iterator[Changes]:
        """Show the agents' walk scene by scene; it can be replayed afterwards."""
        picture = _picture(session)
        box = service.box_of(picture, corners)
        yield {"tabs": {"selected": "agents"}, "film": {"value": None}, "gif": {"visible": False}}
        walked: tuple[Scene, ...] = ()
        walk = self.segmentation.walk(picture, box, margin)
        what = said = "The agents walk …"
        yield {"status": {"value": doing(what)}}
        while (scene := (yield from self._in_turn(session, what, lambda: next(walk, None), said))) is not None:
            walked = (*walked, scene)
            last = len(walked) - 1
            yield {
                "session": dataclasses.replace(session, walked=walked, walk_of=None),
                "film": {"value": draw(scene)},
                "step": {"maximum": max(last, 1), "value": last, "interactive": last > 0},
            }
        yield {"session": dataclasses.replace(session, walked=walked, walk_of=(box, margin)), "status": {"value": ""}}

    def stopped(self) -> Changes:
        """Clear the message of a stopped action."""
        return {}

    def step(self, session: Session, number: int) -> Changes:
        """Show one scene of the walk again."""
        return {"film": {"value": draw(session.walked[number])}} if number < len(session.walked) else {}

    def gif(self, session: Session) -> Changes:
        """Make the GIF of the walk, for playing and downloading."""
        if not session.walked:
            raise EpisodeError("there is no walk yet; press 'Watch' first")
        path = service.write_film(self._new_folder(), _picture(session), session.walked)
        return {"film": {"value": str(path)}, "gif": {"value": str(path), "visible": True}}

    def segment(
        self, session: Session, method: str | None, other: str | None, margin: int, *corners: float | None
    ) -> Iterator[Changes]:
        """Segment, show all views, compare with the truth, write the files.

        method, other: one is the chosen method, the other None.
        """
        picture = _picture(session)
        box = service.box_of(picture, corners)
        name = method or other
        if name is None:
            raise ConfigError("there is no method yet; choose one")
        made = yield from self._in_turn(
            session, f"Segmenting with {name} …", lambda: self._made(session, picture, (box, margin, name))
        )
        assert made.result is not None
        files = [str(path) for path in service.write_files(self._new_folder(), picture, made.result)]
        walk = name == AGENTS
        yield {
            **{part: {"value": view} for part, view in service.pictures(picture, made.result).items()},
            "tabs": {"selected": "mask"},
            "session": made,
            "views": {"visible": True},
            "walk": {"visible": walk},
            "curve": {"value": draw(made.walked[-1]) if walk else None},
            "files": {"value": files, "visible": True},
            "table": {"value": _table(picture, made.result, box)},
            "status": {"value": ""},
        }

    def truth(self, session: Session, file: str) -> Changes:
        """Load the true mask, and compare it with an existing result."""
        picture = service.with_truth(_picture(session), Path(file))
        assert picture.truth is not None
        session = dataclasses.replace(session, picture=picture)
        changes: Changes = {"session": session, "table": {"value": f"True mask: {picture.truth.sum()} px."}}
        if session.result is not None and session.given is not None:
            changes["table"] = {"value": _table(picture, session.result, session.given[0])}
            changes |= {name: {"value": view} for name, view in service.pictures(picture, session.result).items()}
        return changes

    def _made(self, session: Session, picture: Picture, given: Given) -> Session:
        """The session with a mask and, for the agents, a walk of the same box."""
        box, margin, method = given
        session = dataclasses.replace(
            session, result=self.segmentation.segment(picture, box, method, margin), given=given
        )
        if method == AGENTS and session.walk_of != (box, margin):
            walked = tuple(self.segmentation.walk(picture, box, margin))
            session = dataclasses.replace(session, walked=walked, walk_of=(box, margin))
        return session

    def _in_turn(
        self, session: Session, what: str, compute: Callable[[], Value], said: str = ""
    ) -> Generator[Changes, None, Value]:
        """As `Turns.take`, with its messages in the status line."""
        turn = self._turns.take(session.visit, what, compute, said)
        while True:
            try:
                text = next(turn)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return] # what `compute` returns
            yield {} if text is None else {"status": {"value": doing(text)}}

    def _loaded(self, session: Session, picture: Picture, file: Path | None = None) -> Changes:
        """Show a new picture and clear everything of the previous one."""
        empty = {name: {"value": None} for name in (*VIEWS, "curve", "film", "cells")}
        last = picture.frames - 1
        shown = service.write_image(self._new_folder(), picture)
        session.visit.over = True
        session = Session(picture, f"gradio_api/file={quote(shown.as_posix())}", file, session.phantoms)
        return {
            **empty,
            "session": session,
            "frame": {"value": picture.frame or 0, "maximum": max(last, 1), "visible": last > 0},
            "drawing": {"value": _drawing(session, picture.box)},
            "views": {"visible": False},
            "walk": {"visible": False},
            "files": {"visible": False},
            "gif": {"visible": False},
            "step": {"value": 0, "interactive": False},
            "count": {"value": ""},
            "note": {"value": NO_MASK},
            "old": {"value": ""},
            "table": {"value": NO_TRUTH if picture.truth is None else "The true mask is known: press 'Segment'."},
            "tabs": {"selected": "picture"},
            **_numbers(picture.box),
        }

    def _new_folder(self) -> Path:
        """A folder unique to this page, because files of the same name may differ."""
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir(parents=True)
        return folder


def _open(path: Path, frame: int) -> Picture:
    with warnings.catch_warnings():
        # The page shows pixels as stored, so boxes fit.
        warnings.simplefilter("ignore", OrientationWarning)
        return service.open_picture(path, frame)


def _picture(session: Session) -> Picture:
    if session.picture is None:
        raise EpisodeError("there is no picture yet; open an image, or make a phantom")
    return session.picture


def _drawing(session: Session, box: Box | None, answered: dict[str, Any] | None = None) -> dict[str, Any]:
    """The picture and its box as `drawing.js` expects them; answered: the drawing's value this answers, if any."""
    picture = _picture(session)
    height, width = picture.image.shape
    corners = None if box is None else [box.left, box.top, box.right, box.bottom]
    turn = (answered or {}).get("turn", 0)
    about = {"image": session.address, "name": picture.file, "width": width, "height": height}
    return {**about, "box": corners, "turn": turn if isinstance(turn, int) else 0}


def _numbers(box: Box | None) -> Changes:
    corners = (None,) * 4 if box is None else (box.left, box.top, box.right, box.bottom)
    return {name: {"value": corner} for name, corner in zip(CORNERS, corners, strict=True)}


def _table(picture: Picture, result: Result, given: Box) -> str:
    """Metrics of the mask, as Markdown; and the offset of the box, if it was moved."""
    found = result.case.box
    lines = []
    if found != given:
        lines.append(f"Box moved by {found.left - given.left:+d} px across, {found.top - given.top:+d} px down.\n")
    if picture.truth is None:
        return "\n".join([*lines, f"Mask: {result.mask.sum()} px. {NO_TRUTH}"])
    lines += ["| | Dice | HD, px | ASD, px |", "|---|---:|---:|---:|"]
    for name, overlap, largest, mean in service.compare(result, picture.truth):
        shown = f"**{name}**" if name == result.method else name
        lines.append(f"| {shown} | {overlap:.3f} | {largest:.1f} | {mean:.2f} |")
    return "\n".join(lines)
