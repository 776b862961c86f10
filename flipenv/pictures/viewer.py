"""Rendering of a running lane, in a window or as an array."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flipenv.batch import Batch, to_numpy
from flipenv.errors import ConfigError, EpisodeError
from flipenv.pictures.render import Scene, draw
from flipenv.pictures.window import Window
from flipenv.types import Episode

RENDER_MODES = ["human", "rgb_array"]
RENDER_FPS = 10


class Viewer:
    """Draws one lane of a batch; `record` is called after each reset and step."""

    def __init__(self, batch: Batch, render_mode: str | None, lane: int = 0) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ConfigError(f"render_mode={render_mode!r}; expected one of {RENDER_MODES} or None")
        self.mode = render_mode
        self._batch, self._lane = batch, lane
        self._window = Window() if render_mode == "human" else None
        self._scores: list[float] = []
        self._areas: list[float] = []

    def record(self) -> None:
        """Record score and erased share; in mode `human`, show the frame."""
        if self.mode is None:
            return
        step = self._scene_value("step")
        if step == 0:
            self._scores, self._areas = [], []
        erased = to_numpy(self._batch.erased()[self._lane])
        self._scores.append(float(self._scene_value("score")))
        self._areas.append(float(erased.sum() / max((self._episode().labels >= 0).sum(), 1)))
        if self._window is not None:
            self._window.show(draw(self.scene()))

    def render(self) -> npt.NDArray[np.uint8] | None:
        """The frame (h, w, 3) uint8 in mode `rgb_array`, else None."""
        if self.mode is None:
            raise ConfigError(f"render() with render_mode=None; pass one of {RENDER_MODES} when making the environment")
        if self._batch.state is None:
            raise EpisodeError("render() before reset(); call reset() first")
        if self._window is not None:
            return None
        return draw(self.scene())

    def scene(self) -> Scene:
        """The current step of the lane."""
        batch, lane, episode = self._batch, self._lane, self._episode()
        config = batch.config
        steps = config.traversals * episode.order.shape[1]
        here = to_numpy(self._scene_value("here"))
        return Scene(
            image=episode.image,
            canvas=to_numpy(self._scene_value("canvas")),
            labels=episode.labels,
            erased=to_numpy(batch.erased()[lane]),
            box=episode.box,
            area=episode.area,
            cursors=here,
            centers=episode.centers[here],
            window=config.window,
            score=float(self._scene_value("score")),
            step=int(self._scene_value("step")),
            steps=min(steps, config.max_cycles or steps),
            scores=list(self._scores),
            areas=list(self._areas),
        )

    def close(self) -> None:
        """Close the window, if any; safe to call twice."""
        if self._window is not None:
            self._window.close()

    def _episode(self) -> Episode:
        return self._batch.pool.episode(int(self._batch.drawn[self._lane]))

    def _scene_value(self, name: str) -> Any:
        return getattr(self._batch.state, name)[self._lane]
