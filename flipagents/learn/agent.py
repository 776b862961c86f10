"""The base class of all agents: learners and the fixed agents they are compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from array_api_compat import array_namespace

from flipagents.learn.config import LearnerConfig
from flipagents.store import checkpoint
from flipagents.store.checkpoint import CheckpointError, Snapshot
from flipenv.batch import Batch
from flipenv.config import EnvConfig
from flipenv.errors import ConfigError
from flipenv.types import Array, Transition

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

KIND = "flipagents.agent"  # checkpoint kind


class Agent:
    """All agents of an environment as one policy. A subclass only needs `act`.

    An agent with graded preferences also overrides `erase_preference`; `act` without epsilon must erase where it is
    positive.

    env, config: environment and learner configs that it is made for.
    """

    name = ""  # registered name
    learns_together = False  # whether it supports distributed training, see `flipagents.learn.ranks`

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "weigh" in vars(cls):  # would be ignored, and masks would change without an error
            raise TypeError(f"{cls.__name__}.weigh: rename it to erase_preference")

    def __init__(self, env: EnvConfig, config: LearnerConfig) -> None:
        self.env, self.config = env, config

    @property
    def batch_device(self) -> str | None:
        """Device of its batches at inference: a torch device, None for NumPy."""
        return None if self.config.device == "cpu" else self.config.device

    def act(self, batch: Batch, epsilon: float = 0.0) -> Array:
        """Choose actions (B, A) int64, 0 pass and 1 erase, on the batch's array library and device.

        epsilon: share of random actions, 0 for the greedy ones; agents that do not learn ignore it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no act(batch, epsilon)")

    def erase_preference(self, batch: Batch) -> Array:
        """Preference for erasing over passing, (B, A) float32 in [-1, 1]; positive: `act` erases."""
        actions = self.act(batch)
        xp = array_namespace(actions)
        return 2 * xp.astype(actions, xp.float32) - 1

    def observe(self, actions: Array, transition: Transition) -> None:
        """Record the transition after the last `act`; lanes that had ended before it are unchanged."""

    def update(self, progress: float = 0.0) -> dict[str, Tensor]:
        """Do one update; return scalar metrics, still on the device, or none if no update was made.

        progress: completed share of the training, 0..1.
        """
        return {}

    def snapshot(self) -> Snapshot:
        """Everything needed to resume training bit for bit."""
        return Snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Load a snapshot of the same kind of agent."""

    def save(self, folder: str | Path) -> None:
        """Write a checkpoint for inference (see `flipagents.store.checkpoint`); OSError if the disk is full."""
        checkpoint.write(folder, Snapshot(self.weights(), {**identity(self), "env": self.env.to_dict()}), KIND)

    def load(self, folder: str | Path) -> None:
        """Read a checkpoint of `save`; CheckpointError unless it is of the same kind of agent and the same shapes."""
        self.take(checkpoint.read(folder, KIND))

    def network(self) -> Module:
        """Torch module from observations (B, C, P, P) or (B, A, C, P, P) uint8 to `erase_preference`, for export."""
        raise ConfigError(f"agent '{self.name}' has no network to export")

    def weights(self) -> dict[str, Tensor]:
        """Tensors needed for inference, by name."""
        return {}

    def take(self, saved: Snapshot) -> None:
        """Load saved weights; CheckpointError if they belong to another agent."""
        if saved.about.get("agent") != self.name:
            raise CheckpointError(
                f"the checkpoint is of agent {saved.about.get('agent')!r}, this is {self.name!r}; make that agent, "
                "or use load_agent"
            )


class SelfTaught(Agent):
    """An agent with its own training loop, in place of `observe` and `update`."""

    def practise(self, batch: Batch, note: Callable[[Transition], None], progress: float) -> dict[str, Tensor]:
        """Run one round of its own loop on all lanes; return metrics as `update` does.

        note: callback for each step of the batch, before the agent resets the lanes that ended in it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no practise(batch, note, progress)")


def identity(agent: Agent) -> dict[str, Any]:
    """Metadata of an agent in a checkpoint."""
    return {"agent": agent.name, "config": agent.config.to_dict()}
