"""Observations: the most recent windows of all agents, and the configured channels."""

from __future__ import annotations

from array_api_compat import array_namespace, device

from flipenv.arrays import pick, windows
from flipenv.config import EnvConfig
from flipenv.types import Array, Episodes, State

LIVE_CHANNELS = ("superpixel", "erased")  # computed at every step; all others are prepared once
OWN_CHANNELS = (*LIVE_CHANNELS, "prior")  # need more than canvas and box, so not in flipenv.channels.CHANNELS


def positions(episodes: Episodes, step: Array) -> Array:
    """Each agent's superpixel (B, A) int16 after `step` (B,) joint steps."""
    xp = array_namespace(step)
    batch, agents, steps = episodes.order.shape
    first = xp.arange(0, batch * agents * steps, steps, dtype=xp.int64, device=device(step))
    index = xp.reshape(first, (batch, agents)) + xp.astype(step % episodes.steps, xp.int64)[:, None]
    here = xp.take(xp.reshape(episodes.order, (-1,)), xp.reshape(index, (-1,)), axis=0)
    return xp.reshape(here, (batch, agents))


def look(episodes: Episodes, canvas: Array, here: Array, config: EnvConfig) -> Array:
    """One frame: the agents' current windows, (B, A, L, P, P) uint8; L = 2 with coarse channels."""
    xp = array_namespace(canvas)
    centers = pick(episodes.centers, here)
    layers = (canvas, episodes.coarse) if config.coarse_channels else (canvas,)
    return xp.stack([windows(layer, centers, config.window) for layer in layers], axis=2)


def observe(episodes: Episodes, state: State, config: EnvConfig) -> Array:
    """Return each agent's observation, (B, A, C, P, P) uint8.

    Channels: F x A windows of grey levels, oldest step first, agents in order; then the coarse mask in the same
    windows, if configured; then the extra channels of each agent's current window, agent by agent. `joint`: the same
    stack for all agents, as a broadcast view; `egocentric`: in each group the agent's own comes first, then the others
    cyclically.
    """
    xp = array_namespace(state.frames)
    batch, steps, agents, layers, side, _ = state.frames.shape
    extra = _extra(episodes, state, config)

    def stack(first: int) -> Array:
        frames = state.frames if first == 0 else xp.roll(state.frames, -first, axis=2)
        groups = [
            xp.reshape(frames[:, :, :, layer, ...], (batch, steps * agents, side, side)) for layer in range(layers)
        ]
        if extra is not None:
            own = extra if first == 0 else xp.roll(extra, -first, axis=1)
            groups.append(xp.reshape(own, (batch, -1, side, side)))
        return groups[0] if len(groups) == 1 else xp.concat(groups, axis=1)

    if config.observation == "joint":
        stacked = stack(0)
        return xp.broadcast_to(stacked[:, None, ...], (batch, agents, *stacked.shape[1:]))
    return xp.stack([stack(agent) for agent in range(agents)], axis=1)


def _extra(episodes: Episodes, state: State, config: EnvConfig) -> Array | None:
    """The extra channels of each agent's current window, (B, A, M, P, P) uint8, or None without any."""
    if not config.channels:
        return None
    xp = array_namespace(state.canvas)
    centers = pick(episodes.centers, state.here)
    labels = windows(episodes.labels, centers, config.window)
    prepared = iter(xp.unstack(windows(episodes.channels, centers, config.window), axis=1))
    pictures = []
    for name in config.channels:
        if name == "superpixel":
            picture = _white(labels == state.here[:, :, None, None])
        elif name == "erased":
            picture = _white(erased_pixels(state.erased, labels))
        else:
            picture = next(prepared)
        pictures.append(picture)
    return xp.stack(pictures, axis=2)


def erased_pixels(erased: Array, labels: Array) -> Array:
    """Whether the superpixel under each label was erased: erased (B, S) bool, labels (B, ...) -> (B, ...) bool."""
    xp = array_namespace(erased)
    batch, superpixels = erased.shape
    lane = xp.arange(batch, dtype=xp.int64, device=device(erased)) * superpixels
    shape = (batch,) + (1,) * (labels.ndim - 1)
    index = xp.reshape(lane, shape) + xp.astype(xp.where(labels < 0, xp.zeros_like(labels), labels), xp.int64)
    under = xp.reshape(xp.take(xp.reshape(erased, (-1,)), xp.reshape(index, (-1,)), axis=0), labels.shape)
    return under & (labels >= 0)


def _white(mask: Array) -> Array:
    xp = array_namespace(mask)
    return xp.astype(mask, xp.uint8) * 255
