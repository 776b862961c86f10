"""Train a network of `flipagents.maps.network` on images, boxes and one target map per case, from any source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from flipagents.maps.crops import SIZE, Crop, Picture, inputs
from flipagents.maps.network import Student, StudentConfig
from flipagents.maps.scanner import as_stored_elsewhere
from flipagents.maps.warp import warp
from flipenv.episode import shift_box
from flipenv.errors import ConfigError
from flipenv.progress import show_progress
from flipenv.types import Case

ZOOM, MOVE = 0.02, 0.01  # sigmas of the crop's size and place, shares of its size
GAMMA = 0.25  # sigma of log gamma
BLUR, NOISE = 0.7, 0.05  # largest sigmas: crop px, and standardised grey levels

# logits and target crops, both (B, 1, SIZE, SIZE), and network inputs (B, N_INPUTS[view], SIZE, SIZE), all float32, to
# a loss ()
Target: TypeAlias = NDArray[np.floating[Any]]  # (height, width) in 0..1
CropLoss: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


def distil(
    cases: Sequence[Case],
    maps: Sequence[Target],
    config: StudentConfig | None = None,
    *,
    loss: CropLoss | None = None,
    device: str = "cpu",
    progress: bool = True,
    title: str = "network",
) -> Student:
    """Train a student on one map (height, width) float in 0..1 per case; the cases' masks are not used.

    loss: the loss to minimise, None for the mean of Dice loss and cross entropy between output and map. title: of the
    progress display.
    The last epoch's averaged weights are kept. On one machine the same arguments give the same weights.
    Raises ConfigError unless there is one map of the image's shape for each case.
    """
    config = config or StudentConfig()
    if [case.image.shape for case in cases] != [target.shape for target in maps]:
        raise ConfigError(
            f"{len(maps)} maps for {len(cases)} cases, or of other shapes; expected one map of each image's shape"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        student = Student(config, device)
        network = student.network
        batches = -(-len(cases) // config.batch)
        steps = config.epochs * batches
        decay = 1 - 1 / max(config.average * steps, 1)
        average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=config.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=steps)
        judge = loss or dice_and_entropy()
        rng = np.random.default_rng(config.seed)
        targets = [np.asarray(target, np.float32) for target in maps]
        network.train()
        with show_progress(title, config.epochs, unit="epoch", quiet=not progress) as shown:
            for _ in range(config.epochs):
                losses = []
                for chosen in np.array_split(rng.permutation(len(cases)), batches):
                    drawn = [example(cases[index], targets[index], config, rng) for index in chosen]
                    crops, target_map = (
                        torch.from_numpy(np.stack(part)).to(device) for part in zip(*drawn, strict=True)
                    )
                    optimiser.zero_grad()
                    judged = judge(network(crops), target_map, crops)
                    judged.backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
                    schedule.step()
                    average.update_parameters(network)
                    losses.append(judged.detach())
                shown.advance(1, f"loss {float(torch.stack(losses).mean()):.3f}")
    student.take(average.module.state_dict())
    network.eval()
    return student


def dice_and_entropy() -> CropLoss:
    """Mean of Dice loss and cross entropy between output and map."""
    from monai.losses.dice import DiceCELoss  # noqa: PLC0415 - takes seconds to import

    judge = DiceCELoss(sigmoid=True, lambda_dice=0.5, lambda_ce=0.5)
    return lambda logits, target_map, _: judge(logits, target_map)


def example(
    case: Case, target_map: NDArray[np.float32], config: StudentConfig, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One training crop: inputs (N_INPUTS[view], SIZE, SIZE) and map (1, SIZE, SIZE), both float32.

    Augmented: scanner and outline (as configured), box, crop, grey levels, and a flip for half of the crops.
    """
    if config.scanners and rng.random() < config.scanners:
        case = as_stored_elsewhere(case, rng)
    if config.warp and rng.random() < config.warp_share:
        case, target_map = warp(case, target_map, config.warp, rng)
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0, config.shift)
    box = shift_box(case.box, length * np.sin(angle), length * np.cos(angle), case.image.shape)
    crop = Crop.around(box, config.view).moved(
        rng.normal(0, MOVE), rng.normal(0, MOVE), zoom=np.exp(rng.normal(0, ZOOM))
    )
    crops = inputs(case.image, box, crop, config.view)
    crops[0] = _varied(crops[0], rng)
    target = crop.cut(target_map, cv2.BORDER_CONSTANT)[None]
    if rng.random() < 0.5:
        crops, target = crops[..., ::-1], target[..., ::-1]
    return np.ascontiguousarray(crops), np.ascontiguousarray(target)


def _varied(grey: Picture, rng: np.random.Generator) -> Picture:
    """Random gamma, blur and noise; standardised again."""
    low, high = float(grey.min()), float(grey.max())
    grey = ((grey - low) / max(high - low, 1e-6)) ** np.exp(rng.normal(0, GAMMA))
    if rng.random() < 0.5:
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), rng.uniform(0.01, BLUR)), np.float32)
    grey = (grey - grey.mean()) / max(float(grey.std()), 1e-3)
    return np.asarray(grey + rng.normal(0, rng.uniform(0, NOISE), (SIZE, SIZE)), np.float32)
