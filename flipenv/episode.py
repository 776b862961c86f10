"""From a case to an episode: everything computed before the first step; and episodes stacked into a batch."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from flipenv import superpixels
from flipenv.background import BACKGROUNDS
from flipenv.channels import CHANNELS
from flipenv.checks import check_companion, check_image
from flipenv.config import CanvasSpec, EnvConfig
from flipenv.errors import MaskError
from flipenv.observation import LIVE_CHANNELS
from flipenv.theta import core_gain, radii_of
from flipenv.types import Array, Box, Case, Episode, Episodes, Geometry
from flipenv.walks import walking_order

BINS = 256  # one per grey level, so distances are exact
TYPICAL_DEVIATION = 41.5  # grey levels; `standardise` scales the area to it; median over BUSI's training boxes


def prepare(case: Case, config: EnvConfig) -> Episode:
    """Return the episode of one case, all arrays NumPy.

    Raises MaskError if the config asks for coarse channels or the channel `prior` and the case lacks that picture;
    ConfigError for an unknown background, superpixel method, order or channel.
    """
    if config.coarse_channels and case.coarse is None:
        raise MaskError(
            f"case '{case.id}' has no coarse mask, which coarse_channels=True shows to the agents; "
            "give one with dataclasses.replace(case, coarse=mask), or set coarse_channels=False"
        )
    if "prior" in config.channels and case.prior is None:
        raise MaskError(
            f"case '{case.id}' has no prior, which the channel 'prior' shows to the agents; give one with "
            "dataclasses.replace(case, prior=picture), or leave the channel out"
        )
    area = grow_box(case.box, config.margin, case.image.shape)
    painted = BACKGROUNDS[config.background](case.image, area)
    if case.background is not None:
        painted[area.rows, area.columns] = case.background[area.rows, area.columns]
    geometry = Geometry(_window(area, case.image.shape, config.canvas), area, *case.image.shape)
    canvas = _resample(case.image, geometry.window, config.canvas)
    on_canvas = _to_canvas(area, geometry.window, config.canvas)
    box = _to_canvas(case.box, geometry.window, config.canvas)
    labels = np.full(canvas.shape, -1, np.int16)
    inside = canvas[on_canvas.rows, on_canvas.columns]
    own = superpixels.segment(inside, config.cell_area, config.superpixels)
    labels[on_canvas.rows, on_canvas.columns] = own
    centers = superpixels.centers(own)
    order = walking_order(centers, config.n_agents, config.order, on_canvas.height, on_canvas.width)
    # resampling mixes pixels along the area's edge; outside the area the eraser must change nothing
    background = np.where(labels < 0, canvas, _resample(painted, geometry.window, config.canvas))
    shown = None if case.prior is None else _resample(case.prior, geometry.window, config.canvas, cv2.BORDER_CONSTANT)
    prepared: list[Array] = [
        shown if name == "prior" else CHANNELS[name](canvas, box)
        for name in config.channels
        if name not in LIVE_CHANNELS
    ]
    histograms = cumulative_histograms(inside, own)
    on_whole = centers + np.array([on_canvas.top, on_canvas.left], np.int16)
    coarse = np.zeros_like(canvas) if case.coarse is None else _coarse(case.coarse, geometry.window, config.canvas)
    return Episode(
        image=canvas,
        background=background,
        labels=labels,
        order=order,
        centers=on_whole,
        histograms=histograms,
        channels=np.stack(prepared) if prepared else np.zeros((0, *canvas.shape), np.uint8),
        coarse=coarse,
        prior=_means(shown, labels),
        deviation_gain=_gain(inside, histograms, radii_of(on_whole, box), config),
        area=on_canvas,
        box=box,
        geometry=geometry,
        id=case.id,
    )


def _gain(
    inside: npt.NDArray[np.uint8],
    histograms: npt.NDArray[np.int32],
    radius: npt.NDArray[np.float64],
    config: EnvConfig,
) -> float:
    """Factor on the distances of one episode, see `EnvConfig.standardise`."""
    if config.standardise == "core":
        return core_gain(histograms, radius)
    return TYPICAL_DEVIATION / max(float(inside.std()), 1.0) if config.standardise else 1.0


def stack(episodes: Sequence[Episode]) -> Episodes:
    """Stack episodes of one config into a NumPy batch; S and T are padded to the largest (T by repetition)."""
    superpixel_count = max(episode.n_superpixels for episode in episodes)
    steps = np.array([episode.order.shape[1] for episode in episodes], np.int32)

    def pad(array: Array, size: int, axis: int, mode: str) -> Array:
        missing = [(0, size - length if index == axis else 0) for index, length in enumerate(array.shape)]
        return np.pad(array, missing, mode=mode)  # type: ignore[call-overload]

    return Episodes(
        image=np.stack([episode.image for episode in episodes]),
        background=np.stack([episode.background for episode in episodes]),
        labels=np.stack([episode.labels for episode in episodes]),
        order=np.stack([pad(episode.order, int(steps.max()), 1, "edge") for episode in episodes]),
        centers=np.stack([pad(episode.centers, superpixel_count, 0, "constant") for episode in episodes]),
        histograms=np.stack([pad(episode.histograms, superpixel_count, 0, "constant") for episode in episodes]),
        channels=np.stack([episode.channels for episode in episodes]),
        coarse=np.stack([episode.coarse for episode in episodes]),
        prior=np.stack([pad(episode.prior, superpixel_count, 0, "constant") for episode in episodes]),
        deviation_gain=np.array([episode.deviation_gain for episode in episodes], np.float64),
        steps=steps,
        pixels=np.array([episode.histograms[:, -1].sum() for episode in episodes], np.int32),
    )


def shift_box(box: Box, rows: float, columns: float, shape: tuple[int, ...]) -> Box:
    """Move a box by whole pixels, clipped so that it stays inside the image; its size is kept."""
    down = int(np.clip(round(rows), -box.top, shape[0] - box.bottom))
    right = int(np.clip(round(columns), -box.left, shape[1] - box.right))
    return Box(box.top + down, box.left + right, box.bottom + down, box.right + right)


def grow_box(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    """Grow a box by `margin` pixels on each side, clipped to the image."""
    top, left = max(box.top - margin, 0), max(box.left - margin, 0)
    return Box(top, left, min(box.bottom + margin, shape[0]), min(box.right + margin, shape[1]))


def mask_on_canvas(mask: npt.NDArray[np.bool_], geometry: Geometry, canvas: CanvasSpec) -> npt.NDArray[np.bool_]:
    """Resample a mask (height, width) of the image onto the canvas (H, W): True where half a pixel is covered."""
    check_companion("mask", mask, (geometry.height, geometry.width), "bool")
    return _coarse(mask, geometry.window, canvas) > 0


def mask_on_image(mask: npt.NDArray[np.bool_], geometry: Geometry) -> npt.NDArray[np.bool_]:
    """Resample a mask (H, W) of the canvas onto the image (height, width); always False outside the area."""
    return _on_image(mask.astype(np.float32), geometry, 0.0) >= 0.5


def map_on_image(values: npt.NDArray[np.float32], geometry: Geometry) -> npt.NDArray[np.float32]:
    """Resample values (H, W) in [-1, 1] of the canvas onto the image (height, width); -1 outside the area."""
    return _on_image(values, geometry, -1.0)


def _on_image(picture: npt.NDArray[np.float32], geometry: Geometry, outside: float) -> npt.NDArray[np.float32]:
    window, area = geometry.window, geometry.area
    shown = cv2.resize(picture, (window.width, window.height), interpolation=cv2.INTER_LINEAR)
    image = np.full((geometry.height, geometry.width), outside, np.float32)
    rows = slice(area.top - window.top, area.bottom - window.top)
    columns = slice(area.left - window.left, area.right - window.left)
    image[area.rows, area.columns] = shown[rows, columns]
    return image


def _window(area: Box, shape: tuple[int, ...], canvas: CanvasSpec) -> Box:
    """The part of the image, in whole pixels, that the canvas shows; same aspect ratio as the canvas."""
    height, width = (shape[0], shape[1]) if canvas.kind == "whole" else (area.height, area.width)
    scale = max(height / canvas.height, width / canvas.width)
    if canvas.kind == "roi":
        scale *= 1 + canvas.context
    rows, columns = max(round(scale * canvas.height), height), max(round(scale * canvas.width), width)
    if canvas.kind == "whole":
        return Box(0, 0, rows, columns)
    top, left = (area.top + area.bottom - rows) // 2, (area.left + area.right - columns) // 2
    return Box(top, left, top + rows, left + columns)


def _resample(
    picture: npt.NDArray[np.uint8], window: Box, canvas: CanvasSpec, border: int = cv2.BORDER_REPLICATE
) -> npt.NDArray[np.uint8]:
    """Crop the window, replicating the picture's edge beyond it, and resize it to the canvas."""
    check_image(picture)
    height, width = picture.shape
    inside = picture[max(window.top, 0) : window.bottom, max(window.left, 0) : window.right]
    beyond = (
        max(-window.top, 0),
        max(window.bottom - height, 0),
        max(-window.left, 0),
        max(window.right - width, 0),
    )
    cut = cv2.copyMakeBorder(np.ascontiguousarray(inside), *beyond, border)
    shrinks = window.height > canvas.height or window.width > canvas.width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(cut, (canvas.width, canvas.height), interpolation=interpolation), np.uint8)


def _coarse(mask: npt.NDArray[np.bool_], window: Box, canvas: CanvasSpec) -> npt.NDArray[np.uint8]:
    grey = _resample(mask.astype(np.uint8) * 255, window, canvas, cv2.BORDER_CONSTANT)
    return np.where(grey >= 128, 255, 0).astype(np.uint8)


def _means(prior: npt.NDArray[np.uint8] | None, labels: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Mean of the prior on the canvas in each superpixel, (S,) in [0, 1]; 0.5 if there is none."""
    inside = labels >= 0
    if prior is None:
        return np.full(int(labels.max()) + 1, 0.5, np.float32)
    sums = np.bincount(labels[inside], prior[inside] / 255)
    return (sums / np.bincount(labels[inside])).astype(np.float32)


def _to_canvas(box: Box, window: Box, canvas: CanvasSpec) -> Box:
    """Nearest canvas pixels of an image box, at least one pixel wide and high, inside the canvas."""

    def span(start: int, stop: int, origin: int, length: int, size: int) -> tuple[int, int]:
        low = min(max(round((start - origin) * size / length), 0), size - 1)
        return low, min(max(round((stop - origin) * size / length), low + 1), size)

    top, bottom = span(box.top, box.bottom, window.top, window.height, canvas.height)
    left, right = span(box.left, box.right, window.left, window.width, canvas.width)
    return Box(top, left, bottom, right)


def cumulative_histograms(image: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """Cumulative grey-level counts of each superpixel, (S, K) int32."""
    count = int(labels.max()) + 1
    cells = labels.astype(np.int64) * BINS + image
    counts = np.bincount(cells.ravel(), minlength=count * BINS).reshape(count, BINS)
    return np.cumsum(counts, axis=1, dtype=np.int32)
