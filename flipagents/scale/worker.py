"""Segment many images into files: one worker, used by every engine."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flipagents.compare.methods import Rated, make_method, run_rated
from flipagents.compare.ours import Flip, Found
from flipagents.formats.dicom_seg import check_scan
from flipagents.formats.nifti import read_voxels
from flipagents.formats.scans import scan_of
from flipagents.formats.spacing import spacing_of
from flipagents.scale.origins import Origins
from flipagents.scale.qualities import details_of, notes_of
from flipagents.segment.answer import Answer
from flipagents.segment.corrections import ACTIONS, corrections_json
from flipagents.segment.loading import load_student
from flipagents.segment.mend import Mender
from flipagents.segment.origin import Points
from flipagents.segment.outputs import write_outputs
from flipagents.segment.quality import LOCATOR, Gauge
from flipagents.segment.walk import record
from flipagents.store.checkpoint import weights_folder
from flipagents.store.files import OutputError
from flipenv.errors import ConfigError, FlipError
from flipenv.pixels import Mask
from flipenv.sources import Source
from flipenv.sources.base import Unlabelled
from flipenv.types import Case

CHUNK = 64  # images in memory at once
FILMS = (".gif", ".mp4")
WALKED = ("_curve.png", *FILMS)  # suffixes of outputs that show a walk

Paths = Mapping[int, Sequence[Path]]  # index of a case in its source -> its output files, the mask's PNG first


@dataclass(frozen=True)
class Work:
    """Settings of a segmentation run; picklable."""

    source: Source
    method: str = "flip"
    weights: Path | None = None  # None for the shipped ones
    device: str = "cpu"
    margin: int = 0  # box tolerance, px
    runtime: str = "auto"  # see `flipagents.segment.runtimes`
    points: Points = ()  # clicks that mend the mask of the only case
    quality: Path | None = None  # output of `flip calibrate`, None for the one beside the weights
    check_boxes: bool = False  # whether the locator looks for boxes beside a nodule, see `run_rated`

    @cached_property
    def origins(self) -> Origins:
        """Origins of its masks."""
        rated: list[Path | str] = [] if self.quality is None else [self.quality]
        rated += [LOCATOR] if self.check_boxes else []
        return Origins(self.source, self.method, self.weights, self.margin, self.points, rated)


@dataclass(frozen=True)
class Outcome:
    """Result of one case."""

    index: int  # in the source
    error: str = ""  # "" for success
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of the mask, JSON-serialisable


@dataclass(frozen=True, eq=False)
class _Segmented:
    """A segmented case before its files are written."""

    index: int
    case: Case
    rated: Rated
    corrections: str  # text of their file, "" without clicks
    unmended: Mask | None  # the mask before them
    seconds: float  # the chunk's time divided by its cases


class Worker:
    """One loaded method that segments cases into files. Raises as `make_method` does."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.method = make_method(work.method, work.weights, work.device, runtime=work.runtime)
        self.runtime: str | None = getattr(self.method, "runtime", None)
        self.agents = self.method if isinstance(self.method, Flip) else None
        self.scorer = self.agents.scorer() if self.agents else None
        self._corrections = ""  # of the only case, with clicks
        self._unmended: Mask | None = None
        self.locator = None
        if work.check_boxes:
            self.locator = load_student("locator", work.weights, work.device, work.runtime)
        if work.quality is not None:
            self._calibrate(work.quality)
        if work.margin:
            self.method = Found(self.method, work.margin, work.weights, work.device, work.runtime)

    def _calibrate(self, file: Path) -> None:
        name, _, path = self.work.method.partition(":")
        if not hasattr(self.method, "gauge"):
            raise ConfigError(f"method {name!r} has no quality to calibrate; omit --quality {file}")
        if self.work.margin:
            raise ConfigError(f"--quality {file} holds for tight boxes; omit it, or --margin {self.work.margin}")
        self.method.gauge = Gauge.of(weights_folder(path or self.work.weights), name, file)

    def run(self, paths: Paths) -> Iterator[Outcome]:
        """Segment and write cases; yield their outcomes. A failed case does not affect the others.

        An OutputError that would recur for every file aborts the run.
        """
        waiting = list(paths)
        for start in range(0, len(waiting), CHUNK):
            for result in self._masks({index: paths[index] for index in waiting[start : start + CHUNK]}):
                yield result if isinstance(result, Outcome) else self._write(result, paths[result.index])

    def _write(self, each: _Segmented, files: Sequence[Path]) -> Outcome:
        started = time.perf_counter()
        case = each.case
        try:
            recording = None
            if self.agents and any(file.name.endswith(WALKED) for file in files):
                walked = self.method.find([case])[0] if isinstance(self.method, Found) else case
                recording = record(
                    self.agents.segmenter, walked, scorer=self.scorer, film=any(file.suffix in FILMS for file in files)
                )
            scan = scan_of(self.work.source, each.index)
            spacing = spacing_of(scan)
            write_outputs(
                files,
                case,
                each.rated.mask,
                recording,
                voxels=read_voxels(scan.file) if scan is not None and _any(files, ".gz") else None,
                scan=scan,
                spacing_mm=spacing,
                origin=self.work.origins.of(each.index, files, case.box),
                corrections=each.corrections,
                unmended=each.unmended,
                notes=notes_of(case.id, each.rated),
            )
        except OutputError as error:
            if error.is_for_all:
                raise
            return Outcome(each.index, str(error))
        except FlipError as error:
            return Outcome(each.index, str(error))
        seconds = each.seconds + time.perf_counter() - started
        area = int(each.rated.mask.sum())
        details: dict[str, Any] = {"area_px": area, "seconds": round(seconds, 3), **details_of(each.rated.quality)}
        if self.runtime is not None:
            details["runtime"] = self.runtime
        if spacing is not None:
            details |= {"spacing_mm": list(spacing), "area_mm2": round(area * spacing[0] * spacing[1], 4)}
        return Outcome(each.index, details=details)

    def _masks(self, paths: Paths) -> list[Outcome | _Segmented]:
        """Intermediate result of each case: its mask, or the outcome with its error."""
        cases: dict[int, Case] = {}
        failed: dict[int, str] = {}
        for index, files in paths.items():
            try:
                if _any(files, ".dcm"):
                    check_scan(scan_of(self.work.source, index))
                cases[index] = Unlabelled(self.work.source).load(index)
            except FlipError as error:
                failed[index] = str(error)
        started = time.perf_counter()
        try:
            rated = dict(zip(cases, self._rate(list(cases.values())), strict=True)) if cases else {}
        except FlipError:
            rated = {}
            for index, case in cases.items():
                try:
                    rated[index] = self._rate([case])[0]
                except FlipError as error:
                    failed[index] = str(error)
        seconds = (time.perf_counter() - started) / max(len(cases), 1)
        return [
            Outcome(index, failed[index])
            if index in failed
            else _Segmented(index, cases[index], rated[index], self._corrections, self._unmended, seconds)
            for index in paths
        ]

    def _rate(self, cases: list[Case]) -> list[Rated]:
        change = self._mended if self.work.points else None
        return run_rated(self.method, cases, locator=self.locator, change=change)

    def _mended(self, case: Case, answer: Answer) -> Mask:
        """The mask after the clicks; keeps the one before, and the text of their file."""
        mender = Mender(case.image, answer.box, answer.mask)
        for x, y, label in self.work.points:
            mender.click(y, x, ACTIONS[label])
        self._unmended = answer.mask
        self._corrections = corrections_json(mender.subject, mender.corrections)
        return mender.mask


def pending(work: Work, paths: Paths) -> dict[int, str]:
    """The cases to do, with what changed since their mask was made, "" without a mask.

    A case is done if all its files exist and its mask is from the same image, box, method and weights.
    Raises ConfigError if a mask belongs to another image, see `flipagents.scale.origins.Origins.change`.
    """
    changes = {index: work.origins.change(index, files) for index, files in paths.items()}
    return {index: change for index, change in changes.items() if change is not None}


def _any(files: Sequence[Path], suffix: str) -> bool:
    return any(file.suffix == suffix for file in files)


def shard_of(paths: Paths, shard: str) -> dict[int, Sequence[Path]]:
    """The shard `i/n` of the cases, i from 1 to n: every n-th, so that the n shards partition them.

    ConfigError for malformed text.
    """
    number, slash, count = shard.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(f"--shard {shard}: expected i/n with i from 1 to n, for example 3/100")
    return dict(list(paths.items())[int(number) - 1 :: int(count)])
