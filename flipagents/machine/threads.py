"""Environment variables that make idle threads sleep, set before the libraries start.

By default OpenMP, which torch uses, and onnxruntime busy-wait in idle threads. On a shared machine these take cores
from threads that work, and a command can be several times slower. `flip` calls `settle` first; its child processes
inherit the environment. Programs that import the packages keep their own settings; only the onnxruntime sessions opened
here never spin (see `flipagents.store.onnx`).
"""

from __future__ import annotations

import os

SETTINGS = {
    "OMP_WAIT_POLICY": "PASSIVE",  # GNU's and LLVM's OpenMP
    "OPENCV_FOR_THREADS_NUM": "1",  # images are small: waking a second thread costs more than it saves
}


def settle() -> None:
    """Set the variables that the user has not set; only libraries imported afterwards are affected."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
