"""Output of `flip info`: versions, devices, weights and caches; or the origin of a mask."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import flipagents
from flipagents.machine.devices import check_device
from flipagents.segment.origin import read_origin
from flipagents.segment.runtimes import pipeline_folder
from flipagents.store.provenance import weights_digest
from flipagents.store.recipe import Recipe
from flipenv.cache import default_folder
from flipenv.errors import FlipError, SourceError

PACKAGES = {  # hints for optional packages that are not installed
    "numpy": "",
    "opencv-contrib-python": "opencv-contrib-python-headless may be in its place",
    "gymnasium": "",
    "pettingzoo": "",
    "onnxruntime": "pip install 'flip-learning[onnx]'",
    "torch": "pip install 'flip-learning[agents]'",
    "pydicom": "DICOM: pip install 'flip-learning[medical]'",
    "nibabel": "NIfTI: pip install 'flip-learning[medical]'",
    "pycocotools": "pip install 'flip-learning[coco]'",
    "gradio": "the page: pip install 'flip-learning[app]'",
}


def describe(weights: Path | None = None) -> dict[str, str]:
    """Everything a bug report needs, by name; weights: a folder, None for the shipped ones."""
    lines = {
        "flip": f"{flipagents.__version__}, {Path(flipagents.__file__).parent}",
        "python": f"{platform.python_version()}, {platform.platform()}, {os.cpu_count()} CPUs",
    }
    lines |= {name: _version(name, otherwise) for name, otherwise in PACKAGES.items()}
    lines["device"] = f"auto means {check_device('auto')}"
    lines["weights"] = _weights(weights)
    cache = default_folder()
    files = [file for file in cache.rglob("*") if file.is_file()] if cache.is_dir() else []
    lines["cache"] = f"{cache}: {len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB"
    return lines


def describe_mask(mask: Path) -> dict[str, str]:
    """The origin recorded in a mask's PNG; SourceError if there is none."""
    origin = read_origin(mask)
    if origin is None:
        raise SourceError(f"{mask} does not record its origin; expected a NAME_mask.png written by `flip segment`")
    lines = {
        "image": f"{origin.image}{'' if origin.frame is None else f', frame {origin.frame}'}",
        "box": " ".join(map(str, origin.box)),
        "method": f"{origin.method}, margin {origin.margin} px{', mended by a person' if origin.mended else ''}",
        "weights": origin.weights or "none",
    }
    if origin.points:
        lines["points"] = " ".join(f"{x},{y}{'+' if label else '-'}" for x, y, label in origin.points)
    return lines


def _version(name: str, otherwise: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"not installed{f'; {otherwise}' if otherwise else ''}"


def _weights(folder: Path | None) -> str:
    try:
        where = pipeline_folder(folder)
        recipe = Recipe.read(where)
    except FlipError as error:
        return str(error)
    return f"{where}, {len(recipe.stages)} stages, {recipe.runtime}, digest {weights_digest(where)[:12]}"
