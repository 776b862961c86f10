"""Who computes, and what the others are told."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flipagents.serve.page_turns import WAITING, PictureChangedError, Turns, Visit


def end_of(turn: Any) -> tuple[list[str | None], Any]:
    """All that it says, and what it returns."""
    said = []
    while True:
        try:
            said.append(next(turn))
        except StopIteration as end:
            return said, end.value


def test_alone() -> None:
    assert end_of(Turns().take(Visit(), "adding", lambda: 1 + 1)) == (["adding"], 2)
    assert end_of(Turns().take(Visit(), "adding", lambda: 1 + 1, "adding")) == ([], 2)


def test_an_error_ends_the_turn() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError):
        end_of(turns.take(Visit(), "dividing", lambda: 1 / 0))
    assert end_of(turns.take(Visit(), "adding", lambda: 2)) == (["adding"], 2)


def test_one_at_a_time() -> None:
    turns, began, go_on = Turns(), threading.Event(), threading.Event()
    both = threading.Lock()

    def compute() -> str:
        assert both.acquire(blocking=False)
        began.set()
        assert go_on.wait(60)
        both.release()
        return "done"

    first = threading.Thread(target=lambda: end_of(turns.take(Visit(), "one", compute)))
    first.start()
    assert began.wait(60)
    second = turns.take(Visit(), "two", compute)
    assert [next(second), next(second), next(second)] == ["two", WAITING, None]
    left = Visit()
    third = turns.take(left, "three", compute)
    assert [next(third), next(third)] == ["three", WAITING]
    left.over = True
    with pytest.raises(PictureChangedError):
        next(third)
    go_on.set()
    first.join(60)
    assert end_of(second) == (["two"], "done")


def test_nothing_is_computed_for_somebody_who_left() -> None:
    left = Visit(over=True)
    with pytest.raises(PictureChangedError):
        end_of(Turns().take(left, "adding", lambda: pytest.fail("computed")))


def test_who_is_closed_in_between_keeps_nobody_waiting() -> None:
    turns = Turns()
    turn = turns.take(Visit(), "one", lambda: 1)
    next(turn)
    turn.close()
    assert end_of(turns.take(Visit(), "two", lambda: 2)) == (["two"], 2)
