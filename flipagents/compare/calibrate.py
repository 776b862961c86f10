"""From cases with masks to `quality.json`: what a method's quality is worth, and the model behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flipagents.compare.methods import Method, check_method, make_method, run_answers
from flipagents.compare.reliability import Reliability, reliability
from flipagents.machine.devices import check_device
from flipagents.metrics import dice
from flipagents.segment.calibration import (
    QUALITY,
    read_calibrations,
    weights_of,
    write_calibrations,
)
from flipagents.segment.quality import features
from flipagents.segment.runtimes import COPY
from flipagents.store.checkpoint import CheckpointError, weights_folder
from flipagents.store.files import check_writable
from flipagents.store.provenance import about, without_folders
from flipagents.store.recipe import PIPELINE
from flipagents.train.quality import LEAST_CASES, fit, left_out
from flipenv.errors import ConfigError, FlipError
from flipenv.progress import show_progress
from flipenv.sources import Source, SourceLike, open_source
from flipenv.sources.contents import digest


@dataclass(frozen=True)
class Calibrated:
    """Result of `calibrate`."""

    paths: list[Path]  # written
    checks: Mapping[str, Reliability]  # by method, of models that were fitted without each case
    left_out: Mapping[str, str]  # cases that were not used, with the reason


def calibrate(
    source: SourceLike,
    methods: Sequence[str] = ("contour",),
    *,
    weights: str | Path | None = None,
    file: str | Path | None = None,
    device: str = "cpu",
    runtime: str = "auto",
    progress: bool = True,
) -> Calibrated:
    """Fit how good a mask probably is to cases with masks, whose boxes are tight, and write it as `quality.json`.

    methods: of a pipeline, with maps: contour, flip, flip+student. weights: a pipeline's folder, None for the shipped
    one. file: written instead of `quality.json` in that folder and in its ONNX copy. Calibrations of other methods in
    the file are kept if they are for the same weights. The cases must be others than those of a later evaluation.

    A case that cannot be read, has no mask, or on which a method fails is left out. Raises ConfigError for fewer than
    12 cases, for a method without maps or with weights of its own (`NAME:PATH`), CheckpointError for a folder without a
    pipeline and for a damaged file, OutputError if the file cannot be written; and as `make_method`.
    """
    device = check_device(device, runtime=runtime)
    folder = weights_folder(weights)
    for name in methods:
        check_method(name)
        if ":" in name:
            raise ConfigError(f"method {name!r}: a calibration belongs to a folder of weights; give --weights instead")
    if not (folder / PIPELINE).exists():
        raise CheckpointError(f"{folder} has no {PIPELINE}; expected a folder written by `flip train` or `flip ship`")
    copy = folder / COPY
    paths = [Path(file)] if file is not None else [folder / QUALITY]
    paths += [copy / QUALITY] if file is None and (copy / PIPELINE).exists() else []
    check_writable(paths[0].parent)
    bound = weights_of(folder)
    kept = read_calibrations(paths[0]) if paths[0].exists() else {}
    found = {name: own for name, own in kept.items() if own.about.get("weights") == bound}
    opened = open_source(source)
    text = without_folders(source) if isinstance(source, str) else f"{len(opened)} cases in memory"
    made = {name: make_method(name, folder, device, runtime=runtime) for name in methods}
    checks: dict[str, Reliability] = {}
    failed: dict[str, str] = {}
    for name, method in made.items():
        seen, truths, used, lost = _measure(name, method, opened, progress)
        failed |= lost
        if len(seen) < LEAST_CASES:
            first = f"; left out: {next(iter(lost.items()))}" if lost else ""
            raise ConfigError(f"{text} has {len(seen)} usable cases; a calibration needs at least {LEAST_CASES}{first}")
        model, out = fit(seen, truths), left_out(seen, truths)
        checks[name] = reliability(out.value, truths, out.low, out.high)
        found[name] = dataclasses.replace(model, about=_about(opened, text, used, bound, checks[name]))
    write_calibrations(paths, found)
    return Calibrated(paths, checks, failed)


def _measure(
    name: str, method: Method, source: Source, progress: bool
) -> tuple[list[dict[str, float]], list[float], list[int], dict[str, str]]:
    """Features and true Dice of each usable case with its index, and why others are not."""
    seen, truths, used, lost = [], [], [], {}
    with show_progress(f"measuring {name}", len(source), quiet=not progress) as shown:
        for index, case_id in enumerate(source.ids):
            try:
                case = source.load(index)
                if case.mask is None:
                    raise ConfigError("has no mask")
                (answer,) = run_answers(method, [case])
            except FlipError as error:
                lost[case_id] = str(error)
                continue
            finally:
                shown.advance(1)
            if answer.map is None:
                raise ConfigError(f"method {name!r} gives no map; use contour, flip or flip+student")
            seen.append(features(case.image, answer.box, answer))
            truths.append(dice(answer.mask, case.mask))
            used.append(index)
    return seen, truths, used, lost


def _about(source: Source, text: str, used: Sequence[int], bound: str | None, check: Reliability) -> dict[str, Any]:
    where = about()
    return {
        "source": text,
        "n": len(used),
        "digest": digest(*[source.fingerprint(index) for index in used]),
        "masks": "the true masks of these cases were read, for this calibration alone",
        "weights": bound,
        "check": {
            "how": "cross-validation in 10 groups",
            "spearman": round(check.spearman, 4),
            "error": round(check.error, 4),
            "coverage": round(check.coverage, 4),
            "area": round(check.area, 4),
            "perfect": round(check.perfect, 4),
            "random": round(check.random, 4),
        },
        "command": where["command"],
        "commit": where["commit"],
        "time": where["time"],
    }
