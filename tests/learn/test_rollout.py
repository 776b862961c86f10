"""Every episode once: refilled lanes give the masks that single lanes give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="the agents need torch")
from flipagents.learn.agent import Agent  # noqa: E402 - needs torch
from flipagents.learn.agents import make_agent  # noqa: E402 - needs torch
from flipagents.learn.config import LearnerConfig  # noqa: E402
from flipagents.learn.rollout import maps_of, masks_of, weights_of  # noqa: E402
from flipenv.batch import Batch  # noqa: E402
from flipenv.config import EnvConfig  # noqa: E402
from flipenv.errors import ConfigError  # noqa: E402
from flipenv.pool import EpisodePool  # noqa: E402
from flipenv.types import Array, Case  # noqa: E402

ENV = EnvConfig.of(
    {"canvas": {"kind": "roi", "height": 40, "width": 48}, "cell_area": 40.0, "window": 16, "frames": 2}, beta=None
)


class Counter(Agent):
    """Erases everything and counts how often lanes that still run were asked."""

    def __init__(self, env: EnvConfig) -> None:
        super().__init__(env, LearnerConfig())
        self.calls, self.live = 0, 0

    def act(self, batch: Batch, epsilon: float = 0.0) -> Array:
        assert batch.state is not None
        self.calls += 1
        self.live += int((~(batch.state.terminated | batch.state.truncated)).sum())
        return np.ones((batch.n_lanes, self.env.n_agents), np.int64)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_lanes_change_no_mask(phantoms: list[Case], device: str | None) -> None:
    agent = make_agent("ddqn", ENV, {"trunk": "small", "seed": 3})
    pool = EpisodePool(phantoms, ENV, cache=False)
    batch = Batch(pool, 1, scorer=None, progress=False)
    expected = []
    for index in range(len(pool)):
        batch.reset(cases=[index])
        assert batch.state is not None
        while not (batch.state.terminated | batch.state.truncated)[0]:
            batch.step(agent.act(batch))
        expected.append(batch.mask())
    assert len({mask.tobytes() for mask in expected}) == len(expected)
    for lanes in (1, 2, 4, 6, 64):
        masks = masks_of(agent, pool, lanes=lanes, device=device, workers=1)
        assert len(masks) == len(expected)
        for mask, truth in zip(masks, expected, strict=True):
            np.testing.assert_array_equal(mask, truth)


class Doubter(Agent):
    """Weighs each visit of a superpixel by a number of its own: what was told and when shows in the result."""

    def __init__(self, env: EnvConfig, weight: Callable[[NDArray[Any], NDArray[Any]], Any]) -> None:
        super().__init__(env, LearnerConfig())
        self.weight = weight

    def erase_preference(self, batch: Batch) -> Array:
        assert batch.state is not None
        return self.weight(batch.state.here.astype(np.float32), batch.state.step[:, None]).astype(np.float32)


@pytest.mark.parametrize("lanes", [1, 2, 64])
def test_the_last_word_before_the_erasure_counts(phantoms: list[Case], lanes: int) -> None:
    """Two traversals: even superpixels are erased in the first, odd ones never; what is said of erased ones is void."""

    def weight(here: NDArray[Any], step: NDArray[Any]) -> NDArray[Any]:
        even = here % 2 == 0
        return np.where(step < count, np.where(even, 0.25, -0.5), np.where(even, -0.75, -0.125))

    for case in phantoms[:3]:
        pool = EpisodePool([case], ENV.replace(order="radial", n_agents=1), cache=False)
        count = pool.episode(0).n_superpixels  # one agent, so a traversal has as many steps
        (told,) = weights_of(Doubter(pool.config, weight), pool, lanes=lanes)
        np.testing.assert_array_equal(told, np.where(np.arange(len(told)) % 2 == 0, 0.25, -0.125).astype(np.float32))


@pytest.mark.parametrize("lanes", [1, 2, 4, 64])
def test_maps_hold_the_weights(phantoms: list[Case], lanes: int) -> None:
    env = ENV.replace(traversals=1)
    agent = Doubter(env, lambda here, step: np.sin(here))
    pool = EpisodePool(phantoms, env, cache=False)
    told = weights_of(agent, pool, lanes=lanes)
    for index, own in enumerate(told):
        expected = np.sin(np.arange(pool.episode(index).n_superpixels, dtype=np.float32))
        np.testing.assert_array_equal(own, expected)
    for index, (values, mask) in enumerate(zip(maps_of(agent, pool), masks_of(agent, pool), strict=True)):
        box = pool.case(index).box
        assert values.dtype == np.float32
        assert values.shape == mask.shape
        assert values[box.rows, box.columns].std() > 0.3
        assert (values[: box.top] == -1).all()
        assert ((values > 0) == mask).mean() > 0.95


def test_where_nobody_stood_nothing_is_erased(phantoms: list[Case]) -> None:
    pool = EpisodePool(phantoms[:1], ENV.replace(max_cycles=3), cache=False)
    (told,) = weights_of(Counter(pool.config), pool)
    assert sorted(set(told.tolist())) == [-1, 1]
    assert (told == 1).sum() == len(set(pool.episode(0).order[:, :3].ravel().tolist()))


def test_variants_and_jitter_are_episodes_of_their_own(phantoms: list[Case]) -> None:
    pool = EpisodePool(phantoms[:2], ENV.replace(variants=2, jitter=(6.0, 9.0), traversals=1), cache=False)
    masks = masks_of(Counter(pool.config), pool, lanes=3, workers=1)
    for index, mask in enumerate(masks):
        box = pool.case(index).box
        assert mask[box.rows, box.columns].mean() > 0.97
        assert mask.sum() == mask[box.rows, box.columns].sum()


def test_the_batch_stays_full(phantoms: list[Case]) -> None:
    agent = Counter(ENV)
    pool = EpisodePool(phantoms, ENV, cache=False)
    masks_of(agent, pool, lanes=2, workers=1)
    lengths = [pool.episode(index).order.shape[1] * ENV.traversals for index in range(len(pool))]
    assert agent.live == sum(lengths)
    assert agent.calls - agent.live / 2 <= max(lengths) / 2


def test_a_flipping_tag_needs_a_scorer(phantoms: list[Case]) -> None:
    pool = EpisodePool(phantoms[:1], ENV.replace(beta=0.5), cache=False)
    with pytest.raises(ConfigError, match="set beta=None"):
        masks_of(Counter(pool.config), pool)
    assert len(masks_of(Counter(pool.config), pool, scorer="contrast")) == 1
