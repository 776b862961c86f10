"""What the scripts of the tables share: their options, one run of methods, and how a table is written."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import runpy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flipagents.compare.evaluation import Candidate
from flipagents.compare.report import REFERENCES, Report, evaluate
from flipagents.compare.summaries import Summary
from flipagents.compare.tables import latex_table, markdown_table, spread
from flipagents.store.files import replacing, write_texts
from flipagents.store.provenance import about

RESULTS = Path("benchmarks/results")
QUICK = "phantom:4?height=112&width=152"
MEASURES = (("dice", "DICE, %", 100), ("jaccard", "JAC, %", 100), ("conformity", "CON, %", 100))
MEASURES += (("hausdorff", "HD, px", 1), ("asd", "ASD, px", 1))  # the paper's columns
BEST = "flip"  # whose rows stand beside the paper's own method


def parser(text: str | None, name: str) -> argparse.ArgumentParser:
    """Options that every table has."""
    each = argparse.ArgumentParser(name, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    each.add_argument("--data", default="phantom:24", help="cases with masks, such as busi:PATH")
    each.add_argument("--split", help="such as val; leave it out where --data says it")
    each.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the draws that move boxes, and of weights")
    each.add_argument("--jobs", type=int, default=1, help="methods side by side; leave it at 1 to compare times")
    each.add_argument("--device", default="cpu", help="torch device: cpu (default), cuda")
    each.add_argument("--weights", help="folder that `flip train` wrote, else what ships; {seed} stands for each seed")
    each.add_argument("--methods-from", type=Path, metavar="FILE.py", help="a file that registers methods of your own")
    each.add_argument("--again", action="store_true", help="run what is finished in --out once more")
    each.add_argument("--quick", action="store_true", help="a few phantoms: does it run at all?")
    each.add_argument("--out", type=Path, default=RESULTS / name, help="folder; a run that was stopped goes on there")
    return each


def read(options: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options; `draws` and `registered`, methods of a file of the user's, are added."""
    found = options.parse_args(arguments)
    found.data, found.draws = (QUICK, 200) if found.quick else (found.data, 10_000)
    if found.split and not found.quick:
        found.data += f"{'&' if '?' in found.data else '?'}split={found.split}"
    if found.quick:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    found.registered = [] if found.methods_from is None else _registered(found.methods_from)
    return found


def run(
    options: argparse.Namespace,
    rows: Iterable[Candidate],
    *,
    folder: Path | None = None,
    shift: tuple[float, float] = (0.0, 0.0),
    references: Sequence[str] = REFERENCES,
) -> Report:
    """Evaluate rows beside box and ellipse, telling each; what cannot run is listed, and what is done not repeated."""
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
    """Head and rows of a table in the paper's columns, its own numbers, where it has such a row, after ours."""
    head = ["method", *(f"{name}" for _, name, _ in MEASURES), *(f"paper: {name}" for _, name, _ in MEASURES)]
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
    """Write a report with the table in the paper's columns before its own, as Markdown and LaTeX, and pictures.

    Returns the Markdown. figures: matplotlib's, by file name.
    """
    report.write(folder)
    head, rows = paper
    text = f"{title}\n\n{markdown_table(head, rows)}\n" + "".join(f"{note}\n\n" for note in notes)
    text += f"{report.markdown()}\n{told(report.about)}\n"
    write_texts({folder / "table.md": text, folder / "paper.tex": latex_table(head, {"": rows})})
    save_figures(folder, figures or {})
    return text


def save_figures(folder: Path, figures: Mapping[str, Any]) -> None:
    """Write matplotlib figures as PNG, all or none."""
    paths = {folder / name: figure for name, figure in figures.items()}
    with replacing(list(paths)) as parts:
        for path, part in parts.items():
            paths[path].savefig(part, dpi=120)


def told(known: Mapping[str, Any]) -> str:
    """One paragraph: data, command, commit, machine, versions, time."""
    versions = ", ".join(f"{name} {number}" for name, number in known["versions"].items())
    text = f"{known['source']}, seeds {known['seeds']}. `{known['command']}`. Commit {known['commit']}. "
    return f"{text}{known['machine']}. {versions}. {known['time']}."


def pairs(names: Iterable[str], weights: str | None, margin: int) -> list[Candidate]:
    """Each method with the box that it is given, and with a box found again."""
    return [row for name in names for row in (Candidate(name, weights=weights), Candidate(name, "", weights, margin))]


def write_json(path: Path, value: Any) -> None:
    """Plain data, whole or not at all."""
    write_texts({path: json.dumps(value, indent=1) + "\n"})


def _registered(file: Path) -> list[str]:
    """Names that a file of the user's adds to the methods."""
    from flipagents.compare.methods import METHODS

    before = set(METHODS)
    runpy.run_path(str(file))
    return [name for name in METHODS if name not in before]
