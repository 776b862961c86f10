"""Folders that hold tensors and plain data: complete or not there, and read without running any code.

A checkpoint is a folder with `tensors.safetensors` and `about.json`; the JSON carries the format's number, what kind of
thing was saved, the versions that wrote it, and a digest of the tensors, so that halves of two checkpoints do not pass
for one. Other contents than tensors are kept in the same way (`write_file`, `open_file`). Only tensors need torch.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError

from flipenv.errors import FlipError, MissingDependencyError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1  # raised when a newer program's checkpoints cannot be read as these
SHIPPED = Path(str(files("flipagents") / "weights" / "busi-small"))  # of a pipeline, used where no folder is given
TENSORS, ABOUT = "tensors.safetensors", "about.json"


class CheckpointError(FlipError):
    """A checkpoint that is missing, damaged, of another kind, or of another version."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that is needed to go on: tensors by name, and plain data that JSON can hold."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name starts with `prefix.`, without it."""
        start = f"{prefix}."
        return {name[len(start) :]: tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names with `prefix.` before them; `Snapshot.under` takes it off again."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def write(folder: str | Path, snapshot: Snapshot, kind: str) -> Path:
    """Write a checkpoint: into a temporary folder beside it, which is renamed when complete.

    A checkpoint that was in `folder` before is replaced. Raises OSError, with the folder as it was, where the disk is
    full or the place cannot be written; CheckpointError where the folder holds anything else, which would be lost.
    """
    from safetensors.torch import save_file  # noqa: PLC0415 - torch

    return write_file(folder, TENSORS, lambda path: save_file(_apart(snapshot.tensors), path), snapshot.about, kind)


def write_file(folder: str | Path, name: str, save: Callable[[Path], object], about: dict[str, Any], kind: str) -> Path:
    """Write a checkpoint whose contents are one file of this name, which `save` writes; otherwise as `write`."""
    folder = Path(folder)
    inside = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    others = sorted(set(inside) - {name, ABOUT})
    if others or folder.is_file():
        raise CheckpointError(f"{folder} holds {others or 'a file'}, which would be lost; give a folder of its own")
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(f".{folder.name}.*.part"):  # by a writer that was killed
            shutil.rmtree(left, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
        temporary.chmod(0o755)
        save(temporary / name)
        (temporary / name).chmod(0o644)
        header = {"format": FORMAT, "kind": kind, "versions": _versions(), "digest": _digest(temporary / name)}
        (temporary / ABOUT).write_text(json.dumps({**header, "about": about}, indent=1))
        for path in (temporary / name, temporary / ABOUT, temporary):
            _to_disk(path)
        _swap(temporary, folder)
    except (OSError, SafetensorError) as error:
        raise OSError(
            getattr(error, "errno", None) or errno.EIO,
            f"cannot write checkpoint {folder} ({error}); free space on that disk or choose another folder; "
            "what was saved there before is untouched",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def read(folder: str | Path, kind: str) -> Snapshot:
    """Read a checkpoint back, tensors on the CPU.

    Raises CheckpointError that says what was found: nothing, another kind, a newer format, a damaged or foreign file;
    MissingDependencyError without torch.
    """
    path, about = open_file(folder, TENSORS, kind)
    try:
        from safetensors.torch import load_file  # noqa: PLC0415 - torch

        tensors = load_file(path)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{path} holds weights for {error.name}: pip install flip-learning[agents]; or, where `flip export` wrote "
            "a copy of them, as of those that ship, flip-learning[onnx]"
        ) from error
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); {_REMEDY}") from error
    return Snapshot(tensors, about)


def open_file(folder: str | Path, name: str, kind: str) -> tuple[Path, dict[str, Any]]:
    """Find the file of a checkpoint that `write_file` wrote, whole; return it with what is told about it.

    Raises CheckpointError as `read`.
    """
    folder = _whole(Path(folder))
    about = _about(folder)
    if about["kind"] != kind:
        raise CheckpointError(f"{folder} holds a {about['kind']!r}; expected a {kind!r}: give the folder of one")
    try:
        digest = _digest(folder / name)
    except OSError as error:
        raise CheckpointError(f"{folder / name} cannot be read ({error}); {_REMEDY}") from error
    if digest != about["digest"]:
        raise CheckpointError(f"{folder / name} is not the file that {ABOUT} was written with; {_REMEDY}")
    return folder / name, about["about"]


def kind_of(folder: str | Path) -> str:
    """What kind of thing a checkpoint holds; CheckpointError where there is none."""
    return str(_about(_whole(Path(folder)))["kind"])


def about_of(folder: str | Path) -> dict[str, Any]:
    """What is told about a checkpoint's contents; CheckpointError where there is none."""
    about: dict[str, Any] = _about(_whole(Path(folder)))["about"]
    return about


def replace(newer: Path, folder: Path) -> None:
    """Put a checkpoint in another one's place; after a kill in between, one of them is in it."""
    _swap(newer, folder)


def digest_of(folder: str | Path) -> str:
    """Hex digest of a checkpoint's contents; CheckpointError where there is none."""
    return str(_about(_whole(Path(folder)))["digest"])


def exists(folder: str | Path) -> bool:
    """Whether there is anything to read in `folder`, be it a checkpoint or not."""
    return _whole(Path(folder)).exists()


def plain(value: Any) -> Any:
    """The value as JSON holds it: arrays as lists, numbers that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "cpu"):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


_REMEDY = "it is damaged or foreign: use another checkpoint or copy it anew"
_RETIRED = ".{}.old"


def _swap(temporary: Path, folder: Path) -> None:
    """Put the new folder in the old one's place. A crash between the renames is repaired by `_whole`."""
    retired = folder.with_name(_RETIRED.format(folder.name))
    if folder.exists():
        shutil.rmtree(retired, ignore_errors=True)
        os.rename(folder, retired)
    os.rename(temporary, folder)
    _to_disk(folder.parent)
    shutil.rmtree(retired, ignore_errors=True)


def _whole(folder: Path) -> Path:
    """The folder, or what it was replaced from if a crash came between the two renames."""
    retired = folder.with_name(_RETIRED.format(folder.name))
    return retired if retired.exists() and not folder.exists() else folder


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous on the CPU, no two in the same memory: safetensors refuses to write those."""
    ready: dict[str, Tensor] = {}
    memory: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        place = own.untyped_storage().data_ptr()
        ready[name] = own.clone() if place in memory else own
        memory.add(place)
    return ready


def _about(folder: Path) -> dict[str, Any]:
    """The JSON of a checkpoint, with all its keys, in the format that this version reads."""
    path = folder / ABOUT
    if not path.exists():
        found = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else "no such folder"
        raise CheckpointError(
            f"{folder} is no checkpoint (found: {found}); expected a folder with {ABOUT} and {TENSORS}"
        )
    try:
        about = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); {_REMEDY}") from error
    about = about if isinstance(about, dict) else {}
    if about.get("format", FORMAT) != FORMAT:
        raise CheckpointError(
            f"{folder} has format {about['format']!r}, written by {about.get('versions')}; this version reads format "
            f"{FORMAT}: use the version that wrote it, or train again"
        )
    missing = {"format", "kind", "digest", "about"} - set(about)
    if missing:
        raise CheckpointError(f"{path} has no {', '.join(sorted(missing))}; {_REMEDY}")
    return about


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _versions() -> dict[str, str]:
    return {name: _version(name) for name in ("flip-learning", "torch", "numpy")}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
