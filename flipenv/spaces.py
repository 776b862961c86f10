"""The spaces of all views, and joint actions as bits: one source of truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace, device
from gymnasium import spaces

from flipenv.config import EnvConfig
from flipenv.types import Array

PASS, ERASE = 0, 1


def agent_names(config: EnvConfig) -> list[str]:
    """eraser_0, eraser_1, ..."""
    return [f"eraser_{agent}" for agent in range(config.n_agents)]


def observation_space(config: EnvConfig) -> spaces.Box:
    """One agent's observation, (C, P, P) uint8."""
    return spaces.Box(0, 255, (config.n_channels, config.window, config.window), np.uint8)


def state_space(config: EnvConfig) -> spaces.Box:
    """The whole canvas, (3, H, W) uint8: current grey levels, erased pixels, the agents' superpixels."""
    return spaces.Box(0, 255, (3, config.canvas.height, config.canvas.width), np.uint8)


def joint_actions(config: EnvConfig) -> int:
    """Number of joint actions: bit k of a joint action is agent k's action."""
    return 1 << config.n_agents


def split(joint: Array, config: EnvConfig) -> Array:
    """Joint actions (B,) -> each agent's action (B, A)."""
    xp = array_namespace(joint)
    bit = xp.arange(config.n_agents, dtype=joint.dtype, device=device(joint))
    return xp.bitwise_and(
        xp.bitwise_right_shift(joint[:, None], bit), xp.asarray(1, dtype=joint.dtype, device=device(joint))
    )


def action_mask(may_erase: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
    """Joint actions that differ from every smaller one: may_erase (..., A) bool -> (..., 2^A) int8.

    Erasing an already erased superpixel is equivalent to passing. All actions are legal.
    """
    agents = may_erase.shape[-1]
    erases = (np.arange(1 << agents)[:, None] >> np.arange(agents)) & 1 == 1
    useful: npt.NDArray[np.bool_] = np.all(may_erase[..., None, :] | ~erases, axis=-1)
    return useful.astype(np.int8)
