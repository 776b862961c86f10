"""Where a classifier looked: heat maps by Grad-CAM and Grad-CAM++, one canvas at a time, and put back on images.

R. R. Selvaraju et al., Grad-CAM: visual explanations from deep networks via gradient-based localization, ICCV 2017,
doi 10.1109/ICCV.2017.74; A. Chattopadhay et al., Grad-CAM++: generalized gradient-based visual explanations for deep
convolutional networks, WACV 2018, doi 10.1109/WACV.2018.00097. Both are MONAI's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flipagents.classify.classifier import MEAN, STD
from flipagents.maps.geometry import filled_box
from flipagents.maps.tidy import tidy
from flipenv.config import EnvConfig
from flipenv.episode import map_on_image, prepare
from flipenv.errors import ConfigError
from flipenv.types import Case


class Heat:
    """Heat maps of the last layer of a network, or of a finer one; the network is copied.

    network: (B, 1, H, W) float32 -> logits (B, 1), with its layers as children. stride: the layer is the last child
    with a place at least every so many rows.
    """

    def __init__(self, network: nn.Module, stride: int, *, plus: bool = False, device: str = "cpu") -> None:
        from monai.visualize.class_activation_maps import GradCAM, GradCAMpp  # noqa: PLC0415 - takes seconds to import

        own = copy.deepcopy(network).to(device).eval()
        for module in own.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False  # what the layer gave must still be there afterwards
        kind = GradCAMpp if plus else GradCAM
        self.device = device
        self.maps: Callable[..., Tensor] = kind(own, finest(own, stride), postprocessing=lambda heat: heat)

    def __call__(self, canvas: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Heat (H, W) float32, not negative, of one canvas (H, W) uint8; one at a time: MONAI's Grad-CAM++ must."""
        grey = torch.from_numpy(canvas).to(self.device, torch.float32)[None, None] / 255
        return np.asarray(self.maps((grey - MEAN) / STD, class_idx=0)[0, 0].detach().cpu(), np.float32)

    def on_image(self, case: Case, env: EnvConfig) -> NDArray[np.float32]:
        """Heat (height, width) in 0..1 of a case's canvas, put back on its image; 0 outside the area of `env`."""
        episode = prepare(case, env)
        heat = self(episode.image)
        share = heat / max(float(heat.max()), 1e-12)
        return np.asarray((map_on_image(2 * share - 1, episode.geometry) + 1) / 2)


def hot(heat: NDArray[np.float32], case: Case, share: float) -> NDArray[np.bool_]:
    """The largest piece of where a heat map exceeds a share of its largest value in the box, nothing outside that."""
    inside = np.where(filled_box(case.box, case.image.shape), heat, 0)
    return tidy(inside > share * inside.max())


def finest(network: nn.Module, stride: int, side: int = 128) -> str:
    """Name of the last child whose output has at least `side` / `stride` rows; ConfigError where none has."""
    names: list[str] = []

    def note(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(module: nn.Module, given: object, output: Tensor) -> None:
            if output.ndim == 4 and output.shape[2] * stride >= side:
                names.append(name)

        return hook

    hooks = [child.register_forward_hook(note(name)) for name, child in network.named_children()]
    with torch.inference_mode():
        network(torch.zeros(1, 1, side, side, device=next(network.parameters()).device))
    for each in hooks:
        each.remove()
    if not names:
        raise ConfigError(f"stride={stride}: no layer of {type(network).__name__} is as fine; give a larger one")
    return names[-1]
