"""Methods side by side on cases whose masks are known: numbers for each case, and tables with intervals."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import Progress

from flipagents import tables
from flipagents.evaluation import FOUND, SEED, Candidate, Cases, Evaluation, Store
from flipagents.methods import METHODS, Maker
from flipagents.outputs import write_texts
from flipagents.provenance import about, without_folders
from flipagents.scoring import CaseScore, to_csv
from flipagents.summaries import ALL, Summary, summarise
from flipenv.errors import ConfigError, FlipError
from flipenv.sources import SourceLike, open_source

ALWAYS = ("box", "ellipse")  # rows of every table: what the box alone gives
REFERENCES = ("ellipse", "flip", f"{FOUND} flip")  # to which differences are taken, where they are in the table
EVALUATIONS = "evaluations"  # folder of finished ones, in a report's folder

Told = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """All numbers of one table."""

    scores: list[CaseScore]
    summaries: list[Summary]
    bounds: tuple[float, float] | None  # box areas in px² at which small and medium boxes end
    missing: Mapping[str, str]  # rows that were not run, and why
    about: dict[str, Any]  # versions, commit, command, machine, time, source

    def row(self, method: str, group: str = ALL) -> Summary | None:
        """One method's summary; None where it was not run, or the group is not there."""
        return next((row for row in self.summaries if (row.method, row.group) == (method, group)), None)

    def markdown(self) -> str:
        """A table for all cases, one a class where the source names classes, and one a third of the box areas."""
        return tables.markdown(self.summaries, self.bounds, self.missing)

    def write(self, folder: str | Path) -> list[Path]:
        """Write cases.csv, table.md, table.tex and report.json, all or none; OutputError where the disk refuses."""
        folder = Path(folder)
        told = {
            "about": self.about,
            "box_areas_px2": self.bounds,
            "not_run": dict(self.missing),
            "summaries": [_plain(dataclasses.asdict(row)) for row in self.summaries],
        }
        texts = {
            folder / "cases.csv": to_csv(self.scores),
            folder / "table.md": self.markdown(),
            folder / "table.tex": tables.latex(self.summaries, self.bounds, self.missing),
            folder / "report.json": json.dumps(_plain(told), indent=1) + "\n",
        }
        write_texts(texts)
        return list(texts)


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
    """Run methods (see `flipagents.methods`), and always box and ellipse, on every case of a source.

    shift: least and largest distance in image px by which each box is moved first, evenly drawn in an even direction,
    the same for the same case id and seed. margin: by how many px a box may be off as far as the methods know: above 0,
    each method given by its name, but not the rows of box and ellipse, gets a box found again
    (`flipagents.methods.Found`), and its row says so. weights, device: for methods that want them; a name of weights
    with `{seed}` in it stands for a folder a seed. runtime: "onnx", "torch" or "auto" (see `flipagents.runtimes`), of
    the methods that have a choice; what each used is in the report's `about`. A method whose numbers depend on no seed
    is run for the first alone.

    folder: finished evaluations are kept under it and are not run again by the same code, so that a run that was killed
    goes on; again: run them all the same. jobs: evaluations side by side, in processes of their own; times are then
    longer. strict: raise what a method raises; else it is listed as not run, and the others go on.
    references: methods to which differences of Dice are taken. draws: of the bootstrap. tell: called with a line after
    each evaluation. Raises SourceError for a case without a mask, ConfigError for an unknown method.
    """
    opened = open_source(source)
    store = None if folder is None else Store(Path(folder) / EVALUATIONS)
    told = about()
    rows = _candidates(methods, margin, weights)
    cases = {seed: Cases(opened, shift, seed) for seed in seeds}
    waiting = [Evaluation(row, cases[seed], device, runtime) for row in rows for seed in _seeds_of(row, shift, seeds)]
    done: dict[int, list[CaseScore]] = {}
    missing: dict[str, str] = {}
    say = tell or (lambda line: None)
    if store is not None and not again:
        for index, each in enumerate(waiting):
            found = store.load(each)
            if found is not None:
                done[index] = found
                say(f"{_named(each)}: {_dice(found)}, there already")
    left = [index for index in range(len(waiting)) if index not in done]
    with Progress(console=Console(stderr=True), transient=True, disable=not (progress and sys.stderr.isatty())) as bar:
        task = bar.add_task("evaluating", total=len(waiting), completed=len(done))
        for index, answer, seconds in _run(left, waiting, jobs):
            own = waiting[index]
            if isinstance(answer, FlipError):
                if strict or own.candidate.name in ALWAYS:
                    raise answer
                missing[own.candidate.name] = without_folders(str(answer))
                say(f"{_named(own)}: not run: {answer}")
            else:
                done[index] = answer
                if store is not None:
                    store.save(own, answer, {**told, "seconds": seconds})
                say(f"{_named(own)}: {_dice(answer)}, {seconds:.1f} s")
            bar.update(task, advance=1, description=f"evaluating: {own.candidate.name} done")
    scores = [score for index in sorted(done) if waiting[index].candidate.name not in missing for score in done[index]]
    summaries, bounds = summarise(scores, references, draws=draws)
    told["source"] = without_folders(source) if isinstance(source, str) else f"{len(opened)} cases in memory"
    told |= {"shift": list(shift), "seeds": list(seeds), "margin": margin, "device": device}
    used = {row.name: row.runtime(seeds[0], device, runtime) for row in rows if row.name not in missing}
    told["runtimes"] = {name: each for name, each in used.items() if each is not None}
    return Report(scores, summaries, bounds, missing, told)


def _candidates(methods: Sequence[str | Candidate], margin: int, weights: str | Path | None) -> list[Candidate]:
    """Rows of the table, box and ellipse first; ConfigError for two of one name."""
    rows = {name: Candidate(name) for name in ALWAYS}
    for each in methods:
        row = Candidate(each, weights=weights, margin=margin) if isinstance(each, str) else each
        if row.name in ALWAYS and row.method == row.name and not row.margin:
            continue
        if rows.setdefault(row.name, row) != row:
            raise ConfigError(f"two rows are named {row.name!r}; give one of them a label of its own")
    return list(rows.values())


def _seeds_of(row: Candidate, shift: tuple[float, float], seeds: Sequence[int]) -> Sequence[int]:
    """The seeds on which a row's numbers depend, the first where they depend on none."""
    return seeds if shift[1] > 0 or SEED in str(row.weights) else seeds[:1]


def _run(
    left: Sequence[int], waiting: Sequence[Evaluation], jobs: int
) -> Iterator[tuple[int, list[CaseScore] | FlipError, float]]:
    """Number, rows or error, and seconds of each evaluation, in the order in which they end."""
    if jobs == 1 or len(left) < 2:
        for index in left:
            yield _run_one(index, waiting[index], None)
        return
    makers = {name: METHODS[name] for name in METHODS}
    yield from Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(_run_one)(index, waiting[index], makers.get(waiting[index].candidate.method)) for index in left
    )


def _run_one(index: int, evaluation: Evaluation, maker: Maker | None) -> tuple[int, list[CaseScore] | FlipError, float]:
    """Run in this or in a worker process, which does not know what the user's own script registered."""
    name = evaluation.candidate.method
    if maker is not None and name not in METHODS:
        METHODS.register(name)(maker)
    started = time.perf_counter()
    try:
        answer: list[CaseScore] | FlipError = evaluation.run()
    except FlipError as error:
        answer = error
    return index, answer, round(time.perf_counter() - started, 3)


def _named(evaluation: Evaluation) -> str:
    shift = f", boxes moved by {evaluation.cases.shift[0]:g}-{evaluation.cases.shift[1]:g} px"
    return f"{evaluation.candidate.name}{shift if evaluation.cases.shift[1] else ''}, seed {evaluation.cases.seed}"


def _dice(scores: Sequence[CaseScore]) -> str:
    return f"Dice {sum(score.dice for score in scores) / len(scores):.4f}, n = {len(scores)}"


def _plain(value: Any) -> Any:
    """The value as JSON holds it: intervals by name, None for numbers that are not finite."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
