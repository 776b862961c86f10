"""Q-networks: from observations to the values of passing and erasing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from flipagents.learn.config import LearnerConfig, Norm, Trunk
from flipenv.config import EnvConfig
from flipenv.errors import ConfigError
from flipenv.sources.extras import need

ACTIONS = 2  # pass, erase
SMALL_FEATURES = 128


class QNetwork(nn.Module):
    """A trunk shared by all agents, and one fully connected head per agent (paper, section 2.2).

    Takes a joint observation (B, C, P, P) uint8, or egocentric ones (B, A, C, P, P) uint8 that each pass through the
    trunk; returns q (B, A, 2) float32, the values of pass and erase. Scales grey levels to [-1, 1] itself.

    n_channels C, n_agents A, window P (px).
    duelling: q = value + advantage - mean advantage (Wang et al. 2016, arXiv 1511.06581, Eq. 9).
    """

    def __init__(
        self,
        n_channels: int,
        n_agents: int,
        window: int,
        trunk: Trunk = "resnet18",
        duelling: bool = False,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        self.n_channels, self.n_agents, self.duelling = n_channels, n_agents, duelling
        self.trunk, features = make_trunk(n_channels, window, trunk, norm)
        outputs = ACTIONS + 1 if duelling else ACTIONS
        self.heads = nn.ModuleList(nn.Linear(features, outputs) for _ in range(n_agents))
        # for a few shallow convolutions, changing the memory format costs more than it saves
        self.layout = torch.contiguous_format if trunk == "small" else torch.channels_last
        self.trunk.to(memory_format=self.layout)  # type: ignore[call-overload]

    def forward(self, observation: Tensor) -> Tensor:
        """Return q (B, A, 2); ConfigError for an observation of another shape."""
        pictures = self._pictures(observation)
        grey = pictures.to(torch.float32, memory_format=self.layout)
        features = self.trunk(grey.div_(127.5).sub_(1.0))
        if observation.ndim == 5:
            per_agent = features.unflatten(0, observation.shape[:2]).unbind(1)
        else:
            per_agent = (features,) * self.n_agents
        out = torch.stack([head(own) for head, own in zip(self.heads, per_agent, strict=True)], 1).float()
        if not self.duelling:
            return out
        value, advantage = out[..., :1], out[..., 1:]
        return value + advantage - advantage.mean(-1, keepdim=True)

    def _pictures(self, observation: Tensor) -> Tensor:
        shape = tuple(observation.shape)
        joint = observation.ndim == 4 and shape[1] == self.n_channels
        egocentric = observation.ndim == 5 and shape[1:3] == (self.n_agents, self.n_channels)
        if observation.dtype != torch.uint8 or not (joint or egocentric):
            raise ConfigError(
                f"observation has shape {shape} and dtype {observation.dtype}; expected uint8 of shape "
                f"(B, {self.n_channels}, P, P) or (B, {self.n_agents}, {self.n_channels}, P, P)"
            )
        return observation.flatten(0, 1) if egocentric else observation


class IndependentQNetworks(nn.Module):
    """One `QNetwork` per agent, nothing shared; same shapes as `QNetwork`."""

    def __init__(self, n_channels: int, n_agents: int, window: int, *options: Any, **more: Any) -> None:
        super().__init__()
        self.each = nn.ModuleList(QNetwork(n_channels, 1, window, *options, **more) for _ in range(n_agents))

    def forward(self, observation: Tensor) -> Tensor:
        """Return q (B, A, 2)."""
        if observation.ndim == 5:
            return torch.cat([net(observation[:, agent]) for agent, net in enumerate(self.each)], 1)
        return torch.cat([net(observation) for net in self.each], 1)


def make_network(env: EnvConfig, config: LearnerConfig, *, shared: bool = True) -> nn.Module:
    """Return the network for an environment, on the config's device, initialised from the config's seed only."""
    kind = QNetwork if shared else IndependentQNetworks
    with torch.random.fork_rng(devices=[]):  # drawn on the CPU: the same weights on every device
        torch.manual_seed(config.seed)
        network = kind(env.n_channels, env.n_agents, env.window, config.trunk, config.duelling, config.norm)
    return network.to(config.device)


def make_trunk(n_channels: int, window: int, trunk: Trunk, norm: Norm) -> tuple[nn.Module, int]:
    """Trunk from pictures (N, C, P, P) float32 in [-1, 1] to features, and the number of features."""
    return _small(n_channels, window) if trunk == "small" else _resnet18(n_channels, norm)


def _small(n_channels: int, window: int) -> tuple[nn.Module, int]:
    """Three convolutions as in Mnih et al. 2015 (doi 10.1038/nature14236), the first without overlap.

    On a CPU that halves the time compared with 8x8 patches; works for any window from 8 px.
    """
    convolutions = nn.Sequential(
        nn.Conv2d(n_channels, 16, 4, stride=4),
        nn.ReLU(inplace=True),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Flatten(),
    )
    side = window // 4  # after the first convolution
    flat = 32 * (side // 2) ** 2
    if flat == 0:
        raise ConfigError(f"window={window} px is too small for the small trunk; expected at least 8")
    trunk = nn.Sequential(*convolutions, nn.Linear(flat, SMALL_FEATURES), nn.ReLU(inplace=True))
    return trunk, SMALL_FEATURES


def _resnet18(n_channels: int, norm: Norm) -> tuple[nn.Module, int]:
    """He et al. 2016 (doi 10.1109/CVPR.2016.90) up to the pooled features, from MONAI."""
    resnet = need("monai.networks.nets.resnet", extra="agents", purpose="trunk='resnet18'")
    trunk = resnet.resnet18(
        spatial_dims=2,
        n_input_channels=n_channels,
        conv1_t_stride=2,
        feed_forward=False,
        norm=norm if norm == "batch" else ("group", {"num_groups": 8}),
    )
    return trunk, 512
