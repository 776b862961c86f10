"""The best Dice that superpixels allow, by canvas, cell area and superpixel method.

    python benchmarks/oracle.py --source "busi:PATH?split=val"

An oracle erases every superpixel that is more than half nodule; its mask is scored on the image, as an agent's would
be. `superpixels` is the median number in a tight box, which is the length of an episode of two agents in joint steps.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from common import write_lines

import flipenv
from flipagents.learn.fixed import mostly_nodule
from flipenv.episode import mask_on_image, prepare
from flipenv.types import Case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="phantom:64")
    parser.add_argument("--methods", nargs="+", default=["seeds", "slic", "grid"])
    parser.add_argument("--cell-areas", nargs="+", type=float, default=[36.0, 75.0, 160.0, 375.0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/oracle.md"))
    parser.add_argument("--quick", action="store_true", help="smoke test: two small phantoms, one cell area")
    options = parser.parse_args()
    if options.quick:
        options.source, options.cell_areas = "phantom:2?height=96&width=128", options.cell_areas[1:2]
    source = flipenv.open_source(options.source)
    cases = [source.load(index) for index in range(len(source))]
    lines = [
        "| canvas | method | cell px² | oracle Dice, mean ± std | superpixels, median | ms to prepare |",
        "|---|---|---|---|---|---|",
    ]
    for canvas in (flipenv.CanvasSpec.of("roi"), flipenv.CanvasSpec("roi", 192, 192), flipenv.CanvasSpec.of("whole")):
        for method in options.methods:
            for cell_area in options.cell_areas:
                config = flipenv.EnvConfig(canvas=canvas, superpixels=method, cell_area=cell_area)
                name = f"{canvas.kind} {canvas.width}x{canvas.height}"
                lines.append(f"| {name} | {method} | {cell_area:g} | {row(cases, config)} |")
                print(lines[-1], flush=True)
    write_lines(options.out, options.source, len(cases), lines)


def row(cases: list[Case], config: flipenv.EnvConfig) -> str:
    dices, counts, times = [], [], []
    for case in cases:
        start = time.perf_counter()
        episode = prepare(case, config)
        times.append(time.perf_counter() - start)
        assert case.mask is not None, f"case '{case.id}' has no mask; the oracle needs one"
        nodule = mostly_nodule(episode, case.mask, config.canvas)
        erased = (episode.labels >= 0) & nodule[episode.labels]
        mask = mask_on_image(erased, episode.geometry)
        dices.append(2 * (mask & case.mask).sum() / (mask.sum() + case.mask.sum()))
        counts.append(episode.n_superpixels)
    return (
        f"{statistics.mean(dices):.4f} ± {statistics.pstdev(dices):.3f} | {statistics.median(counts):.0f} "
        f"| {1e3 * statistics.median(times):.1f}"
    )


if __name__ == "__main__":
    main()
