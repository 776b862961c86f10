"""Losses from a box alone: the mask touches all four sides, and similar neighbours share a label.

Z. Tian, C. Shen, X. Wang, H. Chen, BoxInst: high-performance instance segmentation with box annotations, CVPR 2021,
doi 10.1109/CVPR46437.2021.00540: the projection loss and the pairwise affinity loss, here on grey levels instead of
colours. The third loss is ours: the middle of the box is nodule, and what lies well outside its ellipse is not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from flipagents.maps.training import CropLoss

STEP = 2  # crop px between the pixels of a pair, the dilation of BoxInst
CORE, BEYOND = 0.6, 1.2  # in radii of the ellipse: nodule within CORE, none outside BEYOND


def box_loss(pairs: float, ring: float, alike: float) -> CropLoss:
    """Projection loss + `pairs` * affinity loss + `ring` * ring loss; the target maps are filled boxes."""
    project = projection()

    def loss(logits: Tensor, wanted: Tensor, seen: Tensor) -> Tensor:
        box = (wanted > 0.5).to(logits.dtype)
        total = project(logits, box)
        if pairs:
            total = total + pairs * affinity(logits, box, seen[:, :1], alike)
        return total + ring * ring_loss(logits, seen[:, 1:2]) if ring else total

    return loss


def projection() -> Callable[[Tensor, Tensor], Tensor]:
    """Dice loss between the row and column maxima of the probabilities and of the box, both (B, 1, H, W)."""
    from monai.losses.dice import DiceLoss  # noqa: PLC0415 - takes seconds to import

    judge = DiceLoss(squared_pred=True)

    def loss(logits: Tensor, box: Tensor) -> Tensor:
        seen = logits.sigmoid()
        total: Tensor = judge(seen.amax(2), box.amax(2)) + judge(seen.amax(3), box.amax(3))
        return total

    return loss


def affinity(logits: Tensor, box: Tensor, grey: Tensor, alike: float) -> Tensor:
    """Mean of -log P(same label) over similar pairs with at least one pixel in the box; all (B, 1, H, W)."""
    nodule, other = nn.functional.logsigmoid(logits), nn.functional.logsigmoid(-logits)
    total, count = logits.new_zeros(()), logits.new_zeros(())
    for rows, columns in ((0, STEP), (STEP, 0), (STEP, STEP), (STEP, -STEP)):

        def pair(picture: Tensor, rows: int = rows, columns: int = columns) -> tuple[Tensor, Tensor]:
            height, width = picture.shape[2:]
            left, right = max(-columns, 0), max(columns, 0)
            return picture[..., : height - rows, left : width - right], picture[..., rows:, right : width - left]

        (one, two), (not_one, not_two), (here, there), (near, far) = map(pair, (nodule, other, box, grey))
        same = torch.logaddexp(one + two, not_one + not_two)
        counted = (torch.maximum(here, there) > 0.5) & ((near - far).abs() <= alike)
        total, count = total - same[counted].sum(), count + counted.sum()
    return total / count.clamp(min=1)


def ring_loss(logits: Tensor, radius: Tensor) -> Tensor:
    """Cross entropy inside CORE and outside BEYOND; radius: in radii of the ellipse, minus 1. All (B, 1, H, W)."""
    known = (radius < CORE - 1) | (radius > BEYOND - 1)
    wanted = (radius < CORE - 1).to(logits.dtype)
    return nn.functional.binary_cross_entropy_with_logits(logits[known], wanted[known])
