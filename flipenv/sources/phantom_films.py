"""Synthetic films: a nodule that moves, grows and fades within one breast of `flipenv.sources.phantom`, with masks.

A frame is a new look at the same tissue with new speckle, as in a sweep, which leaves the slice that it showed within a
few frames. The nodule drifts, turns, is compressed, and grows or shrinks; its halo, capsule and shadows are those of
its present place. A fading nodule's echoes go over into those of the breast without it, as at the end of a nodule in a
sweep. How much it moves is chosen by eye.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ConfigError, MaskError
from flipenv.pixels import Grey, Mask
from flipenv.sources import phantom, phantoms
from flipenv.sources.base import ListedSource
from flipenv.sources.contents import digest
from flipenv.sources.lesion import tight_box
from flipenv.sources.speckle import Field, Probe, Tissue, as_field, scan
from flipenv.types import Case

FRAMES = 24
FADE = 4  # frames that show a fading nodule in part
LAST = 0.6, 0.8  # of the film, range of the first frame without a fading nodule
GROWTH = 1.35, 1.9  # largest over smallest width in a film
DRIFT = 0.3, 0.7  # way of the centre in a film, share of the nodule's sides
SHARE = 0.62  # of the image's sides, most that a nodule takes
BREASTS = 2  # kept between frames, 3 MB each


class Film(NamedTuple):
    """A film and its truth."""

    frames: NDArray[np.uint8]  # (T, height, width)
    masks: NDArray[np.bool_]  # (T, height, width), exact; empty where the nodule is gone
    gone: int | None  # first frame without the nodule; None if it stays


def phantom_film(seed: int, frames: int = FRAMES, height: int = 320, width: int = 448, *, fade: bool = False) -> Film:
    """Return a film of the breast of `phantom_case(seed)`.

    The same arguments give the same bytes in every process (another build of OpenCV may round differently). `fade`: the
    nodule is gone before the film ends. Raises as `PhantomFrame`, and ConfigError for less than 2 frames.
    """
    _check(frames=frames)
    shown = [PhantomFrame(seed, frame, frames, height, width, fade) for frame in range(frames)]
    masks = np.stack([each.mask() for each in shown])
    return Film(np.stack([each.image() for each in shown]), masks, shown[0].gone)


@dataclass(frozen=True)
class PhantomFrame:
    """One frame of a film, by its arguments.

    Raises ImageError for a side under 32 pixels and ValueError for a negative seed when it is made into a picture.
    """

    seed: int
    frame: int
    frames: int  # of the film
    height: int  # px
    width: int  # px
    fade: bool = False
    with_mask: bool = True

    @property
    def id(self) -> str:
        """The case's id; see `Source.ids`."""
        return f"phantom-film-{self.seed:04d}-frame{self.frame}"

    @property
    def gone(self) -> int | None:
        """First frame of the film without the nodule; None if it stays."""
        share = self._random(1).uniform(*LAST)
        return min(max(round(share * self.frames), 1), self.frames - 1) if self.fade else None

    @property
    def strength(self) -> float:
        """Share of the nodule's echoes: 1 whole, 0 gone."""
        gone = self.gone
        return 1.0 if gone is None else float(np.clip((gone - self.frame) / (FADE + 1), 0, 1))

    def mask(self) -> Mask:
        """The nodule, (height, width) bool, wholly inside the image; empty where it is gone."""
        mask, inward = _shape(self.seed, self.height, self.width)
        if self.strength == 0:
            return np.zeros_like(mask)
        box, (linear, way) = tight_box(mask), self._motion()
        sides, size = np.array([box.width, box.height]), np.array([self.width, self.height])
        linear = linear * min(1.0, float((SHARE * size / (np.abs(linear) @ sides)).min()))
        middle = np.array([box.left + box.right - 1, box.top + box.bottom - 1]) / 2
        outline = linear @ (np.argwhere(mask)[:, ::-1] - middle).T
        first = np.array([phantom.EDGE, max(phantom.EDGE, 0.06 * self.height)]) - outline.min(axis=1)
        last = size - 1 - phantom.EDGE - outline.max(axis=1)
        target = np.clip(middle + way * sides, first, np.maximum(first, last))
        whole = np.column_stack([linear, target - linear @ middle])
        moved = cv2.warpAffine(inward, whole, (self.width, self.height), flags=cv2.INTER_LINEAR, borderValue=(-1.0,))
        return np.asarray(moved > 0)

    def image(self) -> Grey:
        """The picture, (height, width) uint8."""
        tissue, probe = _breast(self.seed, self.height, self.width)
        strength = self.strength
        if strength > 0:
            lesion, nodule = _lesion(self.seed, self.height, self.width)
            changed = phantom._insert(lesion, tissue, nodule._replace(mask=self.mask()))
            tissue = Tissue(*(as_field(old + strength * (new - old)) for old, new in zip(tissue, changed, strict=True)))
        return scan(tissue, probe, self._random(2, self.frame))

    def load(self) -> Case:
        """Generate the case; see `Source.load`. MaskError where the nodule is gone."""
        mask = self.mask()
        if not mask.any():
            raise MaskError(f"{self.id}: the nodule is gone from frame {self.gone} on, so there is no box")
        meta = {"film": f"{self.seed:04d}", "frame": str(self.frame)}
        return Case(self.image(), tight_box(mask), self.id, mask=mask if self.with_mask else None, meta=meta)

    def fingerprint(self) -> str:
        """Hash what determines the case; see `Source.fingerprint`."""
        numbers = (self.seed, self.frame, self.frames, self.height, self.width, int(self.fade))
        return digest(self.id, numbers, _generator())

    def unlabelled(self) -> PhantomFrame:
        """The same case without its mask."""
        return PhantomFrame(self.seed, self.frame, self.frames, self.height, self.width, self.fade, with_mask=False)

    def _random(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *numbers])

    def _motion(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The nodule against that of `phantom_case`: (2, 2), x and y about its centre; and its way in its sides."""
        rng = self._random(3)
        growth = np.log(rng.uniform(*GROWTH)) * rng.choice([-1, 1])
        direction, length = rng.uniform(0, 2 * np.pi), rng.uniform(*DRIFT)
        turn, squeeze, shear = rng.uniform(-0.25, 0.25), rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12)
        wave, phase = rng.uniform(0.02, 0.05, 2), rng.uniform(0, 2 * np.pi, 4)
        time = self.frame / (self.frames - 1)
        along = -np.cos(np.pi * time) / 2  # starts and ends at rest
        breath = np.sin(2 * np.pi * time + phase)
        spin = np.array([[np.cos(turn * along), -np.sin(turn * along)], [np.sin(turn * along), np.cos(turn * along)]])
        size = np.exp(growth * along + np.array([1, -1]) * squeeze * breath[2])
        linear = spin @ np.array([[1, shear * breath[3]], [0, 1]]) @ np.diag(size)
        return linear, length * along * np.array([np.cos(direction), np.sin(direction)]) + wave * breath[:2]


class FilmSource(ListedSource):
    """The frames of phantom films of consecutive seeds, each a case; frames without the nodule have no box, and are
    left out.

    Args:
        count: number of films.
        frames: of each, at least 2.
        height: pixels.
        width: pixels.
        first: seed of the first film, whose breast is that of the phantom of this seed.
        fade: whether the nodule is gone before a film ends.

    Raises ConfigError for an argument that is not a whole number in range; ImageError on loading if the size is too
    small.
    """

    def __init__(
        self,
        count: int = 4,
        frames: int = FRAMES,
        height: int = 320,
        width: int = 448,
        first: int = 0,
        fade: bool = False,
    ) -> None:
        _check(count=count, frames=frames, height=height, width=width, first=first)
        films = (PhantomFrame(seed, 0, frames, height, width, fade) for seed in range(first, first + count))
        entries = [
            PhantomFrame(film.seed, frame, frames, height, width, fade)
            for film in films
            for frame in range(frames if film.gone is None else film.gone)
        ]
        super().__init__(entries, "phantom-film")


def _check(**numbers: int) -> None:
    least = {"frames": 2, "first": 0}
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least.get(name, 1):
            raise ConfigError(f"phantom films: {name}={value!r}; expected a whole number, {least.get(name, 1)} or more")


# A frame needs the parts of a phantom, not only its picture; `phantom` keeps them private, and its text is hashed into
# fingerprints, so it stays as it is.


@functools.lru_cache(BREASTS)
def _breast(seed: int, height: int, width: int) -> tuple[Tissue, Probe]:
    """Tissue and machine of the phantom of a seed."""
    anatomy, _, scanner = phantom._generators(seed, height, width)
    return phantom._breast(anatomy, height, width), phantom._probe(scanner)


def _lesion(seed: int, height: int, width: int) -> tuple[np.random.Generator, phantom.Nodule]:
    """The nodule of the phantom of a seed, and the generator from which its echoes are drawn."""
    _, lesion, _ = phantom._generators(seed, height, width)
    return lesion, phantom._nodule(lesion, height, width)


@functools.lru_cache(BREASTS)
def _shape(seed: int, height: int, width: int) -> tuple[Mask, Field]:
    """A phantom's mask, and the distance from its outline in px, positive inside."""
    mask = _lesion(seed, height, width)[1].mask
    solid = mask.astype(np.uint8)
    inward = cv2.distanceTransform(solid, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - solid, cv2.DIST_L2, 5)
    return mask, as_field(inward)


@functools.cache
def _generator() -> str:
    """Digest of the generators: their source code, and the versions of NumPy and OpenCV."""
    files = [Path(str(module.__file__)) for module in phantoms.GENERATOR]
    return digest(*files, Path(__file__), np.__version__, cv2.__version__)
