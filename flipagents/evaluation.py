"""One method on all cases of a source: its rows are on the disk as soon as they are known, and are not made twice."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flipagents.methods import METHODS, Found, Method, has_runtimes, make_method, run_method
from flipagents.outputs import file_names, write_texts
from flipagents.provenance import code_digest, weights_digest, without_folders
from flipagents.runtimes import pipeline_folder, runtime_of
from flipagents.scoring import CaseScore, from_csv, score, to_csv
from flipenv.config import EnvConfig
from flipenv.errors import SourceError
from flipenv.pool import EpisodePool
from flipenv.sources import Source
from flipenv.sources.contents import digest
from flipenv.types import Case

FOUND = "found"  # before the names of methods that get a box found again
CHUNK = 128  # cases that a method gets in one call, at most
KEPT = 512  # cases kept in memory for the next method; a larger source is read again for each
SEED = "{seed}"  # in a folder's name, where each seed has weights of its own


@dataclass(frozen=True)
class Candidate:
    """A method as it stands in a table: one row."""

    method: str  # name, see `flipagents.methods`
    label: str = ""  # of the row; "" for the method's name, after `found` where it looks for its box
    weights: str | Path | None = None  # folder, None for what ships; may hold {seed}
    margin: int = 0  # px by which boxes may be off as far as it knows; above 0 it looks for them first

    @property
    def name(self) -> str:
        """The row's label."""
        return self.label or (f"{FOUND} {self.method}" if self.margin else self.method)

    def folder(self, seed: int) -> Path | None:
        """Weights of one seed."""
        return None if self.weights is None else Path(str(self.weights).replace(SEED, str(seed)))

    def make(self, seed: int, device: str, runtime: str = "auto") -> Method:
        """Make the method; FlipError where it, its weights or what it needs is not there.

        runtime: of methods that have a choice, see `flipagents.methods.has_runtimes`, and of the search for the box.
        """
        weights = self.folder(seed)
        own = runtime if has_runtimes(self.method) else "auto"
        method = make_method(self.method, weights, device, runtime=own, evaluation=True)
        return Found(method, self.margin, weights, device, runtime) if self.margin else method

    def runtime(self, seed: int, device: str, runtime: str = "auto") -> str | None:
        """What `make` would let run the networks of a pipeline, "onnx" or "torch"; None where there are none.

        FlipError as `make`.
        """
        if not (self.margin or has_runtimes(self.method)):
            return None
        _, _, path = self.method.partition(":")
        return runtime_of(pipeline_folder(path or self.folder(seed), runtime, device))


class Cases:
    """The cases of a source, all with masks, their boxes moved by one draw; as many as fit are kept in memory.

    shift: least and largest distance in px of the image, evenly drawn in an even direction, the same for the same case
    and seed. Raises SourceError, when cases are read, for one without a mask.
    """

    def __init__(self, source: Source, shift: tuple[float, float] = (0.0, 0.0), seed: int = 0) -> None:
        self.source, self.shift, self.seed = source, shift, seed
        self._pool = EpisodePool(source, EnvConfig(jitter=shift, variants=seed + 1), cache=False)
        self._kept: dict[int, Case] = {}

    def __len__(self) -> int:
        return len(self.source)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def load(self, index: int) -> Case:
        """Read one case."""
        if index in self._kept:
            return self._kept[index]
        case = self._pool.case(index * (self.seed + 1) + self.seed)
        if case.mask is None:
            raise SourceError(f"case {case.id!r} has no mask; an evaluation compares with masks: leave it out")
        if len(self) <= KEPT:
            self._kept[index] = case
        return case

    def chunks(self) -> Iterator[list[Case]]:
        """All cases in order, CHUNK at a time."""
        for start in range(0, len(self), CHUNK):
            yield [self.load(index) for index in range(start, min(start + CHUNK, len(self)))]

    @functools.cached_property
    def digest(self) -> str:
        """Digest of all that they are, read once."""
        moved = json.dumps([self.shift, self.seed if self.shift[1] else 0])
        return digest(moved, *[self.source.fingerprint(index) for index in range(len(self))])


@dataclass(frozen=True)
class Evaluation:
    """One candidate on all cases with one seed."""

    candidate: Candidate
    cases: Cases
    device: str = "cpu"
    runtime: str = "auto"  # see `Candidate.make`

    def run(self) -> list[CaseScore]:
        """Segment and score every case. Raises what the method raises, and as `Cases` does."""
        name, seed = self.candidate.name, self.cases.seed
        method = self.candidate.make(seed, self.device, self.runtime)
        rows = []
        for cases in self.cases.chunks():
            started = time.perf_counter()
            masks = run_method(method, cases)
            ms = 1000 * (time.perf_counter() - started) / len(cases)
            rows += [score(name, seed, case, mask, ms) for case, mask in zip(cases, masks, strict=True)]
        return rows

    def key(self) -> str:
        """Digest of all that its numbers depend on: method, weights, cases, device and code."""
        candidate = self.candidate
        told = json.dumps([candidate.method, candidate.margin, self.device, self.runtime])
        weights = [weights_digest(candidate.folder(self.cases.seed))]
        name, _, path = candidate.method.partition(":")  # as in onnx:FILE
        weights.append(weights_digest(Path(path) if path else None))
        makers = [METHODS[each] for each in METHODS if each == name]
        return digest(told, *weights, self.cases.digest, code_digest(*makers))


class Store:
    """A folder of finished evaluations: NAME-KEY.csv holds the rows, NAME-KEY.json what they came from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, evaluation: Evaluation) -> list[CaseScore] | None:
        """The rows of an evaluation that is finished, None where it is not, or where its file is damaged."""
        path = self._path(evaluation)
        try:
            rows = from_csv(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        name, seed = evaluation.candidate.name, evaluation.cases.seed
        own = [dataclasses.replace(row, method=name, seed=seed) for row in rows]
        return own if [row.case for row in own] == list(evaluation.cases.source.ids) else None

    def save(self, evaluation: Evaluation, rows: list[CaseScore], about: dict[str, Any]) -> None:
        """Write the rows, or nothing; OutputError where the disk refuses."""
        path = self._path(evaluation)
        candidate = evaluation.candidate
        told = {
            "method": without_folders(candidate.method),
            "margin": candidate.margin,
            "weights": without_folders(str(candidate.folder(evaluation.cases.seed) or "")),
            "shift": list(evaluation.cases.shift),
            "seed": evaluation.cases.seed,
            "device": evaluation.device,
            "runtime": candidate.runtime(evaluation.cases.seed, evaluation.device, evaluation.runtime),
            **about,
        }
        write_texts({path.with_suffix(".json"): json.dumps(told, indent=1) + "\n", path: to_csv(rows)})

    def _path(self, evaluation: Evaluation) -> Path:
        name = file_names([evaluation.candidate.name])[0]
        return self.folder / f"{name}-{evaluation.key()[:16]}.csv"
