"""A threshold of the intensity reward that falls with exploration, measured on what the agents erase.

What a nodule's superpixel is compared with depends on what was erased before. Early agents erase anything, so a low
threshold punishes erasing nodule, agents learn to pass, and the comparison stays bad. A threshold that starts high and
falls as the erased region becomes nodule avoids this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from flipenv.arrays import pick
from flipenv.distance import wasserstein
from flipenv.errors import SourceError
from flipenv.theta import CORE, radii

if TYPE_CHECKING:
    from flipenv.batch import Batch
    from flipenv.pool import EpisodePool

STEPS = 256  # most recent steps of all lanes whose distances are kept
HIGHEST = 1e6  # grey levels; the largest that an environment takes, and no scaled distance reaches it


class FallingTheta:
    """Theta by quantile of the distances that agents meet in the cores of their boxes.

    The quantile falls linearly from 1 to `quantile` while epsilon falls. It replaces the environment's own theta.
    quantile: 0..1. SourceError if no box has a core.
    """

    def __init__(self, pool: EpisodePool, quantile: float, lanes: int, device: str) -> None:
        self.quantile, self.noted = quantile, 0
        n_superpixels = max(pool.episode(index).n_superpixels for index in range(len(pool)))
        self._core = torch.zeros((len(pool), n_superpixels), dtype=torch.bool)
        for index in range(len(pool)):
            episode = pool.episode(index)
            self._core[index, : episode.n_superpixels] = torch.from_numpy(radii(episode) < CORE)
        if not self._core.any():
            raise SourceError(
                f"theta_quantile={quantile}: no box has a superpixel near its centre; choose a smaller cell_area"
            )
        self._core = self._core.to(device)
        self.distances = torch.full((STEPS, lanes, pool.config.n_agents), torch.nan, dtype=torch.float64, device=device)

    def note(self, batch: Batch) -> None:
        """Record the distances of the superpixels under the agents, before a step; no device synchronisation."""
        state, episodes = batch.state, batch.episodes
        assert state is not None
        assert episodes is not None
        own = pick(episodes.histograms, state.here).long()
        distance = wasserstein(state.histogram[:, None, :], own) * episodes.deviation_gain[:, None]
        core = pick(self._core[torch.from_numpy(batch.drawn).to(self._core.device)], state.here)
        compared = (state.histogram[:, -1] > 0) & ~(state.terminated | state.truncated)
        counts = core & compared[:, None] & ~pick(state.erased, state.here)
        self.distances[self.noted % STEPS] = torch.where(counts, distance, torch.nan)
        self.noted += 1

    def theta(self, fallen: float) -> float:
        """The threshold in grey levels when `fallen`, 0..1, of the fall is done."""
        quantile = 1 - (1 - self.quantile) * fallen
        found = self.distances.cpu().numpy()
        return HIGHEST if np.isnan(found).all() else float(np.nanquantile(found, quantile))

    def tensors(self) -> dict[str, Tensor]:
        """Everything needed to resume."""
        return {"distances": self.distances, "noted": torch.tensor(self.noted)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Load `tensors`."""
        self.distances.copy_(tensors["distances"])
        self.noted = int(tensors["noted"])
