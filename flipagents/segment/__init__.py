"""Inference: a trained pipeline turns a box into a mask."""

from __future__ import annotations

import warnings
from typing import Any

MOVED = {  # names that this package held as a module
    "Segmenter": "flipagents.segment.segmenter",
    "Votes": "flipagents.segment.segmenter",
    "walking": "flipagents.segment.segmenter",
    "PIPELINE": "flipagents.store.recipe",
    "Recipe": "flipagents.store.recipe",
    "pipeline_folder": "flipagents.segment.runtimes",
}


def __getattr__(name: str) -> Any:
    """Resolve old names for one version, with a warning."""
    if name not in MOVED:
        raise AttributeError(f"module 'flipagents.segment' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    warnings.warn(f"{name} is now in {MOVED[name]}; the next version drops the old name", FutureWarning, stacklevel=2)
    return getattr(import_module(MOVED[name]), name)
