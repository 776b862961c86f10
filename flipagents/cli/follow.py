"""`flip segment --follow`: a box on one frame of a film or volume, a mask on each."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from flipagents.formats.scans import Scan
    from flipagents.segment.film_outputs import FilmOutput
    from flipagents.segment.follow import Followed

KINDS = {"nifti": "nifti", "dicom-seg": "seg"}  # --export to a kind of file


def follow_film(options: argparse.Namespace) -> int:
    """Follow the nodule through all frames; write masks, table, plot and what else was asked for."""
    from flipagents.cli.inputs import box_typed
    from flipagents.cli.segment import EXPORTS
    from flipagents.compare.methods import check_method, default_method, make_method, run_method
    from flipagents.compare.watching import watch
    from flipagents.formats.dicom_seg import check_scan
    from flipagents.machine.devices import check_device
    from flipagents.segment.film_outputs import write_film_outputs
    from flipagents.segment.follow import follow
    from flipagents.store.files import check_writable
    from flipenv.sources.extras import need

    _check(options)
    kinds = [*([] if options.only_masks else ["plot"]), *(name for name in ("gif", "mp4") if getattr(options, name))]
    kinds += [KINDS[name] for name in dict.fromkeys(options.export)]
    for name in options.export:
        need(EXPORTS[name][0], extra=EXPORTS[name][1], purpose=f"--export {name}")
    if "plot" in kinds:
        need("matplotlib", extra="agents", purpose="the plot of --follow (--only-masks leaves it out)")
    device = check_device(options.device, runtime=options.runtime)
    options.method = options.method or default_method(options.weights)
    check_method(options.method, options.runtime)
    film = open_film(options)
    if "seg" in kinds:
        check_scan(film.scans[film.start])
    _check_new(film, kinds, options.overwrite)
    check_writable(options.out)
    box = box_typed(options.box, film.frames[film.start].shape)
    method = make_method(options.method, options.weights, device, runtime=options.runtime)
    seen = watch(options.weights, device, options.runtime)
    walk = follow(
        film.frames,
        options.frame,
        box,
        lambda cases: run_method(method, cases),
        seen.seeker,
        seen.score,
        quiet=options.quiet,
    )
    steps: list[Followed] = []
    times = [time.perf_counter()]
    for step in walk:
        steps.append(step)
        times.append(time.perf_counter())
    write_film_outputs(film, steps, _origins(film, steps, options), kinds)
    if options.json:
        for step, (before, after) in zip(steps, pairwise(times), strict=True):
            _print_json(film, step, options.method, after - before)
    if not options.quiet:
        _print_summary(film, steps, options, seen.judges, seen.lacking)
    return 0


def open_film(options: argparse.Namespace) -> FilmOutput:
    """The frames of the input, and where their masks go. Raises as `flipenv.sources.read_film`."""
    from flipagents.formats.scans import Scan
    from flipagents.formats.spacing import spacing_of
    from flipagents.segment.film_outputs import FilmOutput
    from flipagents.store.files import file_names
    from flipenv.errors import ImageError
    from flipenv.sources import read_film
    from flipenv.sources.contents import check_frame
    from flipenv.sources.files import frame_name, image_name
    from flipenv.sources.films import frame_files

    path = Path(options.input).expanduser()
    frames = read_film(path, axis=options.axis)
    check_frame(path, options.frame, len(frames))
    scans: list[Scan]
    if path.is_dir():
        scans = [Scan(file) for file in frame_files(path)]
        names = file_names([image_name(scan.file.name) for scan in scans])
        name = path.absolute().name
    else:
        scans = [Scan(path, number, options.axis) for number in range(len(frames))]
        names = file_names([frame_name(image_name(path.name), number, options.axis) for number in range(len(frames))])
        name = frame_name(image_name(path.name), None, options.axis)
    spacing = {spacing_of(scan) for scan in (scans if path.is_dir() else scans[:1])}
    if len(spacing) > 1:
        raise ImageError(f"{path}: its frames differ in pixel spacing; expected those of one film")
    return FilmOutput(options.out, file_names([name])[0], frames, scans, names, options.frame, spacing.pop())


def _check(options: argparse.Namespace) -> None:
    """Raise ConfigError for options that do not go with --follow, or lack beside it."""
    from flipenv.errors import ConfigError

    if options.box is None or options.frame is None:
        raise ConfigError("--follow starts from one box on one frame: give --box X0 Y0 X1 Y1 and --frame K")
    without = {
        "--boxes": options.boxes is not None,
        "--shard": options.shard is not None,
        "--engine ray": options.engine == "ray",
        "--margin": bool(options.margin),
        "--export coco": "coco" in options.export,
    }
    given = [name for name, is_given in without.items() if is_given]
    if given:
        raise ConfigError(
            f"--follow does not go with {', '.join(given)}: leave it out; afterwards `flip segment "
            "'csv:NAME_follow.csv?kept=yes'` does with the boxes that were found what `flip segment` does with a table"
        )


def _check_new(film: FilmOutput, kinds: Sequence[str], overwrite: bool) -> None:
    """Raise ConfigError if a file that may be written exists, and may not be replaced."""
    from flipenv.errors import ConfigError

    paths = [*film.paths(kinds).values(), *map(film.mask, range(len(film.ids)))]
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        raise ConfigError(f"{there[0]} exists; choose another folder, or replace it with --overwrite")


def _origins(film: FilmOutput, steps: Sequence[Followed], options: argparse.Namespace) -> dict[int, Any]:
    """Origin of each kept mask: that of `flip segment` with the same box on the same frame."""
    from flipagents.scale.worker import Work
    from flipenv.sources.base import ListedSource
    from flipenv.sources.files import FileCase

    kept = [step for step in steps if not step.gone]

    def entry(step: Followed) -> FileCase:
        scan, name = film.scans[step.frame], film.ids[step.frame]
        return FileCase(name, str(scan.file), scan.file, step.box, frame=scan.frame, axis=scan.axis)

    source = ListedSource([entry(step) for step in kept], options.input)
    origins = Work(source, options.method, options.weights, options.device, 0, options.runtime).origins
    return {step.frame: origins.of(index, [film.mask(step.frame)], step.box) for index, step in enumerate(kept)}


def _print_json(film: FilmOutput, step: Followed, method: str, seconds: float) -> None:
    """Print one line for a frame: as `flip segment` does, with the frame and its measures, or why it is let go."""
    area, box = int(step.mask.sum()), step.box
    line: dict[str, Any] = {"id": film.ids[step.frame], "frame": step.frame}
    if step.gone:
        line["gone"] = step.gone
    else:
        line["mask"] = str(film.mask(step.frame))
    line |= {"box": [box.left, box.top, box.right, box.bottom], "method": method, "area_px": area}
    line |= {"seconds": round(seconds, 3)}
    if film.spacing_mm is not None:
        line |= {"spacing_mm": list(film.spacing_mm), "area_mm2": round(area * (film.pixel_mm2 or 0), 4)}
    line |= {"agreement": round(step.measures.agreement, 4)}
    contrast, score = step.measures.contrast, step.measures.score
    line |= {"contrast": None if math.isnan(contrast) else round(contrast, 2)}
    line |= {} if score is None else {"score": round(score, 4)}
    print(json.dumps(line, allow_nan=False), flush=True)


def _print_summary(
    film: FilmOutput, steps: Sequence[Followed], options: argparse.Namespace, judges: str, lacking: Sequence[str]
) -> None:
    """Print which frames were kept, where and why the nodule was let go, and by what that was judged."""
    to = sys.stderr if options.json else sys.stdout
    kept = [step.frame for step in steps if not step.gone]
    span = f"frames {min(kept)} to {max(kept)} of {len(film.frames)}"
    print(f"{span} followed by {options.method} into {film.folder}, judged by {judges}", file=to)
    for reason in lacking:
        print(f"  without: {reason}", file=to)
    for step in steps:
        if step.gone:
            print(f"  let go at frame {step.frame}: {step.gone}", file=to)
    to.flush()
