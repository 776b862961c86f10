"""Folders that hold a network as an ONNX file, and how onnxruntime runs it: no torch.

Beside `network.onnx` lies `about.json`, what a checkpoint has (see `flipagents.store.checkpoint`): the same promises
hold.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from joblib import cpu_count

from flipagents.store import checkpoint
from flipagents.store.checkpoint import CheckpointError
from flipenv.errors import ConfigError, MissingDependencyError

KIND = "flipagents.onnx"
NETWORK = "network.onnx"
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}  # device -> its name in onnxruntime
THREADS = "OMP_NUM_THREADS"  # onnxruntime does not read it by itself
MOST_THREADS = 4  # unless that says otherwise: the networks are small, a second thread saves a tenth of the time


def has_onnxruntime() -> bool:
    """Whether onnxruntime can be imported."""
    try:
        import onnxruntime  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


def write_network(folder: str | Path, model: bytes, about: dict[str, Any]) -> Path:
    """Write an ONNX model with what is to be known of it, `role` among it; raises as `checkpoint.write`."""
    return checkpoint.write_file(folder, NETWORK, lambda path: path.write_bytes(model), about, KIND)


def open_network(folder: str | Path, role: str, device: str = "cpu") -> tuple[Any, dict[str, Any]]:
    """Return an onnxruntime.InferenceSession on a folder's network, and what is told of it.

    role: what the network is for, as `flipagents.segment.export` wrote it. device: as `open_session`. Raises
    CheckpointError where the folder holds no such network, and as `open_session`.
    """
    path, about = checkpoint.open_file(folder, NETWORK, KIND)
    if about.get("role") != role:
        raise CheckpointError(f"{path} is a network for {about.get('role')!r}; expected one for {role!r}")
    return open_session(path, device), about


def open_session(path: Path, device: str = "cpu") -> Any:
    """Return an onnxruntime.InferenceSession on a file, whose idle threads sleep.

    device: cpu, or cuda with onnxruntime-gpu. Raises MissingDependencyError without onnxruntime, ConfigError for a
    device that it does not have; what onnxruntime raises where the file is no model for it.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingDependencyError(f"{path} needs {error.name}: pip install flip-learning[onnx]") from error
    provider = PROVIDERS.get(device.partition(":")[0])
    if provider not in onnxruntime.get_available_providers():
        raise ConfigError(f"device={device!r}: this onnxruntime has no {provider or 'such device'}; use cpu")
    settings = onnxruntime.SessionOptions()
    told = os.environ.get(THREADS, "").partition(",")[0]  # of nested levels the outermost
    settings.intra_op_num_threads = int(told) if told.isdecimal() and int(told) else min(cpu_count(), MOST_THREADS)
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), settings, providers=[provider])
