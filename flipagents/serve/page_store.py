"""The work of each window on the server, so that a reload loses nothing; deleted when it was not touched for long."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from weakref import WeakValueDictionary

from flipagents.segment.corrections import Correction
from flipagents.segment.outputs import mask_bytes
from flipagents.serve import service
from flipagents.serve.page_state import Nodule, Session, Sheet
from flipagents.serve.page_view import corners
from flipagents.serve.service import Result
from flipagents.store.files import replacing, write_texts
from flipenv.errors import FlipError
from flipenv.sources import read_mask
from flipenv.types import Box

KEY = re.compile(r"[0-9a-f]{32}")
STATE = "session.json"


class Store:
    """Files of sessions, each in a folder of its own in `folder`, named by its secret key.

    lifetime: s, after which a session that no window shows is deleted.
    """

    def __init__(self, folder: Path, lifetime: float) -> None:
        self.folder, self.lifetime = folder, lifetime
        self.live: WeakValueDictionary[str, Session] = WeakValueDictionary()  # shown in a window
        self._lock = threading.Lock()

    def new_file(self, session: Session, name: str) -> Path:
        """Where a new file of a session goes; in a folder of its own, as files of the same name may differ."""
        if not session.key:
            session.key = secrets.token_hex(16)
            self.live[session.key] = session
        folder = self.folder / session.key / secrets.token_hex(8)
        folder.mkdir(parents=True)
        return folder / name

    def keep_file(self, session: Session, file: Path) -> Path:
        """Keep an uploaded file with the session; the upload itself is Gradio's, which deletes it."""
        kept = self.new_file(session, file.name)
        try:
            os.link(file, kept)
        except OSError:  # another disk
            shutil.copyfile(file, kept)
        return kept

    def address(self, session: Session, sheet: Sheet) -> str:
        """URL of the image for the browser, which needs it as PNG."""
        if sheet.shown is None or not sheet.shown.exists():
            folder = self.new_file(session, "").parent
            sheet.shown = service.write_image(folder, sheet.picture)
        return url(sheet.shown)

    def keep(self, session: Session) -> None:
        """Write the state of a session, after each change."""
        with self._lock:
            for sheet in session.sheets:
                for nodule in sheet.nodules:
                    if nodule.result is not None and not nodule.stored:
                        path = self.new_file(session, "mask.png")
                        with replacing([path]) as parts:
                            parts[path].write_bytes(mask_bytes(nodule.result.mask))
                        nodule.stored = str(path.relative_to(self.folder / session.key))
            if session.key:
                state = {
                    "at": session.at,
                    "phantoms": session.phantoms,
                    "sheets": [_plain(each) for each in session.sheets],
                }
                write_texts({self.folder / session.key / STATE: json.dumps(state)})

    def restore(self, session: Session, key: object, *, own: bool) -> bool:
        """Fill a new session with the work of a key, unless another window shows it; whether it did.

        own: whether the window showed it itself before, as when it is reloaded.
        """
        self.sweep()
        if not (isinstance(key, str) and KEY.fullmatch(key)) or (key in self.live and not own):
            return False
        try:
            state = json.loads((self.folder / key / STATE).read_text("utf-8"))
            session.key = key
            session.sheets = [self._sheet(key, each) for each in state["sheets"]]
            session.at, session.phantoms = state["at"], state["phantoms"]
        except (OSError, ValueError, KeyError, FlipError):  # never there, deleted, or its image on disk is gone
            session.key, session.sheets, session.at = "", [], 0
            return False
        self.live[key] = session
        return True

    def leave(self, session: Session) -> None:
        """A window was closed; its session can be shown in another until its lifetime is over."""
        if self.live.get(session.key) is session:
            del self.live[session.key]
            with suppress(OSError):
                os.utime(self.folder / session.key / STATE)

    def clear(self, session: Session) -> None:
        """Delete all work of a session."""
        if session.key:
            shutil.rmtree(self.folder / session.key, ignore_errors=True)
            self.live.pop(session.key, None)
        session.key, session.sheets = "", []
        session.show(0)

    def sweep(self) -> None:
        """Delete the sessions whose lifetime is over."""
        for folder in self._folders():
            state = folder / STATE
            with suppress(FileNotFoundError):  # swept by another thread
                touched = (state if state.exists() else folder).stat().st_mtime
                if folder.name not in self.live and time.time() - touched > self.lifetime:
                    shutil.rmtree(folder, ignore_errors=True)

    def sweep_always(self) -> None:
        """Sweep from now on, in the background."""

        def go_on() -> None:
            while True:
                time.sleep(self.lifetime / 24)
                self.sweep()

        threading.Thread(target=go_on, daemon=True).start()

    def _folders(self) -> Iterator[Path]:
        if self.folder.is_dir():
            yield from (each for each in self.folder.iterdir() if KEY.fullmatch(each.name))

    def _sheet(self, key: str, values: dict[str, Any]) -> Sheet:
        file, truth, target, shown = (None if each is None else Path(each) for each in values["files"])
        sheet = Sheet(file, values["frame"], values["seed"], truth, target, shown)
        sheet.nodules = [_nodule(self.folder / key, sheet, each) for each in values["nodules"]]
        sheet.chosen = values["chosen"]
        return sheet


def url(file: Path) -> str:
    """URL of a file of the page, for the browser."""
    return f"gradio_api/file={quote(file.as_posix())}"


def _plain(sheet: Sheet) -> dict[str, Any]:
    files = (sheet.file, sheet.truth, sheet.target, sheet.shown)
    return {
        "files": [None if file is None else file.as_posix() for file in files],
        "seed": sheet.seed,
        "frame": sheet.frame,
        "chosen": sheet.chosen,
        "nodules": [
            {
                "box": None if each.box is None else corners(each.box),
                "given": None if each.given is None else [corners(each.given[0]), *each.given[1:]],
                "found": None if each.result is None else corners(each.result.case.box),
                "mask": each.stored,
                "corrections": [correction.to_dict() for correction in each.corrections],
            }
            for each in sheet.nodules
        ],
    }


def _nodule(folder: Path, sheet: Sheet, values: dict[str, Any]) -> Nodule:
    nodule = Nodule(None if values["box"] is None else Box.from_xyxy(*values["box"]))
    if values["given"] is None:
        return nodule
    box, margin, method, weights = values["given"]
    case = sheet.picture.case(Box.from_xyxy(*values["found"]))
    mask = read_mask(folder / values["mask"], case.image.shape)
    nodule.make(Result(method, case, mask), (Box.from_xyxy(*box), margin, method, weights))
    nodule.stored = values["mask"]
    if values["corrections"]:
        nodule.mending().replay(map(Correction.from_dict, values["corrections"]))
    return nodule
