"""From a finished run to weights for distribution: checked, stripped of training state, documented, and verified.

FOLDER/README.md                          the model card, see `flipagents.train.card`
FOLDER/pipeline.json, stage1/agent, ...   the inference networks, as in the run
FOLDER/onnx                               their ONNX copy, if the run has one
FOLDER/quality.json                       what `flip calibrate` wrote, if it ran
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from flipagents.classify.classifier import Classifier
from flipagents.segment.calibration import QUALITY, read_calibrations, weights_of
from flipagents.segment.loading import load_student
from flipagents.segment.onnx import OnnxScorer
from flipagents.segment.runtimes import COPY, fault_of_copy, runtime_of
from flipagents.segment.segmenter import Segmenter
from flipagents.store import checkpoint, run_folder
from flipagents.store.checkpoint import CheckpointError
from flipagents.store.files import OutputError
from flipagents.store.recipe import CLASSIFIER, PIPELINE, Recipe, networks
from flipagents.train.card import read_report, write_card
from flipenv.errors import ConfigError
from flipenv.sources import open_source
from flipenv.types import Array, Case

CARD = "README.md"
MAPPERS: tuple[Literal["contour", "student", "locator"], ...] = ("contour", "student", "locator")
PHANTOMS = "phantom:4?first=1000000&height=160&width=224"  # seeds not used for training
STRIPPED = re.compile(  # files that training writes and inference never reads
    r"run\.json|train\.log|classifier/(last/[^/]+|log\.csv)|guide/[^/]+\.png"
    r"|[^/]+/(checkpoint/[^/]+|metrics\.(csv|jsonl)|events\.out\.tfevents\.[^/]+)"
)


@dataclass(frozen=True)
class Shipped:
    """Summary of the folder written."""

    folder: Path
    files: int
    size: int  # bytes, all files together
    copied: bool  # whether the ONNX copy is included
    phantoms: int  # number on which folder and run were verified to be equal


def ship(
    run: str | Path,
    into: str | Path,
    *,
    licence: str,
    data_note: str = "",
    reports: Sequence[str | Path] = (),
) -> Shipped:
    """Write the inference weights of a finished `flip train` run to a new folder, with a model card.

    licence, data_note: texts of the card, in Markdown. reports: `report.json` files of `flip evaluate --weights RUN`,
    whose numbers go into the card. Everything is written to a temporary folder first and compared with the run on
    phantoms, map by map and bit by bit, for each runtime; only then is it renamed to `into`.

    Raises CheckpointError if the run is unfinished, damaged, not a run, has an ONNX copy or a calibration of other
    weights, or holds files that would be lost; ConfigError if `into` is not empty or lies in the run, if the licence is
    empty, and for a report of other weights; OutputError if the folder cannot be written.
    """
    run, into = Path(run), Path(into)
    names = _checked(run)
    if not licence.strip():
        raise ConfigError("licence is empty; expected the licence of the weights, such as 'MIT'")
    if into.resolve().is_relative_to(run.resolve()) or run.resolve().is_relative_to(into.resolve()):
        raise ConfigError(f"{into} and the run {run} lie in each other; give a folder of its own")
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise ConfigError(f"{into} already exists; give a new folder, or remove it")
    contents = [read_report(path, run) for path in reports]
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=into.parent, prefix=f".{into.name}.", suffix=".part"))
    except OSError as error:
        raise OutputError(f"into {into.parent}", error) from error
    try:
        part.chmod(0o755)
        for name in (*names, PIPELINE, *([QUALITY] if (run / QUALITY).exists() else [])):
            _copy(run / name, part / name)
        count = _prove(run, part)
        write_card(part / CARD, into.name, run, part, licence=licence, data_note=data_note, reports=contents)
        if into.exists():
            into.rmdir()
        part.rename(into)
    except OSError as error:
        raise OutputError(str(into), error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sizes = [path.stat().st_size for path in into.rglob("*") if path.is_file()]
    return Shipped(into, len(sizes), sum(sizes), (into / COPY).exists(), count)


def _checked(run: Path) -> list[str]:
    """Folders of a run to ship, relative to it; CheckpointError if it cannot be shipped."""
    state = run_folder.unfinished(run)
    if state is not None:
        raise CheckpointError(state)
    if run_folder.read(run) is None:
        raise CheckpointError(
            f"{run} has no {run_folder.RUN}, which says what it was trained on; give a folder that `flip train` wrote"
        )
    if runtime_of(run) == "onnx":
        raise CheckpointError(f"{run} is an export; give the folder that `flip train` wrote")
    recipe = Recipe.read(run)
    names = networks(run, recipe)
    if (run / COPY / PIPELINE).exists():
        fault = fault_of_copy(run)
        if fault is not None:
            raise CheckpointError(f"{fault}; `flip export --weights {run} -o {run / COPY}` writes it again")
        names.append(COPY)
    _check_calibrations(run)
    kept = (*names, PIPELINE, QUALITY)
    files = [path.relative_to(run) for path in sorted(run.rglob("*")) if path.is_file()]
    others = [
        name.as_posix()
        for name in files
        if not any(name.is_relative_to(each) for each in kept) and not STRIPPED.fullmatch(name.as_posix())
    ]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise CheckpointError(f"{run} holds {', '.join(others[:3])}{more}, which would not ship; move them elsewhere")
    return names


def _check_calibrations(run: Path) -> None:
    """Raise CheckpointError if the run, or its ONNX copy, has a calibration that will not be used."""
    folders = [folder for folder in (run, run / COPY) if (folder / PIPELINE).exists()]
    if len({(folder / QUALITY).exists() and (folder / QUALITY).read_bytes() for folder in folders}) > 1:
        raise CheckpointError(f"{run} and its ONNX copy have other calibrations; run `flip calibrate --weights {run}`")
    known = read_calibrations(run / QUALITY) if (run / QUALITY).exists() else {}
    stale = [name for name, own in known.items() if own.about.get("weights") != weights_of(run)]
    if stale:
        raise CheckpointError(
            f"{run / QUALITY} was calibrated with other weights ({', '.join(stale)}); run `flip calibrate --weights "
            f"{run}`, or remove it"
        )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _prove(run: Path, part: Path) -> int:
    """Compare all outputs of both folders on phantoms; return their number, CheckpointError if they differ."""
    source = open_source(PHANTOMS)
    cases = [source.load(index) for index in range(len(source))]
    for runtime in ("torch", "onnx") if (part / COPY).exists() else ("torch",):
        for (name, wanted), (_, given) in zip(
            _answers(run, runtime, cases), _answers(part, runtime, cases), strict=True
        ):
            if not np.array_equal(wanted, given):
                raise CheckpointError(f"{name} gives other values than that of {run} with {runtime}: nothing shipped")
    return len(cases)


def _answers(folder: Path, runtime: str, cases: list[Case]) -> Iterator[tuple[str, Array]]:
    """What each part of a pipeline answers on each case, by its name."""
    images, boxes = [case.image for case in cases], [case.box for case in cases]
    segmenter = Segmenter.from_pretrained(folder, runtime=runtime)
    yield from (("the pipeline", values) for values in segmenter.map_many(images, boxes))
    yield from (("the pipeline", mask) for mask in segmenter.predict_many(images, boxes))
    for name in MAPPERS:
        if checkpoint.exists(folder / name):
            yield from ((name, values) for values in load_student(name, folder, runtime=runtime).maps(images, boxes))
    if checkpoint.exists(folder / CLASSIFIER):
        assert segmenter.folder is not None
        classifier = Classifier.load(folder / CLASSIFIER)
        scorer = OnnxScorer.load(segmenter.folder / CLASSIFIER) if runtime == "onnx" else classifier.scorer("cpu")
        canvas = classifier.config.patches.env.canvas
        seen = np.stack([np.resize(image, (canvas.height, canvas.width)) for image in images])
        yield "the classifier", np.asarray(scorer(seen))
