"""What a click is worth: Dice against clicks, for our mend and three simpler ways.

    python benchmarks/clicks.py --data busi:PATH --split val

Each case starts from the mask of --method. A simulated person sees the true mask and clicks the deepest pixel of the
largest connected error, on the side of the nodule ("erase") or not ("pass"), up to 20 times. The ways:

- mend: `flipagents.segment.mend`, as shipped; off: the same person clicks any pixel of the largest error that is at
  least half as deep as the deepest, because people miss the middle;
- disc: each click paints a disc of a fixed radius, 0.08 of the box's size (square root of its area);
- superpixel: each click changes the environment's superpixel under it alone (mend with reach 0);
- grabcut: OpenCV's GrabCut. All clicks so far are sure discs of the same radius, the mask so far is probable nodule,
  and sure farther than 0.03 of the box's size inside its outline; the rest of the box is probable background, and what
  is outside it sure background.

All constants were chosen on BUSI's val. Groups: all cases, and the ten whose Dice before the first click is lowest.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from common import make_parser, provenance, read, save_figures
from numpy.typing import NDArray

from flipagents.classify.figures import BLUE, GREEN, INK, ORANGE, RED, new_figure
from flipagents.compare.baselines.grabcut import cut
from flipagents.compare.baselines.smooth import box_size
from flipagents.compare.methods import make_method, run_method
from flipagents.compare.tables import markdown_table
from flipagents.maps.tidy import tidy
from flipagents.metrics import bootstrap, dice
from flipagents.segment.corrections import ACTIONS
from flipagents.segment.mend import Mender
from flipagents.store.files import write_texts
from flipagents.store.provenance import about, without_folders
from flipenv.episode import grow_box
from flipenv.pixels import Mask
from flipenv.sources import open_source
from flipenv.types import Case

COUNTS = (0, 1, 2, 3, 5, 10)  # clicks after which Dice is in the table
MOST = 20  # clicks
GOAL = 0.95  # Dice
WORST = 10  # cases
DISC = 0.08  # radius, share of the box's size
DEEP = 0.03  # GrabCut: distance from the outline from which the nodule is sure, share of the box's size
RIM = 0.4  # GrabCut: surroundings of the box that it sees, share of the box's size
ITERATIONS = 2  # of GrabCut, per click

Tool: TypeAlias = Callable[[int, int, bool], Mask]  # row, column, whether it is nodule -> the mask after that click
Person: TypeAlias = Callable[[Mask, Mask], tuple[int, int] | None]  # mask, truth -> where to click; None: all is right


def mend(case: Case, mask: Mask, reach: float | None = None, coarser: float = 1.0) -> Tool:
    """Our mend; coarser: factor on its superpixels' area."""
    mender = Mender(case.image, case.box, mask)
    mender.reach = mender.reach if reach is None else reach
    mender.cell_area = float(np.clip(mender.cell_area * coarser, *mender.cell_areas))

    def click(row: int, column: int, nodule: bool) -> Mask:
        mender.click(row, column, ACTIONS[nodule])
        return mender.mask

    return click


def superpixel(case: Case, mask: Mask) -> Tool:
    """One of the environment's fine superpixels a click, which are four times those of `mend`."""
    return mend(case, mask, reach=0.0, coarser=4.0)


def disc(case: Case, mask: Mask) -> Tool:
    """A brush."""
    now = mask.copy()

    def click(row: int, column: int, nodule: bool) -> Mask:
        now[disc_at(case, row, column)] = nodule
        return now.copy()

    return click


def disc_at(case: Case, row: int, column: int) -> Mask:
    """The disc of a click, (height, width)."""
    rows, columns = np.ogrid[: case.image.shape[0], : case.image.shape[1]]
    found: Mask = np.hypot(rows - row, columns - column) <= DISC * box_size(case.box)
    return found


def grabcut(case: Case, mask: Mask) -> Tool:
    """GrabCut with the clicks as scribbles, from the mask after the click before."""
    size = box_size(case.box)
    around = grow_box(case.box, max(round(RIM * size), 1), case.image.shape)
    part = np.s_[around.rows, around.columns]
    scribbles = np.full(mask.shape, -1)
    now = mask

    def click(row: int, column: int, nodule: bool) -> Mask:
        nonlocal now
        scribbles[disc_at(case, row, column)] = nodule
        labels = np.full(mask.shape, cv2.GC_BGD, np.uint8)
        labels[case.box.rows, case.box.columns] = cv2.GC_PR_BGD
        labels[now] = cv2.GC_PR_FGD
        depth = cv2.distanceTransform(np.pad(now, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        labels[depth > DEEP * size] = cv2.GC_FGD
        labels[scribbles == 0], labels[scribbles == 1] = cv2.GC_BGD, cv2.GC_FGD
        found = np.zeros_like(mask)
        found[part] = cut(case.image[part], labels[part], ITERATIONS)
        now = np.where(scribbles >= 0, scribbles == 1, tidy(found))
        return now

    return click


def middle(mask: Mask, truth: Mask) -> tuple[int, int] | None:
    """The deepest pixel of the largest error."""
    depth = largest_error(mask, truth)
    if depth is None:
        return None
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(row), int(column)


def off_middle(seed: Sequence[int]) -> Person:
    """A person who clicks any pixel at least half as deep."""
    generator = np.random.default_rng(seed)

    def person(mask: Mask, truth: Mask) -> tuple[int, int] | None:
        depth = largest_error(mask, truth)
        if depth is None:
            return None
        row, column = generator.choice(np.argwhere(depth >= depth.max() / 2))
        return int(row), int(column)

    return person


def largest_error(mask: Mask, truth: Mask) -> NDArray[np.float32] | None:
    """Depth in px of each pixel in the largest connected error, 0 elsewhere; None without an error."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((mask != truth).astype(np.uint8), connectivity=4)
    if count == 1:
        return None
    largest = pieces == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    depth = cv2.distanceTransform(np.pad(largest, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(depth[1:-1, 1:-1], np.float32)


@dataclass(frozen=True)
class Way:
    """A row of the table."""

    tool: Callable[[Case, Mask], Tool]
    is_exact: bool = True  # whether the person clicks the middle


WAYS = {
    "mend": Way(mend),
    "mend, off": Way(mend, is_exact=False),
    "disc": Way(disc),
    "superpixel": Way(superpixel),
    "grabcut": Way(grabcut),
}
COLOURS = dict(zip(WAYS, (BLUE, INK, ORANGE, GREEN, RED), strict=True))


@dataclass(frozen=True, eq=False)
class Course:
    """All cases corrected in one way."""

    dice: NDArray[np.float64]  # (cases, MOST + 1)
    ms: float  # per click, without the person

    def to_goal(self) -> NDArray[np.float64]:
        """Clicks of each case until Dice is GOAL, inf if MOST are too few."""
        reached = self.dice >= GOAL
        return np.where(reached.any(axis=1), reached.argmax(axis=1), np.inf)


def run(way: Way, cases: Sequence[Case], masks: Sequence[Mask], seed: int) -> Course:
    """Correct each case by MOST clicks, or until nothing is wrong."""
    courses, seconds, clicks = [], 0.0, 0
    for index, (case, start) in enumerate(zip(cases, masks, strict=True)):
        truth = np.asarray(case.mask)
        person = middle if way.is_exact else off_middle([seed, index])
        tool, mask, course = way.tool(case, start), start, [dice(start, truth)]
        for _ in range(MOST):
            place = person(mask, truth)
            if place is not None:
                started = time.perf_counter()
                mask = tool(*place, bool(truth[place]))
                seconds, clicks = seconds + time.perf_counter() - started, clicks + 1
            course.append(dice(mask, truth))
        courses.append(course)
    return Course(np.array(courses), 1e3 * seconds / max(clicks, 1))


def main(arguments: Sequence[str] | None = None) -> dict[str, Course]:
    """Run the script."""
    parser = make_parser(__doc__, "clicks")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--method", default="contour", help="method of the first masks (default: contour)")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), help="rows of the table")
    options = read(parser, arguments)
    source = open_source(options.data)
    cases = [source.load(index) for index in range(len(source))]
    method = make_method(options.method, None if options.weights is None else Path(options.weights), options.device)
    masks = run_method(method, cases)
    found = {}
    for name in options.ways:
        found[name] = run(WAYS[name], cases, masks, options.seeds[0])
        print(f"{name}: {' '.join(f'{found[name].dice[:, count].mean():.4f}' for count in COUNTS)}", flush=True)
    worst = np.argsort(next(iter(found.values())).dice[:, 0], kind="stable")[:WORST]
    groups = {f"all {len(cases)} cases": np.arange(len(cases)), f"the {len(worst)} worst before": worst}
    facts = {**about(Path(__file__)), "source": without_folders(options.data), "seeds": options.seeds[:1]}
    text = table(found, groups, without_folders(options.method), options.draws) + f"{provenance(facts)}\n"
    write_texts({options.out / "table.md": text, options.out / "cases.csv": lines(found, cases)})
    save_figures(options.out, {"dice.png": figure(found, groups, options.draws)})
    print(text)
    return found


def table(found: Mapping[str, Course], groups: Mapping[str, NDArray[np.intp]], method: str, draws: int) -> str:
    """A Markdown table for each group of cases."""
    head = [
        "way",
        *(f"after {count}" for count in COUNTS),
        "after 3, 95%",
        f"clicks to {GOAL}",
        f"within {MOST}",
        "ms a click",
    ]
    text = f"Clicks that mend the masks of `{method}`: Dice, %, mean ± std\n\n"
    for group, which in groups.items():
        rows = []
        for name, course in found.items():
            own, needed = 100 * course.dice[which], course.to_goal()[which]
            apart = bootstrap(own[:, 3], draws=draws)
            median = float(np.quantile(needed, 0.5, method="higher"))
            rows.append(
                [
                    name,
                    *(f"{own[:, count].mean():.2f} ± {own[:, count].std(ddof=1):.2f}" for count in COUNTS),
                    f"{apart.low:.2f} to {apart.high:.2f}",
                    f"{median:.0f}" if np.isfinite(median) else f"> {MOST}",
                    f"{np.isfinite(needed).mean():.0%}",
                    f"{course.ms:.1f}",
                ]
            )
        text += f"{group}:\n\n{markdown_table(head, rows)}\n"
    return text


def lines(found: Mapping[str, Course], cases: Sequence[Case]) -> str:
    """One CSV line per way and case: Dice after 0 to MOST clicks."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["way", "case", *range(MOST + 1)])
    for name, course in found.items():
        for case, row in zip(cases, course.dice, strict=True):
            writer.writerow([name, case.id, *(f"{value:.5f}" for value in row)])
    return file.getvalue()


def figure(found: Mapping[str, Course], groups: Mapping[str, NDArray[np.intp]], draws: int) -> Any:
    """Mean Dice against clicks with its 95% interval, one panel per group."""
    drawn = new_figure(9.0, 4.0)
    panels = drawn.subplots(1, len(groups), sharey=True)
    for axes, (group, which) in zip(panels, groups.items(), strict=True):
        for name, course in found.items():
            means = [bootstrap(course.dice[which, count], draws=min(draws, 1000)) for count in range(MOST + 1)]
            axes.plot([each.mean for each in means], color=COLOURS[name], label=name, marker="o", ms=3, lw=1.2)
            low, high = [each.low for each in means], [each.high for each in means]
            axes.fill_between(range(MOST + 1), low, high, color=COLOURS[name], alpha=0.12, lw=0)
        axes.axhline(GOAL, color="0.6", lw=0.8, ls=":")
        axes.set(xlabel="clicks", title=group, xlim=(0, MOST), xticks=range(0, MOST + 1, 5))
        axes.grid(axis="y", color="0.93")
    panels[0].set_ylabel("Dice, mean and 95% interval")
    panels[-1].legend(frameon=False, fontsize=8, loc="lower right")
    return drawn


if __name__ == "__main__":
    main()
