"""A network that gives in one pass what the agents erased: it learned from their maps, or from such a network's."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flipagents import checkpoint
from flipagents.checkpoint import SHIPPED, CheckpointError, Snapshot
from flipagents.crops import N_INPUTS, Crop, View, inputs
from flipenv.errors import ConfigError
from flipenv.options import between, known_fields, naming, one_of
from flipenv.types import Box

KIND = "flipagents.student"
BATCH = 64  # crops in one pass


@dataclass(frozen=True)
class StudentConfig:
    """A student's network and how it is trained."""

    view: View = "tight"  # which boxes it is for, see `flipagents.crops`
    features: tuple[int, ...] = (8, 8, 16, 32, 64, 8)  # of MONAI's BasicUNet: five levels, then the last layer's
    shift: float = 0.0  # image px: boxes are shown up to that far from where they belong
    warp: float = 0.0  # share of the box's sides by which examples are bent at most, see `flipagents.warp`
    warp_share: float = 0.7  # of the examples
    epochs: int = 25
    batch: int = 16
    learning_rate: float = 4e-3  # the largest, of one cycle
    weight_decay: float = 1e-3
    average: float = 0.16  # share of the training over which the weights that are kept are averaged
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        with naming("StudentConfig"):
            one_of("view", self.view, get_args(View))
            if len(self.features) != 6:
                raise ConfigError(f"features={self.features}; expected six numbers of channels")
            for number in self.features:
                between("features", number, 1, 4096, whole=True)
            between("shift", self.shift, 0.0, 4096.0)
            between("warp", self.warp, 0.0, 1.0)
            between("warp_share", self.warp_share, 0.0, 1.0)
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


class Student:
    """Maps of nodules from images and boxes, one forward pass each."""

    def __init__(self, config: StudentConfig, device: str = "cpu") -> None:
        self.config, self.device = config, device
        self.network = make_network(config).to(device).eval()

    def maps(self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Box]) -> Iterable[NDArray[np.float32]]:
        """Probability of nodule for each pixel of each image (height, width), float32 in 0..1, 0 far from the box.

        The mean over the image and its mirror image. Read lazily, BATCH at a time.
        """
        for start in range(0, len(images), BATCH):
            chunk = range(start, min(start + BATCH, len(images)))
            crops = [Crop.around(boxes[index], self.config.view) for index in chunk]
            drawn = (inputs(images[i], boxes[i], crop, self.config.view) for i, crop in zip(chunk, crops, strict=True))
            for index, crop, values in zip(chunk, crops, self._mean(np.stack(list(drawn))), strict=True):
                yield crop.put(values, images[index].shape)

    def save(self, folder: str | Path) -> None:
        """Write config and weights; OSError where the disk is full."""
        about = {"config": dataclasses.asdict(self.config)}
        checkpoint.write(folder, Snapshot(dict(self.network.state_dict()), about), KIND)

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> Student:
        """Read what `save` wrote; CheckpointError where the folder holds no student."""
        saved = checkpoint.read(folder, KIND)
        student = cls(StudentConfig(**saved.about["config"]), device)
        student.take(saved.tensors)
        return student

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Take over weights; CheckpointError where they are another network's."""
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(f"saved weights do not fit this network ({error}); train it again") from error

    def _mean(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        batch = torch.from_numpy(seen).to(self.device)
        with torch.inference_mode():
            both = self.network(torch.cat([batch, batch.flip(-1)])).sigmoid()
            there, back = both[:, 0].chunk(2)
        return np.asarray(((there + back.flip(-1)) / 2).cpu())


def make_network(config: StudentConfig) -> nn.Module:
    """U-Net of five levels, (B, N_INPUTS[view], SIZE, SIZE) float32 to logits (B, 1, SIZE, SIZE)."""
    from monai.networks.nets.basic_unet import BasicUNet  # noqa: PLC0415 - takes seconds to import

    network: nn.Module = BasicUNet(
        spatial_dims=2,
        in_channels=N_INPUTS[config.view],
        out_channels=1,
        features=config.features,
        act=("relu", {"inplace": True}),
        norm="batch",
        upsample="nontrainable",
    )
    return network


def load_student(name: Literal["student", "locator"], folder: str | Path | None = None, device: str = "cpu") -> Student:
    """Load a pipeline's student, or the one that finds boxes; folder: None for the weights that ship.

    Raises CheckpointError where the folder holds no pipeline, or one without it.
    """
    where = SHIPPED if folder is None else Path(folder)
    if not checkpoint.exists(where / name):
        raise CheckpointError(f"{where} holds no {name}; `flip train` makes one after the agents, preset 'small'")
    return Student.load(where / name, device)
