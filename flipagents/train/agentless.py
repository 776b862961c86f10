"""Presets whose pipelines have no agents, and the options that have no effect there. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flipenv.errors import ConfigError

AGENTLESS = ("guided",)  # of `flipagents.train.presets`
DEFAULT_AGENT = "ddqn"  # of the others, if none is named
PARTS = ("env", "learner", "classifier")  # whose options are for agents


def check_unused(preset: str, agent: str, parts: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Raise ConfigError for an agent, or options of PARTS by name, that a preset without agents would ignore."""
    if preset not in AGENTLESS:
        return
    given = [f"agent {agent!r}"] if agent != DEFAULT_AGENT else []
    given += [f"{name}.{next(iter(parts[name] or {}))}" for name in PARTS if parts.get(name)]
    if given:
        raise ConfigError(f"preset {preset!r} has no agents, so {given[0]} has no effect: omit it")
