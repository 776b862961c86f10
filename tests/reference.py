"""The rules of one episode in plain loops: the slow truth that the batched core is compared with.

Pictures are lists of rows, scores are the scorer's float32, and distances are exact fractions, so that what is written
here can be read against the rules and owes nothing to the package but its types.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

import numpy as np

from flipenv.config import EnvConfig
from flipenv.types import Episode

Picture = list[list[int]]

LEAST_SCORE = 1e-6  # scores are this far from 0 and 1 before their logit is taken


def transport(first: Iterable[int], second: Iterable[int]) -> Fraction:
    """Wasserstein-1 in grey levels between two samples: sorted grains of equal total mass are moved onto each other."""
    piles, holes = sorted(Counter(first).items()), sorted(Counter(second).items())
    n_first, n_second = sum(count for _, count in piles), sum(count for _, count in holes)
    # Each grey value of one sample counts as often as the other sample has values: both then weigh the same
    sources = [[level, count * n_second] for level, count in piles]
    targets = [[level, count * n_first] for level, count in holes]
    source = target = work = 0
    while source < len(sources):
        moved = min(sources[source][1], targets[target][1])
        work += moved * abs(sources[source][0] - targets[target][0])
        sources[source][1] -= moved
        targets[target][1] -= moved
        source += sources[source][1] == 0
        target += targets[target][1] == 0
    return Fraction(work, n_first * n_second)


def cut(picture: Picture, center: tuple[int, int], side: int) -> Picture:
    """Square with `center` at index [side // 2, side // 2]; beyond the picture its nearest pixel is repeated."""
    height, width = len(picture), len(picture[0])
    rows = [min(max(center[0] - side // 2 + i, 0), height - 1) for i in range(side)]
    columns = [min(max(center[1] - side // 2 + j, 0), width - 1) for j in range(side)]
    return [[picture[row][column] for column in columns] for row in rows]


def logit(score: np.float32) -> float:
    """Log-odds of a score that is first clipped as what it is, a float32: 1 - 1e-6 is the float32 nearest to it."""
    clipped = float(min(max(np.float32(score), np.float32(LEAST_SCORE)), np.float32(1 - LEAST_SCORE)))
    return math.log(clipped / (1 - clipped))


@dataclass
class Step:
    """What one joint step did, one entry an agent."""

    changed: list[bool]
    csr: list[float]
    idr: list[float]
    prior: list[float]
    duplicate: bool  # two agents changed one superpixel
    weights: tuple[float, float, float]

    @property
    def reward(self) -> list[float]:
        parts = zip(self.csr, self.idr, self.prior, strict=True)
        weights = [np.float32(weight) for weight in self.weights]
        return [float(sum(w * np.float32(part) for w, part in zip(weights, each, strict=True))) for each in parts]


class ReferenceEpisode:
    """One episode from its first observation on; `step` plays one joint step."""

    def __init__(self, episode: Episode, scorer, config: EnvConfig) -> None:
        self.scorer, self.config = scorer, config
        self.image: Picture = episode.image.tolist()
        self.background: Picture = episode.background.tolist()
        self.labels: Picture = episode.labels.tolist()
        self.walks: Picture = episode.order.tolist()
        self.prior = list(episode.prior)
        self.centers = [tuple(center) for center in episode.centers.tolist()]
        self.coarse: Picture = episode.coarse.tolist()
        self.pictures: list[Picture] = episode.channels.tolist()
        self.gain = Fraction(float(episode.deviation_gain))
        self.agents = range(len(self.walks))
        self.pixels: list[list[tuple[int, int]]] = [[] for _ in self.centers]
        for row, line in enumerate(self.labels):
            for column, label in enumerate(line):
                if label >= 0:
                    self.pixels[label].append((row, column))
        self.erased: set[int] = set()
        self.taken = 0
        self.terminated = self.truncated = False
        self.score = self._score(self.erased)
        self.frames = [self._frame()] * math.ceil(config.frames / len(self.walks))

    @property
    def here(self) -> list[int]:
        """Superpixel where each agent stands."""
        return [walk[self.taken % len(walk)] for walk in self.walks]

    @property
    def canvas(self) -> Picture:
        return self._painted(self.erased)

    @property
    def histogram(self) -> list[int]:
        """Number of erased pixels whose original grey level is at most k, for each k."""
        counts = Counter(self._greys(self.erased))
        return list(accumulate(counts[level] for level in range(256)))

    @property
    def ended(self) -> bool:
        return self.terminated or self.truncated

    def step(self, actions: Sequence[int]) -> Step:
        if self.ended:
            nothing = [0.0 for _ in self.agents]
            return Step([False for _ in self.agents], nothing, nothing, nothing, False, (1.0, 1.0, 1.0))
        here = self.here
        changed = [actions[agent] == 1 and here[agent] not in self.erased for agent in self.agents]
        targets = [here[agent] for agent in self.agents if changed[agent]]
        csr = [self._csr(*pair) for pair in self._judged(here, changed)]
        idr = [self._idr(here[agent]) if changed[agent] else 0.0 for agent in self.agents]
        self.erased = self.erased | set(targets)
        self.score = self._score(self.erased)
        self.taken += 1
        beta, most = self.config.beta, self.config.max_cycles
        self.terminated = beta is not None and bool(self.score < np.float32(beta))
        self.truncated = self.taken >= self.config.traversals * len(self.walks[0])
        if most is not None and self.taken >= most:
            self.truncated = True
        self.frames = [*self.frames[1:], self._frame()]
        prior = [2 * self.prior[here[agent]] - 1 if changed[agent] else 0.0 for agent in self.agents]
        weights = (self.config.csr_weight, self.config.idr_weight, self.config.prior_weight)
        return Step(changed, csr, idr, prior, len(targets) > len(set(targets)), weights)

    def observation(self) -> np.ndarray:
        """What each agent sees, (A, C, P, P) uint8."""
        joint = [self._seen_in_turn(list(self.agents)) for _ in self.agents]
        if self.config.observation == "joint":
            return np.array(joint, np.uint8)
        count = len(self.walks)
        turns = [[(first + offset) % count for offset in range(count)] for first in self.agents]
        return np.array([self._seen_in_turn(turn) for turn in turns], np.uint8)

    def _seen_in_turn(self, turn: list[int]) -> list[Picture]:
        seen = [frame[agent][0] for frame in self.frames for agent in turn]
        if self.config.coarse_channels:
            seen += [frame[agent][1] for frame in self.frames for agent in turn]
        return seen + [picture for agent in turn for picture in self._extra(agent)]

    def _extra(self, agent: int) -> list[Picture]:
        superpixel = self.here[agent]
        side, center = self.config.window, self.centers[superpixel]
        labels = cut(self.labels, center, side)
        prepared = iter(self.pictures)
        extra = []
        for name in self.config.channels:
            if name == "superpixel":
                extra.append([[255 if label == superpixel else 0 for label in line] for line in labels])
            elif name == "erased":
                extra.append([[255 if label in self.erased else 0 for label in line] for line in labels])
            else:
                extra.append(cut(next(prepared), center, side))
        return extra

    def _frame(self) -> list[tuple[Picture, Picture]]:
        """Grey and coarse window of each agent, where it stands now."""
        canvas, side = self.canvas, self.config.window
        centers = [self.centers[superpixel] for superpixel in self.here]
        return [(cut(canvas, center, side), cut(self.coarse, center, side)) for center in centers]

    def _painted(self, erased: Iterable[int]) -> Picture:
        canvas = [list(line) for line in self.image]
        for superpixel in erased:
            for row, column in self.pixels[superpixel]:
                canvas[row][column] = self.background[row][column]
        return canvas

    def _greys(self, superpixels: Iterable[int]) -> list[int]:
        """Original grey levels of all pixels of some superpixels."""
        return [self.image[row][column] for superpixel in superpixels for row, column in self.pixels[superpixel]]

    def _score(self, erased: Iterable[int]) -> np.float32:
        if self.scorer is None:
            return np.float32(np.nan)
        return np.float32(self.scorer(np.array([self._painted(erased)], np.uint8))[0])

    def _judged(self, here: list[int], changed: list[bool]) -> list[tuple[np.float32, np.float32]]:
        """Score before and after that each agent answers for."""
        start = self.score
        end = self._score(self.erased | {here[agent] for agent in self.agents if changed[agent]})
        if self.config.credit == "joint":
            return [(start, end) for _ in self.agents]
        pairs = []
        for agent in self.agents:
            if not changed[agent]:
                pairs.append((start, start))
                continue
            if self.config.credit == "sequential":
                earlier = self.erased | {here[other] for other in range(agent) if changed[other]}
                pairs.append((self._score(earlier), self._score(earlier | {here[agent]})))
            else:
                others = {here[other] for other in self.agents if changed[other] and other != agent}
                pairs.append((self._score(self.erased | others), end))
        return pairs

    def _csr(self, before: np.float32, after: np.float32) -> float:
        fall = np.float32(before) - np.float32(after)
        if np.isnan(fall) or abs(fall) <= np.float32(self.config.dead_zone):
            return 0.0
        if self.config.csr == "sign":
            return math.copysign(1.0, fall)
        if self.config.csr == "difference":
            return float(fall)
        return logit(before) - logit(after)

    def _idr(self, superpixel: int) -> float:
        """-1 where what was just erased is too unlike what was erased before this joint step, else 0."""
        if self.config.idr == "none" or not self.erased:
            return 0.0
        before, own = self._greys(self.erased), self._greys([superpixel])
        distance = transport(before, own if self.config.idr == "superpixel" else before + own)
        return -1.0 if distance * self.gain > Fraction(self.config.theta) else 0.0
