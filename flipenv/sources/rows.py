"""Tables of boxes: CSV rows with a header, and the box of a row."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flipenv.errors import SourceError
from flipenv.registry import unknown
from flipenv.sources.contents import file_bytes
from flipenv.types import Box

TLBR = ("top", "left", "bottom", "right")
XYXY = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class Row:
    """One line of a table; cells are stripped text."""

    where: str  # file and line, for errors
    cells: Mapping[str, str]


def read_rows(path: Path, needed: Sequence[str]) -> list[Row]:
    """Return the rows of a comma-separated UTF-8 file with a header.

    Raises SourceError if a needed column is missing, a row has too few or too many cells, or the file is not UTF-8 CSV.
    """
    try:
        text = file_bytes(path).decode("utf-8-sig")
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = [name.strip() for name in next(lines, [])]
        _check_header(path, header, needed)
        rows = []
        for cells in lines:
            where = f"{path} line {lines.line_num}"
            if not cells:
                continue
            if len(cells) != len(header):
                raise SourceError(f"{where}: has {len(cells)} cells; expected {len(header)}: {', '.join(header)}")
            rows.append(Row(where, dict(zip(header, (cell.strip() for cell in cells), strict=True))))
    except UnicodeDecodeError:
        raise SourceError(f"{path}: is not UTF-8 text; save the table as CSV (UTF-8)") from None
    except csv.Error as error:
        raise SourceError(f"{path}: cannot be read as CSV ({error}); save the table as CSV (UTF-8, commas)") from None
    return rows


def box_of(row: Row) -> Box:
    """Return the box in a row's `top,left,bottom,right` or `x0,y0,x1,y1`, half-open pixels of the image.

    Raises SourceError if the columns are missing or in both conventions, a cell is not a whole number, or the box is
    empty. Whether it fits the image is checked when the case is loaded.
    """
    names = box_columns(row)
    corners = [whole_number(row, name, "pixels of the image") for name in names]
    box = Box(*corners) if names == TLBR else Box.from_xyxy(*corners)
    if box.height <= 0 or box.width <= 0:
        raise SourceError(
            f"{row.where}: box {','.join(f'{name}={row.cells[name]}' for name in names)} is empty; expected "
            f"{names[0]} < {names[2]} and {names[1]} < {names[3]}"
        )
    return box


def box_columns(row: Row) -> tuple[str, ...]:
    """The names of the box columns; SourceError if they are missing, or there in both conventions."""
    conventions = [names for names in (TLBR, XYXY) if all(name in row.cells for name in names)]
    if len(conventions) != 1:
        found = ", ".join(row.cells) if not conventions else "both"
        raise SourceError(f"{row.where}: expected box columns {','.join(TLBR)} or {','.join(XYXY)}; found {found}")
    return conventions[0]


def _check_header(path: Path, header: list[str], needed: Sequence[str]) -> None:
    if len(set(header)) != len(header):
        raise SourceError(f"{path} line 1: a column appears twice in {', '.join(header)}; rename one")
    for name in needed:
        if name in header:
            continue
        if len(header) == 1 and ";" in header[0]:
            raise SourceError(f"{path} line 1: columns are separated by semicolons; expected commas: save it again")
        if not any(header):
            raise SourceError(f"{path}: has no header line; expected column names such as {', '.join(needed)}")
        raise SourceError(f"{path} line 1: has no column {name!r}; {unknown('column', name, header)}")


def whole_number(row: Row, name: str, expected: str) -> int:
    """The whole number in a cell; otherwise SourceError, saying what was `expected`."""
    try:
        number = float(row.cells[name])
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number != math.floor(number):
        raise SourceError(f"{row.where}: {name}={row.cells[name]!r} is not a whole number; expected {expected}")
    return int(number)
