"""A small CNN for libraries that bring none: windows (..., C, P, P) uint8 -> (..., outputs) float32."""

import torch
from torch import nn


class Network(nn.Module):
    def __init__(self, channels, window, outputs):
        super().__init__()
        side = (window // 4) // 2
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 4, stride=4),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * side * side, 128),
            nn.ReLU(),
            nn.Linear(128, outputs),
        )

    def forward(self, windows):
        *batch, channels, height, width = windows.shape
        flat = windows.reshape(-1, channels, height, width).to(torch.float32).div(127.5).sub(1.0)
        return self.layers(flat).reshape(*batch, -1)
