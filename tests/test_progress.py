"""Progress of long tasks in a log, on a terminal and in a file."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from flipenv import progress
from flipenv.pool import EpisodePool
from flipenv.progress import log_line, logging_to, show_progress, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which stands still until a test changes it."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Lines on stderr; nothing may be on stdout, which is for results."""
    told = capsys.readouterr()
    assert told.out == ""
    return told.err.split("\n")[:-1]


def test_lines_in_a_log(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("training", 30, unit="epoch") as shown:
        for epoch in range(30):
            clock[0] += 4
            shown.advance(1, f"loss {1 / (epoch + 1):.2f}")
    told = lines(capsys)
    assert told[0] == "training: epoch 0/30, starting"
    assert told[1] == "training: epoch 3/30, loss 0.33, 108 s left"
    assert told[-1] == "training: epoch 30/30, loss 0.03, done in 120 s"
    assert len(told) == 2 + 9, "one every 12 s, since an epoch takes 4 and a line is due after 10"
    assert all(told), "no blank line"


def test_going_on(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("training", 10, done=6.0, unit="epoch") as shown:
        clock[0] += 11
        shown.reach(6.5)
        clock[0] += 11
        shown.reach(8.0, "loss 0.5")
    assert lines(capsys) == [
        "training: epoch 6/10, starting",
        "training: epoch 7/10, 77 s left",
        "training: epoch 8/10, loss 0.5, 22 s left",
        "training: epoch 8/10, loss 0.5, 22 s left",
    ]
    with show_progress("training", 10, done=10):
        pass
    assert lines(capsys) == ["training: 10/10, already done"]


def test_brief_work_tells_nothing_unless_it_is_long(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track("abc", "reading", 3, brief=True)) == ["a", "b", "c"]
    assert lines(capsys) == []
    for _ in track("abc", "reading", 3, brief=True):
        clock[0] += 11
    assert lines(capsys) == ["reading: 1/3, 22 s left", "reading: 2/3, 11 s left", "reading: 3/3, done in 33 s"]


def test_quiet_task_logs_to_its_file_only(
    tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "train.log"
    for name in ("one", "two"):
        with logging_to(file), show_progress(name, 1, unit=None, quiet=True) as shown:
            shown.advance(1, "loss 0.1")
    log_line("nobody listens", quiet=True)
    assert lines(capsys) == []
    told = file.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d \w", line) for line in told)
    assert [line.partition(" ")[2].partition(" ")[2] for line in told] == [
        "one: starting",
        "one: loss 0.1, done in 0 s",
        "two: starting",
        "two: loss 0.1, done in 0 s",
    ]


def test_a_failure_is_not_told_as_an_end(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), show_progress("training", 2):
        raise ZeroDivisionError
    assert lines(capsys) == ["training: 0/2, starting"]


def test_a_bar_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress("outer", 2) as shown:
        shown.advance(1, "loss 0.25")
        for _ in track("ab", "inner", 2):
            pass
        log_line("a line")
    told = terminal.getvalue()
    assert "outer: loss 0.25" in told
    assert "50%" in told
    assert "\x1b[" in told
    assert "inner" not in told, "one bar at a time"
    assert "a line" not in told, "a bar tells it"
    terminal.truncate(0)
    with show_progress("outer", 2, quiet=True) as shown:
        shown.advance(2)
    assert terminal.getvalue().strip("\0") == ""


def test_episodes_are_prepared_without_blank_lines(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    config = {"canvas": {"kind": "roi", "height": 32, "width": 40}, "window": 16}
    from flipenv.config import EnvConfig

    EpisodePool("phantom:2?height=80&width=96", EnvConfig.of(config), cache=False).prepare_all()
    assert lines(capsys) == []
