"""The origin of a mask, stored in its PNG: repeated work is skipped, and changed inputs are detected."""

from __future__ import annotations

import dataclasses
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

KEY = "flip-learning"  # of the PNG text chunk
END = b"IEND\xaeB`\x82"  # last bytes of a complete PNG
STORED = ("stamp", "files")  # fields that may differ for the same work
Points: TypeAlias = tuple[tuple[int, int, int], ...]  # x, y in px and label of each: 1 on the nodule, 0 not
MASK = "_mask.png"  # end of a mask's file name
CORRECTIONS, UNMENDED = "_corrections.json", "_unmended.png"  # ends of the files beside a mask mended by a person


@dataclass(frozen=True)
class Origin:
    """A mask's image, box and method, and the files written with it."""

    image: str | None  # file, relative to the mask's folder; None for a case without its own file
    stamp: tuple[int, ...]  # of that file: size in bytes, mtime and ctime in ns, inode
    digest: str  # of the file's bytes; without a file or a box known in advance, of the whole case
    frame: int | None
    box: tuple[int, ...]  # X0, Y0, X1, Y1, half-open pixels of the image
    method: str
    margin: int  # px
    weights: str  # digest; "" for a method without weights
    files: tuple[str, ...] = ()  # names of the files written with the mask
    points: Points = ()  # clicks that mended it, in their order
    mended: bool = False  # by a person on the page, after all of that

    @property
    def is_by_hand(self) -> bool:
        """Whether a person mended the mask, by points or on the page."""
        return self.mended or bool(self.points)

    def text(self) -> str:
        """As JSON, on one line."""
        values = dataclasses.asdict(self)
        for name in ("points", "mended"):  # a mask that nobody mended is written as before
            if not values[name]:
                del values[name]
        return json.dumps(values)

    def is_same_work(self, other: Origin) -> bool:
        """Whether two masks with these origins are the same mask."""
        return dataclasses.replace(self, **{name: getattr(other, name) for name in STORED}) == other


def beside(file: Path, end: str) -> Path:
    """The file with another end beside a mask or its corrections."""
    return file.with_name(file.name.removesuffix(MASK).removesuffix(CORRECTIONS) + end)


def read_origin(mask: Path) -> Origin | None:
    """The origin stored in a mask's PNG; None if there is none or it cannot be parsed."""
    try:
        with warnings.catch_warnings(), Image.open(mask, formats=("PNG",)) as picture:
            warnings.simplefilter("ignore")  # about its size: no pixel is decoded
            values = json.loads(picture.info[KEY])
        return _checked(values)
    # A foreign file may hold anything, and Pillow and json may raise nearly anything.
    except Exception:
        return None


def is_whole(mask: Path) -> bool:
    """Whether a PNG is complete; OSError if it cannot be read."""
    with mask.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - len(END)))
        return file.read() == END


def _checked(values: dict[str, Any]) -> Origin | None:
    lists: dict[str, Any] = {name: tuple(values[name]) for name in ("stamp", "box", "files")}
    lists["points"] = tuple(tuple(point) for point in values.get("points", ()))
    origin = Origin(**{**values, **lists})
    texts = (origin.digest, origin.method, origin.weights, *origin.files)
    numbers = (*origin.stamp, *origin.box, origin.margin, *(number for point in origin.points for number in point))
    is_ours = (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int) for number in numbers)
        and len(origin.box) == 4
        and all(len(point) == 3 for point in origin.points)
        and isinstance(origin.mended, bool)
        and isinstance(origin.image, str | None)
        and isinstance(origin.frame, int | None)
        and all(Path(name).name == name for name in origin.files)
    )
    return origin if is_ours else None
