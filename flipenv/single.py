"""The Gymnasium view: one learner that controls all agents, or the only one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from flipenv.batch import Batch
from flipenv.checks import check_action
from flipenv.config import EnvConfig
from flipenv.errors import EpisodeError
from flipenv.infos import joint_infos, rows
from flipenv.pictures.viewer import RENDER_FPS, RENDER_MODES, Viewer
from flipenv.pool import EpisodePool
from flipenv.scorer import Scorer
from flipenv.sources import SourceLike
from flipenv.spaces import joint_actions, observation_space, split
from flipenv.types import Transition


class EraseEnv(gymnasium.Env[npt.NDArray[np.uint8], int]):
    """All agents as one: bit k of the action is agent k's action, the reward is the sum over agents.

    With one agent that is Discrete(2): pass (0) or erase (1). The observation is the first agent's. Arguments as in
    `flipenv.parallel.EraseParallelEnv`; `n_agents` defaults to 1.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": RENDER_FPS}  # noqa: RUF012

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
        if config is None and not isinstance(source, EpisodePool):
            options.setdefault("n_agents", 1)
        self._batch = Batch(source, scorer=scorer, config=config, cache=cache, **options)
        self._batch.seed(seed)
        self.config = self._batch.config
        self.render_mode = render_mode
        self._viewer = Viewer(self._batch, render_mode)
        self._ended = True
        self.observation_space: spaces.Box = observation_space(self.config)  # type: ignore[assignment]
        self.action_space: spaces.Discrete = spaces.Discrete(joint_actions(self.config))  # type: ignore[assignment]

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        """Start an episode; options={"case": id} chooses the case, other options are ignored."""
        super().reset(seed=seed)
        self._batch.seed(seed)
        self._np_random = self._batch.generators[0]
        self._batch.reset(cases=[(options or {}).get("case")])
        self._ended = False
        self._viewer.record()
        return np.array(self._batch.observation()[0, 0]), self._info(None)

    def step(self, action: int) -> tuple[npt.NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Let all agents act. Raises EpisodeError before reset and after the end, ActionError for a bad action."""
        if self._ended:
            when = "before reset()" if self._batch.state is None else "after the end of the episode"
            raise EpisodeError(f"step() {when}; call reset() first")
        joint = np.array([check_action(action, joint_actions(self.config))], np.int64)
        transition = self._batch.step(split(joint, self.config))
        terminated, truncated = bool(transition.state.terminated[0]), bool(transition.state.truncated[0])
        self._ended = terminated or truncated
        self._viewer.record()
        reward = float(transition.reward[0].sum())
        observation = np.array(self._batch.observation()[0, 0])
        return observation, reward, terminated, truncated, self._info(transition)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Actions that differ from every smaller one, (2^A,) bool, in the form that MaskablePPO expects."""
        return np.asarray(self._info(None)["action_mask"], np.bool_)

    def mask(self) -> npt.NDArray[np.bool_]:
        """The current segmentation, (height, width) bool in pixels of the case's image."""
        return self._batch.mask()

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """Keys for `gymnasium.utils.play.play`: p passes, space erases with all agents, 1 with the first alone."""
        agents = range(self.config.n_agents)
        chosen = {
            tuple(str(agent + 1) for agent in agents if action >> agent & 1): action
            for action in range(1, joint_actions(self.config))
        }
        return {("p",): 0, (" ",): joint_actions(self.config) - 1, **chosen}

    def render(self) -> npt.NDArray[np.uint8] | None:
        """One frame, (h, w, 3) uint8, with `render_mode="rgb_array"`."""
        return self._viewer.render()

    def close(self) -> None:
        """Close the window of `render_mode="human"`."""
        self._viewer.close()

    def _info(self, transition: Transition | None) -> dict[str, Any]:
        return rows(joint_infos(self._batch, transition))[0]
