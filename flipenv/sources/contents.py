"""Digests of cases: whole files read and hashed, not decoded."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from flipenv.errors import ImageError, SourceError

FORMAT = "flipenv case 2"  # in every digest; a new number invalidates all cached cases
Part: TypeAlias = Path | str | tuple[int, ...] | Mapping[str, Any] | np.ndarray[Any, Any] | None


def file_bytes(path: Path) -> bytes:
    """Return all bytes of a file; SourceError if it is missing or cannot be read."""
    try:
        if not (path.is_file() or path.is_dir()) and path.exists():
            raise SourceError(f"{path}: is not a regular file; expected one, not a pipe or device")
        return path.read_bytes()
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file; check the path and that the data set is complete") from None
    except IsADirectoryError:
        raise SourceError(f"{path}: is a folder; expected a file") from None
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:  # NUL or a lone surrogate in the name
        raise SourceError(f"{str(path)!r}: is not a valid file name ({error})") from None


def is_file(path: Path) -> bool:
    """Whether the file exists; SourceError if that is unknown, such as without access to its folder."""
    try:
        return path.is_file()
    except OSError as error:
        raise unreadable(path, error) from error


def is_folder(path: Path) -> bool:
    """Whether the folder exists; SourceError as `is_file`."""
    try:
        return path.is_dir()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> SourceError:
    """The error for a file or folder that cannot be accessed."""
    remedy = "shorten it" if error.errno == errno.ENAMETOOLONG else "check its permissions and the disk"
    return SourceError(f"{path}: cannot be read ({error.strerror or error}); {remedy}")


def check_extent(path: Path, height: int, width: int, limit: int | None) -> None:
    """Raise ImageError if a file's header declares over `limit` pixels, as a small file may decompress to any size."""
    if limit is not None and height * width > limit:
        raise ImageError(
            f"{path}: is {height}x{width} pixels (height x width); expected at most {limit} in all: crop it around "
            "the nodule, or downsample it"
        )


def check_frame(path: Path, frame: int | None, frames: int) -> int:
    """The requested frame of a file, or its only one; ImageError if there is none, or several and no request."""
    if frame is None and frames > 1:
        raise ImageError(
            f"{path}: has {frames} frames; expected a file with one, or the number of the boxed one, 0..{frames - 1}: "
            "--frame on the command line, a column frame in a table, frame= in Python"
        )
    if not 0 <= (frame or 0) < frames:
        raise ImageError(f"{path}: has no frame {frame}; expected 0..{frames - 1}")
    return frame or 0


def frame_part(frame: int | None) -> tuple[Part, ...]:
    """The frame's part of a digest; empty without a frame."""
    return () if frame is None else ((frame,),)


def digest(*parts: Part) -> str:
    """Return the blake2b hex digest (32 digits) of the parts; of a path, the file's bytes are hashed, not its name.

    Each part is hashed with its kind and length, so moving a byte from one to the next changes the digest.

    Raises SourceError if a file cannot be read.
    """
    total = hashlib.blake2b(FORMAT.encode(), digest_size=16)
    for part in parts:
        kind, content = _content(part)
        total.update(f"{kind}:{len(content)}:".encode())
        total.update(content)
    return total.hexdigest()


def _content(part: Part) -> tuple[str, bytes]:
    match part:
        case None:
            return "none", b""
        case Path():
            return "file", file_bytes(part)
        case str():
            return "text", part.encode(errors="surrogatepass")  # file names need not be valid text
        case np.ndarray():
            return f"{part.dtype}{part.shape}", np.ascontiguousarray(part).tobytes()
        case Mapping():
            return "map", json.dumps(dict(part), sort_keys=True, default=str).encode()
        case _:
            return "numbers", ",".join(str(int(number)) for number in part).encode()
