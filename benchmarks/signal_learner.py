"""What a learner reaches that averages rewards over images: a U-Net that regresses the mean reward of superpixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from signal_records import Records, mean_by_superpixel
from torch import Tensor, nn

from flipenv.channels import CHANNELS
from flipenv.pool import EpisodePool
from flipenv.progress import track
from flipenv.types import Episode

FEATURES = (8, 8, 16, 32, 64, 8)
BATCH = 16
LEARNING_RATE = 4e-3  # largest of the one-cycle schedule

Maps = NDArray[np.float32]  # (K, S)


class Averager:
    """Mean rewards of superpixels from canvas and box, for K rewards at once.

    epochs, seed: of the training. No mask is read.
    """

    def __init__(self, rewards: int, epochs: int, seed: int = 0) -> None:
        from monai.networks.nets import BasicUNet

        torch.manual_seed(seed)
        self.epochs, self.draw = epochs, np.random.default_rng(seed)
        self.network: nn.Module = BasicUNet(2, 2, rewards, FEATURES)

    def fit(self, pool: EpisodePool, records: Records, rewards: Sequence[NDArray[np.float64]]) -> Averager:
        """Train on the records of a pool; K rewards (N,) of each erasure."""
        network, count = self.network.train(), len(pool)
        targets = [
            np.stack([mean_by_superpixel(records, each, index, pool.episode(index).n_superpixels) for each in rewards])
            for index in range(count)
        ]
        steps = self.epochs * -(-count // BATCH)
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
        for _ in track(range(self.epochs), "averaging learner", self.epochs):
            order = self.draw.permutation(count)
            for start in range(0, count, BATCH):
                chosen = order[start : start + BATCH]
                episodes = [pool.episode(int(index)) for index in chosen]
                flips = self.draw.random(len(chosen)) < 0.5
                found = self._values(episodes, flips)
                losses = []
                for own, index in zip(found, chosen, strict=True):
                    target = torch.from_numpy(targets[int(index)]).float()
                    losses.append(((own - target)[~target.isnan()] ** 2).mean())
                optimiser.zero_grad()
                torch.stack(losses).mean().backward()
                optimiser.step()
                schedule.step()
        network.eval()
        return self

    def values(self, pool: EpisodePool) -> list[Maps]:
        """Mean rewards (K, S) expected in each case."""
        found: list[Maps] = []
        with torch.inference_mode():
            for start in range(0, len(pool), BATCH):
                episodes = [pool.episode(index) for index in range(start, min(start + BATCH, len(pool)))]
                found += [own.numpy() for own in self._values(episodes, np.zeros(len(episodes), np.bool_))]
        return found

    def _values(self, episodes: Sequence[Episode], flips: NDArray[np.bool_]) -> list[Tensor]:
        """Outputs averaged over superpixels, (K, S) each; flipped pictures are seen from left to right."""
        pictures = np.stack([np.stack([each.image, CHANNELS["box"](each.image, each.box)]) for each in episodes])
        seen = torch.from_numpy(pictures).float() / 255
        turned = torch.from_numpy(flips)
        seen = torch.where(turned[:, None, None, None], seen.flip(-1), seen)
        outputs = self.network(seen)
        outputs = torch.where(turned[:, None, None, None], outputs.flip(-1), outputs)
        return [_means(output, each) for output, each in zip(outputs, episodes, strict=True)]


def _means(output: Tensor, episode: Episode) -> Tensor:
    labels = torch.from_numpy(episode.labels).long()
    inside = labels >= 0
    sums = torch.zeros(len(output), episode.n_superpixels).index_add(1, labels[inside], output[:, inside])
    return sums / torch.bincount(labels[inside], minlength=episode.n_superpixels)
