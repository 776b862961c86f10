"""What a box says about the mask in it, as losses: it touches the sides, and alike neighbours belong together.

Z. Tian, C. Shen, X. Wang, H. Chen, BoxInst: high-performance instance segmentation with box annotations, CVPR 2021,
doi 10.1109/CVPR46437.2021.00540: its projection loss and its pairwise affinity loss. Theirs compares the colours of
pixels; here grey levels are all there is. A third loss is ours: the middle of a nodule's box is nodule, and what lies
well beyond its ellipse is not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from flipagents.maps.training import CropLoss

STEP = 2  # crop px between the pixels of a pair: their dilation
CORE, BEYOND = 0.6, 1.2  # radii of the ellipse: nodule within, none outside


def box_loss(pairs: float, ring: float, alike: float) -> CropLoss:
    """Projection loss, and with these weights the pairs' loss and the ring's; maps are filled boxes."""
    project = projection()

    def loss(logits: Tensor, wanted: Tensor, seen: Tensor) -> Tensor:
        box = (wanted > 0.5).to(logits.dtype)
        total = project(logits, box)
        if pairs:
            total = total + pairs * affinity(logits, box, seen[:, :1], alike)
        return total + ring * ring_loss(logits, seen[:, 1:2]) if ring else total

    return loss


def projection() -> Callable[[Tensor, Tensor], Tensor]:
    """Dice loss between the largest probability of each row and column and the box's, both (B, 1, H, W)."""
    from monai.losses.dice import DiceLoss  # noqa: PLC0415 - takes seconds to import

    judge = DiceLoss(squared_pred=True)

    def loss(logits: Tensor, box: Tensor) -> Tensor:
        seen = logits.sigmoid()
        total: Tensor = judge(seen.amax(2), box.amax(2)) + judge(seen.amax(3), box.amax(3))
        return total

    return loss


def affinity(logits: Tensor, box: Tensor, grey: Tensor, alike: float) -> Tensor:
    """Mean of -log P(both nodule or both not) over pairs that look alike, one of them in the box; all (B, 1, H, W)."""
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
    """Cross entropy where the radius, less 1, says nodule or none; the ring between says nothing. All (B, 1, H, W)."""
    known = (radius < CORE - 1) | (radius > BEYOND - 1)
    wanted = (radius < CORE - 1).to(logits.dtype)
    return nn.functional.binary_cross_entropy_with_logits(logits[known], wanted[known])
