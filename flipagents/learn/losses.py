"""Learning targets and losses: pure functions of tensors.

Shapes: N sampled transitions, A agents. Actions are 0 (pass) and 1 (erase).
"""

from __future__ import annotations

import torch
from torch import Tensor

from flipagents.learn.config import Loss


def n_step_return(
    rewards: Tensor, terminated: Tensor, truncated: Tensor, gamma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum discounted rewards up to an end or n steps, whichever comes first (Sutton 1988).

    rewards (N, n, A) float32, terminated and truncated (N, n) bool: results of n consecutive steps of a lane. Returns
    the sum (N, A), the discount factor on the bootstrap value (N,) and its offset in steps (N,) int64. The factor is 0
    after a terminated step. A truncated episode would have continued: it bootstraps.
    """
    ended = terminated | truncated
    before = torch.cumsum(ended.long(), 1) - ended.long()  # ends before each step
    counts = before == 0
    steps = counts.sum(1)
    discounts = gamma ** torch.arange(rewards.shape[1], device=rewards.device, dtype=rewards.dtype)
    total = (rewards * (discounts * counts)[..., None]).sum(1)
    flipped = (terminated & counts).any(1)
    factor = torch.where(flipped, 0.0, gamma ** steps.to(rewards.dtype))
    return total, factor, steps


def td_target(reward: Tensor, factor: Tensor, next_target: Tensor, next_online: Tensor | None = None) -> Tensor:
    """Target value of each agent's action, (N, A).

    reward (N, A); factor (N,), the discount, 0 where the episode terminated; next_target (N, A, 2), the target
    network's values of the next observation. With next_online (N, A, 2) the online network selects the next action and
    the target network evaluates it (double DQN: Eq. 3; van Hasselt et al. 2016, arXiv 1509.06461); without, the target
    network does both.
    """
    best = (next_target if next_online is None else next_online).argmax(-1, keepdim=True)
    return reward + factor[:, None] * next_target.gather(-1, best)[..., 0]


def chosen(q: Tensor, actions: Tensor) -> Tensor:
    """Values (N, A) of the actions (N, A) int64 that were taken, from q (N, A, 2)."""
    return q.gather(-1, actions[..., None])[..., 0]


def value_decomposition(value: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Team value and team target (N, 1) from each agent's (N, A): value-decomposition networks.

    Since all agents share one discount, the sum of the agents' targets is the summed reward plus the discounted sum of
    the next values; for a sum, the joint maximum is attained by each agent's own (Sunehag et al. 2018, arXiv
    1706.05296).
    """
    return value.sum(1, keepdim=True), target.sum(1, keepdim=True)


def td_loss(value: Tensor, target: Tensor, weight: Tensor, kind: Loss = "mse") -> tuple[Tensor, Tensor]:
    """Return the mean loss () over transitions and agents, and the absolute error (N,) per transition.

    value, target (N, A); weight (N,), importance weights, 1 if unweighted. `mse` is the squared error of Eq. 4, `huber`
    half of it up to an error of 1 and linear beyond.
    """
    error = value - target
    losses = error**2 if kind == "mse" else torch.nn.functional.huber_loss(value, target, reduction="none")
    return (losses.mean(1) * weight).mean(), error.detach().abs().mean(1)
