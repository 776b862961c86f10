"""The infos of all views: plain numbers, computed at every step.

case         index in the pool; `pool.source.ids[case // variants]` names it
score        nodule score of the canvas, NaN without a scorer
area         erased share of the area's pixels
superpixel   the agent's current superpixel
changed      whether the agent's last erase changed anything
csr, idr     the two parts of the last reward
action_mask  actions that differ from every smaller one, int8: erasing an erased superpixel equals passing
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flipenv.batch import Batch, to_numpy
from flipenv.spaces import action_mask
from flipenv.types import Transition

Arrays = dict[str, npt.NDArray[Any]]


def joint_infos(batch: Batch, transition: Transition | None) -> Arrays:
    """For views in which one learner controls all agents: arrays (B,), (B, A) and action_mask (B, 2^A)."""
    lanes, agents, may_erase = _numbers(batch, transition)
    return {**lanes, **agents, "action_mask": action_mask(may_erase)}


def apart_infos(batch: Batch, transition: Transition | None) -> Arrays:
    """For views in which each agent is a learner: arrays (B * A,), lane by lane, and action_mask (B * A, 2)."""
    lanes, agents, may_erase = _numbers(batch, transition)
    shared = {name: np.repeat(array, may_erase.shape[1]) for name, array in lanes.items()}
    own = {name: array.reshape(-1) for name, array in agents.items()}
    return {**shared, **own, "action_mask": action_mask(may_erase.reshape(-1, 1))}


def rows(arrays: Arrays) -> list[dict[str, Any]]:
    """One dict per row of the arrays; a row with one value becomes a plain number."""
    columns = [array.tolist() if array.ndim == 1 else array for array in arrays.values()]
    return [dict(zip(arrays, row, strict=True)) for row in zip(*columns, strict=True)]


def _numbers(batch: Batch, transition: Transition | None) -> tuple[Arrays, Arrays, npt.NDArray[np.bool_]]:
    """Values per lane (B,), values per agent (B, A), and whether erasing would change anything (B, A)."""
    state = batch.state
    assert state is not None
    assert batch.episodes is not None
    here = to_numpy(state.here)
    erased = to_numpy(state.erased)
    erased_pixels = to_numpy(state.histogram[:, -1])
    lanes = {
        "case": batch.drawn.copy(),
        "score": to_numpy(state.score),
        "area": erased_pixels / to_numpy(batch.episodes.pixels),
    }
    agents = {"superpixel": here}
    for name, kind in (("changed", np.bool_), ("csr", np.float32), ("idr", np.float32)):
        agents[name] = to_numpy(getattr(transition, name)) if transition else np.zeros(here.shape, kind)
    return lanes, agents, ~np.take_along_axis(erased, here.astype(np.int64), axis=1)
