"""Progress of long tasks: a bar on a terminal, or log lines on stderr, and optionally in a file.

    with show_progress("training", total=30, unit="epoch") as shown:
        for epoch in range(30):
            loss = ...
            shown.advance(1, f"loss {loss:.3f}")

A task logs at its start and end, and in between at most every EVERY seconds, for example `training: epoch 3/30, loss
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

EVERY = 10.0  # s, minimum between two lines

Item = TypeVar("Item")

_file: ContextVar[Path | None] = ContextVar("_file", default=None)
_has_bar: ContextVar[bool] = ContextVar("_has_bar", default=False)  # whether a bar is on screen


class TaskProgress:
    """Progress of one task; made by `show_progress`."""

    def __init__(self, title: str, total: float, done: float, unit: str | None, quiet: bool, brief: bool) -> None:
        self.title, self.total, self.completed, self.unit = title, total, done, unit
        self._quiet, self._silent = quiet, brief  # silent: nothing logged yet
        self._note, self._before = "", done
        self._started = self._line_at = time.monotonic()
        self.on_bar: Callable[[], None] = _nothing

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Add to the completed amount. note: shown beside it, for example a loss."""
        self.reach(self.completed + amount, note)

    def reach(self, completed: float, note: str = "") -> None:
        """Set the completed amount; otherwise as `advance`."""
        self.completed, self._note = completed, note or self._note
        self.on_bar()
        if completed < self.total and time.monotonic() - self._line_at >= EVERY:
            self._log()

    @property
    def description(self) -> str:
        """Text before the bar."""
        return f"{self.title}: {self._note}" if self._note else self.title

    def begin(self) -> None:
        """Log the start of the task."""
        if not self._silent:
            self._log()

    def end(self) -> None:
        """Log the end of the task."""
        if not self._silent and self._before < self.total:
            self._log()

    def _log(self) -> None:
        self._silent, self._line_at = False, time.monotonic()
        parts = [self._counted(), self._note, self._seconds()]
        log_line(f"{self.title}: {', '.join(part for part in parts if part)}", quiet=self._quiet)

    def _counted(self) -> str:
        if self.unit is None:
            return ""
        return f"{self.unit} {math.ceil(self.completed - 1e-6)}/{math.ceil(self.total - 1e-6)}".strip()

    def _seconds(self) -> str:
        passed, did = time.monotonic() - self._started, self.completed - self._before
        if self._before >= self.total:
            return "already done"
        if self.completed >= self.total:
            return f"done in {passed:.0f} s"
        return f"{passed / did * (self.total - self.completed):.0f} s left" if did > 0 else "starting"


@contextmanager
def show_progress(
    title: str, total: float, *, done: float = 0.0, unit: str | None = "", quiet: bool = False, brief: bool = False
) -> Iterator[TaskProgress]:
    """Show the progress of a task on stderr, and log it to the file of `logging_to`, if any.

    total, done: the amount of work, and how much was already done. unit: what is counted, such as "epoch"; None to log
    no count. quiet: nothing on stderr. brief: log only if it takes longer than EVERY seconds.
    A task within one that shows a bar gets no second bar.
    """
    shown = TaskProgress(title, total, done, unit, quiet, brief)
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
    """Yield the items and show how many are done; otherwise as `show_progress`."""
    with show_progress(title, total, quiet=quiet, brief=brief) as shown:
        for item in items:
            yield item
            shown.advance()


def log_line(line: str, *, quiet: bool = False) -> None:
    """Log a line: to stderr unless it is a terminal or quiet, and to the file of `logging_to`, if any."""
    if not quiet and not sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)
    file = _file.get()
    if file is not None:
        with file.open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now().astimezone().isoformat(sep=' ', timespec='seconds')} {line}\n")


def _nothing() -> None:
    """Placeholder for a missing bar."""


@contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """Also append every line to a file, with a timestamp, within this context."""
    token = _file.set(file)
    try:
        yield
    finally:
        _file.reset(token)
