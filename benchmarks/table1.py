"""Table 1 of the paper: methods on tight boxes, with rows that the paper leaves out.

    python benchmarks/table1.py --data busi:PATH --split val
    python benchmarks/table1.py --data busi:PATH --split val --paper-weights runs/paper --methods-from mine.py

Rows that cannot run are listed with the reason. `contour` is the prior that rewards the agents, used alone.
`flip-paper` is a pipeline trained with the paper's rewards, given as --paper-weights: the published row is the shipped
`busi-paper`, row √ √ √ of Table 2 with theta from the boxes. To add your own method, see benchmarks/README.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from common import beside_paper, candidate, make_parser, read, run, write
from paper import TABLE_1

from flipagents.compare.evaluation import Candidate
from flipagents.compare.plots import dice_figure
from flipagents.compare.report import Report

OURS = ("flip", "flip+student")
METHODS = (
    *("box", "ellipse", "otsu", "grabcut", "grabcut-fair", "saliency", "saliency-fine", "sp-rg"),
    *("gradcam", "gradcam++", "adversarial-erasing", "sdi", "box-unet", "polar", "polar+grey", "contour"),
    *OURS,
    *("guided", "litemedsam", "unet", "oracle"),
)
PIPELINE = ("contour", *OURS)  # weights from `--weights`
TRAINED = ("adversarial-erasing", "sdi", "box-unet", "unet")  # weights from `--baselines`
PRINTED = {  # our row -> the paper's
    "unet": "U-net",
    "grabcut": "GrabCut",
    "saliency": "Saliency",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "sp-rg": "SP-RG",
    "flip": "Ours",
    "flip-paper": "Ours",
}
NOTES = (
    "The paper's numbers are of its own images, ours of other patients. Empty masks have no distance and are left out "
    "of HD and ASD: see the share of empty masks below. `unet` learned from full masks; `oracle` erases superpixels by "
    "the true mask: both are bounds, not competitors. `litemedsam` learned from over a million masks; its maps "
    "of the training images, beside the boxes, taught `guided`.",
)


def main(arguments: Sequence[str] | None = None) -> Report:
    """Run the script."""
    parser = make_parser(__doc__, "table1")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="registered names, or onnx:FILE")
    parser.add_argument("--paper-weights", help="pipeline trained with the paper's rewards; may contain {seed}")
    parser.add_argument("--baselines", help="folder of trained baselines, default: as shipped; may contain {seed}")
    options = read(parser, arguments)
    rows = [
        candidate(name, options.baselines if name in TRAINED else options.weights if name in PIPELINE else None)
        for name in (*options.methods, *options.registered)
    ]
    if options.paper_weights:
        rows.append(Candidate("flip", "flip-paper", options.paper_weights))
    report = run(options, rows)
    if not options.paper_weights:
        why = "give --paper-weights FOLDER, a pipeline trained with the paper's rewards, such as a row of table2.py"
        report = dataclasses.replace(report, missing={**report.missing, "flip-paper": why})
    names = list(dict.fromkeys([*(row.name for row in rows), "flip-paper"]))
    table = [(name, report.row(name), TABLE_1.get(PRINTED.get(name, ""))) for name in names]
    figures = {"dice.png": dice_figure(report)}
    print(write(options.out, report, "Methods (Table 1)", beside_paper(table), NOTES, figures))
    return report


if __name__ == "__main__":
    main()
