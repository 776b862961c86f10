"""Fit a calibration (`flipagents.segment.calibration`): features of masks and their true Dice in, a model out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flipagents.segment.calibration import LEAST, Calibration, Line, score_of
from flipenv.errors import ConfigError
from flipenv.sources.extras import need

FOLDS = 10
LEAST_CASES = 12  # that a calibration is fitted to and checked on
SHRINK = 0.01  # of the squared weights, per case: alike features share a weight
FITTED = ("agreement", "agreement_rule", "agreement_network", "agreement_prior", "maps_agree", "sure")
# `reach` and `contrast` gained nothing on BUSI's split val, and lost on its split train (docs/quality.md)


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Predictions for cases that the model was not fitted to, (N,) each: Dice and its 90% interval."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def fit(seen: Sequence[Mapping[str, float]], dice: Sequence[float], *, seed: int = 0) -> Calibration:
    """Fit the model of one method.

    seen: features of each case's mask by name. dice: its true Dice. seed: of the folds. Raises ConfigError for fewer
    than 10 cases, MissingDependencyError without SciPy.
    """
    names = tuple(name for name in FITTED if all(name in own for own in seen))
    if len(seen) != len(dice) or len(seen) < LEAST or not names:
        raise ConfigError(
            f"{len(seen)} cases with features {', '.join(names) or 'none'} and {len(dice)} Dice; a calibration needs "
            f"at least {LEAST} cases with masks, of a method with maps"
        )
    values = np.array([[own[name] for name in names] for own in seen])
    return Calibration(names, _line(values, score_of(dice)), _folds(values, score_of(dice), seed))


def left_out(seen: Sequence[Mapping[str, float]], dice: Sequence[float], *, seed: int = 0) -> LeftOut:
    """What models that were fitted without a case, as by `fit`, say about it: each case once, in ten groups.

    Raises ConfigError for fewer than 12 cases, of which two are left out at a time, and as `fit`.
    """
    if len(seen) < LEAST_CASES:
        raise ConfigError(f"{len(seen)} cases; a calibration needs at least {LEAST_CASES} with masks")
    groups = _groups(len(seen), seed)
    found = np.empty((len(seen), 3))
    for group in range(groups.max() + 1):
        kept, out = np.flatnonzero(groups != group).tolist(), np.flatnonzero(groups == group).tolist()
        model = fit([seen[index] for index in kept], [dice[index] for index in kept], seed=seed + 1)
        for index in out:
            found[index] = model.predict(seen[index])
    return LeftOut(*found.T)


def _folds(values: NDArray[np.float64], scores: NDArray[np.float64], seed: int) -> tuple[Line, ...]:
    groups = _groups(len(scores), seed)
    lines = []
    for group in range(groups.max() + 1):
        is_out = groups == group
        line = _line(values[~is_out], scores[~is_out])
        residuals = np.abs(scores[is_out] - line(values[is_out]))
        lines.append(Line(line.bias, line.weights, tuple(map(float, residuals))))
    return tuple(lines)


def _groups(count: int, seed: int) -> NDArray[np.intp]:
    """The group of each case, of equal sizes, drawn at random."""
    return np.random.default_rng(seed).permutation(count) % min(FOLDS, count)


def _line(values: NDArray[np.float64], scores: NDArray[np.float64]) -> Line:
    """Least squares with weights of at least 0 on standardised features, written for the features themselves."""
    optimize = need("scipy.optimize", extra="agents", purpose="fitting a calibration")
    middle, spread = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-9)
    n, count = values.shape
    rows = np.vstack([(values - middle) / spread, (SHRINK * n) ** 0.5 * np.eye(count)])
    weights, _ = optimize.nnls(rows, np.concatenate([scores - scores.mean(), np.zeros(count)]))
    weights /= spread
    return Line(float(scores.mean() - middle @ weights), tuple(map(float, weights)))
