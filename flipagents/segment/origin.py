"""What a mask was made from, kept in its PNG: the same work is skipped, and other work never passes for it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

KEY = "flip-learning"  # of the PNG's text


@dataclass(frozen=True)
class Origin:
    """One mask's image, box and method; but for when the image was stored, equal origins are the same work."""

    image: str | None  # file, as seen from the mask's folder; None for a case without a file of its own
    size: int  # bytes of that file; 0 without one
    modified_ns: int  # time of its last change, ns since the epoch; 0 without one
    digest: str  # of the file's bytes; without a file or a box known beforehand, of the whole case
    frame: int | None
    box: tuple[int, int, int, int]  # X0, Y0, X1, Y1, half-open pixels of the image
    method: str
    margin: int  # px
    weights: str  # digest; "" for a method that has none

    def text(self) -> str:
        """As JSON, on one line."""
        return json.dumps(dataclasses.asdict(self))


def read_origin(mask: Path) -> Origin | None:
    """What a mask's PNG says of its origin; None where it says nothing that can be understood."""
    try:
        with Image.open(mask, formats=("PNG",)) as picture:
            values = json.loads(picture.info[KEY])
        return Origin(**{**values, "box": tuple(values["box"])})
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):  # SyntaxError: Pillow's, of a damaged PNG
        return None
