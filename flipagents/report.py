"""Methods side by side on cases whose masks are known: numbers for each case, and one table with intervals."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from flipagents import metrics
from flipagents.methods import Found, Mask, Method, make_method, run_method
from flipagents.metrics import Interval
from flipagents.outputs import write_texts
from flipenv.config import EnvConfig
from flipenv.errors import SourceError
from flipenv.pool import EpisodePool
from flipenv.sources import SourceLike
from flipenv.types import Case

ALWAYS = ("box", "ellipse")  # rows of every table: what the box alone gives
REFERENCE = "ellipse"  # to which differences are taken
FOUND = "found"  # before the names of methods that get a box found again
CHUNK = 128  # cases in memory at once, and the most that a method gets in one call
PACKAGES = ("flip-learning", "numpy", "opencv-contrib-python", "opencv-contrib-python-headless", "scipy", "torch")


@dataclass(frozen=True)
class CaseScore:
    """One method on one case; see `flipagents.metrics` for what an empty mask gives."""

    method: str
    case: str
    group: str  # the case's class, such as benign; "" where its source names none
    dice: float
    jaccard: float
    conformity: float
    hausdorff: float  # px of the image
    asd: float  # px of the image
    empty: bool  # nothing was segmented
    ms: float  # wall time an image, a call's time shared evenly among its images; loading a model is not in it


@dataclass(frozen=True)
class Summary:
    """One method on one group of cases: a row of the table."""

    method: str
    group: str  # "all" or a class
    n: int  # cases
    dice: Interval
    dice_std: float  # of the cases
    dice_median: float
    difference: Interval  # of Dice to the ellipse's on the same case
    jaccard: float
    conformity_median: float  # the mean would be -inf after one case of Dice 0
    hausdorff: float  # px, mean over cases that are not empty
    asd: float  # px, likewise
    empty: float  # share of the cases
    ms: float  # an image


@dataclass(frozen=True)
class Report:
    """All numbers of one evaluation."""

    scores: list[CaseScore]
    summaries: list[Summary]
    about: dict[str, Any]  # versions, commit, command, machine

    def markdown(self) -> str:
        """A table for all cases, and one a class where the source names classes."""
        groups = list(dict.fromkeys(row.group for row in self.summaries))
        return "\n".join(_table(group, [row for row in self.summaries if row.group == group]) for group in groups)

    def write(self, folder: str | Path) -> list[Path]:
        """Write cases.csv, table.md and report.json, all or none; OutputError where the disk refuses."""
        folder = Path(folder)
        names = [field.name for field in dataclasses.fields(CaseScore)]
        table = io.StringIO(newline="")
        rows = csv.DictWriter(table, names, lineterminator="\n")
        rows.writeheader()
        for score in self.scores:
            rows.writerow(dataclasses.asdict(score))
        summaries = [
            {**vars(row), "dice": row.dice._asdict(), "difference": row.difference._asdict()} for row in self.summaries
        ]
        texts = {
            folder / "cases.csv": table.getvalue(),
            folder / "table.md": self.markdown(),
            folder / "report.json": json.dumps(_finite({"about": self.about, "summaries": summaries}), indent=1) + "\n",
        }
        write_texts(texts)
        return list(texts)


def evaluate(
    source: SourceLike,
    methods: Sequence[str] = ("polar", "flip"),
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    margin: int = 0,
    weights: str | Path | None = None,
    device: str = "cpu",
    draws: int = 10_000,
    progress: bool = True,
) -> Report:
    """Run methods (see `flipagents.methods`), and always box and ellipse, on every case of a source.

    shift: least and largest distance in image px by which each box is moved first, evenly drawn in an even direction,
    the same for the same case id. margin: by how many px a box may be off as far as the methods know: above 0, each
    method but the rows of box and ellipse gets a box found again (`flipagents.methods.Found`), and its row says so.
    weights, device: for methods that want them. draws: of the bootstrap.
    Raises SourceError for a case without a mask, ConfigError for an unknown method.
    """
    opened = EpisodePool(source, EnvConfig(jitter=shift), cache=False)

    def make(name: str) -> Method:
        return make_method(name, weights, device, evaluation=True)

    made = {name: make(name) for name in ALWAYS}
    for name in dict.fromkeys(methods):
        if margin:
            made[f"{FOUND} {name}"] = Found(make(name), margin, weights, device)
        elif name not in made:
            made[name] = make(name)
    scores: dict[str, list[CaseScore]] = {name: [] for name in made}
    with Progress(console=Console(stderr=True), transient=True, disable=not (progress and sys.stderr.isatty())) as bar:
        task = bar.add_task("evaluating", total=len(opened) * len(made))
        for cases in _chunks(opened):
            for name, method in made.items():
                started = time.perf_counter()
                masks = run_method(method, cases)
                ms = 1000 * (time.perf_counter() - started) / len(cases)
                scores[name] += [_score(name, case, mask, ms) for case, mask in zip(cases, masks, strict=True)]
                bar.update(task, advance=len(cases), description=f"evaluating {name}")
    return Report(
        [score for each in scores.values() for score in each],
        _summaries(scores, draws),
        {**about(), "source": str(source), "shift": list(shift), "margin": margin},
    )


def about() -> dict[str, Any]:
    """What a number is to be read with: versions, commit (None outside a checkout), command, machine."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "command": " ".join(["flip", *sys.argv[1:]]) if Path(sys.argv[0]).stem in ("flip", "__main__") else None,
        "commit": _commit(),
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    }


def _chunks(pool: EpisodePool) -> Iterator[list[Case]]:
    for start in range(0, len(pool), CHUNK):
        cases = [pool.case(index) for index in range(start, min(start + CHUNK, len(pool)))]
        for case in cases:
            if case.mask is None:
                raise SourceError(f"case {case.id!r} has no mask; an evaluation compares with masks: leave it out")
        yield cases


def _score(method: str, case: Case, mask: Mask, ms: float) -> CaseScore:
    ours, truth = _cut(mask, np.asarray(case.mask))
    return CaseScore(
        method=method,
        case=case.id,
        group=case.meta.get("class", ""),
        dice=metrics.dice(ours, truth),
        jaccard=metrics.jaccard(ours, truth),
        conformity=metrics.conformity(ours, truth),
        hausdorff=metrics.hausdorff(ours, truth),
        asd=metrics.average_surface_distance(ours, truth),
        empty=not mask.any(),
        ms=ms,
    )


def _cut(mask: Mask, truth: Mask) -> tuple[Mask, Mask]:
    """Both masks without the rows and columns in which neither has a pixel, but for a rim of one pixel.

    Distances stay as they are, and take a tenth of the time.
    """
    either = mask | truth
    if not either.any():
        return mask, truth
    rows, columns = (np.flatnonzero(either.any(axis=axis)) for axis in (1, 0))
    part = np.s_[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
    return mask[part], truth[part]


def _summaries(scores: dict[str, list[CaseScore]], draws: int) -> list[Summary]:
    classes = sorted({score.group for score in scores[REFERENCE]} - {""})
    groups = ["all", *classes] if len(classes) > 1 else ["all"]
    return [
        _summary(name, group, _of(group, own), _of(group, scores[REFERENCE]), draws)
        for group in groups
        for name, own in scores.items()
    ]


def _of(group: str, scores: list[CaseScore]) -> list[CaseScore]:
    return [score for score in scores if group in ("all", score.group)]


def _summary(method: str, group: str, own: list[CaseScore], reference: list[CaseScore], draws: int) -> Summary:
    columns = {name: np.array([getattr(score, name) for score in own], float) for name in _NUMBERS}
    dice = columns["dice"]
    return Summary(
        method=method,
        group=group,
        n=len(own),
        dice=metrics.bootstrap(dice, draws=draws),
        dice_std=float(dice.std(ddof=1)) if len(own) > 1 else math.nan,
        dice_median=float(np.median(dice)),
        difference=metrics.paired_difference(dice, [score.dice for score in reference], draws=draws),
        jaccard=_mean(columns["jaccard"]),
        conformity_median=float(np.median(columns["conformity"])),
        hausdorff=_mean(columns["hausdorff"]),
        asd=_mean(columns["asd"]),
        empty=_mean(columns["empty"]),
        ms=_mean(columns["ms"]),
    )


_NUMBERS = ("dice", "jaccard", "conformity", "hausdorff", "asd", "empty", "ms")
_HEADER = (
    "method",
    "Dice, mean ± std",
    "95% interval",
    "median",
    "Dice − ellipse [95% interval]",
    "Jaccard",
    "HD, px",
    "ASD, px",
    "empty",
    "ms/image",
)


def _table(group: str, rows: list[Summary]) -> str:
    lines = [f"{group} ({rows[0].n} cases)", "", f"| {' | '.join(_HEADER)} |", "|---" * len(_HEADER) + "|"]
    for row in rows:
        apart = row.difference
        cells = (
            row.method,
            f"{row.dice.mean:.4f} ± {row.dice_std:.4f}",
            f"{row.dice.low:.4f} to {row.dice.high:.4f}",
            f"{row.dice_median:.4f}",
            "—" if row.method == REFERENCE else f"{apart.mean:+.4f} [{apart.low:+.4f}, {apart.high:+.4f}]",
            f"{row.jaccard:.4f}",
            f"{row.hausdorff:.2f}",
            f"{row.asd:.2f}",
            f"{row.empty:.1%}",
            f"{row.ms:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _mean(values: np.ndarray[Any, Any]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _finite(value: Any) -> Any:
    """The value as JSON holds it: None for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _commit() -> str | None:
    """Commit of the checkout that this file is tracked in, marked where files differ from it."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return f"{git('rev-parse', 'HEAD')}{'+changes' if git('status', '--porcelain', '--untracked-files=no') else ''}"
