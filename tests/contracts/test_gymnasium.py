"""What Gymnasium's own checkers and wrappers say."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import flipenv

OPTIONS = [{"n_agents": 1}, {"n_agents": 2, "margin": 30}, {"n_agents": 4, "observation": "egocentric"}]
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_check_env(real_and_phantom: list[flipenv.Case], options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make("flipenv/EraseToSegment-v0", source=real_and_phantom, cache=False, **options)
        check_env(env.unwrapped)
        check_env(
            flipenv.EraseEnv(real_and_phantom, cache=False, render_mode="rgb_array", **options), skip_render_check=True
        )


@pytest.mark.parametrize("mode", ["rgb_array", "human"])
def test_render(phantoms: list[flipenv.Case], mode: str) -> None:
    env = gymnasium.make("flipenv/EraseToSegmentJoint-v0", source=phantoms, cache=False, render_mode=mode)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    frame = env.render()
    assert frame is None if mode == "human" else (frame.dtype == np.uint8 and frame.shape[2] == 3)
    env.close()


def test_make_imports_by_itself() -> None:
    env = gymnasium.make("flipenv:flipenv/EraseToSegment-v0", source="phantom:2?height=96&width=128", cache=False)
    assert env.action_space == gymnasium.spaces.Discrete(2)
    assert env.observation_space.shape == (6, 64, 64)


def test_joint_actions_are_bits(phantoms: list[flipenv.Case]) -> None:
    env = gymnasium.make("flipenv/EraseToSegmentJoint-v0", source=phantoms, n_agents=4, cache=False)
    assert env.action_space == gymnasium.spaces.Discrete(16)
    env.reset(seed=1)
    *_, info = env.step(0b1010)
    assert info["changed"].tolist() == [False, True, False, True]


def test_spec_round_trip(phantoms: list[flipenv.Case]) -> None:
    env = gymnasium.make("flipenv/EraseToSegment-v0", source="phantom:3?height=96&width=128", margin=5, cache=False)
    spec = gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json())
    again = gymnasium.make(spec)
    first, second = env.reset(seed=4), again.reset(seed=4)
    assert np.array_equal(first[0], second[0])
    assert again.unwrapped.config == env.unwrapped.config


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
def test_vector_modes(real_and_phantom: list[flipenv.Case], mode: AutoresetMode, options: dict[str, Any]) -> None:
    made = gymnasium.make_vec(
        "flipenv/EraseToSegment-v0",
        num_envs=3,
        source=real_and_phantom,
        autoreset_mode=mode,
        cache=False,
        progress=False,
        max_cycles=7,
        **options,
    )
    assert made.metadata["autoreset_mode"] is mode
    envs = RecordEpisodeStatistics(made)
    seen, infos = envs.reset(seed=3)
    envs.action_space.seed(0)
    finished = 0
    for _ in range(30):
        actions = envs.action_space.sample()
        seen, rewards, terminated, truncated, infos = envs.step(actions)
        ended = terminated | truncated
        assert seen.shape == envs.observation_space.shape
        assert seen in envs.observation_space
        assert rewards.shape == (3,)
        assert rewards.dtype == np.float64
        if ended.any():
            finished += int(ended.sum())
            assert infos["_episode"].tolist() == ended.tolist()
            assert (infos["episode"]["l"][ended] <= 7).all()
            if mode is AutoresetMode.SAME_STEP:
                assert infos["_final_obs"].tolist() == ended.tolist()
                assert (infos["area"][ended] == 0).all()
                for lane in np.flatnonzero(ended):
                    assert infos["final_obs"][lane].shape == envs.single_observation_space.shape
                    assert infos["final_info"]["area"][lane] >= 0
            if mode is AutoresetMode.DISABLED:
                with pytest.raises(flipenv.FlipError, match="ended"):
                    envs.step(actions)
                envs.reset(options={"reset_mask": ended})
    assert finished >= 9


def test_next_step_ignores_the_action_after_an_end(phantoms: list[flipenv.Case]) -> None:
    envs = flipenv.vector_env(2, phantoms, max_cycles=2, cache=False, progress=False)
    envs.reset(seed=0)
    envs.step(np.array([1, 1]))
    *_, truncated, infos = envs.step(np.array([1, 1]))
    assert truncated.all()
    assert (infos["area"] > 0).all()
    _, rewards, terminated, truncated, infos = envs.step(np.array([1, 1]))
    assert (rewards == 0).all()
    assert not (terminated | truncated).any()
    assert (infos["area"] == 0).all()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP], ids=lambda mode: mode.value)
def test_native_batch_equals_gymnasiums_own(phantoms: list[flipenv.Case], mode: AutoresetMode) -> None:
    options: dict[str, Any] = {"source": phantoms, "max_cycles": 9, "n_agents": 2, "cache": False}
    native = gymnasium.make_vec("flipenv/EraseToSegment-v0", 3, autoreset_mode=mode, progress=False, **options)
    theirs = gymnasium.make_vec(
        "flipenv/EraseToSegment-v0", 3, "sync", vector_kwargs={"autoreset_mode": mode}, **options
    )
    (seen, _), (expected, _) = native.reset(seed=11), theirs.reset(seed=11)
    assert np.array_equal(seen, expected)
    actions = np.random.default_rng(0)
    for _ in range(40):
        chosen = actions.integers(0, 4, 3)
        ours, others = native.step(chosen), theirs.step(chosen)
        for name, one, other in zip(("observation", "reward", "terminated", "truncated"), ours, others, strict=False):
            assert np.array_equal(one, other), name
        assert ours[4].keys() == others[4].keys()
        for key in ("score", "area", "changed", "action_mask", "_score"):
            assert np.array_equal(ours[4][key], others[4][key]), key


def test_case_and_seed_options(phantoms: list[flipenv.Case]) -> None:
    cases = [phantoms[3], phantoms[5]]
    envs = flipenv.vector_env(2, cases, cache=False, progress=False)
    _, infos = envs.reset(options={"case": [cases[1].id, cases[0].id]})
    assert infos["case"].tolist() == [1, 0]
    single = flipenv.EraseEnv(cases, cache=False)
    assert single.reset(options={"case": cases[1].id})[1]["case"] == 1
    with pytest.raises(flipenv.FlipError, match="phantom"):
        single.reset(options={"case": "phantm"})


def test_a_pool_is_shared_by_all_views(phantoms: list[flipenv.Case]) -> None:
    pool = flipenv.EpisodePool(phantoms, flipenv.EnvConfig(n_agents=2), cache=False)
    env = gymnasium.make("flipenv/EraseToSegmentJoint-v0", source=pool)
    envs = gymnasium.make_vec("flipenv/EraseToSegmentJoint-v0", num_envs=2, source=pool, progress=False)
    assert env.unwrapped._batch.pool is pool
    assert envs.single_action_space == env.action_space
    with pytest.raises(flipenv.FlipError, match="n_agents"):
        gymnasium.make("flipenv/EraseToSegment-v0", source=pool)


def test_the_one_agent_id_has_one_agent(phantoms: list[flipenv.Case]) -> None:
    env = gymnasium.make("flipenv/EraseToSegment-v0", source=phantoms, config=flipenv.EnvConfig(margin=3), cache=False)
    assert env.action_space == gymnasium.spaces.Discrete(2)
    assert env.unwrapped.config.margin == 3
