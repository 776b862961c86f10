"""Named parts: backgrounds, superpixels, orders, rewards, channels and sources are chosen by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Generic, TypeVar

from flipenv.errors import ConfigError, MissingDependencyError

Part = TypeVar("Part")


class Registry(Generic[Part]):
    """Maps names to the interchangeable parts of one kind.

    >>> backgrounds: Registry[int] = Registry("background")
    >>> _ = backgrounds.register("eq1")(1)
    >>> backgrounds["eq1"]
    1
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, Part] = {}

    def register(self, name: str) -> Callable[[Part], Part]:
        """Return a decorator that registers a part as `name`; ConfigError if the name is taken."""

        def add(part: Part) -> Part:
            if self._parts.get(name, part) is not part:
                raise ConfigError(f"{self.kind} '{name}' is already registered; choose another name")
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


class LazyRegistry(Registry[Part]):
    """A registry that imports a part when it is asked for by name.

    places: name -> `module:attribute` of the project's own parts. group: entry points under which installed packages
    offer theirs. extra: what to install where the import of one of our own fails.
    """

    def __init__(self, kind: str, group: str, places: Mapping[str, str], extra: str) -> None:
        super().__init__(kind)
        self.group, self.places, self.extra = group, dict(places), extra

    def names(self) -> list[str]:
        """All names that can be asked for: registered, our own, offered by installed packages. Nothing is imported."""
        return sorted({*self._parts, *self.places, *entry_points(group=self.group).names})

    def check(self, name: str) -> None:
        """Raise ConfigError for a name that cannot be asked for, without importing anything."""
        if name not in self._parts and name not in self.names():
            raise ConfigError(unknown(self.kind, name, self.names()))

    def __getitem__(self, name: str) -> Part:
        if name not in self._parts:
            self.check(name)
            self._parts[name] = self._imported(name)
        return self._parts[name]

    def _imported(self, name: str) -> Part:
        if name not in self.places:
            (entry, *_) = entry_points(group=self.group, name=name)
            offered: Part = entry.load()
            return offered
        try:
            part: Part = resolve_name(self.places[name])
        except MissingDependencyError:
            raise
        except ImportError as error:
            missing = error.name or self.places[name]
            raise MissingDependencyError(
                f"{self.kind} {name!r} needs {missing}: pip install flip-learning[{self.extra}]"
            ) from error
        return part


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Return an error text with the known names and the closest match."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    meant = f"did you mean '{close[0]}'? " if close else ""
    return f"unknown {kind} {name!r}: {meant}known are {', '.join(names)}"
