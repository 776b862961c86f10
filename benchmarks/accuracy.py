"""Dice of box, ellipse, and every method on tight boxes and on boxes that are off, each with its intervals.

    python benchmarks/accuracy.py --source "busi:PATH?split=test"

A box is moved by an even draw from a range, in an even direction, the same for the same case. Box and ellipse get the
moved box as it is; so do the rows of methods by their plain name. A row `found NAME` gets a box that the pipeline found
again within `--margin` px. Writes a folder a range, as `flip evaluate` does, one table, and one picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from flipagents.report import Report, evaluate

COLOURS = ("#999999", "#303030", "#E69F00", "#0072B2", "#009E73", "#D55E00", "#CC79A7")  # Okabe and Ito


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="phantom:24")
    parser.add_argument("--methods", nargs="+", default=["polar", "flip", "flip+student"])
    parser.add_argument("--shifts", nargs="+", default=["0-10", "10-20", "20-30"], help="ranges in px, beside 0")
    parser.add_argument("--margin", type=int, default=30, help="px by which the moved boxes may be off")
    parser.add_argument("--weights", help="a folder that `flip train` wrote; else what ships")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/accuracy"))
    parser.add_argument("--quick", action="store_true", help="four phantoms and one range")
    options = parser.parse_args()
    if options.quick:
        options.source, options.shifts = "phantom:4?height=112&width=152", options.shifts[:1]
    reports: dict[str, Report] = {}
    for shift in ("0", *options.shifts):
        low, _, high = shift.partition("-")
        reports[shift] = evaluate(
            options.source,
            options.methods,
            shift=(float(low), float(high or low)),
            margin=0 if shift == "0" else options.margin,
            weights=options.weights,
            device=options.device,
        )
        reports[shift].write(options.out / f"shift-{shift}")
        print(f"boxes moved by {shift} px\n\n{reports[shift].markdown()}", flush=True)
    (options.out / "table.md").write_text(table(reports))
    picture(reports).savefig(options.out / "shifts.png", dpi=120)


def table(reports: dict[str, Report]) -> str:
    """A row a method, a column a range: Dice with its interval, and the difference to the ellipse in the same box."""
    rows: dict[str, dict[str, str]] = {}
    for shift, report in reports.items():
        for row in report.summaries:
            if row.group == "all":
                apart = "" if row.method == "ellipse" else f"; {row.difference.mean:+.3f} to the ellipse"
                dice = f"{row.dice.mean:.4f} ± {row.dice_std:.3f} [{row.dice.low:.4f}, {row.dice.high:.4f}]{apart}"
                rows.setdefault(row.method.removeprefix("found "), {})[shift] = dice
    about = next(iter(reports.values())).about
    n = next(iter(reports.values())).summaries[0].n
    lines = [
        f"n = {n} cases. Dice, mean ± std over cases [95% bootstrap interval]. Moved boxes: methods other than box and "
        "ellipse start from a box found again.",
        "",
        f"| method | {' | '.join('tight' if shift == '0' else f'moved by {shift} px' for shift in reports)} |",
        "|---" * (len(reports) + 1) + "|",
        *(f"| {name} | {' | '.join(cells.get(shift, '') for shift in reports)} |" for name, cells in rows.items()),
        "",
        f"{about['machine']}, {', '.join(f'{name} {version}' for name, version in about['versions'].items())}, "
        f"commit {about['commit']}",
    ]
    return "\n".join(lines) + "\n"


def picture(reports: dict[str, Report]) -> plt.Figure:
    """Dice against the range of shifts, a line a method, bars for the intervals."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    names = list(
        dict.fromkeys(row.method.removeprefix("found ") for each in reports.values() for row in each.summaries)
    )
    for place, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        own = [
            next(row for row in each.summaries if row.group == "all" and row.method.removeprefix("found ") == name)
            for each in reports.values()
        ]
        mean = [row.dice.mean for row in own]
        reach = [[row.dice.mean - row.dice.low for row in own], [row.dice.high - row.dice.mean for row in own]]
        at = [column + 0.04 * (place - len(names) / 2) for column in range(len(own))]
        axes.errorbar(at, mean, reach, fmt="o-", color=colour, label=name, capsize=2)
    ticks = ["tight" if shift == "0" else f"{shift} px" for shift in reports]
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set(xlabel="how far the box is off", ylabel="Dice, mean and 95% interval")
    axes.grid(axis="y", color="0.9")
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
