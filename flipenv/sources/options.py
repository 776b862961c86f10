"""Parse the text after `kind:` into an argument and options."""

from __future__ import annotations

from collections.abc import Sequence

from flipenv.errors import SourceError
from flipenv.registry import unknown


def split_options(kind: str, text: str, known: Sequence[str] | None) -> tuple[str, dict[str, str]]:
    """Split `ARGUMENT?option=value&option=value` into argument and options; known=None allows any option.

    A question mark without an `option=` after it is part of the argument, as file names may contain one.

    Raises SourceError for an option that is unknown, repeated or without a value.
    """
    argument, mark, tail = text.rpartition("?")
    if not mark or "=" not in tail:
        return text, {}
    options: dict[str, str] = {}
    for pair in tail.split("&"):
        name, _, value = pair.partition("=")
        if known is not None and name not in known:
            reason = unknown("option", name, known) if known else f"unknown option {name!r}: {kind} takes none"
            raise SourceError(f"'{kind}:{text}': {reason}")
        if not value or name in options:
            fault = "is given twice" if name in options else "has no value"
            raise SourceError(f"'{kind}:{text}': option {name!r} {fault}; expected {name}=VALUE, once")
        options[name] = value
    return argument, options


def need_path(kind: str, argument: str, example: str) -> str:
    """Return the path after `kind:`; SourceError, with the `example`, if it is empty."""
    if not argument:
        raise SourceError(f"source '{kind}' needs a path, for example '{example}'")
    return argument


def whole_number(kind: str, name: str, text: str) -> int:
    """Return an option as an int; SourceError unless it is all digits."""
    if not (text.isascii() and text.isdigit()):
        raise SourceError(
            f"source '{kind}': {name}={text!r} is not a whole number; expected digits, for example {name}=64"
        )
    return int(text)


def yes_or_no(kind: str, name: str, text: str) -> bool:
    """Return an option as a bool; SourceError unless it is `true` or `false`."""
    if text not in ("true", "false"):
        raise SourceError(f"source '{kind}': {name}={text!r}; expected {name}=true or {name}=false")
    return text == "true"
