"""Synthetic breast ultrasound: layered tissue, a nodule, an exact mask; any number of cases, no data at hand.

Tissue is drawn flat, bent, given a nodule, and handed to the scanner model of `flipenv.sources.speckle`. What tells
benign from malignant are the features of the BI-RADS ultrasound lexicon: shape, margin, echo pattern, posterior
features. Ranges without a source are tuned by eye and by grey-level statistics to public breast ultrasound images.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ImageError
from flipenv.pixels import Mask
from flipenv.sources.speckle import DEPTH_MM, FREQUENCY_MHZ, REFERENCE_ROWS, Field, Image, Probe, Tissue, as_field, scan
from flipenv.types import Box, Case

LEAST_SIDE = 32  # px; in a smaller image no nodule has room
MALIGNANT_SHARE = 1 / 3  # of all cases, as in public breast ultrasound collections
CYST_SHARE = 1 / 4  # of the benign ones
BENIGN_WIDTH = 0.10, 0.45  # of the image's width, least and largest
MALIGNANT_WIDTH = 0.20, 0.55
EDGE = 4  # px between a nodule and the image's border, at least
SKIN_MM = 1.6
FAT_DB, MUSCLE_DB, SKIN_DB = -8.0, -10.0, -3.0  # against fibroglandular tissue


class Nodule(NamedTuple):
    """A nodule's outline and kind."""

    mask: Mask
    malignant: bool
    cyst: bool


def phantom_case(seed: int, height: int = 320, width: int = 448) -> Case:
    """Return a breast with one nodule: a uint8 image (height, width), its exact bool mask and tight box.

    The same arguments give the same bytes in every process (another build of OpenCV may round differently).
    `normal_image` of the same seed is the same breast without the nodule, so split training from testing by seed.
    `meta["class"]` is "benign" or "malignant".

    Raises ImageError for a side under 32 pixels, ValueError for a negative seed.
    """
    anatomy, lesion, scanner = _generators(seed, height, width)
    tissue, probe = _breast(anatomy, height, width), _probe(scanner)
    nodule = _nodule(lesion, height, width)
    image = scan(_insert(lesion, tissue, nodule), probe, scanner)
    left, top, columns, rows = cv2.boundingRect(nodule.mask.astype(np.uint8))
    return Case(
        image=image,
        box=Box.from_coco(left, top, columns, rows),
        id=f"phantom-{seed:04d}",
        mask=nodule.mask,
        meta={"class": "malignant" if nodule.malignant else "benign"},
    )


def normal_image(seed: int, height: int = 320, width: int = 448) -> Image:
    """Return a breast without a nodule, uint8 (height, width): the tissue that `phantom_case(seed)` has around its own.

    Raises ImageError for a side under 32 pixels, ValueError for a negative seed.
    """
    anatomy, _, scanner = _generators(seed, height, width)
    return scan(_breast(anatomy, height, width), _probe(scanner), scanner)


def _generators(seed: int, height: int, width: int) -> list[np.random.Generator]:
    if min(height, width) < LEAST_SIDE:
        raise ImageError(
            f"a phantom of {height}x{width} pixels (height x width) has no room for a nodule; "
            f"expected at least {LEAST_SIDE}x{LEAST_SIDE}"
        )
    return [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)]


def _probe(rng: np.random.Generator) -> Probe:
    """A machine and its settings: resolution and dynamic range differ between examinations."""
    return Probe(
        axial=rng.uniform(0.8, 1.1),
        lateral=rng.uniform(1.2, 2.0),
        focus=rng.uniform(0.25, 0.55),
        clutter_db=rng.uniform(-32.0, -18.0),
        looks=int(rng.integers(3, 6)),
        smoothing=(rng.uniform(0.3, 0.6), rng.uniform(0.5, 1.0)),
        noise_db=rng.uniform(-44.0, -32.0),
        dynamic_range_db=rng.uniform(41.0, 52.0),
        white_db=rng.uniform(15.0, 20.0),
    )


def _noise(rng: np.random.Generator, height: int, width: int, rows: float, columns: float) -> Field:
    """Smooth noise of about unit variance whose features are `rows` x `columns` pixels large."""
    grid = round(height / rows) + 2, round(width / columns) + 2
    coarse = rng.standard_normal(grid, dtype=np.float32)
    # interpolation loses a quarter of the variance; `remap` would round positions to a 32nd of a feature
    return as_field(cv2.resize(coarse * np.float32(1.15), (width, height), interpolation=cv2.INTER_CUBIC))


def _sheets(noise: Field, thickness: float) -> Field:
    """Thin sheets of connective tissue, 0..1: the zero lines of smooth noise, `thickness` pixels wide everywhere.

    A sheet reflects like a mirror, so one that stands steeply to the beam fades.
    """
    down = cv2.Sobel(noise, -1, 0, 1, scale=1 / 8)
    slope = cv2.magnitude(cv2.Sobel(noise, -1, 1, 0, scale=1 / 8), down) + np.float32(0.004)
    distance = noise / slope / np.float32(thickness)
    facing = np.square(down / slope)
    return as_field(cv2.exp(-distance * distance) * facing * facing)


def _step(x: NDArray[Any]) -> Field:
    """A soft step from 0 to 1, one unit wide."""
    return as_field(0.5 + 0.5 * np.tanh(2.0 * x))


def _breast(rng: np.random.Generator, height: int, width: int) -> Tissue:
    """Skin, fat lobules between septa, fibroglandular tissue, fascia and striated muscle, bent."""
    scale = height / REFERENCE_ROWS

    def noise(rows: float, columns: float) -> Field:
        return _noise(rng, height, width, rows * scale, columns * scale)

    depth = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    skin_end = SKIN_MM * rng.uniform(0.6, 1.3) * height / DEPTH_MM
    fat_end = height * rng.uniform(0.08, 0.42)
    muscle_start = height * rng.uniform(0.55, 1.0)
    mingled = noise(14, 70) * np.float32(7 * scale)
    fat = 1 - _step((depth + mingled * 1.5 - fat_end) / (7 * scale))
    islands = _step((noise(22, 60) - rng.uniform(0.6, 2.2)) / 0.6)  # fat lobules within the gland
    muscle = _step((depth + mingled * 0.3 - muscle_start) / (4 * scale))
    fat = np.maximum(fat, islands) * (1 - muscle)
    gland = 1 - fat - muscle

    fibres, streaks, grain = noise(4, 30), noise(8, 45), noise(6, 13)
    strength = np.clip(noise(13, 65) + 0.7 * grain + 0.2, 0, 2)
    septa = _sheets(noise(17, 110), 0.9 * scale) * strength
    strands = _sheets(noise(9, 85), 0.9 * scale) * strength
    rich = rng.uniform(0.4, 1.3)
    fat_db = FAT_DB * rng.uniform(0.7, 1.5) + grain * 1.8 + fibres * 1.0 + 9 * rich * septa
    gland_db = streaks * 2.4 + fibres * 2.2 + grain * 2.2 + noise(34, 70) * 2.6 + 6 * rich * strands
    muscle_db = MUSCLE_DB * rng.uniform(0.6, 1.3) + fibres * 2.8 + grain * 1.2 + noise(12, 100) * 3 + 8 * rich * strands
    fascia = np.exp(-(((depth + mingled * 0.3 - muscle_start) / (2.5 * scale)) ** 2))
    fascia_db = fascia * 7 * np.clip(noise(30, 70) + 0.8, 0, 2)
    flat_db = as_field(fat * fat_db + gland * gland_db + muscle * muscle_db + fascia_db)
    flat_interfaces = as_field(rich * (septa * fat * 0.35 + strands * (1 - fat) * 0.2))
    echo_db, interfaces = _bend(rng, (flat_db, flat_interfaces), depth, scale)

    wavy = depth + noise(200, 90) * np.float32(1.2 * scale)
    skin = 1 - _step((wavy - skin_end) / (4 * scale))
    echo_db += skin * (SKIN_DB + 1.5 * fibres - echo_db)
    interfaces *= 1 - skin
    for row, reach in ((0.0, 0.8), (skin_end, rng.uniform(0.1, 0.8))):
        interfaces += reach * np.exp(-(((wavy - row) / (1.3 * scale)) ** 2)) * np.clip(0.8 + 0.5 * streaks, 0, 2)

    share = depth[:, :1] / height
    late = np.maximum(share - rng.uniform(0.3, 0.7), 0)
    excess_db = rng.uniform(0, 16) * share + rng.uniform(0, 100) * late**1.5
    excess_db = excess_db + noise(500, 45) * rng.uniform(0.5, 2.0) * (0.4 + share)
    excess_db += rng.uniform(0, 0.3) * _shadow(strength * fascia + interfaces, 4 * scale)
    return Tissue(as_field(echo_db), as_field(interfaces), as_field(excess_db))


def _bend(rng: np.random.Generator, fields: tuple[Field, Field], depth: Field, scale: float) -> list[Field]:
    """Move columns up and down smoothly, more at depth, as breast lies under a probe."""
    height, width = depth.shape
    wave = _noise(rng, height, width, 130 * scale, 170 * scale) * np.float32(9 * scale)
    wave += _noise(rng, height, width, 16 * scale, 26 * scale) * np.float32(rng.uniform(0.8, 2.0) * scale)
    tilt = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(rng.normal(0, 14) * scale)
    rows = depth + (wave + tilt) * np.minimum(depth / (50 * scale), 1)
    columns = np.tile(np.arange(width, dtype=np.float32), (height, 1))
    return [as_field(cv2.remap(f, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)) for f in fields]


def _shadow(loss_db: NDArray[Any], spread: float) -> Field:
    """Two-way loss behind each pixel in dB, blurred sideways because an aperture looks past what is small."""
    behind = np.cumsum(loss_db, axis=0, dtype=np.float32)
    return as_field(cv2.GaussianBlur(behind, (0, 0), max(spread, 0.5), sigmaY=0.1))


def _nodule(rng: np.random.Generator, height: int, width: int) -> Nodule:
    """Benign: smooth, wider than tall. Malignant: lobed, spiculated, larger and taller."""
    is_malignant = bool(rng.random() < MALIGNANT_SHARE)
    cyst = not is_malignant and bool(rng.random() < CYST_SHARE)
    least, largest = MALIGNANT_WIDTH if is_malignant else BENIGN_WIDTH
    columns = width * np.exp(rng.uniform(np.log(least), np.log(largest)))
    rows = columns * rng.uniform(*((0.5, 1.15) if is_malignant else (0.38, 0.82)))
    shrink = min(1.0, 0.62 * height / rows)
    rows, columns = max(rows * shrink, 8.0), max(columns * shrink, 8.0)
    roughness = rng.uniform(0.12, 0.30) if is_malignant else rng.uniform(0.05, 0.10 if cyst else 0.18)
    mask = _outline(rng, rows, columns, roughness, malignant=is_malignant)
    high, wide = mask.shape
    high, wide = min(high, height - 2 * EDGE), min(wide, width - 2 * EDGE)
    mask = np.asarray(cv2.resize(mask, (wide, high), interpolation=cv2.INTER_NEAREST), np.uint8)
    middle = height * rng.normal(0.40 if is_malignant else 0.33, 0.10)
    top = int(np.clip(middle - high / 2, max(EDGE, 0.06 * height), height - EDGE - high))
    left = int(rng.integers(EDGE, width - EDGE - wide + 1))
    whole = np.zeros((height, width), bool)
    whole[top : top + high, left : left + wide] = mask > 0
    return Nodule(whole, is_malignant, cyst)


def _outline(rng: np.random.Generator, rows: float, columns: float, roughness: float, malignant: bool) -> Image:
    """A filled ellipse whose radius is perturbed by a random Fourier series and narrow spicules, cropped to its box."""
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    orders = np.arange(2, 14)
    weights = roughness * rng.standard_normal(12) * (2 / orders) ** (1.4 if malignant else 1.7)
    waves = np.cos(orders[:, None] * angles + rng.uniform(0, 2 * np.pi, 12)[:, None])
    radius = 1 + (weights[:, None] * waves).sum(axis=0)
    for _ in range(int(rng.integers(0, 6)) if malignant else 0):
        away = 1 - np.cos(angles - rng.uniform(0, 2 * np.pi))
        radius += rng.uniform(0.05, 0.3) * np.exp(-away * rng.uniform(30, 150))
    radius = np.maximum(radius, 0.35 if malignant else 0.65)
    tilt = rng.normal(0, 0.15)
    x, y = radius * np.cos(angles) * columns / 2, radius * np.sin(angles) * rows / 2
    points = np.stack([x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)], axis=1)
    points = np.round(points - points.min(axis=0)).astype(np.int32)
    canvas = np.zeros(points.max(axis=0)[::-1] + 1, np.uint8)
    return np.asarray(cv2.fillPoly(canvas, [points], 1), np.uint8)


def _insert(rng: np.random.Generator, tissue: Tissue, nodule: Nodule) -> Tissue:
    """Put the nodule in: hypoechoic inside, a capsule or an echogenic halo around, shadow or enhancement behind."""
    height, width = nodule.mask.shape
    scale = height / REFERENCE_ROWS

    def noise(rows: float, columns: float) -> Field:
        return _noise(rng, height, width, rows * scale, columns * scale)

    solid = nodule.mask.astype(np.uint8)
    inward = cv2.distanceTransform(solid, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - solid, cv2.DIST_L2, 5)
    halo = np.exp(-np.maximum(-inward, 0) / (8 * scale)) * (inward < 0)
    around = float(tissue.echo_db[halo > 0.2].mean())
    # a malignant margin is sharp in places and fades in others
    margin = 2 + 3.5 * np.clip(noise(30, 40) + 0.8, 0, 2.5) if nodule.malignant else rng.uniform(1.0, 3.5)
    share = _step(inward / (margin * scale))

    low, high = (22, 34) if nodule.cyst else (4, 13) if nodule.malignant else (5, 19)
    texture = 0.6 if nodule.cyst else rng.uniform(1.0, 2.8)
    inside = around - rng.uniform(low, high) + texture * (noise(16, 24) + 0.8 * noise(5, 13))
    echo_db = tissue.echo_db + share * (inside - tissue.echo_db)
    interfaces = tissue.interfaces * (1 - share)
    if nodule.malignant:
        echo_db += halo * rng.uniform(0, 6) * np.clip(noise(14, 30) + 0.6, 0, 2)
        if rng.random() < 0.3:  # microcalcifications, in clusters
            interfaces += (rng.random((height, width)) < 0.003) * (noise(20, 20) > 0.5) * solid * rng.uniform(1, 4)
    else:
        # a smooth capsule reflects only where it faces the beam
        facing = np.square(np.square(cv2.Sobel(inward, -1, 0, 1, scale=1 / 8)))
        wall = facing * np.exp(-np.square(inward / (1.3 * scale))) * np.clip(noise(12, 20) + 0.6, 0, 2)
        interfaces += rng.uniform(0, 0.6) * wall
        echo_db += rng.uniform(0, 8) * wall

    loss = -0.65 if nodule.cyst else rng.uniform(*((-0.2, 0.4) if nodule.malignant else (-0.6, 0.0)))  # dB/cm/MHz
    per_row = 2 * loss * FREQUENCY_MHZ * DEPTH_MM / 10 / height
    excess_db = tissue.excess_db + _shadow(solid * np.float32(per_row), 5 * scale)
    if not nodule.malignant:
        excess_db += _edge_shadows(rng, nodule.mask, scale)
    return Tissue(as_field(echo_db), as_field(interfaces), as_field(excess_db))


def _edge_shadows(rng: np.random.Generator, mask: Mask, scale: float) -> Field:
    """Refraction at the flanks of a smooth nodule takes the beam away from narrow columns behind them."""
    left, top, columns, rows = cv2.boundingRect(mask.astype(np.uint8))
    x, y = np.arange(mask.shape[1]), np.arange(mask.shape[0])
    flanks = sum(np.exp(-(((x - at) / (8 * scale)) ** 2)) for at in (left, left + columns - 1))
    behind = _step((y - top - 0.7 * rows) / (0.6 * rows))
    return as_field(np.outer(behind, rng.uniform(0, 4) * flanks))
