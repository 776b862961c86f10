"""Dice of the classical baselines for each setting of their constants, compared with the inscribed ellipse.

    python benchmarks/tune_baselines.py --source "busi:PATH?split=val"
    python benchmarks/tune_baselines.py --source "busi:PATH?split=val" --methods otsu sp-rg

The defaults in flipagents/compare/baselines/ are the best of these on BUSI's split `val`, or a simpler setting that is
as good. GrabCut is slow: its options are varied one at a time, the others at their defaults.
"""

from __future__ import annotations

import argparse
import itertools
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from common import write_lines

from flipagents.compare import report
from flipagents.compare.baselines import RULES
from flipagents.compare.baselines.saliency import WHOLE
from flipagents.compare.evaluation import Candidate
from flipagents.compare.methods import box_method
from flipagents.compare.tables import signed

Grid = dict[str, tuple[Any, ...]]
GRIDS: dict[str, Grid] = {
    "otsu": {"blur": (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)},
    "grabcut": {"iterations": (1, 2, 5, 10)},
    "grabcut-fair": {
        "core": (0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95),
        "rim": (0.1, 0.2, 0.4),
        "blur": (0.0, 0.02, 0.04),
        "iterations": (1, 2, 5, 10),
    },
    "saliency": {"rim": (0.0, 0.2, 0.5, WHOLE), "blur": (0.0, 0.05, 0.1, 0.2, 0.3)},
    "saliency-fine": {"rim": (0.0, 0.2, 0.5, WHOLE), "blur": (0.0, 0.05, 0.1, 0.2, 0.3)},
    "sp-rg": {"theta": (15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80), "cell_area": (36.0, 75.0, 160.0)},
}
ONE_AT_A_TIME = ("grabcut-fair",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="phantom:16")
    parser.add_argument("--methods", nargs="+", default=list(GRIDS), choices=list(GRIDS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tune_baselines.md"))
    options = parser.parse_args()
    found = report.evaluate(options.source, [row for method in options.methods for row in settings(method)])
    lines = ["| method and setting | Dice [95%] | minus ellipse [95%] | empty |", "|---|---|---|---|"]
    for row in (row for row in found.summaries if row.group == "all"):
        mean, low, high = row.dice.interval
        difference = signed(row.differences["ellipse"]) if "ellipse" in row.differences else ""
        lines.append(f"| {row.method} | {mean:.4f} [{low:.4f}, {high:.4f}] | {difference} | {row.empty:.0%} |")
    print(write_lines(options.out, options.source, found.summaries[0].n, lines))


def settings(method: str) -> list[Candidate]:
    """Register the method once per setting of its grid; return the rows."""
    module, _, attribute = RULES[method].partition(":")
    function, grid, rows = getattr(import_module(module), attribute), GRIDS[method], []
    for chosen in one_at_a_time(grid) if method in ONE_AT_A_TIME else all_combinations(grid):
        setting = ", ".join(f"{option} {value:g}" for option, value in chosen.items())
        name = f"{method}, {setting}"  # a colon would separate a method from its weights
        box_method(name)(partial(function, **chosen))
        rows.append(Candidate(name, f"{method}: {setting}"))
    return rows


def one_at_a_time(grid: Grid) -> list[dict[str, Any]]:
    return [{option: value} for option, values in grid.items() for value in values]


def all_combinations(grid: Grid) -> list[dict[str, Any]]:
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


if __name__ == "__main__":
    main()
