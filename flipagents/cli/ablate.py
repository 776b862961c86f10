"""`flip ablate`: configs x seeds."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415


def ablate(options: argparse.Namespace) -> int:
    """Train and evaluate configs x seeds from a file; the same command resumes an interrupted ablation."""
    from flipagents.compare.ablation import Plan, table
    from flipagents.scale.engines import ENGINES
    from flipagents.store.files import check_writable, write_texts

    tell: Callable[[str], None] = (lambda line: None) if options.quiet else partial(print, flush=True)
    runs, engine = Plan.read(options.plan).runs(options.out), ENGINES[options.engine]
    check_writable(options.out)
    waiting = [run for run in runs if not run.done]
    tell(f"{len(runs)} runs, {len(runs) - len(waiting)} already done")
    failed = 0
    for run, reason in engine(waiting, options.out) if waiting else ():
        failed += bool(reason)
        tell(f"{run.folder}: {'failed: ' + ' '.join(reason.split()) if reason else 'done'}")
    text = table(runs)
    write_texts({options.out / "table.md": text})
    print(text, end="")
    return 1 if failed else 0
