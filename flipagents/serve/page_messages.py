"""What the page says in its one line: short, for people who write no programs, as HTML."""

from __future__ import annotations

import html
import re

LONGEST = 220  # characters of a message
# What errors say to programmers and on the command line, each with what is left of it on the page.
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
    """What goes on just now."""
    return html.escape(text, quote=False)


def refused(error: Exception) -> str:
    """Why something was not done."""
    return f'<span class="refused">{html.escape(briefly(error), quote=False)}</span>'


def briefly(error: Exception) -> str:
    """The reason in one line of at most LONGEST characters, without code and without what the page has no use for."""
    told = " ".join(str(error).split())
    for aside, left in ASIDES:
        told = re.sub(aside, left, told)
    if told[:1].isalpha() and told.split(maxsplit=1)[0].isalpha():  # not the name of a file
        told = told[0].upper() + told[1:]
    if len(told) > LONGEST:
        told = told[:LONGEST].rsplit(" ", 1)[0].rstrip(" ,;:(") + " …"
    return told
