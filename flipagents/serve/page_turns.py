"""One window of the page computes at a time; the others show a message."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

WAITING = "Another window is computing. Yours is next."
POLL = 0.5  # s, between messages of a waiting window

Value = TypeVar("Value")


class PictureChangedError(Exception):
    """The computation is for a picture that its window no longer shows."""


@dataclass
class Visit:
    """The period in which a window shows one picture."""

    over: bool = False


class Turns:
    """Lock that serialises computations."""

    def __init__(self) -> None:
        self._taken = threading.Lock()

    def take(
        self, visit: Visit, what: str, compute: Callable[[], Value], said: str = ""
    ) -> Generator[str | None, None, Value]:
        """Wait for other computations, then return `compute()`; PictureChangedError if the visit is over by then.

        Yields status messages, None for no change. The lock is not held while yielding, so a closed window blocks
        nobody. what: message while computing; said: message shown now.
        """
        while True:
            if said != what:
                said = what
                yield what
            while not self._taken.acquire(timeout=POLL):
                if visit.over:
                    raise PictureChangedError
                yield None if said == WAITING else WAITING
                said = WAITING
            try:
                if visit.over:
                    raise PictureChangedError
                if said == what:
                    return compute()
            finally:
                self._taken.release()
