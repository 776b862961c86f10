"""What PettingZoo's own suite says."""

from __future__ import annotations

import types
import warnings
from typing import Any

import pettingzoo
import pytest
from pettingzoo.test import (
    api_test,
    max_cycles_test,
    parallel_api_test,
    parallel_seed_test,
    render_test,
    seed_test,
    state_test,
)
from pettingzoo.utils.conversions import parallel_to_aec

import flipenv

OPTIONS = [
    {"n_agents": 1},
    {"n_agents": 2},
    {"n_agents": 2, "margin": 30, "observation": "egocentric", "channels": ("superpixel", "erased", "box")},
    {"n_agents": 4, "credit": "counterfactual"},
]


@pytest.fixture(params=OPTIONS, ids=lambda options: "-".join(map(str, options)) + str(options["n_agents"]))
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


@pytest.fixture
def pool(real_and_phantom: list[flipenv.Case], options: dict[str, Any]) -> flipenv.EpisodePool:
    return flipenv.EpisodePool(real_and_phantom, flipenv.EnvConfig.of(options), cache=False)


@pytest.fixture(autouse=True)
def strict() -> Any:
    """The suites warn where they could fail: here a warning fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_parallel_api(pool: flipenv.EpisodePool) -> None:
    parallel_api_test(flipenv.parallel_env(pool), num_cycles=1000)


def test_parallel_seed(pool: flipenv.EpisodePool) -> None:
    parallel_seed_test(lambda: flipenv.parallel_env(pool))


def test_api_through_aec(pool: flipenv.EpisodePool) -> None:
    with warnings.catch_warnings():
        # the suite wants agents named <name>_<n> and pictures channels last or of range 0..255 in float: ours are
        # uint8 channels first, as torch wants them
        warnings.filterwarnings("ignore", message=".*[Oo]bservation.*")
        api_test(flipenv.env(pool), num_cycles=300)


def test_seed_through_aec(pool: flipenv.EpisodePool) -> None:
    seed_test(lambda: flipenv.env(pool), num_cycles=300)


def test_render(pool: flipenv.EpisodePool) -> None:
    render_test(lambda render_mode: flipenv.env(pool, render_mode=render_mode))


def test_state(pool: flipenv.EpisodePool) -> None:
    parallel = flipenv.parallel_env(pool)
    turns = parallel_to_aec(parallel)
    turns.state_space = parallel.state_space  # the wrapper does not forward it
    state_test(turns, flipenv.parallel_env(pool), num_cycles=5)


def test_max_cycles(phantoms: list[flipenv.Case]) -> None:
    module = types.SimpleNamespace(
        parallel_env=lambda max_cycles: flipenv.parallel_env(phantoms, max_cycles=max_cycles, cache=False),
        env=lambda max_cycles: flipenv.env(phantoms, max_cycles=max_cycles, cache=False),
    )
    max_cycles_test(module)


def test_registry(phantoms: list[flipenv.Case]) -> None:
    if not hasattr(pettingzoo, "make"):
        pytest.skip("PettingZoo has a registry since 1.27")
    env = pettingzoo.make("parallel", "flipenv/EraseToSegment-v0", source=phantoms, cache=False)
    assert isinstance(env, flipenv.EraseParallelEnv)
    assert pettingzoo.make("aec", "flipenv/EraseToSegment-v0", source=phantoms, cache=False).possible_agents == [
        "eraser_0",
        "eraser_1",
    ]
