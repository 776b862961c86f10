"""Compare methods on cases with known masks: metrics per case, and tables with intervals."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from flipagents.compare import tables
from flipagents.compare.evaluation import FOUND, SEED, Candidate, Cases, Evaluation, Outcome, Store
from flipagents.compare.methods import METHODS, Maker, Method, check_method
from flipagents.compare.reliability import reliabilities
from flipagents.compare.scoring import CaseScore, Failure, to_csv
from flipagents.compare.summaries import ALL, Summary, summarise
from flipagents.machine.devices import check_device
from flipagents.store.checkpoint import weights_folder
from flipagents.store.files import check_writable, write_texts
from flipagents.store.provenance import about, without_folders
from flipagents.store.recipe import PIPELINE, pipeline_digest
from flipenv.errors import ConfigError, FlipError
from flipenv.options import between
from flipenv.progress import log_line, show_progress
from flipenv.sources import SourceLike, open_source

ALWAYS = ("box", "ellipse")  # rows of every table: masks from the box alone
REFERENCES = ("ellipse", "flip", f"{FOUND} flip")  # methods from which differences are taken, if in the table
EVALUATIONS = "evaluations"  # subfolder of finished evaluations in a report's folder

Told = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """All results of one comparison."""

    scores: list[CaseScore]
    summaries: list[Summary]
    bounds: tuple[float, float] | None  # upper box areas in px² of small and medium boxes
    missing: Mapping[str, str]  # rows that were not run, with the reason
    about: dict[str, Any]  # versions, commit, command, machine, time, source
    failures: list[Failure] = field(default_factory=list)  # cases missing from all rows or from a method's row

    def row(self, method: str, group: str = ALL) -> Summary | None:
        """One method's summary; None if it was not run or there is no such group."""
        return next((row for row in self.summaries if (row.method, row.group) == (method, group)), None)

    def markdown(self) -> str:
        """A table of all cases, one per class if the source names classes, and one per third of the box areas.

        A case that cannot be read is in no row. A case on which a method failed is excluded from, but counted in, that
        method's row, and excluded from differences with it. All are listed below the tables. A last table tells how far
        the predicted Dice of methods with a quality can be trusted.
        """
        return tables.markdown(self.summaries, self.bounds, self.missing, self._shared(), reliabilities(self.scores))

    def write(self, folder: str | Path) -> list[Path]:
        """Write cases.csv, table.md, table.tex and report.json, all or none; OutputError if one cannot be written."""
        folder = Path(folder)
        content = {
            "about": self.about,
            "box_areas_px2": self.bounds,
            "not_run": dict(self.missing),
            "failed": [vars(failure) for failure in self._shared()],
            "qualities": {name: _plain(vars(own)) for name, own in reliabilities(self.scores).items()},
            "summaries": [_plain(dataclasses.asdict(row)) for row in self.summaries],
        }
        texts = {
            folder / "cases.csv": to_csv(self.scores),
            folder / "table.md": self.markdown(),
            folder / "table.tex": tables.latex(self.summaries, self.bounds, self.missing, self._shared()),
            folder / "report.json": json.dumps(_plain(content), indent=1) + "\n",
        }
        write_texts(texts)
        return list(texts)

    def _shared(self) -> list[Failure]:
        """The failures without local directories."""
        return [dataclasses.replace(failure, reason=without_folders(failure.reason)) for failure in self.failures]


def evaluate(
    source: SourceLike,
    methods: Sequence[str | Candidate] = ("polar", "flip"),
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    seeds: Sequence[int] = (0,),
    margin: int = 0,
    weights: str | Path | None = None,
    device: str = "cpu",
    runtime: str = "auto",
    folder: str | Path | None = None,
    again: bool = False,
    jobs: int = 1,
    strict: bool = True,
    references: Sequence[str] = REFERENCES,
    draws: int = 10_000,
    progress: bool = True,
    tell: Told | None = None,
) -> Report:
    """Run methods (see `flipagents.compare.methods`), and always box and ellipse, on every case of a source.

    shift: least and largest distance in image px by which each box is moved first; distance and direction are drawn
    uniformly, reproducibly for a case id and seed. margin: box tolerance in px: above 0, the box of each method given
    by name, except box and ellipse, is relocated first (`flipagents.compare.ours.Found`), and its row is labelled so.
    weights, device: for methods that need them; `{seed}` in the path of the weights stands for a folder per seed.
    runtime: "onnx", "torch" or "auto" (see `flipagents.segment.runtimes`), for methods with a choice; the report's
    `about` records the one used. A method that does not depend on the seed runs only for the first one.

    folder: finished evaluations are saved here and reused by the same code, so that a killed run resumes; again: run
    them anyway. jobs: parallel evaluations in separate processes; this inflates the times. strict: raise if a method
    cannot be made; otherwise it is listed as not run and the others continue. references: methods from which
    differences of Dice are taken. draws: bootstrap samples. tell: called with a line after each evaluation; None writes
    to the log, see `flipenv.progress`.

    Cases that cannot be read, have no mask, or on which a method fails are listed (`Report.failures`), and the others
    continue; a method that fails on all of them is listed as not run. Raises, before anything is computed, ConfigError
    for an unknown method or device and for invalid values, OutputError if the folder is not writable; and SourceError
    if no case can be read.
    """
    device = check_device(device, runtime=runtime)
    _check_numbers(shift, seeds, margin, jobs, draws)
    rows = _candidates(methods, margin, weights)
    for row in rows if strict else ():
        check_method(row.method)
    if folder is not None:
        check_writable(Path(folder))
    opened = open_source(source)
    store = None if folder is None else Store(Path(folder) / EVALUATIONS)
    provenance = about()
    cases = {seed: Cases(opened, shift, seed) for seed in seeds}
    waiting = [Evaluation(row, cases[seed], device, runtime) for row in rows for seed in _seeds_of(row, shift, seeds)]
    done: dict[int, Outcome] = {}
    missing: dict[str, str] = {}
    note = tell or (lambda line: log_line(line, quiet=not progress))
    if store is not None and not again:
        for index, evaluation in enumerate(waiting):
            found = store.load(evaluation)
            if found is not None:
                done[index] = found
                note(f"{_named(evaluation)}: {_dice(found)}, already done")
    left = [index for index in range(len(waiting)) if index not in done]
    with show_progress(
        "evaluating", len(waiting) * len(opened), done=len(done) * len(opened), quiet=not progress
    ) as shown:
        for index, answer, seconds in _run(left, waiting, jobs, strict, shown.advance):
            own, name = waiting[index], waiting[index].candidate.name
            if isinstance(answer, FlipError):
                if strict or name in ALWAYS:
                    raise answer
                missing[name] = without_folders(str(answer))
                note(f"{_named(own)}: not run: {answer}")
                continue
            done[index] = answer
            if not answer.rows:
                missing[name] = without_folders(f"it failed on every case, for example {_first(answer)}")
            if store is not None:
                store.save(own, answer, {**provenance, "seconds": seconds})
            note(f"{_named(own)}: {_dice(answer)}, {seconds:.1f} s")
    kept = [done[index] for index in sorted(done) if waiting[index].candidate.name not in missing]
    failures = _failures([done[index] for index in sorted(done)], opened.ids)
    lost = {row.name: {failure.case for failure in failures if failure.method == row.name} for row in rows}
    unread = {failure.case for failure in failures if not failure.method}
    scores = [score for outcome in kept for score in outcome.rows if score.case not in unread]
    summaries, bounds = summarise(scores, references, failed=lost, draws=draws)
    provenance["source"] = without_folders(source) if isinstance(source, str) else f"{len(opened)} cases in memory"
    provenance |= {"shift": list(shift), "seeds": list(seeds), "margin": margin, "device": device}
    used = {row.name: row.runtime(seeds[0], device, runtime) for row in rows if row.name not in missing}
    provenance["weights"] = _weights(weights)
    provenance["runtimes"] = {name: chosen for name, chosen in used.items() if chosen is not None}
    return Report(scores, summaries, bounds, missing, provenance, failures)


def _weights(folder: str | Path | None) -> str | None:
    """Digest of the pipeline used by methods without weights of their own; None if its folder holds none."""
    where = weights_folder(folder)
    return pipeline_digest(where) if (where / PIPELINE).exists() else None


def _check_numbers(shift: tuple[float, float], seeds: Sequence[int], margin: int, jobs: int, draws: int) -> None:
    """Raise ConfigError for invalid numbers."""
    for distance in shift:
        between("shift", distance, 0.0, 1e6)
    if len(shift) != 2 or shift[0] > shift[1]:
        raise ConfigError(f"shift={tuple(shift)}; expected two distances in px, the smaller first, such as (10, 20)")
    if not seeds:
        raise ConfigError("seeds is empty; expected at least one, such as 0")
    for seed in seeds:
        between("seed", seed, 0, 10**6, whole=True)
    between("margin", margin, 0, 10**6, whole=True)
    between("draws", draws, 1, 10**9, whole=True)
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs == 0:
        raise ConfigError(f"jobs={jobs!r}; expected a number of processes, -1 for one per core")


def _failures(outcomes: Sequence[Outcome], ids: Sequence[str]) -> list[Failure]:
    """Unreadable cases, each once, then the failures of each method, in the order of the cases."""
    first: dict[tuple[str, str], Failure] = {}
    for outcome in outcomes:
        for failure in outcome.failures:
            first.setdefault((failure.method, failure.case), failure)
    unread = {case for method, case in first if not method}
    place = {case: index for index, case in enumerate(ids)}
    methods = list(dict.fromkeys(["", *(method for method, _ in first)]))
    kept = [failure for failure in first.values() if not failure.method or failure.case not in unread]
    return sorted(kept, key=lambda failure: (methods.index(failure.method), place[failure.case]))


def _first(outcome: Outcome) -> str:
    failure = next(failure for failure in outcome.failures if failure.method)
    return f"{failure.case}: {failure.reason}"


def _candidates(methods: Sequence[str | Candidate], margin: int, weights: str | Path | None) -> list[Candidate]:
    """Rows of the table, box and ellipse first; ConfigError for duplicate names."""
    rows = {name: Candidate(name) for name in ALWAYS}
    for method in methods:
        row = Candidate(method, weights=weights, margin=margin) if isinstance(method, str) else method
        if row.name in ALWAYS and row.method == row.name and not row.margin:
            continue
        if rows.setdefault(row.name, row) != row:
            raise ConfigError(f"two rows are named {row.name!r}; give one of them a label")
    return list(rows.values())


def _seeds_of(row: Candidate, shift: tuple[float, float], seeds: Sequence[int]) -> Sequence[int]:
    """The seeds that affect a row; the first one if none does."""
    return seeds if shift[1] > 0 or SEED in str(row.weights) else seeds[:1]


def _run(
    left: Sequence[int],
    waiting: Sequence[Evaluation],
    jobs: int,
    strict: bool,
    advance: Callable[[int], None],
) -> Iterator[tuple[int, Outcome | FlipError, float]]:
    """Index, outcome or error, and seconds of each evaluation, in the order in which they finish.

    advance: called with the number of cases processed since the last call.
    """
    if jobs == 1 or len(left) < 2:
        # all are made before the first one runs, so that missing weights show at once
        made = {index: waiting[index].make() for index in left} if strict else {}
        for index in left:
            yield _run_one(index, waiting[index], made.pop(index, None), advance)
        return
    makers = {name: METHODS[name] for name in METHODS}
    for answer in Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(_run_there)(index, waiting[index], makers.get(waiting[index].candidate.method)) for index in left
    ):
        advance(len(waiting[answer[0]].cases))
        yield answer


def _run_there(index: int, evaluation: Evaluation, maker: Maker | None) -> tuple[int, Outcome | FlipError, float]:
    """Run in a worker process, where the methods registered by the user's script are not known yet."""
    name = evaluation.candidate.method
    if maker is not None and name not in METHODS:
        METHODS.register(name)(maker)
    return _run_one(index, evaluation, None, int)


def _run_one(
    index: int, evaluation: Evaluation, method: Method | None, advance: Callable[[int], object]
) -> tuple[int, Outcome | FlipError, float]:
    started = time.perf_counter()
    try:
        answer: Outcome | FlipError = evaluation.run(method, advance)
    except FlipError as error:
        answer = error
    return index, answer, round(time.perf_counter() - started, 3)


def _named(evaluation: Evaluation) -> str:
    shift = f", boxes moved by {evaluation.cases.shift[0]:g}-{evaluation.cases.shift[1]:g} px"
    return f"{evaluation.candidate.name}{shift if evaluation.cases.shift[1] else ''}, seed {evaluation.cases.seed}"


def _dice(outcome: Outcome) -> str:
    rows, failed = outcome.rows, len(outcome.failures)
    mean = f"Dice {sum(row.dice for row in rows) / len(rows):.4f}, " if rows else ""
    return f"{mean}n = {len(rows)}{f', {failed} failed' if failed else ''}"


def _plain(value: Any) -> Any:
    """Convert to JSON data: intervals by field name, None for non-finite numbers."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
