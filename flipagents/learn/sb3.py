"""DQN and PPO of Stable-Baselines3 as agents: SB3's own loop trains them, on the learner's lanes.

The observation decides what is learnt (see `flipenv.sb3`): with egocentric observations, one policy for each agent;
with joint ones, as in the presets, one policy that controls all agents of a lane at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flipagents.learn.agent import SelfTaught, identity
from flipagents.learn.config import LearnerConfig, Norm, Trunk
from flipagents.learn.dqn import explore
from flipagents.learn.networks import make_trunk
from flipagents.store.checkpoint import Snapshot, plain, prefixed
from flipagents.store.torch_state import adam_tensors, fill_adam, fill_network
from flipenv.batch import Batch, to_numpy
from flipenv.config import EnvConfig
from flipenv.errors import ConfigError, MissingDependencyError
from flipenv.spaces import observation_space
from flipenv.types import Array, Transition

try:
    from stable_baselines3 import DQN, PPO
    from stable_baselines3.common.buffers import ReplayBuffer
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.utils import set_random_seed
except ImportError as error:
    raise MissingDependencyError(
        "agents sb3-dqn and sb3-ppo need Stable-Baselines3: pip install 'flip-learning[sb3]'"
    ) from error
from flipenv.sb3 import EraseSB3Env, action_space, learners

COLLECTED = 8  # collect-and-update cycles of DQN per round
PPO_OPTIONS = {"n_steps": 32, "n_epochs": 4, "ent_coef": 0.01}  # steps per lane and rollout; passes over it
ROWS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")  # of SB3's replay buffer


class TrunkExtractor(BaseFeaturesExtractor):
    """The trunk of this package's own agents: it fits any window, and agents differ only in the algorithm."""

    def __init__(self, space: Any, trunk: Trunk, norm: Norm) -> None:
        channels, window, _ = space.shape
        network, features = make_trunk(channels, window, trunk, norm)
        super().__init__(space, features)
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        """Features of pictures (N, C, P, P), scaled to [0, 1] by SB3."""
        return self.network(pictures.mul(2.0).sub(1.0))  # type: ignore[no-any-return]


class SB3Agent(SelfTaught):
    """An SB3 algorithm; see the subclasses for the options of `LearnerConfig` that each uses.

    Deterministic for a given seed, which seeds the global generators when training starts, since SB3 draws from those.
    options: keyword arguments of the algorithm, on top of those made from the config.
    """

    refused: tuple[str, ...] = ("duelling", "prioritised", "autocast")  # options that SB3 lacks

    def __init__(self, env: EnvConfig, config: LearnerConfig, **options: Any) -> None:
        super().__init__(env, config)
        for name in self.refused:
            if getattr(config, name):
                raise ConfigError(f"LearnerConfig: {name}={getattr(config, name)!r}; SB3 has no such option: omit it")
        keywords: dict[str, Any] = {
            "learning_rate": config.learning_rate,
            "gamma": config.gamma,
            "batch_size": config.batch_size,
            "max_grad_norm": float("inf") if config.gradient_clip is None else config.gradient_clip,
            "device": config.device,
            "policy_kwargs": {
                "features_extractor_class": TrunkExtractor,
                "features_extractor_kwargs": {"trunk": config.trunk, "norm": config.norm},
                "net_arch": [],
                "optimizer_kwargs": {"weight_decay": config.weight_decay},
            },
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model: Any = self.make({**keywords, **options})
            self.model.observation_space, self.model.action_space = observation_space(env), action_space(env)
            self.model.n_envs = config.lanes * learners(env)
            self.model._setup_model()
        self.model.set_logger(Logger(folder=None, output_formats=[]))
        self.generator = torch.Generator(config.device).manual_seed(config.seed)
        self._starts = np.ones(self.model.n_envs, np.bool_)  # learners whose episode has just begun
        self._progress = 0.0

    def make(self, keywords: dict[str, Any]) -> Any:
        """The algorithm, without environment and networks, which are set later."""
        raise NotImplementedError(f"{type(self).__name__} has no make(keywords)")

    def prefer(self, observation: Tensor) -> Tensor:
        """Value of each action, (n, actions), for the observations of n learners, (n, C, P, P) uint8."""
        raise NotImplementedError(f"{type(self).__name__} has no prefer(observation)")

    def merge(self, values: Tensor) -> Tensor:
        """Values (n, others, 2) of pass and erase for each joint action of the other agents -> (n, 2)."""
        raise NotImplementedError(f"{type(self).__name__} has no merge(values)")

    @property
    def timesteps(self) -> int:
        """SB3 steps per round."""
        raise NotImplementedError(f"{type(self).__name__} has no timesteps")

    def act(self, batch: Batch, epsilon: float = 0.0) -> Array:
        """Erase where `erase_preference` is positive; act randomly with probability epsilon."""
        actions = (self._preference(batch) > 0).long()
        if epsilon > 0:
            actions = explore(actions, epsilon, self.generator)
        return to_numpy(actions) if batch.device is None else actions

    def erase_preference(self, batch: Batch) -> Array:
        """Preference for erasing over passing, (B, A) float32 in [-1, 1]."""
        better = self._preference(batch)
        return to_numpy(better) if batch.device is None else better

    def practise(self, batch: Batch, note: Callable[[Transition], None], progress: float) -> dict[str, Tensor]:
        """One `learn` of SB3, long enough for a rollout and its updates; returns what SB3 logs under `train/`."""
        model, self._progress = self.model, progress
        if not isinstance(model.env, EraseSB3Env) or model.env.batch is not batch:
            model.set_env(EraseSB3Env(batch, watch=note), force_reset=False)
            if model.num_timesteps == 0:
                set_random_seed(self.config.seed)
                model.action_space.seed(self.config.seed)
            assert isinstance(model.env, EraseSB3Env)
            model._last_obs, model._last_episode_starts = model.env.observations(), self._starts
        model.logger.name_to_value.clear()
        model.learn(self.timesteps, log_interval=None, reset_num_timesteps=False)
        logged = {name.removeprefix("train/"): value for name, value in model.logger.name_to_value.items()}
        numbers = {name: value for name, value in logged.items() if "/" not in name and name != "n_updates"}
        return {name: torch.tensor(float(value), device=self.config.device) for name, value in numbers.items()}

    def snapshot(self) -> Snapshot:
        """Policy, optimiser, counters and random generator of the actions."""
        model = self.model
        tensors = {
            **prefixed("policy", model.policy.state_dict()),
            **prefixed("optimiser", adam_tensors(model.policy.optimizer, model.policy.parameters())),
            "starts": torch.as_tensor(self._begun()),
            "generator": self.generator.get_state(),
        }
        about = {"timesteps": model.num_timesteps, "updates": model._n_updates}
        drawn = plain(model.action_space.np_random.bit_generator.state)
        return Snapshot(tensors, {**identity(self), **about, "actions": drawn})

    def restore(self, snapshot: Snapshot) -> None:
        """Load a snapshot, before practising; CheckpointError if it does not fit."""
        model, about = self.model, snapshot.about
        fill_network(model.policy, snapshot.under("policy"))
        fill_adam(model.policy.optimizer, model.policy.parameters(), Snapshot(snapshot.under("optimiser")))
        model.num_timesteps, model._n_updates = int(about["timesteps"]), int(about["updates"])
        model.action_space.np_random.bit_generator.state = about["actions"]
        self.generator.set_state(snapshot.tensors["generator"])
        self._starts = snapshot.tensors["starts"].numpy()
        model.env = None  # its last observation belongs to lanes that are replaced

    def weights(self) -> dict[str, Tensor]:
        """The policy."""
        return dict(self.model.policy.state_dict())

    def take(self, saved: Snapshot) -> None:
        """Load saved weights."""
        super().take(saved)
        fill_network(self.model.policy, saved.tensors)

    def _begun(self) -> Any:
        last = self.model._last_episode_starts
        return self._starts if last is None or self.model.env is None else last

    def _preference(self, batch: Batch) -> Tensor:
        observation = batch.observation()
        lanes, agents, *picture = observation.shape
        if learners(self.env) == 1:
            observation = observation[:, :1, ...]
        inputs = torch.as_tensor(
            to_numpy(observation) if batch.device is None else observation, device=self.config.device
        )
        self.model.policy.set_training_mode(False)
        with torch.inference_mode():
            values = self.prefer(inputs.reshape(-1, *picture)).float()
        if learners(self.env) == agents:
            values = self.merge(values[:, None, :])
            return (values[:, 1] - values[:, 0]).clamp(-1, 1).reshape(lanes, agents)
        bits = values.reshape(lanes, *(2,) * agents)  # the last axis is agent 0, whose action is the lowest bit
        better = []
        for agent in range(agents):
            own = self.merge(bits.movedim(agents - agent, -1).reshape(lanes, -1, 2))
            better.append((own[:, 1] - own[:, 0]).clamp(-1, 1))
        return torch.stack(better, 1)


class SB3DQN(SB3Agent):
    """Uses all options of `LearnerConfig` but `double` and `loss`: SB3 has the plain DQN with the Huber loss.

    `warmup` and `replay` count the transitions of each SB3 environment. SB3's buffer stores the next observation beside
    each observation: twice the memory of this package's own.
    """

    def make(self, keywords: dict[str, Any]) -> DQN:
        """DQN with our epsilon schedule and the configured update frequency."""
        config = self.config
        due = config.updates_per_step * config.lanes  # updates per step of all lanes
        every = max(round(1 / due), 1) if due > 0 else 1
        between_targets = round(config.target_every / due) if due > 0 else config.target_every  # steps of all lanes
        return DQN(
            "CnnPolicy",
            None,  # type: ignore[arg-type] # follows
            _init_setup_model=False,
            **{
                "buffer_size": config.replay,
                "learning_starts": config.warmup,
                "n_steps": config.n_step,
                "train_freq": every,
                "gradient_steps": round(due * every),
                "target_update_interval": max(between_targets, 1) * config.lanes * learners(self.env),
                **keywords,
            },
        )

    @property
    def timesteps(self) -> int:
        """A few cycles of collecting and updating."""
        self.model.exploration_schedule = lambda remaining: self.config.epsilon(self._progress)
        return int(COLLECTED * self.model.train_freq.frequency * self.model.n_envs)

    def prefer(self, observation: Tensor) -> Tensor:
        """Action values."""
        return self.model.q_net(observation)  # type: ignore[no-any-return]

    def merge(self, values: Tensor) -> Tensor:
        """The other agents act greedily."""
        return values.amax(1)

    def snapshot(self) -> Snapshot:
        """As for any SB3 agent, plus the replay buffer and epsilon, which SB3 takes from the previous step."""
        base, buffer = super().snapshot(), self._buffer()
        filled = buffer.buffer_size if buffer.full else buffer.pos
        rows = {name: torch.from_numpy(getattr(buffer, name)[:filled]) for name in ROWS}
        about = {"calls": self.model._n_calls, "position": buffer.pos, "full": buffer.full}
        about["epsilon"] = self.model.exploration_rate
        return Snapshot({**base.tensors, **prefixed("replay", rows)}, {**base.about, **about})

    def restore(self, snapshot: Snapshot) -> None:
        """As for any SB3 agent, plus the replay buffer and epsilon."""
        super().restore(snapshot)
        buffer, about = self._buffer(), snapshot.about
        for name, rows in snapshot.under("replay").items():
            getattr(buffer, name)[: len(rows)] = rows.numpy()
        buffer.pos, buffer.full = int(about["position"]), bool(about["full"])
        self.model._n_calls, self.model.exploration_rate = int(about["calls"]), float(about["epsilon"])

    def _buffer(self) -> ReplayBuffer:
        buffer: ReplayBuffer | None = self.model.replay_buffer
        assert buffer is not None
        return buffer


class SB3PPO(SB3Agent):
    """Uses network, optimiser, `gamma`, `batch_size` and the length of the run; has no replay and no epsilon."""

    def make(self, keywords: dict[str, Any]) -> PPO:
        """PPO with `PPO_OPTIONS`."""
        if self.config.n_step != 1:
            raise ConfigError(f"LearnerConfig: n_step={self.config.n_step}; PPO uses its own returns (GAE): omit it")
        return PPO("CnnPolicy", None, _init_setup_model=False, **{**PPO_OPTIONS, **keywords})  # type: ignore[arg-type]

    @property
    def timesteps(self) -> int:
        """One rollout."""
        return int(self.model.n_steps * self.model.n_envs)

    def prefer(self, observation: Tensor) -> Tensor:
        """Probabilities of the actions."""
        return self.model.policy.get_distribution(observation).distribution.probs  # type: ignore[no-any-return]

    def merge(self, values: Tensor) -> Tensor:
        """The other agents act by the policy's probabilities."""
        return values.sum(1)
