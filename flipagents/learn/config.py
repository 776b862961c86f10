"""All constants of the learner, each with its unit and source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flipenv.errors import ConfigError
from flipenv.options import between, flag, known_fields, naming, one_of
from flipenv.registry import unknown

Trunk = Literal["resnet18", "small"]
Norm = Literal["batch", "group"]
Loss = Literal["mse", "huber"]


@dataclass(frozen=True)
class LearnerConfig:
    """Options of learning. 'paper' marks a value stated in the paper; all others are not in the paper.

    A joint step is one step of one lane, in which all agents act.
    """

    # network
    trunk: Trunk = "resnet18"  # paper
    norm: Norm = "batch"  # of resnet18: its own batch normalisation, or group normalisation; `small` has none
    duelling: bool = False  # value and advantage streams (Wang et al. 2016, arXiv 1511.06581)
    # loss
    double: bool = True  # paper, Eq. 3
    loss: Loss = "mse"  # paper, Eq. 4
    gamma: float = 0.95  # discount per joint step; the paper gives none
    n_step: int = 1  # joint steps of reward before bootstrapping; 1 in the paper's Eq. 3
    # optimiser
    learning_rate: float = 5e-5  # paper, Adam
    weight_decay: float = 1e-4  # L2, inside Adam
    batch_size: int = 64  # transitions, paper
    gradient_clip: float | None = 10.0  # largest L2 norm of an update's gradient
    autocast: bool = False  # torch.autocast in bfloat16
    target_every: int = 1200  # updates between two synchronisations of the target network, paper
    # replay
    replay: int = 8000  # transitions kept, paper; more if the lanes need it (see `rows`)
    warmup: int = 1000  # transitions stored before the first update
    prioritised: bool = False  # the paper says 'naive prioritised' and samples uniformly
    priority_alpha: float = 0.6  # exponent of priorities (Schaul et al. 2016, arXiv 1511.05952)
    priority_beta: float = 0.4  # exponent of importance weights at the start; 1 at the end
    # exploration
    epsilon_start: float = 0.4  # share of random actions
    epsilon_end: float = 0.05
    epsilon_share: float = 0.5  # of the training, over which epsilon falls linearly
    # reward
    theta_quantile: float | None = None  # theta falls with epsilon to this quantile of distances in the boxes' cores
    # length
    epochs: int = 100  # paper; an epoch has as many episodes as the pool
    train_steps: int | None = None  # joint steps after which training ends, unless the epochs end first
    lanes: int = 16  # parallel episodes per rank
    updates_per_step: float = 1.0  # updates per joint step; each uses one batch from every rank
    # the run
    seed: int = 0
    device: str = "cpu"  # torch device of environment, replay and networks
    log_every: int = 1000  # joint steps between two rows of metrics
    checkpoint_every: int | None = None  # joint steps between two checkpoints, rounded up to the next row of metrics
    checkpoint_minutes: float = 5.0  # between two checkpoints, likewise

    def __post_init__(self) -> None:
        with naming("LearnerConfig"):
            one_of("trunk", self.trunk, get_args(Trunk))
            one_of("norm", self.norm, get_args(Norm))
            one_of("loss", self.loss, get_args(Loss))
            for name in ("duelling", "double", "autocast", "prioritised"):
                flag(name, getattr(self, name))
            for name in ("gamma", "priority_alpha", "priority_beta", "epsilon_start", "epsilon_end", "epsilon_share"):
                between(name, getattr(self, name), 0.0, 1.0)
            for name in ("weight_decay", "checkpoint_minutes"):
                between(name, getattr(self, name), 0.0, math.inf)
            if self.theta_quantile is not None:
                between("theta_quantile", self.theta_quantile, 0.0, 1.0)
            between("learning_rate", self.learning_rate, 1e-12, 10.0)
            between("updates_per_step", self.updates_per_step, 0.0, 1000.0)
            if self.gradient_clip is not None:
                between("gradient_clip", self.gradient_clip, 1e-12, math.inf)
            for name in ("batch_size", "target_every", "replay", "epochs", "lanes", "log_every"):
                between(name, getattr(self, name), 1, 10**9, whole=True)
            for name in ("train_steps", "checkpoint_every"):
                if getattr(self, name) is not None:
                    between(name, getattr(self, name), 1, 10**12, whole=True)
            between("n_step", self.n_step, 1, 100, whole=True)
            between("warmup", self.warmup, 0, 10**9, whole=True)
            between("seed", self.seed, 0, 2**63 - 1, whole=True)
            if self.warmup > self.replay:
                raise ConfigError(f"warmup={self.warmup} exceeds replay={self.replay}: updates would never start")
            if not isinstance(self.device, str):
                raise ConfigError(f"device={self.device!r}; expected the name of a torch device, 'cpu' or 'cuda'")

    @property
    def rows(self) -> int:
        """Rows of the replay buffer (one step of all lanes each): `replay` transitions, at least one n-step return."""
        return max(math.ceil(self.replay / self.lanes), 2) + self.n_step

    def fallen(self, progress: float) -> float:
        """Completed share (0..1) of epsilon's fall at `progress`, the completed share of the training."""
        return 1.0 if self.epsilon_share == 0 else min(progress / self.epsilon_share, 1.0)

    def epsilon(self, progress: float) -> float:
        """Share of random actions at `progress`."""
        fallen = self.fallen(progress)
        return (1 - fallen) * self.epsilon_start + fallen * self.epsilon_end

    @classmethod
    def paper(cls, **options: Any) -> LearnerConfig:
        """The paper's learner: the defaults."""
        return cls().replace(**options)

    @classmethod
    def small(cls, **options: Any) -> LearnerConfig:
        """A small trunk and a larger learning rate, for CPUs."""
        preset: dict[str, Any] = {
            "trunk": "small",
            "learning_rate": 1e-3,
            "loss": "huber",
            "target_every": 200,
            "updates_per_step": 0.125,
        }
        return cls().replace(**{**preset, **options})

    def replace(self, **options: Any) -> LearnerConfig:
        """Return a copy with some options changed; ConfigError names an option that does not exist."""
        return dataclasses.replace(self, **known_fields(LearnerConfig, options))

    @classmethod
    def of(cls, value: LearnerConfig | Mapping[str, Any] | str | None, **options: Any) -> LearnerConfig:
        """Make a config from a config, "paper" or "small", a mapping of its fields or None, with options changed."""
        if isinstance(value, str):
            if value not in PRESETS:
                raise ConfigError(unknown("learner preset", value, PRESETS))
            return PRESETS[value](**options)
        base = value if isinstance(value, LearnerConfig) else cls().replace(**(value or {}))
        return base.replace(**options)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `LearnerConfig.of` reads it back."""
        return dataclasses.asdict(self)


PRESETS = {"paper": LearnerConfig.paper, "small": LearnerConfig.small}
