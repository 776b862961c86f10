"""Replay buffer: transitions on one device, sampled for learning.

Row t holds every lane's observation before step t, the actions of its agents and their results. The next observation is
row t + 1, so every observation is stored once, in half the memory of pairs; n-step returns are summed from the rows
when sampled. In return a lane that ended waits one step, so that its last observation has a row; such a row is never
sampled as a start, and no return crosses it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flipagents.learn.config import LearnerConfig
from flipagents.learn.losses import n_step_return
from flipenv.errors import ConfigError

LEAST_PRIORITY = 1e-6  # keeps zero-error transitions sampleable


@dataclass(frozen=True, eq=False)
class Sample:
    """N transitions of n steps each."""

    observation: Tensor  # (N, ...) uint8
    actions: Tensor  # (N, A) int64
    reward: Tensor  # (N, A) float32, discounted sum
    next_observation: Tensor  # (N, ...) uint8
    factor: Tensor  # (N,) float32, discount on the bootstrap value; 0 where the episode terminated
    weight: Tensor  # (N,) float32, importance weight, at most 1; 1 when sampled uniformly
    index: Tensor  # (N,) int64, positions in the buffer, for `ReplayBuffer.reprioritise`


class ReplayBuffer:
    """A ring buffer of T rows of B lanes; the oldest row is overwritten.

    shape: one lane's observation, (C, P, P) or (A, C, P, P).
    Memory: T x B x the observation's bytes; 8000 joint observations of 6x64x64 are 197 MB.
    """

    def __init__(self, shape: tuple[int, ...], n_agents: int, config: LearnerConfig) -> None:
        rows, lanes, device = config.rows, config.lanes, config.device
        self.config, self.device = config, torch.device(device)
        self.observation = torch.zeros((rows, lanes, *shape), dtype=torch.uint8, device=device)
        self.actions = torch.zeros((rows, lanes, n_agents), dtype=torch.int8, device=device)
        self.rewards = torch.zeros((rows, lanes, n_agents), device=device)
        self.terminated = torch.zeros((rows, lanes), dtype=torch.bool, device=device)
        self.truncated = torch.zeros((rows, lanes), dtype=torch.bool, device=device)
        self.live = torch.zeros((rows, lanes), dtype=torch.bool, device=device)  # not waiting for a reset
        self.priority = torch.zeros((rows, lanes), dtype=torch.float64, device=device)
        self.highest = torch.ones((), dtype=torch.float64, device=device)  # priority of transitions not sampled yet
        self.written = 0  # rows ever written

    def __len__(self) -> int:
        """Transitions that can be sampled, waiting lanes included: excluding them would synchronise with the device."""
        return max(min(self.written, self.config.rows) - self.config.n_step, 0) * self.config.lanes

    def add(
        self, observation: Tensor, actions: Tensor, rewards: Tensor, terminated: Tensor, truncated: Tensor, live: Tensor
    ) -> None:
        """Write one row.

        observation (B, ...) uint8 before the step; actions, rewards (B, A); terminated, truncated (B,) bool after it;
        live (B,) bool, False for lanes that had ended before it. Can be sampled once n further rows are written.
        """
        row = self.written % self.config.rows
        self.observation[row] = observation
        self.actions[row] = actions
        self.rewards[row] = rewards
        self.terminated[row] = terminated
        self.truncated[row] = truncated
        self.live[row] = live
        self.priority[row] = self.highest * live
        self.written += 1

    def sample(self, count: int, generator: torch.Generator, beta: float = 1.0) -> Sample:
        """Draw `count` transitions with replacement: uniformly, or in proportion to priority ** alpha if configured.

        beta: exponent of importance weights. The generator is on the buffer's device. Does not synchronise with the
        device. Raises ConfigError on an empty buffer.
        """
        n, (rows, lanes) = self.config.n_step, self.live.shape
        if len(self) == 0:
            raise ConfigError(
                f"{self.written} rows in the replay buffer; expected more than n_step={n} before sampling"
            )
        chance = self._chance().flatten()
        mass = chance.cumsum(0)
        drawn = torch.rand(count, generator=generator, device=self.device, dtype=torch.float64) * mass[-1]
        index = torch.searchsorted(mass, drawn, right=True).clamp(max=mass.numel() - 1)
        row, lane = index // lanes, index % lanes
        ahead = (row[:, None] + torch.arange(n, device=self.device)) % rows
        which = (ahead, lane[:, None])
        reward, factor, steps = n_step_return(
            self.rewards[which], self.terminated[which], self.truncated[which], self.config.gamma
        )
        weight = torch.ones_like(factor)
        if self.config.prioritised:
            weight = chance[index] ** -beta
            weight = (weight / weight.max()).float()
        return Sample(
            observation=self.observation[row, lane],
            actions=self.actions[row, lane].long(),
            reward=reward,
            next_observation=self.observation[(row + steps) % rows, lane],
            factor=factor,
            weight=weight,
            index=index,
        )

    def reprioritise(self, index: Tensor, error: Tensor) -> None:
        """Set the priority of sampled transitions (N,) to the absolute TD error (N,)."""
        priority = error.double() + LEAST_PRIORITY
        self.priority.view(-1)[index] = priority
        self.highest = torch.maximum(self.highest, priority.max())

    def tensors(self) -> dict[str, Tensor]:
        """Tensors for a checkpoint: the rows written so far."""
        filled = min(self.written, self.config.rows)
        return {name: getattr(self, name)[:filled] for name in _ROWS} | {
            "highest": self.highest,
            "written": torch.tensor(self.written),
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Restore the tensors of a buffer of the same shape."""
        filled = len(tensors["live"])
        for name in _ROWS:
            getattr(self, name)[:filled] = tensors[name].to(self.device)
        self.highest = tensors["highest"].to(self.device)
        self.written = int(tensors["written"])

    def _chance(self) -> Tensor:
        """Unnormalised sampling probabilities, (T, B) float64: 0 for waiting lanes and the newest n rows."""
        rows, n = self.config.rows, self.config.n_step
        alpha = self.config.priority_alpha if self.config.prioritised else 0.0
        chance = self.priority**alpha
        chance = torch.where(self.live, chance, 0.0)
        newest = torch.arange(self.written - n, self.written, device=self.device) % rows
        chance[newest] = 0.0
        return chance


_ROWS = ("observation", "actions", "rewards", "terminated", "truncated", "live", "priority")
