"""Subject folders: one folder a case, as the paper's authors keep theirs."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np

from flipenv.errors import FlipError, SourceError
from flipenv.sources.base import BadEntry, Entry, ListedSource
from flipenv.sources.contents import file_bytes, is_file, is_folder
from flipenv.sources.files import FileCase, folder_at, listed
from flipenv.types import Box

IMAGE, BOX, BACKGROUND, MASK = "data.png", "nodule.npy", "data_crop.png", "mask.png"


class FolderSource(ListedSource):
    """Folders that hold `data.png` and `nodule.npy`, in natural order; the folder's name is the case's id.

    `nodule.npy` is four integers (top, left, bottom, right), half-open pixels. Optional: `data_crop.png`, the image
    with its nodule covered (whole size; what an erased pixel shows), and `mask.png`.

    Args:
        path: the folder of subject folders, or one subject folder.

    Raises SourceError when there is no subject folder; one that lacks its image or box raises it when it is loaded.
    """

    def __init__(self, path: str | Path) -> None:
        expected = f"subject folders, each with {IMAGE} and {BOX}"
        root = folder_at(Path(path), expected)
        subjects = [root] if _is_subject(root) else sorted(filter(_is_subject, listed(root)), key=natural)
        if not subjects:
            raise SourceError(f"{root}: none of its folders holds {IMAGE} or {BOX}; expected {expected}")
        super().__init__([_entry(subject) for subject in subjects], str(root))


def natural(path: Path) -> list[tuple[str, int]]:
    """Sort key under which `case 2` comes before `case 10`."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"([^0-9]*)([0-9]*)", path.name)]


def _is_subject(folder: Path) -> bool:
    try:
        return is_folder(folder) and (is_file(folder / IMAGE) or is_file(folder / BOX))
    except SourceError:  # a folder that is closed: its entry says so
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
                f"{folder}: has no {name}; expected both {IMAGE} and {BOX}: add it or move the folder away"
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
