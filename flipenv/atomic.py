"""Atomic file writes."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(
    paths: Sequence[Path], *, together: bool = False, stale: Sequence[Path] = ()
) -> Iterator[dict[Path, Path]]:
    """Provide a temporary path in the same folder for each path; rename them all once everything is on disk.

    together: delete existing files before the first rename, so that a kill never leaves old files beside new ones.
    stale: other files to delete with them. Creates missing folders. Raises OSError, leaving the paths unchanged, if a
    file cannot be written.
    """
    parts = {path: path.with_name(f".{secrets.token_hex(6)}.part{path.suffix}") for path in paths}
    try:
        for folder in {path.parent for path in paths}:
            folder.mkdir(parents=True, exist_ok=True)
        there = [path for path in paths if is_there(path)]
        yield parts
        for part in parts.values():
            with part.open("rb") as file:
                os.fsync(file.fileno())
        for path in there if together else ():
            path.unlink()
        for path in stale:
            path.unlink(missing_ok=True)
        for path, part in parts.items():
            part.replace(path)
    finally:
        for part in parts.values():
            try:
                part.unlink(missing_ok=True)
            except OSError:  # its folder could not be made
                continue


def is_there(path: Path) -> bool:
    """Like `Path.exists`, but a name that is too long raises OSError in each version of Python."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
