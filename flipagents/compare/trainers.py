"""Trainers for `flip train --method NAME`, by name: our pipeline, and the baselines that learn.

    @TRAINERS.register("mine")
    def train_mine(source, val, folder, device="cpu", progress=True, **options):
        ...  # write into folder, return the Path of the result

The method of the same name reads the result (see `flipagents.compare.methods`). Other packages provide trainers through
entry points of the group `flipagents.trainers`, without being imported first.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from flipagents.compare.baselines import TRAINED
from flipagents.learn.agents import AGENTS
from flipagents.learn.config import LearnerConfig
from flipagents.machine.devices import check_device
from flipagents.store.files import check_writable
from flipagents.store.run_folder import check, log, merged
from flipagents.train.agentless import DEFAULT_AGENT, check_unused
from flipagents.train.corrections import read_mended
from flipenv.config import EnvConfig
from flipenv.errors import ConfigError
from flipenv.options import known_fields
from flipenv.registry import LazyRegistry, unknown
from flipenv.sources import SourceLike, open_source

GROUP = "flipagents.trainers"  # entry points
PRESETS = ("small", "guided", "paper-small", "paper")  # of our pipeline, see `flipagents.train.presets`
PRESET = "small"  # its default


class Trainer(Protocol):
    """Trains on a source, optionally selecting on `val`; returns the folder written."""

    def __call__(
        self, source: SourceLike, val: SourceLike | None, folder: Path, device: str, progress: bool, **options: Any
    ) -> Path:
        """Train with the given options and defaults for the others."""


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
    """Train with the trainer of this name; return the folder that it wrote.

    Progress lines also go to `train.log` in the folder. Raises as `check_training`, and ConfigError for options that
    the trainer does not accept.
    """
    device = check_training(name, source, val, folder, device=device, options=options)
    train, given = TRAINERS[name], dict(options or {})
    try:
        inspect.signature(train).bind(source, val, Path(folder), device, progress, **given)
    except TypeError as error:
        raise ConfigError(f"trainer {name!r}: {error}; options given: {', '.join(given)}") from None
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
    """Check the arguments of a training up front, without torch; return the resolved device.

    Raises ConfigError for an unknown name, an unavailable device, unknown options of our pipeline, or mended masks that
    are to teach something else; CheckpointError if the folder holds another run; OutputError if it is not writable; for
    mended masks as `flipagents.train.corrections.read_mended`.
    """
    TRAINERS.check(name)
    device = check_device(device)
    given = dict(options or {})
    corrections = given.pop("corrections", None)
    if name == "flip":
        check_options(**given)
        mended = None if corrections is None else read_mended(corrections, open_source(source)).record()
        named = {"preset": given.pop("preset", PRESET), "agent": given.pop("agent", DEFAULT_AGENT)}
        flat = {key: value for part, own in given.items() for key, value in merged({"": own}, part).items()}
        check(Path(folder), **named, options=flat, data=source, val=val, corrections=mended)
    elif corrections is not None:
        raise ConfigError(
            f"corrections={str(corrections)!r}: mended masks teach method 'flip', not {name!r}; omit --corrections, or "
            "--method"
        )
    check_writable(Path(folder))
    return device


PARTS = ("env", "learner", "classifier", "student")  # of our pipeline, each with its own options
KNOWN = {"env": EnvConfig, "learner": LearnerConfig}  # parts that can be checked without torch


def check_options(*, preset: str = PRESET, agent: str = DEFAULT_AGENT, **parts: Any) -> None:
    """Raise ConfigError for unknown options of our pipeline, as far as they can be checked without torch.

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
    check_unused(preset, agent, parts)


def train_flip(
    source: SourceLike,
    val: SourceLike | None,
    folder: str | Path,
    device: str = "cpu",
    progress: bool = True,
    *,
    preset: str = PRESET,
    agent: str = DEFAULT_AGENT,
    corrections: str | Path | None = None,
    **parts: Any,
) -> Path:
    """Train our pipeline, see `flipagents.train.pipeline`; parts: mappings of options for each of PARTS."""
    from flipagents.train.pipeline import train_pipeline  # noqa: PLC0415 - torch is optional and slow to import

    chosen: dict[str, Any] = {f"{name}_options": parts.get(name, {}) for name in PARTS}
    if corrections is not None:
        chosen["corrections"] = corrections
    return train_pipeline(source, val, folder, preset=preset, agent=agent, device=device, progress=progress, **chosen)
