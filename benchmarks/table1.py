"""Table 1 of the paper: methods side by side on tight boxes, with the rows that the paper leaves out.

    python benchmarks/table1.py --data busi:PATH --split val
    python benchmarks/table1.py --data busi:PATH --split val --paper-weights runs/paper --methods-from mine.py

What cannot run is listed with the reason. `contour` is the prior that pays the agents, without them. `flip-paper` is
a pipeline trained with the paper's rewards, given as --paper-weights: the published row is √ √ √ of Table 2, which
`table2.py` trains with small networks for one epoch per stage. A method of your own: see benchmarks/README.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from common import beside_paper, parser, read, run, write
from paper import TABLE_1

from flipagents.compare.evaluation import Candidate
from flipagents.compare.plots import dice_figure
from flipagents.compare.report import Report

OURS = ("flip", "flip+student")
METHODS = (
    *("box", "ellipse", "otsu", "grabcut", "grabcut-fair", "saliency", "saliency-fine", "sp-rg"),
    *("gradcam", "gradcam++", "adversarial-erasing", "sdi", "box-unet", "polar", "polar+grey", "contour"),
    *OURS,
    *("litemedsam", "unet", "oracle"),
)
PIPELINE = ("contour", *OURS)  # whose weights come from `--weights`
TRAINED = ("adversarial-erasing", "sdi", "box-unet", "unet")  # whose weights come from `--baselines`
PRINTED = {  # our row to the paper's
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
    "the true mask: both are bounds, not competitors. `litemedsam` learned from over a million masks.",
)


def main(arguments: Sequence[str] | None = None) -> Report:
    """Run the script."""
    options = parser(__doc__, "table1")
    options.add_argument("--methods", nargs="+", default=METHODS, help="registered names; also onnx:FILE")
    options.add_argument("--paper-weights", help="pipeline trained with the paper's rewards; may hold {seed}")
    options.add_argument("--baselines", help="folder of the trained baselines, else what ships; may hold {seed}")
    found = read(options, arguments)
    rows = [
        Candidate(name, weights=found.baselines if name in TRAINED else found.weights if name in PIPELINE else None)
        for name in (*found.methods, *found.registered)
    ]
    if found.paper_weights:
        rows.append(Candidate("flip", "flip-paper", found.paper_weights))
    report = run(found, rows)
    if not found.paper_weights:
        why = "give --paper-weights FOLDER, a pipeline trained with the paper's rewards, such as a row of table2.py"
        report = dataclasses.replace(report, missing={**report.missing, "flip-paper": why})
    names = list(dict.fromkeys([*(row.name for row in rows), "flip-paper"]))
    table = [(name, report.row(name), TABLE_1.get(PRINTED.get(name, ""))) for name in names]
    print(write(found.out, report, "Methods (Table 1)", beside_paper(table), NOTES, {"dice.png": dice_figure(report)}))
    return report


if __name__ == "__main__":
    main()
