"""Double deep Q-learning: the paper's agents, independent learners, and value decomposition."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from flipagents.learn import ranks
from flipagents.learn.agent import Agent, identity
from flipagents.learn.config import LearnerConfig
from flipagents.learn.losses import chosen, td_loss, td_target, value_decomposition
from flipagents.learn.networks import make_network
from flipagents.learn.replay import ReplayBuffer, Sample
from flipagents.store.checkpoint import Snapshot, prefixed
from flipagents.store.torch_state import adam_tensors, fill_adam, fill_network
from flipenv.batch import Batch, to_numpy
from flipenv.config import EnvConfig
from flipenv.types import Array, Transition


class QAgent(Agent):
    """Learns Q-values of pass and erase from replayed transitions, with a target network (paper, Eq. 3 and 4).

    shared: one trunk for all agents (paper), or one network per agent. summed: fit the sum of the agents' values to the
    sum of their rewards (value decomposition), or each agent's value to its own reward (paper).
    """

    learns_together = True

    def __init__(self, env: EnvConfig, config: LearnerConfig, *, shared: bool = True, summed: bool = False) -> None:
        super().__init__(env, config)
        self.summed, self.joint = summed, env.observation == "joint"
        self.online = make_network(env, config, shared=shared).eval()
        self.target = make_network(env, config, shared=shared).eval().requires_grad_(False)
        self.generator = torch.Generator(config.device).manual_seed(config.seed + ranks.rank())
        self.updates = 0
        self.replay: ReplayBuffer | None = None
        self._acted_on: tuple[Tensor, Tensor] | None = None

    @cached_property
    def optimiser(self) -> torch.optim.Adam:
        """Created at the first update: torch then imports its compiler, a second that inference does not need."""
        config = self.config
        return torch.optim.Adam(self.online.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)

    def act(self, batch: Batch, epsilon: float = 0.0) -> Array:
        """Choose the action of higher value, or a random one with probability epsilon."""
        observation = self._observation(batch)
        actions = self.values(observation).argmax(-1)
        if epsilon > 0:
            actions = explore(actions, epsilon, self.generator)
        state = batch.state
        assert state is not None
        live = torch.as_tensor(~(state.terminated | state.truncated), device=self.config.device)
        self._acted_on = observation, live
        return to_numpy(actions) if batch.device is None else actions

    def erase_preference(self, batch: Batch) -> Array:
        """Value of erasing minus value of passing, clipped to [-1, 1]."""
        better = preference(self.values(self._observation(batch)))
        return to_numpy(better) if batch.device is None else better

    def _observation(self, batch: Batch) -> Tensor:
        array = batch.observation()[:, 0, ...] if self.joint else batch.observation()
        return torch.as_tensor(to_numpy(array) if batch.device is None else array, device=self.config.device)

    def values(self, observation: Tensor) -> Tensor:
        """Values (B, A, 2) of pass and erase, for (B, C, P, P) or (B, A, C, P, P) uint8."""
        with torch.inference_mode(), self._autocast():
            return self.online(observation)  # type: ignore[no-any-return]

    def observe(self, actions: Array, transition: Transition) -> None:
        """Add the transition of the last `act` to the replay buffer."""
        assert self._acted_on is not None, "observe() records the result of act(); call act() first"
        observation, live = self._acted_on
        if self.replay is None:
            self.replay = ReplayBuffer(tuple(observation.shape[1:]), self.env.n_agents, self.config)
        state = transition.state
        results = (actions, transition.reward, state.terminated, state.truncated)
        chosen, rewards, terminated, truncated = (
            torch.as_tensor(array, device=self.config.device) for array in results
        )
        self.replay.add(observation, chosen, rewards, terminated, truncated, live)

    def update(self, progress: float = 0.0) -> dict[str, Tensor]:
        """One gradient step on one batch, once `warmup` transitions are stored.

        Returns loss, q (mean value of the actions taken), td_error (mean size) and gradient (norm before clipping).
        """
        config = self.config
        if self.replay is None or len(self.replay) < max(config.warmup, 1):
            return {}
        beta = config.priority_beta + (1 - config.priority_beta) * progress
        sample = self.replay.sample(config.batch_size, self.generator, beta)
        target = self._target(sample)
        self.online.train()
        with self._autocast():
            value = chosen(self.online(sample.observation), sample.actions)
        self.online.eval()
        q = value.detach().mean()
        if self.summed:
            value, target = value_decomposition(value, target)
        loss, error = td_loss(value, target, sample.weight, config.loss)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        ranks.average(parameter.grad for parameter in self.online.parameters() if parameter.grad is not None)
        ranks.average(self.online.buffers())  # means and variances of batch normalisation
        limit = float("inf") if config.gradient_clip is None else config.gradient_clip
        gradient = torch.nn.utils.clip_grad_norm_(self.online.parameters(), limit)
        self.optimiser.step()
        if config.prioritised:
            self.replay.reprioritise(sample.index, error)
        self.updates += 1
        if self.updates % config.target_every == 0:
            self.target.load_state_dict(self.online.state_dict())
        return {"loss": loss.detach(), "q": q, "td_error": error.mean(), "gradient": gradient}

    def snapshot(self) -> Snapshot:
        """Networks, optimiser, replay buffer and random generator."""
        tensors = {
            **prefixed("online", self.online.state_dict()),
            **prefixed("target", self.target.state_dict()),
            "generator": self.generator.get_state(),
        }
        tensors |= prefixed("optimiser", adam_tensors(self.optimiser, self.online.parameters()))
        if self.replay is not None:
            tensors |= prefixed("replay", self.replay.tensors())
        return Snapshot(tensors, {**identity(self), "updates": self.updates})

    def restore(self, snapshot: Snapshot) -> None:
        """Load a snapshot; CheckpointError if it does not fit."""
        fill_network(self.online, snapshot.under("online"))
        fill_network(self.target, snapshot.under("target"))
        self.generator.set_state(snapshot.tensors["generator"])
        fill_adam(self.optimiser, self.online.parameters(), Snapshot(snapshot.under("optimiser")))
        kept = snapshot.under("replay")
        if kept:
            shape = tuple(kept["observation"].shape[2:])
            self.replay = ReplayBuffer(shape, self.env.n_agents, self.config)
            self.replay.restore(kept)
        self.updates = int(snapshot.about["updates"])

    def network(self) -> torch.nn.Module:
        """Online network followed by `preference`."""
        return Preference(self.online)

    def weights(self) -> dict[str, Tensor]:
        """The online network."""
        return dict(self.online.state_dict())

    def take(self, saved: Snapshot) -> None:
        """Load saved weights, also into the target network."""
        super().take(saved)
        fill_network(self.online, saved.tensors)
        fill_network(self.target, saved.tensors)

    def _target(self, sample: Sample) -> Tensor:
        if self.config.gamma == 0:  # the next value has no weight: saves two forward passes
            return sample.reward
        with torch.no_grad(), self._autocast():
            judged = self.target(sample.next_observation)
            choice = self.online(sample.next_observation) if self.config.double else None
        return td_target(sample.reward, sample.factor, judged, choice)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(torch.device(self.config.device).type, torch.bfloat16, enabled=self.config.autocast)


class Preference(torch.nn.Module):
    """Module from observations to the preference for erasing over passing."""

    def __init__(self, values: torch.nn.Module) -> None:
        super().__init__()
        self.values = values

    def forward(self, observation: Tensor) -> Tensor:
        """See `Agent.network`."""
        return preference(self.values(observation))


def explore(actions: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """Actions (B, A) int64, a share of epsilon of them drawn at random."""
    draw = torch.rand((*actions.shape, 2), generator=generator, device=actions.device)
    return torch.where(draw[..., 0] < epsilon, (draw[..., 1] < 0.5).long(), actions)


def preference(values: Tensor) -> Tensor:
    """Value of erasing minus value of passing, clipped to [-1, 1]: (B, A, 2) to (B, A)."""
    return (values[..., 1] - values[..., 0]).clamp(-1, 1)


def ddqn(env: EnvConfig, config: LearnerConfig) -> QAgent:
    """Double DQN with a shared trunk and one head per agent (paper)."""
    return QAgent(env, config)


def independent(env: EnvConfig, config: LearnerConfig) -> QAgent:
    """Double DQN with one network per agent."""
    return QAgent(env, config, shared=False)


def vdn(env: EnvConfig, config: LearnerConfig) -> QAgent:
    """Value decomposition: the sum of the agents' values is fitted to the summed reward."""
    return QAgent(env, config, summed=True)
