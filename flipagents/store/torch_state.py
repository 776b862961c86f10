"""State of torch networks and optimisers, to and from the tensors of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from flipagents.store.checkpoint import CheckpointError, Snapshot, prefixed


def fill_network(network: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load saved weights; CheckpointError if they do not fit the network."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"saved weights do not fit this network ({error}); make the agent with the saved configs"
        ) from error


def adam_tensors(optimiser: torch.optim.Optimizer, parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """Step and moments of an Adam optimiser, keyed by parameter index: `0.exp_avg`."""
    tensors: dict[str, Tensor] = {}
    for index, parameter in enumerate(parameters):
        tensors |= prefixed(str(index), optimiser.state.get(parameter) or {})
    return tensors


def fill_adam(optimiser: torch.optim.Optimizer, parameters: Iterable[Tensor], saved: Snapshot) -> None:
    """Restore the state saved by `adam_tensors`."""
    for index, parameter in enumerate(parameters):
        state = saved.under(str(index))
        if state:
            moments = {key: torch.empty_like(parameter).copy_(state[key]) for key in ("exp_avg", "exp_avg_sq")}
            optimiser.state[parameter] = {"step": state["step"], **moments}
