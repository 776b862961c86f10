"""Heat maps of a classifier by Grad-CAM and Grad-CAM++, on canvases and on images.

R. R. Selvaraju et al., Grad-CAM: visual explanations from deep networks via gradient-based localization, ICCV 2017,
doi 10.1109/ICCV.2017.74; A. Chattopadhay et al., Grad-CAM++: generalized gradient-based visual explanations for deep
convolutional networks, WACV 2018, doi 10.1109/WACV.2018.00097. MONAI's implementation of both.
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
    """Heat maps of the last layer of a network whose stride is at most `stride`; the network is copied.

    network: (B, 1, H, W) float32 -> logits (B, 1), its layers being its children. stride: canvas px.
    """

    def __init__(self, network: nn.Module, stride: int, *, plus: bool = False, device: str = "cpu") -> None:
        from monai.visualize.class_activation_maps import GradCAM, GradCAMpp  # noqa: PLC0415 - takes seconds to import

        own = copy.deepcopy(network).to(device).eval()
        for module in own.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False  # the layer's output must survive the forward pass
        kind = GradCAMpp if plus else GradCAM
        self.device = device
        self.maps: Callable[..., Tensor] = kind(own, finest(own, stride), postprocessing=lambda heat: heat)

    def __call__(self, canvas: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Heat (H, W) float32 >= 0 of one canvas (H, W) uint8; MONAI's Grad-CAM++ takes no batches."""
        grey = torch.from_numpy(canvas).to(self.device, torch.float32)[None, None] / 255
        return np.asarray(self.maps((grey - MEAN) / STD, class_idx=0)[0, 0].detach().cpu(), np.float32)

    def on_image(self, case: Case, env: EnvConfig) -> NDArray[np.float32]:
        """Heat of a case's canvas mapped onto its image, (height, width) in 0..1; 0 outside the area of `env`."""
        episode = prepare(case, env)
        heat = self(episode.image)
        share = heat / max(float(heat.max()), 1e-12)
        return np.asarray((map_on_image(2 * share - 1, episode.geometry) + 1) / 2)


def hot(heat: NDArray[np.float32], case: Case, share: float) -> NDArray[np.bool_]:
    """The largest component in the box where the heat exceeds a share of its maximum there, holes filled."""
    inside = np.where(filled_box(case.box, case.image.shape), heat, 0)
    return tidy(inside > share * inside.max())


def finest(network: nn.Module, stride: int, side: int = 128) -> str:
    """Name of the last child whose output has at least `side` / `stride` rows; ConfigError if there is none."""
    names: list[str] = []

    def record(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            if output.ndim == 4 and output.shape[2] * stride >= side:
                names.append(name)

        return hook

    hooks = [child.register_forward_hook(record(name)) for name, child in network.named_children()]
    with torch.inference_mode():
        network(torch.zeros(1, 1, side, side, device=next(network.parameters()).device))
    for each in hooks:
        each.remove()
    if not names:
        raise ConfigError(f"stride={stride}: no layer of {type(network).__name__} is as fine; use a larger stride")
    return names[-1]
