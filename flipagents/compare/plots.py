"""Figures of reports: Dice of methods with intervals, for tight and for shifted boxes; predicted against true Dice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flipagents.classify.figures import BLUE, GREEN, INK, ORANGE, RED, new_figure
from flipagents.compare.reliability import reliabilities, risk_curve
from flipagents.compare.report import Report
from flipagents.compare.scoring import CaseScore
from flipagents.compare.summaries import ALL
from flipagents.store.files import file_names, replacing

COLOURS = (INK, BLUE, GREEN, ORANGE, RED, "#CC79A7", "#56B4E9", "#999999")  # Okabe and Ito, and a grey
MARKERS = "os^Dv"


def dice_figure(report: Report, bar: str = "ellipse") -> Any:
    """Dice of all cases, one row per method, worst first: one dot per case, and the mean with its interval.

    The vertical line is the mean of the method `bar`.
    """
    rows = sorted((row for row in report.summaries if row.group == ALL), key=lambda row: row.dice.mean)
    longest = max(len(row.method) for row in rows)
    figure = new_figure(5.4 + 0.08 * longest, 1.2 + 0.3 * len(rows))
    axes = figure.subplots()
    for place, row in enumerate(rows):
        own = [score.dice for score in report.scores if score.method == row.method]
        axes.plot(own, [place] * len(own), "|", color="0.75", ms=7)
        low, high = row.dice.interval.mean - row.dice.interval.low, row.dice.interval.high - row.dice.interval.mean
        axes.errorbar(row.dice.mean, place, xerr=[[low], [high]], fmt="o", color=BLUE, capsize=3, ms=5)
        if row.method == bar:
            axes.axvline(row.dice.mean, color=ORANGE, lw=1)
    axes.set_yticks(range(len(rows)), [f"{row.method}  {row.dice.mean:.3f}" for row in rows])
    label = f"Dice: cases, mean, 95% interval (n = {rows[0].n}); line: {bar}"
    axes.set(xlabel=label, xlim=(0, 1), ylim=(-1, len(rows)))
    axes.grid(axis="x", color="0.93")
    return figure


def shift_figure(reports: Mapping[str, Report], methods: Sequence[str], found: str) -> Any:
    """Dice against box shift: one colour per method, solid for the shifted box itself, dashed for `found`.

    reports: keyed by tick label, in order. Methods that are in no report are omitted.
    """
    figure = new_figure(8.2, 4.6)
    axes = figure.subplots()
    lines = [
        (number, label)
        for number, name in enumerate(methods)
        for label in (name, f"{found} {name}")
        if any(report.row(label) for report in reports.values())
    ]
    for place, (number, label) in enumerate(lines):
        rows = [(column, report.row(label)) for column, report in enumerate(reports.values())]
        known = [(column, row.dice) for column, row in rows if row is not None]
        mean = [dice.mean for _, dice in known]
        reach = [
            [dice.mean - dice.interval.low for _, dice in known],
            [dice.interval.high - dice.mean for _, dice in known],
        ]
        at = [column + 0.5 * (place + 0.5 - len(lines) / 2) / len(lines) for column, _ in known]
        style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number // len(COLOURS) % len(MARKERS)]}
        dashes = "-" if label == methods[number] else "--"
        axes.errorbar(at, mean, reach, ls=dashes, capsize=2, ms=4, lw=1, label=label, **style)
    axes.set_xticks(range(len(reports)), list(reports))
    axes.set(xlabel="shift of the box", ylabel="Dice, mean and 95% interval")
    axes.grid(axis="y", color="0.93")
    figure.legend(loc="outside right upper", frameon=False, fontsize=7)
    return figure


def write_quality_figures(scores: Sequence[CaseScore], folder: Path) -> list[Path]:
    """Write reliability-METHOD.png and risk-coverage-METHOD.png of each method with a quality; return the paths.

    Raises MissingDependencyError without matplotlib, OutputError if a file cannot be written.
    """
    names = list(reliabilities(scores))
    figures = {}
    for name, file in zip(names, file_names(names), strict=True):
        own = [score for score in scores if score.method == name and score.quality is not None]
        figures[folder / f"reliability-{file}.png"] = reliability_figure(own)
        figures[folder / f"risk-coverage-{file}.png"] = risk_figure(own)
    with replacing(list(figures)) as parts:
        for path, figure in figures.items():
            figure.savefig(parts[path], format="png")
    return list(figures)


def reliability_figure(scores: Sequence[CaseScore]) -> Any:
    """True against predicted Dice of one method: a dot per mask, its 90% interval upright if it has one."""
    figure = new_figure(4.8, 4.8)
    axes = figure.subplots()
    value = np.array([row.quality for row in scores], float)
    truth = np.array([row.dice for row in scores])
    lows, highs = (
        np.array([np.nan if each is None else each for each in (getattr(row, side) for row in scores)])
        for side in ("low", "high")
    )
    axes.vlines(value, lows, highs, color="0.8", lw=1)
    within = np.isnan(lows) | ((lows <= truth) & (truth <= highs))
    axes.plot(value[within], truth[within], "o", color=BLUE, ms=3, label="in its interval" if within.any() else None)
    axes.plot(value[~within], truth[~within], "o", color=ORANGE, ms=3, label="outside" if not within.all() else None)
    least = max(0.0, float(np.nanmin(np.concatenate([value, truth, lows]))) - 0.02)
    axes.plot([least, 1], [least, 1], color=INK, lw=0.8)
    axes.set(xlabel="predicted Dice", ylabel="true Dice", xlim=(least, 1), ylim=(least, 1), aspect="equal")
    axes.set_title(f"{scores[0].method}, n = {len(scores)}", fontsize=9)
    if not np.isnan(lows).all():
        axes.legend(loc="lower right", frameon=False, fontsize=8)
    return figure


def risk_figure(scores: Sequence[CaseScore]) -> Any:
    """Mean 1 - Dice of the masks with the highest predicted Dice against their share, between perfect and random."""
    figure = new_figure(4.8, 3.6)
    axes = figure.subplots()
    value, truth = [row.quality or 0.0 for row in scores], [row.dice for row in scores]
    shares = np.arange(1, len(scores) + 1) / len(scores)
    axes.axhline(1 - float(np.mean(truth)), color="0.6", lw=1, label="random order")
    axes.plot(shares, risk_curve(value, truth), color=BLUE, label="by predicted Dice")
    axes.plot(shares, risk_curve(truth, truth), color=INK, lw=1, ls="--", label="by true Dice")
    axes.set(xlabel="share of the masks kept", ylabel="mean 1 - Dice of these", xlim=(0, 1), ylim=(0, None))
    axes.set_title(f"{scores[0].method}, n = {len(scores)}", fontsize=9)
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    return figure
