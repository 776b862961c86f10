"""Evaluate one method on all cases of a source; results are saved as they finish, then reused."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flipagents.compare.methods import METHODS, Method, has_runtimes, make_method, run_rated
from flipagents.compare.ours import Found
from flipagents.compare.scoring import CaseScore, Failure, from_csv, score, to_csv
from flipagents.segment.runtimes import pipeline_folder, runtime_of
from flipagents.store.checkpoint import weights_folder
from flipagents.store.files import file_names, write_texts
from flipagents.store.provenance import code_digest, weights_digest, without_folders
from flipenv.config import EnvConfig
from flipenv.errors import FlipError, MissingDependencyError, SourceError
from flipenv.pool import EpisodePool
from flipenv.sources import Source
from flipenv.sources.contents import digest
from flipenv.types import Case

FOUND = "found"  # prefix of methods whose boxes are relocated first
CHUNK = 128  # most cases per call of a method
KEPT = 512  # cases kept in memory for the next method; a larger source is read again for each
SEED = "{seed}"  # placeholder in a folder's name if each seed has its own weights


@dataclass(frozen=True)
class Candidate:
    """A method with its settings: one row of a table."""

    method: str  # name, see `flipagents.compare.methods`
    label: str = ""  # of the row; "" for the method's name, prefixed with `found` if boxes are relocated
    weights: str | Path | None = None  # folder, may contain {seed}; or a name of shipped weights; None for the default
    margin: int = 0  # box tolerance in px; above 0, boxes are relocated first

    @property
    def name(self) -> str:
        """The row's label."""
        return self.label or (f"{FOUND} {self.method}" if self.margin else self.method)

    def folder(self, seed: int) -> Path | None:
        """Weights of one seed."""
        return None if self.weights is None else weights_folder(str(self.weights).replace(SEED, str(seed)))

    def make(self, seed: int, device: str, runtime: str = "auto") -> Method:
        """Make the method; FlipError if it, its weights or its dependencies are missing.

        runtime: for methods with a choice, see `flipagents.compare.methods.has_runtimes`, and for relocating boxes.
        """
        weights = self.folder(seed)
        own = runtime if has_runtimes(self.method) else "auto"
        method = make_method(self.method, weights, device, runtime=own, evaluation=True)
        return Found(method, self.margin, weights, device, runtime) if self.margin else method

    def runtime(self, seed: int, device: str, runtime: str = "auto") -> str | None:
        """Runtime that `make` would choose for a pipeline's networks, "onnx" or "torch"; None without networks.

        FlipError as `make`.
        """
        if not (self.margin or has_runtimes(self.method)):
            return None
        _, _, path = self.method.partition(":")
        return runtime_of(pipeline_folder(path or self.folder(seed), runtime, device))


class Cases:
    """The cases of a source with randomly shifted boxes; as many as fit are kept in memory.

    shift: least and largest distance in image px; distance and direction are drawn uniformly, reproducibly for a case
    and seed.
    """

    def __init__(self, source: Source, shift: tuple[float, float] = (0.0, 0.0), seed: int = 0) -> None:
        self.source, self.shift, self.seed = source, shift, seed
        self._pool = EpisodePool(source, EnvConfig(jitter=shift, variants=seed + 1), cache=False)
        self._kept: dict[int, Case] = {}
        self._refused: dict[int, FlipError] = {}  # errors of cases that could not be loaded

    def __len__(self) -> int:
        return len(self.source)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def load(self, index: int) -> Case:
        """Read one case; FlipError if it cannot be read or has no mask. Failures are not retried."""
        if index in self._kept:
            return self._kept[index]
        if index in self._refused:
            raise self._refused[index]
        try:
            case = self._pool.case(index * (self.seed + 1) + self.seed)
            if case.mask is None:
                raise SourceError("has no mask, which an evaluation needs")
        except FlipError as error:
            self._refused[index] = error
            raise
        if len(self) <= KEPT:
            self._kept[index] = case
        return case

    def some(self, indices: Iterable[int]) -> tuple[list[Case], list[Failure]]:
        """The readable ones of these cases, in order, and the failures of the others."""
        cases, failures = [], []
        for index in indices:
            try:
                cases.append(self.load(index))
            except FlipError as error:
                failures.append(Failure(self.source.ids[index], str(error)))
        return cases, failures

    @functools.cached_property
    def digest(self) -> str:
        """Digest of the contents of all cases, read once; for an unreadable case, of its error."""
        moved = json.dumps([self.shift, self.seed if self.shift[1] else 0])
        return digest(moved, *map(self._fingerprint, range(len(self))))

    def _fingerprint(self, index: int) -> str:
        try:
            return self.source.fingerprint(index)
        except FlipError as error:
            return f"{self.source.ids[index]}: {error}"


@dataclass(frozen=True)
class Outcome:
    """Result of an evaluation: each case is either in `rows` or in `failures`."""

    rows: list[CaseScore]
    failures: list[Failure]

    @property
    def whole(self) -> bool:
        """Whether the method segmented every readable case."""
        return not any(failure.method for failure in self.failures)


@dataclass(frozen=True)
class Evaluation:
    """One candidate on all cases with one seed."""

    candidate: Candidate
    cases: Cases
    device: str = "cpu"
    runtime: str = "auto"  # see `Candidate.make`

    def make(self) -> Method:
        """Make the method; FlipError as `Candidate.make`."""
        return self.candidate.make(self.cases.seed, self.device, self.runtime)

    def run(self, method: Method | None = None, tell: Callable[[int], object] = int) -> Outcome:
        """Segment and score every case; unreadable cases and failures of the method do not stop it.

        method: the result of `make`, None to make it. tell: called with the number of cases processed since the last
        call. Raises SourceError if no case can be read, MissingDependencyError if a dependency of the method is
        missing, and as `make`.
        """
        method = method or self.make()
        rows: list[CaseScore] = []
        failures: list[Failure] = []
        for start in range(0, len(self.cases), CHUNK):
            chunk = range(start, min(start + CHUNK, len(self.cases)))
            cases, unreadable = self.cases.some(chunk)
            found, failed = self._segment(method, cases)
            rows, failures = rows + found, failures + unreadable + failed
            tell(len(chunk))
        if not rows and not any(failure.method for failure in failures):
            first = f"the first, {failures[0].case!r}: {failures[0].reason}" if failures else "there is none"
            raise SourceError(f"none of {len(failures)} cases can be evaluated; {first}")
        return Outcome(rows, failures)

    def _segment(self, method: Method, cases: list[Case]) -> tuple[list[CaseScore], list[Failure]]:
        """All cases in one call; if that fails, one by one."""
        name, seed = self.candidate.name, self.cases.seed
        if not cases:
            return [], []
        started = time.perf_counter()
        try:
            rated = run_rated(method, cases)
        except MissingDependencyError:
            raise
        except FlipError as error:
            if len(cases) == 1:
                return [], [Failure(cases[0].id, str(error), name)]
            alone = [self._segment(method, [case]) for case in cases]
            return [row for rows, _ in alone for row in rows], [
                failure for _, failures in alone for failure in failures
            ]
        ms = 1000 * (time.perf_counter() - started) / len(cases)
        return [score(name, seed, case, own.mask, ms, own.quality) for case, own in zip(cases, rated, strict=True)], []

    def key(self) -> str:
        """Digest of everything its results depend on: method, weights, cases, device and code."""
        candidate = self.candidate
        settings = json.dumps([candidate.method, candidate.margin, self.device, self.runtime])
        weights = [weights_digest(candidate.folder(self.cases.seed))]
        name, _, path = candidate.method.partition(":")  # as in onnx:FILE
        weights.append(weights_digest(Path(path) if path else None))
        is_theirs = name in METHODS.names() and name not in METHODS.places  # ours are in the packages' digest
        makers = [METHODS[name]] if is_theirs else []
        return digest(settings, *weights, self.cases.digest, code_digest(*makers))


class Store:
    """A folder of finished evaluations: NAME-KEY.csv holds the rows, NAME-KEY.json their provenance.

    Evaluations in which the method failed on a case are not kept, so that they are tried again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, evaluation: Evaluation) -> Outcome | None:
        """The saved result of a finished evaluation; None if there is none or its files are damaged.

        Also None if a case that could not be read before can be read now.
        """
        path = self._path(evaluation)
        try:
            rows = from_csv(path.read_text(encoding="utf-8"))
            then = {each["case"] for each in json.loads(path.with_suffix(".json").read_text())["failed"]}
        except (OSError, ValueError, LookupError, TypeError):
            return None
        cases, (name, seed) = evaluation.cases, (evaluation.candidate.name, evaluation.cases.seed)
        own = [dataclasses.replace(row, method=name, seed=seed) for row in rows]
        _, failures = cases.some(index for index, each in enumerate(cases.source.ids) if each in then)
        now = {failure.case for failure in failures}
        same = now == then and [row.case for row in own] == [each for each in cases.source.ids if each not in now]
        return Outcome(own, failures) if same else None

    def save(self, evaluation: Evaluation, outcome: Outcome, about: dict[str, Any]) -> None:
        """Save an outcome if it is whole, else do nothing; OutputError if it cannot be written."""
        if not outcome.whole:
            return
        path = self._path(evaluation)
        candidate = evaluation.candidate
        content = {
            "method": without_folders(candidate.method),
            "margin": candidate.margin,
            "weights": without_folders(str(candidate.folder(evaluation.cases.seed) or "")),
            "shift": list(evaluation.cases.shift),
            "seed": evaluation.cases.seed,
            "device": evaluation.device,
            "runtime": candidate.runtime(evaluation.cases.seed, evaluation.device, evaluation.runtime),
            "failed": [
                {"case": failure.case, "reason": without_folders(failure.reason)} for failure in outcome.failures
            ],
            **about,
        }
        write_texts({path.with_suffix(".json"): json.dumps(content, indent=1) + "\n", path: to_csv(outcome.rows)})

    def _path(self, evaluation: Evaluation) -> Path:
        name = file_names([evaluation.candidate.name])[0]
        return self.folder / f"{name}-{evaluation.key()[:16]}.csv"
