"""Cases listed in a CSV file, one line a box."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from flipenv.errors import SourceError
from flipenv.registry import unknown
from flipenv.sources.base import ListedSource
from flipenv.sources.files import FileCase, file_at, frame_name, image_name
from flipenv.sources.rows import TLBR, XYXY, Row, box_of, read_rows, whole

FILES = ("mask", "background", "coarse", "prior")


class TableSource(ListedSource):
    """A CSV with a header: `image`, then `top,left,bottom,right` or `x0,y0,x1,y1`, half-open pixels of the image.

    Optional columns: `id`; `frame`, from 0, where the image has several; and the files `mask`, `background`, `coarse`,
    `prior`. An empty cell is an absent part. Any other column goes to the case's meta. Files are relative to the CSV.
    Without an `id` column, a case is called as its image without image suffix, with `-frame12` where the frame is named, and
    with `#2`, `#3` from the second box on the same image.

    Args:
        path: the CSV file.
        keep: only the rows in which these columns have these values, for example {"split": "train"}.

    Raises SourceError that names file and line: a missing column, file or cell, a box that is no box, ids that repeat.
    """

    def __init__(self, path: str | Path, keep: Mapping[str, str] | None = None) -> None:
        keep = keep or {}
        table = file_at(Path(path), "a CSV file with columns image, top, left, bottom, right")
        rows = read_rows(table, ["image", *keep])
        if not rows:
            raise SourceError(f"{table}: has a header but no rows; expected one line a box")
        seen: Counter[str] = Counter()
        entries = [_entry(table.parent, row, seen) for row in rows]
        for column, value in keep.items():
            if all(row.cells[column] != value for row in rows):
                raise SourceError(f"{table}: {unknown(column, value, {row.cells[column] for row in rows})}")
        kept = [
            entry
            for entry, row in zip(entries, rows, strict=True)
            if all(row.cells[column] == value for column, value in keep.items())
        ]
        super().__init__(kept, str(table))


def _entry(folder: Path, row: Row, seen: Counter[str]) -> FileCase:
    if not row.cells["image"]:
        raise SourceError(f"{row.where}: the cell of 'image' is empty; expected a path relative to the table")
    box = box_of(row)
    files = {name: _file(folder, row, name) for name in ("image", *FILES) if row.cells.get(name)}
    frame = whole(row, "frame", "the number of a frame, from 0") if row.cells.get("frame") else None
    taken = {"image", "id", "frame", *FILES, *TLBR, *XYXY}
    case_id = row.cells.get("id", "")
    if not case_id:
        stem = frame_name(image_name(str(PurePosixPath(row.cells["image"].replace("\\", "/")))), frame)
        seen[stem] += 1
        case_id = stem if seen[stem] == 1 else f"{stem}#{seen[stem]}"
    meta = {name: cell for name, cell in row.cells.items() if name not in taken}
    return FileCase(id=case_id, where=row.where, box=box, frame=frame, meta=meta, **files)


def _file(folder: Path, row: Row, name: str) -> Path:
    path = folder / row.cells[name]
    if not path.is_file():
        raise SourceError(
            f"{row.where}: {name} {row.cells[name]!r} is not a file in {folder}; paths are relative to it"
        )
    return path
