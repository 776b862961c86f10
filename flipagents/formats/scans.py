"""Which file a case's image is read from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from flipenv.sources.base import ListedSource, Source
from flipenv.sources.busi import BusiCase
from flipenv.sources.coco import CocoCase
from flipenv.sources.files import FileCase


def path_from(folder: Path, file: Path) -> str:
    """Where a file lies, seen from a folder, with slashes; its whole path where no way leads there (another drive)."""
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:
        return file.absolute().as_posix()


@dataclass(frozen=True)
class Scan:
    """Where a case's image is read from."""

    file: Path
    frame: int | None = None  # of the file, where it has several
    axis: str | None = None  # that the slices of a volume are numbered along; None for z


def scan_of(source: Source, index: int) -> Scan | None:
    """Where a case's image is read from; None where it is not in a file of its own."""
    entry = source.entries[index] if isinstance(source, ListedSource) else None
    if isinstance(entry, FileCase):
        return Scan(entry.image, entry.frame, entry.axis)
    if isinstance(entry, CocoCase):
        return Scan(entry.image, entry.frame)
    return Scan(entry.image) if isinstance(entry, BusiCase) else None
