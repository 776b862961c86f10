"""What turns the features of a mask into a Dice with an interval: `quality.json` in a folder of weights.

The error of a mask, on a logarithmic scale, is a sum of features with weights of at least 0, so a better feature never
lowers the value. The interval is that of CV+ (Barber et al. 2021, Predictive inference with the jackknife+,
doi 10.1214/20-AOS1965): each case that was left out in turn says how far off the prediction without it was. On the
logarithmic scale such distances are shares of the predicted error, so a bad mask has a wide interval.

`flip calibrate` writes the file; the masks of its cases are read for that alone.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flipagents.segment.runtimes import sources_digest
from flipagents.store.checkpoint import CheckpointError
from flipagents.store.files import write_texts
from flipagents.store.recipe import PIPELINE
from flipenv.errors import ConfigError

QUALITY = "quality.json"  # in a folder of weights
FORMAT = 1
LEVEL = 0.9  # of the interval
LEAST = 10  # cases; with fewer no residual is large enough for the interval
_ROOM = 0.01  # a Dice of 1 has a finite logarithm


@dataclass(frozen=True)
class Line:
    """A weighted sum of features."""

    bias: float
    weights: tuple[float, ...]  # at least 0, in the calibration's order of features
    residuals: tuple[float, ...] = ()  # absolute, of the cases left out when it was fitted

    def __call__(self, values: NDArray[np.float64]) -> Any:
        """Values (..., features) to scores (...)."""
        return self.bias + values @ np.asarray(self.weights)


@dataclass(frozen=True)
class Calibration:
    """The model of one method."""

    features: tuple[str, ...]  # names, see `flipagents.segment.quality.features`
    line: Line  # fitted to all cases
    folds: tuple[Line, ...]  # each fitted without some cases, with their residuals
    about: Mapping[str, Any] = field(default_factory=dict)  # cases, weights and errors, see `flip calibrate`

    def predict(self, seen: Mapping[str, float]) -> tuple[float, float, float]:
        """Predicted Dice with its 90% interval, low and high, from features by name.

        Raises ConfigError if one is missing.
        """
        missing = [name for name in self.features if name not in seen]
        if missing:
            raise ConfigError(
                f"{QUALITY} needs {', '.join(missing)}, which this method does not give; run `flip calibrate` again"
            )
        values = np.array([seen[name] for name in self.features])
        low, high = interval(self.folds, values)
        value, low, high = (float(dice_of(score)) for score in (self.line(values), low, high))
        return value, min(low, value), max(high, value)


def interval(folds: tuple[Line, ...], values: NDArray[np.float64]) -> tuple[float, float]:
    """CV+ interval of the score of one case with these features (features,)."""
    centres = np.concatenate([np.full(len(fold.residuals), fold(values)) for fold in folds])
    residuals = np.concatenate([fold.residuals for fold in folds])
    n = len(residuals)
    lows, highs = np.sort(centres - residuals), np.sort(centres + residuals)
    return float(lows[math.floor((1 - LEVEL) * (n + 1)) - 1]), float(highs[math.ceil(LEVEL * (n + 1)) - 1])


def score_of(dice: ArrayLike) -> NDArray[np.float64]:
    """The logarithmic scale of the model: higher for a higher Dice."""
    return -np.log(1 + _ROOM - np.asarray(dice, float))


def dice_of(score: ArrayLike) -> NDArray[np.float64]:
    """The inverse of `score_of`, in 0..1."""
    return np.asarray(np.clip(1 + _ROOM - np.exp(-np.asarray(score, float)), 0.0, 1.0))


def read_calibrations(path: Path) -> dict[str, Calibration]:
    """The calibrations in a file, by method; CheckpointError if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, expected {FORMAT}")
        return {name: _calibration(own) for name, own in content["methods"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is not a calibration ({type(error).__name__}: {error}); `flip calibrate` writes one"
        ) from None


def write_calibrations(paths: list[Path], calibrations: Mapping[str, Calibration]) -> None:
    """Write the same calibrations to all paths, all or none; OutputError if one cannot be written."""
    lines = [f"{json.dumps(name)}: {json.dumps(asdict(own))}" for name, own in sorted(calibrations.items())]
    text = f'{{"format": {FORMAT}, "methods": {{\n' + ",\n".join(lines) + "\n}}\n"
    write_texts(dict.fromkeys(paths, text))


def calibration_of(folder: Path, method: str, file: Path | None = None) -> Calibration | None:
    """The calibration of a method with the weights in a folder; None if there is none.

    file: read instead of the folder's own. A calibration of the folder for other weights is ignored with a
    RuntimeWarning; one in `file`, or a file without this method, raises ConfigError. Raises CheckpointError for a
    damaged file.
    """
    path = folder / QUALITY if file is None else file
    if file is None and not path.exists():
        return None
    known = read_calibrations(path)
    found = known.get(method)
    if found is None:
        if file is not None:
            raise ConfigError(f"{file} has no calibration of {method!r}; it has {', '.join(known) or 'none'}")
        return None
    if found.about.get("weights") == weights_of(folder):
        return found
    reason = f"{path} was calibrated with other weights than those in {folder}"
    if file is not None:
        raise ConfigError(f"{reason}; run `flip calibrate --weights {folder} -o {file}`")
    warnings.warn(
        f"{reason}, so qualities are not calibrated; run `flip calibrate --weights {folder}`",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def weights_of(folder: Path) -> str | None:
    """What a calibration is bound to: a digest of the pipeline, the same for its ONNX copy; None without a pipeline."""
    return sources_digest(folder) if (folder / PIPELINE).exists() else None


def _calibration(own: Mapping[str, Any]) -> Calibration:
    features = tuple(map(str, own["features"]))
    folds = tuple(_line(each, len(features)) for each in own["folds"])
    if sum(len(fold.residuals) for fold in folds) < LEAST:
        raise ValueError(f"fewer than {LEAST} cases")
    return Calibration(features, _line(own["line"], len(features)), folds, dict(own["about"]))


def _line(own: Mapping[str, Any], count: int) -> Line:
    line = Line(float(own["bias"]), tuple(map(float, own["weights"])), tuple(map(float, own["residuals"])))
    numbers = (line.bias, *line.weights, *line.residuals)
    if len(line.weights) != count or not all(map(math.isfinite, numbers)) or min(numbers[1:], default=0) < 0:
        raise ValueError(f"weights {line.weights} for {count} features")
    return line
