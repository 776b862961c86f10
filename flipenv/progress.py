"""How far long work is: a bar at a terminal, lines in a log, and lines in a file that the caller names.

    with showing("training", total=30, unit="epoch") as shown:
        for epoch in range(30):
            loss = ...
            shown.advance(1, f"loss {loss:.3f}")

A log gets a line at the start, at most one every EVERY seconds, and one at the end, such as `training: epoch 3/30, loss
0.021, 45 s left`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

EVERY = 10.0  # seconds between two lines, at least

Item = TypeVar("Item")

_file: ContextVar[Path | None] = ContextVar("_file", default=None)
_has_bar: ContextVar[bool] = ContextVar("_has_bar", default=False)  # whether one is on the screen


class Shown:
    """One piece of work, as far as it is; made by `showing`."""

    def __init__(self, title: str, total: float, done: float, unit: str | None, quiet: bool, brief: bool) -> None:
        self.title, self.total, self.completed, self.unit = title, total, done, unit
        self._quiet, self._silent = quiet, brief  # silent: no line was told so far, and none need be
        self._told, self._before = "", done
        self._started = self._line_at = time.monotonic()
        self.on_bar: Callable[[], None] = _nothing

    def advance(self, amount: float = 1.0, told: str = "") -> None:
        """So much more is done. told: what else there is to say, such as a loss."""
        self.reach(self.completed + amount, told)

    def reach(self, completed: float, told: str = "") -> None:
        """So much of the total is done by now; otherwise as `advance`."""
        self.completed, self._told = completed, told or self._told
        self.on_bar()
        if completed < self.total and time.monotonic() - self._line_at >= EVERY:
            self._say()

    @property
    def description(self) -> str:
        """What stands before the bar."""
        return f"{self.title}: {self._told}" if self._told else self.title

    def begin(self) -> None:
        """Tell a log what starts."""
        if not self._silent:
            self._say()

    def end(self) -> None:
        """Tell a log how it ended."""
        if not self._silent and self._before < self.total:
            self._say()

    def _say(self) -> None:
        self._silent, self._line_at = False, time.monotonic()
        parts = [self._counted(), self._told, self._seconds()]
        say(f"{self.title}: {', '.join(part for part in parts if part)}", quiet=self._quiet)

    def _counted(self) -> str:
        if self.unit is None:
            return ""
        return f"{self.unit} {math.ceil(self.completed - 1e-6)}/{math.ceil(self.total - 1e-6)}".strip()

    def _seconds(self) -> str:
        passed, did = time.monotonic() - self._started, self.completed - self._before
        if self._before >= self.total:
            return "there already"
        if self.completed >= self.total:
            return f"done in {passed:.0f} s"
        return f"{passed / did * (self.total - self.completed):.0f} s left" if did > 0 else "starting"


@contextmanager
def showing(
    title: str, total: float, *, done: float = 0.0, unit: str | None = "", quiet: bool = False, brief: bool = False
) -> Iterator[Shown]:
    """Show on stderr how far a piece of work is, and tell the file of `told_to`, if there is one.

    total, done: how much there is, and how much of it was there before. unit: what is counted, such as "epoch"; None
    where lines count nothing. quiet: nothing on stderr. brief: no lines unless it takes longer than EVERY seconds.
    Inside another piece of work whose bar is on the screen there is no second bar.
    """
    shown = Shown(title, total, done, unit, quiet, brief)
    shown.begin()
    if quiet or _has_bar.get() or not sys.stderr.isatty() or done >= total:
        yield shown
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"))
        taken = _has_bar.set(True)
        try:
            with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task(title, total=total)
                bar.update(task, completed=done)
                shown.on_bar = lambda: bar.update(task, completed=shown.completed, description=shown.description)
                yield shown
        finally:
            _has_bar.reset(taken)
    shown.end()


def track(items: Iterable[Item], title: str, total: int, *, quiet: bool = False, brief: bool = False) -> Iterator[Item]:
    """The items, showing how many of them were taken; otherwise as `showing`."""
    with showing(title, total, quiet=quiet, brief=brief) as shown:
        for item in items:
            yield item
            shown.advance()


def say(line: str, *, quiet: bool = False) -> None:
    """Tell a log one line: stderr where it is no terminal, unless quiet, and the file of `told_to`, if there is one."""
    if not quiet and not sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)
    file = _file.get()
    if file is not None:
        with file.open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now().astimezone().isoformat(sep=' ', timespec='seconds')} {line}\n")


def _nothing() -> None:
    """There is no bar."""


@contextmanager
def told_to(file: Path) -> Iterator[None]:
    """Meanwhile every line is also written into a file, after those that are there, each with its time."""
    token = _file.set(file)
    try:
        yield
    finally:
        _file.reset(token)
