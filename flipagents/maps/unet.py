"""A small U-Net without importing MONAI: layer for layer its BasicUNet, with compatible weights.

Layers have the same names and are created in the same order, so that a seed gives the same weights. After Falk et al.
2019, U-Net: deep learning for cell counting, detection, and morphometry, doi 10.1038/s41592-018-0261-2.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class UNet(nn.Module):
    """Pictures (B, n_inputs, H, W) float32 to logits (B, 1, H, W); H and W are multiples of 16.

    features: channels of the five levels from the finest to the coarsest, then of the last layer.
    """

    def __init__(self, n_inputs: int, features: Sequence[int]) -> None:
        super().__init__()
        first, second, third, fourth, fifth, last = features
        self.conv_0 = _twice(n_inputs, first)
        self.down_1 = _down(first, second)
        self.down_2 = _down(second, third)
        self.down_3 = _down(third, fourth)
        self.down_4 = _down(fourth, fifth)
        self.upcat_4 = _Up(fifth, fifth // 2, fourth, fourth)
        self.upcat_3 = _Up(fourth, fourth // 2, third, third)
        self.upcat_2 = _Up(third, third // 2, second, second)
        self.upcat_1 = _Up(second, second, first, last)
        self.final_conv = nn.Conv2d(last, 1, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits."""
        finest = self.conv_0(pictures)
        second = self.down_1(finest)
        third = self.down_2(second)
        fourth = self.down_3(third)
        up = self.upcat_4(self.down_4(fourth), fourth)
        for level, skipped in ((self.upcat_3, third), (self.upcat_2, second), (self.upcat_1, finest)):
            up = level(up, skipped)
        logits: Tensor = self.final_conv(up)
        return logits


class _Up(nn.Module):
    """Upsample by two, concatenate the skip connection, and convolve twice."""

    def __init__(self, n_below: int, n_enlarged: int, n_skipped: int, n_outputs: int) -> None:
        super().__init__()
        self.upsample = nn.Sequential()
        if n_enlarged != n_below:
            self.upsample.add_module("preconv", nn.Conv2d(n_below, n_enlarged, 1))
        larger = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.upsample.add_module("upsample_non_trainable", larger)
        self.convs = _twice(n_skipped + n_enlarged, n_outputs)

    def forward(self, below: Tensor, skipped: Tensor) -> Tensor:
        features: Tensor = self.convs(torch.cat([skipped, self.upsample(below)], 1))
        return features


def _twice(n_inputs: int, n_outputs: int) -> nn.Sequential:
    layers = (_convolution(n_inputs, n_outputs), _convolution(n_outputs, n_outputs))
    return nn.Sequential(OrderedDict(zip(("conv_0", "conv_1"), layers, strict=True)))


def _down(n_inputs: int, n_outputs: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(max_pooling=nn.MaxPool2d(2), convs=_twice(n_inputs, n_outputs)))


def _convolution(n_inputs: int, n_outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(n_inputs, n_outputs, 3, padding=1)
    after = nn.Sequential(OrderedDict(N=nn.BatchNorm2d(n_outputs), A=nn.ReLU(inplace=True)))
    return nn.Sequential(OrderedDict(conv=convolution, adn=after))
