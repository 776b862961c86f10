"""One name a part: backgrounds, superpixels, orders, rewards, channels and sources are chosen by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from flipenv.errors import ConfigError

Part = TypeVar("Part")


class Registry(Generic[Part]):
    """Names for the interchangeable parts of one kind.

    >>> backgrounds: Registry[int] = Registry("background")
    >>> _ = backgrounds.register("eq1")(1)
    >>> backgrounds["eq1"]
    1
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, Part] = {}

    def register(self, name: str) -> Callable[[Part], Part]:
        """Return a decorator that files a part under `name`; ConfigError if another part has that name."""

        def add(part: Part) -> Part:
            if self._parts.get(name, part) is not part:
                raise ConfigError(f"{self.kind} '{name}' is registered already; choose another name")
            self._parts[name] = part
            return part

        return add

    @contextmanager
    def temporarily(self) -> Iterator[None]:
        """What is registered inside the `with` block is forgotten after it, however it ends."""
        before = dict(self._parts)
        try:
            yield
        finally:
            self._parts = before

    def __getitem__(self, name: str) -> Part:
        if not isinstance(name, str) or name not in self._parts:
            raise ConfigError(unknown(self.kind, name, self._parts))
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Return the sentence that tells a reader which names exist and which one was probably meant."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    meant = f"did you mean '{close[0]}'? " if close else ""
    return f"unknown {kind} {name!r}: {meant}known are {', '.join(names)}"
