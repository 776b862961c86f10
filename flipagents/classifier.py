"""The classifier that says 'nodule' or 'normal tissue': its networks, its training from boxes, and its files.

Paper, section 3: ResNet18, AdamW, learning rate 1e-3, batches of 128; what it was trained on is not described. Here
that is `flipagents.patches`; its epoch is chosen on validation sites, and its score is calibrated there.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import nn

import flipenv
from flipagents import checkpoint
from flipagents.calibration import Checks, auc, check, evened, fit_temperature
from flipagents.checkpoint import CheckpointError, Snapshot, prefixed
from flipagents.patches import Grey, PatchConfig, Sites, draw, make_sites, normal_images
from flipenv.errors import ConfigError
from flipenv.registry import Registry, unknown
from flipenv.sources import SourceLike, open_source
from flipenv.torch_scorer import TorchScorer

KIND, TRAINING = "classifier", "classifier in training"
FINAL, LAST, LOG = "classifier", "last", "log.csv"  # in the folder of a training
MEAN, STD = 0.5, 0.25  # grey levels / 255 are standardised with these: TorchScorer's own defaults
VAL_VARIANTS = 2

NETWORKS: Registry[Callable[[], nn.Module]] = Registry("classifier network")  # (B, 1, H, W) float32 -> logits (B, 1)


@NETWORKS.register("small")
class SmallNetwork(nn.Sequential):
    """Seven convolutions and a mean over places: 0.9 MB of weights, 19 million multiplications a 128x128 canvas."""

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
    """How a classifier is trained; 'paper' marks a value that is printed there."""

    network: str = "small"  # small, resnet18 (paper), or a registered name
    patches: PatchConfig = field(default_factory=PatchConfig)
    epochs: int = 52  # the best on validation sites is kept
    examples: int = 3072  # an epoch
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    schedule: Literal["cosine", "constant"] = "cosine"  # of the learning rate, falling to zero
    val_examples: int = 2048  # drawn once; they choose the epoch
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "patches", PatchConfig.of(self.patches))
        NETWORKS[self.network]
        if self.schedule not in ("cosine", "constant"):
            raise ConfigError(f"ClassifierConfig: {unknown('schedule', self.schedule, ('cosine', 'constant'))}")
        if min(self.epochs, self.batch - 1, self.val_examples, self.learning_rate) <= 0 or self.examples < self.batch:
            raise ConfigError(
                f"ClassifierConfig: epochs={self.epochs}, batch={self.batch}, examples={self.examples}, "
                f"learning_rate={self.learning_rate}; expected positive values, batch >= 2 and examples >= batch"
            )

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
        """Read a config from itself, a mapping of its fields (as JSON has it) or None, and change some options."""
        if isinstance(value, ClassifierConfig):
            return dataclasses.replace(value, **options)
        options = {**(value or {}), **options}
        names = [each.name for each in dataclasses.fields(cls)]
        for name in options:
            if name not in names:
                raise ConfigError(unknown("ClassifierConfig option", name, names))
        return cls(**options)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `ClassifierConfig.of` reads it back."""
        return {**dataclasses.asdict(self), "patches": self.patches.to_dict()}


@dataclass(eq=False)
class Classifier:
    """A trained network with all that is needed to ask it and to know what it is worth."""

    network: nn.Module
    config: ClassifierConfig
    temperature: float = 1.0
    metrics: dict[str, Any] = field(default_factory=dict)  # plain data: what `Checks.numbers` found on validation sites

    def scorer(self, device: str | torch.device | None = None, **options: Any) -> TorchScorer:
        """Return the calibrated score as the environment wants it; options as `TorchScorer` takes them."""
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
        """Read what `save` wrote, onto the CPU; CheckpointError for anything else."""
        snapshot = checkpoint.read(folder, KIND)
        config = ClassifierConfig.of(snapshot.about["config"])
        network = NETWORKS[config.network]()
        _restore(network, snapshot.tensors, folder)
        return cls(network.eval(), config, float(snapshot.about["temperature"]), snapshot.about["metrics"])

    def check(self, source: SourceLike, normals: list[Grey] | None = None, seed: int = 0) -> Checks:
        """Run the checks of `flipagents.calibration` on a source, as the environment would show its boxes."""
        opened = open_source(source)
        normals = normal_images(opened) if normals is None else normals
        return check(self.scorer(), make_sites(opened, normals, self.config.patches.as_asked(), seed), seed)


def train_classifier(
    source: SourceLike,
    normals: list[Grey] | None = None,
    config: ClassifierConfig | Mapping[str, Any] | None = None,
    *,
    val: SourceLike | None = None,
    val_normals: list[Grey] | None = None,
    folder: str | Path | None = None,
    device: str | None = None,
    resume: bool = True,
    progress: bool = True,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Classifier:
    """Train on images and boxes; masks are not looked at.

    normals: images (height, width) uint8 without a nodule; None for those that the source offers.
    val: where the epoch is chosen and the score calibrated; without it the last epoch is kept, uncalibrated.
    folder: gets `log.csv`, `last` (a checkpoint an epoch) and, at the end, `classifier`; None writes nothing.
    resume: go on from `last` where there is one. The same seed, machine and threads give the same bits, whether or not
    training was interrupted. ConfigError when `last` is of another config or other data.
    on_epoch: called with the row of the log after each epoch's checkpoint.
    """
    config = ClassifierConfig.of(config)
    opened = open_source(source)
    sites = make_sites(opened, normal_images(opened) if normals is None else normals, config.patches, config.seed)
    judge = None if val is None else _Judge(open_source(val), val_normals, config)
    run = _Run(config, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")), folder)
    if resume:
        run.resume(sites)
    with Progress(disable=not progress, transient=True) as bar:
        task = bar.add_task("classifier", total=config.epochs, completed=run.epoch)
        while run.epoch < config.epochs:
            row = run.train_epoch(sites)
            if judge is not None:
                row |= judge.losses(run.network, run.device)
            run.finish_epoch(row, sites)
            bar.update(task, advance=1, description=f"classifier: loss {row['loss']:.3f}")
            if on_epoch is not None:
                on_epoch(row)
    classifier = Classifier(run.best_network().cpu().eval(), config)
    if judge is not None:
        classifier.temperature, classifier.metrics = judge.calibrate(classifier)
    classifier.metrics["epoch"] = run.best_epoch
    if folder is not None:
        classifier.save(Path(folder) / FINAL)
    return classifier


class _Run:
    """Network, optimiser and log, as far as training has come."""

    def __init__(self, config: ClassifierConfig, device: torch.device, folder: str | Path | None) -> None:
        self.config, self.device = config, device
        self.folder = None if folder is None else Path(folder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = NETWORKS[config.network]().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.rows: list[dict[str, Any]] = []
        self.best: dict[str, torch.Tensor] = _state(self.network)
        self.best_epoch = 0

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.rows)

    def train_epoch(self, sites: Sites) -> dict[str, Any]:
        """One pass over newly drawn examples; returns the row of the log."""
        start = time.perf_counter()
        self.network.train()
        batches = self.config.examples // self.config.batch
        losses = []
        for batch in range(batches):
            done = (self.epoch + batch / batches) / self.config.epochs
            rate = self.config.learning_rate
            if self.config.schedule == "cosine":
                rate *= (1 + math.cos(math.pi * done)) / 2
            self.optimizer.param_groups[0]["lr"] = rate
            # each batch has its own stream, so that nothing of it need be saved
            rng = np.random.default_rng([self.config.seed, 4, self.epoch, batch])
            canvases, targets = draw(sites, self.config.batch, self.config.patches, rng)
            with torch.backends.cudnn.flags(deterministic=True, benchmark=False):
                logits = self.network(_standardised(canvases, self.device))[:, 0]
                loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(targets).to(self.device))
                self.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            losses.append(loss.detach())
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise FloatingPointError(f"loss is {mean} in epoch {self.epoch + 1}; try a smaller learning_rate")
        return {"epoch": self.epoch + 1, "loss": mean, "seconds": round(time.perf_counter() - start, 2)}

    def finish_epoch(self, row: dict[str, Any], sites: Sites) -> None:
        """Keep the network if it is the best so far, and write the checkpoint and the log."""
        self.rows.append(row)
        losses = [each.get("val_loss", -each["epoch"]) for each in self.rows]
        if losses[-1] <= min(losses):
            self.best, self.best_epoch = _state(self.network), row["epoch"]
        if self.folder is None:
            return
        adam = {
            f"{index}.{name}": value
            for index, state in self.optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }
        tensors = prefixed("network", self.network.state_dict()) | prefixed("best", self.best) | prefixed("adam", adam)
        about = {"config": self.config.to_dict(), "rows": self.rows, "best": self.best_epoch, "data": sites.digest}
        checkpoint.write(self.folder / LAST, Snapshot(tensors, about), TRAINING)
        self._log()

    def resume(self, sites: Sites) -> None:
        """Go back to the last checkpoint, if there is one."""
        if self.folder is None:
            return
        try:
            snapshot = checkpoint.read(self.folder / LAST, TRAINING)
        except CheckpointError:
            if (self.folder / LAST).exists():
                raise
            return
        same_config = ClassifierConfig.of(snapshot.about["config"]) == self.config
        if not same_config or snapshot.about["data"] != sites.digest:
            other = "other data" if same_config else "another config"
            raise ConfigError(f"{self.folder / LAST} was trained with {other}; give another folder, or resume=False")
        _restore(self.network, snapshot.under("network"), self.folder / LAST)
        self.best, self.best_epoch, self.rows = snapshot.under("best"), snapshot.about["best"], snapshot.about["rows"]
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in snapshot.under("adam").items():
            index, _, part = name.partition(".")
            state.setdefault(int(index), {})[part] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})

    def best_network(self) -> nn.Module:
        """The network with the weights of the best epoch."""
        self.network.load_state_dict(self.best)
        network: nn.Module = self.network
        return network

    def _log(self) -> None:
        assert self.folder is not None
        part = self.folder / f"{LOG}.part"
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(part, self.folder / LOG)


class _Judge:
    """The validation sites: examples that choose the epoch, and what the environment will show for calibration."""

    def __init__(self, source: flipenv.Source, normals: list[Grey] | None, config: ClassifierConfig) -> None:
        normals = normal_images(source) if normals is None else normals
        varied = dataclasses.replace(config.patches, variants=min(config.patches.variants, VAL_VARIANTS))
        self.canvases, self.targets = draw(
            make_sites(source, normals, varied, config.seed),
            config.val_examples,
            varied,
            np.random.default_rng([config.seed, 5]),
        )
        self.sites = make_sites(source, normals, config.patches.as_asked(), config.seed)

    def losses(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Cross entropy of the validation examples, and how well they are told apart."""
        logits = _logits(network, self.canvases, device)
        loss = nn.functional.binary_cross_entropy_with_logits(torch.from_numpy(logits), torch.from_numpy(self.targets))
        tags = self.targets >= 0.5
        return {
            "val_loss": float(loss),
            "val_accuracy": float(((logits >= 0) == tags).mean()),
            "val_auc": auc(logits, tags),
        }

    def calibrate(self, classifier: Classifier) -> tuple[float, dict[str, Any]]:
        """Temperature, and what the checks say with it; `ece_before` is the calibration error without it."""
        before = check(classifier.scorer("cpu"), self.sites, classifier.config.seed)
        nodules = self.sites.with_nodule
        shown = np.concatenate([self.sites.image, self.sites.background[nodules]])
        labels = np.concatenate([nodules, np.zeros(int(nodules.sum()), np.bool_)])
        logits = _logits(classifier.network, shown, torch.device("cpu"))
        temperature = fit_temperature(logits, labels, evened(labels))
        after = check(classifier.scorer("cpu", temperature=temperature), self.sites, classifier.config.seed)
        return temperature, {**after.numbers(), "ece_before": before.numbers()["ece"], "temperature": temperature}


def _logits(network: nn.Module, canvases: Grey, device: torch.device, batch: int = 256) -> NDArray[np.float32]:
    network.to(device).eval()
    with torch.inference_mode():
        parts = [
            network(_standardised(canvases[at : at + batch], device))[:, 0] for at in range(0, len(canvases), batch)
        ]
    return torch.cat(parts).float().cpu().numpy()


def _standardised(canvases: Grey, device: torch.device) -> torch.Tensor:
    grey = torch.from_numpy(canvases).to(device, torch.float32)[:, None] / 255
    return ((grey - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def _state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone().contiguous() for name, value in network.state_dict().items()}


def _restore(network: nn.Module, tensors: Mapping[str, torch.Tensor], where: str | Path) -> None:
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(
            f"{where} holds weights of another network: {str(error).splitlines()[-1].strip()}"
        ) from None
