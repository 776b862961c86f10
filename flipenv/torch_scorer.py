"""A trained torch classifier as a Scorer; the one file of this package that imports torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from array_api_compat import array_namespace, device

from flipenv.errors import ConfigError, ScorerError
from flipenv.types import Array


class TorchScorer:
    """Puts a module in evaluation mode and computes the nodule score from its logits.

    module: (n, 1, h, w) float32 -> logits (n,) or (n, 1) of 'nodule', or (n, 2) of ('normal tissue', 'nodule').
    size: (h, w) to which canvases are resized (bilinear), None to keep their own.
    mean, std: grey levels are (x / 255 - mean) / std.
    temperature: logits are divided by it (Guo et al. 2017, arXiv 1706.04599).
    batch: canvases per forward pass.
    autocast: torch.autocast in bfloat16; scores then have noise of 1e-2: raise `dead_zone`.

    Scores are returned on the canvases' own library and device. Raises ScorerError for logits of another shape or NaN.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        device: str | torch.device | None = None,
        size: tuple[int, int] | None = None,
        mean: float = 0.5,
        std: float = 0.25,
        temperature: float = 1.0,
        batch: int = 256,
        autocast: bool = False,
    ) -> None:
        if std <= 0 or temperature <= 0 or batch < 1:
            raise ConfigError(f"std={std}, temperature={temperature}, batch={batch}; expected positive values")
        first = next(module.parameters(), torch.zeros(()))
        self.device = torch.device(device) if device is not None else first.device
        self.module = module.to(self.device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.size, self.mean, self.std, self.temperature = size, mean, std, temperature
        self.batch, self.autocast = batch, autocast

    def __call__(self, canvases: Array, /) -> Array:
        """Canvases (B, H, W) uint8 -> nodule score (B,) float32 in [0, 1]."""
        is_tensor = isinstance(canvases, torch.Tensor)
        pictures = canvases if is_tensor else torch.from_numpy(np.array(canvases))
        with torch.inference_mode():
            scores = torch.cat([self._score(part) for part in pictures.split(self.batch)])
        if is_tensor:
            return scores.to(canvases.device).clone()
        return _like(canvases, scores.cpu().numpy())

    def _score(self, pictures: torch.Tensor) -> torch.Tensor:
        grey = pictures.to(self.device, torch.float32, non_blocking=True)[:, None] / 255
        if self.size is not None and tuple(grey.shape[2:]) != self.size:
            grey = torch.nn.functional.interpolate(grey, self.size, mode="bilinear", antialias=True)
        grey = ((grey - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            logits = self.module(grey).float()
        if logits.ndim == 2 and logits.shape[1] == 2:
            logits = logits[:, 1] - logits[:, 0]
        logits = logits.reshape(-1) if logits.ndim == 2 and logits.shape[1] == 1 else logits
        if logits.shape != (len(pictures),) or bool(logits.isnan().any()):
            raise ScorerError(
                f"{type(self.module).__name__} gave logits of shape {tuple(logits.shape)} for {len(pictures)} "
                f"canvases, {int(logits.isnan().sum())} of them NaN; expected (n,), (n, 1) or (n, 2) without NaN: "
                "check its head and weights"
            )
        return torch.sigmoid(logits / self.temperature)


def _like(canvases: Array, scores: Any) -> Array:
    """Scores on the array library of the canvases."""
    return array_namespace(canvases).asarray(scores, device=device(canvases))
