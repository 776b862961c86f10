"""The quality of each mask in its PNG, beside its origin, and `quality.csv` from all PNGs of a folder.

So a run that was resumed, or shared among machines, ends with a table of all masks.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flipagents.compare.methods import Rated
from flipagents.formats import quality_csv
from flipagents.formats.quality_csv import COLUMNS, read_quality, write_quality
from flipagents.segment.origin import MASK, read_origin
from flipagents.segment.quality import Quality
from flipenv.errors import ConfigError, FlipError
from flipenv.sources import read_image
from flipenv.types import Box

KEY = "flip-learning-quality"  # of the PNG text chunk
_DIGITS = 4  # of a Dice


def details_of(quality: Quality | None) -> dict[str, Any]:
    """The quality as JSON-serialisable data, without None for what a method lacks: its value is null then."""
    if quality is None:
        return {"quality": None, "quality_low": None, "quality_high": None, "calibrated": False, "reasons": []}
    value, low, high = (
        None if each is None else round(each, _DIGITS) for each in (quality.value, quality.low, quality.high)
    )
    return {
        "quality": value,
        "quality_low": low,
        "quality_high": high,
        "calibrated": quality.calibrated,
        "reasons": list(quality.reasons),
    }


def notes_of(image: str, rated: Rated) -> dict[str, str]:
    """The text chunk of a mask's PNG. image: id of the case."""
    return {KEY: json.dumps({"image": image, "area_px": int(rated.mask.sum()), **details_of(rated.quality)})}


def read_row(mask: Path) -> quality_csv.Quality | None:
    """The row of a mask's PNG; None if it does not record its origin.

    A mask that was written without a quality has none; its pixels are counted.
    """
    origin = read_origin(mask)
    if origin is None:
        return None
    own: Mapping[str, Any] = _note(mask)
    area = own.get("area_px")
    return quality_csv.Quality(
        mask=mask.name,
        image=str(own.get("image", mask.name.removesuffix(MASK))),
        box=Box.from_xyxy(*origin.box),
        method=origin.method,
        area_px=int(np.count_nonzero(read_image(mask))) if area is None else area,
        quality=own.get("quality"),
        low=own.get("quality_low"),
        high=own.get("quality_high"),
        calibrated=own.get("calibrated", False),
        reasons=tuple(own.get("reasons", ())),
    )


def row_details(row: quality_csv.Quality) -> dict[str, Any]:
    """The quality of a row, as `details_of`."""
    return details_of(
        None
        if row.quality is None
        else Quality(row.quality, row.low, row.high, calibrated=row.calibrated, reasons=row.reasons)
    )


def write_table(folder: Path) -> list[quality_csv.Quality]:
    """Write `quality.csv` about all masks of a folder that record their origin; return its rows.

    A table that says the same is left as it is, and none is made about no mask. Raises OutputError if it cannot be
    written.
    """
    path = folder / quality_csv.NAME
    rows = [row for row in map(_row_or_none, sorted(folder.glob(f"*{MASK}"))) if row is not None]
    if rows != _known(path):
        write_quality(path, rows)
    return rows


def check_table(folder: Path, is_replaced: bool) -> None:
    """Raise ConfigError if the folder has a `quality.csv` of somebody else."""
    path = folder / quality_csv.NAME
    if not path.exists() or is_replaced:
        return
    with path.open("rb") as file:
        head = file.readline(1000).decode("utf-8", "replace").strip()
    if head.split(",") != list(COLUMNS):
        raise ConfigError(f"{path} exists and is another table; choose another folder, or replace it with --overwrite")


def _known(path: Path) -> list[quality_csv.Quality]:
    """The rows of a table; none if it is missing or damaged."""
    try:
        return read_quality(path)
    except FlipError:
        return []


def _row_or_none(mask: Path) -> quality_csv.Quality | None:
    try:
        return read_row(mask)
    except FlipError:  # a truncated mask, which the next run makes again
        return None


def _note(mask: Path) -> dict[str, Any]:
    """What `notes_of` wrote; empty if there is nothing, or something else."""
    try:
        with warnings.catch_warnings(), Image.open(mask, formats=("PNG",)) as picture:
            warnings.simplefilter("ignore")  # about its size: no pixel is decoded
            own = json.loads(picture.info[KEY])
        return own if isinstance(own, dict) else {}
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):
        return {}
