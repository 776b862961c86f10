"""Figures of reports: Dice of methods with intervals, for tight and for shifted boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flipagents.classify.figures import BLUE, GREEN, INK, ORANGE, RED, new_figure
from flipagents.compare.report import Report
from flipagents.compare.summaries import ALL

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
