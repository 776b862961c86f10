"""`flip demo`: synthetic images, no data needed."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from flipenv.types import Case

DEMO = "phantom:{}?first=1000000"  # seeds not used for training


def demo(options: argparse.Namespace) -> int:
    """Segment synthetic images, write pictures, and print Dice beside that of box and ellipse."""
    import numpy as np

    from flipagents.compare.methods import make_method, run_method
    from flipagents.compare.ours import Flip
    from flipagents.machine.devices import check_device
    from flipagents.metrics import dice
    from flipagents.segment.outputs import output_paths, write_outputs
    from flipagents.segment.walk import record
    from flipagents.store.files import check_writable
    from flipenv.sources import open_source

    check_writable(options.out)
    flip = Flip(options.weights, check_device(options.device, runtime=options.runtime), options.runtime)
    scorer = flip.scorer()
    source = open_source(DEMO.format(options.count))
    cases = [source.load(index) for index in range(len(source))]
    masks = {name: run_method(make_method(name), cases) for name in ("box", "ellipse")} | {
        "flip": run_method(flip, cases)
    }
    print(f"{'Dice':<18}" + "".join(f"{name:>9}" for name in masks))
    for index, case in enumerate(cases):
        print(f"{case.id:<18}" + "".join(f"{dice(each[index], np.asarray(case.mask)):9.3f}" for each in masks.values()))
        recording = record(flip.segmenter, _unlabelled(case), scorer=scorer, film=index == 0)
        paths = output_paths(options.out, case.id, curve=True, gif=index == 0)
        write_outputs(paths, case, masks["flip"][index], recording, truth=case.mask)
    if options.quiet:
        return 0
    print(f"pictures in {options.out}: start with {cases[0].id}_overlay.png and {cases[0].id}.gif")
    return 0


def _unlabelled(case: Case) -> Case:
    """The case without its mask, as a user's own."""
    return dataclasses.replace(case, mask=None)
