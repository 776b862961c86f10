"""`flip evaluate`: compare methods on cases with masks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from flipagents.compare.scoring import CaseScore


def evaluate(options: argparse.Namespace) -> int:
    """Compare methods on cases with masks; print a table and write Markdown, LaTeX, JSON and a per-case CSV."""
    from flipagents.cli.inputs import source_text
    from flipagents.compare import report
    from flipagents.compare.methods import usual_methods

    source = source_text(options.data, options.split)
    found = report.evaluate(
        source,
        options.methods or usual_methods(options.weights),
        shift=options.shift,
        margin=options.margin,
        weights=options.weights,
        device=options.device,
        runtime=options.runtime,
        folder=options.out,
        again=options.again,
        progress=not options.quiet,
    )
    written = [] if options.out is None else [*found.write(options.out), *_figures(found.scores, options.out)]
    print(found.markdown())
    if written and not options.quiet:
        print(f"written: {', '.join(map(str, written))}", flush=True)
    for failure in found.failures:
        whose = f"{failure.method}: " if failure.method else ""
        print(f"  {whose}{failure.case}: {' '.join(failure.reason.split())}", file=sys.stderr)
    return 1 if found.failures else 0


def _figures(scores: Sequence[CaseScore], folder: Path) -> list[Path]:
    """Draw predicted against true Dice, if a method predicts it; without matplotlib say so."""
    if all(score.quality is None for score in scores):
        return []
    if find_spec("matplotlib") is None:
        print("flip evaluate: no figures of the predicted Dice without matplotlib", file=sys.stderr)
        return []
    from flipagents.compare.plots import write_quality_figures

    return write_quality_figures(scores, folder)
