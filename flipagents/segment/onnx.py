"""Exported networks as agent, mapper and scorer, on NumPy and onnxruntime only."""

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
CANVASES = 256  # per forward pass


class OnnxAgent(Agent):
    """An exported agent, for inference only."""

    name = "onnx"

    def __init__(self, env: EnvConfig, config: LearnerConfig, session: Any) -> None:
        super().__init__(env, config)
        self.session = session

    @property
    def batch_device(self) -> None:
        """NumPy on every device: onnxruntime transfers the data itself."""
        return None

    def act(self, batch: Batch, epsilon: float = 0.0) -> Array:
        """Erase where `erase_preference` is positive."""
        preference = self.erase_preference(batch)
        xp = array_namespace(preference)
        return xp.astype(preference > 0, xp.int64)

    def erase_preference(self, batch: Batch) -> Array:
        """The network's output, (B, A) float32."""
        inputs = batch.observation()
        if self.env.observation == "joint":
            inputs = inputs[:, 0, ...]
        (better,) = self.session.run(None, {"observation": to_numpy(inputs)})
        return array_namespace(inputs).asarray(better, device=device(inputs))

    def weights(self) -> NoReturn:
        """Raise ConfigError: the weights are in the ONNX file, which can be copied."""
        raise ConfigError("an exported agent cannot be saved again; copy its folder")


def open_agent(folder: str | Path, device: str = "cpu") -> OnnxAgent:
    """Read an exported agent; raises as `flipagents.store.onnx.open_network`."""
    session, about = open_network(folder, AGENT, device)
    return OnnxAgent(EnvConfig.of(about["env"]), LearnerConfig.of({**about["config"], "device": device}), session)


class OnnxMapper(Mapper):
    """An exported student."""

    runtime = "onnx"

    def __init__(self, view: View, session: Any) -> None:
        super().__init__(view)
        self.session = session

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Mapper`."""
        return np.asarray(self.session.run(None, {"crops": inputs})[0], np.float32)

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> OnnxMapper:
        """Read an exported network; raises as `flipagents.store.onnx.open_network`."""
        session, about = open_network(folder, MAPPER, device)
        return cls(about["view"], session)


class OnnxScorer:
    """An exported classifier as the environment's scorer."""

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
        """Read an exported network; raises as `flipagents.store.onnx.open_network`."""
        return cls(open_network(folder, SCORER, device)[0])
