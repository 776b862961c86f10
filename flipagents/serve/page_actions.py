"""Actions of the page: from a window's session and input values to updates.

An action changes the session and returns the changed properties of the page by part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flipagents.segment.quality import Quality
from flipagents.serve import page_saving as saving
from flipagents.serve import page_view as view
from flipagents.serve import service
from flipagents.serve.page_card import NO_MASK, card, outdated
from flipagents.serve.page_mend import mend, would_mend
from flipagents.serve.page_messages import Changes, briefly, doing, in_status
from flipagents.serve.page_state import Given, Nodule, Session, Sheet, work_order
from flipagents.serve.page_store import Store, url
from flipagents.serve.page_turns import Turns
from flipagents.serve.page_watch import Watching
from flipagents.serve.page_weights import NO_AGENTS, Choices
from flipenv.errors import BoxError, ConfigError, FlipError, ImageError
from flipenv.types import Box

FIRST_PHANTOM = 1_000_005  # seeds from 1_000_000 on are not trained on; chosen to demonstrate the agents
CORNERS = ("x0", "y0", "x1", "y1")  # parts of the page
PICTURE = ("drawing", *CORNERS, "card", "note", "frame", "back")  # parts that show one image
WALK = ("film", "gif", "step", "cells", "count", "erased", "tabs")  # parts that show what was computed from it


class Actions:
    """The actions of all windows, for the weights to choose from; files go to `folder`.

    Computations run one at a time, and yield status messages while waiting and running. mend: a mask on disk that each
    new window opens; lifetime: see `Store`.
    """

    def __init__(self, choices: Choices, folder: Path, mend: Path | None = None, lifetime: float = 24 * 3600) -> None:
        self.choices, self.mend = choices, mend
        self.store = Store(folder, lifetime)
        self._turns = Turns()
        self.watching = Watching(choices, self.store, self._turns)

    def begin(self, session: Session, drawing: dict[str, Any] | None) -> Changes:
        """Show again what a window showed before it was reloaded, and the mask of `flip app --mend`."""
        if session.sheets:
            return {}
        ask = _ask(session, drawing)
        self.store.restore(session, ask.get("key"), own=bool(ask.get("own")))
        if self.mend is not None and all(each.target != self.mend for each in session.sheets):
            self._add(session, [saving.open_mask(self.mend)])
        return self._show(session) if session.sheets else {}

    def open(self, session: Session, files: Sequence[str]) -> Changes:
        """Add uploaded images to those of the window, and show the first of them.

        Those that cannot be read are left out and named; if there is none left, the error is raised.
        """
        sheets, errors = [], []
        for file in map(Path, files):
            try:
                sheet = Sheet(self.store.keep_file(session, file))
                sheet.frame = sheet.picture.frame
            except FlipError as error:
                errors.append(error)
                continue
            sheets.append(sheet)
            if len(files) > 1:
                sheet.forget()
        if not sheets:
            raise errors[0] if errors else ImageError("there is no image in that folder")
        told = f"{len(errors)} of {len(files)} files are left out: {briefly(errors[0])}" if errors else ""
        return {**self._add(session, work_order(sheets)), "status": {"value": doing(told)}}

    def frame(self, session: Session, number: int) -> Changes:
        """Turn to another frame of the film, whose boxes are its own."""
        sheet = session.sheet
        if sheet is None or sheet.frame is None:
            return {}
        for index, each in enumerate(session.sheets):
            if (each.file, each.frame) == (sheet.file, int(number)):
                session.show(index)
                return self._show(session)
        other = Sheet(sheet.file, int(number))
        _ = other.picture  # an error leaves the page as it is
        at = session.at
        if all(each.box is None for each in sheet.nodules):
            session.sheets[at] = other
        else:
            session.sheets.insert(at := at + 1, other)
        session.show(at)
        return self._show(session)

    def phantom(self, session: Session) -> Changes:
        """Add the next phantom, with its box and truth."""
        sheet = Sheet(None, seed=FIRST_PHANTOM + session.phantoms)
        sheet.nodule.box = sheet.picture.box
        session.phantoms += 1
        return self._add(session, [sheet])

    def turned(self, session: Session, drawing: dict[str, Any] | None) -> Changes:
        """Turn to the next image or the one before."""
        by = _ask(session, drawing).get("by")
        if len(session.sheets) < 2 or by not in (1, -1):
            return {}
        session.show((session.at + by) % len(session.sheets))
        return self._show(session)

    def sort(self, session: Session) -> Changes:
        """Order the images by their least sure mask, those with a box and no mask yet first, and show the first."""

        def sure(sheet: Sheet) -> float:
            rated = [self._quality(each) for each in sheet.nodules if each.mask is not None]
            missing = any(each.box is not None and each.mask is None for each in sheet.nodules)
            return -1.0 if missing else min((1.0 if each is None else each.value for each in rated), default=2.0)

        if session.sheets:
            session.sheets = work_order(session.sheets, sure)
            for sheet in session.sheets:
                sheet.forget()
            session.show(0)
        return self._show(session)

    def clear(self, session: Session) -> Changes:
        """Delete all images, boxes and masks of the window, also on the server."""
        self.store.clear(session)
        return self._show(session)

    def drawn(self, session: Session, drawing: dict[str, Any] | None) -> Changes:
        """Take the dragged box as the chosen one."""
        _ask(session, drawing)
        sides = (drawing or {}).get("box")
        if session.sheet is None or sides is None:
            return {}
        if not (isinstance(sides, list) and len(sides) == 4 and all(isinstance(side, int | float) for side in sides)):
            raise BoxError("expected a box of four numbers")
        session.sheet.nodule.box = service.box_drawn(session.sheet.picture, sides)
        return self._boxes(session)

    def typed(self, session: Session, drawing: dict[str, Any] | None, *corners: float | None) -> Changes:
        """Draw the box of the four numbers, once all are given."""
        _ask(session, drawing)
        if session.sheet is None or any(corner is None for corner in corners):
            return {}
        session.sheet.nodule.box = service.box_of(session.sheet.picture, corners)
        return {name: change for name, change in self._boxes(session).items() if name not in CORNERS}

    def typing(self, session: Session, drawing: dict[str, Any] | None, *corners: float | None) -> Changes:
        """As `typed`, but incomplete input is not an error."""
        try:
            return self.typed(session, drawing, *corners)
        except BoxError:
            return {}

    def asked(self, session: Session, drawing: dict[str, Any] | None) -> Changes:
        """What was asked for in the drawing: mend the mask, undo, redo; choose, add, delete a box."""
        ask, sheet = _ask(session, drawing), session.sheet
        if sheet is None:
            return {}
        nodules = sheet.nodules
        index = ask["index"] if isinstance(ask.get("index"), int) else -1
        match ask.get("what"):
            case "erase" | "pass" | "undo" | "redo":
                mend(sheet.nodule, ask)
            case "add" if sheet.nodule.box is not None:
                sheet.chosen = next((n for n, each in enumerate(nodules) if each.box is None), len(nodules))
                nodules.extend([Nodule()] * (sheet.chosen == len(nodules)))
            case "choose" if index in range(len(nodules)):
                sheet.chosen = index
            case "delete" if index in range(len(nodules)):
                if sheet.target is not None and index == 0:
                    raise BoxError(f"this is the box of {sheet.target.name}, which is mended here")
                del nodules[index]
                nodules.extend([] if nodules else [Nodule()])
                sheet.chosen = min(sheet.chosen - (index < sheet.chosen), len(nodules) - 1)
        return self._boxes(session)

    def preview(self, asked: dict[str, Any]) -> str:
        """Outline of what a click would change, as an SVG path; "" if there is nothing to show.

        asked: key and image as in the value of the drawing, and the ask of a click.
        """
        session = self.store.live.get(str(asked.get("key")))
        sheet = None if session is None else session.sheet
        if session is None or sheet is None or sheet.nodule.mask is None:
            return ""
        if self.store.address(session, sheet) != asked.get("image"):
            return ""
        try:
            return view.outline(would_mend(sheet.nodule, asked.get("ask") or {}))
        except FlipError:  # as where clicks do not reach; a click says why
            return ""

    def chosen(self, weights: str) -> Changes:
        """Offer what these weights can do."""
        one = self.choices.of(weights)
        return {
            "method": {"choices": one.usual, "value": one.method},
            "other": {"value": None},
            "agents": {"visible": one.has_agents},
            "no_agents": {"value": "" if one.has_agents else NO_AGENTS},
        }

    def segment(
        self,
        session: Session,
        weights: str,
        method: str | None,
        other: str | None,
        margin: int,
        *corners: float | None,
    ) -> Iterator[Changes]:
        """Segment the chosen box and show the mask, to be mended.

        method, other: one is the chosen method, the other None.
        """
        sheet = session.shown()
        nodule, picture = sheet.nodule, sheet.picture
        nodule.box = box = service.box_of(picture, corners)
        name = method or other
        if name is None:
            raise ConfigError("there is no method yet; choose one")
        given: Given = (box, int(margin), name, self.choices.of(weights).name)
        used = self.choices.of(weights).service
        result = yield from in_status(
            self._turns.take(
                session.visit, f"Segmenting with {name} …", lambda: used.segment(picture, box, name, int(margin))
            )
        )
        nodule.make(result, given)
        yield {**self._boxes(session), "tabs": {"selected": "picture"}, "status": {"value": ""}}

    def erased(self, session: Session) -> Changes:
        """The image with the chosen nodule erased."""
        sheet = session.sheet
        if sheet is None or sheet.nodule.result is None or sheet.nodule.mask is None:
            return {"erased": {"value": None}}
        return {"erased": {"value": service.erased_picture(sheet.nodule.result.case, sheet.nodule.mask)}}

    def truth(self, session: Session, file: str) -> Changes:
        """Load the true mask, and compare."""
        sheet = session.shown()
        kept = self.store.keep_file(session, Path(file))
        service.with_truth(sheet.picture, kept)  # an error leaves the page as it is
        sheet.truth = kept
        sheet.forget()
        return self._boxes(session)

    def save(self, session: Session) -> Changes:
        """Save all masks of the window as one download."""
        path = self.store.new_file(session, saving.ZIP)
        count = saving.write_zip(path, session.sheets)
        told = f"{count} mask{'s' * (count != 1)} saved in {path.name}."
        drawing = {**self._drawing(session), "download": url(path)}
        return {"drawing": {"value": drawing}, "status": {"value": doing(told)}}

    def back(self, session: Session) -> Changes:
        """Write the mended mask back to where `flip app --mend` took it from."""
        told = saving.write_back(session.shown(), self.choices)
        return {"status": {"value": doing(told)}}

    def _add(self, session: Session, sheets: Sequence[Sheet]) -> Changes:
        session.sheets.extend(sheets)
        session.show(len(session.sheets) - len(sheets))
        return self._show(session)

    def _show(self, session: Session) -> Changes:
        """Show the image of a session, and clear everything of the one before."""
        empty = {name: {"value": None} for name in ("film", "cells", "erased")}
        sheet = session.sheet
        last = 0 if sheet is None else sheet.picture.frames - 1
        return {
            **empty,
            **self._boxes(session),
            "frame": {"value": sheet.frame or 0 if sheet else 0, "maximum": max(last, 1), "visible": last > 0},
            "back": {"visible": sheet is not None and sheet.target is not None},
            "gif": {"visible": False},
            "step": {"value": 0, "interactive": False},
            "count": {"value": ""},
            "tabs": {"selected": "picture"},
        }

    def _boxes(self, session: Session) -> Changes:
        """Show the boxes and masks of the image, after a change, which is kept."""
        sheet = session.sheet
        box: Box | None = None if sheet is None else sheet.nodule.box
        shown = {"drawing": {"value": self._drawing(session)}}
        self.store.keep(session)
        return {
            **shown,
            **{name: {"value": corner} for name, corner in zip(CORNERS, view.corners(box), strict=True)},
            "card": {"value": NO_MASK if sheet is None else card(sheet, self._quality(sheet.nodule))},
            "note": {"value": "" if sheet is None else outdated(sheet.nodule)},
        }

    def _quality(self, nodule: Nodule) -> Quality | None:
        """Of a mask with its corrections; None without one, and for a mask that other weights made."""
        if nodule.result is None or nodule.given is None or nodule.mask is None or not nodule.given[3]:
            return None
        return self.choices.of(nodule.given[3]).service.quality(nodule.result, nodule.mask)

    def _drawing(self, session: Session) -> dict[str, Any]:
        address = "" if session.sheet is None else self.store.address(session, session.sheet)
        return view.drawing(session, address)


def _ask(session: Session, drawing: dict[str, Any] | None) -> dict[str, Any]:
    """What the drawing asks for; its turn goes into the answer."""
    turn, ask = (drawing or {}).get("turn"), (drawing or {}).get("ask")
    if isinstance(turn, int):
        session.turn = max(session.turn, turn)
    return ask if isinstance(ask, dict) else {}
