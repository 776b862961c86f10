"""Figures of the checks in `flipagents.classify.checks`: calibration, response to seams, monotonicity in erasing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flipagents.classify.checks import SHARES, Checks
from flipenv.sources.extras import need

INK, BLUE, GREEN, ORANGE, RED = "#303030", "#0072B2", "#009E73", "#E69F00", "#D55E00"  # Okabe and Ito
NAMES = {"radial": "from the centre outwards", "index": "in index order, both ways from S/2"}


def save_figures(checks: Checks, folder: str | Path, before: Checks | None = None) -> list[Path]:
    """Write reliability.png, seams.png and monotonicity.png to a folder, created if missing; return their paths.

    `before`: checks of the same sites before calibration, shown for comparison. MissingDependencyError without
    matplotlib.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        "reliability": reliability_figure(checks, before),
        "seams": seams_figure(checks),
        "monotonicity": monotonicity_figure(checks),
    }
    paths = []
    for name, figure in drawn.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=120)
    return paths


def reliability_figure(checks: Checks, before: Checks | None = None) -> Any:
    """Share of nodules against mean score, classes balanced; number of sites per bin; histogram of scores."""
    figure = new_figure(5.2, 5.6)
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    upper.plot([0, 1], [0, 1], color="0.75", lw=1)
    for shown, colour, name in ((before, ORANGE, "before"), (checks, BLUE, "calibrated")):
        if shown is None:
            continue
        curve = shown.reliability
        full = curve.count > 0
        upper.plot(curve.score[full], curve.share[full], "o-", color=colour, label=f"{name}, ECE {curve.ece:.3f}")
        if shown is checks:
            for x, y, count in zip(curve.score[full], curve.share[full], curve.count[full], strict=True):
                upper.annotate(str(count), (x, y), (4, -11), textcoords="offset points", fontsize=7, color=INK)
    upper.set(
        ylabel="share of nodules, classes balanced", ylim=(-0.03, 1.03), title="Reliability (labels: sites per bin)"
    )
    upper.legend(loc="upper left", frameon=False)
    bins = np.linspace(0, 1, 21)
    for label, colour, name in ((1, RED, "nodule"), (0, GREEN, "empty or erased")):
        lower.hist(checks.scores[checks.labels == label], bins, color=colour, alpha=0.6, label=name)
    lower.set(xlabel="score", ylabel="sites", xlim=(0, 1))
    lower.legend(frameon=False, fontsize=8)
    return figure


def seams_figure(checks: Checks) -> Any:
    """Scores of tissue without a nodule (untouched, with seams of erased superpixels, with pastes) and of nodules."""
    figure = new_figure(6.4, 3.6)
    axes = figure.subplots()
    rows = (
        ("nodules", checks.whole, RED),
        ("nodules, all erased", checks.erased, ORANGE),
        ("no nodule", checks.empty, GREEN),
        ("no nodule, superpixels erased", checks.seams, BLUE),
        ("no nodule, tissue pasted in", checks.pastes, BLUE),
    )
    noise = np.random.default_rng(0)
    for row, (_, scores, colour) in enumerate(rows):
        height = row + noise.uniform(-0.22, 0.22, len(scores))
        axes.plot(scores, height, ".", color=colour, alpha=0.45, ms=5, mew=0)
        axes.plot([scores.mean()] * 2, [row - 0.33, row + 0.33], color=INK, lw=2)
        axes.plot([np.quantile(scores, 0.95)] * 2, [row - 0.33, row + 0.33], color=INK, lw=1, ls=":")
    axes.axvline(0.5, color="0.75", lw=1)
    axes.set(yticks=range(len(rows)), yticklabels=[f"{name} ({len(scores)})" for name, scores, _ in rows])
    axes.set(xlim=(-0.02, 1.02), xlabel="score (line: mean, dots: 95th percentile)", title="Does it respond to seams?")
    axes.invert_yaxis()
    return figure


def monotonicity_figure(checks: Checks) -> Any:
    """Score against erased share of the box, one panel per order: every case, the median and the quartile band."""
    figure = new_figure(4.6 * max(len(checks.curves), 1), 4.0)
    panels = figure.subplots(1, max(len(checks.curves), 1), sharey=True, squeeze=False)[0]
    for axes, (how, curve) in zip(panels, checks.curves.items(), strict=False):
        axes.plot(SHARES, curve.T, color="0.6", lw=0.5, alpha=0.4)
        lower, median, upper = np.quantile(curve, (0.25, 0.5, 0.75), axis=0)
        axes.fill_between(SHARES, lower, upper, color=BLUE, alpha=0.25, lw=0, label="quartiles")
        axes.plot(SHARES, median, color=BLUE, lw=2, label="median")
        axes.axhline(0.5, color="0.75", lw=1)
        axes.set(title=NAMES.get(how, how), xlabel="erased share of the box's superpixels", xlim=(0, 1), ylim=(0, 1))
    panels[0].set_ylabel(f"score ({len(checks.whole)} cases)")
    panels[0].legend(frameon=False)
    return figure


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure, inches; MissingDependencyError without matplotlib."""
    matplotlib = need("matplotlib.figure", extra="agents", purpose="drawing a figure")
    return matplotlib.Figure(figsize=(width, height), layout="constrained")
