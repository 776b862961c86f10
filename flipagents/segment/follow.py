"""Follow a nodule through a film or a volume: one box on one frame becomes a mask on each.

From the frame with the box the film is walked forwards and backwards. In each frame the box is found again from the
last one (`flipagents.maps.seek`), the method makes its mask in it, and `flipagents.segment.gone` judges whether the
nodule is still there; where it is not, the walk in that direction ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flipagents.maps.seek import Follower, Seeker
from flipagents.segment.gone import Measures, Rule, agreement, contrast
from flipenv.checks import check_contrast
from flipenv.errors import ImageError, MaskError
from flipenv.pixels import Grey, Mask
from flipenv.progress import show_progress
from flipenv.types import Box, Case

Method: TypeAlias = Callable[[list[Case]], list[Mask]]  # as `flipagents.compare.methods.Method`
Score: TypeAlias = Callable[[Grey, Box], float]  # image and box to the classifier's nodule score, 0..1


@dataclass(frozen=True, eq=False)
class Followed:
    """One frame of a followed film."""

    frame: int
    box: Box  # in which the mask was made
    mask: Mask  # (height, width) bool
    measures: Measures
    gone: str = ""  # why the nodule counts as gone from this frame on; "" where it is kept


def follow(
    frames: NDArray[np.uint8],
    start: int,
    box: Box,
    method: Method,
    seeker: Seeker,
    score: Score | None = None,
    *,
    rule: Rule | None = None,
    quiet: bool = True,
) -> Iterator[Followed]:
    """Yield the frame `start`, those after it, and those before it backwards; in each direction the last may be `gone`.

    Deterministic if the callables are. Frames after one that is gone are not looked at.

    Args:
        frames: (T, height, width).
        start: the frame with the box, from 0.
        box: tight around the nodule in that frame.
        method: makes one mask per case; it may fail with a FlipError.
        seeker: finds the box again.
        score: judges a box by the classifier, None without one.
        rule: when to let go.
        quiet: show no progress.

    Raises ImageError if there is no such frame, or one grey level in the box; BoxError for a box outside the frame;
    MaskError if the method finds nothing in the box.
    """
    if not 0 <= start < len(frames):
        raise ImageError(f"the film has no frame {start}; expected 0..{len(frames) - 1}")
    rule = rule or Rule()
    with show_progress("following", len(frames), unit="frame", quiet=quiet, brief=True) as shown:
        first = _look(frames[start], start, box, method, seeker, score)
        check_contrast(frames[start], first.box)
        if not first.mask.any():
            raise MaskError(f"frame {start}: the method finds nothing in the box {tuple(box)}; draw it again")
        yield first
        shown.advance()
        follower = Follower(seeker, frames[start], first.box)
        for way in (range(start + 1, len(frames)), range(start - 1, -1, -1)):
            last, kept = first, [first.measures]
            for frame in way:
                seen = _look(frames[frame], frame, follower.box(frames[frame], last.box), method, seeker, score)
                reason = _blank(seen) or rule.reason(seen.measures, kept)
                last = Followed(frame, seen.box, seen.mask, seen.measures, reason)
                yield last
                shown.advance()
                if reason:
                    break
                kept.append(last.measures)


def _look(frame: Grey, number: int, box: Box, method: Method, seeker: Seeker, score: Score | None) -> Followed:
    """Mask and measures of one frame."""
    case = Case(frame, box, id=f"frame{number}")
    (mask,) = method([case])
    seen = seeker(frame, case.box)
    found = Measures(contrast(frame, mask), agreement(seen, mask), None if score is None else score(frame, case.box))
    return Followed(number, case.box, mask, found)


def _blank(seen: Followed) -> str:
    """Why a frame shows nothing to judge; "" where it does."""
    if not seen.mask.any():
        return "the method finds nothing in the box"
    return "the mask has no surroundings to compare with" if math.isnan(seen.measures.contrast) else ""
