"""What `flip export` wrote, as the parts that segment: agent, map maker and scorer, on NumPy and onnxruntime alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from flipagents.learn.agent import Agent
from flipagents.learn.config import LearnerConfig
from flipagents.maps.crops import View
from flipagents.maps.mapper import Mapper
from flipagents.store.onnx import open_network
from flipenv.batch import Batch, to_numpy
from flipenv.config import EnvConfig
from flipenv.errors import ConfigError
from flipenv.types import Array

ROLES = AGENT, MAPPER, SCORER = "agent", "mapper", "scorer"
CANVASES = 256  # in one pass


class OnnxAgent(Agent):
    """An agent that learned elsewhere: acts and weighs, and does not learn."""

    name = "onnx"

    def __init__(self, env: EnvConfig, config: LearnerConfig, session: Any) -> None:
        super().__init__(env, config)
        self.session = session

    @property
    def batch_device(self) -> None:
        """NumPy on every device: onnxruntime takes it from there."""
        return None

    def act(self, batch: Batch, epsilon: float = 0.0) -> Array:
        """Erase where that is better."""
        weighed = self.weigh(batch)
        xp = array_namespace(weighed)
        return xp.astype(weighed > 0, xp.int64)

    def weigh(self, batch: Batch) -> Array:
        """What the network says, (B, A) float32."""
        seen = batch.observation()
        if self.env.observation == "joint":
            seen = seen[:, 0, ...]
        (better,) = self.session.run(None, {"observation": to_numpy(seen)})
        return array_namespace(seen).asarray(better, device=device(seen))

    def weights(self) -> NoReturn:
        """None to be had: what it knows is in its file, which can be copied."""
        raise ConfigError("an exported agent cannot be saved anew; copy its folder")


def open_agent(folder: str | Path, device: str = "cpu") -> OnnxAgent:
    """Read an agent that was exported; raises as `flipagents.store.onnx.open_network`."""
    session, about = open_network(folder, AGENT, device)
    return OnnxAgent(EnvConfig.of(about["env"]), LearnerConfig.of({**about["config"], "device": device}), session)


class OnnxMapper(Mapper):
    """A student that learned elsewhere."""

    runtime = "onnx"

    def __init__(self, view: View, session: Any) -> None:
        super().__init__(view)
        self.session = session

    def probabilities(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Mapper`."""
        return np.asarray(self.session.run(None, {"crops": seen})[0], np.float32)

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> OnnxMapper:
        """Read what was exported; raises as `flipagents.store.onnx.open_network`."""
        session, about = open_network(folder, MAPPER, device)
        return cls(about["view"], session)


class OnnxScorer:
    """A classifier that learned elsewhere, as the environment's scorer."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def __call__(self, canvases: Array, /) -> Array:
        """Canvases (B, H, W) uint8 -> nodule score (B,) float32 in [0, 1]."""
        scores = np.concatenate(list(self._scores(to_numpy(canvases))))
        return array_namespace(canvases).asarray(scores, device=device(canvases))

    def _scores(self, canvases: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(canvases), CANVASES):
            yield self.session.run(None, {"canvases": canvases[start : start + CANVASES]})[0]

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> OnnxScorer:
        """Read what was exported; raises as `flipagents.store.onnx.open_network`."""
        return cls(open_network(folder, SCORER, device)[0])
