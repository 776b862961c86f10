"""Who decides what is erased: one protocol for learners and for what they are compared with, chosen by name.

    @AGENTS.register("mine")
    class Mine(Agent):
        def act(self, batch, epsilon=0.0): ...

A package offers agents without being imported first through entry points of the group `flipagents.agents`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from array_api_compat import array_namespace, device
from torch import Tensor

from flipagents import checkpoint
from flipagents.checkpoint import CheckpointError, Snapshot, adam_tensors, fill_adam, fill_network, prefixed
from flipagents.config import LearnerConfig
from flipagents.losses import chosen, td_loss, td_target, value_decomposition
from flipagents.networks import make_network
from flipagents.replay import ReplayBuffer, Sample
from flipenv import core
from flipenv.batch import Batch, to_numpy
from flipenv.config import EnvConfig
from flipenv.episode import mask_on_canvas
from flipenv.errors import ConfigError, MaskError
from flipenv.registry import Registry, unknown
from flipenv.types import Array, Transition

GROUP = "flipagents.agents"  # entry points
KIND = "flipagents.agent"  # of what `save` writes


class Agent:
    """All agents of an environment as one decision maker. A subclass needs `act` alone.

    Who knows more than yes or no also overrides `weigh`; then `act` without epsilon erases where it is positive.

    env, config: the environment and the learner that it is made for.
    """

    name = ""  # under which it is registered

    def __init__(self, env: EnvConfig, config: LearnerConfig) -> None:
        self.env, self.config = env, config

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
        """Write what acting needs (see `flipagents.checkpoint`); OSError where the disk is full."""
        checkpoint.write(folder, Snapshot(self.weights(), {**identity(self), "env": self.env.to_dict()}), KIND)

    def load(self, folder: str | Path) -> None:
        """Read what `save` wrote; CheckpointError unless it was the same kind of agent of the same shape."""
        self.take(checkpoint.read(folder, KIND))

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


AgentMaker: TypeAlias = Callable[..., Agent]  # (EnvConfig, LearnerConfig, **options) -> Agent
AGENTS: Registry[AgentMaker] = Registry("agent")


def agent_names() -> list[str]:
    """All agents that can be made, registered here or offered by installed packages."""
    return sorted({*AGENTS, *entry_points(group=GROUP).names})


def make_agent(
    name: str,
    env: EnvConfig | Mapping[str, Any] | None = None,
    config: LearnerConfig | Mapping[str, Any] | str | None = None,
    **options: Any,
) -> Agent:
    """Make an agent by name; options are its own. ConfigError for a name that nobody registered."""
    if name not in AGENTS:
        for entry in entry_points(group=GROUP, name=name):
            AGENTS.register(name)(entry.load())
    if name not in AGENTS:
        raise ConfigError(unknown(AGENTS.kind, name, agent_names()))
    agent = AGENTS[name](EnvConfig.of(env), LearnerConfig.of(config), **options)
    agent.name = name
    return agent


def load_agent(folder: str | Path, device: str = "cpu", **options: Any) -> Agent:
    """Make the agent that `save` wrote and give it its weights; CheckpointError where the folder holds none."""
    saved = checkpoint.read(folder, KIND)
    about = saved.about
    agent = make_agent(about["agent"], about["env"], {**about["config"], "device": device}, **options)
    agent.take(saved)
    return agent


class QAgent(Agent):
    """Learns the values of pass and erase from replayed transitions, with a target network (paper, Eq. 3 and 4).

    shared: one trunk for all agents (paper), or a network each. summed: fit the sum of the agents' values to the sum
    of their rewards (value decomposition), or each agent's value to its own reward (paper).
    """

    def __init__(self, env: EnvConfig, config: LearnerConfig, *, shared: bool = True, summed: bool = False) -> None:
        super().__init__(env, config)
        self.summed, self.joint = summed, env.observation == "joint"
        self.online = make_network(env, config, shared=shared).eval()
        self.target = make_network(env, config, shared=shared).eval().requires_grad_(False)
        self.optimiser = torch.optim.Adam(
            self.online.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.generator = torch.Generator(config.device).manual_seed(config.seed)
        self.updates = 0
        self.replay: ReplayBuffer | None = None
        self._acted_on: tuple[Tensor, Tensor] | None = None

    def act(self, batch: Batch, epsilon: float = 0.0) -> Array:
        """Choose the action of higher value, or with chance epsilon any."""
        seen = self._seen(batch)
        actions = self.values(seen).argmax(-1)
        if epsilon > 0:
            actions = explore(actions, epsilon, self.generator)
        state = batch.state
        assert state is not None
        live = torch.as_tensor(~(state.terminated | state.truncated), device=self.config.device)
        self._acted_on = seen, live
        return to_numpy(actions) if batch.device is None else actions

    def weigh(self, batch: Batch) -> Array:
        """Value of erasing minus that of passing, clipped: a reward of 1 and more is as sure as it gets."""
        values = self.values(self._seen(batch))
        better = (values[..., 1] - values[..., 0]).clamp(-1, 1)
        return to_numpy(better) if batch.device is None else better

    def _seen(self, batch: Batch) -> Tensor:
        seen = batch.observation()[:, 0, ...] if self.joint else batch.observation()
        return torch.as_tensor(to_numpy(seen) if batch.device is None else seen, device=self.config.device)

    def values(self, seen: Tensor) -> Tensor:
        """Values (B, A, 2) of pass and erase, for (B, C, P, P) or (B, A, C, P, P) uint8."""
        with torch.inference_mode(), self._autocast():
            return self.online(seen)  # type: ignore[no-any-return]

    def observe(self, actions: Array, transition: Transition) -> None:
        """Put what the last `act` led to into the replay buffer."""
        assert self._acted_on is not None, "observe() tells what came of act(); call act() first"
        seen, live = self._acted_on
        if self.replay is None:
            self.replay = ReplayBuffer(tuple(seen.shape[1:]), self.env.n_agents, self.config)
        state = transition.state
        told = (actions, transition.reward, state.terminated, state.truncated)
        did, paid, terminated, truncated = (torch.as_tensor(each, device=self.config.device) for each in told)
        self.replay.add(seen, did, paid, terminated, truncated, live)

    def update(self, progress: float = 0.0) -> dict[str, Tensor]:
        """One gradient step on one batch, once `warmup` transitions are there.

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
        """Take over a snapshot; CheckpointError where it does not fit."""
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

    def weights(self) -> dict[str, Tensor]:
        """The online network."""
        return dict(self.online.state_dict())

    def take(self, saved: Snapshot) -> None:
        """Take over saved weights, for the target network too."""
        super().take(saved)
        fill_network(self.online, saved.tensors)
        fill_network(self.target, saved.tensors)

    def _target(self, sample: Sample) -> Tensor:
        if self.config.gamma == 0:  # what follows counts for nothing: two passes saved
            return sample.reward
        with torch.no_grad(), self._autocast():
            judged = self.target(sample.next_observation)
            choice = self.online(sample.next_observation) if self.config.double else None
        return td_target(sample.reward, sample.factor, judged, choice)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(torch.device(self.config.device).type, torch.bfloat16, enabled=self.config.autocast)


@AGENTS.register("ddqn")
def ddqn(env: EnvConfig, config: LearnerConfig) -> QAgent:
    """Double DQN with a trunk that the agents share and a head each: the paper's."""
    return QAgent(env, config)


@AGENTS.register("independent")
def independent(env: EnvConfig, config: LearnerConfig) -> QAgent:
    """Double DQN, a network for each agent."""
    return QAgent(env, config, shared=False)


@AGENTS.register("vdn")
def vdn(env: EnvConfig, config: LearnerConfig) -> QAgent:
    """Value decomposition: the agents' values add up to the value of the summed reward."""
    return QAgent(env, config, summed=True)


@AGENTS.register("random")
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


@AGENTS.register("greedy")
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


@AGENTS.register("oracle")
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
            nodule = mask_on_canvas(self.masks[episode.id], episode.geometry, batch.config.canvas)
            labels = episode.labels
            inside, count = labels >= 0, episode.n_superpixels
            covered = np.bincount(labels[inside], nodule[inside], count)
            self._nodule[index] = covered > 0.5 * np.bincount(labels[inside], minlength=count)
        return self._nodule[index]


def _like(batch: Batch, actions: npt.NDArray[np.int64]) -> Array:
    return actions if batch.device is None else torch.as_tensor(actions, device=batch.device)


@AGENTS.register("sb3-dqn")
def sb3_dqn(env: EnvConfig, config: LearnerConfig, **options: Any) -> Agent:
    """DQN of Stable-Baselines3, trained by its own loop; needs `flip-learning[sb3]`."""
    from flipagents.sb3_agents import SB3DQN  # noqa: PLC0415 - Stable-Baselines3 is optional

    return SB3DQN(env, config, **options)


@AGENTS.register("sb3-ppo")
def sb3_ppo(env: EnvConfig, config: LearnerConfig, **options: Any) -> Agent:
    """PPO of Stable-Baselines3, trained by its own loop; needs `flip-learning[sb3]`."""
    from flipagents.sb3_agents import SB3PPO  # noqa: PLC0415

    return SB3PPO(env, config, **options)


def explore(actions: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """Actions (B, A) int64, a share of epsilon of them drawn at random."""
    draw = torch.rand((*actions.shape, 2), generator=generator, device=actions.device)
    return torch.where(draw[..., 0] < epsilon, (draw[..., 1] < 0.5).long(), actions)


def identity(agent: Agent) -> dict[str, Any]:
    """What a checkpoint says about the agent in it."""
    return {"agent": agent.name, "config": agent.config.to_dict()}
