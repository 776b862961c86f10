"""Orders in which the agents visit the superpixels: one walk per agent; together they cover all superpixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ConfigError
from flipenv.registry import Registry

Walks = list[NDArray[np.int16]]
Order = Callable[[NDArray[Any], int, int, int], Walks]

# (centers (S, 2), n_agents, height, width of the area in px) -> one 1-D array of superpixels per agent, maybe empty
ORDERS: Registry[Order] = Registry("order")


def walking_order(
    centers: NDArray[Any], n_agents: int, order: str, area_height: int, area_width: int
) -> NDArray[np.int16]:
    """Return (A, T) int16: each agent's superpixel at each step of one traversal.

    `centers` is (S, 2), row and column of each superpixel's centre in pixels of the area, S at least 1. T is the
    length of the longest walk. A shorter walk repeats its last superpixel, which is harmless. A walk that would be
    empty, because there are fewer superpixels than agents, stays on the centre superpixel. Every superpixel is in at
    least one walk. ConfigError for an unknown order, no agents or no superpixels.
    """
    if n_agents < 1 or len(centers) < 1:
        raise ConfigError(f"{n_agents} agents and {len(centers)} superpixels; expected at least one of each")
    walks = ORDERS[order](centers, n_agents, area_height, area_width)
    centre = _centre(len(centers))
    steps = max(len(walk) for walk in walks)
    padded = np.full((n_agents, steps), centre, np.int16)
    for row, walk in zip(padded, walks, strict=True):
        row[: len(walk)] = walk
        row[len(walk) :] = walk[-1] if len(walk) else centre
    return padded


@ORDERS.register("index")
def index_order(centers: NDArray[Any], n_agents: int, area_height: int, area_width: int) -> Walks:
    """Walk by index from the centre superpixel (paper: 'start at S/2', one agent up to S, the other down to 1).

    Both directions start on the centre superpixel. Two agents take one direction each. More agents share a
    direction by dealing its superpixels out in turn: with four, agents 0 and 2 go up, 1 and 3 down. One agent
    has no one to share with and walks all superpixels from 0 to S-1.
    """
    superpixels = np.arange(len(centers), dtype=np.int16)
    if n_agents == 1:
        return [superpixels]
    centre = _centre(len(centers))
    directions = superpixels[centre:], superpixels[centre::-1]
    sharing = [len(range(direction, n_agents, 2)) for direction in (0, 1)]
    return [directions[agent % 2][agent // 2 :: sharing[agent % 2]] for agent in range(n_agents)]


@ORDERS.register("radial")
def radial_order(centers: NDArray[Any], n_agents: int, area_height: int, area_width: int) -> Walks:
    """Walk from the middle of the area outwards, dealt round robin; superpixels at one distance go by index."""
    middle = np.array([area_height - 1, area_width - 1]) / 2
    distance = ((np.asarray(centers, dtype=np.float64) - middle) ** 2).sum(axis=1)
    outwards = np.argsort(distance, kind="stable").astype(np.int16)
    return [outwards[agent::n_agents] for agent in range(n_agents)]


def _centre(n_superpixels: int) -> int:
    """Index of the paper's superpixel S/2, which counts from 1."""
    return (n_superpixels - 1) // 2
