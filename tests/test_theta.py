"""Theta from boxes: which superpixels are the core, and which threshold flags few of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

import flipenv
from flipenv.config import QUANTILE, EnvConfig, quantile_of
from flipenv.errors import ConfigError, SourceError
from flipenv.theta import CORE, SETS, core_distances, distances_within, radii

SMALL = {"canvas": {"kind": "roi", "height": 64, "width": 80}, "cell_area": 40.0, "window": 32}


def pool(source: Any = "phantom:3?height=96&width=140", **options: Any) -> flipenv.EpisodePool:
    return flipenv.EpisodePool(source, EnvConfig.of({**SMALL, **options}), cache=False)


def test_radii_are_those_of_the_ellipse_in_the_box() -> None:
    """Also with a margin, where the area is larger than the box."""
    episode = pool(margin=12).episode(0)
    box = episode.box
    for (row, column), radius in zip(episode.centers.tolist(), radii(episode), strict=True):
        down = (row + 0.5 - (box.top + box.bottom) / 2) / (box.height / 2)
        right = (column + 0.5 - (box.left + box.right) / 2) / (box.width / 2)
        assert radius == pytest.approx((down**2 + right**2) ** 0.5)
    assert (radii(episode) < CORE).any()
    assert (radii(episode) > 1.4).any()


@pytest.mark.parametrize("standardise", [False, True, "core"])
def test_distances_are_those_of_the_reward(standardise: Any) -> None:
    """Each distance is that of one core superpixel to some set: every one lies between the least and largest pair."""
    episodes = pool(standardise=standardise)
    found = core_distances(episodes)
    np.testing.assert_array_equal(found, core_distances(episodes))
    assert not np.array_equal(found, core_distances(episodes, seed=1))
    assert len(found) < 3 * SETS * max((radii(episodes.episode(index)) < CORE).sum() for index in range(3))
    largest = 0.0
    for index in range(3):
        episode = episodes.episode(index)
        pixels = [episode.image[episode.labels == label] for label in range(episode.n_superpixels)]
        core = np.flatnonzero(radii(episode) < CORE)
        pairs = [wasserstein_distance(pixels[one], other) for one in core for other in pixels]
        largest = max(largest, max(pairs) * episode.deviation_gain)
    assert 0 <= found.min() < found.max() <= largest + 1e-9


def test_auto_becomes_grey_levels() -> None:
    """The share of the core's distances above theta is what the quantile says; the environment gets a number."""
    for text, quantile in (("auto", QUANTILE), ("auto:0.5", 0.5)):
        episodes = pool(theta=text)
        theta = episodes.config.theta
        assert isinstance(theta, float)
        assert (core_distances(episodes) > theta).mean() == pytest.approx(1 - quantile, abs=0.02)
        assert EnvConfig.of(episodes.config.to_dict()) == episodes.config
    env = flipenv.parallel_env(pool(theta="auto"), scorer="contrast")
    env.reset(seed=0)
    assert isinstance(env.step(dict.fromkeys(env.agents, 1))[1][env.possible_agents[0]], float)


def test_core_scales_each_box_to_its_own_core() -> None:
    """The same share of every box's core is flagged, however its grey levels spread; other options do not do that."""

    def flagged(standardise: Any) -> list[float]:
        episodes = pool("phantom:8?height=96&width=140", standardise=standardise)
        return [
            (distances_within(each.histograms, radii(each), np.random.default_rng(0)) * each.deviation_gain > 50).mean()
            for each in map(episodes.episode, range(8))
        ]

    assert max(abs(share - (1 - QUANTILE)) for share in flagged("core")) < 0.02
    assert max(abs(share - (1 - QUANTILE)) for share in flagged(True)) > 0.05
    with pytest.raises(ConfigError, match="standardise='cores'"):
        EnvConfig(standardise="cores")  # type: ignore[arg-type]


def test_no_mask_is_read() -> None:
    from flipenv.sources import CaseSource
    from flipenv.types import Case

    source = flipenv.open_source("phantom:3?height=96&width=140")
    blind = CaseSource([Case(case.image, case.box, id=case.id) for case in map(source.load, range(3))])
    assert pool(blind, theta="auto").config == pool(source, theta="auto").config


@pytest.mark.parametrize("theta", ["automatic", "auto:", "auto:1.5", "auto:x", "25"])
def test_other_texts_are_refused(theta: str) -> None:
    with pytest.raises(ConfigError, match="theta"):
        EnvConfig(theta=theta)
    assert quantile_of("auto:1") == 1


def test_boxes_without_a_core() -> None:
    with pytest.raises(SourceError, match=r"theta cannot be set from these boxes: .*; choose a smaller cell_area"):
        pool(theta="auto", cell_area=100_000.0)
