"""Summaries of per-case rows: means, intervals, paired differences, for all cases and for groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flipagents import metrics
from flipagents.compare.scoring import NUMBERS, CaseScore
from flipagents.metrics import Interval

MEASURES = ("dice", "jaccard", "conformity", "hausdorff", "hausdorff95", "asd")
ALL = "all"
SIZES = ("small boxes", "medium boxes", "large boxes")
SMALLEST = 3  # least number of cases for grouping by box size


@dataclass(frozen=True)
class Statistic:
    """One measure over cases; NaN values, such as distances of empty masks, are excluded."""

    mean: float
    std: float  # of the cases, NaN for fewer than two
    median: float
    interval: Interval  # of the mean, 95%


@dataclass(frozen=True)
class Summary:
    """One method on one group of cases: a row of the table.

    With several seeds, each case counts once, with its mean over them.
    """

    method: str
    group: str  # `ALL`, a class, or one of `SIZES`
    n: int  # cases
    failed: int  # cases of the group excluded because the method failed
    measures: Mapping[str, Statistic]  # keyed by MEASURES
    differences: Mapping[str, Interval]  # of Dice to other methods on the cases that both have, by name
    empty: float  # share of cases with an empty mask
    ms: float  # per image
    seeds: int
    dice_seed_std: float  # of the mean Dice of the seeds, NaN for fewer than two

    @property
    def dice(self) -> Statistic:
        """Shorthand for the most used measure."""
        return self.measures["dice"]


def summarise(
    scores: Sequence[CaseScore],
    references: Sequence[str] = (),
    *,
    failed: Mapping[str, Collection[str]] | None = None,
    draws: int = 10_000,
) -> tuple[list[Summary], tuple[float, float] | None]:
    """Summaries of every method in every group, and the upper box areas in px² of small and medium boxes.

    Groups are all cases, each class if there are several, and thirds by box area; None if there are too few boxes for
    thirds. references: methods from which differences are taken, if they are among the scores. failed: ids of the cases
    on which a method failed, with any seed; they are excluded from its row and from differences with it.
    """
    lost = {} if failed is None else failed
    names = list(dict.fromkeys(score.method for score in scores))
    tables = {
        name: _by_case([score for score in scores if score.method == name and score.case not in lost.get(name, ())])
        for name in names
    }
    every = {case: own[0] for case, own in _by_case(scores).items()}
    bounds = thirds([case.area for case in every.values()])
    found = []
    for group, belongs in _groups(every, bounds).items():
        inside = {case for case, known in every.items() if belongs(known)}
        parts = {name: {case: own[case] for case in own if case in inside} for name, own in tables.items()}
        found += [
            _summary(name, group, parts, len(inside.intersection(lost.get(name, ()))), references, draws)
            for name in names
        ]
    return found, bounds


def thirds(areas: Sequence[int]) -> tuple[float, float] | None:
    """Upper areas of the smallest and the middle third; None for too few."""
    if len(areas) < SMALLEST:
        return None
    low, high = np.quantile(areas, (1 / 3, 2 / 3)).tolist()
    return low, high


def _by_case(scores: Sequence[CaseScore]) -> dict[str, list[CaseScore]]:
    cases: dict[str, list[CaseScore]] = {}
    for score in scores:
        cases.setdefault(score.case, []).append(score)
    return cases


def _groups(
    cases: Mapping[str, CaseScore], bounds: tuple[float, float] | None
) -> dict[str, Callable[[CaseScore], bool]]:
    """Membership predicate of each group, by name; no group is empty."""
    classes = sorted({own.group for own in cases.values()} - {""})
    groups: dict[str, Callable[[CaseScore], bool]] = {ALL: lambda score: True}
    if len(classes) > 1:
        groups |= {name: lambda score, name=name: score.group == name for name in classes}  # type: ignore[misc]
    if bounds is not None:
        ends = (-math.inf, *bounds, math.inf)
        for index, name in enumerate(SIZES):
            low, high = ends[index : index + 2]
            groups[name] = lambda score, low=low, high=high: low < score.area <= high  # type: ignore[misc]
    return {name: rule for name, rule in groups.items() if any(rule(own) for own in cases.values())}


def _column(cases: Iterable[Sequence[CaseScore]], name: str) -> NDArray[np.float64]:
    """Each case's mean over seeds, (N,)."""
    return np.array([_mean([getattr(score, name) for score in own]) for own in cases], float)


def _summary(
    name: str,
    group: str,
    parts: Mapping[str, Mapping[str, list[CaseScore]]],
    failed: int,
    references: Sequence[str],
    draws: int,
) -> Summary:
    cases = parts[name]
    rows = [score for own in cases.values() for score in own]
    seeds = sorted({score.seed for score in rows})
    by_seed = [_mean([score.dice for score in rows if score.seed == seed]) for seed in seeds]
    own = {number: _column(cases.values(), number) for number in NUMBERS}
    both = {other: [case for case in cases if case in parts[other]] for other in references if other in parts}
    return Summary(
        method=name,
        group=group,
        n=len(cases),
        failed=failed,
        measures={measure: _statistic(own[measure], draws) for measure in MEASURES},
        differences={
            other: metrics.paired_difference(
                *(_column([parts[method][case] for case in shared], "dice") for method in (name, other)), draws=draws
            )
            for other, shared in both.items()
            if other != name and shared
        },
        empty=_mean(own["empty"]),
        ms=_mean(own["ms"]),
        seeds=len(seeds),
        dice_seed_std=_std(np.array(by_seed)),
    )


def _statistic(values: NDArray[np.float64], draws: int) -> Statistic:
    known = values[~np.isnan(values)]
    interval = metrics.bootstrap(values, draws=draws)
    median = float(np.median(known)) if known.size else math.nan
    return Statistic(interval.mean, _std(known), median, interval)


def _std(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if values.size > 1 and np.isfinite(values).all() else math.nan


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else math.nan
