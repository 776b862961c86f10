"""What each command of `flip` does: from its options to its exit code. `flipagents.cli.parser` reads the options."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from flipagents.scale.worker import Outcome, Paths, Work
    from flipenv.sources import Source
    from flipenv.types import Case

LOCAL = ("127.0.0.1", "localhost", "::1")  # hosts that this machine alone reaches
EXPORTS = {"coco": ("pycocotools.mask", "coco"), "nifti": ("nibabel", "medical"), "dicom-seg": ("highdicom", "seg")}
DEMO = "phantom:{}?first=1000000"  # seeds that nobody trains on


def segment(options: argparse.Namespace) -> int:
    """Write mask, overlay, erase curve and film of every case of the input."""
    from flipagents.cli.inputs import open_input
    from flipagents.compare.methods import check_method
    from flipagents.formats.coco import scan_of
    from flipagents.formats.dicom_seg import check_scan
    from flipagents.machine.devices import check_device
    from flipagents.scale.worker import Work, share_of, waiting
    from flipagents.segment.outputs import check_writable, file_names, output_paths
    from flipenv.errors import ConfigError
    from flipenv.sources.extras import need

    agents = options.method.partition(":")[0] == "flip"
    if options.gif and not agents:
        raise ConfigError(f"--gif shows agents at work; method {options.method!r} has none: leave it out")
    if options.overwrite and options.engine == "ray":
        raise ConfigError("--engine ray knows by its files what is done: leave --overwrite out, and give a new folder")
    for name in options.export:  # before a million images are segmented
        need(EXPORTS[name][0], extra=EXPORTS[name][1], purpose=f"--export {name}")
    device = check_device(options.device, runtime=options.runtime)
    check_method(options.method, options.runtime)
    source = open_input(options.input, options.box, options.frame, options.boxes)
    if "coco" in options.export and options.shard is not None:
        raise ConfigError("--export coco tells of all images: leave it out, and run once without --shard in the end")
    if "dicom-seg" in options.export and options.box is not None:
        check_scan(scan_of(source, 0))
    kinds = {"pictures": not options.only_masks, "curve": agents, "gif": options.gif}
    kinds |= {"nifti": "nifti" in options.export, "seg": "dicom-seg" in options.export}
    names = file_names(source.ids)
    paths: Paths = {i: output_paths(options.out, name, **kinds) for i, name in enumerate(names)}
    if options.shard is not None:
        paths = share_of(paths, options.shard)
    work = Work(source, options.method, options.weights, device, options.margin, options.gif, options.runtime)
    changed = dict.fromkeys(paths, "") if options.overwrite else waiting(work, paths)
    check_writable(options.out)
    outcomes = _segment_all(work, {index: paths[index] for index in changed}, options) if changed else []
    failed = {each.index: each.error for each in outcomes if each.error}
    if options.json:
        for index in set(paths) - set(changed):
            _print_json(source.ids[index], paths[index][0], {"there_already": True})
    if "coco" in options.export:
        _write_coco(options.out, source, {index: files[0] for index, files in paths.items() if index not in failed})
    if not options.quiet:
        again = Counter(change for change in changed.values() if change)
        told = [f"{len(changed) - len(failed)} segmented into {options.out}"]
        told += [f"{sum(again.values())} of them again (other {', other '.join(again)})"] if again else []
        told += [f"{len(paths) - len(changed)} there already (--overwrite replaces them)"] * (len(changed) < len(paths))
        told += [f"{len(failed)} failed:"] if failed else []
        print(", ".join(told), file=sys.stderr if options.json else sys.stdout, flush=True)
    for index, reason in failed.items():
        print(f"  {source.ids[index]}: {' '.join(reason.split())}", file=sys.stderr)
    return 1 if failed else 0


def app(options: argparse.Namespace) -> int:
    """Open a page in the browser where a box is drawn and the agents are watched; Ctrl-C ends it."""
    device = _listening(options, "use this page and see what is loaded into it")
    from flipagents.serve.page import serve

    serve(options.host, options.port, weights=options.weights, device=device, runtime=options.runtime)
    return 0


def serve(options: argparse.Namespace) -> int:
    """Answer Label Studio, which sends an image and a box and gets a brush mask; Ctrl-C ends it."""
    device = _listening(options, "send requests, and segment the images below --media-root")
    from flipagents.serve import http as server
    from flipagents.serve.label_studio import Backend
    from flipagents.serve.service import Desk

    desk = Desk(options.weights, device, options.runtime)
    server.serve(Backend(desk, options.media_root, options.method, options.margin), options.host, options.port)
    return 0


def train(options: argparse.Namespace) -> int:
    """Train our pipeline into a folder, where the same command again resumes; or, with --method, a baseline."""
    from flipagents.cli.inputs import source_text

    data = source_text(options.data)
    val = None if options.val is None else source_text(options.val)
    if data.startswith("busi:") and "split=" not in data:
        data, val = f"{data}?split=train", val or f"{data}?split=val"
    settings = _settings(options.set)
    settings |= {name: getattr(options, name) for name in ("preset", "agent") if getattr(options, name) is not None}
    from flipagents.compare.trainers import check_training, train_method
    from flipenv.errors import ConfigError

    device = check_training(options.method, data, val, options.out, device=options.device, options=settings)
    from flipagents.learn import ranks  # torch

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
    if options.quiet:
        return 0
    print(f"trained: {options.out}; use it with `flip segment scan.png --box X0 Y0 X1 Y1 -o out/{weights}`")
    return 0


def export(options: argparse.Namespace) -> int:
    """Write the networks of a pipeline as ONNX files, which segment without torch."""
    from flipagents.segment.export import export_pipeline

    written = export_pipeline(options.weights, options.out)
    if options.quiet:
        return 0
    print(f"{len(written)} networks in {options.out}; use them with `flip segment ... --weights {options.out}`")
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Print the table of methods on cases with masks; write it, as LaTeX too, its JSON and the per-case CSV."""
    from flipagents.cli.inputs import source_text
    from flipagents.compare import report

    source = source_text(options.data, options.split)
    found = report.evaluate(
        source,
        options.methods,
        shift=options.shift,
        margin=options.margin,
        weights=options.weights,
        device=options.device,
        runtime=options.runtime,
        folder=options.out,
        again=options.again,
        progress=not options.quiet,
    )
    written = [] if options.out is None else found.write(options.out)
    print(found.markdown())
    if written and not options.quiet:
        print(f"written: {', '.join(map(str, written))}", flush=True)
    for failure in found.failures:
        whose = f"{failure.method}: " if failure.method else ""
        print(f"  {whose}{failure.case}: {' '.join(failure.reason.split())}", file=sys.stderr)
    return 1 if found.failures else 0


def ablate(options: argparse.Namespace) -> int:
    """Train and evaluate configs times seeds from a file; the same command goes on where it was stopped."""
    from flipagents.compare.ablation import Plan, table
    from flipagents.scale.engines import ENGINES
    from flipagents.segment.outputs import check_writable, write_texts

    tell: Callable[[str], None] = (lambda line: None) if options.quiet else partial(print, flush=True)
    runs, engine = Plan.read(options.plan).runs(options.out), ENGINES[options.engine]
    check_writable(options.out)
    waiting = [run for run in runs if not run.done]
    tell(f"{len(runs)} runs, {len(runs) - len(waiting)} done before")
    failed = 0
    for run, reason in engine(waiting, options.out) if waiting else ():
        failed += bool(reason)
        tell(f"{run.folder}: {'failed: ' + ' '.join(reason.split()) if reason else 'done'}")
    text = table(runs)
    write_texts({options.out / "table.md": text})
    print(text, end="")
    return 1 if failed else 0


def demo(options: argparse.Namespace) -> int:
    """Segment phantoms, write their pictures, and print Dice beside that of box and ellipse."""
    import numpy as np

    from flipagents.compare.methods import Flip, make_method, run_method
    from flipagents.machine.devices import check_device
    from flipagents.metrics import dice
    from flipagents.segment import outputs
    from flipenv.sources import open_source

    flip = Flip(options.weights, check_device(options.device, runtime=options.runtime), options.runtime)
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
    if options.quiet:
        return 0
    print(f"pictures in {options.out}: start with {cases[0].id}_overlay.png and {cases[0].id}.gif")
    return 0


def info(options: argparse.Namespace) -> int:
    """Tell versions, devices, weights and caches; or, of a mask, what it was made from."""
    from flipagents.cli.about import describe, describe_mask

    told = describe(options.weights) if options.mask is None else describe_mask(options.mask)
    width = max(map(len, told))
    for name, value in told.items():
        print(f"{name:<{width}}  {value}")
    return 0


def completion(options: argparse.Namespace) -> int:
    """Print what makes a shell complete `flip`: eval "$(flip completion bash)"."""
    import shtab

    from flipagents.cli.parser import make_parser

    print(shtab.complete(make_parser(), options.shell))
    return 0


def _listening(options: argparse.Namespace, can: str) -> str:
    """Check what a server needs before anything slow is imported; return its device.

    can: what others on the network can do, said on stderr where more than this machine reaches the host.
    """
    from flipagents.machine.devices import check_device
    from flipagents.machine.ports import check_port

    device = check_device(options.device, runtime=options.runtime)
    check_port(options.host, options.port)
    if options.host not in LOCAL:
        who = f"flip {options.command}: {options.host} lets others on the network"
        print(f"{who} {can}; there is no password", file=sys.stderr)
    return device


def _segment_all(work: Work, paths: Paths, options: argparse.Namespace) -> list[Outcome]:
    """Segment and write the cases of these numbers; return what came of them."""
    from flipagents.scale.worker import Worker
    from flipenv.errors import FlipError
    from flipenv.progress import showing

    if options.engine == "ray":
        from flipagents.scale import ray as ray_engine

        results = ray_engine.run(work, paths, workers=options.workers)
    else:
        results = Worker(work).run(paths)
    outcomes: list[Outcome] = []
    with showing("segmenting", len(paths), quiet=options.quiet, brief=True) as shown:
        for each in results:
            if options.box is not None and each.error:
                raise FlipError(each.error)
            outcomes.append(each)
            if options.json:
                told = {"error": each.error} if each.error else each.told
                _print_json(work.source.ids[each.index], paths[each.index][0], told)
            shown.advance(1)
    return outcomes


def _print_json(case_id: str, mask: Path, told: Mapping[str, Any]) -> None:
    """One line about a case: what its mask was made from, and what is told of it; of one that failed, the error."""
    from flipagents.segment.origin import read_origin

    line: dict[str, Any] = {"id": case_id}
    origin = None if "error" in told else read_origin(mask)
    if origin is not None:
        line |= {"mask": str(mask), "box": list(origin.box), "method": origin.method}
    print(json.dumps({**line, **told}), flush=True)


def _write_coco(out: Path, source: Source, masks: dict[int, Path]) -> None:
    """Write all masks of a source, by the number of their case, those of earlier runs too, into one COCO file."""
    from flipagents.formats.coco import Labelled, coco_json, ids_of, path_from, scan_of
    from flipagents.segment.origin import read_origin
    from flipagents.segment.outputs import write_texts
    from flipenv.sources import CocoSource, read_image
    from flipenv.types import Box

    def labelled(index: int, path: Path) -> Labelled:
        origin, scan = read_origin(path), scan_of(source, index)
        assert origin is not None, "masks that do not say where they come from are refused before"
        file = f"{source.ids[index]}.png" if scan is None else path_from(out, scan.file)
        return Labelled(file, Box.from_xyxy(*origin.box), read_image(path) > 0, origin.frame, ids_of(source, index))

    categories = source.categories if isinstance(source, CocoSource) else None
    text = coco_json((labelled(index, path) for index, path in masks.items()), categories)
    write_texts({out / "coco.json": text})


def _unlabelled(case: Case) -> Case:
    """The case as a user's own would be, without its mask."""
    return dataclasses.replace(case, mask=None)


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
