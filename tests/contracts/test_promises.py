"""What no public suite looks at: whole episodes, aliasing, copies in mid-episode, batches against singles."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import flipenv
from flipenv import testing
from flipenv.background import BACKGROUNDS
from flipenv.superpixels import SUPERPIXELS
from tests.conftest import SMALL

OPTIONS: list[dict[str, Any]] = [
    {"n_agents": 1},
    {"n_agents": 2},
    {"n_agents": 2, "margin": 30, "credit": "sequential", "csr": "logit", "variants": 2, "jitter": (2, 8)},
    {"n_agents": 4, "observation": "egocentric", "channels": ("erased", "ellipse"), "credit": "counterfactual"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_parallel(real_and_phantom: list[flipenv.Case], options: dict[str, Any]) -> None:
    pool = flipenv.EpisodePool(real_and_phantom, flipenv.EnvConfig.of(SMALL, **options), cache=False)
    testing.check_parallel(lambda: flipenv.parallel_env(pool), seed=5)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_lane_i_is_the_single_seeded_s_plus_i(real_and_phantom: list[flipenv.Case], options: dict[str, Any]) -> None:
    pool = flipenv.EpisodePool(real_and_phantom, flipenv.EnvConfig.of(SMALL, **options), cache=False)
    testing.check_lanes(
        lambda: flipenv.EraseEnv(pool),
        lambda lanes: flipenv.vector_env(lanes, pool, autoreset_mode="SameStep", progress=False),
        seed=21,
    )


def test_a_broken_promise_is_found(phantoms: list[flipenv.Case]) -> None:
    class Shared(flipenv.EraseParallelEnv):
        def _observations(self, seen: Any) -> dict[str, Any]:
            seen = super()._observations(seen)
            return dict.fromkeys(seen, seen["eraser_0"])

    class Forgetful(flipenv.EraseParallelEnv):
        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            return super().reset(next(other_seeds), options)

    other_seeds = itertools.count()

    with pytest.raises(AssertionError, match="share"):
        testing.check_aliasing(Shared(phantoms, cache=False))
    with pytest.raises(AssertionError, match="gave|restart"):
        testing.check_parallel(lambda: Forgetful(phantoms, cache=False))


def test_scorer(phantoms: list[flipenv.Case]) -> None:
    batch = flipenv.Batch(phantoms, 4, cache=False, progress=False)
    batch.seed(0)
    batch.reset()
    assert batch.episodes is not None
    testing.check_scorer(flipenv.ContrastScorer(), batch.episodes.image)
    with pytest.raises(AssertionError, match="batch"):
        testing.check_scorer(lambda x: (x.mean((1, 2)) / (1 + x.max())).astype(np.float32) % 1, batch.episodes.image)


@pytest.mark.parametrize("name", list(BACKGROUNDS))
def test_backgrounds(phantoms: list[flipenv.Case], name: str) -> None:
    for case in phantoms:
        testing.check_background(BACKGROUNDS[name], case)


@pytest.mark.parametrize("name", list(SUPERPIXELS))
def test_superpixels(phantoms: list[flipenv.Case], name: str) -> None:
    testing.check_superpixels(SUPERPIXELS[name], phantoms[0].image, 40)


def test_masks_lie_on_the_image(real_and_phantom: list[flipenv.Case]) -> None:
    """Erasing everything gives the box, whatever the canvas; nothing outside the margin is ever set."""
    for canvas in ("roi", "whole"):
        for case in real_and_phantom:
            env = flipenv.EraseEnv(case, canvas=canvas, n_agents=1, beta=None, cache=False)
            env.reset()
            for _ in range(env._batch.episodes.steps[0]):
                env.step(1)
            expected = np.zeros(case.image.shape, bool)
            expected[case.box.rows, case.box.columns] = True
            assert (env.mask() & ~expected).sum() == 0
            assert (env.mask() & expected).sum() > 0.9 * expected.sum()


def test_the_agents_never_see_the_mask(phantoms: list[flipenv.Case]) -> None:
    blind = [replace(case, mask=None) for case in phantoms]
    with_masks, without = (flipenv.parallel_env(cases, cache=False) for cases in (phantoms, blind))
    assert testing.same(testing.rollout(with_masks, 9), testing.rollout(without, 9))
