"""Dice of the classical baselines for each setting of their free constants, beside the inscribed ellipse.

    python benchmarks/tune_baselines.py --source "busi:PATH?split=val"
    python benchmarks/tune_baselines.py --source "busi:PATH?split=val" --methods otsu sp-rg

The defaults in flipagents/baselines/ are the best of these on BUSI's split `val`, simpler ones where they are level.
GrabCut is slow: its options are varied one at a time, the others at their defaults.
"""

from __future__ import annotations

import argparse
import itertools
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from flipagents.compare import report
from flipagents.compare.baselines import RULES
from flipagents.compare.baselines.saliency import WHOLE
from flipagents.compare.methods import box_method

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
ALONE = ("grabcut-fair",)  # options varied one at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="phantom:16")
    parser.add_argument("--methods", nargs="+", default=list(GRIDS), choices=list(GRIDS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tune_baselines.md"))
    options = parser.parse_args()
    names = [name for method in options.methods for name in settings(method)]
    found = report.evaluate(options.source, names)
    lines = ["| method and setting | Dice [95%] | minus ellipse [95%] | empty |", "|---|---|---|---|"]
    for row in (row for row in found.summaries if row.group == "all"):
        dice, apart = row.dice, row.difference
        lines.append(
            f"| {row.method} | {dice.mean:.4f} [{dice.low:.4f}, {dice.high:.4f}] "
            f"| {apart.mean:+.4f} [{apart.low:+.4f}, {apart.high:+.4f}] | {row.empty:.0%} |"
        )
    split = options.source.partition("split=")[2].partition("&")[0]
    kind = options.source.partition(":")[0]
    text = f"{kind} {split}, n = {found.summaries[0].n}, boxes tight\n\n" + "\n".join(lines) + "\n"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text)
    print(text)


def settings(method: str) -> list[str]:
    """Register the method once for each setting of its grid; return the names."""
    module, _, attribute = RULES[method].partition(":")
    function, grid, names = getattr(import_module(module), attribute), GRIDS[method], []
    for chosen in alone(grid) if method in ALONE else together(grid):
        names.append(f"{method}: {', '.join(f'{option} {value:g}' for option, value in chosen.items())}")
        box_method(names[-1])(partial(function, **chosen))
    return names


def alone(grid: Grid) -> list[dict[str, Any]]:
    return [{option: value} for option, values in grid.items() for value in values]


def together(grid: Grid) -> list[dict[str, Any]]:
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


if __name__ == "__main__":
    main()
