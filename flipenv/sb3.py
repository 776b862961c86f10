"""The Stable-Baselines3 view: lanes of one batch as an SB3 `VecEnv`, no subprocesses. Needs `flip-learning[sb3]`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces

from flipenv.batch import Batch, to_numpy
from flipenv.checks import check_actions
from flipenv.config import EnvConfig
from flipenv.errors import ConfigError, EpisodeError, MissingDependencyError
from flipenv.infos import Arrays, apart_infos, joint_infos, rows
from flipenv.pictures.viewer import Viewer
from flipenv.pool import EpisodePool
from flipenv.scorer import Scorer
from flipenv.sources import SourceLike
from flipenv.spaces import joint_actions, observation_space, split
from flipenv.types import Array, Transition

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise MissingDependencyError("flipenv.sb3 needs Stable-Baselines3: pip install 'flip-learning[sb3]'") from error

Indices = int | Iterable[int] | None
Watch = Callable[[Transition], None]
Rows = npt.NDArray[Any]


def decide_apart(config: EnvConfig) -> bool:
    """Whether each agent has its own observation and so can act on its own."""
    return config.observation == "egocentric" or config.n_agents == 1


def learners(config: EnvConfig) -> int:
    """SB3 environments per lane."""
    return config.n_agents if decide_apart(config) else 1


def action_space(config: EnvConfig) -> spaces.Discrete:
    """Action space of one SB3 environment."""
    return spaces.Discrete(2 if decide_apart(config) else joint_actions(config))


class EraseSB3Env(VecEnv):
    """One SB3 environment for each learner that has its own observation.

    With `observation="egocentric"`, or one agent, every agent of every lane is an SB3 environment with its own reward:
    agent k of lane i has index i * A + k and actions `Discrete(2)`. With `observation="joint"` the agents of a lane
    share an observation, so one environment per lane controls them all, as in the Gymnasium view: `Discrete(2**A)`,
    rewarded with the sum.

    Observations (n, C, P, P) uint8, rewards (n,) float32, dones (n,) bool. An ended lane is reset in the same step; its
    infos then hold `terminal_observation` and `TimeLimit.truncated`, beside those of the other views.
    `env_method("action_masks")` serves MaskablePPO.

    watch: called with each transition before the lanes that ended in it are reset.
    """

    def __init__(self, batch: Batch, *, render_mode: str | None = None, watch: Watch | None = None) -> None:
        config = batch.config
        if config.n_channels > config.window:
            raise ConfigError(
                f"{config.n_channels} channels in a window of {config.window} px: SB3 would take the channels for "
                "pixels; choose a larger window, fewer frames or fewer channels"
            )
        self.batch, self.config = batch, config
        self.render_mode = render_mode
        self.apart = decide_apart(config)
        self._per_lane = learners(config)
        self._watch = watch
        self._viewers = [Viewer(batch, render_mode, lane) for lane in range(batch.n_lanes)]
        self._actions: Rows | None = None
        super().__init__(batch.n_lanes * self._per_lane, observation_space(config), action_space(config))

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed lane i with seed + i at the next reset; None for a random seed."""
        lanes = super().seed(seed)
        self._seeds = [lanes[index // self._per_lane] for index in range(self.num_envs)]
        return self._seeds

    def reset(self) -> Rows:
        """Start an episode in every lane; the option "case" is read from the first SB3 environment of a lane."""
        self.batch.seed(self._seeds[:: self._per_lane])
        self.batch.reset(cases=[options.get("case") for options in self._options[:: self._per_lane]])
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = rows(self._infos(None))
        self._record(range(self.batch.n_lanes))
        return self.observations()

    def observations(self) -> Rows:
        """Current observation of each learner, (n, C, P, P) uint8; the caller owns the array."""
        observations = self.batch.observation()
        observations = observations if self.apart else observations[:, :1, ...]
        return to_numpy(observations).reshape(self.num_envs, *self.observation_space.shape)  # type: ignore[misc]

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Actions that differ from every smaller one, (n, actions) bool: erasing an erased superpixel is masked."""
        return np.asarray(self._infos(None)["action_mask"], np.bool_)

    def step_async(self, actions: Rows) -> None:
        """Store integer actions (n,). Raises EpisodeError before reset, ActionError for invalid ones."""
        if self.batch.state is None:
            raise EpisodeError("step() before reset(); call reset() first")
        actions = np.asarray(actions)
        check_actions(actions, (self.num_envs,), self.action_space.n)  # type: ignore[attr-defined]
        self._actions = actions

    def step_wait(self) -> tuple[Rows, Rows, Rows, list[dict[str, Any]]]:
        """Let all lanes act; return observations, rewards, dones and infos."""
        assert self._actions is not None, "step_wait() needs the actions of step_async(); call that first"
        batch, chosen = self.batch, self._actions
        shaped = chosen.reshape(batch.n_lanes, -1) if self.apart else split(chosen, self.config)
        transition = batch.step(self._placed(shaped))
        if self._watch is not None:
            self._watch(transition)
        state = transition.state
        terminated, truncated = to_numpy(state.terminated), to_numpy(state.truncated)
        ended = np.flatnonzero(terminated | truncated).tolist()
        rewards = to_numpy(transition.reward)
        rewards = rewards.reshape(-1) if self.apart else rewards.sum(1, dtype=np.float32)
        infos = rows(self._infos(transition))
        self._record(range(batch.n_lanes))
        observations = self.observations()
        if ended:
            last = observations
            batch.reset(ended)
            observations, fresh = self.observations(), rows(self._infos(None))
            for index in (lane * self._per_lane + agent for lane in ended for agent in range(self._per_lane)):
                lane = index // self._per_lane
                infos[index]["terminal_observation"] = last[index]
                infos[index]["TimeLimit.truncated"] = bool(truncated[lane] and not terminated[lane])
                self.reset_infos[index] = fresh[index]
            self._record(ended)
        return observations, rewards, np.repeat(terminated | truncated, self._per_lane), infos

    def close(self) -> None:
        """Close the windows of `render_mode="human"`."""
        for viewer in self._viewers:
            viewer.close()

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """One frame (h, w, 3) uint8 per lane, with `render_mode="rgb_array"`."""
        return [viewer.render() for viewer in self._viewers]

    def masks(self) -> list[npt.NDArray[np.bool_]]:
        """Current segmentation of each lane, (height, width) bool in pixels of its own image."""
        return [self.batch.mask(lane) for lane in range(self.batch.n_lanes)]

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """The attribute of this environment, once per index: lanes share everything but their state."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute for all lanes; ConfigError if `indices` selects some."""
        if sorted(self._get_indices(indices)) != list(range(self.num_envs)):
            raise ConfigError(f"set_attr('{attr_name}') for some indices; lanes share attributes: omit indices")
        setattr(self, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Rows of `action_masks`; nothing for `render`, since `render_mode="human"` already shows each step."""
        chosen = list(self._get_indices(indices))
        if method_name == "render":
            return [None for _ in chosen]
        if method_name != "action_masks":
            raise ConfigError(f"env_method('{method_name}'); lanes only have the methods action_masks and render")
        return list(self.action_masks()[chosen])

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Indices = None) -> list[bool]:
        """False for each lane: lanes have no wrappers."""
        return [False for _ in self._get_indices(indices)]

    def _infos(self, transition: Transition | None) -> Arrays:
        return (apart_infos if self.apart else joint_infos)(self.batch, transition)

    def _placed(self, actions: Rows) -> Array:
        state = self.batch.state
        xp = array_namespace(state.step)  # type: ignore[union-attr]
        return xp.asarray(actions.astype(np.int64), device=self.batch.device or "cpu")

    def _record(self, lanes: Iterable[int]) -> None:
        for lane in lanes:
            self._viewers[lane].record()


def sb3_env(
    lanes: int = 1,
    source: SourceLike | EpisodePool = "phantom",
    *,
    scorer: Scorer | str | None = "contrast",
    config: EnvConfig | Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str | None = None,
    render_mode: str | None = None,
    cache: bool | str | Path = True,
    workers: int | None = None,
    progress: bool = True,
    **options: Any,
) -> EraseSB3Env:
    """Make `lanes` lanes for SB3; arguments of `flipenv.vector_env`.

    Without a config, `observation="egocentric"` is used, so each agent is a learner of its own.
    """
    if config is None and not isinstance(source, EpisodePool):
        options.setdefault("observation", "egocentric")
    batch = Batch(
        source,
        lanes,
        scorer=scorer,
        config=config,
        device=device,
        cache=cache,
        workers=workers,
        progress=progress,
        **options,
    )
    batch.seed(seed)
    return EraseSB3Env(batch, render_mode=render_mode)
