"""Train the classifier from images and boxes.

Paper, section 3: ResNet18, AdamW, learning rate 1e-3, batches of 128; the training data are not described. Here they
come from `flipagents.classify.examples`; the epoch is chosen and the score calibrated on validation sites.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import flipenv
from flipagents.classify.checks import Checks, auc, check, evened, fit_temperature
from flipagents.classify.classifier import MEAN, NETWORKS, STD, Classifier, ClassifierConfig, fill
from flipagents.classify.examples import draw
from flipagents.classify.figures import save_figures
from flipagents.classify.sites import Sites, make_sites, normal_images
from flipagents.store import checkpoint
from flipagents.store.checkpoint import CheckpointError, Snapshot, prefixed
from flipagents.store.files import write_texts
from flipagents.store.run_folder import FINAL, LAST
from flipenv.errors import ConfigError
from flipenv.pixels import Grey
from flipenv.progress import log_line, show_progress
from flipenv.sources import SourceLike, open_source

TRAINING = "classifier in training"  # kind of the per-epoch checkpoint
LOG = "log.csv"  # in the training folder
VAL_VARIANTS = 2


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
    """Train on images and boxes; masks are not used.

    normals: images (height, width) uint8 without a nodule; None for those of the source.
    val: source for choosing the epoch and calibrating the score; without it the last epoch is kept, uncalibrated.
    folder: gets `log.csv`, `last` (a checkpoint per epoch) and, at the end, `classifier`, and with `val` the figures of
    `flipagents.classify.figures`; None writes nothing.
    resume: continue from `last` if it exists. The same seed, machine and threads give the same bits, whether or not
    training was interrupted. ConfigError if `last` was made with another config or other data.
    on_epoch: called with the log row after each epoch's checkpoint.
    """
    config = ClassifierConfig.of(config)
    opened = open_source(source)
    log_line("classifier: preparing examples", quiet=not progress)
    sites = make_sites(opened, normal_images(opened) if normals is None else normals, config.patches, config.seed)
    judge = None if val is None else _Judge(open_source(val), val_normals, config)
    run = _Run(config, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")), folder)
    if resume:
        run.resume(sites)
    with show_progress("classifier", config.epochs, done=run.epoch, unit="epoch", quiet=not progress) as shown:
        while run.epoch < config.epochs:
            row = run.train_epoch(sites)
            if judge is not None:
                row |= judge.losses(run.network, run.device)
            run.finish_epoch(row, sites)
            shown.advance(1, f"loss {row['loss']:.3f}")
            if on_epoch is not None:
                on_epoch(row)
    classifier = Classifier(run.best_network().cpu().eval(), config)
    checks = None if judge is None else judge.calibrate(classifier)
    classifier.metrics["epoch"] = run.best_epoch
    if folder is not None:
        classifier.save(Path(folder) / FINAL)
        if checks is not None:
            save_figures(checks[1], folder, before=checks[0])
    return classifier


class _Run:
    """State of the training: network, optimiser and log."""

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
        """Completed epochs."""
        return len(self.rows)

    def train_epoch(self, sites: Sites) -> dict[str, Any]:
        """One pass over newly drawn examples; returns the log row."""
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
            # each batch has its own random stream, so no generator state needs saving
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
        """Keep the network if it is the best so far, and write checkpoint and log."""
        self.rows.append(row)
        losses = [row.get("val_loss", -row["epoch"]) for row in self.rows]
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
        """Load the last checkpoint, if there is one."""
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
        fill(self.network, snapshot.under("network"), self.folder / LAST)
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
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(self.rows[0]))
        writer.writeheader()
        writer.writerows(self.rows)
        write_texts({self.folder / LOG: text.getvalue()})


class _Judge:
    """Validation data: examples for choosing the epoch, and sites as the environment shows them for calibration."""

    def __init__(self, source: flipenv.Source, normals: list[Grey] | None, config: ClassifierConfig) -> None:
        normals = normal_images(source) if normals is None else normals
        varied = dataclasses.replace(config.patches, variants=min(config.patches.variants, VAL_VARIANTS))
        self.canvases, self.targets = draw(
            make_sites(source, normals, varied, config.seed),
            config.val_examples,
            varied,
            np.random.default_rng([config.seed, 5]),
        )
        self.sites = make_sites(source, normals, config.patches.for_checks(), config.seed)

    def losses(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Cross entropy and AUC of the validation examples."""
        logits = _logits(network, self.canvases, device)
        loss = nn.functional.binary_cross_entropy_with_logits(torch.from_numpy(logits), torch.from_numpy(self.targets))
        tags = self.targets >= 0.5
        return {
            "val_loss": float(loss),
            "val_accuracy": float(((logits >= 0) == tags).mean()),
            "val_auc": auc(logits, tags),
        }

    def calibrate(self, classifier: Classifier) -> tuple[Checks, Checks]:
        """Set a classifier's temperature and metrics; return the checks before and after calibration.

        `ece_before` in its metrics is the calibration error before.
        """
        before = check(classifier.scorer("cpu"), self.sites, classifier.config.seed)
        nodules = self.sites.with_nodule
        shown = np.concatenate([self.sites.image, self.sites.background[nodules]])
        labels = np.concatenate([nodules, np.zeros(int(nodules.sum()), np.bool_)])
        logits = _logits(classifier.network, shown, torch.device("cpu"))
        temperature = fit_temperature(logits, labels, evened(labels))
        classifier.temperature = temperature
        after = check(classifier.scorer("cpu"), self.sites, classifier.config.seed)
        classifier.metrics = {**after.numbers(), "ece_before": before.numbers()["ece"], "temperature": temperature}
        return before, after


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
