"""Erase to segment: an environment in which agents erase a boxed nodule until the classifier's tag flips.

The erased area is the mask. `parallel_env` is the PettingZoo view, `env` its turn-based form, `vector_env` the batched
Gymnasium view; `gymnasium.make("flipenv/EraseToSegment-v0")` and `"flipenv/EraseToSegmentJoint-v0"` are registered.
"""

from __future__ import annotations

import sys
from importlib.metadata import version

import gymnasium
import pettingzoo

from flipenv.background import BACKGROUNDS
from flipenv.batch import Batch
from flipenv.channels import CHANNELS
from flipenv.config import COARSE, FINE, PAPER_COARSE, PAPER_FINE, CanvasSpec, EnvConfig
from flipenv.errors import FlipError
from flipenv.moved import MOVED, Finder
from flipenv.parallel import EraseParallelEnv, env, parallel_env
from flipenv.pool import EpisodePool
from flipenv.reward import REWARDS
from flipenv.scorer import ContrastScorer, Scorer
from flipenv.single import EraseEnv
from flipenv.sources import SOURCES, Source, open_source
from flipenv.superpixels import SUPERPIXELS
from flipenv.types import Box, Case
from flipenv.vector import EraseVectorEnv, vector_env
from flipenv.walks import ORDERS

__version__ = version("flip-learning")
sys.meta_path.insert(0, Finder(MOVED))

__all__ = [
    "BACKGROUNDS",
    "CHANNELS",
    "COARSE",
    "FINE",
    "ORDERS",
    "PAPER_COARSE",
    "PAPER_FINE",
    "REWARDS",
    "SOURCES",
    "SUPERPIXELS",
    "Batch",
    "Box",
    "CanvasSpec",
    "Case",
    "ContrastScorer",
    "EnvConfig",
    "EpisodePool",
    "EraseEnv",
    "EraseParallelEnv",
    "EraseVectorEnv",
    "FlipError",
    "Scorer",
    "Source",
    "env",
    "open_source",
    "parallel_env",
    "vector_env",
]

for _id, _agents in (("flipenv/EraseToSegment-v0", 1), ("flipenv/EraseToSegmentJoint-v0", 2)):
    if _id not in gymnasium.registry:
        gymnasium.register(
            _id,
            entry_point="flipenv.single:EraseEnv",
            vector_entry_point="flipenv.vector:EraseVectorEnv",
            kwargs={"n_agents": _agents},
        )

# PettingZoo has a registry since 1.27
if hasattr(pettingzoo, "register") and "flipenv/EraseToSegment-v0" not in pettingzoo.parallel_registry:
    pettingzoo.register("parallel", "flipenv/EraseToSegment-v0", entry_point="flipenv.parallel:parallel_env")
    pettingzoo.register("aec", "flipenv/EraseToSegment-v0", entry_point="flipenv.parallel:env")
