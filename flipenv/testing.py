"""Checks that an environment with your own scorer, reward, background, superpixels or source keeps its contract.

Each function raises AssertionError with a message that names the violation. They cover what the test suites of
PettingZoo and Gymnasium do not: whole episodes, aliasing, copies made mid-episode, and batches against singles.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from flipenv.background import Background
from flipenv.parallel import EraseParallelEnv
from flipenv.pixels import Grey
from flipenv.scorer import Scorer
from flipenv.single import EraseEnv
from flipenv.spaces import joint_actions
from flipenv.types import Box, Case
from flipenv.vector import EraseVectorEnv

Step = tuple[Any, ...]


def check_parallel(make: Callable[[], EraseParallelEnv], seed: int = 0) -> None:
    """Check determinism, aliasing, copies and the ends of a parallel environment over whole episodes."""
    first, second = rollout(make(), seed), rollout(make(), seed)
    assert same(first, second), "two environments with the same seed gave different episodes"
    env = make()
    assert same(rollout(env, seed), first), "a reseeded environment gave a different episode"
    assert same(rollout(env, seed), first), "reset(seed=...) does not restart the environment"
    check_aliasing(make(), seed)
    clones: dict[str, Callable[[EraseParallelEnv], EraseParallelEnv]] = {"pickle": _pickled, "deepcopy": copy.deepcopy}
    for name, clone in clones.items():
        env = make()
        env.reset(seed=seed)
        actions = np.random.default_rng(seed)
        _step(env, actions)
        if env.agents:
            other = clone(env)
            later = copy.deepcopy(actions)
            assert same(_play(env, actions), _play(other, later)), f"{name} mid-episode gave a different episode"


def check_aliasing(env: EraseParallelEnv, seed: int = 0) -> None:
    """Check that returned objects are never written to later, shared between agents, or read by the environment."""
    actions = np.random.default_rng(seed)
    kept: list[tuple[Step, Step]] = [(step := env.reset(seed=seed), copy.deepcopy(step))]
    while env.agents:
        kept.append((step := _step(env, actions), copy.deepcopy(step)))
        pictures = list(step[0].values())
        for index, picture in enumerate(pictures):
            assert not any(np.shares_memory(picture, other) for other in pictures[index + 1 :]), "agents share an array"
    for returned, as_it_was in kept:
        assert same(returned, as_it_was), "an array or dict returned earlier was changed by a later step"
    actions = np.random.default_rng(seed)
    spoilt = [_spoil(env.reset(seed=seed))]
    while env.agents:
        spoilt.append(_spoil(_step(env, actions)))
    assert same([step for step, _ in kept], spoilt), "writing into returned arrays changes the episode"


def check_lanes(
    make_single: Callable[[], EraseEnv], make_vector: Callable[[int], EraseVectorEnv], seed: int = 0, lanes: int = 5
) -> None:
    """Check that lane i of a SAME_STEP batch seeded s plays what a single environment seeded s + i plays."""
    vector = make_vector(lanes)
    singles = [make_single() for _ in range(lanes)]
    observations, _ = vector.reset(seed=seed)
    for lane, single in enumerate(singles):
        assert same(np.asarray(observations[lane]), single.reset(seed=seed + lane)[0]), (
            f"lane {lane} starts differently"
        )
    actions = np.random.default_rng(seed)
    ended = 0
    for step in range(1000):
        chosen = actions.integers(0, joint_actions(vector.config), lanes)
        observations, rewards, terminated, truncated, infos = vector.step(chosen)
        for lane, single in enumerate(singles):
            picture, *rest, _ = single.step(int(chosen[lane]))
            batch = [float(rewards[lane]), bool(terminated[lane]), bool(truncated[lane])]
            assert np.allclose(rest, batch), (
                f"lane {lane}, step {step}: {batch}, but the single environment gave {rest}"
            )
            if any(rest[1:]):
                ended += 1
                assert same(infos["final_obs"][lane], picture), f"lane {lane}, step {step}: different final observation"
                picture, _ = single.reset()
            assert same(np.asarray(observations[lane]), picture), f"lane {lane}, step {step}: different observation"
        if ended >= 2 * lanes:
            return
    raise AssertionError(f"only {ended} episodes ended in 1000 steps; use smaller cases")


def check_scorer(scorer: Scorer, canvases: npt.NDArray[np.uint8]) -> None:
    """Check shape, range, that canvases are not modified, and that a score does not depend on the rest of its batch."""
    before = canvases.copy()
    scores = np.asarray(scorer(canvases))
    assert np.array_equal(canvases, before), "the scorer writes into the canvases"
    assert scores.shape == (len(canvases),), f"scores have shape {scores.shape}; expected ({len(canvases)},)"
    assert scores.dtype == np.float32, f"scores have dtype {scores.dtype}; expected float32"
    assert ((scores >= 0) & (scores <= 1)).all(), f"scores {scores.tolist()} are outside [0, 1]"
    alone = np.concatenate([np.asarray(scorer(canvases[index : index + 1])) for index in range(len(canvases))])
    far = float(np.abs(alone - scores).max())
    assert far < 1e-4, f"a canvas scored alone differs by {far:.2g} from its score in a batch; normalise per canvas"


def check_background(background: Background, case: Case) -> None:
    """Check that a background paints only inside the area, wherever the area lies."""
    height, width = case.image.shape
    for area in (case.box, Box(0, 0, height, width), Box(0, 0, 1, width), Box(height - 1, width - 1, height, width)):
        before = case.image.copy()
        painted = background(case.image, area)
        assert np.array_equal(case.image, before), "the background writes into the image"
        assert painted.shape == case.image.shape, f"the background has shape {painted.shape}; expected {before.shape}"
        assert painted.dtype == np.uint8, f"the background has dtype {painted.dtype}; expected uint8"
        painted[area.rows, area.columns] = before[area.rows, area.columns]
        assert np.array_equal(painted, before), f"the background differs from the image outside the area {tuple(area)}"


def check_superpixels(superpixels: Callable[[Grey, int], npt.NDArray[Any]], image: Grey, count: int) -> None:
    """Check that every pixel has an integer label, and that the count is close to the requested one."""
    before = image.copy()
    labels = np.asarray(superpixels(image, count))
    assert np.array_equal(image, before), "the superpixels write into the image"
    assert labels.shape == image.shape, f"labels have shape {labels.shape}; expected {image.shape}"
    assert labels.dtype.kind == "i", f"labels have dtype {labels.dtype}; expected signed whole numbers"
    found = len(np.unique(labels))
    assert abs(found - count) <= max(1, count / 2), f"{found} superpixels instead of {count}: the density must hold"


def rollout(env: EraseParallelEnv, seed: int) -> list[Step]:
    """Everything returned by one episode of random actions, with the final mask."""
    steps: list[Step] = [env.reset(seed=seed)]
    steps += _play(env, np.random.default_rng(seed))
    return [*steps, (env.mask(), env.state())]


def same(first: Any, second: Any) -> bool:
    """Whether nested dicts, lists, tuples, arrays and numbers are equal; NaN equals NaN."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    one, other = np.asarray(first), np.asarray(second)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def _pickled(env: EraseParallelEnv) -> EraseParallelEnv:
    clone: EraseParallelEnv = pickle.loads(pickle.dumps(env))
    return clone


def _step(env: EraseParallelEnv, actions: np.random.Generator) -> Step:
    return env.step({agent: int(actions.integers(0, 2)) for agent in env.agents})


def _play(env: EraseParallelEnv, actions: np.random.Generator) -> list[Step]:
    steps = []
    while env.agents:
        steps.append(_step(env, actions))
    return steps


def _spoil(step: Step) -> Step:
    """Return a copy and overwrite the original, as a careless user might."""
    kept = copy.deepcopy(step)
    for picture in step[0].values():
        picture[:] = 255 - picture
    for info in step[-1].values():
        info["action_mask"][:] = 7
    for mapping in step:
        mapping.clear()
    return kept
