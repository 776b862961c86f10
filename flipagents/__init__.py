"""Learners for the erase-to-segment environment, and the baselines they are compared with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from flipagents.moved import Finder

if TYPE_CHECKING:
    from flipagents.compare.report import evaluate
    from flipagents.segment.segmenter import Segmenter

    __version__: str

__all__ = ["Segmenter", "evaluate"]

LAZY = {"Segmenter": "flipagents.segment.segmenter", "evaluate": "flipagents.compare.report"}

sys.meta_path.insert(0, Finder)  # first: a package that moved would find its own modules under both names


def __getattr__(name: str) -> Any:
    """Import lazily, so that `flip --help` does not wait for torch."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415

        return version("flip-learning")
    if name not in LAZY:
        raise AttributeError(f"module 'flipagents' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(LAZY[name]), name)
