"""What LiteMedSAM's maps teach: the guided networks beside their teachers, with differences paired by case.

    python benchmarks/guided.py --data busi:PATH --split val

On tight boxes; on boxes moved by 0-10 and 10-20 px, found again within `--margin` px; and on the images made as small
as other people's data sets store them (128x128 px, aspect ratio not kept). `worst ten` are the ten cases of lowest Dice
of each method. U-Net learned from the masks of `train`, LiteMedSAM from 1.6 million masks, perhaps these among them.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from common import candidate, make_parser, provenance, read, run

from flipagents.compare.evaluation import FOUND
from flipagents.compare.report import Report
from flipagents.compare.tables import markdown_table
from flipagents.metrics import paired_difference
from flipagents.store.files import write_texts
from flipenv.sources import Source, largest_component, open_source, tight_box
from flipenv.types import Case

METHODS = ("contour", "flip", "flip+student", "litemedsam", "guided", "guide", "guided+guide", "unet")
OURS = ("guided", "guided+guide")  # compared with all others
ASKING = ("guide", "guided+guide")  # ask LiteMedSAM twice an image: on tight boxes alone
MOVED = {"moved 0-10 px": (0.0, 10.0), "moved 10-20 px": (10.0, 20.0)}
SIDE = 128  # px of the small images
WORST = 10
TIGHT = "tight"


def main(arguments: Sequence[str] | None = None) -> dict[str, Report]:
    """Run the script."""
    parser = make_parser(__doc__, "guided")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="rows, see common.py")
    parser.add_argument("--margin", type=int, default=30, help="px by which a moved box may be off")
    options = read(parser, arguments)
    reports: dict[str, Report] = {}
    data, quick = options.data, options.quick
    for boxes in (TIGHT, f"{SIDE}x{SIDE}", *([] if quick else MOVED)):
        margin, shift = (options.margin, MOVED[boxes]) if boxes in MOVED else (0, (0.0, 0.0))
        names = [name for name in options.methods if boxes == TIGHT or name not in ASKING]
        rows = [candidate(name, None, margin) for name in names]
        options.data = small_copies(open_source(data)) if boxes.startswith(str(SIDE)) else data
        print(f"boxes: {boxes}", flush=True)
        where = options.out / boxes.replace(" ", "-")
        reports[boxes] = run(options, rows, folder=where, shift=shift, references=())
    text = "\n".join(section(boxes, report, options.methods) for boxes, report in reports.items())
    text += f"\n{provenance(reports[TIGHT].about)}\n"
    write_texts({options.out / "table.md": text})
    print(text)
    return reports


def section(boxes: str, report: Report, methods: Sequence[str]) -> str:
    """One table: Dice of all, malignant and worst cases, and what our guided rows gain over each."""
    rows = {row.method.removeprefix(f"{FOUND} "): row for row in report.summaries if row.group == "all"}
    dice = {
        name: np.array([score.dice for score in report.scores if score.method == row.method])
        for name, row in rows.items()
    }
    ours = [own for own in OURS if own in dice]
    head = ["method", "Dice, mean ± std", "95% interval", "malignant", f"worst {WORST}"]
    head += [f"{own} minus it" for own in ours]
    lines = []
    for name in ("box", "ellipse", *methods):
        if name not in rows:
            if name in report.missing:
                lines.append([name, report.missing[name], *[""] * (len(head) - 2)])
            continue
        low, high = rows[name].dice.interval[1:]
        malignant = report.row(rows[name].method, "malignant")
        gains = [
            "" if own == name else f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
            for own in ours
            for gain in [paired_difference(dice[own], dice[name])]
        ]
        lines.append(
            [
                name,
                f"{rows[name].dice.mean:.4f} ± {rows[name].dice.std:.4f}",
                f"{low:.4f} to {high:.4f}",
                "" if malignant is None else f"{malignant.dice.mean:.4f} (n = {malignant.n})",
                f"{np.sort(dice[name])[:WORST].mean():.4f}",
                *gains,
            ]
        )
    return f"{boxes}, n = {len(dice['box'])}\n\n{markdown_table(head, lines)}"


def small_copies(source: Source) -> list[Case]:
    """The cases with images and masks of SIDE x SIDE px, and the tight box of the small mask's largest component."""
    return [_small(source.load(index)) for index in range(len(source))]


def _small(case: Case) -> Case:
    image = cv2.resize(case.image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    covered = cv2.resize(np.asarray(case.mask, np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    mask = largest_component(covered >= 0.5)
    return Case(np.asarray(image, np.uint8), tight_box(mask), id=case.id, mask=mask, meta=case.meta)


if __name__ == "__main__":
    main()
