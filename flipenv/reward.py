"""Rewards: classification score reward, intensity distribution reward, and their sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from array_api_compat import array_namespace

from flipenv.arrays import pick
from flipenv.config import EnvConfig
from flipenv.distance import wasserstein
from flipenv.registry import Registry
from flipenv.types import Array, Episodes, State

SCORE_MARGIN = 1e-6  # scores are clipped this far from 0 and 1 before taking the logarithm


@dataclass(frozen=True, eq=False)
class Outcome:
    """Inputs of a reward after one joint step."""

    episodes: Episodes
    before: State
    after: State
    here: Array  # (B, A) int16, superpixel on which each agent acted
    changed: Array  # (B, A) bool, whether its erase changed anything
    score_before: Array  # (B, A) float32, the score against which an agent's part is measured (see `credit`)
    score_after: Array  # (B, A) float32
    csr: Array  # (B, A) float32
    idr: Array  # (B, A) float32


Reward: TypeAlias = Callable[[Outcome, EnvConfig], Array]  # -> (B, A) float32
REWARDS: Registry[Reward] = Registry("reward")


@REWARDS.register("sum")
def weighted_sum(outcome: Outcome, config: EnvConfig) -> Array:
    """Weighted sum of classification score, intensity distribution and prior reward, (B, A) float32.

    With the default weights this is Eq. 2.
    """
    reward = config.csr_weight * outcome.csr + config.idr_weight * outcome.idr
    if config.prior_weight == 0:
        return reward
    return reward + config.prior_weight * prior(outcome)


def prior(outcome: Outcome) -> Array:
    """Prior reward (B, A) float32: 2p - 1 for an erasure that changed something, p the superpixel's mean prior.

    Positive where the case's prior marks more than half of the superpixel as nodule; 0 if the case has none.
    """
    xp = array_namespace(outcome.csr)
    value = 2 * pick(outcome.episodes.prior, outcome.here) - 1
    return xp.where(outcome.changed, value, xp.zeros_like(value))


def csr(before: Array, after: Array, config: EnvConfig) -> Array:
    """Classification score reward for scores before and after (...) float32: positive where the score dropped.

    `sign`: -1, 0 or 1 (Eq. 2); `difference`: the drop itself; `logit`: the drop of the log-odds, whose sum over an
    episode depends on its two ends only (Ng et al. 1999). Drops within the dead zone and NaN scores count as 0.
    """
    xp = array_namespace(before, after)
    fall = before - after
    known = xp.abs(fall) > config.dead_zone  # false for NaN
    if config.csr == "sign":
        value = xp.sign(fall)
    elif config.csr == "difference":
        value = fall
    else:
        value = _log_odds(before) - _log_odds(after)
    return xp.where(known, value, xp.zeros_like(fall))


def idr(erased: Array, new: Array, gain: Array, changed: Array, config: EnvConfig) -> Array:
    """Intensity distribution reward (B, A) float32: -1 where an erased superpixel differs from those erased before.

    erased (B, K) is the cumulative histogram of everything erased before this step, new (B, A, K) that of each
    agent's superpixel, gain (B,) a factor on their distance. `superpixel` compares the two; `cumulative` compares the
    erased histogram before and after adding the superpixel. The first erasure has nothing to compare with: its
    distance is 0.
    """
    xp = array_namespace(erased)
    if config.idr == "none":
        return xp.zeros_like(changed, dtype=xp.float32)
    before = erased[:, None, :]
    distance = wasserstein(before, new if config.idr == "superpixel" else before + new)
    unlike = distance * gain[:, None] > config.theta
    return 0.0 - xp.astype(changed & unlike, xp.float32)


def _log_odds(score: Array) -> Array:
    xp = array_namespace(score)
    score = xp.clip(score, SCORE_MARGIN, 1 - SCORE_MARGIN)
    return xp.log(score) - xp.log1p(-score)
