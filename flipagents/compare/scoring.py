"""Metrics of one mask against the truth as a row, and rows as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from flipagents import metrics
from flipagents.segment.quality import Quality
from flipenv.pixels import Mask
from flipenv.types import Case


@dataclass(frozen=True)
class CaseScore:
    """One method on one case; see `flipagents.metrics` for empty masks."""

    method: str  # name of its row in the tables
    seed: int  # of the box shift, and of the weights if each seed has its own
    case: str
    group: str  # the case's class, such as benign; "" if its source names none
    area: int  # of the box, px² of the image
    dice: float
    jaccard: float
    conformity: float
    hausdorff: float  # px of the image
    hausdorff95: float  # px of the image
    asd: float  # px of the image
    empty: bool  # nothing was segmented
    ms: float  # wall time per image, a call's time divided by its number of images; excludes loading a model
    quality: float | None = None  # predicted Dice, see `flipagents.segment.quality`; None for a method without one
    low: float | None = None  # 90% interval of the Dice; None without calibration
    high: float | None = None


@dataclass(frozen=True)
class Failure:
    """A case without a row, and the reason."""

    case: str
    reason: str
    method: str = ""  # that failed on it; "" if the case cannot be read or has no mask, so that no method has a row


NUMBERS = tuple(field.name for field in dataclasses.fields(CaseScore))[5:-3]  # averaged columns
_READ: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": lambda text: {"True": True, "False": False}[text],
    "float | None": lambda text: None if text == "" else float(text),
}


def score(method: str, seed: int, case: Case, mask: Mask, ms: float, quality: Quality | None = None) -> CaseScore:
    """Score a mask against the case's own."""
    ours, truth = _cut(mask, np.asarray(case.mask))
    distances = metrics.distances(ours, truth)
    return CaseScore(
        method=method,
        seed=seed,
        case=case.id,
        group=case.meta.get("class", ""),
        area=case.box.height * case.box.width,
        dice=metrics.dice(ours, truth),
        jaccard=metrics.jaccard(ours, truth),
        conformity=metrics.conformity(ours, truth),
        hausdorff=distances.hausdorff,
        hausdorff95=distances.hausdorff95,
        asd=distances.average,
        empty=not mask.any(),
        ms=ms,
        quality=None if quality is None else quality.value,
        low=None if quality is None else quality.low,
        high=None if quality is None else quality.high,
    )


def to_csv(scores: Iterable[CaseScore]) -> str:
    """Rows as CSV with a header; `from_csv` restores them bit for bit."""
    table = io.StringIO(newline="")
    rows = csv.DictWriter(table, [field.name for field in dataclasses.fields(CaseScore)], lineterminator="\n")
    rows.writeheader()
    rows.writerows(vars(row) for row in scores)
    return table.getvalue()


def from_csv(text: str) -> list[CaseScore]:
    """Read what `to_csv` wrote; ValueError for anything else."""
    fields = dataclasses.fields(CaseScore)
    try:
        return [
            CaseScore(**{field.name: _READ[str(field.type)](row[field.name]) for field in fields})
            for row in csv.DictReader(io.StringIO(text))
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not the rows of an evaluation: {error}") from error


def _cut(mask: Mask, truth: Mask) -> tuple[Mask, Mask]:
    """Crop both masks to their common bounding box plus one pixel on each side.

    Distances are unchanged and take a tenth of the time.
    """
    either = mask | truth
    if not either.any():
        return mask, truth
    rows, columns = (np.flatnonzero(either.any(axis=axis)) for axis in (1, 0))
    part = np.s_[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
    return mask[part], truth[part]
