"""Cases listed in a CSV file, one row per box."""

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
from flipenv.sources.rows import TLBR, XYXY, Row, box_columns, box_of, read_rows, whole_number

FILES = ("mask", "background", "coarse", "prior")


class TableSource(ListedSource):
    """A CSV with a header: `image`, then `top,left,bottom,right` or `x0,y0,x1,y1`, half-open pixels of the image.

    Optional columns: `id`; `frame`, from 0, of a multi-frame image; `axis` of a volume, x, y or z; the files `mask`,
    `background`, `coarse`, `prior`. Empty cells mean absent. Other columns go to the case's meta. Files are relative to
    the CSV, or to `images`. By default, an id is the image's file name without suffix, with `-frame12` if a frame is
    given, and with `#2`, `#3` from the second box on the same image.

    Args:
        path: the CSV file.
        keep: only rows with these values in these columns, for example {"split": "train"}.
        images: the folder that files are relative to; None for the CSV's.

    Raises SourceError for errors in the table as a whole, such as a missing column or duplicate ids. A row with a
    missing file or an invalid box raises it when it is loaded.
    """

    def __init__(
        self, path: str | Path, keep: Mapping[str, str] | None = None, images: str | Path | None = None
    ) -> None:
        keep = keep or {}
        table = file_at(Path(path), "a CSV file with columns image, top, left, bottom, right")
        rows = read_rows(table, ["image", *keep])
        if not rows:
            raise SourceError(f"{table}: has a header but no rows; expected one row per box")
        box_columns(rows[0])
        names: Counter[str] = Counter()
        folder = table.parent if images is None else folder_at(Path(images), "the images in the table")
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
    axis = row.cells.get("axis") or None
    fault: SourceError | None = None
    try:
        frame = whole_number(row, "frame", "the number of a frame, from 0") if row.cells.get("frame") else None
        parts = _parts(folder, row)
    except SourceError as error:
        fault = error
    case_id = row.cells.get("id", "")
    if not case_id:
        name = str(PurePosixPath(row.cells["image"].replace("\\", "/"))) if row.cells["image"] else "unnamed"
        name = frame_name(image_name(name), frame, axis)
        names[name] += 1
        case_id = name if names[name] == 1 else f"{name}#{names[name]}"
    if fault is not None:
        return BadEntry(case_id, fault)
    return FileCase(id=case_id, where=row.where, frame=frame, axis=axis, **parts)


def _parts(folder: Path, row: Row) -> dict[str, Any]:
    """Box, files and meta of a row; SourceError for an invalid box or a missing file."""
    if not row.cells["image"]:
        raise SourceError(f"{row.where}: column 'image' is empty; expected a path relative to the table")
    box = box_of(row)
    files = {name: folder / row.cells[name] for name in ("image", *FILES) if row.cells.get(name)}
    for name, path in files.items():
        # Masks are checked when loaded, as segmenting does not need them.
        if name != "mask" and not is_file(path):
            raise SourceError(
                f"{row.where}: {name} {row.cells[name]!r} is not a file in {folder}; paths are relative to it"
            )
    taken = {"image", "id", "frame", "axis", *FILES, *TLBR, *XYXY}
    return {
        "box": box,
        "columns_first": XYXY[0] in row.cells,
        **files,
        "meta": {name: cell for name, cell in row.cells.items() if name not in taken},
    }
