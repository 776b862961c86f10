"""Training sites for the classifier, 'nodule' and 'normal tissue', from boxes only.

A site is a box on an image, prepared as an episode: canvas, superpixels, and the background that erasing reveals.
Nodule sites are at a case's box; empty sites at random boxes on images without a nodule, and on nodule images whose
nodule is painted over.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from flipagents.maps.geometry import ellipse
from flipenv.background import BACKGROUNDS
from flipenv.config import COARSE, FINE, EnvConfig
from flipenv.episode import grow_box, mask_on_canvas, prepare, shift_box
from flipenv.errors import ConfigError, SourceError
from flipenv.options import between, naming, read_config, several
from flipenv.pixels import Grey
from flipenv.registry import unknown
from flipenv.sources import Source
from flipenv.types import Box, Case

Target = Literal["share", "hard"]

ANYWHERE = "random"  # not registered: tissue from elsewhere in the image
CANVAS_OPTIONS = ("canvas", "margin", "background", "superpixels", "cell_area")  # that affect the canvas
MIN_SIDE = 12  # image px, minimum side of a random box
TRIES = 30  # random boxes tried before a nodule image has no room for an empty site


@dataclass(frozen=True)
class PatchConfig:
    """Options of making examples. None of these values is in the paper, which only names the two classes."""

    env: EnvConfig = dataclasses.field(default_factory=EnvConfig)  # whose canvases will be scored
    target: Target = "share"  # fraction of the ellipse left; `hard`: 1 if at least half, else 0
    backgrounds: tuple[str, ...] = ("eq1", "mirror", "inpaint", ANYWHERE)  # of all variants but the first
    cell_areas: tuple[float, ...] = (FINE, COARSE)  # canvas px² per superpixel, drawn for each site
    variants: int = 12  # sites per box; the first is the given box with the environment's own options
    margin: int = 30  # image px, maximum for half of the variants; the others use the environment's
    shift: float = 4.0  # image px, maximum offset of a box's centre, or the margin if larger
    looseness: float = 0.08  # maximum offset of each side, as a fraction of it
    per_normal: int = 16  # empty sites per image without a nodule
    per_case: int = 3  # empty sites per nodule image, if there is room
    mix: tuple[float, float, float, float] = (0.28, 0.28, 0.18, 0.26)  # whole, partly erased, fully erased, empty
    pastes: float = 0.5  # fraction of examples with patches of other tissue pasted in
    gain: float = 0.2  # grey levels are multiplied by 1 ± this
    gamma: float = 0.3  # maximum |log gamma|
    speckle: float = 0.12  # maximum deviation of multiplicative noise

    def __post_init__(self) -> None:
        env = EnvConfig.of(self.env)
        # options that do not affect the canvas must not affect equality
        object.__setattr__(self, "env", EnvConfig(**{name: getattr(env, name) for name in CANVAS_OPTIONS}))
        with naming("PatchConfig"):
            for name, kind, count in (("backgrounds", str, None), ("cell_areas", float, None), ("mix", float, 4)):
                object.__setattr__(self, name, several(name, getattr(self, name), kind, count))
            for name in self.backgrounds:
                if name != ANYWHERE:
                    BACKGROUNDS[name]
            if self.target not in get_args(Target):
                raise ConfigError(unknown("target", self.target, get_args(Target)))
            for share in self.mix:
                between("mix", share, 0.0, 1e6)
            for area in self.cell_areas:
                between("cell_areas", area, 1.0, math.inf)
            if not (self.backgrounds and self.cell_areas and sum(self.mix) > 0):
                raise ConfigError(
                    f"backgrounds={self.backgrounds}, cell_areas={self.cell_areas}, mix={self.mix}; expected at least "
                    "one background and area, and four shares: whole, partly erased, fully erased, empty"
                )
            between("variants", self.variants, 1, 10_000, whole=True)
            for name in ("margin", "per_normal", "per_case"):
                between(name, getattr(self, name), 0, 10_000, whole=True)
            between("shift", self.shift, 0.0, 4096.0)
            between("looseness", self.looseness, 0.0, 1.0)
            between("pastes", self.pastes, 0.0, 1.0)
            for name in ("gain", "gamma", "speckle"):
                between(name, getattr(self, name), 0.0, 10.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `PatchConfig.of` reads it back."""
        plain = dataclasses.asdict(self)
        return {**plain, "env": {name: plain["env"][name] for name in CANVAS_OPTIONS}}

    def for_checks(self) -> PatchConfig:
        """Config for checking a classifier: sites as the environment prepares them, without variants."""
        return dataclasses.replace(
            self,
            backgrounds=(self.env.background,),
            cell_areas=(self.env.cell_area,),
            variants=1,
            margin=0,
            per_normal=max(self.per_normal // 2, 1),
        )

    @classmethod
    def of(cls, value: PatchConfig | Mapping[str, Any] | None, **options: Any) -> PatchConfig:
        """Make a config from a config, a mapping of its fields or None, with some options changed."""
        return read_config(cls, value, options)


@dataclass(frozen=True, eq=False)
class Sites:
    """N prepared sites, nodule sites first."""

    image: Grey  # (N, H, W)
    background: Grey  # (N, H, W), shown by erased pixels
    labels: NDArray[np.int16]  # (N, H, W), superpixel of each pixel, -1 outside the area
    nodule: NDArray[np.bool_]  # (N, H, W), ellipse inscribed in the true box; empty on an empty site
    centers: tuple[NDArray[np.int16], ...]  # N times (S, 2), row and column of each superpixel
    first: NDArray[np.int64]  # (N,), index of the site's first variant, which has the given box
    ids: tuple[str, ...]  # N

    def __len__(self) -> int:
        return len(self.image)

    @functools.cached_property
    def digest(self) -> str:
        """Hex digest of all images, to detect changed data on resume."""
        total = hashlib.blake2b(digest_size=8)
        for array in (self.image, self.background, self.labels, self.nodule):
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()

    @functools.cached_property
    def with_nodule(self) -> NDArray[np.bool_]:
        """Sites with a nodule, (N,) bool."""
        shows: NDArray[np.bool_] = np.any(self.nodule, axis=(1, 2))
        return shows

    @property
    def first_variants(self) -> NDArray[np.bool_]:
        """Sites that are first variants, as the environment prepares them, (N,) bool."""
        return np.equal(self.first, np.arange(len(self)))


class _Site(NamedTuple):
    """One row of `Sites`, without an episode's histograms, to save memory."""

    image: Grey
    background: Grey
    labels: NDArray[np.int16]
    nodule: NDArray[np.bool_]
    centers: NDArray[np.int16]
    first: int
    id: str


def make_sites(source: Source, normals: Iterable[Grey], config: PatchConfig, seed: int = 0) -> Sites:
    """Prepare all sites of a source and of images (height, width) uint8 without a nodule.

    Uses images and boxes only. Deterministic for a seed. SourceError if there are no empty sites: no normal images, and
    no room beside the nodules.
    """
    cases = [dataclasses.replace(source.load(index), mask=None, coarse=None) for index in range(len(source))]
    shapes = [(case.box.height / case.image.shape[0], case.box.width / case.image.shape[1]) for case in cases]
    sites: list[_Site] = []
    for case in cases:
        sites += _variants(case, ellipse(case.box, case.image.shape), len(sites), config, seed)
    count = len(sites)
    for case in _empty_cases(cases, normals, shapes, config, seed):
        sites += _variants(case, np.zeros(case.image.shape, np.bool_), len(sites), config, seed, count=1)
    if len(sites) == count:
        raise SourceError(
            "no tissue without a nodule: there are no normal images, and no nodule image has room beside its box; "
            "give images without a nodule"
        )
    image, background, labels, nodule, centers, first, ids = zip(*sites, strict=True)
    return Sites(
        image=np.stack(image),
        background=np.stack(background),
        labels=np.stack(labels),
        nodule=np.stack(nodule),
        centers=centers,
        first=np.array(first, np.int64),
        ids=ids,
    )


def normal_images(source: Source) -> list[Grey]:
    """A source's images without a nodule: BUSI's normal class, phantoms without their nodule; [] for others."""
    load = getattr(source, "load_normal", None)
    if load is None:
        return []
    listed = getattr(source, "normals", None)
    return [load(index) for index in range(len(source) if listed is None else len(listed()))]


def _variants(
    case: Case, nodule: NDArray[np.bool_], start: int, config: PatchConfig, seed: int, count: int | None = None
) -> Iterator[_Site]:
    """Sites of one box: as given, then with jittered box, margin and background."""
    for variant in range(config.variants if count is None else count):
        rng = np.random.default_rng([seed, zlib.crc32(case.id.encode()), variant])
        env = config.env
        moved = case
        if variant > 0 or not nodule.any():
            margin = int(rng.integers(0, config.margin + 1)) if config.margin and rng.random() < 0.5 else env.margin
            name = config.backgrounds[rng.integers(len(config.backgrounds))]
            area = Box(0, 0, 0, 0)
            if variant > 0:
                moved = dataclasses.replace(case, box=_jittered(case, max(config.shift, margin), config.looseness, rng))
            if name == ANYWHERE:
                area = grow_box(moved.box, margin, case.image.shape)
                moved = dataclasses.replace(moved, background=_elsewhere(case.image, area, rng))
            env = env.replace(
                margin=margin,
                background=env.background if name == ANYWHERE else name,
                cell_area=float(config.cell_areas[rng.integers(len(config.cell_areas))]),
            )
        episode = prepare(moved, env)
        shown = mask_on_canvas(nodule, episode.geometry, env.canvas)
        yield _Site(episode.image, episode.background, episode.labels, shown, episode.centers, start, case.id)


def _empty_cases(
    cases: list[Case], normals: Iterable[Grey], shapes: list[tuple[float, float]], config: PatchConfig, seed: int
) -> Iterator[Case]:
    """Nodule-sized boxes where there is no nodule."""
    for index, image in enumerate(normals):
        for place in range(config.per_normal):
            rng = np.random.default_rng([seed, 1, index, place])
            yield Case(image, _random_box(shapes, image.shape, rng), f"normal {index} place {place}")
    for case in cases:
        # hide the nodule, which a background could otherwise copy
        tissue = BACKGROUNDS["mirror"](case.image, case.box)
        taken = grow_box(case.box, max(case.box.height, case.box.width) // 8, case.image.shape)
        for place in range(config.per_case):
            rng = np.random.default_rng([seed, 2, zlib.crc32(case.id.encode()), place])
            tried = (_random_box(shapes, case.image.shape, rng) for _ in range(TRIES))
            box = next((box for box in tried if not _overlap(box, taken)), None)
            if box is not None:
                yield Case(tissue, box, f"{case.id} place {place}")


def _random_box(shapes: list[tuple[float, float]], shape: tuple[int, ...], rng: np.random.Generator) -> Box:
    share = shapes[rng.integers(len(shapes))]
    height, width = (min(max(round(part * side), MIN_SIDE), side) for part, side in zip(share, shape, strict=True))
    top, left = (int(rng.integers(0, side - own + 1)) for own, side in zip((height, width), shape, strict=True))
    return Box(top, left, top + height, left + width)


def _jittered(case: Case, shift: float, looseness: float, rng: np.random.Generator) -> Box:
    """The box as another annotator might draw it, shifted by up to `shift` px."""
    box, (height, width) = case.box, case.image.shape
    off = rng.uniform(-looseness, looseness, 4) * (box.height, box.width, box.height, box.width)
    top, left = max(round(box.top + off[0]), 0), max(round(box.left + off[1]), 0)
    stretched = Box(top, left, min(round(box.bottom + off[2]), height), min(round(box.right + off[3]), width))
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0, shift)
    return shift_box(stretched, length * np.sin(angle), length * np.cos(angle), case.image.shape)


def _elsewhere(image: Grey, area: Box, rng: np.random.Generator) -> Grey:
    """The image with the area covered by tissue from elsewhere in it, mirrored if there is no room."""
    shape = (area.height / image.shape[0], area.width / image.shape[1])
    tried = (_random_box([shape], image.shape, rng) for _ in range(TRIES))
    place = next((b for b in tried if not _overlap(b, area) and (b.height, b.width) == (area.height, area.width)), None)
    if place is None:
        return BACKGROUNDS["mirror"](image, area)
    painted = image.copy()
    patch = image[place.rows, place.columns]
    painted[area.rows, area.columns] = patch[:, ::-1] if rng.random() < 0.5 else patch
    return painted


def _overlap(one: Box, other: Box) -> bool:
    rows = one.top < other.bottom and other.top < one.bottom
    return rows and one.left < other.right and other.left < one.right
