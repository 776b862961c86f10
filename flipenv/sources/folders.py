"""Subject folders: one folder per case, the layout of the paper's authors."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np

from flipenv.errors import FlipError, SourceError
from flipenv.sources.base import BadEntry, Entry, ListedSource
from flipenv.sources.contents import file_bytes, is_file, is_folder
from flipenv.sources.files import FileCase, folder_at, list_folder
from flipenv.types import Box

IMAGE, BOX, BACKGROUND, MASK = "data.png", "nodule.npy", "data_crop.png", "mask.png"


class FolderSource(ListedSource):
    """Folders with `data.png` and `nodule.npy`, in natural order; the folder's name is the case's id.

    `nodule.npy` is four integers (top, left, bottom, right), half-open pixels. Optional: `data_crop.png`, the
    background that erasing reveals (same size as the image), and `mask.png`.

    Args:
        path: a folder of subject folders, or one subject folder.

    Raises SourceError if there is no subject folder, and on loading one that lacks its image or box.
    """

    def __init__(self, path: str | Path) -> None:
        expected = f"subject folders, each with {IMAGE} and {BOX}"
        root = folder_at(Path(path), expected)
        subjects = [root] if _is_subject(root) else sorted(filter(_is_subject, list_folder(root)), key=natural_key)
        if not subjects:
            raise SourceError(f"{root}: no folder with {IMAGE} or {BOX} found; expected {expected}")
        super().__init__([_entry(subject) for subject in subjects], str(root))


def natural_key(path: Path) -> list[tuple[str, int]]:
    """Sort key that puts `case 2` before `case 10`."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"([^0-9]*)([0-9]*)", path.name)]


def _is_subject(folder: Path) -> bool:
    try:
        return is_folder(folder) and (is_file(folder / IMAGE) or is_file(folder / BOX))
    except SourceError:  # no access: its entry reports it
        return True


def _entry(folder: Path) -> Entry:
    try:
        return _subject(folder)
    except FlipError as error:
        return BadEntry(folder.name, error)


def _subject(folder: Path) -> FileCase:
    for name in (IMAGE, BOX):
        if not is_file(folder / name):
            raise SourceError(
                f"{folder}: has no {name}; expected both {IMAGE} and {BOX}: add it, or move the folder out"
            )
    background, mask = (path if is_file(path) else None for path in (folder / BACKGROUND, folder / MASK))
    return FileCase(folder.name, str(folder), folder / IMAGE, _box(folder / BOX), mask=mask, background=background)


def _box(path: Path) -> Box:
    remedy = "save it again with np.save(path, np.array([top, left, bottom, right]))"
    try:
        corners = np.load(io.BytesIO(file_bytes(path)), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise SourceError(f"{path}: is not a plain NumPy array ({error}); {remedy}") from None
    if not isinstance(corners, np.ndarray) or corners.shape != (4,) or corners.dtype.kind not in "uif":
        found = f"shape {corners.shape} of {corners.dtype}" if isinstance(corners, np.ndarray) else "several arrays"
        raise SourceError(f"{path}: found {found}; expected four whole numbers: {remedy}")
    if (corners != np.rint(corners)).any() or not np.isfinite(corners).all():
        raise SourceError(f"{path}: found {corners.tolist()}; expected four whole numbers: {remedy}")
    return Box(*(int(corner) for corner in corners))
