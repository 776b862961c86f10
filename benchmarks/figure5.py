"""Figure 5 of the paper: original, stage 1, stage 2, truth and erase curves of a few cases.

    python benchmarks/figure5.py --data busi:PATH --split val
    python benchmarks/figure5.py --data busi:PATH --split val --cases "benign (12)" "malignant (3)"

Cases are the best, median and worst by the Dice of the final mask, or those given by --cases. A stage's picture is the
tidied mask of a single walk; the final mask combines all votes. Curves show, after each joint step of both stages, the
erased share of the area, the Dice of the erased region on the canvas, and the nodule score of the pipeline's
classifier; below the dotted line the tag reads 'normal tissue'.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from common import make_parser, provenance, read, run, save_figures, write_json

from flipagents.classify.figures import GREEN, INK, ORANGE, RED, new_figure
from flipagents.compare.evaluation import Candidate
from flipagents.compare.ours import Flip
from flipagents.compare.report import Report
from flipagents.maps.tidy import tidy
from flipagents.metrics import dice
from flipagents.segment.segmenter import Segmenter
from flipagents.segment.walk import record
from flipenv.pictures.render import FLIP, Scene, overlay
from flipenv.pixels import Mask
from flipenv.sources import find, open_source
from flipenv.types import Box, Case

LABEL = "flip"
VIEW = 0.35  # margin shown around the box, share of its longer side


@dataclass(frozen=True, eq=False)
class Panel:
    """One case: a row of the figure."""

    case: Case
    name: str
    masks: list[Mask]  # (height, width) of each stage's walk, tidied
    final: Mask  # (height, width)
    scenes: list[Scene]  # at the end of each stage


def main(arguments: Sequence[str] | None = None) -> list[Panel]:
    """Run the script."""
    parser = make_parser(__doc__, "figure5")
    parser.add_argument("--cases", nargs="+", metavar="ID", help="default: best, median and worst by Dice")
    options = read(parser, arguments)
    seed = options.seeds[0]
    options.seeds = [seed]
    candidate = Candidate(LABEL, weights=options.weights)
    report = run(options, [candidate])
    if LABEL in report.missing:
        raise SystemExit(f"{LABEL}: not run: {report.missing[LABEL]}")
    flip = Flip(candidate.folder(seed), options.device)
    source = open_source(options.data)
    wanted = {each: each for each in options.cases} if options.cases else typical(report)
    panels = [panel(flip, source.load(find(source, case)), name) for name, case in wanted.items()]
    save_figures(options.out, {"figure5.png": draw(panels)})
    write_json(options.out / "curves.json", {"about": report.about, "cases": [numbers(each) for each in panels]})
    for each in panels:
        print(f"{each.name}: {each.case.id}, Dice {dice(each.final, each.case.mask):.4f}")
    print(provenance(report.about))
    return panels


def typical(report: Report) -> dict[str, str]:
    """Ids of the cases with the best, median and worst Dice."""
    own = sorted((score for score in report.scores if score.method == LABEL), key=lambda score: score.dice)
    return {"best": own[-1].case, "median": own[len(own) // 2].case, "worst": own[0].case}


def panel(flip: Flip, case: Case, name: str) -> Panel:
    """Walk both stages on a case; the agents do not see its mask."""
    unseen = dataclasses.replace(case, mask=None)
    whole = flip.segmenter
    masks, scenes = [], []
    for count in range(1, len(whole.stages) + 1):
        recipe = whole.recipe if count == len(whole.stages) else dataclasses.replace(whole.recipe, votes=({},))
        part = Segmenter(whole.stages[:count], recipe, prior=whole.prior)
        walk = record(part, unseen, scorer=flip.scorer(), truth=case.mask)
        masks.append(tidy(walk.mask, opening=recipe.opening))
        scenes.append(walk.scene)
    return Panel(case, name, masks, whole.predict_many([case.image], [case.box])[0], scenes)


def draw(panels: Sequence[Panel]) -> Any:
    """One row per case: the pictures, and the curves of all stages in sequence."""
    stages = len(panels[0].masks)
    columns = ["original", *(f"stage {number}" for number in range(1, stages + 1)), "all votes", "truth", "erasing"]
    figure = new_figure(2.1 * (len(columns) + 0.6), 2.2 * len(panels))
    widths = [1.0] * (len(columns) - 1) + [1.7]
    cells = figure.subplots(len(panels), len(columns), squeeze=False, width_ratios=widths)
    for row, each in zip(cells, panels, strict=True):
        truth = np.asarray(each.case.mask)
        shown = [np.zeros_like(truth), *each.masks, each.final, truth]
        for axes, title, mask in zip(row[:-1], columns, shown, strict=False):
            axes.imshow(picture(each.case, mask), interpolation="lanczos")
            axes.set(xticks=[], yticks=[])
            score = "" if title in ("original", "truth") else f", Dice {dice(mask, truth):.3f}"
            axes.set_title(f"{title}{score}", fontsize=8)
        row[0].set_ylabel(f"{each.name}\n{each.case.id}" if each.name != each.case.id else each.name, fontsize=8)
        curves(row[-1], each)
    figure.legend(*cells[0][-1].get_legend_handles_labels(), loc="outside lower right", ncols=3, frameon=False)
    return figure


def curves(axes: Any, each: Panel) -> None:
    """Erased share, Dice and score after each joint step, stage after stage."""
    start = 0
    for number, scene in enumerate(each.scenes, 1):
        steps = np.arange(start, start + len(scene.areas))
        for values, colour, name in ((scene.areas, GREEN, "erased"), (scene.dices, ORANGE, "Dice")):
            axes.plot(steps, values, color=colour, lw=1.2, label=name if number == 1 else None)
        if np.isfinite(scene.scores).any():
            axes.plot(steps, scene.scores, color=RED, lw=1.2, label="score" if number == 1 else None)
        axes.text(steps.mean(), 1.01, f"stage {number}", ha="center", va="bottom", fontsize=7, color=INK)
        start = int(steps[-1]) + 1
        if number < len(each.scenes):
            axes.axvline(start - 0.5, color="0.7", lw=0.8)
    axes.axhline(FLIP, color="0.6", lw=0.8, ls=":")
    axes.set(xlim=(0, start), ylim=(0, 1))
    axes.tick_params(labelsize=7)
    axes.set_xlabel("joint steps", fontsize=7)


def picture(case: Case, mask: Mask) -> Any:
    """The image around the box with the mask on it, enlarged so that lines are thin."""
    around = round(VIEW * max(case.box.height, case.box.width))
    rows = slice(max(case.box.top - around, 0), case.box.bottom + around)
    columns = slice(max(case.box.left - around, 0), case.box.right + around)
    image, cut = case.image[rows, columns], mask[rows, columns]
    scale = max(1, round(400 / max(image.shape)))
    size = (image.shape[1] * scale, image.shape[0] * scale)
    large = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    box = Box(*(scale * each for each in moved(case.box, rows.start, columns.start)))
    return overlay(large, cv2.resize(cut.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0, box)


def moved(box: Box, top: int, left: int) -> Box:
    """A box in the pixels of a crop that begins at (top, left)."""
    return Box(box.top - top, box.left - left, box.bottom - top, box.right - left)


def numbers(each: Panel) -> dict[str, Any]:
    """The curves of a case as plain JSON data."""
    stages = [
        {"erased": list(map(float, scene.areas)), "dice": list(map(float, scene.dices)), "score": scores(scene)}
        for scene in each.scenes
    ]
    return {"case": each.case.id, "row": each.name, "stages": stages}


def scores(scene: Scene) -> list[float] | None:
    """Nodule scores, None for a pipeline without a classifier."""
    return list(map(float, scene.scores)) if np.isfinite(scene.scores).all() else None


if __name__ == "__main__":
    main()
