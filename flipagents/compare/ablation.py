"""Ablations: configs x seeds from one file, each run trained and evaluated in its own folder, and a table of all runs.

    {
      "train": "busi:PATH?split=train",
      "val": "busi:PATH?split=val",
      "evaluate": "busi:PATH?split=val",
      "methods": ["flip", "flip+student"],
      "preset": "small",
      "device": "cpu",
      "seeds": [0, 1, 2],
      "configs": {"full": {}, "no prior": {"env": {"prior_weight": 0.0}}, "ppo": {"agent": "sb3-ppo"}},
      "slurm": {"timeout_min": 240, "gpus_per_node": 1}
    }

`train`, `evaluate` and `configs` are required. A config changes options of the preset, by part: env, learner,
classifier, student; or names another `agent` or `preset`. A seed applies to all parts. `slurm` is passed to submitit
unchanged. The file may also be YAML.
"""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from flipagents.compare.methods import check_method
from flipagents.compare.trainers import PARTS, check_options, train_method
from flipagents.machine.devices import check_name
from flipagents.store.files import file_names, write_texts
from flipagents.train.agentless import AGENTLESS
from flipenv.errors import ConfigError, MissingDependencyError
from flipenv.options import naming
from flipenv.progress import log_line
from flipenv.registry import unknown

WEIGHTS, REPORT, DONE = "weights", "report", "done.json"  # in a run's folder
SEEDED = PARTS[1:]  # parts with a seed
NAMED = ("agent", "preset")  # keys of a config besides the parts


@dataclass(frozen=True)
class Plan:
    """Contents of an ablation's file; see the module."""

    train: str
    evaluate: str
    configs: Mapping[str, Mapping[str, Any]]  # name -> part -> option -> value; or name -> one of NAMED -> its name
    val: str | None = None
    methods: Sequence[str] = ("flip",)
    preset: str = "small"
    device: str = "cpu"
    seeds: Sequence[int] = (0,)
    slurm: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, parts in self.configs.items():
            for part in parts:
                if part not in (*PARTS, *NAMED):
                    raise ConfigError(f"config {name!r}: {unknown('part', part, (*PARTS, *NAMED))}")
            with naming(f"config {name!r}"):
                check_options(**{"preset": self.preset, **parts})
        check_name(self.device)
        for method in self.methods:
            check_method(method)
        if not self.configs or not self.seeds:
            raise ConfigError("an ablation needs at least one config and one seed")

    @classmethod
    def read(cls, path: str | Path) -> Plan:
        """Read a JSON or YAML file; ConfigError says what is wrong in it."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            values = json.loads(text) if path.suffix.lower() == ".json" else _yaml(text)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read ({error}); expected a JSON or YAML file") from None
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not {"train", "evaluate", "configs"} <= set(values) <= known:
            found = sorted(values) if isinstance(values, dict) else type(values).__name__
            raise ConfigError(
                f"{path} holds {found}; expected train, evaluate, configs, and optionally others of {known}"
            )
        return cls(**values)

    def runs(self, folder: str | Path) -> list[Run]:
        """One run per config and seed, each in its own folder."""
        places = dict(zip(self.configs, file_names(list(self.configs)), strict=True))
        return [
            Run(Path(folder) / places[name] / f"seed-{seed}", name, seed, self.configs[name], self)
            for name in self.configs
            for seed in self.seeds
        ]


@dataclass(frozen=True)
class Run:
    """One config with one seed."""

    folder: Path
    config: str
    seed: int
    options: Mapping[str, Any]  # as the plan's config
    plan: Plan

    @property
    def about(self) -> dict[str, Any]:
        """Everything that determines its results, as JSON data."""
        plan = {name: value for name, value in asdict(self.plan).items() if name not in ("configs", "seeds", "slurm")}
        return {**plan, "config": self.config, "seed": self.seed, "options": json.loads(json.dumps(self.options))}

    @property
    def done(self) -> bool:
        """Whether it is finished; ConfigError if its folder holds a run with other options."""
        path = self.folder / DONE
        if not path.exists():
            return False
        then, now = json.loads(path.read_text()), json.loads(json.dumps(self.about))
        if then != now:
            other = sorted(name for name in now if then.get(name) != now[name])
            raise ConfigError(f"{self.folder} was run with other {', '.join(other)}; rename the config, or remove it")
        return True

    def scores(self) -> dict[str, list[float]]:
        """Dice per case of a finished run, by method."""
        found: dict[str, list[float]] = {}
        with (self.folder / REPORT / "cases.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["method"], []).append(float(row["dice"]))
        return found

    def left_out(self) -> int:
        """Number of cases that a finished run could not evaluate, with any or with all methods."""
        report = json.loads((self.folder / REPORT / "report.json").read_text())
        return len({failure["case"] for failure in report.get("failed", ())})


def perform(run: Run, *, progress: bool = True) -> None:
    """Train and evaluate one run, resuming where it stopped; does nothing if it is finished."""
    from flipagents.compare import report  # noqa: PLC0415 - slow; a table of finished runs does not need it

    if run.done:
        return
    plan, weights = run.plan, run.folder / WEIGHTS
    preset = run.options.get("preset", plan.preset)
    parts = ("student",) if preset in AGENTLESS else SEEDED
    seeded = {part: {"seed": run.seed, **run.options.get(part, {})} for part in parts}
    options = {"preset": plan.preset, **run.options, **seeded}
    log_line(f"{run.folder}: {run.config}, seed {run.seed}", quiet=not progress)
    shown: dict[str, Any] = {"device": plan.device, "progress": progress}
    train_method("flip", plan.train, plan.val, weights, options=options, **shown)
    found = report.evaluate(plan.evaluate, list(plan.methods), weights=weights, **shown)
    found.write(run.folder / REPORT)
    write_texts({run.folder / DONE: json.dumps(run.about, indent=1) + "\n"})


def table(runs: Sequence[Run]) -> str:
    """Markdown table of the finished runs: Dice averaged over cases, then mean and standard deviation over seeds."""
    lines = ["| config | method | Dice | std over seeds | seeds |", "|---|---|---|---|---|"]
    for config, method, means in _means(runs):
        spread = f"{statistics.stdev(means):.4f}" if len(means) > 1 else ""
        lines.append(f"| {config} | {method} | {statistics.mean(means):.4f} | {spread} | {len(means)} |")
    for run in runs:
        if run.done and (count := run.left_out()):
            what = f"{count} case{'s' * (count != 1)} left out, see {REPORT}/table.md in its folder"
            lines += ["", f"{run.config}, seed {run.seed}: {what}"]
    return "\n".join(lines) + "\n"


def _means(runs: Sequence[Run]) -> Iterator[tuple[str, str, list[float]]]:
    finished = [(run.config, run.scores()) for run in runs if run.done]
    for config in dict.fromkeys(name for name, _ in finished):
        own = [scores for name, scores in finished if name == config]
        for method in dict.fromkeys(name for scores in own for name in scores):
            yield config, method, [statistics.mean(scores[method]) for scores in own if method in scores]


def _yaml(text: str) -> Any:
    try:
        import yaml  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingDependencyError("a YAML file needs PyYAML: pip install pyyaml, or write it as JSON") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
