"""Agents of Stable-Baselines3: they act, learn, resume and load like this package's own."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the agents need torch")
pytest.importorskip("stable_baselines3", reason="needs Stable-Baselines3: pip install flip-learning[sb3]")
import torch

import flipenv
from flipagents.learn.agents import make_agent
from flipagents.learn.config import LearnerConfig
from flipagents.learn.learner import Learner
from flipagents.segment.loading import load_agent
from flipagents.store.checkpoint import TENSORS, CheckpointError
from flipenv.batch import to_numpy
from flipenv.errors import ConfigError
from tests.learn.test_learner import LEARNING, TASK, TINY, dice_of, filled_box, phantoms, same

NAMES = ("sb3-dqn", "sb3-ppo")
SEES = [{}, {"observation": "egocentric"}, {"n_agents": 4}, {"n_agents": 1}]


def lanes(options: dict[str, Any], device: str | None, n: int = 5) -> flipenv.Batch:
    batch = flipenv.Batch(phantoms(5, 0, {**TINY, **options}), n, device=device, progress=False)
    batch.seed(0)
    batch.reset()
    return batch


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("options", SEES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_it_erases_what_it_weighs_above_nothing(name: str, options: dict[str, Any], device: str | None) -> None:
    """Weights against SB3's own values and probabilities, joint actions taken apart by plain loops."""
    batch = lanes(options, device)
    agent = make_agent(name, batch.config, LEARNING)
    weights, actions = agent.erase_preference(batch), agent.act(batch)
    assert isinstance(weights, np.ndarray if device is None else torch.Tensor)
    assert (str(actions.dtype).split(".")[-1], str(weights.dtype).split(".")[-1]) == ("int64", "float32")
    seen = torch.as_tensor(to_numpy(batch.observation()))
    expected = np.zeros((5, batch.config.n_agents))
    apart = batch.config.n_agents == 1 or batch.config.observation == "egocentric"
    with torch.no_grad():
        for lane, eraser in np.ndindex(expected.shape):
            picture = seen[lane, eraser][None]
            policy = agent.model.policy
            values = policy.q_net(picture) if name == "sb3-dqn" else policy.get_distribution(picture).distribution.probs
            split: dict[int, list[float]] = {0: [], 1: []}
            for joint, value in enumerate(values[0].tolist()):
                split[joint if apart else joint >> eraser & 1].append(value)
            merge = max if name == "sb3-dqn" else sum
            expected[lane, eraser] = merge(split[1]) - merge(split[0])
    np.testing.assert_allclose(to_numpy(weights), np.clip(expected, -1, 1), atol=1e-5)
    np.testing.assert_array_equal(to_numpy(weights) > 0, to_numpy(actions) == 1)
    assert {0, 1} == set(to_numpy(agent.act(batch, 1.0)).ravel()) or batch.config.n_agents == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("observation", ["joint", "egocentric"])
def test_it_learns_phantoms_it_has_not_seen(name: str, observation: str) -> None:
    """Dice seen over 5 seeds: see docs/learners.md; the filled box reaches 0.837, random actions 0.619."""
    env = {**TASK, "observation": observation}
    seen, unseen = phantoms(48, 100, env), phantoms(32, 0, env)
    options = {"warmup": 500, "updates_per_step": 0.1, "gamma": 0.5, "train_steps": 4000, "lanes": 8}
    learner = Learner(seen, LearnerConfig.small(**options), agent=name, progress=False)
    rows = list(learner.train())
    assert dice_of(learner.agent, unseen) > filled_box(unseen)
    assert rows[-1]["return"] > rows[0]["return"]
    assert {"loss", "length", "erased", "score"} <= set(rows[-1])
    assert rows[-1]["episodes"] == learner.episodes > 100


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{}, {"replay": 60}], ids=str)
def test_going_on_from_a_checkpoint_changes_nothing(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    def learner() -> Learner:
        return Learner(phantoms(5, 0, TINY), {**LEARNING, "train_steps": 400, **options}, agent=name, progress=False)

    whole = learner()
    list(whole.train())
    first = learner()
    list(itertools.islice(first.train(), 3))
    first.save(tmp_path)
    torch.rand(5), np.random.rand(5)
    second = learner()
    list(itertools.islice(second.train(), 2))  # somewhere else already
    second.fit(tmp_path, progress=False)
    assert same(second.snapshot().tensors, whole.snapshot().tensors)
    assert second.snapshot().about | {"seconds": 0} == whole.snapshot().about | {"seconds": 0}


@pytest.mark.parametrize("name", NAMES)
def test_weights_come_back(name: str, tmp_path: Path) -> None:
    learner = Learner(phantoms(5, 0, TINY), {**LEARNING, "train_steps": 200}, agent=name, progress=False)
    learner.fit(tmp_path, progress=False)
    batch = lanes({}, "cpu")
    loaded, fresh = load_agent(tmp_path / "agent"), make_agent(name, batch.config, {**LEARNING, "seed": 3})
    assert torch.equal(loaded.erase_preference(batch), learner.agent.erase_preference(batch))
    assert not torch.equal(fresh.erase_preference(batch), learner.agent.erase_preference(batch))
    assert sorted(path.name for path in (tmp_path / "agent").iterdir()) == ["about.json", TENSORS], "no pickle"
    with pytest.raises(CheckpointError, match="do not fit this network"):
        make_agent(name, {**TINY, "window": 32}, LEARNING).load(tmp_path / "agent")


def test_updates_and_targets_are_as_often_as_the_config_says() -> None:
    config = LearnerConfig.small(lanes=4, updates_per_step=0.125, target_every=6, warmup=0, train_steps=400)
    learner = Learner(phantoms(5, 0, TINY), config, agent="sb3-dqn", progress=False)
    list(learner.train())
    model = learner.agent.model
    assert model._n_updates == pytest.approx(learner.steps * config.updates_per_step, abs=2)
    steps_of_all_lanes = model.target_update_interval // model.n_envs
    assert steps_of_all_lanes * config.lanes * config.updates_per_step == config.target_every
    assert model.exploration_rate == pytest.approx(config.epsilon(learner.agent._progress))


@pytest.mark.parametrize(
    ("name", "options"),
    [("sb3-dqn", {"duelling": True}), ("sb3-dqn", {"prioritised": True}), ("sb3-ppo", {"n_step": 3})],
)
def test_what_sb3_has_not_is_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        make_agent(name, TINY, {**LEARNING, **options})
