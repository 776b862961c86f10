"""What `flip train --method NAME` trains, chosen by name: our pipeline, and the baselines that learn.

    @TRAINERS.register("mine")
    def train_mine(source, val, folder, device="cpu", progress=True, **options):
        ...  # write into folder, return the Path of what was written

The method of the same name reads what its trainer wrote (see `flipagents.compare.methods`). A package offers trainers
without being imported first through entry points of the group `flipagents.trainers`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from flipagents.compare.baselines import TRAINED
from flipagents.learn.agents import AGENTS
from flipagents.learn.config import PRESETS, LearnerConfig
from flipagents.machine.devices import check_device
from flipagents.store.files import check_writable
from flipagents.store.run_folder import check, log, merged
from flipenv.config import EnvConfig
from flipenv.errors import ConfigError
from flipenv.options import known_fields
from flipenv.registry import LazyRegistry, unknown
from flipenv.sources import SourceLike

GROUP = "flipagents.trainers"  # entry points
PRESET, AGENT = "small", "ddqn"  # of our pipeline, unless told otherwise


class Trainer(Protocol):
    """Trains on a source, chooses on `val` where it does; returns the folder that was written."""

    def __call__(
        self, source: SourceLike, val: SourceLike | None, folder: Path, device: str, progress: bool, **options: Any
    ) -> Path:
        """Train with the options that are given and its own defaults for others."""


OURS = {"flip": "flipagents.compare.trainers:train_flip"}
TRAINERS: LazyRegistry[Trainer] = LazyRegistry("trainer", GROUP, {**TRAINED, **OURS}, extra="agents")


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

    Lines of progress are also written into `train.log` in the folder. Raises as `check_training`, and ConfigError for
    options that the trainer does not take.
    """
    device = check_training(name, source, val, folder, device=device, options=options)
    train, given = TRAINERS[name], dict(options or {})
    try:
        inspect.signature(train).bind(source, val, Path(folder), device, progress, **given)
    except TypeError as error:
        raise ConfigError(f"trainer {name!r}: {error}; given were options {', '.join(given)}") from None
    Path(folder).mkdir(parents=True, exist_ok=True)
    with log(Path(folder)):
        return train(source, val, Path(folder), device, progress, **given)


def check_training(
    name: str,
    source: SourceLike,
    val: SourceLike | None,
    folder: str | Path,
    *,
    device: str = "cpu",
    options: Mapping[str, Any] | None = None,
) -> str:
    """Say at once, without torch, what is wrong with a training that is asked for; return its device by name.

    Raises ConfigError for a name that nobody registered, for a device that is not here, and for options of our pipeline
    that do not exist; CheckpointError where the folder holds another run; OutputError where it cannot be written into.
    """
    TRAINERS.check(name)
    device = check_device(device)
    if name == "flip":
        given = dict(options or {})
        check_options(**given)
        named = {"preset": given.pop("preset", PRESET), "agent": given.pop("agent", AGENT)}
        flat = {key: value for part, own in given.items() for key, value in merged({"": own}, part).items()}
        check(Path(folder), **named, options=flat, data=source, val=val)
    check_writable(Path(folder))
    return device


PARTS = ("env", "learner", "classifier", "student")  # of our pipeline, each with options of its own
KNOWN = {"env": EnvConfig, "learner": LearnerConfig}  # those that are known without torch


def check_options(*, preset: str = PRESET, agent: str = AGENT, **parts: Any) -> None:
    """Raise ConfigError for names of our pipeline's options that do not exist, as far as is known without torch.

    parts: mappings of options for each of PARTS.
    """
    if preset not in PRESETS:
        raise ConfigError(unknown("preset", preset, PRESETS))
    AGENTS.check(agent)
    for name, options in parts.items():
        if not isinstance(options, Mapping):
            raise ConfigError(f"{name}={options!r}: expected part.field=value, for example learner.epochs=5")
        if name not in PARTS:
            raise ConfigError(unknown("part", name, PARTS))
        if name in KNOWN:
            known_fields(KNOWN[name], options)


def train_flip(
    source: SourceLike,
    val: SourceLike | None,
    folder: str | Path,
    device: str = "cpu",
    progress: bool = True,
    *,
    preset: str = PRESET,
    agent: str = AGENT,
    **parts: Any,
) -> Path:
    """Train our pipeline, see `flipagents.train.pipeline`; parts: mappings of options for each of PARTS."""
    from flipagents.train.pipeline import train_pipeline  # noqa: PLC0415 - torch is optional and slow to import

    chosen = {f"{name}_options": parts.get(name, {}) for name in PARTS}
    return train_pipeline(source, val, folder, preset=preset, agent=agent, device=device, progress=progress, **chosen)
