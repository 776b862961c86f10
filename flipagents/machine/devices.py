"""Resolve device names and check availability before anything is loaded or computed.

torch is imported only if a GPU is requested, or if `auto` finds a GPU driver.
"""

from __future__ import annotations

import ctypes
import difflib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flipenv.errors import ConfigError, MissingDependencyError
from flipenv.sources.extras import need

NAMES = ("cpu", "cuda", "mps", "auto")
KNOWN = "cpu, cuda, cuda:0, cuda:1, ..., mps, auto"
DRIVERS = ("libcuda.so.1", "nvcuda.dll")  # of NVIDIA, on Linux and Windows
AMD = Path("/dev/kfd")  # torch calls AMD GPUs cuda, too


def check_device(name: str, *, runtime: str | None = None) -> str:
    """Return the device for a name: the name itself, or for `auto` cuda if available, else cpu.

    runtime: `onnx` for onnxruntime, else torch; with onnxruntime `auto` is the CPU. Raises ConfigError for an unknown
    name or an unavailable device, MissingDependencyError for a GPU without its library.
    """
    check_name(name)
    if name == "cpu":
        return name
    if name == "auto":
        return "cuda" if runtime != "onnx" and _cuda_by_torch() else "cpu"
    if runtime == "onnx":
        _need_onnx(name)
    elif find_spec("torch") is None:
        raise MissingDependencyError(f"device {name!r} needs torch: pip install 'flip-learning[agents]', or use cpu")
    else:
        _need_torch(name)
    return name


def check_name(name: str) -> None:
    """Raise ConfigError for a name that is not a device on any machine, with the closest match."""
    if not isinstance(name, str) or not re.fullmatch(r"cpu|auto|mps|cuda(:\d+)?", name):
        close = difflib.get_close_matches(str(name).lower().partition(":")[0], NAMES, n=1)
        meant = f"did you mean '{close[0]}'? " if close else ""
        raise ConfigError(f"unknown device {name!r}: {meant}known are {KNOWN}")


def _cuda_by_torch() -> bool:
    if find_spec("torch") is None or not _driver():
        return False
    return bool(_torch().cuda.is_available())


def _driver() -> bool:
    """Whether a GPU driver is installed: without one, torch, which takes seconds to import, is not needed."""
    if AMD.exists():
        return True
    for library in DRIVERS:
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return True
    return False


def _need_torch(name: str) -> None:
    torch = _torch()
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError("no Metal device here: use --device cpu")
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        built = torch.version.cuda is not None or torch.version.hip is not None
        other = "" if built else f" (torch {torch.__version__} was built without CUDA)"
        raise ConfigError(f"no CUDA device here{other}: use --device cpu")
    if int(name.partition(":")[2] or 0) >= count:
        raise ConfigError(f"no {name} here: use --device cuda:0{f' to cuda:{count - 1}' if count > 1 else ''}")


def _need_onnx(name: str) -> None:
    onnxruntime = need("onnxruntime", extra="onnx", purpose="runtime onnx")
    if name == "mps" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise ConfigError(f"onnxruntime has no device {name!r} here: use --device cpu")


def _torch() -> Any:
    import torch  # noqa: PLC0415 - slow to import

    return torch
