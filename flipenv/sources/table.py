"""Cases listed in a CSV file, one line a box."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from flipenv.errors import SourceError
from flipenv.registry import unknown
from flipenv.sources.base import BadEntry, Entry, ListedSource
from flipenv.sources.contents import is_file
from flipenv.sources.files import FileCase, file_at, folder_at, frame_name, image_name
from flipenv.sources.rows import TLBR, XYXY, Row, box_columns, box_of, read_rows, whole

FILES = ("mask", "background", "coarse", "prior")


class TableSource(ListedSource):
    """A CSV with a header: `image`, then `top,left,bottom,right` or `x0,y0,x1,y1`, half-open pixels of the image.

    Optional columns: `id`; `frame`, from 0, where the image has several; and the files `mask`, `background`, `coarse`,
    `prior`. An empty cell is an absent part. Any other column goes to the case's meta. Files are relative
    to the CSV, or to `images`.
    Without an `id` column, a case is called as its image file without image suffix, with `-frame12` where the frame is
    named, and with `#2`, `#3` from the second box on the same image.

    Args:
        path: the CSV file.
        keep: only the rows in which these columns have these values, for example {"split": "train"}.
        images: the folder that files are relative to; None for that of the CSV.

    Raises SourceError for what is wrong with the table as a whole: a missing column or cell, ids that repeat. A row
    with a missing file or a box that is no box raises it when it is loaded.
    """

    def __init__(
        self, path: str | Path, keep: Mapping[str, str] | None = None, images: str | Path | None = None
    ) -> None:
        keep = keep or {}
        table = file_at(Path(path), "a CSV file with columns image, top, left, bottom, right")
        rows = read_rows(table, ["image", *keep])
        if not rows:
            raise SourceError(f"{table}: has a header but no rows; expected one line a box")
        box_columns(rows[0])
        names: Counter[str] = Counter()
        folder = table.parent if images is None else folder_at(Path(images), "the images that the table names")
        entries = [_entry(folder, row, names) for row in rows]
        for column, value in keep.items():
            if all(row.cells[column] != value for row in rows):
                raise SourceError(f"{table}: {unknown(column, value, {row.cells[column] for row in rows})}")
        kept = [
            entry
            for entry, row in zip(entries, rows, strict=True)
            if all(row.cells[column] == value for column, value in keep.items())
        ]
        super().__init__(kept, str(table))


def _entry(folder: Path, row: Row, names: Counter[str]) -> Entry:
    frame: int | None = None
    fault: SourceError | None = None
    try:
        frame = whole(row, "frame", "the number of a frame, from 0") if row.cells.get("frame") else None
        parts = _parts(folder, row)
    except SourceError as error:
        fault = error
    case_id = row.cells.get("id", "")
    if not case_id:
        name = str(PurePosixPath(row.cells["image"].replace("\\", "/"))) if row.cells["image"] else "unnamed"
        name = frame_name(image_name(name), frame)
        names[name] += 1
        case_id = name if names[name] == 1 else f"{name}#{names[name]}"
    return FileCase(id=case_id, where=row.where, frame=frame, **parts) if fault is None else BadEntry(case_id, fault)


def _parts(folder: Path, row: Row) -> dict[str, Any]:
    """Box, files and the rest of a row; SourceError for a box that is none, and for a file that is not there."""
    if not row.cells["image"]:
        raise SourceError(f"{row.where}: the cell of 'image' is empty; expected a path relative to the table")
    box = box_of(row)
    files = {name: folder / row.cells[name] for name in ("image", *FILES) if row.cells.get(name)}
    for name, path in files.items():
        # The mask is looked for when it is needed: what makes masks works without.
        if name != "mask" and not is_file(path):
            raise SourceError(
                f"{row.where}: {name} {row.cells[name]!r} is not a file in {folder}; paths are relative to it"
            )
    taken = {"image", "id", "frame", *FILES, *TLBR, *XYXY}
    return {
        "box": box,
        "columns_first": XYXY[0] in row.cells,
        **files,
        "meta": {name: cell for name, cell in row.cells.items() if name not in taken},
    }
