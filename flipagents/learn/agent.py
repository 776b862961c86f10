"""Who decides what is erased: one protocol for learners and for what they are compared with."""

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

KIND = "flipagents.agent"  # of what `save` writes


class Agent:
    """All agents of an environment as one decision maker. A subclass needs `act` alone.

    Who knows more than yes or no also overrides `weigh`; then `act` without epsilon erases where it is positive.

    env, config: the environment and the learner that it is made for.
    """

    name = ""  # under which it is registered
    learns_together = False  # whether several processes may train it, see `flipagents.learn.ranks`

    def __init__(self, env: EnvConfig, config: LearnerConfig) -> None:
        self.env, self.config = env, config

    @property
    def batch_device(self) -> str | None:
        """Device of the batches that it acts on at inference: a torch device, None for NumPy."""
        return None if self.config.device == "cpu" else self.config.device

    def act(self, batch: Batch, epsilon: float = 0.0) -> Array:
        """Choose actions (B, A) int64, 0 pass and 1 erase, on the batch's array library and device.

        epsilon: share of random actions, 0 for the best known; agents that do not learn ignore it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no act(batch, epsilon)")

    def weigh(self, batch: Batch) -> Array:
        """How much better erasing is than passing, (B, A) float32 in [-1, 1], where `act` chooses; positive: erase."""
        actions = self.act(batch)
        xp = array_namespace(actions)
        return 2 * xp.astype(actions, xp.float32) - 1

    def observe(self, actions: Array, transition: Transition) -> None:
        """Take note of what came of the last `act`; lanes that had ended before it were left as they are."""

    def update(self, progress: float = 0.0) -> dict[str, Tensor]:
        """Learn a little; return numbers () to report, still on the device, none where nothing was learnt.

        progress: share of the training that is done, 0..1.
        """
        return {}

    def snapshot(self) -> Snapshot:
        """All that is needed to go on learning bit for bit."""
        return Snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Take over what `snapshot` of the same kind of agent gave."""

    def save(self, folder: str | Path) -> None:
        """Write what acting needs (see `flipagents.store.checkpoint`); OSError where the disk is full."""
        checkpoint.write(folder, Snapshot(self.weights(), {**identity(self), "env": self.env.to_dict()}), KIND)

    def load(self, folder: str | Path) -> None:
        """Read what `save` wrote; CheckpointError unless it was the same kind of agent of the same shape."""
        self.take(checkpoint.read(folder, KIND))

    def network(self) -> Module:
        """Torch module from what is seen, (B, C, P, P) or (B, A, C, P, P) uint8, to what `weigh` gives: for export."""
        raise ConfigError(f"agent '{self.name}' has no network to export")

    def weights(self) -> dict[str, Tensor]:
        """What acting needs, by name."""
        return {}

    def take(self, saved: Snapshot) -> None:
        """Take over saved weights; CheckpointError where they are another agent's."""
        if saved.about.get("agent") != self.name:
            raise CheckpointError(
                f"saved was agent {saved.about.get('agent')!r}, this is {self.name!r}; make that agent, "
                "or use load_agent"
            )


class SelfTaught(Agent):
    """An agent that brings a training loop of its own, in place of `observe` and `update`."""

    def practise(self, batch: Batch, note: Callable[[Transition], None], progress: float) -> dict[str, Tensor]:
        """Let all lanes act and learn from it, for one round of its own loop; return numbers as `update` does.

        note: to be told of each step of the batch, before lanes that ended in it are reset, which is up to the agent.
        """
        raise NotImplementedError(f"{type(self).__name__} has no practise(batch, note, progress)")


def identity(agent: Agent) -> dict[str, Any]:
    """What a checkpoint says about the agent in it."""
    return {"agent": agent.name, "config": agent.config.to_dict()}
