"""Cut an area into superpixels of constant size: OpenCV's SEEDS made safe, SLIC, and a regular grid.

All three start from the same regular grid of nearly square cells, so a superpixel covers about `cell_area` whatever
the size and shape of the area. SEEDS and SLIC get the area resampled so that each cell is exactly CELL px square,
which is what makes them safe and their count exact; their labels are then read back at the area's own pixels.

Why not SEEDS on the area itself: OpenCV's SEEDS derives its grid from the requested count by successive roundings
(rows, columns, finest blocks up to whole pixels, half as many per level, rounding down). A small or flat area ends up
with no superpixel in one direction (a division by zero) or with one block level (labels that were never written, used
as indices): both kill the process without an exception. Otherwise it may return a quarter of the count, and the last
row and column absorb all remaining pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.checks import check_image
from flipenv.errors import ConfigError, MissingDependencyError
from flipenv.registry import Registry

Image = NDArray[np.uint8]
Labels = NDArray[np.int32]

# (image (h, w) uint8, number requested n) -> labels (h, w) int32: any distinct numbers, in raster order
SUPERPIXELS: Registry[Callable[[Image, int], Labels]] = Registry("superpixels")

CELL = 16  # px, side of a cell on the resampled area: two of the finest blocks of SEEDS at its four levels
TOLERANCE = 0.25  # relative error of the count above which the grid replaces SEEDS or SLIC
MOST = int(np.iinfo(np.int16).max)

# Chosen by the Dice of the best union of superpixels on BUSI's training split, with cells of 24-375 px²; OpenCV's own
# defaults (prior 2, 5 bins, single step) are 0.002 lower. More iterations cost time and change nothing.
SEEDS_LEVELS = 4
SEEDS_PRIOR = 3  # 0..5, smoothness of the outlines
SEEDS_BINS = 16  # of the grey-level histograms
SEEDS_DOUBLE_STEP = True  # two passes over each block level
SEEDS_ITERATIONS = 4
SEEDS_FEWEST = 10  # OpenCV raises a smaller request to this

SLIC_RULER = 20.0  # weight of distance against grey level; the best of 5, 10, 20, 40, 80 by that Dice
SLIC_ITERATIONS = 10  # as in the SLIC paper


def segment(image: Image, cell_area: float, method: str = "seeds") -> NDArray[np.int16]:
    """Return labels (h, w) int16 in 0..S-1, every number used, in raster order, of an image (h, w) uint8.

    `cell_area` is in px² per superpixel: n = max(1, round(h * w / cell_area)) are requested, and S is within a quarter
    of n for cells of 2 px² and more. Any size from 1x1 and any content works; equal inputs give equal labels.
    ImageError for anything but grey uint8; ConfigError for an unknown method, a cell_area below 1, or more superpixels
    than int16 holds; MissingDependencyError if OpenCV lacks ximgproc.
    """
    check_image(image)
    if not 1 <= cell_area < math.inf:
        raise ConfigError(f"cell_area={cell_area!r}; expected px² per superpixel, at least 1")
    height, width = image.shape
    part = SUPERPIXELS[method]
    requested = max(1, round(height * width / cell_area))
    labels = relabel(part(np.ascontiguousarray(image), requested)) if requested <= MOST else None
    if labels is None or labels.max() > MOST:
        raise ConfigError(
            f"cell_area={cell_area} cuts an area of {height}x{width} px into about {requested} superpixels; "
            f"expected at most {MOST}: use a larger cell_area or a smaller canvas"
        )
    return labels.astype(np.int16)


def relabel(labels: NDArray[Any]) -> Labels:
    """Renumber the superpixels 0..S-1 without gaps, in the order of their old numbers."""
    _, dense = np.unique(labels, return_inverse=True)
    return dense.reshape(labels.shape).astype(np.int32)


def centers(labels: NDArray[Any]) -> NDArray[np.int16]:
    """Return (S, 2) int16: row and column of each superpixel's centroid, rounded; labels as `segment` returns them."""
    height, width = labels.shape
    flat = labels.ravel()
    area = np.bincount(flat)
    rows = np.bincount(flat, weights=np.repeat(np.arange(height), width)) / area
    columns = np.bincount(flat, weights=np.tile(np.arange(width), height)) / area
    return np.rint(np.stack([rows, columns], axis=1)).astype(np.int16)


def grid_shape(height: int, width: int, n: int) -> tuple[int, int]:
    """Rows and columns of a regular grid of about n cells, as square as the count allows."""
    ideal = math.sqrt(n * height / width)
    pairs = [(rows, round(n / rows)) for rows in (math.floor(ideal), math.ceil(ideal)) if rows]
    pairs += [(round(n / columns), columns) for columns in (math.floor(n / ideal), math.ceil(n / ideal)) if columns]
    shapes = []
    for rows, columns in {(min(max(rows, 1), height), min(max(columns, 1), width)) for rows, columns in pairs}:
        stretch = abs(math.log(height * columns / (rows * width)))
        # a cell twice as long as wide costs as much as a count that is off by 7%
        shapes.append((_error(rows * columns, n) + 0.1 * stretch, rows, columns))
    _, rows, columns = min(shapes)
    return rows, columns


@SUPERPIXELS.register("grid")
def grid(image: Image, n: int) -> Labels:
    """Rows and columns of nearly square cells, whatever the image shows."""
    height, width = image.shape
    rows, columns = grid_shape(height, width, n)
    first_of_row = np.arange(height, dtype=np.int32) * rows // height * columns
    labels: Labels = first_of_row[:, None] + np.arange(width, dtype=np.int32) * columns // width
    return labels


@SUPERPIXELS.register("seeds")
def seeds(image: Image, n: int) -> Labels:
    """SEEDS (Van den Bergh et al. 2012, doi 10.1007/978-3-642-33786-4_2), or the grid where SEEDS cannot be had."""
    height, width = image.shape
    rows, columns = grid_shape(height, width, n)
    if rows * columns < 3:
        return grid(image, n)  # the request of at least ten leads to four cells or more
    create = _ximgproc("createSuperpixelSEEDS")
    # With a count K, SEEDS starts from sqrt(K * rows / columns) rows. While that lies in [rows, 2 * rows), so K in
    # [1, 4) times the cells, its finest blocks round up to CELL / 8 = 2 px and its four levels end at our cells.
    # Twice the cells is far from both bounds, and its minimum of ten is within them from three cells on.
    count = max(SEEDS_FEWEST, 2 * rows * columns)
    size = columns * CELL, rows * CELL
    engine = create(*size, 1, count, SEEDS_LEVELS, SEEDS_PRIOR, SEEDS_BINS, SEEDS_DOUBLE_STEP)
    engine.iterate(_resample(image, size), SEEDS_ITERATIONS)
    return _read_back(engine.getLabels(), image, n)


@SUPERPIXELS.register("slic")
def slic(image: Image, n: int) -> Labels:
    """SLIC (Achanta et al. 2012, doi 10.1109/TPAMI.2012.120), or the grid where SLIC cannot be had."""
    height, width = image.shape
    rows, columns = grid_shape(height, width, n)
    create = _ximgproc("createSuperpixelSLIC")
    resampled = _resample(image, (columns * CELL, rows * CELL))
    engine = create(resampled, cv2.ximgproc.SLIC, CELL, SLIC_RULER)
    engine.iterate(SLIC_ITERATIONS)
    engine.enforceLabelConnectivity()
    return _read_back(engine.getLabels(), image, n)


def _resample(image: Image, size: tuple[int, int]) -> Image:
    # the exact variant gives the same bits on every machine and version of OpenCV
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR_EXACT), dtype=np.uint8)


def _read_back(labels: Labels, image: Image, n: int) -> Labels:
    """Labels at the image's own pixels; those of the grid if too many superpixels were lost to keep the density."""
    height, width = image.shape
    near = np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.int32)
    return near if _error(len(np.unique(near)), n) <= TOLERANCE else grid(image, n)


def _error(count: int, requested: int) -> float:
    return abs(count - requested) / requested


def _ximgproc(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] | None = getattr(getattr(cv2, "ximgproc", None), name, None)
    if function is None:
        raise MissingDependencyError(
            f"OpenCV {cv2.__version__} has no cv2.ximgproc.{name} here: opencv-python hides opencv-contrib-python; run "
            "`pip install --force-reinstall --no-deps opencv-contrib-python`, or choose superpixels='grid'"
        )
    return function
