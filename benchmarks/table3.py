"""Table 3 of the paper: boxes shifted by 0-10, 10-20, 20-30 px, for every method that takes a box.

    python benchmarks/table3.py --data busi:PATH --split val --seeds 0 1 2

Distance (within the range) and direction of a shift are uniform, and fixed by case and seed. Each method has two rows:
on the shifted box as given, and `found`: on the box that our pipeline finds within `--margin` px. Tight boxes are the
first column. Each range has its own folder with all numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common import BEST, MEASURES, beside_paper, candidate, make_parser, pairs, provenance, read, run, save_figures
from paper import TABLE_3
from table1 import METHODS

from flipagents.compare.evaluation import FOUND
from flipagents.compare.plots import shift_figure
from flipagents.compare.report import ALWAYS, Report
from flipagents.compare.tables import latex_table, markdown_table
from flipagents.store.files import write_texts

TIGHT = "tight"
# in the figure, when there are more methods than these
SHOWN = ("box", "ellipse", "polar+grey", "contour", "flip", "flip+student", "guided", "litemedsam", "unet", "box-unet")


def main(arguments: Sequence[str] | None = None) -> dict[str, Report]:
    """Run the script."""
    parser = make_parser(__doc__, "table3")
    takes_box = [name for name in METHODS if name != "oracle"]
    parser.add_argument("--methods", nargs="+", default=takes_box, help="registered names, or onnx:FILE")
    parser.add_argument("--shifts", nargs="+", default=list(TABLE_3), help="ranges in px, besides tight boxes")
    parser.add_argument("--margin", type=int, default=30, help="px by which a shifted box may be off")
    options = read(parser, arguments)
    names = [*options.methods, *options.registered]
    if options.quick:
        options.shifts = options.shifts[:1]
    reports: dict[str, Report] = {}
    for shift in (TIGHT, *options.shifts):
        low, _, high = shift.partition("-")
        moved = shift != TIGHT
        rows = pairs(names, options.weights, options.margin) if moved else [candidate(each) for each in names]
        span = (float(low), float(high or low)) if moved else (0.0, 0.0)
        where = options.out / (f"shift-{shift}" if moved else TIGHT)
        print(f"boxes: {shift}", flush=True)
        reports[shift] = run(options, rows, folder=where, shift=span, references=("ellipse", f"{FOUND} {BEST}"))
        reports[shift].write(where)
    head, table = dice_table(reports)
    paper = paper_table({shift: report for shift, report in reports.items() if shift != TIGHT})
    first = next(iter(reports.values()))
    text = (
        f"Moved boxes (Table 3), n = {first.summaries[0].n} cases\n\n"
        f"Ours in the paper's columns:\n\n{markdown_table(*paper)}\n"
        f"Dice, mean ± std over cases [95% interval]; difference to the ellipse in the same box:\n\n"
        f"{markdown_table(head, table)}\n{provenance(first.about)}\n"
    )
    write_texts(
        {
            options.out / "table.md": text,
            options.out / "table.tex": latex_table(head, {"": table}),
            options.out / "paper.tex": latex_table(paper[0], {"": paper[1]}),
        }
    )
    shown = list(dict.fromkeys([*ALWAYS, *(names if len(names) <= len(SHOWN) else SHOWN)]))
    save_figures(options.out, {"shifts.png": shift_figure(reports, shown, FOUND)})
    print(text)
    return reports


def paper_table(reports: Mapping[str, Report]) -> tuple[list[str], list[list[str]]]:
    """Our best and the paper's, two rows per range: on the box found again, and on the box as given."""
    rows = []
    for shift, report in reports.items():
        for name in (f"{FOUND} {BEST}", BEST):
            printed = TABLE_3.get(shift) if name != BEST else None
            rows.append((f"{name}, {shift} px", report.row(name), printed))
    assert len(MEASURES) == len(next(iter(TABLE_3.values())))
    return beside_paper(rows)


def dice_table(reports: Mapping[str, Report]) -> tuple[list[str], list[list[str]]]:
    """One row per method, one column per range."""
    names = dict.fromkeys(row.method for report in reports.values() for row in report.summaries)
    head = ["method", *(f"{shift} px" if shift != TIGHT else TIGHT for shift in reports)]
    return head, [[name, *(dice_cell(report, name) for report in reports.values())] for name in names]


def dice_cell(report: Report, name: str) -> str:
    """Dice of a method, "" without such a row."""
    row = report.row(name)
    if row is None:
        return ""
    low, high = row.dice.interval[1:]
    difference = f"; {row.differences['ellipse'].mean:+.3f}" if "ellipse" in row.differences else ""
    return f"{row.dice.mean:.4f} ± {row.dice.std:.3f} [{low:.3f}, {high:.3f}]{difference}"


if __name__ == "__main__":
    main()
