"""What `flip train --method NAME` trains, chosen by name: our pipeline, and the baselines that learn.

    @TRAINERS.register("mine")
    def train_mine(source, val, folder, device="cpu", progress=True, **options):
        ...  # write into folder, return the Path of what was written

The method of the same name reads what its trainer wrote (see `flipagents.methods`). A package offers trainers without
being imported first through entry points of the group `flipagents.trainers`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

from flipagents.baselines import TRAINED
from flipenv.errors import ConfigError
from flipenv.registry import Registry, unknown
from flipenv.sources import SourceLike

GROUP = "flipagents.trainers"  # entry points


class Trainer(Protocol):
    """Trains on a source, chooses on `val` where it does; returns the folder that was written."""

    def __call__(
        self, source: SourceLike, val: SourceLike | None, folder: Path, device: str, progress: bool, **options: Any
    ) -> Path:
        """Train with the options that are given and its own defaults for others."""


TRAINERS: Registry[Trainer] = Registry("trainer")


def trainer_names() -> list[str]:
    """All trainers: registered here, of this project, or offered by installed packages."""
    return sorted({*TRAINERS, *TRAINED, *entry_points(group=GROUP).names})


def train_method(
    name: str,
    source: SourceLike,
    val: SourceLike | None,
    folder: str | Path,
    *,
    device: str = "cpu",
    progress: bool = True,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Let the trainer of this name train; return the folder that it wrote.

    Raises ConfigError for a name that nobody registered and for options that it does not take.
    """
    if name not in TRAINERS and name in TRAINED:
        TRAINERS.register(name)(resolve_name(TRAINED[name]))
    for entry in () if name in TRAINERS else entry_points(group=GROUP, name=name):
        TRAINERS.register(name)(entry.load())
    if name not in TRAINERS:
        raise ConfigError(unknown(TRAINERS.kind, name, trainer_names()))
    train, given = TRAINERS[name], dict(options or {})
    try:
        inspect.signature(train).bind(source, val, Path(folder), device, progress, **given)
    except TypeError as error:
        raise ConfigError(f"trainer {name!r}: {error}; given were options {', '.join(given)}") from None
    return train(source, val, Path(folder), device, progress, **given)


PARTS = ("env", "learner", "classifier", "student")  # of our pipeline, each with options of its own


@TRAINERS.register("flip")
def _flip(
    source: SourceLike,
    val: SourceLike | None,
    folder: str | Path,
    device: str = "cpu",
    progress: bool = True,
    *,
    preset: str = "small",
    **parts: Any,
) -> Path:
    """Train our pipeline, see `flipagents.pipeline`; parts: mappings of options for each of PARTS."""
    from flipagents.pipeline import train_pipeline  # noqa: PLC0415 - torch is optional and slow to import

    for name, options in parts.items():
        if not isinstance(options, Mapping):
            raise ConfigError(f"{name}={options!r}: expected part.field=value, for example learner.epochs=5")
        if name not in PARTS:
            raise ConfigError(unknown("part", name, PARTS))
    chosen = {f"{name}_options": parts.get(name, {}) for name in PARTS}
    return train_pipeline(source, val, folder, preset=preset, device=device, progress=progress, **chosen)
