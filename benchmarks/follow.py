"""`flip segment --follow` on phantom films: Dice over frames, and where a fading nodule is let go.

    python benchmarks/follow.py                                   # 24 films that stay, and the same 24 fading
    python benchmarks/follow.py --stills busi:PATH --split val    # and boxes that are off, on images

A film has its box on one frame, a quarter after the start. `same box` takes that box on every frame, `true box` the
tight box of each frame's true mask, which is what following could reach at most. A frame that is not followed although
the nodule is there counts with Dice 0. The nodule moves, grows or shrinks and fades as `flipenv.sources.phantom_films`
says; no film has a seed that the rule was chosen on (from 100 on).

Stills: a box is moved or resized on an image of its own, and followed on that image as if it were the next frames.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import provenance, save_figures, with_split, write_json

from flipagents.classify.figures import BLUE, GREEN, ORANGE, new_figure
from flipagents.compare.methods import Method, make_method, run_method
from flipagents.compare.tables import markdown_table
from flipagents.compare.watching import Watch, watch
from flipagents.maps.seek import Follower
from flipagents.metrics import dice
from flipagents.segment.follow import follow
from flipagents.store.files import write_texts
from flipagents.store.provenance import about, without_folders
from flipenv.episode import grow_box, shift_box
from flipenv.progress import track
from flipenv.sources import open_source, phantom_film, tight_box
from flipenv.types import Box, Case

WITHIN = 3  # frames from the first without the nodule, in which it should be let go
PASSES = 4  # frames of a still
ROWS = {"follow": "follow", "alone": "follow, without classifier", "same": "same box", "true": "true box"}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        "follow", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=int, default=24, help="of each kind")
    parser.add_argument("--frames", type=int, default=24, help="of a film")
    parser.add_argument("--first", type=int, default=0, help="seed of the first film")
    parser.add_argument("--height", type=int, default=320)
    parser.add_argument("--width", type=int, default=448)
    parser.add_argument("--method", default="contour")
    parser.add_argument("--stills", metavar="SOURCE", help="images with boxes, such as busi:PATH")
    parser.add_argument("--split", help="of --stills, such as val")
    parser.add_argument("--weights", help="folder of `flip train`, default: as shipped")
    parser.add_argument("--quick", action="store_true", help="smoke test: one small short film of each kind")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/follow"))
    options = parser.parse_args(arguments)
    if options.quick:
        options.films, options.frames, options.height, options.width = 1, 8, 112, 152
        options.stills, options.split = "phantom:2?height=112&width=152", None
    method, seen = make_method(options.method, options.weights), watch(options.weights)
    films = [
        film_row(options, seed, fade, method, seen)
        for seed, fade in track(
            [(seed, fade) for fade in (False, True) for seed in range(options.first, options.first + options.films)],
            "films",
            2 * options.films,
        )
    ]
    source = options.stills and (with_split(options.stills, options.split) if options.split else options.stills)
    stills = still_rows(source, seen) if source else []
    seeds = f"{options.first} to {options.first + options.films - 1}"
    facts = {"source": "phantom films", "seeds": seeds, **about(Path(__file__))}
    text = [f"{options.frames} frames of {options.height}x{options.width} px, method {options.method}, judged by "]
    text = [f"{text[0]}{seen.judges}.\n", *film_lines(films), *still_lines(stills, source), provenance(facts)]
    write_texts({options.out / "table.md": "\n".join(text) + "\n"})
    found = {"films": films, "stills": stills, "about": facts}
    write_json(options.out / "films.json", found)
    save_figures(options.out, {"follow.png": figure(films)})
    print(*text, sep="\n")
    return found


def film_row(options: argparse.Namespace, seed: int, fade: bool, method: Method, seen: Watch) -> dict[str, Any]:
    """Dice of each frame that shows the nodule, by row of the table, and the frames at which it was let go."""
    film = phantom_film(seed, options.frames, options.height, options.width, fade=fade)
    start = options.frames // 4
    there = [frame for frame in range(options.frames) if film.masks[frame].any()]
    box = tight_box(film.masks[start])

    def made(boxes: Callable[[int], Box]) -> list[float]:
        cases = [Case(film.frames[frame], boxes(frame)) for frame in there]
        masks = run_method(method, cases)
        return [float(dice(mask, film.masks[frame])) for frame, mask in zip(there, masks, strict=True)]

    row: dict[str, Any] = {"seed": seed, "gone": film.gone, "start": start, "let_go": {}}
    for name, score in (("follow", seen.score), ("alone", None)):
        walk = follow(film.frames, start, box, lambda cases: run_method(method, cases), seen.seeker, score)
        steps = {step.frame: step for step in walk}
        kept = {frame: step.mask for frame, step in steps.items() if not step.gone}
        row[name] = [float(dice(kept[frame], film.masks[frame])) if frame in kept else 0.0 for frame in there]
        row["let_go"][name] = [frame for frame, step in steps.items() if step.gone]
    row["same"] = made(lambda _: box)
    row["true"] = made(lambda frame: tight_box(film.masks[frame]))
    return row


def film_lines(films: Sequence[Mapping[str, Any]]) -> list[str]:
    """Dice of the films that stay, and letting go."""
    stay, fade = ([row for row in films if (row["gone"] is None) == is_staying] for is_staying in (True, False))
    head = ["boxes", "Dice, mean", "median film", "worst film", "films above 0.93"]
    table = []
    for name, label in ROWS.items():
        means = [statistics.mean(row[name]) for row in stay]
        above = sum(mean >= 0.93 for mean in means)
        numbers = (statistics.mean(means), statistics.median(means), min(means))
        table.append([label, *(f"{number:.3f}" for number in numbers), f"{above} of {len(means)}"])
    lines = [f"{len(stay)} films whose nodule stays:\n", markdown_table(head, table)]
    head = ["judged", f"let go within {WITHIN} frames", "earlier", "later", "never", "films that stay, let go"]
    table = []
    for name in ("follow", "alone"):
        late = [_lateness(row, name) for row in fade]
        within = sum(each is not None and abs(each) <= WITHIN for each in late)
        early = sum(each is not None and each < -WITHIN for each in late)
        after = sum(each is not None and each > WITHIN for each in late)
        wrong = sum(bool(row["let_go"][name]) for row in stay)
        counts = [
            f"{within} of {len(late)}",
            early,
            after,
            sum(each is None for each in late),
            f"{wrong} of {len(stay)}",
        ]
        table.append(["with classifier" if name == "follow" else "without", *map(str, counts)])
    return [*lines, f"{len(fade)} films whose nodule fades:\n", markdown_table(head, table)]


def _lateness(row: Mapping[str, Any], name: str) -> int | None:
    """Frames from the first without the nodule to letting go; None if never let go.

    A film that is let go on the way backwards, where the nodule is, counts as let go at its start.
    """
    let_go = row["let_go"][name]
    if any(frame < row["start"] for frame in let_go):
        return -int(row["gone"])
    return max(let_go) - int(row["gone"]) if let_go else None


def still_rows(text: str, seen: Watch) -> list[dict[str, Any]]:
    """Overlap of a box that is off with the right one, after each pass: 0 to PASSES."""
    source = open_source(text)
    cases = [source.load(index) for index in range(len(source))]
    off: dict[str, Callable[[Case], Box]] = {
        "10 px too large": lambda case: grow_box(case.box, 10, case.image.shape),
        "5 px too small": lambda case: _smaller(case.box, 5),
        "8 px too low and right": lambda case: shift_box(case.box, 8, 8, case.image.shape),
        "right": lambda case: case.box,
    }
    rows = []
    for name, change in off.items():
        overlaps = []
        for case in cases:
            follower, box = Follower(seen.seeker, case.image, case.box), change(case)
            passes = [box]
            for _ in range(PASSES):
                passes.append(follower.box(case.image, passes[-1]))
            overlaps.append([overlap(each, case.box) for each in passes])
        rows.append({"box": name, "overlap": np.mean(overlaps, axis=0).tolist(), "images": len(cases)})
    return rows


def _smaller(box: Box, margin: int) -> Box:
    """The box without a margin on each side, at most a quarter of it."""
    down, right = min(margin, box.height // 4), min(margin, box.width // 4)
    return Box(box.top + down, box.left + right, box.bottom - down, box.right - right)


def overlap(one: Box, two: Box) -> float:
    """Intersection over union of two boxes."""
    rows = min(one.bottom, two.bottom) - max(one.top, two.top)
    columns = min(one.right, two.right) - max(one.left, two.left)
    shared = max(rows, 0) * max(columns, 0)
    return shared / (one.height * one.width + two.height * two.width - shared)


def still_lines(rows: Sequence[Mapping[str, Any]], source: str | None) -> list[str]:
    if not rows:
        return []
    head = ["box at first", "overlap with the right box", *(f"after {count + 1}" for count in range(PASSES))]
    table = [[row["box"], *(f"{value:.3f}" for value in row["overlap"])] for row in rows]
    return [
        f"Boxes that are off, {rows[0]['images']} images of {without_folders(str(source))}:\n",
        markdown_table(head, table),
    ]


def figure(films: Sequence[Mapping[str, Any]]) -> Any:
    """Mean Dice against the frame's distance from the box's, for films that stay."""
    drawn = new_figure(6.4, 3.6)
    axes = drawn.subplots()
    stay = [row for row in films if row["gone"] is None]
    for name, colour in (("true", GREEN), ("follow", BLUE), ("same", ORANGE)):
        values = np.array([row[name] for row in stay])
        axes.plot(values.mean(axis=0), color=colour, label=ROWS[name])
        axes.fill_between(range(values.shape[1]), *np.percentile(values, (10, 90), axis=0), color=colour, alpha=0.15)
    axes.axvline(values.shape[1] // 4, color="0.3", lw=1, ls=":")
    axes.set(xlabel="frame (dotted: the one with the box)", ylabel="Dice: mean, 10-90% of films", ylim=(0, 1))
    axes.grid(color="0.93")
    axes.legend(frameon=False, loc="lower left")
    return drawn


if __name__ == "__main__":
    main()
