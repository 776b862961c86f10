"""What each command of `flip` does: from its options to its exit code. `flipagents.cli` reads the options."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from flipagents.bulk import Paths, Work
    from flipenv.sources import Source
    from flipenv.types import Case

LOCAL = ("127.0.0.1", "localhost", "::1")  # hosts that this machine alone reaches
EXPORTS = {"coco": ("pycocotools.mask", "coco"), "nifti": ("nibabel", "medical"), "dicom-seg": ("highdicom", "seg")}
DEMO = "phantom:{}?first=1000000"  # seeds that nobody trains on


def segment(options: argparse.Namespace) -> int:
    """Write mask, overlay, erase curve and film of every case of the input."""
    from flipagents.bulk import Work, share_of, unfinished
    from flipagents.outputs import file_names, output_paths
    from flipenv.errors import ConfigError
    from flipenv.sources.extras import need

    agents = options.method.partition(":")[0] == "flip"
    if options.gif and not agents:
        raise ConfigError(f"--gif shows agents at work; method {options.method!r} has none: leave it out")
    if options.overwrite and options.engine == "ray":
        raise ConfigError("--engine ray knows by its files what is done: leave --overwrite out, and give a new folder")
    for name in options.export:  # before a million images are segmented
        need(EXPORTS[name][0], extra=EXPORTS[name][1], purpose=f"--export {name}")
    if options.runtime is not None:
        from flipagents.segment import pipeline_folder

        options.weights = pipeline_folder(options.weights, options.runtime)
    source = _input(options.input, options.box, options.frame)
    if "coco" in options.export and options.shard is not None:
        raise ConfigError("--export coco tells of all images: leave it out, and run once without --shard in the end")
    kinds = {"pictures": not options.only_masks, "curve": agents, "gif": options.gif}
    kinds |= {"nifti": "nifti" in options.export, "seg": "dicom-seg" in options.export}
    names = file_names(source.ids)
    paths: Paths = {i: output_paths(options.out, name, **kinds) for i, name in enumerate(names)}
    if options.shard is not None:
        paths = share_of(paths, options.shard)
    waiting = paths if options.overwrite else unfinished(paths)
    skipped = len(paths) - len(waiting)
    work = Work(source, options.method, options.weights, options.device, options.margin, options.gif)
    failed = _segment_all(work, waiting, options) if waiting else []
    if "coco" in options.export:
        lost = {index for index, _ in failed}
        _write_coco(options.out, source, {index: files[0] for index, files in paths.items() if index not in lost})
    print(f"{len(waiting) - len(failed)} segmented into {options.out}", end="")
    print(f", {skipped} there already (--overwrite does them again)" if skipped else "", end="")
    print(f", {len(failed)} failed:" if failed else "", flush=True)
    for index, reason in failed:
        print(f"  {source.ids[index]}: {' '.join(reason.split())}", file=sys.stderr)
    return 1 if failed else 0


def app(options: argparse.Namespace) -> int:
    """Open a page in the browser where a box is drawn and the agents are watched; Ctrl-C ends it."""
    from flipagents.app import serve

    _warn_of_others(options, "use this page and see what is loaded into it")
    serve(options.host, options.port, weights=options.weights, device=options.device)
    return 0


def serve(options: argparse.Namespace) -> int:
    """Answer Label Studio, which sends an image and a box and gets a brush mask; Ctrl-C ends it."""
    from flipagents import server
    from flipagents.desk import Desk
    from flipagents.label_studio import Backend

    _warn_of_others(options, "send requests, and segment the images below --media-root")
    desk = Desk(options.weights, options.device)
    server.serve(Backend(desk, options.media_root, options.method, options.margin), options.host, options.port)
    return 0


def train(options: argparse.Namespace) -> int:
    """Train our pipeline into a folder, where the same command again resumes; or, with --method, a baseline."""
    data = _source_text(options.data)
    val = None if options.val is None else _source_text(options.val)
    if data.startswith("busi:") and "split=" not in data:
        data, val = f"{data}?split=train", val or f"{data}?split=val"
    settings = _settings(options.set)
    settings |= {name: getattr(options, name) for name in ("preset", "agent") if getattr(options, name) is not None}
    from flipagents.trainers import check_training, train_method
    from flipenv.errors import ConfigError

    device = check_training(options.method, data, val, options.out, device=options.device, options=settings)
    from flipagents import ranks  # torch

    with ranks.together(device) as device:
        if ranks.count() > 1 and options.method != "flip":
            raise ConfigError(f"method {options.method!r} cannot be trained by {ranks.count()} processes; start one")
        train_method(
            options.method, data, val, options.out, device=device, progress=not options.quiet, options=settings
        )
        if ranks.rank() > 0:
            return 0
    method = "" if options.method == "flip" else f" --method {options.method}"
    weights = f"{method} --weights {options.out}"
    print(f"trained: {options.out}; use it with `flip segment scan.png --box X0 Y0 X1 Y1 -o out/{weights}`")
    return 0


def export(options: argparse.Namespace) -> int:
    """Write the networks of a pipeline as ONNX files, which segment without torch."""
    from flipagents.export import export_pipeline

    written = export_pipeline(options.weights, options.out)
    print(f"{len(written)} networks in {options.out}; use them with `flip segment ... --weights {options.out}`")
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Print the table of methods on cases with masks; write it, as LaTeX too, its JSON and the per-case CSV."""
    from flipagents import report

    source = _source_text(options.data, options.split)
    found = report.evaluate(
        source,
        options.methods,
        shift=options.shift,
        margin=options.margin,
        weights=options.weights,
        device=options.device,
        folder=options.out,
        again=options.again,
        progress=not options.quiet,
    )
    written = [] if options.out is None else found.write(options.out)
    print(found.markdown())
    if written:
        print(f"written: {', '.join(map(str, written))}", flush=True)
    for failure in found.failures:
        whose = f"{failure.method}: " if failure.method else ""
        print(f"  {whose}{failure.case}: {' '.join(failure.reason.split())}", file=sys.stderr)
    return 1 if found.failures else 0


def ablate(options: argparse.Namespace) -> int:
    """Train and evaluate configs times seeds from a file; the same command goes on where it was stopped."""
    from flipagents.ablation import Plan, table
    from flipagents.dispatch import ENGINES
    from flipagents.outputs import check_writable, write_texts

    runs, engine = Plan.read(options.plan).runs(options.out), ENGINES[options.engine]
    check_writable(options.out)
    waiting = [run for run in runs if not run.done]
    print(f"{len(runs)} runs, {len(runs) - len(waiting)} done before", flush=True)
    failed = 0
    for run, reason in engine(waiting, options.out) if waiting else ():
        failed += bool(reason)
        print(f"{run.folder}: {'failed: ' + ' '.join(reason.split()) if reason else 'done'}", flush=True)
    text = table(runs)
    write_texts({options.out / "table.md": text})
    print(text, end="")
    return 1 if failed else 0


def demo(options: argparse.Namespace) -> int:
    """Segment phantoms, write their pictures, and print Dice beside that of box and ellipse."""
    import numpy as np

    from flipagents import outputs
    from flipagents.methods import Flip, make_method, run_method
    from flipagents.metrics import dice
    from flipenv.sources import open_source

    flip = Flip(options.weights, options.device)
    scorer = flip.scorer()
    source = open_source(DEMO.format(options.count))
    cases = [source.load(index) for index in range(len(source))]
    masks = {name: run_method(make_method(name), cases) for name in ("box", "ellipse")} | {
        "flip": run_method(flip, cases)
    }
    print(f"{'Dice':<18}" + "".join(f"{name:>9}" for name in masks))
    for index, case in enumerate(cases):
        print(f"{case.id:<18}" + "".join(f"{dice(each[index], np.asarray(case.mask)):9.3f}" for each in masks.values()))
        recording = outputs.record(flip.segmenter, _unlabelled(case), scorer=scorer, film=index == 0)
        paths = outputs.output_paths(options.out, case.id, curve=True, gif=index == 0)
        outputs.write_outputs(paths, case, masks["flip"][index], recording, truth=case.mask)
    print(f"pictures in {options.out}: start with {cases[0].id}_overlay.png and {cases[0].id}.gif")
    return 0


def _warn_of_others(options: argparse.Namespace, can: str) -> None:
    """Say on stderr what others can do, where more than this machine reaches the host."""
    if options.host not in LOCAL:
        who = f"flip {options.command}: {options.host} lets others on the network"
        print(f"{who} {can}; there is no password", file=sys.stderr)


def _segment_all(work: Work, paths: Paths, options: argparse.Namespace) -> list[tuple[int, str]]:
    """Segment and write the cases of these numbers; return number and reason of those that failed."""
    from rich.console import Console
    from rich.progress import Progress

    results: Iterator[tuple[int, object]]
    if options.engine == "ray":
        from flipagents import ray_engine

        results = ray_engine.run(work, paths, workers=options.workers)
    else:
        from flipagents.bulk import Worker

        results = Worker(work).run(paths)
    failed: list[tuple[int, str]] = []
    shown = len(paths) > 1 and sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=not shown) as bar:
        task = bar.add_task("segmenting", total=len(paths))
        for index, error in results:
            if options.box is not None and isinstance(error, Exception):
                raise error
            if error:
                failed.append((index, str(error)))
            bar.update(task, advance=1)
    return failed


def _write_coco(out: Path, source: Source, masks: dict[int, Path]) -> None:
    """Write all masks of a source, by the number of their case, those of earlier runs too, into one COCO file."""
    from flipagents.interchange import Labelled, coco_json, scan_of
    from flipagents.outputs import write_texts
    from flipenv.sources import read_mask

    def labelled(index: int, path: Path) -> Labelled:
        case, scan = source.load(index), scan_of(source, index)
        mask = read_mask(path, case.image.shape)
        if scan is None:
            return Labelled(f"{case.id}.png", case.box, mask)
        return Labelled(scan.file.name, case.box, mask, scan.frame)

    write_texts({out / "coco.json": coco_json(labelled(index, path) for index, path in masks.items())})


def _unlabelled(case: Case) -> Case:
    """The case as a user's own would be, without its mask."""
    return dataclasses.replace(case, mask=None)


def _input(text: str, box: Sequence[str] | None, frame: int | None) -> Source:
    """The image with its box, or the source that `text` names."""
    from flipenv.errors import BoxError, ConfigError
    from flipenv.sources import open_source, read_image
    from flipenv.sources.base import ListedSource
    from flipenv.sources.files import FileCase, frame_name
    from flipenv.types import Case

    path = Path(text).expanduser()
    if box is None:
        if frame is not None:
            raise ConfigError(f"--frame {frame} belongs to one image with --box; in a table frames are a column")
        return open_source(_source_text(text))
    if path.is_dir() or path.suffix.lower() in (".json", ".csv"):
        raise BoxError(f"--box belongs to one image; {text} brings its own boxes: leave --box out")
    image = read_image(path, frame=frame)
    name = frame_name(path.name.split(".")[0] or path.stem, frame)
    try:
        x0, y0, x1, y1 = (float(value) for value in box)
        case = Case(image, (y0, x0, y1, x1), id=name)  # type: ignore[arg-type]
    except ValueError as error:
        raise BoxError(f"--box {' '.join(box)} (X0 Y0 X1 Y1, columns first): {error}") from None
    return ListedSource([FileCase(case.id, text, path, case.box, frame=frame)], text)


def _source_text(text: str, split: str | None = None) -> str:
    """Name the source in a path or in text that names one already; `split` is added as an option."""
    from flipenv.errors import BoxError, SourceError
    from flipenv.sources import SOURCES
    from flipenv.sources.busi import FOLDER, LESIONS

    path = Path(text).expanduser()
    if path.is_dir():
        busi = any((path / name).is_dir() for name in (FOLDER, *LESIONS))
        text = f"{'busi' if busi else 'folders'}:{path}"
    elif path.suffix.lower() in (".json", ".csv") and path.is_file():
        text = f"{'coco' if path.suffix.lower() == '.json' else 'csv'}:{path}"
    elif path.is_file():
        raise BoxError(f"{text} is one image; give --box X0 Y0 X1 Y1, or a CSV or COCO file with boxes")
    elif text.partition(":")[0] not in SOURCES:
        raise SourceError(f"{text} does not exist; expected a file, a folder, or KIND:PATH with {', '.join(SOURCES)}")
    if split is not None:
        text += f"{'&' if '?' in text else '?'}split={split}"
    return text


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Options from `field=value` and, of a part's own mapping, `part.field=value`; values are JSON, or else text."""
    from flipenv.errors import ConfigError

    settings: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        part, dot, field = name.partition(".")
        inside = settings.setdefault(part, {}) if dot else settings
        if not (sign and part) or (dot and not field) or not isinstance(inside, dict):
            raise ConfigError(f"--set {pair}: expected part.field=value or field=value, for example learner.epochs=5")
        try:
            value = json.loads(text)
        except ValueError:
            value = {"None": None, "True": True, "False": False}.get(text, text)
        inside[field if dot else part] = value
    return settings
