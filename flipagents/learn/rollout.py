"""Inference: play every episode of a pool once and return the agent's masks or preference maps."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from flipagents.learn.agent import Agent
from flipenv.batch import Batch, to_numpy
from flipenv.episode import map_on_image, mask_on_image
from flipenv.pool import EpisodePool
from flipenv.scorer import Scorer
from flipenv.types import State

Masks = list[NDArray[np.bool_]]
Floats = list[NDArray[np.float32]]


def masks_of(agent: Agent, pool: EpisodePool, **options: Any) -> Masks:
    """Erased pixels as masks (height, width) bool in the pool's order; options as for `weights_of`."""
    found = zip(map(pool.episode, range(len(pool))), weights_of(agent, pool, **options), strict=True)
    return [
        mask_on_image((episode.labels >= 0) & (own > 0)[episode.labels], episode.geometry) for episode, own in found
    ]


def maps_of(agent: Agent, pool: EpisodePool, **options: Any) -> Floats:
    """Preference for erasing as maps (height, width) float32 in [-1, 1] in the pool's order.

    -1 outside the area; options as for `weights_of`.
    """
    return [
        map_on_image(np.where(episode.labels >= 0, own[episode.labels], np.float32(-1)), episode.geometry)
        for own, episode in zip(weights_of(agent, pool, **options), map(pool.episode, range(len(pool))), strict=True)
    ]


def weights_of(
    agent: Agent,
    pool: EpisodePool,
    *,
    scorer: Scorer | str | None = None,
    lanes: int = 64,
    device: str | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Floats:
    """Let an agent act greedily in each episode; return its preference per superpixel, (S,) each, in the pool's order.

    See `Agent.erase_preference`: positive where it erased, -1 where it never was; the last value while it could still
    erase. A lane whose episode ended is refilled at once, so the batch stays full until the last cases. Without a
    scorer the pool's config must have beta=None. The result does not depend on `lanes`.
    """
    batch = Batch(pool, min(lanes, len(pool)), scorer=scorer, device=device, workers=workers, progress=progress)
    waiting = iter(range(len(pool)))
    batch.reset(cases=list(islice(waiting, batch.n_lanes)))
    weights: dict[int, NDArray[np.float32]] = {}
    running = np.ones(batch.n_lanes, np.bool_)
    collected = _nothing(batch)
    while running.any():
        before, preference = batch.state, agent.erase_preference(batch)
        assert before is not None
        xp = array_namespace(preference)
        state = batch.advance(xp.astype(preference > 0, xp.int64))
        _note(collected, before, to_numpy(preference))
        ended = np.flatnonzero(to_numpy(state.terminated | state.truncated) & running).tolist()
        for lane in ended:
            index = int(batch.drawn[lane])
            weights[index] = collected[lane, : pool.episode(index).n_superpixels].copy()
        following = list(islice(waiting, len(ended)))
        if following:
            again = ended[: len(following)]
            batch.reset(again, following)
            if batch.n_lanes == 1:  # S is not padded to that of other episodes
                collected = _nothing(batch)
            collected[again] = -1
        running[ended[len(following) :]] = False
    return [weights[index] for index in range(len(pool))]


def _nothing(batch: Batch) -> NDArray[np.float32]:
    assert batch.state is not None
    return np.full(tuple(batch.state.erased.shape), -1, np.float32)


def _note(collected: NDArray[np.float32], before: State, preference: NDArray[Any]) -> None:
    """Write preferences (B, A) into (B, S) at the agents' superpixels before a step; for two on one, the larger."""
    here = to_numpy(before.here).astype(np.int64)
    live = ~to_numpy(before.terminated | before.truncated)
    lanes, agents = np.nonzero(live[:, None] & ~np.take_along_axis(to_numpy(before.erased), here, axis=1))
    place = lanes, here[lanes, agents]
    collected[place] = -1
    np.maximum.at(collected, place, preference[lanes, agents])
