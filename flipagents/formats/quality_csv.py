"""The table quality.csv in a folder of masks: how good each mask probably is, and why a person should look at it.

mask,image,x0,y0,x1,y1,method,area_px,quality,low,high,calibrated,reasons
scan_mask.png,scan,147,76,281,161,contour,7904,0.83,0.71,0.92,true,
other_mask.png,other,12,30,90,88,contour,2210,0.41,0.2,0.66,true,box-off;outline-unsure
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from flipagents.store.files import write_texts
from flipenv.errors import ConfigError, SourceError
from flipenv.sources.rows import XYXY, Row, box_of, read_rows, whole_number
from flipenv.types import Box

NAME = "quality.csv"
COLUMNS = ("mask", "image", *XYXY, "method", "area_px", "quality", "low", "high", "calibrated", "reasons")
REASONS = {  # code: what a person is told; other codes are told as they are
    "no-nodule": "perhaps no nodule: hardly any contrast",
    "box-off": "the box may be beside the nodule",
    "outline-unsure": "the outline is unsure",
    "empty": "the mask is empty",
}
_CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_DIGITS = 4  # of a Dice in the file


@dataclass(frozen=True)
class Quality:
    """One mask: where it comes from, its predicted Dice, and why it is marked.

    Raises ConfigError for values that are not as described.
    """

    mask: str  # file name of the PNG, in the folder of the table
    image: str  # id of the case
    box: Box  # px of the image
    method: str
    area_px: int  # px of the image in the mask
    quality: float | None = None  # predicted Dice, 0..1; None if unknown
    low: float | None = None  # 90% interval of the Dice, 0..1; None if unknown
    high: float | None = None
    calibrated: bool = False  # whether quality and interval were fitted to true masks
    reasons: tuple[str, ...] = ()  # codes, see REASONS; a mask with any is marked

    def __post_init__(self) -> None:
        plain = {PurePosixPath(self.mask).name, PureWindowsPath(self.mask).name}
        if plain != {self.mask} or not self.mask:
            raise ConfigError(f"mask={self.mask!r}; expected the name of a file in the folder of the table")
        if self.area_px < 0:
            raise ConfigError(f"area_px={self.area_px}; expected the number of pixels in the mask, 0 or more")
        for name in ("quality", "low", "high"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name}={value}; expected a Dice between 0 and 1, or nothing")
        if (self.low is None) != (self.high is None) or (self.quality is None and self.low is not None):
            raise ConfigError(
                f"quality={self.quality}, low={self.low}, high={self.high}; expected all three, quality alone, or none"
            )
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ConfigError(f"low={self.low} is above high={self.high}; expected low <= high")
        for code in self.reasons:
            if not _CODE.fullmatch(code):
                raise ConfigError(f"reason {code!r}; expected a code such as {', '.join(REASONS)}")

    @property
    def is_marked(self) -> bool:
        """Whether there is a reason to look at the mask."""
        return bool(self.reasons)


def write_quality(path: Path, rows: Iterable[Quality]) -> None:
    """Write the table atomically, rows in the given order, Dice values rounded to 4 digits.

    Raises OutputError if it cannot be written, ConfigError if two rows are about the same mask.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    masks: set[str] = set()
    for row in rows:
        if row.mask in masks:
            raise ConfigError(f"{path}: two rows for {row.mask}; expected one row per mask")
        masks.add(row.mask)
        box = (row.box.left, row.box.top, row.box.right, row.box.bottom)
        dices = ["" if value is None else round(value, _DIGITS) for value in (row.quality, row.low, row.high)]
        calibrated = "true" if row.calibrated else "false"
        writer.writerow([row.mask, row.image, *box, row.method, row.area_px, *dices, calibrated, ";".join(row.reasons)])
    write_texts({path: text.getvalue()})


def read_quality(path: Path) -> list[Quality]:
    """Read the table; columns may be in any order, and others are ignored.

    Raises SourceError, naming file and line, if the file is missing or not such a table.
    """
    rows: dict[str, Quality] = {}
    for row in read_rows(path, COLUMNS):
        try:
            read = _read(row)
        except ConfigError as error:
            raise SourceError(f"{row.where}: {error}") from None
        if read.mask in rows:
            raise SourceError(f"{row.where}: a second row for {read.mask}; expected one row per mask")
        rows[read.mask] = read
    return list(rows.values())


def _read(row: Row) -> Quality:
    truth = {"true": True, "false": False}
    calibrated = row.cells["calibrated"].lower()
    if calibrated not in truth:
        raise SourceError(f"{row.where}: calibrated={row.cells['calibrated']!r}; expected true or false")
    return Quality(
        mask=row.cells["mask"],
        image=row.cells["image"],
        box=box_of(row),
        method=row.cells["method"],
        area_px=whole_number(row, "area_px", "the number of pixels in the mask"),
        quality=_dice(row, "quality"),
        low=_dice(row, "low"),
        high=_dice(row, "high"),
        calibrated=truth[calibrated],
        reasons=tuple(code.strip() for code in row.cells["reasons"].split(";") if code.strip()),
    )


def _dice(row: Row, name: str) -> float | None:
    """The Dice in a cell, None if it is empty."""
    text = row.cells[name]
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and math.isnan(value):
        raise SourceError(f"{row.where}: {name}={text!r} is not a number; expected a Dice between 0 and 1, or nothing")
    return value
