"""Folders that hold a network as an ONNX file, run by onnxruntime without torch.

Beside `network.onnx` lies `about.json`, as in a checkpoint (see `flipagents.store.checkpoint`), with the same
guarantees.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from joblib import cpu_count

from flipagents.store import checkpoint
from flipagents.store.checkpoint import CheckpointError
from flipenv.errors import ConfigError
from flipenv.sources.extras import need

KIND = "flipagents.onnx"
NETWORK = "network.onnx"
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}  # device -> its name in onnxruntime
THREADS = "OMP_NUM_THREADS"  # onnxruntime itself does not read it
MOST_THREADS = 4  # without that variable; the networks are small: a second thread saves a tenth of the time


def has_onnxruntime() -> bool:
    """Whether onnxruntime can be imported."""
    return find_spec("onnxruntime") is not None


def write_network(folder: str | Path, model: bytes, about: dict[str, Any]) -> Path:
    """Write an ONNX model with its metadata, including `role`; raises as `checkpoint.write`."""
    return checkpoint.write_file(folder, NETWORK, lambda path: path.write_bytes(model), about, KIND)


def open_network(folder: str | Path, role: str, device: str = "cpu") -> tuple[Any, dict[str, Any]]:
    """Return an onnxruntime.InferenceSession of a folder's network, and its metadata.

    role: the network's purpose, as `flipagents.segment.export` wrote it. device: as `open_session`. Raises
    CheckpointError if the folder holds no such network, and as `open_session`.
    """
    path, about = checkpoint.open_file(folder, NETWORK, KIND)
    if about.get("role") != role:
        raise CheckpointError(f"{path} is a network for {about.get('role')!r}; expected one for {role!r}")
    return open_session(path, device), about


def open_session(path: Path, device: str = "cpu") -> Any:
    """Return an onnxruntime.InferenceSession of a file, without spinning threads.

    device: cpu, or cuda with onnxruntime-gpu. Raises MissingDependencyError without onnxruntime, ConfigError for a
    device that it lacks, and onnxruntime's own errors if the file is not a valid model.
    """
    onnxruntime = need("onnxruntime", extra="onnx", purpose=f"{path}")
    provider = PROVIDERS.get(device.partition(":")[0])
    if provider not in onnxruntime.get_available_providers():
        raise ConfigError(f"device={device!r}: this onnxruntime has no {provider or 'such device'}; use cpu")
    settings = onnxruntime.SessionOptions()
    given = os.environ.get(THREADS, "").partition(",")[0]  # the outermost of nested levels
    settings.intra_op_num_threads = int(given) if given.isdecimal() and int(given) else min(cpu_count(), MOST_THREADS)
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), settings, providers=[provider])
