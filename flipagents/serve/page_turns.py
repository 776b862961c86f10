"""Only one window of the page computes at a time; the others show that they wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

WAITING = "Another window is computing. Yours is next; there is nothing to press."
PATIENCE = 0.5  # s, after which a waiting window says so

Value = TypeVar("Value")


class LeftError(Exception):
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
        """What `compute` returns, once nobody else computes; LeftError where the visit is over by then.

        Yields what there is to say, None where that is the same as before. Nothing is held while it yields, so that a
        window that is closed in between keeps nobody waiting. what: is said while it computes; said: just now.
        """
        while True:
            if said != what:
                said = what
                yield what
            while not self._taken.acquire(timeout=PATIENCE):
                if visit.over:
                    raise LeftError
                yield None if said == WAITING else WAITING
                said = WAITING
            try:
                if visit.over:
                    raise LeftError
                if said == what:
                    return compute()
            finally:
                self._taken.release()
