"""Shared by the scripts of the tables: options, running the rows, writing the results."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import runpy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flipagents.compare.evaluation import FOUND, Candidate
from flipagents.compare.report import REFERENCES, Report, evaluate
from flipagents.compare.summaries import Summary
from flipagents.compare.tables import latex_table, markdown_table, spread
from flipagents.store.files import replacing, write_texts
from flipagents.store.provenance import about

RESULTS = Path("benchmarks/results")
QUICK = "phantom:4?height=112&width=152"
MEASURES = (("dice", "DICE, %", 100), ("jaccard", "JAC, %", 100), ("conformity", "CON, %", 100))
MEASURES += (("hausdorff", "HD, px", 1), ("asd", "ASD, px", 1))  # the paper's columns
BEST = "flip"  # compared with the paper's own method
GUIDED = {  # rows of the weights that LiteMedSAM's maps taught -> their method
    "guided": "flip+student",
    "guided+guide": "guide",
}


def make_parser(text: str | None, name: str) -> argparse.ArgumentParser:
    """A parser with the options of every table."""
    parser = argparse.ArgumentParser(name, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="phantom:24", help="cases with masks, such as busi:PATH")
    parser.add_argument("--split", help="such as val; omit it if --data names one")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of box shifts and of trained weights")
    parser.add_argument("--jobs", type=int, default=1, help="methods run in parallel; leave it at 1 to measure times")
    parser.add_argument("--device", default="cpu", help="torch device: cpu (default), cuda")
    parser.add_argument("--weights", help="folder of `flip train`, default: as shipped; {seed} stands for each seed")
    parser.add_argument("--methods-from", type=Path, metavar="FILE.py", help="file that registers your own methods")
    parser.add_argument("--again", action="store_true", help="rerun what is finished in --out")
    parser.add_argument("--quick", action="store_true", help="smoke test on a few phantoms")
    parser.add_argument("--out", type=Path, default=RESULTS / name, help="output folder; a stopped run resumes there")
    return parser


def read(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options; adds `draws`, and `registered`: the names of the methods from --methods-from."""
    options = parser.parse_args(arguments)
    options.data, options.draws = (QUICK, 200) if options.quick else (options.data, 10_000)
    if options.split and not options.quick:
        options.data = with_split(options.data, options.split)
    if options.quick:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    options.registered = [] if options.methods_from is None else _registered(options.methods_from)
    return options


def with_split(data: str, split: str) -> str:
    """The source string of one split."""
    return f"{data}{'&' if '?' in data else '?'}split={split}"


def run(
    options: argparse.Namespace,
    rows: Iterable[Candidate],
    *,
    folder: Path | None = None,
    shift: tuple[float, float] = (0.0, 0.0),
    references: Sequence[str] = REFERENCES,
) -> Report:
    """Evaluate box, ellipse and rows, printing each; those that cannot run are listed, finished ones are reused."""
    report = evaluate(
        options.data,
        list(rows),
        shift=shift,
        seeds=options.seeds,
        device=options.device,
        folder=folder or options.out,
        again=options.again,
        jobs=options.jobs,
        strict=False,
        references=references,
        draws=options.draws,
        tell=lambda line: print(line, flush=True),
    )
    return dataclasses.replace(report, about={**report.about, "commit": about(Path(__file__))["commit"]})


def beside_paper(
    rows: Iterable[tuple[str, Summary | None, Sequence[str] | None]],
) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table in the paper's columns: our numbers, then the paper's if it has such a row."""
    head = ["method", *(name for _, name, _ in MEASURES), *(f"paper: {name}" for _, name, _ in MEASURES)]
    table = []
    for name, row, printed in rows:
        ours = ["not run"] * len(MEASURES)
        if row is not None:
            ours = [spread(row.measures[measure], 2, scale) for measure, _, scale in MEASURES]
        table.append([name, *ours, *(printed or [""] * len(MEASURES))])
    return head, table


def write(
    folder: Path,
    report: Report,
    title: str,
    paper: tuple[Sequence[str], Sequence[Sequence[str]]],
    notes: Sequence[str] = (),
    figures: Mapping[str, Any] | None = None,
) -> str:
    """Write a report as Markdown and LaTeX, the table in the paper's columns first, and its figures.

    Returns the Markdown. paper: head and rows, see `beside_paper`. figures: matplotlib figures by file name.
    """
    report.write(folder)
    head, rows = paper
    text = f"{title}\n\n{markdown_table(head, rows)}\n" + "".join(f"{note}\n\n" for note in notes)
    text += f"{report.markdown()}\n{provenance(report.about)}\n"
    write_texts({folder / "table.md": text, folder / "paper.tex": latex_table(head, {"": rows})})
    save_figures(folder, figures or {})
    return text


def save_figures(folder: Path, figures: Mapping[str, Any]) -> None:
    """Write matplotlib figures as PNG, all or none."""
    paths = {folder / name: figure for name, figure in figures.items()}
    with replacing(list(paths)) as parts:
        for path, part in parts.items():
            paths[path].savefig(part, dpi=120)


def provenance(facts: Mapping[str, Any]) -> str:
    """One paragraph: data, command, commit, machine, versions, time."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    text = f"{facts['source']}, seeds {facts['seeds']}. `{facts['command']}`. Commit {facts['commit']}. "
    return f"{text}{facts['machine']}. {versions}. {facts['time']}."


def candidate(name: str, weights: str | None = None, margin: int = 0) -> Candidate:
    """The row of a method, or of one of GUIDED; above a margin of 0 on the box found again within that many px."""
    if name not in GUIDED:
        return Candidate(name, weights=weights, margin=margin)
    return Candidate(GUIDED[name], f"{FOUND} {name}" if margin else name, "busi-guided", margin)


def pairs(names: Iterable[str], weights: str | None, margin: int) -> list[Candidate]:
    """Each method on the box as given, and on the box found again within `margin` px."""
    return [row for name in names for row in (candidate(name, weights), candidate(name, weights, margin))]


def write_json(path: Path, value: Any) -> None:
    """Write plain data as JSON, atomically."""
    write_texts({path: json.dumps(value, indent=1) + "\n"})


def write_lines(path: Path, source: str, count: int, lines: Sequence[str]) -> str:
    """Write the lines of a Markdown table under one that names the source and its number of cases; return the text."""
    kind, split = source.partition(":")[0], source.partition("split=")[2].partition("&")[0]
    text = "\n".join([f"{kind} {split}, n = {count}, boxes tight", "", *lines, ""])
    write_texts({path: text})
    return text


def _registered(file: Path) -> list[str]:
    """Names of the methods that a user's file registers."""
    from flipagents.compare.methods import METHODS

    before = set(METHODS)
    runpy.run_path(str(file))
    return [name for name in METHODS if name not in before]
