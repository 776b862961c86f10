"""The batched Gymnasium view: many lanes in one call, without subprocesses, NumPy or torch on any device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from flipenv.batch import Batch, to_numpy
from flipenv.checks import check_actions
from flipenv.config import EnvConfig
from flipenv.errors import ConfigError, EpisodeError
from flipenv.infos import Arrays, joint_infos
from flipenv.pictures.viewer import RENDER_FPS, RENDER_MODES, Viewer
from flipenv.pool import EpisodePool
from flipenv.scorer import Scorer
from flipenv.sources import SourceLike
from flipenv.spaces import joint_actions, observation_space, split
from flipenv.types import Array, Transition

Infos = dict[str, Any]


class EraseVectorEnv(VectorEnv[Array, Array, Array]):
    """`num_envs` lanes of `flipenv.single.EraseEnv`; lane i seeded s is the single environment seeded s + i.

    device: None for NumPy arrays; a torch device ("cpu", "cuda") for tensors that stay on it: observations
    (B, C, P, P) uint8, rewards (B,) float32, ends (B,) bool. Infos are NumPy arrays, each with a `_key` mask;
    in SAME_STEP `final_obs` is an object array as in Gymnasium (with a device, one tensor (B, C, P, P)).
    autoreset_mode: NEXT_STEP, SAME_STEP or DISABLED, as in `gymnasium.vector.AutoresetMode`.
    workers, progress: how the episodes are prepared in advance. Other arguments as in `EraseEnv`.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": RENDER_FPS}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        source: SourceLike | EpisodePool = "phantom",
        *,
        scorer: Scorer | str | None = "contrast",
        config: EnvConfig | Mapping[str, Any] | None = None,
        seed: int | None = None,
        device: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        cache: bool | str | Path = True,
        workers: int | None = None,
        progress: bool = True,
        **options: Any,
    ) -> None:
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise ConfigError(f"num_envs={num_envs!r}; expected a whole number of at least 1")
        if config is None and not isinstance(source, EpisodePool):
            options.setdefault("n_agents", 1)
        self._batch = Batch(
            source,
            num_envs,
            scorer=scorer,
            config=config,
            device=device,
            cache=cache,
            workers=workers,
            progress=progress,
            **options,
        )
        self._batch.seed(seed)
        self.config = self._batch.config
        self.num_envs = num_envs
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self._viewers = [Viewer(self._batch, render_mode, lane) for lane in range(num_envs)]
        self._ended = np.ones(num_envs, np.bool_)
        self.single_observation_space = observation_space(self.config)
        self.single_action_space = spaces.Discrete(joint_actions(self.config))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Array, Infos]:
        """Start episodes. options: "case", an id or one per lane; "reset_mask" (B,) bool, the lanes to reset."""
        options = options or {}
        if isinstance(seed, Sequence) and len(seed) != self.num_envs:
            raise ConfigError(
                f"seed has {len(seed)} entries; expected an int or one entry for each of {self.num_envs} lanes"
            )
        lanes = self._reset_lanes(options.get("reset_mask"))
        case = options.get("case")
        cases = [case] * self.num_envs if case is None or isinstance(case, str | int) else list(case)
        if len(cases) != self.num_envs:
            raise ConfigError(
                f"option 'case' has {len(cases)} entries; expected an id or one for each of {self.num_envs} lanes"
            )
        if isinstance(seed, int):
            seed = [seed + lane for lane in range(self.num_envs)]
        if seed is not None:
            self._batch.seed([lane_seed if lane in lanes else None for lane, lane_seed in enumerate(seed)])
        self._start(lanes, [cases[lane] for lane in lanes])
        which = np.isin(np.arange(self.num_envs), lanes)
        return _first(self._batch.observation()), _masked(joint_infos(self._batch, None), which)

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, Infos]:
        """Let all lanes act, actions (B,) integers; `autoreset_mode` decides how ended lanes are handled.

        Raises EpisodeError before reset, and in mode DISABLED for a lane that ended and was not reset.
        """
        actions = self._actions(actions)
        waiting = np.flatnonzero(self._ended)
        if self.autoreset_mode is AutoresetMode.DISABLED and len(waiting):
            raise EpisodeError(
                f"lanes {waiting.tolist()} ended; reset them with reset(options={{'reset_mask': ended}}) before step()"
            )
        transition = self._batch.step(split(actions, self.config))
        reward, terminated, truncated = self._results(transition)
        infos: Infos = {}
        self._ended = to_numpy(terminated | truncated)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP and len(waiting):
            self._start(waiting.tolist())
            reward[waiting], terminated[waiting], truncated[waiting] = 0, False, False
            self._ended[waiting] = False
        values = joint_infos(self._batch, transition)
        ended = np.flatnonzero(self._ended)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and len(ended):
            infos |= self._final(values, _first(self._batch.observation()))
            for viewer in (self._viewers[lane] for lane in ended):
                viewer.record()
            self._start(ended.tolist())
            fresh = joint_infos(self._batch, None)
            for name, array in values.items():
                array[ended] = fresh[name][ended]
            self._ended[:] = False
        for viewer in self._viewers:
            viewer.record()
        every = np.ones(self.num_envs, np.bool_)
        observations = _first(self._batch.observation())
        return observations, reward, terminated, truncated, {**infos, **_masked(values, every)}

    def masks(self) -> list[npt.NDArray[np.bool_]]:
        """Current segmentation of each lane, (height, width) bool in pixels of its own image."""
        return [self._batch.mask(lane) for lane in range(self.num_envs)]

    def render(self) -> tuple[npt.NDArray[np.uint8] | None, ...]:  # type: ignore[override]
        """One frame (h, w, 3) uint8 per lane, with `render_mode="rgb_array"`."""
        return tuple(viewer.render() for viewer in self._viewers)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the windows of `render_mode="human"`."""
        for viewer in self._viewers:
            viewer.close()

    def _actions(self, actions: Array) -> Array:
        if self._batch.state is None:
            raise EpisodeError("step() before reset(); call reset() first")
        if self._batch.device is None:
            actions = np.asarray(actions)
        check_actions(actions, (self.num_envs,), joint_actions(self.config))
        return actions

    def _reset_lanes(self, mask: Any) -> list[int]:
        if mask is None:
            return list(range(self.num_envs))
        mask = to_numpy(mask) if hasattr(mask, "cpu") else mask
        if getattr(mask, "shape", None) != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ConfigError(
                f"reset_mask is {mask!r}; expected a bool array of shape ({self.num_envs},) with at least one True"
            )
        if self._batch.state is None and not mask.all():
            raise EpisodeError("reset_mask in the first reset(); reset all lanes first")
        return [int(lane) for lane in np.flatnonzero(mask)]

    def _start(self, lanes: list[int], cases: list[Any] | None = None) -> None:
        self._batch.reset(lanes, cases)
        self._ended[lanes] = False
        for lane in lanes:
            self._viewers[lane].record()

    def _results(self, transition: Transition) -> tuple[Array, Array, Array]:
        xp = array_namespace(transition.reward)
        reward = xp.sum(transition.reward, axis=1, dtype=xp.float64 if self._batch.device is None else xp.float32)
        state = transition.state
        return reward, xp.asarray(state.terminated, copy=True), xp.asarray(state.truncated, copy=True)

    def _final(self, values: Arrays, observations: Array) -> Infos:
        """Final observations and infos of ended lanes, before they are reset in the same step."""
        which = self._ended.copy()
        final = observations
        if self._batch.device is None:
            final = np.full(self.num_envs, None, dtype=object)
            for lane in np.flatnonzero(which):
                final[lane] = observations[lane]
        info = _masked({name: array.copy() for name, array in values.items()}, which)
        return {"final_obs": final, "_final_obs": which, "final_info": info, "_final_info": which.copy()}


def vector_env(num_envs: int = 1, *args: Any, **options: Any) -> EraseVectorEnv:
    """Make the batched Gymnasium environment; arguments of `EraseVectorEnv`."""
    return EraseVectorEnv(num_envs, *args, **options)


def _first(observation: Array) -> Array:
    """The first agent's observation (B, C, P, P), a copy that the caller owns."""
    observations = observation[:, 0]
    return array_namespace(observations).asarray(observations, copy=True)


def _masked(arrays: Arrays, which: npt.NDArray[np.bool_]) -> Infos:
    """Gymnasium's form of vector infos: each array with a mask of the lanes to which it applies."""
    return {**arrays, **{f"_{name}": which.copy() for name in arrays}}
