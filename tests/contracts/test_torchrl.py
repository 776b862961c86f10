"""The native TorchRL view: TorchRL's own checker, and the PettingZoo view as truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flipenv

pytest.importorskip("torchrl", reason="needs TorchRL: pip install flip-learning[torchrl]")
import torch
from torchrl.envs.utils import check_env_specs

from flipenv.torchrl import EraseTorchRLEnv

OPTIONS = [{"n_agents": 1}, {"n_agents": 2, "margin": 30}, {"n_agents": 4, "observation": "egocentric"}]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
PLAIN: dict[str, Any] = {"cache": False, "progress": False}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("lanes", [1, 3])
def test_specs(real_and_phantom: list[flipenv.Case], lanes: int, options: dict[str, Any], device: str) -> None:
    env = EraseTorchRLEnv(lanes, real_and_phantom, device=device, max_cycles=5, **PLAIN, **options)
    check_env_specs(env, seed=0)
    assert env.batch_size == (lanes,)
    assert env.group_map == {"eraser": [f"eraser_{agent}" for agent in range(options["n_agents"])]}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_lane_i_is_the_parallel_environment_seeded_s_plus_i(
    phantoms: list[flipenv.Case], options: dict[str, Any]
) -> None:
    """Over several episodes a lane: TorchRL's own rollout resets what ended."""
    options = {**options, "max_cycles": 7}
    env = EraseTorchRLEnv(3, phantoms, **PLAIN, **options)
    env.set_seed(5)
    agents = options["n_agents"]
    actions = torch.as_tensor(np.random.default_rng(0).integers(0, 2, (30, 3, agents)))
    steps = iter(actions)
    rollout = env.rollout(30, policy=lambda td: td.set(("eraser", "action"), next(steps)), break_when_any_done=False)
    assert rollout.batch_size == (3, 30)
    ends = 0
    for lane in range(3):
        single = flipenv.parallel_env(phantoms, cache=False, **options)
        pictures, told = single.reset(seed=5 + lane)
        for step in range(30):
            here = rollout[lane, step]
            assert np.array_equal(here["eraser", "observation"], np.stack(list(pictures.values())))
            masks = np.stack([info["action_mask"] for info in told.values()])
            assert np.array_equal(here["eraser", "action_mask"], masks)
            chosen = dict(zip(single.agents, actions[step, lane].tolist(), strict=True))
            pictures, paid, terminated, truncated, told = single.step(chosen)
            after = here["next"]
            np.testing.assert_allclose(after["eraser", "reward"][:, 0], list(paid.values()), rtol=1e-6)
            assert np.array_equal(after["eraser", "observation"], np.stack(list(pictures.values())))
            assert bool(after["terminated"]) == terminated["eraser_0"]
            assert bool(after["truncated"]) == truncated["eraser_0"]
            assert bool(after["done"]) == (not single.agents)
            if not single.agents:
                ends += 1
                pictures, told = single.reset()
    assert ends >= 10


def test_a_learner_for_the_wrapper_runs_on_it(phantoms: list[flipenv.Case]) -> None:
    """All keys of TorchRL's PettingZoo wrapper that a learner reads are there, with a lane dimension in front."""
    from torchrl.envs.libs.pettingzoo import PettingZooWrapper

    wrapped = PettingZooWrapper(flipenv.parallel_env(phantoms, cache=False)).rollout(2)
    native = EraseTorchRLEnv(3, phantoms, **PLAIN).rollout(2)
    keys = [("eraser", name) for name in ("observation", "action_mask", "action")]
    keys += [("next", "eraser", "reward"), ("next", "eraser", "observation"), ("next", "done"), ("next", "terminated")]
    for key in keys:
        one, other = wrapped[key], native[key]
        assert (one.dtype, one.shape) == (other.dtype, other.shape[1:]), key


def test_nothing_returned_is_written_later(phantoms: list[flipenv.Case]) -> None:
    env = EraseTorchRLEnv(2, phantoms, max_cycles=3, **PLAIN)
    kept = env.reset()
    copy = kept.clone()
    env.rollout(8, break_when_any_done=False)
    assert (kept == copy).all()
    assert [mask.dtype for mask in env.masks()] == [np.bool_] * 2
