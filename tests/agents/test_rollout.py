"""Every episode once: refilled lanes give the masks that single lanes give."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the agents need torch")
from flipagents.agents import Agent, make_agent  # noqa: E402 - needs torch
from flipagents.config import LearnerConfig  # noqa: E402
from flipagents.rollout import masks_of  # noqa: E402
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
