"""`flip segment`: images and boxes in, masks out."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from flipagents.formats.quality_csv import Quality
    from flipagents.scale.worker import Outcome, Paths, Work
    from flipenv.sources import Source

COCO = "coco.json"
EXPORTS = {"coco": ("pycocotools.mask", "coco"), "nifti": ("nibabel", "medical"), "dicom-seg": ("highdicom", "seg")}


def segment(options: argparse.Namespace) -> int:
    """Write the mask and an overlay of every case; by the agents also the erase curve, and a film if asked for."""
    from flipagents.cli.inputs import open_input, read_points
    from flipagents.compare.methods import check_method
    from flipagents.formats.dicom_seg import check_scan
    from flipagents.formats.scans import scan_of
    from flipagents.machine.devices import check_device
    from flipagents.scale.qualities import check_table, write_table
    from flipagents.scale.worker import Work, pending, shard_of
    from flipagents.segment.outputs import output_paths
    from flipagents.store.files import check_writable, file_names
    from flipenv.errors import ConfigError
    from flipenv.sources.extras import need

    film = "--gif" if options.gif else "--mp4" if options.mp4 else None
    options.method = _method(options, film)
    agents = options.method.partition(":")[0] == "flip"
    if options.overwrite and options.engine == "ray":
        raise ConfigError("--engine ray tracks progress by output files: omit --overwrite and give a new folder")
    for name in options.export:  # before a million images are segmented
        need(EXPORTS[name][0], extra=EXPORTS[name][1], purpose=f"--export {name}")
    device = check_device(options.device, runtime=options.runtime)
    check_method(options.method, options.runtime)
    source = open_input(options.input, options.box, options.frame, options.boxes, options.axis)
    if "coco" in options.export and options.shard is not None:
        raise ConfigError("--export coco covers all images: omit it here, and run once without --shard at the end")
    if "dicom-seg" in options.export and options.box is not None:
        check_scan(scan_of(source, 0))
    kinds = {"pictures": not options.only_masks, "curve": agents, "gif": options.gif, "mp4": options.mp4}
    kinds |= {"nifti": "nifti" in options.export, "seg": "dicom-seg" in options.export}
    kinds["corrections"] = bool(options.points)
    names = file_names(source.ids)
    paths: Paths = {i: output_paths(options.out, name, **kinds) for i, name in enumerate(names)}
    if options.shard is not None:
        paths = shard_of(paths, options.shard)
    rating = {"quality": options.quality, "check_boxes": options.check_boxes}
    points = read_points(options.points, options.box)
    work = Work(source, options.method, options.weights, device, options.margin, options.runtime, points, **rating)
    changed = dict.fromkeys(paths, "") if options.overwrite else pending(work, paths)
    check_writable(options.out)
    check_table(options.out, options.overwrite)
    if "coco" in options.export:
        _check_coco(options.out / COCO, options.overwrite)
    outcomes = _segment_all(work, {index: paths[index] for index in changed}, options) if changed else []
    failed = {outcome.index: outcome.error for outcome in outcomes if outcome.error}
    for index in sorted(set(paths) - set(changed)) if options.json else ():
        _print_json(source.ids[index], paths[index][0], {"there_already": True})
    if "coco" in options.export:
        _write_coco(options.out / COCO, source, {index: files[0] for index, files in paths.items()}, failed)
    rows = write_table(options.out) if options.out.is_dir() else []
    if not options.quiet:
        _print_summary(options, len(paths), changed, len(failed), rows)
    for index, reason in failed.items():
        print(f"  {source.ids[index]}: {' '.join(reason.split())}", file=sys.stderr)
    return 1 if failed else 0


def _print_summary(
    options: argparse.Namespace, cases: int, changed: Mapping[int, str], failed: int, rows: Sequence[Quality]
) -> None:
    """Print counts of new, redone, existing, doubtful and failed masks; to stderr if JSON lines go to stdout."""
    from flipagents.segment.quality import UNSURE

    again = Counter(change for change in changed.values() if change)
    parts = [f"{len(changed) - failed} segmented by {options.method} into {options.out}"]
    parts += [f"{sum(again.values())} of them again (other {', other '.join(again)})"] if again else []
    parts += [f"{cases - len(changed)} already done (--overwrite replaces them)"] if len(changed) < cases else []
    marked = [row for row in rows if row.is_marked]
    low = sum(row.quality is not None and row.quality < UNSURE for row in marked)
    if marked:
        parts.append(
            f"{len(marked)} of {len(rows)} masks to look at ({low} with a predicted Dice below {UNSURE}): "
            f"flip review {options.out}"
        )
    parts += [f"{failed} failed:"] if failed else []
    print(", ".join(parts), file=sys.stderr if options.json else sys.stdout, flush=True)


def _method(options: argparse.Namespace, film: str | None) -> str:
    """The method to use; film: the option that asks for a film, which only the agents can give."""
    from flipagents.compare.methods import GUIDE, default_method
    from flipenv.errors import ConfigError

    if options.guide:
        other = "--method" if options.method is not None else film
        if other is not None:
            raise ConfigError(f"--guide averages LiteMedSAM into the prior, method {GUIDE!r}: omit {other}, or --guide")
        return GUIDE
    method = options.method or ("flip" if film is not None else default_method(options.weights))
    if film is not None and method.partition(":")[0] != "flip":
        raise ConfigError(f"{film} shows the agents' walk; method {method!r} has no agents: omit {film}, or --method")
    return str(method)


def _segment_all(work: Work, paths: Paths, options: argparse.Namespace) -> list[Outcome]:
    """Segment and write these cases; return their outcomes."""
    from flipagents.scale.worker import Worker
    from flipenv.errors import FlipError
    from flipenv.progress import show_progress

    if options.engine == "ray":
        from flipagents.scale import ray as ray_engine

        results = ray_engine.run(work, paths, workers=options.workers)
    else:
        results = Worker(work).run(paths)
    outcomes: list[Outcome] = []
    with show_progress("segmenting", len(paths), quiet=options.quiet, brief=True) as shown:
        for outcome in results:
            if options.box is not None and outcome.error:
                raise FlipError(outcome.error)
            outcomes.append(outcome)
            if options.json:
                details = {"error": outcome.error} if outcome.error else outcome.details
                _print_json(work.source.ids[outcome.index], paths[outcome.index][0], details)
            shown.advance(1)
    return outcomes


def _print_json(case_id: str, mask: Path, details: Mapping[str, Any]) -> None:
    """Print one line for a case: its mask's origin and details, or its error."""
    from flipagents.scale.qualities import read_row, row_details
    from flipagents.segment.origin import read_origin

    line: dict[str, Any] = {"id": case_id}
    origin = None if "error" in details else read_origin(mask)
    if origin is not None:
        line |= {"mask": str(mask), "box": list(origin.box), "method": origin.method}
        row = read_row(mask) if "there_already" in details else None
        line |= {} if row is None else row_details(row)
    print(json.dumps({**line, **details}, allow_nan=False), flush=True)


def _check_coco(path: Path, is_replaced: bool) -> None:
    """Raise ConfigError if a COCO file exists that was not written by `_write_coco`."""
    from flipagents.formats.coco import is_ours
    from flipenv.errors import ConfigError

    if path.exists() and not is_replaced and not is_ours(path):
        raise ConfigError(
            f"{path} exists and holds other annotations; choose another folder, or replace it with --overwrite"
        )


def _write_coco(path: Path, source: Source, masks: dict[int, Path], failed: Collection[int]) -> None:
    """Write the masks of a source, by case index and without the failed, and those of earlier runs into a COCO file."""
    from flipagents.formats.coco import Labelled, coco_json, ids_of
    from flipagents.formats.scans import path_from, scan_of
    from flipagents.scale.qualities import read_row, row_details
    from flipagents.segment.origin import read_origin
    from flipagents.store.files import write_texts
    from flipenv.sources import CocoSource, read_image
    from flipenv.types import Box

    others = sorted(set(path.parent.glob("*_mask.png")) - set(masks.values()))

    def labelled() -> Iterator[Labelled]:
        for index, mask in masks.items():
            if index in failed:
                continue
            origin, scan = read_origin(mask), scan_of(source, index)
            assert origin is not None, "masks without an origin are refused before"
            file = f"{source.ids[index]}.png" if scan is None else path_from(path.parent, scan.file)
            ids = ids_of(source, index)
            yield Labelled(file, Box.from_xyxy(*origin.box), read_image(mask) > 0, origin.frame, ids, *rated(mask))
        for mask in others:
            origin = read_origin(mask)
            if origin is not None:
                file = origin.image or mask.name.removesuffix("_mask.png") + ".png"
                yield Labelled(file, Box.from_xyxy(*origin.box), read_image(mask) > 0, origin.frame, None, *rated(mask))

    def rated(mask: Path) -> tuple[float | None, dict[str, Any]]:
        row = read_row(mask)
        return (None, {}) if row is None else (row.quality, {"method": row.method, **row_details(row)})

    categories = source.categories if isinstance(source, CocoSource) else None
    write_texts({path: coco_json(labelled(), categories)})
