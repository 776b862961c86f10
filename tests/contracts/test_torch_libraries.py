"""What the libraries say that need torch: Stable-Baselines3, TorchRL, Gymnasium's torch wrapper."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import flipenv
from tests.conftest import SMALL

torch = pytest.importorskip("torch", reason="these contracts need torch: pip install flip-learning[contracts]")
OPTIONS = [{"n_agents": 1}, {"n_agents": 2, "margin": 30}, {"n_agents": 4}]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_sb3_check_env(real_and_phantom: list[flipenv.Case], options: dict[str, Any]) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(flipenv.EraseEnv(real_and_phantom, cache=False, **options))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_torchrl_pettingzoo(real_and_phantom: list[flipenv.Case], options: dict[str, Any]) -> None:
    pytest.importorskip("torchrl")
    from torchrl.envs.libs.pettingzoo import PettingZooWrapper
    from torchrl.envs.utils import check_env_specs

    env = PettingZooWrapper(flipenv.parallel_env(real_and_phantom, cache=False, **options))
    check_env_specs(env)
    assert list(env.group_map) == ["eraser"]
    assert env.rollout(3)["eraser", "observation"].shape[1] == options["n_agents"]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_torchrl_gymnasium(real_and_phantom: list[flipenv.Case], options: dict[str, Any]) -> None:
    pytest.importorskip("torchrl")
    from torchrl.envs.libs.gym import GymWrapper
    from torchrl.envs.utils import check_env_specs

    check_env_specs(GymWrapper(flipenv.EraseEnv(real_and_phantom, cache=False, **options)))
    vector = flipenv.vector_env(
        3, real_and_phantom, autoreset_mode=AutoresetMode.SAME_STEP, cache=False, progress=False, **options
    )
    env = GymWrapper(vector)
    check_env_specs(env)
    assert env.batch_size == (3,)


def test_numpy_to_torch(phantoms: list[flipenv.Case]) -> None:
    from gymnasium.wrappers.vector import NumpyToTorch

    envs = NumpyToTorch(flipenv.vector_env(3, phantoms, cache=False, progress=False))
    seen, _ = envs.reset(seed=0)
    assert isinstance(seen, torch.Tensor)
    seen, rewards, *_ = envs.step(torch.tensor([0, 1, 1]))
    assert seen.shape == (3, 6, 64, 64)
    assert rewards.shape == (3,)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
def test_lanes_on_torch_equal_lanes_on_numpy(phantoms: list[flipenv.Case], device: str, mode: AutoresetMode) -> None:
    options: dict[str, Any] = {"autoreset_mode": mode, "max_cycles": 9, "n_agents": 2, "cache": False}
    options["progress"] = False
    arrays = flipenv.vector_env(4, phantoms, **options)
    tensors = flipenv.vector_env(4, phantoms, device=device, **options)
    first, second = arrays.reset(seed=2)[0], tensors.reset(seed=2)[0]
    assert second.device.type == device
    assert np.array_equal(first, second.cpu())
    actions = np.random.default_rng(1)
    for _ in range(40):
        chosen = actions.integers(0, 4, 4)
        one, other = arrays.step(chosen), tensors.step(torch.asarray(chosen, device=device))
        for name, mine, theirs in zip(("observation", "reward", "terminated", "truncated"), one, other, strict=False):
            assert np.array_equal(mine, theirs.cpu()), name
        assert one[4].keys() == other[4].keys()
        ended = one[2] | one[3]
        if mode is AutoresetMode.SAME_STEP and ended.any():
            for lane in np.flatnonzero(ended):
                assert np.array_equal(one[4]["final_obs"][lane], other[4]["final_obs"][lane].cpu())
        if mode is AutoresetMode.DISABLED and ended.any():
            for envs in (arrays, tensors):
                envs.reset(options={"reset_mask": ended})


def test_joint_view_learns_nothing_from_make(phantoms: list[flipenv.Case]) -> None:
    """`gymnasium.make` wraps in a passive checker, which sees the first step through SB3's own buffers."""
    stable_baselines3 = pytest.importorskip("stable_baselines3")
    config = {**SMALL, "n_agents": 2}
    env = gymnasium.make("flipenv/EraseToSegmentJoint-v0", source=phantoms, cache=False, config=config)
    model = stable_baselines3.DQN(
        "MlpPolicy", env, buffer_size=64, learning_starts=8, train_freq=8, policy_kwargs={"net_arch": [8]}, device="cpu"
    )
    model.learn(24)
    assert model.num_timesteps >= 24
