"""Idle threads sleep: what the libraries below are told, in the environment, before they start.

By default OpenMP, on which torch runs, and onnxruntime let threads that wait for work spin. On a machine that others
use they take the cores from those that work, and a command is several times slower. `flip` calls `settle` first;
processes that it starts inherit the environment. Whoever imports the packages into a program of their own keeps its
settings; only the sessions of onnxruntime that are opened here never spin (see `flipagents.store.onnx`).
"""

from __future__ import annotations

import os

SETTINGS = {
    "OMP_WAIT_POLICY": "PASSIVE",  # of GNU's OpenMP and LLVM's
    "OPENCV_FOR_THREADS_NUM": "1",  # pictures are small: waking a second thread costs more than it does
}


def settle() -> None:
    """Set what the user has not set; it has an effect on libraries that are imported afterwards."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
