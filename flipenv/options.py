"""Checks shared by the frozen configs."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from flipenv.errors import ConfigError
from flipenv.registry import unknown

T = TypeVar("T")


def known_fields(cls: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options unchanged; ConfigError names one that is not a field of the dataclass, and the nearest."""
    names = [field.name for field in dataclasses.fields(cls)]
    if not isinstance(options, Mapping):
        raise ConfigError(f"{cls.__name__}: {options!r}; expected options by name, {', '.join(names)}")
    for name in options:
        if name not in names:
            raise ConfigError(unknown(f"{cls.__name__} option", name, names))
    return dict(options)


def read_config(cls: type[T], value: T | Mapping[str, Any] | None, options: Mapping[str, Any]) -> T:
    """Make a config from a config, a mapping of its fields (as in JSON) or None, with some options changed.

    ConfigError names an unknown option.
    """
    if isinstance(value, cls):
        return dataclasses.replace(value, **known_fields(cls, options))  # type: ignore[type-var]
    return cls(**{**known_fields(cls, value or {}), **known_fields(cls, options)})  # type: ignore[arg-type]


@contextmanager
def naming(owner: str) -> Iterator[None]:
    """Prefix the message of a ConfigError with the name of the class."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{owner}: {error}") from None


def one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Raise ConfigError unless the value is allowed."""
    if value not in allowed or isinstance(value, bool):
        raise ConfigError(f"{name}={value!r}; expected one of {', '.join(map(repr, allowed))}")


def between(name: str, value: Any, least: float, most: float, *, whole: bool = False) -> None:
    """Raise ConfigError unless the value is a number from `least` to `most`, an integer if `whole`."""
    wanted = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, wanted) or not least <= float(value) <= most:
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"{name}={value!r}; expected {kind} between {least} and {most}")


def flag(name: str, value: object) -> None:
    """Raise ConfigError unless the value is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name}={value!r}; expected True or False")


def several(name: str, value: Any, what: type[Any], count: int | None = None) -> tuple[Any, ...]:
    """Return a list as a tuple; ConfigError unless it holds `count` values of type `what` (str, int or float)."""
    kind = "texts" if what is str else "numbers"
    wanted: Any = numbers.Real if what is float else numbers.Integral if what is int else what
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    good = listed and all(isinstance(each, wanted) and not isinstance(each, bool) for each in value)
    if not good or (count is not None and len(value) != count):
        raise ConfigError(f"{name}={value!r}; expected a list of {'' if count is None else f'{count} '}{kind}")
    return tuple(value)
