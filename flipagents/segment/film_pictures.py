"""Pictures of a followed film: area and evidence over its frames, and the frames with outline and box."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flipagents.classify.figures import BLUE, GREEN, INK, ORANGE, RED, new_figure
from flipagents.segment.follow import Followed
from flipenv.pictures.render import BACKDROP, TEXT, Rgb, overlay

CAPTION = 22  # px, height of the line below a frame


def follow_figure(steps: Sequence[Followed], start: int, pixel_mm2: float | None = None) -> Any:
    """Two plots over the frames: the masks' area, and what tells that the nodule is there, each from 0 to 1.

    steps: in the order of their frames. start: the frame with the box. pixel_mm2: area of a pixel, None if unknown.
    The contrast is shown as a share of that on the first frame. MissingDependencyError without matplotlib.
    """
    kept = [step for step in steps if not step.gone]
    first = next(step.measures for step in steps if step.frame == start)
    figure = new_figure(7.2, 5.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.2])
    areas = [int(step.mask.sum()) * (pixel_mm2 or 1) for step in kept]
    upper.plot([step.frame for step in kept], areas, "o-", color=GREEN, ms=3)
    upper.set(ylabel=f"area, {'px' if pixel_mm2 is None else 'mm²'}", ylim=(0, 1.1 * max(areas)))
    shown: list[tuple[str, str, list[float | None]]] = [
        ("mask and map agree", BLUE, [step.measures.agreement for step in steps]),
        ("classifier", RED, [step.measures.score for step in steps]),
    ]
    if first.contrast > 0:
        shares = [step.measures.contrast / first.contrast for step in steps]
        shown.append((f"contrast, of {first.contrast:.0f} grey levels", ORANGE, [*shares]))
    for label, colour, values in shown:
        known = [(step.frame, value) for step, value in zip(steps, values, strict=True) if value is not None]
        if known:
            lower.plot(*zip(*known, strict=True), "o-", color=colour, ms=3, label=label)
    lower.set(xlabel="frame", ylabel="share", ylim=(min(0, *lower.get_ylim()), max(1.05, *lower.get_ylim())))
    for axes in (upper, lower):
        axes.grid(color="0.93")
        axes.axvline(start, color=INK, lw=1, ls=":")
        for step in steps:
            if step.gone:
                axes.axvline(step.frame, color=RED, lw=1, ls="--")
    gone = ", ".join(str(step.frame) for step in steps if step.gone)
    upper.set_title(f"box on frame {start} (dotted){f', let go at {gone} (dashed)' if gone else ''}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def film_frames(frames: NDArray[np.uint8], steps: Mapping[int, Followed]) -> Iterator[Rgb]:
    """Every frame with its number below: with mask and box where it is kept, otherwise bare.

    frames: (T, height, width) uint8. steps: by frame. Yields (height + CAPTION, width, 3) uint8.
    """
    for number, frame in enumerate(frames):
        step = steps.get(number)
        if step is None or step.gone:
            picture = np.repeat(frame[..., None], 3, axis=2)
            note = "not followed" if step is None else "let go"
        else:
            picture, note = overlay(frame, step.mask, step.box), f"{int(step.mask.sum())} px"
        line = np.full((CAPTION, picture.shape[1], 3), BACKDROP, np.uint8)
        text = f"{number}/{len(frames) - 1}  {note}"
        cv2.putText(line, text, (6, CAPTION - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.4, TEXT, 1, cv2.LINE_AA)
        yield np.concatenate([picture, line])
