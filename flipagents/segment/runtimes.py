"""The library that runs a pipeline's networks: onnxruntime on a CPU if there is an ONNX copy beside them, else torch.

    FOLDER/pipeline.json, stage1/, ...      for torch, as `flip train` wrote them
    FOLDER/onnx/pipeline.json, stage1/, ... the same for onnxruntime, as `flip export` wrote them

A copy records the digest of its source weights, so that a copy of older weights is never used.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

from flipagents.store import checkpoint
from flipagents.store.checkpoint import CheckpointError, weights_folder
from flipagents.store.onnx import has_onnxruntime
from flipagents.store.recipe import PIPELINE, Recipe, networks
from flipagents.store.run_folder import unfinished
from flipenv.errors import ConfigError
from flipenv.registry import unknown
from flipenv.sources.contents import digest

RUNTIMES = ("auto", "onnx", "torch")
COPY = "onnx"  # folder in a pipeline's folder


def pipeline_folder(folder: str | Path | None = None, runtime: str = "auto", device: str = "cpu") -> Path:
    """Return the folder with the networks to run: the pipeline's own, or that of its ONNX copy.

    folder: of a pipeline, a name of shipped weights, None for the default. runtime: "onnx"; "torch"; "auto" for onnx if
    the device is a CPU, the copy exists and onnxruntime is installed, otherwise torch. A copy of other weights is
    ignored with a RuntimeWarning. A folder without a pipeline is returned unchanged. Raises ConfigError for any other
    runtime, CheckpointError if the requested one is not available.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(unknown("runtime", runtime, RUNTIMES))
    where = weights_folder(folder)
    if not (where / PIPELINE).exists():
        state = unfinished(where)
        if state is not None:
            raise CheckpointError(state)
        return where
    if runtime_of(where) == "onnx":
        if runtime == "torch":
            raise CheckpointError(
                f"{where} holds networks for onnx, not for torch; give the folder it was exported from"
            )
        return where
    if runtime == "torch" or (runtime == "auto" and not (device == "cpu" and has_onnxruntime())):
        return where
    copy = where / COPY
    fault = fault_of_copy(where)
    if fault is None:
        return copy
    remedy = f"`flip export --weights {where} -o {copy}` writes it"
    if runtime == "onnx":
        raise CheckpointError(f"{fault}; {remedy}")
    if (copy / PIPELINE).exists():
        warnings.warn(f"{fault}, so torch runs them; {remedy} anew", RuntimeWarning, stacklevel=2)
    return where


def runtime_of(folder: Path) -> str:
    """Runtime of the networks in a folder, "onnx" or "torch"; "torch" without a pipeline."""
    return Recipe.read(folder).runtime if (folder / PIPELINE).exists() else "torch"


def made_of(network: Path) -> str | None:
    """Digest of the source weights of an ONNX network; None if there is no network."""
    return checkpoint.about_of(network).get("of") if checkpoint.exists(network) else None


def sources_digest(folder: Path) -> str:
    """Hex digest of a pipeline, the same for its ONNX copy: of the weights for torch, and the options of its recipe.

    Options at their defaults do not count, so that new ones change nothing. Raises CheckpointError without a pipeline.
    """
    recipe = Recipe.read(folder)
    of = made_of if recipe.runtime == "onnx" else checkpoint.digest_of
    options = dataclasses.asdict(dataclasses.replace(recipe, runtime="torch"))
    usual = dataclasses.asdict(Recipe())
    own = {name: value for name, value in options.items() if value != usual[name]}
    return digest(json.dumps([own, {name: of(folder / name) for name in networks(folder, recipe)}], sort_keys=True))


def fault_of_copy(folder: Path) -> str | None:
    """Why a torch pipeline has no usable ONNX copy; None if it has one."""
    copy = folder / COPY
    if not (copy / PIPELINE).exists():
        return f"{folder} has no ONNX copy"
    recipe, copied = Recipe.read(folder), Recipe.read(copy)
    ours = {name: checkpoint.digest_of(folder / name) for name in networks(folder, recipe)}
    theirs = {name: made_of(copy / name) for name in networks(copy, copied)}
    others = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    if others:
        return f"{copy} is a copy of other weights than those in {folder} ({', '.join(others)})"
    return f"{copy} has another {PIPELINE} than {folder}" if not copied.is_copy_of(recipe) else None
