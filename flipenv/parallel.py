"""The PettingZoo view: several agents that act simultaneously."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import parallel_to_aec

from flipenv.batch import Batch, to_numpy
from flipenv.checks import check_action
from flipenv.config import EnvConfig
from flipenv.errors import ActionError, EpisodeError
from flipenv.infos import apart_infos, rows
from flipenv.pictures.viewer import RENDER_FPS, RENDER_MODES, Viewer
from flipenv.pool import EpisodePool
from flipenv.scorer import Scorer
from flipenv.sources import SourceLike
from flipenv.spaces import agent_names, observation_space, state_space
from flipenv.types import Array

Pictures = dict[str, npt.NDArray[np.uint8]]
Infos = dict[str, dict[str, Any]]


class EraseParallelEnv(ParallelEnv[str, npt.NDArray[np.uint8], int]):  # type: ignore[misc]
    """Agents visit the superpixels of a boxed nodule and pass (0) or erase (1) each one.

    source: where cases come from, see `flipenv.sources.open_source`; or a shared `EpisodePool`.
    scorer: nodule score of the canvas; "contrast", None (then beta=None), or any function of canvases.
    seed: used by the first reset without a seed.
    cache: where prepared episodes are kept: True for the default folder, a folder, or False.
    config, options: an `EnvConfig` and changes to it.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - the form that PettingZoo reads
        "name": "erase_to_segment_v0",
        "render_modes": RENDER_MODES,
        "render_fps": RENDER_FPS,
        "is_parallelizable": True,
    }

    def __init__(
        self,
        source: SourceLike | EpisodePool = "phantom",
        *,
        scorer: Scorer | str | None = "contrast",
        config: EnvConfig | Mapping[str, Any] | None = None,
        seed: int | None = None,
        render_mode: str | None = None,
        cache: bool | str | Path = True,
        **options: Any,
    ) -> None:
        self._batch = Batch(source, scorer=scorer, config=config, cache=cache, **options)
        self._batch.seed(seed)
        self.config = self._batch.config
        self.render_mode = render_mode
        self._viewer = Viewer(self._batch, render_mode)
        self.possible_agents = agent_names(self.config)
        self.agents: list[str] = []
        self.observation_spaces = {agent: observation_space(self.config) for agent in self.possible_agents}
        self.action_spaces = {agent: spaces.Discrete(2) for agent in self.possible_agents}
        self.state_space = state_space(self.config)

    def observation_space(self, agent: str) -> spaces.Box:
        """(C, P, P) uint8; every call returns the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        """Discrete(2): 0 pass, 1 erase; every call returns the same object."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[Pictures, Infos]:
        """Start an episode; options={"case": id} chooses the case, other options are ignored as PettingZoo requires."""
        self._batch.seed(seed)
        self._batch.reset(cases=[(options or {}).get("case")])
        self.agents = list(self.possible_agents)
        self._viewer.record()
        return self._observations(self._batch.observation()), self._infos()

    def step(
        self, actions: Mapping[str, int]
    ) -> tuple[Pictures, dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Let each agent act once. Raises EpisodeError before reset and after the end, ActionError for a bad action."""
        if not self.agents:
            when = "before reset()" if self._batch.state is None else "after the end of the episode"
            raise EpisodeError(f"step() {when}; call reset() first")
        if set(actions) != set(self.agents):
            raise ActionError(f"actions are for {sorted(actions)}; expected one for each of {self.agents}")
        chosen = np.array([[check_action(actions[agent], 2, agent) for agent in self.agents]], np.int64)
        transition = self._batch.step(chosen)
        agents, state = self.agents, transition.state
        ended = bool(state.terminated[0]), bool(state.truncated[0])
        rewards = dict(zip(agents, transition.reward[0].tolist(), strict=True))
        observations, infos = self._observations(self._batch.observation()), self._infos(transition)
        if any(ended):
            self.agents = []
        self._viewer.record()
        return observations, rewards, dict.fromkeys(agents, ended[0]), dict.fromkeys(agents, ended[1]), infos

    def state(self) -> npt.NDArray[np.uint8]:
        """The whole canvas, (3, H, W) uint8, as `state_space` says."""
        if self._batch.state is None or self._batch.episodes is None:
            raise EpisodeError("state() before reset(); call reset() first")
        labels = to_numpy(self._batch.episodes.labels[0])
        here = np.isin(labels, to_numpy(self._batch.state.here[0]))
        marks = np.stack([to_numpy(self._batch.erased()[0]), here]).astype(np.uint8) * 255
        return np.concatenate([to_numpy(self._batch.state.canvas[:1]), marks])

    def mask(self) -> npt.NDArray[np.bool_]:
        """The current segmentation, (height, width) bool in pixels of the case's image."""
        return self._batch.mask()

    def render(self) -> npt.NDArray[np.uint8] | None:
        """One frame, (h, w, 3) uint8, with `render_mode="rgb_array"`."""
        return self._viewer.render()

    def close(self) -> None:
        """Close the window of `render_mode="human"`."""
        self._viewer.close()

    def _observations(self, observations: Array) -> Pictures:
        return {agent: np.array(picture) for agent, picture in zip(self.possible_agents, observations[0], strict=True)}

    def _infos(self, transition: Any = None) -> Infos:
        return dict(zip(self.possible_agents, rows(apart_infos(self._batch, transition)), strict=True))


def parallel_env(*args: Any, **options: Any) -> EraseParallelEnv:
    """Make the PettingZoo parallel environment; arguments of `EraseParallelEnv`."""
    return EraseParallelEnv(*args, **options)


def env(*args: Any, **options: Any) -> AECEnv[str, npt.NDArray[np.uint8], int]:
    """Make the turn-based (AEC) environment; arguments of `EraseParallelEnv`."""
    return parallel_to_aec(EraseParallelEnv(*args, **options))
