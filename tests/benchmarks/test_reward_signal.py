"""The instrument: records are what the environment pays, and tell a scorer that knows from one that does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flipenv
from flipenv import core
from flipenv.config import EnvConfig
from flipenv.scorer import ContrastScorer
from flipenv.theta import radii

SMALL = {"canvas": {"kind": "roi", "height": 64, "width": 80}, "cell_area": 60.0, "window": 32, "beta": None}


def pool(**options: Any) -> flipenv.EpisodePool:
    return flipenv.EpisodePool("phantom:3?height=96&width=140", EnvConfig.of({**SMALL, **options}), cache=False)


def paid(episodes: Any, state: Any, superpixel: int, scorer: Any, config: EnvConfig) -> Any:
    """The environment's own step, with the only agent on a chosen superpixel."""
    at = dataclasses.replace(state, here=np.full((1, 1), superpixel, np.int16))
    return core.step(episodes, at, np.ones((1, 1), np.int64), scorer, config)


def test_records_are_what_the_environment_pays() -> None:
    """Also for a superpixel of the context itself: it is put back first."""
    from signal_records import judge

    own, scorer = pool(n_agents=1, theta=20.0, standardise=True), ContrastScorer()
    episode, episodes = own.episode(1), own.rows([1])
    erased = np.zeros(episode.n_superpixels, np.bool_)
    erased[[0, 3, 7]] = True
    tried = np.arange(episode.n_superpixels)
    found = judge(episode, scorer, erased, tried, own)
    for each in tried.tolist():
        state = core.reset(episodes, core.first_score(episodes, scorer), own.config)
        for before in np.flatnonzero(erased).tolist():
            if before != each:
                state = paid(episodes, state, before, scorer, own.config).state
        result = paid(episodes, state, each, scorer, own.config)
        flagged = bool(np.nan_to_num(found["distance"][each]) > own.config.theta)
        assert found["sign"][each] == result.csr[0, 0]
        assert -float(flagged) == result.idr[0, 0]
        logit = paid(episodes, state, each, scorer, own.config.replace(csr="logit", dead_zone=0.0)).csr[0, 0]
        assert found["fall"][each] == pytest.approx(float(logit), abs=1e-5)


def test_contexts() -> None:
    from signal_records import LARGEST, contexts_of

    radius = np.random.default_rng(3).random(40)
    found = list(contexts_of(radius, 7, np.random.default_rng(0)))
    assert not found[0].any()
    assert all(0 < each.mean() <= LARGEST + 0.03 for each in found[1:])
    for number in (2, 4, 6):
        assert radius[found[number]].max() < radius[~found[number]].min(), "the middle of the box"


class Knowing:
    """Scores a canvas by the nodule's share that still shows, found by comparing with the image."""

    def __init__(self, episodes: flipenv.EpisodePool) -> None:
        from flipenv.episode import mask_on_canvas

        self.known = []
        for index in range(len(episodes)):
            episode, case = episodes.episode(index), episodes.case(index)
            self.known.append((episode.image, mask_on_canvas(case.mask, episode.geometry, episodes.config.canvas)))

    def __call__(self, canvases: Any) -> Any:
        scores = []
        for canvas in canvases:
            image, nodule = min(self.known, key=lambda each: int((each[0] != canvas).sum()))
            scores.append((canvas == image)[nodule].mean())
        return np.array(scores, np.float32)


def test_a_scorer_that_knows_is_told_from_one_that_does_not() -> None:
    from signal_records import record

    episodes = pool()
    knowing = record(episodes, Knowing(episodes), 3, 0)
    blind = record(episodes, lambda canvases: np.full(len(canvases), 0.5, np.float32), 3, 0)
    groups = knowing.groups()
    assert {"in", "out", "core", "corner"} == set(groups)
    assert (knowing.sign[groups["in"]] == 1).mean() > 0.98
    assert (knowing.sign[knowing.inside == 0] == 0).all()
    told = knowing.summary(30.0)
    assert told["in"]["falls"] == told["in"]["mean_sign"] > told["out"]["falls"] + 0.2
    assert (blind.sign == 0).all()
    flagged = knowing.rewards(30.0) - knowing.rewards(None)
    assert set(np.unique(flagged)) == {-1.0, 0.0}
    np.testing.assert_array_equal(flagged == -1, np.nan_to_num(knowing.distance) > 30)


def test_the_averaging_learner_finds_what_pays_on_average() -> None:
    """Rewards of one record are noise around a mean by place; the learner recovers the sign of the mean."""
    pytest.importorskip("monai", reason="the learner is MONAI's U-Net")
    from signal_learner import Averager
    from signal_records import record

    seen = flipenv.EpisodePool("phantom:24?height=96&width=140&first=40", EnvConfig.of(SMALL), cache=False)
    records = record(seen, lambda canvases: np.full(len(canvases), 0.5, np.float32), 3, 0)
    noise = np.random.default_rng(0).normal(0, 0.5, len(records.case))
    rewards = np.where(records.radius < 0.8, 0.5, -0.5) + noise
    episodes = pool()
    values = Averager(2, 20).fit(seen, records, [rewards, -rewards]).values(episodes)
    right = [((own[0] > 0) == (radii(episodes.episode(index)) < 0.8)).mean() for index, own in enumerate(values)]
    assert np.mean(right) > 0.75
    assert np.mean([(own[0] * own[1] < 0).mean() for own in values]) > 0.9


def test_the_script(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the regressions are scikit-learn's")
    import reward_signal

    found = reward_signal.main(["--quick", "--out", str(tmp_path / "out")])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "maps.png",
        "signal.json",
        "table.md",
        "theta.png",
    ]
    text = (tmp_path / "out" / "table.md").read_text()
    for head in (
        "Distance of superpixels",
        "Scores and intensity",
        "Mean reward",
        "Averaging learner",
        "Fine superpix",
    ):
        assert text.count(head) == 1
    assert found["env"]["theta"] == found["theta"] > 0
    assert found["records"]["core"]["n"] > 0
