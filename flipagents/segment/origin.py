"""What a mask was made from, kept in its PNG: the same work is skipped, and other work never passes for it."""

from __future__ import annotations

import dataclasses
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

KEY = "flip-learning"  # of the PNG's text
END = b"IEND\xaeB`\x82"  # what a whole PNG ends with
STORED = ("stamp", "files")  # fields in which the same work may differ


@dataclass(frozen=True)
class Origin:
    """One mask's image, box and method, and the files that were written with it."""

    image: str | None  # file, as seen from the mask's folder; None for a case without a file of its own
    stamp: tuple[int, ...]  # of that file: bytes, times of its last change of contents and of inode in ns, inode
    digest: str  # of the file's bytes; without a file or a box known beforehand, of the whole case
    frame: int | None
    box: tuple[int, ...]  # X0, Y0, X1, Y1, half-open pixels of the image
    method: str
    margin: int  # px
    weights: str  # digest; "" for a method that has none
    files: tuple[str, ...] = ()  # names of the files beside the mask that show or hold it

    def text(self) -> str:
        """As JSON, on one line."""
        return json.dumps(dataclasses.asdict(self))

    def is_same_work(self, other: Origin) -> bool:
        """Whether two masks with these origins are the same mask."""
        return dataclasses.replace(self, **{name: getattr(other, name) for name in STORED}) == other


def read_origin(mask: Path) -> Origin | None:
    """What a mask's PNG says of its origin; None where it says nothing that can be understood."""
    try:
        with warnings.catch_warnings(), Image.open(mask, formats=("PNG",)) as picture:
            warnings.simplefilter("ignore")  # of its size: no pixel is decoded
            values = json.loads(picture.info[KEY])
        return _checked(values)
    # Somebody else's file may hold anything, and Pillow and json raise nearly anything.
    except Exception:
        return None


def is_whole(mask: Path) -> bool:
    """Whether a PNG has its end; OSError where it cannot be read."""
    with mask.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - len(END)))
        return file.read() == END


def _checked(values: dict[str, Any]) -> Origin | None:
    origin = Origin(**{**values, **{name: tuple(values[name]) for name in ("stamp", "box", "files")}})
    texts = (origin.digest, origin.method, origin.weights, *origin.files)
    numbers = (*origin.stamp, *origin.box, origin.margin)
    is_ours = (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int) for number in numbers)
        and len(origin.box) == 4
        and isinstance(origin.image, str | None)
        and isinstance(origin.frame, int | None)
        and all(Path(name).name == name for name in origin.files)
    )
    return origin if is_ours else None
