"""Agents that do not learn: what learners are compared with, on any array library."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace, device

from flipagents.learn.agent import Agent
from flipagents.learn.config import LearnerConfig
from flipagents.store.checkpoint import Snapshot
from flipenv import core
from flipenv.batch import Batch, to_numpy
from flipenv.config import CanvasSpec, EnvConfig
from flipenv.episode import mask_on_canvas
from flipenv.errors import ConfigError, MaskError
from flipenv.pixels import Mask
from flipenv.types import Array, Episode


class RandomAgent(Agent):
    """Erases or passes with equal chance."""

    def __init__(self, env: EnvConfig, config: LearnerConfig) -> None:
        super().__init__(env, config)
        self.generator = np.random.default_rng(config.seed)

    def act(self, batch: Batch, epsilon: float = 0.0) -> Array:
        """Draw actions (B, A)."""
        return _like(batch, self.generator.integers(0, 2, (batch.n_lanes, self.env.n_agents)))

    def snapshot(self) -> Snapshot:
        """The random generator."""
        return Snapshot(about={"generator": self.generator.bit_generator.state})

    def restore(self, snapshot: Snapshot) -> None:
        """Take over the random generator."""
        self.generator.bit_generator.state = snapshot.about["generator"]


class GreedyAgent(Agent):
    """Erases where erasing alone pays the agent more than if all pass, one step ahead, by the batch's own scorer."""

    def act(self, batch: Batch, epsilon: float = 0.0) -> Array:
        """Try erasing for one agent after the other, on a copy; the batch is left as it is."""
        assert batch.episodes is not None
        assert batch.state is not None
        xp = array_namespace(batch.state.here)
        nobody = xp.zeros_like(batch.state.here, dtype=xp.int64)

        def pay(actions: Array) -> Array:
            return core.step(batch.episodes, batch.state, actions, batch.scorer, batch.config).reward  # type: ignore[arg-type]

        number = xp.arange(self.env.n_agents, device=device(nobody))
        idle = pay(nobody)
        better = []
        for agent in range(self.env.n_agents):
            alone = nobody + xp.astype(number == agent, xp.int64)
            better.append(pay(alone)[:, agent] > idle[:, agent])
        return xp.astype(xp.stack(better, axis=1), xp.int64)


class OracleAgent(Agent):
    """Erases superpixels that are more than half nodule: the most that any agent reaches with these superpixels.

    evaluation: must be True; masks: (height, width) bool in image pixels by case id. Raises ConfigError without both,
    MaskError for a case that has no mask among them. Nothing is read: a mask that was not given is not used.
    """

    def __init__(
        self,
        env: EnvConfig,
        config: LearnerConfig,
        *,
        evaluation: bool = False,
        masks: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    ) -> None:
        super().__init__(env, config)
        if not evaluation or masks is None:
            raise ConfigError(
                "agent 'oracle' looks at masks and is an upper bound for evaluation, not a learner; to evaluate pass "
                "evaluation=True and masks={case id: (height, width) bool}"
            )
        self.masks = masks
        self._nodule: dict[int, npt.NDArray[np.bool_]] = {}  # episode of the pool -> (S,), which to erase

    def act(self, batch: Batch, epsilon: float = 0.0) -> Array:
        """Erase where the superpixel under the agent is more than half nodule."""
        assert batch.state is not None
        here = to_numpy(batch.state.here)
        rows = [self._decide(batch, int(episode))[here[lane]] for lane, episode in enumerate(batch.drawn)]
        return _like(batch, np.stack(rows).astype(np.int64))

    def _decide(self, batch: Batch, index: int) -> npt.NDArray[np.bool_]:
        if index not in self._nodule:
            episode = batch.pool.episode(index)
            if episode.id not in self.masks:
                raise MaskError(f"agent 'oracle' was given no mask of case '{episode.id}'; add it to masks")
            self._nodule[index] = mostly_nodule(episode, self.masks[episode.id], batch.config.canvas)
        return self._nodule[index]


def _like(batch: Batch, actions: npt.NDArray[np.int64]) -> Array:
    """Actions on the array library and device of the batch."""
    assert batch.state is not None
    here = batch.state.here
    return array_namespace(here).asarray(actions, device=device(here))


def mostly_nodule(episode: Episode, mask: Mask, canvas: CanvasSpec) -> Mask:
    """Which superpixels, (S,) bool, are more than half covered by a mask (height, width) of the image."""
    inside = episode.labels >= 0
    labels, nodule = episode.labels[inside], mask_on_canvas(mask, episode.geometry, canvas)[inside]
    covered = np.bincount(labels, nodule, episode.n_superpixels)
    more: Mask = covered > np.bincount(labels, minlength=episode.n_superpixels) / 2
    return more
