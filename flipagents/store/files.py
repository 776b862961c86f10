"""Atomic file writes, and valid file names."""

from __future__ import annotations

import errno
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from flipenv import atomic
from flipenv.errors import FlipError

REMEDIES = {  # remedies for the errno of a failed write
    errno.ENOSPC: "free space on that disk",
    errno.EDQUOT: "free space on that disk",
    errno.EFBIG: "free space on that disk",
    errno.ENAMETOOLONG: "give the case a shorter id",
}


class OutputError(FlipError):
    """A file that cannot be written."""

    def __init__(self, what: str, error: OSError | None = None) -> None:
        reason = "" if error is None else f" ({error.strerror or error}); {REMEDIES.get(error.errno or 0, _ELSEWHERE)}"
        super().__init__(f"cannot write {what}{reason}")
        self.is_for_all = error is None or error.errno != errno.ENAMETOOLONG  # whether the next file will fail too


_ELSEWHERE = "choose another folder"


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write text files atomically, all or none; OutputError if one cannot be written."""
    with replacing(list(texts)) as parts:
        for path, part in parts.items():
            part.write_text(texts[path], encoding="utf-8", newline="")


def check_writable(folder: Path) -> None:
    """Raise OutputError unless files can be written into a folder, which may not exist yet; leaves nothing behind."""
    probe = folder / f".{secrets.token_hex(6)}.part"
    try:
        missing = [each for each in (folder, *folder.parents) if not atomic.is_there(each)]
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
        for each in missing:
            each.rmdir()
    except OSError as error:
        raise OutputError(f"into {folder}", error) from error


@contextmanager
def replacing(
    paths: Sequence[Path], *, together: bool = False, stale: Sequence[Path] = ()
) -> Iterator[dict[Path, Path]]:
    """As `flipenv.atomic.replacing`, but raises OutputError, with a remedy, in place of OSError."""
    try:
        with atomic.replacing(paths, together=together, stale=stale) as parts:
            yield parts
    except OSError as error:
        raise OutputError(", ".join(map(str, paths)), error) from error


def file_names(ids: Sequence[str]) -> list[str]:
    """A unique, reproducible file name for each id; invalid characters become `_`."""
    taken: set[str] = set()
    names = []
    for each in ids:
        plain = name = re.sub(r"[^\w .()#+=-]", "_", each).strip(" .") or "case"
        count = 1
        while name.casefold() in taken:
            count += 1
            name = f"{plain}~{count}"
        taken.add(name.casefold())
        names.append(name)
    return names
