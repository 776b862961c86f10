"""When an episode ends: the tag flipped (terminated), or all traversals are used up (truncated)."""

from __future__ import annotations

from array_api_compat import array_namespace

from flipenv.config import EnvConfig
from flipenv.types import Array, Episodes


def terminated(score: Array, config: EnvConfig) -> Array:
    """Whether the nodule score (B,) is below beta: (B,) bool; never with beta None or a NaN score."""
    xp = array_namespace(score)
    if config.beta is None:
        return xp.zeros_like(score, dtype=xp.bool)
    return score < config.beta


def truncated(step: Array, episodes: Episodes, config: EnvConfig) -> Array:
    """Whether `step` joint steps (B,) use up all traversals, or max_cycles: (B,) bool."""
    spent = step >= config.traversals * episodes.steps
    return spent if config.max_cycles is None else spent | (step >= config.max_cycles)
