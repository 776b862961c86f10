"""Folders that hold tensors and plain data: complete or not there, and read without running any code.

A checkpoint is a folder with `tensors.safetensors` and `about.json`; the JSON carries the format's number, what kind of
thing was saved, the versions that wrote it, and a digest of the tensors, so that halves of two checkpoints do not pass
for one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from flipenv.errors import FlipError

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


def adam_tensors(optimiser: torch.optim.Optimizer, parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """Step and moments of an Adam, by the parameter's number: `0.exp_avg`."""
    tensors: dict[str, Tensor] = {}
    for index, parameter in enumerate(parameters):
        tensors |= prefixed(str(index), optimiser.state.get(parameter) or {})
    return tensors


def fill_adam(optimiser: torch.optim.Optimizer, parameters: Iterable[Tensor], saved: Snapshot) -> None:
    """Take over what `adam_tensors` gave."""
    for index, parameter in enumerate(parameters):
        state = saved.under(str(index))
        if state:
            moments = {key: torch.empty_like(parameter).copy_(state[key]) for key in ("exp_avg", "exp_avg_sq")}
            optimiser.state[parameter] = {"step": state["step"], **moments}


def fill_network(network: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Take over saved weights; CheckpointError where they are another network's."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"saved weights do not fit this network ({error}); make the agent with the saved configs"
        ) from error


def write(folder: str | Path, snapshot: Snapshot, kind: str) -> Path:
    """Write a checkpoint: into a temporary folder beside it, which is renamed when complete.

    A checkpoint that was in `folder` before is replaced. Raises OSError, with the folder as it was, where the disk is
    full or the place cannot be written; CheckpointError where the folder holds anything else, which would be lost.
    """
    folder = Path(folder)
    inside = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    others = sorted(set(inside) - {TENSORS, ABOUT})
    if others or folder.is_file():
        raise CheckpointError(f"{folder} holds {others or 'a file'}, which would be lost; give a folder of its own")
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(f".{folder.name}.*.part"):  # by a writer that was killed
            shutil.rmtree(left, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
        temporary.chmod(0o755)
        save_file(_apart(snapshot.tensors), temporary / TENSORS)
        (temporary / TENSORS).chmod(0o644)
        header = {"format": FORMAT, "kind": kind, "versions": _versions(), "digest": _digest(temporary / TENSORS)}
        (temporary / ABOUT).write_text(json.dumps({**header, "about": snapshot.about}, indent=1))
        for path in (temporary / TENSORS, temporary / ABOUT, temporary):
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

    Raises CheckpointError that says what was found: nothing, another kind, a newer format, a damaged or foreign file.
    """
    folder = _whole(Path(folder))
    about = _about(folder)
    if about["kind"] != kind:
        raise CheckpointError(f"{folder} holds a {about['kind']!r}; expected a {kind!r}: give the folder of one")
    try:
        tensors = load_file(folder / TENSORS)
        digest = _digest(folder / TENSORS)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder / TENSORS} cannot be read ({error}); {_REMEDY}") from error
    if digest != about["digest"]:
        raise CheckpointError(f"{folder / TENSORS} is not the file that {ABOUT} was written with; {_REMEDY}")
    return Snapshot(tensors, about["about"])


def exists(folder: str | Path) -> bool:
    """Whether there is anything to read in `folder`, be it a checkpoint or not."""
    return _whole(Path(folder)).exists()


def plain(value: Any) -> Any:
    """The value as JSON holds it: arrays as lists, numbers that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic | Tensor):
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
    try:
        own = version("flip-learning")
    except PackageNotFoundError:
        own = "unknown"
    return {"flip-learning": own, "torch": torch.__version__, "numpy": np.__version__}
