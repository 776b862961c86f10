"""Shows docstring lines such as `seed: of the first reset` as a list, where a whole paragraph consists of them."""

from __future__ import annotations

import re
from typing import Any

import griffe

FIELD = re.compile(r"^([a-z]\w*(?:, [a-z]\w*)*): ", re.MULTILINE)


def listed(docstring: str) -> str:
    """The text with each paragraph that begins with a field as a Markdown list."""

    def item(field: re.Match[str]) -> str:
        return "- " + ", ".join(f"`{name}`" for name in field[1].split(", ")) + ": "

    paragraphs = docstring.split("\n\n")
    return "\n\n".join(FIELD.sub(item, each) if FIELD.match(each) else each for each in paragraphs)


class Fields(griffe.Extension):
    """Called by mkdocstrings for all that it reads."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring, where there is one."""
        if obj.docstring:
            obj.docstring.value = listed(obj.docstring.value)
