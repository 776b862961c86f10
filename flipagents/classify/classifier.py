"""The classifier of 'nodule' against 'normal tissue': its networks, options and files.

`flipagents.classify.training` trains it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from flipagents.classify.checks import Checks, check
from flipagents.classify.sites import PatchConfig, make_sites, normal_images
from flipagents.store import checkpoint
from flipagents.store.checkpoint import CheckpointError, Snapshot
from flipenv.errors import ConfigError
from flipenv.options import between, naming, read_config
from flipenv.pixels import Grey
from flipenv.registry import Registry, unknown
from flipenv.sources import SourceLike, open_source
from flipenv.torch_scorer import TorchScorer

KIND = "classifier"
MEAN, STD = 0.5, 0.25  # grey levels / 255 are standardised with these: TorchScorer's own defaults

NETWORKS: Registry[Callable[[], nn.Module]] = Registry("classifier network")  # (B, 1, H, W) float32 -> logits (B, 1)


@NETWORKS.register("small")
class SmallNetwork(nn.Sequential):
    """Seven convolutions and global pooling: 0.9 MB of weights, 19 million multiplications per 128x128 canvas."""

    LAYERS = ((16, 2), (32, 2), (32, 1), (64, 2), (64, 1), (96, 2), (112, 2))  # channels, stride

    def __init__(self) -> None:
        parts: list[nn.Module] = []
        before = 1
        for channels, stride in self.LAYERS:
            convolution = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
            parts += [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            before = channels
        super().__init__(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 1))


@NETWORKS.register("resnet18")
def resnet18() -> nn.Module:
    """ResNet18 for one grey channel (paper), 45 MB of weights."""
    from monai.networks.nets.resnet import resnet18 as monai_resnet18  # noqa: PLC0415 - takes seconds to import

    network: nn.Module = monai_resnet18(spatial_dims=2, n_input_channels=1, num_classes=1)
    return network


@dataclass(frozen=True)
class ClassifierConfig:
    """Options of training a classifier; 'paper' marks a value stated in the paper."""

    network: str = "small"  # small, resnet18 (paper), or a registered name
    patches: PatchConfig = field(default_factory=PatchConfig)
    epochs: int = 52  # the best epoch on validation sites is kept
    examples: int = 3072  # per epoch
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    schedule: Literal["cosine", "constant"] = "cosine"  # of the learning rate; cosine decays to zero
    val_examples: int = 2048  # drawn once, for choosing the epoch
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "patches", PatchConfig.of(self.patches))
        NETWORKS[self.network]
        with naming("ClassifierConfig"):
            if self.schedule not in ("cosine", "constant"):
                raise ConfigError(unknown("schedule", self.schedule, ("cosine", "constant")))
            for name in ("epochs", "val_examples"):
                between(name, getattr(self, name), 1, 10**9, whole=True)
            between("batch", self.batch, 2, 10**9, whole=True)
            between("examples", self.examples, self.batch, 10**9, whole=True)
            between("learning_rate", self.learning_rate, 1e-12, 10.0)
            between("weight_decay", self.weight_decay, 0.0, math.inf)
            between("seed", self.seed, 0, 2**63 - 1, whole=True)

    @classmethod
    def preset(cls, name: str = "small", **options: Any) -> ClassifierConfig:
        """Return `small` (minutes on two CPU cores) or `paper` (ResNet18, AdamW 1e-3, batch 128), with changes."""
        presets: dict[str, dict[str, Any]] = {
            "small": {},
            "paper": {
                "network": "resnet18",
                "batch": 128,
                "learning_rate": 1e-3,
                "schedule": "constant",
                "examples": 6144,
            },
        }
        if name not in presets:
            raise ConfigError(unknown("preset", name, presets))
        return cls.of({**presets[name], **options})

    @classmethod
    def of(cls, value: ClassifierConfig | Mapping[str, Any] | None, **options: Any) -> ClassifierConfig:
        """Make a config from a config, a mapping of its fields (as in JSON) or None, with some options changed."""
        return read_config(cls, value, options)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `ClassifierConfig.of` reads it back."""
        return {**dataclasses.asdict(self), "patches": self.patches.to_dict()}


@dataclass(eq=False)
class Classifier:
    """A trained network with its config, temperature and validation metrics."""

    network: nn.Module
    config: ClassifierConfig
    temperature: float = 1.0
    metrics: dict[str, Any] = field(default_factory=dict)  # plain data: `Checks.numbers` of the validation sites

    def scorer(self, device: str | torch.device | None = None, **options: Any) -> TorchScorer:
        """Return the calibrated scorer for the environment; options as for `TorchScorer`."""
        given = {"mean": MEAN, "std": STD, "temperature": self.temperature, **options}
        return TorchScorer(self.network, device=device, **given)

    def save(self, folder: str | Path) -> None:
        """Write weights (safetensors) and config, versions, metrics and temperature (JSON); replaces the folder."""
        about = {
            "config": self.config.to_dict(),
            "temperature": self.temperature,
            "metrics": checkpoint.plain(self.metrics),
        }
        checkpoint.write(folder, Snapshot(self.network.state_dict(), about), KIND)

    @classmethod
    def load(cls, folder: str | Path) -> Classifier:
        """Read what `save` wrote, on the CPU; CheckpointError for anything else."""
        snapshot = checkpoint.read(folder, KIND)
        config = ClassifierConfig.of(snapshot.about["config"])
        network = NETWORKS[config.network]()
        fill(network, snapshot.tensors, folder)
        return cls(network.eval(), config, float(snapshot.about["temperature"]), snapshot.about["metrics"])

    def check(self, source: SourceLike, normals: list[Grey] | None = None, seed: int = 0) -> Checks:
        """Run the checks of `flipagents.classify.checks` on a source, with its boxes as the environment shows them."""
        opened = open_source(source)
        normals = normal_images(opened) if normals is None else normals
        return check(self.scorer(), make_sites(opened, normals, self.config.patches.for_checks(), seed), seed)


def fill(network: nn.Module, tensors: Mapping[str, torch.Tensor], where: str | Path) -> None:
    """Load weights that were read from `where`; CheckpointError if they do not fit the network."""
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(
            f"{where} holds weights of a different network: {str(error).splitlines()[-1].strip()}"
        ) from None
