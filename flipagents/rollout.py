"""Play every episode of a pool once: what an agent's erasing gives as masks."""

from __future__ import annotations

from itertools import islice

import numpy as np
from numpy.typing import NDArray

from flipagents.agents import Agent
from flipenv.batch import Batch, to_numpy
from flipenv.pool import EpisodePool
from flipenv.scorer import Scorer

Masks = list[NDArray[np.bool_]]


def masks_of(
    agent: Agent,
    pool: EpisodePool,
    *,
    scorer: Scorer | str | None = None,
    lanes: int = 64,
    device: str | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Masks:
    """Let an agent act greedily in each episode; return its masks (height, width) bool in the pool's order.

    A lane whose episode ended is refilled at once, so the batch stays full until the last cases. Without a scorer the
    pool's config must have beta=None. The result does not depend on `lanes`.
    """
    batch = Batch(pool, min(lanes, len(pool)), scorer=scorer, device=device, workers=workers, progress=progress)
    waiting = iter(range(len(pool)))
    batch.reset(cases=list(islice(waiting, batch.n_lanes)))
    masks: dict[int, NDArray[np.bool_]] = {}
    running = np.ones(batch.n_lanes, np.bool_)
    while running.any():
        state = batch.step(agent.act(batch)).state
        ended = np.flatnonzero(to_numpy(state.terminated | state.truncated) & running).tolist()
        for lane in ended:
            masks[int(batch.drawn[lane])] = batch.mask(lane)
        following = list(islice(waiting, len(ended)))
        if following:
            batch.reset(ended[: len(following)], following)
        running[ended[len(following) :]] = False
    return [masks[index] for index in range(len(pool))]
