"""Theta that falls with exploration: what is measured, how far it has fallen, and that a run resumes with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the learner needs torch")
from flipagents.learn.learner import Learner  # noqa: E402 - needs torch
from flipagents.learn.theta import HIGHEST, FallingTheta  # noqa: E402
from flipenv.batch import Batch  # noqa: E402
from flipenv.distance import wasserstein  # noqa: E402
from flipenv.errors import ConfigError  # noqa: E402
from flipenv.theta import CORE, radii  # noqa: E402
from tests.learn.test_learner import LEARNING, TASK, phantoms, same, tiny  # noqa: E402


def test_it_is_measured_on_what_agents_meet() -> None:
    """Only on superpixels of the core that are still there, beside what their own lane erased before."""
    pool = phantoms(6, 0, TASK)
    batch = Batch(pool, 4, device="cpu", progress=False)
    falling = FallingTheta(pool, 0.5, 4, "cpu")
    batch.seed(0)
    batch.reset()
    assert falling.theta(1.0) == HIGHEST, "nothing was met"
    wanted = []
    draw = np.random.default_rng(0)
    for _ in range(12):
        state = batch.state
        for lane in range(4):
            episode = pool.episode(int(batch.drawn[lane]))
            erased = state.erased[lane, : episode.n_superpixels].numpy()
            for here in state.here[lane].tolist():
                ended = bool(state.terminated[lane] | state.truncated[lane])
                if not ended and erased.any() and not erased[here] and radii(episode)[here] < CORE:
                    before = episode.histograms[erased].sum(0)
                    wanted.append(float(wasserstein(before, episode.histograms[here])) * episode.deviation_gain)
        falling.note(batch)
        batch.step(torch.from_numpy(draw.integers(0, 2, (4, 2))))
    found = falling.distances[~falling.distances.isnan()].numpy()
    np.testing.assert_allclose(np.sort(found), np.sort(wanted))
    assert falling.theta(1.0) == pytest.approx(np.median(wanted))
    assert falling.theta(0.0) == pytest.approx(max(wanted))
    assert max(wanted) > falling.theta(0.5) > falling.theta(1.0)


def test_it_falls_with_epsilon_and_reaches_the_environment() -> None:
    learner = tiny(theta_quantile=0.6, train_steps=400, log_every=50, epsilon_share=0.5)
    assert learner.batch.config.theta == HIGHEST
    rows = list(learner.train())
    thetas = [row["theta"] for row in rows]
    assert learner.batch.config.theta == thetas[-1] < thetas[0] < HIGHEST
    assert learner.agent.env == learner.batch.pool.config, "weights keep the environment's own theta"
    assert "theta" not in list(tiny(train_steps=50).train())[-1]


def test_a_run_resumes_with_its_theta(tmp_path: Path) -> None:
    options = {"theta_quantile": 0.6, "log_every": 50, "epsilon_start": 0.2, "epsilon_end": 0.2, "epsilon_share": 0.0}
    whole = tiny(train_steps=400, **options)
    whole.fit(tmp_path / "whole", progress=False)
    tiny(train_steps=200, **options).fit(tmp_path / "twice", progress=False)
    twice = tiny(train_steps=400, **options)
    twice.fit(tmp_path / "twice", progress=False)
    assert same(whole.agent.weights(), twice.agent.weights())
    assert whole.batch.config == twice.batch.config


def test_agents_with_a_loop_of_their_own_are_refused() -> None:
    pytest.importorskip("stable_baselines3", reason="sb3-dqn has a loop of its own")
    with pytest.raises(ConfigError, match=r"theta_quantile=0.8: agent 'sb3-dqn' has a training loop of its own"):
        Learner(phantoms(3, 0, TASK), {**LEARNING, "theta_quantile": 0.8}, agent="sb3-dqn", progress=False)
