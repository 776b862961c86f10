"""The TorchRL view: lanes of one batch as a batched `EnvBase`, without subprocesses. Needs `flip-learning[torchrl]`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flipenv.batch import Batch, to_numpy
from flipenv.config import EnvConfig
from flipenv.errors import MissingDependencyError
from flipenv.infos import apart_infos
from flipenv.pool import EpisodePool
from flipenv.scorer import Scorer
from flipenv.sources import SourceLike
from flipenv.spaces import agent_names, observation_space
from flipenv.types import Array

try:
    from tensordict import TensorDict, TensorDictBase
    from torchrl.data import Bounded, Categorical, Composite, Unbounded
    from torchrl.envs import EnvBase
except ImportError as error:
    raise MissingDependencyError("flipenv.torchrl needs TorchRL: pip install 'flip-learning[torchrl]'") from error

GROUP = "eraser"  # the name that TorchRL's PettingZoo wrapper gives: learners written for one run on the other
ENDS = ("done", "terminated", "truncated")


class EraseTorchRLEnv(EnvBase):  # type: ignore[misc]
    """`num_envs` lanes with batch_size [B]; the agents are the group "eraser".

    ("eraser", "observation") (B, A, C, P, P) uint8; ("eraser", "action_mask") (B, A, 2) bool, 0 for erasing an erased
    superpixel; ("eraser", "action") (B, A) int64; ("eraser", "reward") (B, A, 1) float32; "done", "terminated" and
    "truncated" (B, 1) bool. Lane i seeded s is the single environment seeded s + i. `reset` with "_reset" (B, 1) bool
    resets only those lanes, as TorchRL's rollouts and collectors do for lanes that ended.

    Arguments as in `flipenv.vector_env`; device: where tensors live.
    """

    def __init__(
        self,
        num_envs: int = 1,
        source: SourceLike | EpisodePool = "phantom",
        *,
        scorer: Scorer | str | None = "contrast",
        config: EnvConfig | Mapping[str, Any] | None = None,
        seed: int | None = None,
        device: str = "cpu",
        cache: bool | str | Path = True,
        workers: int | None = None,
        progress: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(device=device, batch_size=torch.Size([num_envs]))
        self.batch = Batch(
            source,
            num_envs,
            scorer=scorer,
            config=config,
            device=device,
            cache=cache,
            workers=workers,
            progress=progress,
            **options,
        )
        self.batch.seed(seed)
        self.config = self.batch.config
        self.group_map = {GROUP: agent_names(self.config)}
        self._make_specs()

    def masks(self) -> list[Any]:
        """Current segmentation of each lane, (height, width) bool in pixels of its own image."""
        return [self.batch.mask(lane) for lane in range(self.batch.n_lanes)]

    def _make_specs(self) -> None:
        lanes, agents, device = self.batch.n_lanes, self.config.n_agents, self.device
        picture = observation_space(self.config).shape
        group = (lanes, agents)

        def grouped(**specs: Any) -> Composite:
            return Composite({GROUP: Composite(specs, shape=group, device=device)}, shape=(lanes,), device=device)

        observation = Bounded(0, 255, (*group, *picture), dtype=torch.uint8, device=device)
        self.observation_spec = grouped(observation=observation, action_mask=_yes_no((*group, 2), device))
        self.action_spec = grouped(action=Categorical(2, shape=group, dtype=torch.int64, device=device))
        self.reward_spec = grouped(reward=Unbounded((*group, 1), dtype=torch.float32, device=device))
        ends = {name: _yes_no((lanes, 1), device) for name in ENDS}
        self.done_spec = Composite(ends, shape=(lanes,), device=device)

    def _set_seed(self, seed: int | None) -> None:
        self.batch.seed(seed)

    def _reset(self, tensordict: TensorDictBase | None, **kwargs: Any) -> TensorDictBase:
        mask = None if tensordict is None else tensordict.get("_reset", None)
        chosen = None if mask is None else np.flatnonzero(to_numpy(mask.reshape(-1))).tolist()
        self.batch.reset(chosen)
        return self._observed({})

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        transition = self.batch.step(tensordict.get((GROUP, "action")))
        return self._observed({"reward": torch.as_tensor(transition.reward)[..., None]})

    def _observed(self, rewards: dict[str, Tensor]) -> TensorDictBase:
        state = self.batch.state
        assert state is not None
        lanes, agents = self.batch_size[0], self.config.n_agents
        mask = apart_infos(self.batch, None)["action_mask"].reshape(lanes, agents, 2)
        observation = {
            "observation": _own(self.batch.observation()),
            "action_mask": torch.as_tensor(mask, dtype=torch.bool, device=self.device),
        }
        ends = {
            "terminated": _own(state.terminated)[:, None],
            "truncated": _own(state.truncated)[:, None],
            "done": (state.terminated | state.truncated)[:, None],
        }
        group = TensorDict({**observation, **rewards}, batch_size=[lanes, agents], device=self.device)
        return TensorDict({GROUP: group, **ends}, batch_size=[lanes], device=self.device)


def _own(array: Array) -> Tensor:
    """A contiguous copy that the caller owns."""
    return torch.as_tensor(array).clone(memory_format=torch.contiguous_format)


def _yes_no(shape: tuple[int, ...], device: Any) -> Categorical:
    return Categorical(2, shape=shape, dtype=torch.bool, device=device)
