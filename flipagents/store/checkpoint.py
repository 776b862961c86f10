"""Checkpoints: folders of tensors and plain data, written atomically and read without executing code.

A checkpoint is a folder with `tensors.safetensors` and `about.json`; the JSON holds the format version, the kind of
object saved, the package versions that wrote it, and a digest of the tensors, so that halves of two checkpoints cannot
be mixed. Contents other than tensors are stored in the same way (`write_file`, `open_file`). Only tensors need torch.
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

FORMAT = 1  # incremented when older versions cannot read the new checkpoints
WEIGHTS = Path(str(files("flipagents") / "weights"))  # shipped, by name
SHIPPED = WEIGHTS / "busi-small"  # default pipeline
TENSORS, ABOUT = "tensors.safetensors", "about.json"


class CheckpointError(FlipError):
    """A checkpoint that is missing, damaged, of a different kind, or of a different version."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything needed to resume: tensors by name, and JSON-serialisable data."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name starts with `prefix.`, without it."""
        start = f"{prefix}."
        return {name[len(start) :]: tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add `prefix.` to the names; `Snapshot.under` removes it again."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def write(folder: str | Path, snapshot: Snapshot, kind: str) -> Path:
    """Write a checkpoint atomically: into a temporary folder beside it, which is renamed when complete.

    An existing checkpoint in `folder` is replaced. Raises OSError, leaving the folder unchanged, if the disk is full or
    not writable; CheckpointError if the folder holds anything else, which would be lost.
    """
    from safetensors.torch import save_file  # noqa: PLC0415 - torch

    return write_file(folder, TENSORS, lambda path: save_file(_apart(snapshot.tensors), path), snapshot.about, kind)


def write_file(folder: str | Path, name: str, save: Callable[[Path], object], about: dict[str, Any], kind: str) -> Path:
    """Write a checkpoint whose contents are one file of this name, written by `save`; otherwise as `write`."""
    folder = Path(folder)
    inside = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    others = sorted(set(inside) - {name, ABOUT})
    if others or folder.is_file():
        raise CheckpointError(f"{folder} holds {others or 'a file'}, which would be lost; give a folder of its own")
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(f".{folder.name}.*.part"):  # left by a killed process
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
            "the previous checkpoint is unchanged",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def read(folder: str | Path, kind: str) -> Snapshot:
    """Read a checkpoint, tensors on the CPU.

    Raises CheckpointError that says what was found: nothing, another kind, a newer format, a damaged or foreign file;
    MissingDependencyError without torch.
    """
    path, about = open_file(folder, TENSORS, kind)
    try:
        from safetensors.torch import load_file  # noqa: PLC0415 - torch

        tensors = load_file(path)
    except ModuleNotFoundError as error:
        raise without_torch(path, error) from error
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); {_REMEDY}") from error
    return Snapshot(tensors, about)


def without_torch(path: Path, error: ImportError) -> MissingDependencyError:
    """The error for weights whose library is not installed."""
    return MissingDependencyError(
        f"{path} holds weights for {error.name}: pip install flip-learning[agents]; or, where `flip export` wrote "
        "a copy of them, as of those that ship, flip-learning[onnx]"
    )


def open_file(folder: str | Path, name: str, kind: str) -> tuple[Path, dict[str, Any]]:
    """Find and verify the file of a checkpoint that `write_file` wrote; return its path and metadata.

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
    """Kind of a checkpoint; CheckpointError if there is none."""
    return str(_about(_whole(Path(folder)))["kind"])


def about_of(folder: str | Path) -> dict[str, Any]:
    """Metadata of a checkpoint; CheckpointError if there is none."""
    about: dict[str, Any] = _about(_whole(Path(folder)))["about"]
    return about


def replace(newer: Path, folder: Path) -> None:
    """Replace a checkpoint by another; a kill in between leaves one of them in place."""
    _swap(newer, folder)


def digest_of(folder: str | Path) -> str:
    """Hex digest of a checkpoint's contents; CheckpointError if there is none."""
    return str(_about(_whole(Path(folder)))["digest"])


def weights_folder(folder: str | Path | None = None) -> Path:
    """A folder of weights: as given; the default pipeline's for None, or of shipped weights by name.

    A folder of that name in the working directory comes first.
    """
    if folder is None:
        return SHIPPED
    named = WEIGHTS / Path(folder).name
    return named if Path(folder).name == str(folder) and not Path(folder).exists() and named.is_dir() else Path(folder)


def exists(folder: str | Path) -> bool:
    """Whether there is anything to read in `folder`, a checkpoint or not."""
    return _whole(Path(folder)).exists()


def plain(value: Any) -> Any:
    """Convert to JSON-serialisable data: arrays to lists, non-finite numbers to None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "cpu"):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


_REMEDY = "it is damaged or foreign: use another checkpoint or copy it again"
_RETIRED = ".{}.old"


def _swap(temporary: Path, folder: Path) -> None:
    """Replace the old folder by the new one. `_whole` repairs a crash between the two renames."""
    retired = folder.with_name(_RETIRED.format(folder.name))
    if folder.exists():
        shutil.rmtree(retired, ignore_errors=True)
        os.rename(folder, retired)
    os.rename(temporary, folder)
    _to_disk(folder.parent)
    shutil.rmtree(retired, ignore_errors=True)


def _whole(folder: Path) -> Path:
    """The folder, or its backup after a crash between the two renames."""
    retired = folder.with_name(_RETIRED.format(folder.name))
    return retired if retired.exists() and not folder.exists() else folder


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous on the CPU, no two sharing memory, which safetensors refuses to write."""
    ready: dict[str, Tensor] = {}
    memory: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        place = own.untyped_storage().data_ptr()
        ready[name] = own.clone() if place in memory else own
        memory.add(place)
    return ready


def _about(folder: Path) -> dict[str, Any]:
    """The validated metadata (JSON) of a checkpoint."""
    path = folder / ABOUT
    if not path.exists():
        found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else "no such folder"
        raise CheckpointError(
            f"{folder} is not a checkpoint (found: {found}); expected a folder with {ABOUT} and {TENSORS}"
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
