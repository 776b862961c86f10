"""Messages of the page's status line: short, for non-programmers, as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

Changes: TypeAlias = dict[str, Any]  # part of the page -> its new properties
Value = TypeVar("Value")

MAX_LENGTH = 220  # characters of a message
# Parts of error texts meant for programmers, with their replacement on the page.
ASIDES = (
    (r",? for example [^;]*", ""),
    (r" \((Pillow mode|channels differ|height x width|top == bottom|left == right)[^)]*\)", ""),
    (r": --frame on the command line.*", ""),
    (r"; expected a file with one, or the number of the boxed one.*", "; choose one below 'Open an image'"),
    (r"; train your own with `flip train.*", ""),
    (r": set the header's cal_min and cal_max, or rescale to uint8", "; save it with a display window"),
    (r"`([^`]*)`", r"'\1'"),
    (r" \(\d+, \d+, \d+, \d+\)", ""),
)


def doing(text: str) -> str:
    """Message while an action runs."""
    return html.escape(text, quote=False)


def in_status(turn: Generator[str | None, None, Value]) -> Generator[Changes, None, Value]:
    """`Turns.take` with its messages in the status line."""
    while True:
        try:
            text = next(turn)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # what is computed
        yield {} if text is None else {"status": {"value": doing(text)}}


def refused(error: Exception) -> str:
    """Message about a failed action."""
    return f'<span class="refused">{html.escape(briefly(error), quote=False)}</span>'


def briefly(error: Exception) -> str:
    """The reason in one line of at most MAX_LENGTH characters, without code and command-line hints."""
    text = " ".join(str(error).split())
    for aside, left in ASIDES:
        text = re.sub(aside, left, text)
    if text[:1].isalpha() and text.split(maxsplit=1)[0].isalpha():  # not a file name
        text = text[0].upper() + text[1:]
    if len(text) > MAX_LENGTH:
        text = text[:MAX_LENGTH].rsplit(" ", 1)[0].rstrip(" ,;:(") + " …"
    return text
