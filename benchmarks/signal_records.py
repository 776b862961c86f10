"""Records of single erasures: scores, distances and places of superpixels in several contexts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipenv.distance import wasserstein
from flipenv.episode import mask_on_canvas
from flipenv.pool import EpisodePool
from flipenv.progress import track
from flipenv.reward import csr
from flipenv.scorer import Scorer
from flipenv.theta import CORE, radii
from flipenv.types import Episode

CORNER = 1.2  # radii of the box's ellipse beyond which a superpixel belongs to a corner
MOSTLY = 0.7  # least share of a superpixel inside, or outside, the mask
LARGEST = 0.7  # share of the superpixels erased before
CHUNK = 64  # canvases scored at once

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Records:
    """N erasures, each of one superpixel in one context of one case."""

    case: NDArray[np.int64]  # (N,) number in the pool
    context: NDArray[np.int64]  # (N,) number in the case; 0: nothing erased before
    superpixel: NDArray[np.int64]  # (N,)
    share: Floats  # (N,) of the superpixels erased before
    sign: Floats  # (N,) classification score reward of Eq. 2
    fall: Floats  # (N,) of the log-odds of the score
    distance: Floats  # (N,) grey levels from what was erased before, as Eq. 2 compares it; NaN for nothing
    inside: Floats  # (N,) share of the superpixel inside the mask; NaN without one
    radius: Floats  # (N,) of its centre, in radii of the box's ellipse

    @property
    def has_masks(self) -> bool:
        """Whether any case has a mask."""
        return bool(np.isfinite(self.inside).any())

    def groups(self) -> dict[str, NDArray[np.bool_]]:
        """Records by place: by mask where there are masks, and by box."""
        own = {"core": self.radius < CORE, "corner": self.radius > CORNER}
        if self.has_masks:
            own = {"in": self.inside >= MOSTLY, "out": self.inside <= 1 - MOSTLY, **own}
        return own

    def rewards(self, theta: float | None) -> Floats:
        """Reward of each erasure by Eq. 2, without the intensity reward for None."""
        return self.sign if theta is None else self.sign - self.flagged(theta)

    def flagged(self, theta: float) -> Floats:
        """1 where the distance exceeds theta, as the intensity reward punishes it, otherwise 0."""
        return (np.nan_to_num(self.distance) > theta).astype(float)

    def summary(self, theta: float) -> dict[str, Any]:
        """Numbers by place, for JSON."""
        return {
            name: {
                "n": int(which.sum()),
                "falls": float((self.sign[which] > 0).mean()),
                "mean_sign": float(self.sign[which].mean()),
                "mean_fall": float(self.fall[which].mean()),
                "flagged": float(self.flagged(theta)[which].mean()),
                "reward": float(self.rewards(theta)[which].mean()),
            }
            for name, which in self.groups().items()
            if which.any()
        }


def record(pool: EpisodePool, scorer: Scorer, contexts: int, seed: int) -> Records:
    """Erase every superpixel of every case in each context."""
    rows: list[dict[str, Any]] = []
    for index in track(range(len(pool)), "erasing superpixels", len(pool)):
        episode, case = pool.episode(index), pool.case(index)
        radius, inside = radii(episode), np.full(episode.n_superpixels, np.nan)
        if case.mask is not None:
            nodule, area = mask_on_canvas(case.mask, episode.geometry, pool.config.canvas), episode.labels >= 0
            inside = np.bincount(episode.labels[area], nodule[area]) / np.bincount(episode.labels[area])
        draw = np.random.default_rng([seed, index])
        for number, erased in enumerate(contexts_of(radius, contexts, draw)):
            rest = np.flatnonzero(~erased)
            own = judge(episode, scorer, erased, rest, pool)
            own |= {"superpixel": rest, "inside": inside[rest], "radius": radius[rest]}
            own |= {
                name: np.full(len(rest), value)
                for name, value in (("case", index), ("context", number), ("share", float(erased.mean())))
            }
            rows.append(own)
    return Records(
        **{field.name: np.concatenate([row[field.name] for row in rows]) for field in dataclasses.fields(Records)}
    )


def contexts_of(radius: Floats, count: int, draw: np.random.Generator) -> Iterator[NDArray[np.bool_]]:
    """Sets of superpixels erased before, (S,) bool each: none; then in turn a random part and the box's middle."""
    yield np.zeros(len(radius), np.bool_)
    for number in range(1, count):
        share = draw.uniform(0, LARGEST)
        key = draw.random(len(radius)) if number % 2 else radius
        yield key <= np.quantile(key, share)


def judge(
    episode: Episode, scorer: Scorer, erased: NDArray[np.bool_], tried: NDArray[np.int64], pool: EpisodePool
) -> dict[str, Floats]:
    """Erase each of `tried` beside the others of `erased`: its sign, fall and distance, see `Records`."""
    labels, config = episode.labels, pool.config
    canvas = np.where((labels >= 0) & erased[labels], episode.background, episode.image)

    def scores(shown: NDArray[np.uint8], which: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores with each of `which` as in `shown`."""
        chunks = [which[start : start + CHUNK, None, None] for start in range(0, len(which), CHUNK)]
        found = [np.asarray(scorer(np.where(labels == chunk, shown, canvas))) for chunk in chunks]
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    again = erased[tried]  # part of the context: put back before it is erased
    before = np.full(len(tried), np.asarray(scorer(canvas[None]))[0])
    before[again] = scores(episode.image, tried[again])
    after = scores(episode.background, tried)
    sign, fall = (csr(before, after, config.replace(csr=kind, dead_zone=zone)) for kind, zone in KINDS)
    own = episode.histograms[tried].astype(np.int64)
    others = episode.histograms[erased].sum(0, dtype=np.int64) - own * again[:, None]
    distance = wasserstein(others, own) * episode.deviation_gain
    return {
        "sign": sign.astype(float),
        "fall": fall.astype(float),
        "distance": np.where(others[:, -1] > 0, distance, np.nan),
    }


KINDS = (("sign", 1e-4), ("logit", 0.0))  # reward and dead zone


def mean_by_superpixel(records: Records, values: Floats, case: int, n_superpixels: int) -> Floats:
    """Mean over contexts, (S,); NaN for superpixels that no context left."""
    own = records.case == case
    with np.errstate(invalid="ignore"):
        sums = np.bincount(records.superpixel[own], values[own], n_superpixels)
        mean: Floats = sums / np.bincount(records.superpixel[own], minlength=n_superpixels)
    return mean
