"""Open the input of a command as a source: an image with its box, a folder, a table, a COCO file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from flipenv.checks import check_box
from flipenv.errors import BoxError, ConfigError, SourceError
from flipenv.sources import SOURCES, Source, TableSource, open_source, read_image
from flipenv.sources.base import ListedSource
from flipenv.sources.busi import FOLDER, LESIONS
from flipenv.sources.files import SUFFIXES, FileCase, frame_name, image_name
from flipenv.types import Box

PERCENT = "%"
POINT = re.compile(r"(\d+),(\d+)([+-])")


def open_input(
    text: str,
    box: Sequence[str] | None = None,
    frame: int | None = None,
    boxes: Path | None = None,
    axis: str | None = None,
) -> Source:
    """The image with its box, the folder of images with its table of boxes, or the source named by `text`.

    box: X0, Y0, X1, Y1 as typed, in pixels or, with %, in percent of the image. frame: of a multi-frame image, or slice
    of a volume along an axis, x, y or z. boxes: a CSV whose image names are relative to the folder `text`.
    Raises BoxError, ConfigError, ImageError or SourceError, quoting the input.
    """
    path = Path(text).expanduser()
    if boxes is not None:
        if box is not None or not path.is_dir():
            raise ConfigError(f"--boxes {boxes} is a table of boxes on the images of a folder; {text} is not a folder")
        return TableSource(boxes, images=path)
    if box is None:
        for option, value in (("--frame", frame), ("--axis", axis)):
            if value is not None:
                name = option.removeprefix("--")
                raise ConfigError(f"{option} {value} belongs to one image with --box; in a table {name} is a column")
        return open_source(source_text(text))
    if path.is_dir() or path.suffix.lower() in (".json", ".csv"):
        raise BoxError(f"--box belongs to one image; {text} brings its own boxes: leave --box out")
    shape = read_image(path, frame=frame, axis=axis).shape
    name = frame_name(image_name(path.name), frame, axis)
    found = box_typed(box, shape)
    return ListedSource([FileCase(name, text, path, found, frame=frame, axis=axis)], text)


def read_points(typed: Sequence[str], box: Sequence[str] | None) -> tuple[tuple[int, int, int], ...]:
    """X, Y in pixels and label (1 nodule, 0 not) of each point typed as `X,Y+` or `X,Y-`.

    box: as for `open_input`. Raises ConfigError, quoting a bad point, and for points without a box.
    """
    if typed and box is None:
        raise ConfigError(
            "--points mends the mask of one image with --box; give --box X0 Y0 X1 Y1, one image at a time"
        )
    found = []
    for text in typed:
        match = POINT.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"--points {text}: expected X,Y+ for a point on the nodule or X,Y- for one that is not, in whole "
                "pixels, such as 120,80+ 60,40-"
            )
        found.append((int(match[1]), int(match[2]), int(match[3] == "+")))
    return tuple(found)


def source_text(text: str, split: str | None = None) -> str:
    """Source text for a path, or for source text itself; `split` is added as an option.

    Raises BoxError for an image without a box, SourceError for a missing path and for a folder without boxes.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        busi = any((path / name).is_dir() for name in (FOLDER, *LESIONS))
        if not busi and any(each.name.lower().endswith(SUFFIXES) for each in path.iterdir() if each.is_file()):
            raise SourceError(
                f"{text} is a folder of images without boxes; give a CSV of boxes (flip segment --boxes FILE.csv)"
            )
        text = f"{'busi' if busi else 'folders'}:{path}"
    elif path.suffix.lower() in (".json", ".csv") and path.is_file():
        text = f"{'coco' if path.suffix.lower() == '.json' else 'csv'}:{path}"
    elif path.is_file():
        raise BoxError(f"{text} is one image; give --box X0 Y0 X1 Y1, or a CSV or COCO file with boxes")
    elif text.partition(":")[0] not in SOURCES:
        raise SourceError(f"{text} does not exist; expected a file, a folder, or KIND:PATH with {', '.join(SOURCES)}")
    if split is not None:
        text += f"{'&' if '?' in text else '?'}split={split}"
    return text


def box_typed(typed: Sequence[str], shape: tuple[int, ...]) -> Box:
    """The box of X0, Y0, X1, Y1 as typed on an image (height, width); BoxError quotes them in that order."""
    height, width = shape
    try:
        sides = [_side(text, length) for text, length in zip(typed, (width, height, width, height), strict=True)]
        if any(text.endswith(PERCENT) for text in typed):
            box = Box.covering(sides[1], sides[0], sides[3], sides[2])
        else:
            box = Box(*(int(side) for side in (sides[1], sides[0], sides[3], sides[2])))
        return Box(*check_box(box, shape, columns_first=True))
    except ValueError as error:  # BoxError is one
        raise BoxError(f"--box {' '.join(typed)}: {error}") from None


def _side(text: str, length: int) -> float:
    percent = text.endswith(PERCENT)
    try:
        number = float(text.removesuffix(PERCENT))
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or not (percent or number == int(number)):
        raise BoxError(
            f"{text!r} is not a whole number of pixels; expected X0 Y0 X1 Y1, such as 40 30 120 96 or 10% ..."
        )
    return number / 100 * length if percent else number
