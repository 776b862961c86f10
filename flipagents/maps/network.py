"""The student: a network distilled from the agents' maps, or from another such network's, for one-pass inference."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flipagents.maps.crops import N_INPUTS, View
from flipagents.maps.mapper import Mapper
from flipagents.maps.unet import UNet
from flipagents.store import checkpoint
from flipagents.store.checkpoint import CheckpointError, Snapshot
from flipenv.options import between, known_fields, naming, one_of, several

KIND = "flipagents.maps.network"


@dataclass(frozen=True)
class StudentConfig:
    """Network and training options of a student."""

    view: View = "tight"  # kind of boxes, see `flipagents.maps.crops`
    features: tuple[int, ...] = (8, 8, 16, 32, 64, 8)  # of the U-Net: five levels, then the last layer
    shift: float = 0.0  # image px, largest random offset of the boxes
    warp: float = 0.0  # largest elastic deformation, share of the box's sides, see `flipagents.maps.warp`
    warp_share: float = 0.7  # share of examples that are deformed
    scanners: float = 0.0  # share of examples as another scanner stored them, see `flipagents.maps.scanner`
    epochs: int = 25
    batch: int = 16
    learning_rate: float = 4e-3  # maximum of the one-cycle schedule
    weight_decay: float = 1e-3
    average: float = 0.16  # share of the training over which the kept weights are averaged
    seed: int = 0

    def __post_init__(self) -> None:
        with naming("StudentConfig"):
            object.__setattr__(self, "features", several("features", self.features, int, 6))
            one_of("view", self.view, get_args(View))
            for number in self.features:
                between("features", number, 1, 4096, whole=True)
            between("shift", self.shift, 0.0, 4096.0)
            between("warp", self.warp, 0.0, 1.0)
            between("warp_share", self.warp_share, 0.0, 1.0)
            between("scanners", self.scanners, 0.0, 1.0)
            between("epochs", self.epochs, 1, 10**6, whole=True)
            between("batch", self.batch, 1, 10**6, whole=True)
            between("learning_rate", self.learning_rate, 1e-12, 10.0)
            between("weight_decay", self.weight_decay, 0.0, math.inf)
            between("average", self.average, 0.0, 1.0)
            between("seed", self.seed, 0, 2**63 - 1, whole=True)

    @classmethod
    def loose(cls, **options: Any) -> StudentConfig:
        """For boxes that may be off by 30 px."""
        preset: dict[str, Any] = {"view": "loose", "features": (12, 12, 24, 48, 96, 12), "shift": 34.0, "epochs": 40}
        return cls().replace(**{**preset, **options})

    def replace(self, **options: Any) -> StudentConfig:
        """Return a copy with some options changed; ConfigError names an option that does not exist."""
        return dataclasses.replace(self, **known_fields(StudentConfig, options))


class Student(Mapper):
    """Nodule maps by a torch network, one forward pass each."""

    def __init__(self, config: StudentConfig, device: str = "cpu") -> None:
        super().__init__(config.view)
        self.config, self.device = config, device
        self.network = UNet(N_INPUTS[config.view], config.features).to(device).eval()

    def probabilities(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Mapper`."""
        with torch.inference_mode():
            return np.asarray(probability(self.network, torch.from_numpy(crops).to(self.device)).cpu())

    def save(self, folder: str | Path) -> None:
        """Write config and weights; OSError if the disk is full."""
        about = {"config": dataclasses.asdict(self.config)}
        checkpoint.write(folder, Snapshot(dict(self.network.state_dict()), about), KIND)

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> Student:
        """Read what `save` wrote; CheckpointError if the folder holds no student."""
        saved = checkpoint.read(folder, KIND)
        student = cls(StudentConfig(**saved.about["config"]), device)
        student.take(saved.tensors)
        return student

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Load weights; CheckpointError if they do not fit the network."""
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(f"saved weights do not fit this network ({error}); train it again") from error


def probability(network: nn.Module, crops: Tensor) -> Tensor:
    """Probabilities (B, SIZE, SIZE) of crops (B, N_INPUTS[view], SIZE, SIZE)."""
    logits: Tensor = network(crops)[:, 0]
    return logits.sigmoid()
