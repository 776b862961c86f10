"""The SB3 view against SB3's own `DummyVecEnv` and the PettingZoo view, and MaskablePPO's masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flipenv

pytest.importorskip("stable_baselines3", reason="needs Stable-Baselines3: pip install flip-learning[sb3]")
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from flipenv.batch import Batch
from flipenv.errors import ActionError, ConfigError, EpisodeError
from flipenv.sb3 import EraseSB3Env, sb3_env

PLAIN = {"cache": False, "progress": False}


@pytest.mark.parametrize("options", [{"n_agents": 1}, {"n_agents": 2, "observation": "joint"}], ids=str)
def test_lanes_equal_sb3s_own(phantoms: list[flipenv.Case], options: dict[str, Any]) -> None:
    """Lane i seeded s is the Gymnasium environment seeded s + i, through SB3's own vectorisation."""
    options = {**options, "max_cycles": 9}
    ours = sb3_env(3, phantoms, **PLAIN, **options)
    theirs = DummyVecEnv([lambda: flipenv.EraseEnv(phantoms, cache=False, **options)] * 3)
    assert (ours.observation_space, ours.action_space) == (theirs.observation_space, theirs.action_space)
    for envs in (ours, theirs):
        envs.seed(4)
    assert np.array_equal(ours.reset(), theirs.reset())
    actions = np.random.default_rng(0)
    for _ in range(30):
        chosen = actions.integers(0, ours.action_space.n, 3)
        for one, other in zip(ours.step(chosen), theirs.step(chosen), strict=True):
            _same(one, other)
        _same(ours.reset_infos, theirs.reset_infos)
        masks = ours.env_method("action_masks"), theirs.env_method("action_masks")
        assert np.array_equal(*masks)


def _same(one: Any, other: Any) -> None:
    if isinstance(one, list):
        for mine, theirs in zip(one, other, strict=True):
            assert mine.keys() - {"TimeLimit.truncated"} == theirs.keys() - {"TimeLimit.truncated"}
            assert mine.get("TimeLimit.truncated", False) == theirs.get("TimeLimit.truncated", False)
            for key in mine.keys() & theirs.keys():
                np.testing.assert_array_equal(mine[key], theirs[key], err_msg=key)
        return
    assert one.dtype == other.dtype
    np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_agents_are_lanes(phantoms: list[flipenv.Case], device: str | None) -> None:
    """SB3 environment i * A + k is agent k of the PettingZoo environment seeded s + i."""
    if device is not None:
        pytest.importorskip("torch")
    options = {"n_agents": 4, "observation": "egocentric", "channels": ("erased",), "max_cycles": 8}
    ours = sb3_env(3, phantoms, device=device, **PLAIN, **options)
    assert (ours.num_envs, ours.action_space.n) == (12, 2)
    ours.seed(7)
    seen, actions = ours.reset(), np.random.default_rng(1)
    singles = [flipenv.parallel_env(phantoms, cache=False, **options) for _ in range(3)]
    expected = np.stack([picture for i, each in enumerate(singles) for picture in each.reset(seed=7 + i)[0].values()])
    assert np.array_equal(seen, expected)
    ends = 0
    for _ in range(20):
        chosen = actions.integers(0, 2, 12)
        seen, rewards, dones, infos = ours.step(chosen)
        assert rewards.dtype == np.float32
        for lane, single in enumerate(singles):
            mine = slice(4 * lane, 4 * lane + 4)
            pictures, paid, terminated, truncated, told = single.step(
                dict(zip(single.agents, chosen[mine].tolist(), strict=True))
            )
            np.testing.assert_allclose(rewards[mine], list(paid.values()), rtol=1e-5)
            assert dones[mine].tolist() == [
                a or b for a, b in zip(terminated.values(), truncated.values(), strict=True)
            ]
            for info, theirs in zip(infos[mine], told.values(), strict=True):
                assert (info["superpixel"], info["changed"]) == (theirs["superpixel"], theirs["changed"])
                assert np.array_equal(info["action_mask"], theirs["action_mask"])
            if not single.agents:
                ends += 1
                for info, last, cut in zip(infos[mine], pictures.values(), truncated.values(), strict=True):
                    assert np.array_equal(info["terminal_observation"], last)
                    assert info["TimeLimit.truncated"] == cut
                pictures, _ = single.reset()
            assert np.array_equal(seen[mine], np.stack(list(pictures.values())))
    assert ends >= 6


def test_masks_follow_what_is_erased(phantoms: list[flipenv.Case]) -> None:
    envs = sb3_env(2, phantoms, traversals=2, beta=None, scorer=None, **PLAIN)
    envs.seed(0)
    envs.reset()
    assert envs.action_masks().all()
    steps = int(envs.batch.episodes.steps.min())
    for _ in range(steps):
        *_, infos = envs.step(np.ones(4, np.int64))
    assert envs.action_masks()[:, 0].all()
    shortest = envs.batch.episodes.steps == steps
    again = np.repeat(shortest, 2)
    assert not envs.action_masks()[again, 1].any(), "the second traversal finds everything erased"
    assert np.array_equal(envs.action_masks(), [info["action_mask"] for info in infos])


def test_nothing_returned_is_written_later(phantoms: list[flipenv.Case]) -> None:
    envs = sb3_env(2, phantoms, max_cycles=3, **PLAIN)
    kept = [envs.reset()]
    copies = [kept[0].copy()]
    for _ in range(8):
        seen, rewards, dones, infos = envs.step(np.ones(4, np.int64))
        for array in (seen, rewards, dones, *(info["action_mask"] for info in infos)):
            kept.append(array)
            copies.append(array.copy())
    assert all(np.array_equal(one, other) for one, other in zip(kept, copies, strict=True))


def test_what_sb3_asks_for(phantoms: list[flipenv.Case]) -> None:
    envs = sb3_env(2, phantoms, render_mode="rgb_array", **PLAIN)
    assert isinstance(envs, VecEnv)
    envs.set_options({"case": phantoms[3].id})
    envs.reset()
    assert [info["case"] for info in envs.reset_infos] == [3] * 4
    assert envs.render().dtype == np.uint8
    assert [mask.shape for mask in envs.masks()] == [phantoms[3].image.shape] * 2
    assert envs.get_attr("render_mode", [0, 2]) == ["rgb_array"] * 2
    assert not envs.has_attr("no such thing")
    assert not any(envs.env_is_wrapped(VecMonitor))
    envs.set_attr("note", 5)
    assert envs.get_attr("note", 1) == [5]
    envs.close()


def test_errors(phantoms: list[flipenv.Case]) -> None:
    envs = sb3_env(2, phantoms, **PLAIN)
    with pytest.raises(EpisodeError, match="before reset"):
        envs.step(np.zeros(4, np.int64))
    envs.reset()
    with pytest.raises(ActionError, match=r"shape \(4,\)"):
        envs.step(np.zeros(2, np.int64))
    with pytest.raises(ConfigError, match="set_attr"):
        envs.set_attr("note", 1, [0])
    with pytest.raises(ConfigError, match="env_method"):
        envs.env_method("mask")
    with pytest.raises(ConfigError, match="channels in a window"):
        EraseSB3Env(Batch(phantoms, window=8, frames=12, cache=False))


def test_maskable_ppo_finds_the_masks(phantoms: list[flipenv.Case]) -> None:
    contrib = pytest.importorskip("sb3_contrib", reason="needs sb3-contrib")
    from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported

    envs = sb3_env(2, phantoms, window=40, max_cycles=12, **PLAIN)
    assert is_masking_supported(VecMonitor(envs))
    model = contrib.MaskablePPO("CnnPolicy", envs, n_steps=16, batch_size=16, n_epochs=1, device="cpu", seed=0)
    model.learn(64)
    masks = get_action_masks(envs)
    assert masks.shape == (4, 2)
    for _ in range(20):
        masks[:, 1] = False
        assert (model.predict(envs.observations(), action_masks=masks)[0] == 0).all()
