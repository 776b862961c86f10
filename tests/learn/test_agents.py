"""Every agent by its name: shapes, round trips, refusals, and what each is told to maximise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the agents need torch")
import flipenv  # noqa: E402
from flipagents.learn.agent import Agent  # noqa: E402
from flipagents.learn.agents import AGENTS, GROUP, make_agent  # noqa: E402
from flipagents.learn.learner import Learner  # noqa: E402
from flipagents.segment.loading import load_agent  # noqa: E402
from flipagents.store.checkpoint import CheckpointError  # noqa: E402
from flipenv import core  # noqa: E402
from flipenv.batch import to_numpy  # noqa: E402
from flipenv.episode import mask_on_canvas  # noqa: E402
from flipenv.errors import ConfigError, MaskError  # noqa: E402

ENV = {"canvas": {"kind": "roi", "height": 40, "width": 48}, "cell_area": 40.0, "window": 16, "frames": 2}
LEARNING = {"trunk": "small", "lanes": 4, "warmup": 8, "batch_size": 8, "target_every": 3, "epochs": 1000}
LEARNERS = ("ddqn", "independent", "vdn")


def pool(**options: Any) -> flipenv.EpisodePool:
    return flipenv.EpisodePool("phantom:5?height=80&width=112", flipenv.EnvConfig.of(ENV, **options), cache=False)


def lanes(episodes: flipenv.EpisodePool, n: int = 4, device: str | None = "cpu") -> flipenv.Batch:
    batch = flipenv.Batch(episodes, n, device=device, progress=False)
    batch.seed(0)
    batch.reset()
    return batch


def masks(episodes: flipenv.EpisodePool) -> dict[str, Any]:
    return {case.id: case.mask for case in map(episodes.case, range(len(episodes)))}


def oracle(episodes: flipenv.EpisodePool) -> Agent:
    return make_agent("oracle", episodes.config, evaluation=True, masks=masks(episodes))


@pytest.mark.parametrize("options", [{}, {"observation": "egocentric", "n_agents": 4, "channels": ("erased", "box")}])
@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("name", [*LEARNERS, "random", "greedy", "oracle"])
def test_actions_of_every_agent(name: str, device: str | None, options: dict[str, Any]) -> None:
    episodes = pool(**options)
    agent = oracle(episodes) if name == "oracle" else make_agent(name, episodes.config, LEARNING)
    for n in (1, 4):
        batch = lanes(episodes, n, device)
        for epsilon in (0.0, 0.5):
            actions = agent.act(batch, epsilon)
            assert isinstance(actions, np.ndarray if device is None else torch.Tensor)
            assert actions.shape == (n, episodes.config.n_agents)
            assert str(actions.dtype).endswith("int64")
            agent.observe(actions, batch.step(actions))
            agent.update()


@pytest.mark.parametrize("options", [{}, {"observation": "egocentric", "n_agents": 4}])
@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("name", [*LEARNERS, "greedy", "oracle"])
def test_agents_erase_where_they_prefer_to(name: str, device: str | None, options: dict[str, Any]) -> None:
    episodes = pool(**options)
    agent = oracle(episodes) if name == "oracle" else make_agent(name, episodes.config, LEARNING)
    batch = lanes(episodes, 4, device)
    for _ in range(6):
        weights, actions = agent.erase_preference(batch), agent.act(batch)
        assert isinstance(weights, np.ndarray if device is None else torch.Tensor)
        assert str(weights.dtype).endswith("float32")
        weights = to_numpy(weights)
        assert np.abs(weights).max() <= 1
        np.testing.assert_array_equal(weights > 0, to_numpy(actions) == 1)
        if name in LEARNERS:
            values = agent.values(agent._observation(batch)).numpy()
            np.testing.assert_array_equal(weights, np.clip(values[..., 1] - values[..., 0], -1, 1))
        else:
            assert set(np.unique(weights)) <= {-1, 1}
        batch.step(actions)


def test_the_old_name_of_a_preference_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Mine.weigh: rename it to erase_preference"):
        type("Mine", (Agent,), {"weigh": lambda self, batch: None})


def test_epsilon_is_the_share_of_random_actions() -> None:
    batch = lanes(pool(), 64)
    agent = make_agent("ddqn", batch.config, LEARNING)
    best = agent.act(batch)
    assert torch.equal(agent.act(batch), best)
    differ = torch.stack([agent.act(batch, 0.6) != best for _ in range(50)]).float().mean().item()
    assert differ == pytest.approx(0.3, abs=0.02)  # a random action is the best one half of the time


@pytest.mark.parametrize("name", LEARNERS)
def test_weights_come_back(name: str, tmp_path: Path) -> None:
    learner = Learner(pool(), {**LEARNING, "train_steps": 200}, agent=name, progress=False)
    learner.fit(tmp_path, progress=False)
    batch = lanes(learner.batch.pool, 16)
    loaded = load_agent(tmp_path / "agent")
    assert (loaded.name, loaded.env, loaded.config) == (name, learner.agent.env, learner.config)
    fresh = make_agent(name, learner.agent.env, {**LEARNING, "seed": 9})
    seen = batch.observation()[:, 0]
    assert torch.equal(loaded.values(seen), learner.agent.values(seen))
    assert not torch.equal(fresh.values(seen), learner.agent.values(seen))
    fresh.load(tmp_path / "agent")
    assert torch.equal(fresh.values(seen), learner.agent.values(seen))


def test_weights_of_another_agent_are_refused(tmp_path: Path) -> None:
    make_agent("ddqn", ENV, LEARNING).save(tmp_path / "agent")
    with pytest.raises(CheckpointError, match="the checkpoint is of agent 'ddqn', this is 'vdn'"):
        make_agent("vdn", ENV, LEARNING).load(tmp_path / "agent")
    with pytest.raises(CheckpointError, match="do not fit this network"):
        make_agent("ddqn", {**ENV, "window": 32}, LEARNING).load(tmp_path / "agent")


def test_the_target_network_is_copied_when_due() -> None:
    learner = Learner(pool(), {**LEARNING, "learning_rate": 1e-2, "updates_per_step": 0.25}, progress=False)
    agent, rows = learner.agent, learner.train()
    learner.config = agent.config = learner.config.replace(log_every=1)

    def equal() -> bool:
        pairs = zip(agent.online.state_dict().values(), agent.target.state_dict().values(), strict=True)
        return all(torch.equal(online, target) for online, target in pairs)

    seen = {}
    while agent.updates < 9:
        next(rows)
        seen[agent.updates] = equal()
    assert seen == {count: count % 3 == 0 for count in range(10)}


@pytest.mark.parametrize("summed", [False, True])
def test_an_update_fits_what_was_drawn(summed: bool) -> None:
    """The loss that `update` reports, worked out again with plain loops."""
    learner = Learner(pool(), {**LEARNING, "updates_per_step": 0.0}, agent="vdn" if summed else "ddqn", progress=False)
    learner.config = learner.config.replace(log_every=40)
    next(learner.train())
    agent = learner.agent
    state = agent.generator.get_state()
    sample = agent.replay.sample(8, agent.generator)
    agent.generator.set_state(state)
    with torch.no_grad():
        agent.target.heads[0].bias += 0.3
        now, later, judged = (
            agent.online(sample.observation),
            agent.online(sample.next_observation),
            agent.target(sample.next_observation),
        )
    losses = []
    for row in range(8):
        errors = []
        for who in range(2):
            best = int(later[row, who, 1] > later[row, who, 0])
            target = sample.reward[row, who] + sample.factor[row] * judged[row, who, best]
            errors.append(float(target - now[row, who, sample.actions[row, who]]))
        losses += [sum(errors) ** 2] if summed else [error**2 for error in errors]
    assert agent.update()["loss"].item() == pytest.approx(np.mean(losses), rel=1e-4)


@pytest.mark.parametrize("credit", ["joint", "sequential", "counterfactual"])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_greedy_takes_what_pays_more(credit: str, device: str | None) -> None:
    batch = lanes(pool(csr="logit", credit=credit, beta=None), 5, device)
    agent = make_agent("greedy", batch.config)
    for _ in range(12):
        before = {name: to_numpy(array) for name, array in vars(batch.state).items()}
        actions = to_numpy(agent.act(batch))
        for name, array in vars(batch.state).items():
            assert np.array_equal(to_numpy(array), before[name], equal_nan=True), f"{name} was touched"
        for who in range(2):
            alone = np.zeros_like(actions)
            alone[:, who] = 1
            given = torch.as_tensor(alone) if device else alone
            paid = core.step(batch.episodes, batch.state, given, batch.scorer, batch.config).reward[:, who]
            assert np.array_equal(actions[:, who] == 1, to_numpy(paid) > 0)
        batch.step(torch.as_tensor(actions) if device else actions)


def test_oracle_erases_what_is_more_than_half_nodule() -> None:
    episodes = pool(beta=None)
    batch, agent = lanes(episodes, 5), oracle(episodes)
    batch.reset(cases=list(range(5)))
    while not bool((batch.state.terminated | batch.state.truncated).all()):
        batch.step(agent.act(batch))
    for lane in range(5):
        episode, nodule = episodes.episode(lane), episodes.case(lane).mask
        nodule = mask_on_canvas(nodule, episode.geometry, episodes.config.canvas)
        for label in range(episode.n_superpixels):
            assert bool(batch.state.erased[lane, label]) == (nodule[episode.labels == label].mean() > 0.5)


def test_oracle_is_refused_outside_evaluation() -> None:
    episodes = pool()
    for options in ({}, {"masks": masks(episodes)}, {"evaluation": True}):
        with pytest.raises(ConfigError, match="upper bound for evaluation, not a learner"):
            make_agent("oracle", episodes.config, **options)
    with pytest.raises(ConfigError, match="not a learner"):
        Learner(episodes, LEARNING, agent="oracle", progress=False)
    with pytest.raises(MaskError, match="no mask of case 'phantom-"):
        make_agent("oracle", episodes.config, evaluation=True, masks={}).act(lanes(episodes))


def test_a_users_agent_works_by_its_name(tmp_path: Path) -> None:
    class EveryOther(Agent):
        def act(self, batch: flipenv.Batch, epsilon: float = 0.0) -> Any:
            return (batch.state.here % 2).long()

    with AGENTS.temporarily():
        AGENTS.register("every other")(EveryOther)
        assert "every other" in AGENTS.names()
        learner = Learner(
            pool(), {**LEARNING, "train_steps": 100, "log_every": 50}, agent="every other", progress=False
        )
        row = learner.fit(tmp_path, progress=False)
        assert 0.2 < row["erased"] < 0.8
        assert isinstance(load_agent(tmp_path / "agent"), EveryOther)


class Offered(Agent):
    """Stands in for an agent of another package."""


def test_an_agent_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint, EntryPoints

    offered = EntryPoints([EntryPoint("offered", f"{__name__}:Offered", GROUP)])
    monkeypatch.setattr("flipenv.registry.entry_points", offered.select)
    with AGENTS.temporarily():
        assert "offered" in AGENTS.names()
        assert type(make_agent("offered")).__name__ == "Offered"


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match="unknown agent 'dqn': did you mean 'ddqn'"):
        make_agent("dqn")
