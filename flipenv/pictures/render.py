"""Pictures of an episode: a frame per step, and an overlay for reports.

Colours mean the same everywhere and are colour-blind safe (Okabe and Ito): green is erased, red the score, yellow the
truth and its Dice, white the box; each agent has its own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from flipenv.checks import check_box, check_companion, check_image
from flipenv.errors import ConfigError
from flipenv.pixels import Grey, Mask
from flipenv.types import Box

Rgb: TypeAlias = npt.NDArray[np.uint8]  # (h, w, 3)
Colour: TypeAlias = tuple[int, int, int]
FilePath: TypeAlias = str | os.PathLike[str]

AGENTS: tuple[Colour, ...] = ((230, 159, 0), (86, 180, 233), (204, 121, 167), (213, 94, 0))
ERASED: Colour = (0, 178, 128)
SCORE: Colour = (238, 82, 72)
TRUTH: Colour = (240, 228, 66)
BOX: Colour = (255, 255, 255)
TEXT: Colour = (232, 234, 237)
QUIET: Colour = (150, 155, 163)
GRID: Colour = (62, 66, 73)
BACKDROP: Colour = (24, 26, 30)

PANEL = 560  # px, target long side of the image panel
SIDE = 384  # px, width of the panel with the numbers
SIDE_HEIGHT = (320, 560)  # px, min and max height of its contents
MARGIN = 16  # px
FLIP = 0.5  # scores below this are tagged 'normal tissue'


@dataclass(frozen=True, eq=False)
class Scene:
    """One step of an episode, to draw.

    Raises ImageError or MaskError if the arrays differ in shape or have the wrong dtype.
    """

    image: Grey  # (H, W) uint8, the original canvas
    canvas: Grey  # (H, W) uint8, as erased so far
    labels: npt.NDArray[np.int16]  # (H, W) int16, superpixel of each pixel, -1 outside the area
    erased: Mask  # (H, W) bool
    box: Box  # canvas px
    area: Box  # canvas px, erasable area
    cursors: npt.NDArray[Any]  # (A,) int, superpixel of each agent
    centers: npt.NDArray[Any]  # (A, 2) int, row and column of its centre
    window: int  # canvas px, side of the agents' squares
    score: float  # 0..1, NaN without a scorer
    step: int
    steps: int  # of the whole episode
    scores: Sequence[float]  # after each step so far; may start with the initial one
    areas: Sequence[float]  # likewise, erased share of the area
    truth: Mask | None = None  # (H, W) bool, for evaluation
    dices: Sequence[float] = ()  # likewise, Dice against the truth

    def __post_init__(self) -> None:
        check_image(self.image)
        for name, dtype in (("canvas", "uint8"), ("labels", "int16"), ("erased", "bool"), ("truth", "bool")):
            check_companion(name, getattr(self, name), self.image.shape, dtype)


def draw(scene: Scene, scale: int | None = None) -> Rgb:
    """Draw the annotated canvas, with the curves so far beside it.

    `scale` is output pixels per canvas pixel; by default the image panel is about 560 px. The size depends only on the
    canvas and `scale`, and is even, as video needs. Inputs are not modified.
    Returns (h, w, 3) uint8 RGB. Raises ConfigError unless scale is a whole number >= 1.
    """
    if scale is None:
        scale = max(1, round(PANEL / max(scene.image.shape)))
    if not isinstance(scale, int) or scale < 1:
        raise ConfigError(f"scale={scale!r}; expected a whole number >= 1 of output pixels per canvas pixel")
    panel = _panel(scene, scale)
    rows, columns = panel.shape[:2]
    height = max(rows, SIDE_HEIGHT[0]) + 2 * MARGIN
    width = columns + SIDE + 3 * MARGIN
    frame = _blank(height + height % 2, width + width % 2)
    top = (height - rows) // 2
    frame[top : top + rows, MARGIN : MARGIN + columns] = panel
    side = _side(scene, min(height - 2 * MARGIN, SIDE_HEIGHT[1]))
    frame[MARGIN : MARGIN + side.shape[0], columns + 2 * MARGIN : columns + 2 * MARGIN + SIDE] = side
    return frame


def overlay(image: Grey, mask: Mask, box: tuple[int, int, int, int] | None = None, truth: Mask | None = None) -> Rgb:
    """Draw a translucent mask and its contour on an image, for reports.

    `image` is (H, W) uint8, `mask` (H, W) bool and may be empty; `box` is (top, left, bottom, right) in pixels; `truth`
    is a (H, W) bool mask, drawn as a dashed contour, with a legend if there is room. Returns (H, W, 3) uint8 RGB;
    inputs are not modified.
    Raises ImageError, MaskError or BoxError.
    """
    check_image(image)
    check_companion("mask", mask, image.shape, "bool")
    check_companion("truth", truth, image.shape, "bool")
    line = max(1, round(max(image.shape) / 400))
    picture = np.repeat(image[..., None], 3, axis=2)
    _fill(picture, mask, ERASED, line)
    if box is not None:
        _square(picture, Box(*check_box(box, image.shape)), BOX, line)
    if truth is not None:
        _dashes(picture, truth, TRUTH, line)
        _outline_legend(picture, mask | truth, line)
    return picture


def _outline_legend(picture: Rgb, shown: Mask, line: int) -> None:
    """Label the two outlines in the emptiest corner; nothing on small pictures."""
    size = 0.4 * line
    row, width = round(16 * line), round(84 * line)
    height, across = shown.shape
    if height < 6 * row or across < 2 * width:
        return
    corners = [(top, left) for top in (0, height - 2 * row) for left in (0, across - width)]
    top, left = min(corners, key=lambda place: shown[place[0] :, place[1] :][: 2 * row, :width].sum())
    picture[top : top + 2 * row, left : left + width] = BACKDROP
    for number, (name, colour) in enumerate((("mask", ERASED), ("truth", TRUTH))):
        middle, start, end = top + row // 2 + number * row, left + 4 * line, left + 32 * line
        pieces = [(start, end)] if name == "mask" else [(start, start + 8 * line), (end - 12 * line, end - 4 * line)]
        for first, last in pieces:
            cv2.line(picture, (first, middle), (last, middle), colour, line, cv2.LINE_AA)
        _text(picture, name, (left + 36 * line, middle + 4 * line), TEXT, size)


def _panel(scene: Scene, scale: int) -> Rgb:
    """The enlarged canvas with all annotations."""
    size = (scene.image.shape[1] * scale, scene.image.shape[0] * scale)
    line = 2 if scale > 2 else 1
    grey = cv2.resize(scene.canvas, size, interpolation=cv2.INTER_CUBIC)
    picture = np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)
    labels = cv2.resize(scene.labels, size, interpolation=cv2.INTER_NEAREST)
    edges = np.zeros(labels.shape, np.bool_)
    edges[1:] = labels[1:] != labels[:-1]
    edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    _tint(picture, edges, BOX, 0.22 if scale > 2 else 0.13)
    _fill(picture, _enlarge(scene.erased, size), ERASED, line)
    if scene.area != scene.box:
        _square(picture, _scaled(scene.area, scale), QUIET, 1)
    _square(picture, _scaled(scene.box, scale), BOX, line)
    if scene.truth is not None:
        _dashes(picture, _enlarge(scene.truth, size), TRUTH, line)
    # Agents on the same superpixel (as at the start) are nested.
    nested = [int(np.sum(scene.cursors[:agent] == cursor)) for agent, cursor in enumerate(scene.cursors)]
    for agent, (row, column) in enumerate(scene.centers):
        top, left = int(row) - scene.window // 2, int(column) - scene.window // 2
        view = _scaled(Box(top, left, top + scene.window, left + scene.window), scale)
        inset = 3 * nested[agent]
        view = Box(view.top + inset, view.left + inset, view.bottom - inset, view.right - inset)
        _square(picture, view, AGENTS[agent % len(AGENTS)], 1)
        _number(picture, agent, max(view.left, 0) + 13 * nested[agent], max(view.top, 0))
    for agent, cursor in enumerate(scene.cursors):
        here = _enlarge(scene.labels == cursor, size)
        ring = line if np.sum(scene.cursors == cursor) > 1 else line + 1
        _tint(picture, _rim(here, nested[agent] * ring, ring), AGENTS[agent % len(AGENTS)], 1.0)
    return picture


def _side(scene: Scene, height: int) -> Rgb:
    """The side panel: status line, curves, legend, and the segmentation on the original image."""
    side = _blank(height, SIDE)
    _write_line(side, _status(scene), 17, 0.55)
    curves: list[tuple[str, Colour, Sequence[float]]] = [("erased area", ERASED, scene.areas)]
    if len(scene.dices):
        curves.append(("Dice", TRUTH, scene.dices))
    if not math.isnan(scene.score):
        curves.append(("score", SCORE, scene.scores))
    foot = max(116, round(0.36 * height))
    _chart(side, Box(62, 26, height - foot - 36, SIDE - 2), scene, curves)
    now = [(f"{name} {values[-1]:.2f}" if len(values) else name, colour) for name, colour, values in curves]
    _write_line(side, now, 46, 0.42, left=26)
    _legend(side[height - foot :], scene)
    _thumbnail(side[height - foot :, SIDE // 2 - 8 :], scene)
    return side


def _status(scene: Scene) -> list[tuple[str, Colour]]:
    words = [(f"step {scene.step}/{scene.steps}", TEXT)]
    if math.isnan(scene.score):
        return [*words, ("no scorer", QUIET)]
    return [*words, (f"score {scene.score:.2f}", SCORE), ("nodule" if scene.score >= FLIP else "normal tissue", TEXT)]


def _chart(side: Rgb, plot: Box, scene: Scene, curves: Sequence[tuple[str, Colour, Sequence[float]]]) -> None:
    """Curves so far on axes from 0 to 1 over the whole episode, with the score at which the tag flips."""
    steps = max(scene.steps, 1)

    def at(step: float, value: float) -> tuple[int, int]:
        x = plot.left + min(step / steps, 1) * (plot.width - 1)
        return round(x), round(plot.bottom - 1 - min(max(value, 0), 1) * (plot.height - 1))

    for value, name in ((0.0, "0"), (FLIP, "0.5"), (1.0, "1")):
        cv2.line(side, at(0, value), at(steps, value), GRID, 1)
        _text(side, name, (plot.left - 7, at(0, value)[1] + 4), QUIET, 0.38, anchor=1)
    if not math.isnan(scene.score):
        y = at(0, FLIP)[1]
        for x in range(plot.left, plot.right, 9):
            cv2.line(side, (x, y), (min(x + 4, plot.right), y), QUIET, 1)
        _text(side, "nodule", (plot.right, y - 6), QUIET, 0.36, anchor=1)
        _text(side, "normal tissue", (plot.right, y + 14), QUIET, 0.36, anchor=1)
    for name, x, anchor in (
        ("0", plot.left, 0.5),
        ("step", (plot.left + plot.right) // 2, 0.5),
        (str(scene.steps), plot.right, 1.0),
    ):
        _text(side, name, (x, plot.bottom + 17), QUIET, 0.38, anchor=anchor)
    for _, colour, values in curves:
        # Aligned to the current step, as a series may lack the initial value.
        points = [
            at(scene.step - len(values) + 1 + index, value)
            for index, value in enumerate(values)
            if math.isfinite(value)
        ]
        if points:
            line = 2 if scene.steps < 300 else 1
            cv2.polylines(side, [np.array(points, np.int32)], False, colour, line, cv2.LINE_AA)
            cv2.circle(side, points[-1], 4, colour, -1, cv2.LINE_AA)


def _legend(foot: Rgb, scene: Scene) -> None:
    """The legend, the same throughout an episode."""
    rows: list[tuple[str, Colour]] = [("box", BOX)]
    if scene.area != scene.box:
        rows.append(("may be erased", QUIET))
    rows.append(("erased", ERASED))
    if scene.truth is not None:
        rows.append(("truth", TRUTH))
    y = 2
    for name, colour in rows:
        key = Box(y, 0, y + 11, 18)
        if name == "truth":
            for x in range(key.left, key.right, 7):
                cv2.line(foot, (x, y + 5), (x + 3, y + 5), colour, 2)
        else:
            _fill(foot[key.rows, key.columns], np.full((11, 18), name == "erased"), colour, 1)
            _square(foot, key, colour, 1)
        _text(foot, name, (28, y + 10), TEXT, 0.4)
        y += 18
    for agent in range(len(scene.cursors)):
        _number(foot, agent, 28 + 17 * agent, y)
    _square(foot, Box(y - 1, 0, y + 14, 18), AGENTS[0], 1)
    _square(foot, Box(y + 4, 6, y + 9, 12), AGENTS[0], 1)
    _text(foot, "view, superpixel", (32 + 17 * len(scene.cursors), y + 10), QUIET, 0.37)


def _thumbnail(corner: Rgb, scene: Scene) -> None:
    """The pixels erased so far on the original image: the segmentation."""
    _text(corner, "segmentation so far", (corner.shape[1], 12), QUIET, 0.38, anchor=1)
    rows, columns = scene.image.shape
    scale = min((corner.shape[0] - 22) / rows, corner.shape[1] / columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    image = cv2.resize(scene.image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    truth = None if scene.truth is None else _enlarge(scene.truth, size)
    small = overlay(np.asarray(image, np.uint8), _enlarge(scene.erased, size), truth=truth)
    corner[22 : 22 + size[1], corner.shape[1] - size[0] :] = small


def _blank(height: int, width: int) -> Rgb:
    return np.full((height, width, 3), BACKDROP, np.uint8)


def _enlarge(mask: Mask, size: tuple[int, int]) -> Mask:
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(np.bool_)


def _scaled(box: Box, scale: int) -> Box:
    return Box(*(value * scale for value in box))


def _rim(mask: Mask, start: int, width: int) -> Mask:
    """The band inside the mask from `start` to `start + width` px off its edge."""
    outer, inner = (
        cv2.erode(mask.astype(np.uint8), np.ones((2 * depth + 1, 2 * depth + 1), np.uint8))
        for depth in (start, start + width)
    )
    return np.asarray(outer > inner)


def _tint(picture: Rgb, mask: Mask, colour: Colour, strength: float) -> None:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    if width:
        part = picture[y : y + height, x : x + width]
        mixed = cv2.addWeighted(part, 1 - strength, np.full_like(part, colour), strength, 0)
        np.copyto(part, mixed, where=mask[y : y + height, x : x + width, None])


def _fill(picture: Rgb, mask: Mask, colour: Colour, line: int) -> None:
    _tint(picture, mask, colour, 0.3)
    _tint(picture, _rim(mask, 0, line), colour, 0.9)


def _square(picture: Rgb, box: Box, colour: Colour, line: int) -> None:
    cv2.rectangle(picture, (box.left, box.top), (box.right - 1, box.bottom - 1), colour, line)


def _dashes(picture: Rgb, mask: Mask, colour: Colour, line: int) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    dash = 4 * line
    for contour in contours:
        pieces = [contour[start : start + dash + 1] for start in range(0, len(contour), 2 * dash)]
        cv2.polylines(picture, pieces, False, colour, line, cv2.LINE_AA)


def _text(picture: Rgb, text: str, place: tuple[int, int], colour: Colour, size: float, *, anchor: float = 0) -> int:
    """Write text on a baseline; `anchor` is the fraction of it left of `place`. Returns the width in px."""
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    origin = (round(place[0] - anchor * width), place[1])
    cv2.putText(picture, text, origin, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
    return width


def _number(picture: Rgb, agent: int, x: int, y: int) -> None:
    """Draw the agent's number on a patch of its colour."""
    cv2.rectangle(picture, (x, y), (x + 12, y + 13), AGENTS[agent % len(AGENTS)], -1)
    _text(picture, str(agent + 1), (x + 6, y + 11), BACKDROP, 0.4, anchor=0.5)


def _write_line(
    picture: Rgb, words: Sequence[tuple[str, Colour]], baseline: int, size: float, *, left: int = 0
) -> None:
    for text, colour in words:
        left += _text(picture, text, (left, baseline), colour, size) + 16
