"""Pictures of reports: Dice of methods with their intervals, on tight boxes and on boxes that were moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flipagents.classify.figures import BLUE, GREEN, INK, ORANGE, RED, new_figure
from flipagents.compare.report import Report
from flipagents.compare.summaries import ALL

COLOURS = (INK, BLUE, GREEN, ORANGE, RED, "#CC79A7", "#56B4E9", "#999999")  # Okabe and Ito, and a grey
MARKERS = "os^Dv"


def dice_figure(report: Report, bar: str = "ellipse") -> Any:
    """All cases' Dice, a line a method, worst first: each case a dot, the mean with its interval.

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
    told = f"Dice: cases, mean, 95% interval (n = {rows[0].n}); line: {bar}"
    axes.set(xlabel=told, xlim=(0, 1), ylim=(-1, len(rows)))
    axes.grid(axis="x", color="0.93")
    return figure


def shift_figure(reports: Mapping[str, Report], methods: Sequence[str], found: str) -> Any:
    """Dice against how far boxes were off: a colour a method, solid for the moved box itself, dashed for `found`.

    reports: by the text under the axis, in its order. Methods that no report has are left out.
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
    axes.set(xlabel="how far the box is off", ylabel="Dice, mean and 95% interval")
    axes.grid(axis="y", color="0.93")
    figure.legend(loc="outside right upper", frameon=False, fontsize=7)
    return figure
