"""Many images into files: what one worker does with its share, whoever hands it out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flipagents.interchange import read_voxels, scan_of
from flipagents.methods import Flip, Found, make_method, run_method
from flipagents.outputs import OutputError, record, write_outputs
from flipenv.errors import ConfigError, FlipError
from flipenv.sources import Source
from flipenv.types import Case

CHUNK = 64  # images in memory at once
WALKED = ("_curve.png", ".gif")  # ends of the names of files that show a walk

Paths = Mapping[int, Sequence[Path]]  # number of a case in its source -> where its files go


@dataclass(frozen=True)
class Work:
    """What is to be done with each image; it travels to other processes."""

    source: Source
    method: str = "flip"
    weights: Path | None = None  # None for those that ship
    device: str = "cpu"
    margin: int = 0  # px by which boxes may be off
    gif: bool = False
    runtime: str = "auto"  # see `flipagents.runtimes`


class Worker:
    """One loaded method that segments cases into files. Raises as `make_method` does."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.method = make_method(work.method, work.weights, work.device, runtime=work.runtime)
        self.agents = self.method if isinstance(self.method, Flip) else None
        self.scorer = self.agents.scorer() if self.agents else None
        if work.margin:
            self.method = Found(self.method, work.margin, work.weights, work.device, work.runtime)

    def run(self, paths: Paths) -> Iterator[tuple[int, FlipError | None]]:
        """Segment and write cases; yield each one's number, and why it failed where it did.

        OutputError ends everything: the next file would not fit either.
        """
        waiting = list(paths)
        for start in range(0, len(waiting), CHUNK):
            for index, case, mask, error in self._masks(waiting[start : start + CHUNK]):
                yield index, error or self._write(index, paths[index], case, mask)

    def _write(self, index: int, files: Sequence[Path], case: Case, mask: Any) -> FlipError | None:
        try:
            recording = None
            if self.agents and any(file.name.endswith(WALKED) for file in files):
                walked = self.method.find([case])[0] if isinstance(self.method, Found) else case
                unlabelled = dataclasses.replace(walked, mask=None)  # as a user's own would be
                recording = record(self.agents.segmenter, unlabelled, scorer=self.scorer, film=self.work.gif)
            scan = scan_of(self.work.source, index)
            nifti = any(file.suffix == ".gz" for file in files)
            voxels = read_voxels(scan.file) if nifti and scan is not None else None
            write_outputs(files, case, mask, recording, voxels=voxels, scan=scan)
        except OutputError:
            raise
        except FlipError as error:
            return error
        return None

    def _masks(self, chosen: list[int]) -> list[tuple[int, Any, Any, FlipError | None]]:
        """(number, case, mask, error) of each case; a case that fails leaves the others as they are."""
        cases: dict[int, Case] = {}
        masks: dict[int, Any] = {}
        errors: dict[int, FlipError] = {}
        for index in chosen:
            try:
                cases[index] = self.work.source.load(index)
            except FlipError as error:
                errors[index] = error
        try:
            masks = dict(zip(cases, run_method(self.method, list(cases.values())), strict=True)) if cases else {}
        except FlipError:
            for index, case in cases.items():
                try:
                    masks[index] = run_method(self.method, [case])[0]
                except FlipError as error:
                    errors[index] = error
        return [(index, cases.get(index), masks.get(index), errors.get(index)) for index in chosen]


def unfinished(paths: Paths) -> dict[int, Sequence[Path]]:
    """Those of which a file is missing. Files appear whole, so what is there is done, whoever wrote it."""
    return {index: files for index, files in paths.items() if not all(file.exists() for file in files)}


def share_of(paths: Paths, shard: str) -> dict[int, Sequence[Path]]:
    """The share `i/n` of the cases, i from 1 to n: every n-th, so that n shares are all of them, each once.

    ConfigError for text that names no share.
    """
    number, slash, count = shard.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(f"--shard {shard}: expected i/n with i from 1 to n, for example 3/100")
    return dict(list(paths.items())[int(number) - 1 :: int(count)])
