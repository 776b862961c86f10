"""Table 2 of the paper: two agents or one (MARL), intensity reward (IDR), coarse to fine (C2F), coarse or fine only.

    python benchmarks/table2.py --data busi:PATH --split val --epochs 2                  # the paper's rewards
    python benchmarks/table2.py --data busi:PATH --split val --rewards boxes --seeds 0 1 2
    python benchmarks/table2.py --data busi:PATH --split val --rewards ours --epochs 3   # ours, with an ablation

Each row trains its own agents on the split `train` of the data (`--train`), one pipeline per seed. All rows share one
classifier (`ours` also the shipped contour network), and the small trunk on the `roi` canvas is small enough for a CPU.
Rewards `paper` are CSR by sign and IDR by superpixel, the defaults of `flipenv.EnvConfig`; `boxes` are the same with
theta from the boxes and the other settings of the preset paper-small, which they need to be learned; `ours` are those
of the preset small, plus IDR where it is on. `ours` has further rows: without the prior's channel, without the
classification reward, without stage 1, and the student alone. Rows with equal settings are trained once. A stopped run
resumes; finished rows are reused.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import beside_paper, make_parser, read, run, write, write_json
from joblib import Parallel, delayed
from paper import TABLE_2

from flipagents.classify.classifier import Classifier
from flipagents.classify.figures import new_figure
from flipagents.classify.training import train_classifier
from flipagents.compare.evaluation import SEED, Candidate
from flipagents.compare.plots import COLOURS, dice_figure
from flipagents.compare.report import Report
from flipagents.compare.tables import latex_table, markdown_table
from flipagents.learn.config import LearnerConfig
from flipagents.store.checkpoint import SHIPPED
from flipagents.store.recipe import CONTOUR, Recipe
from flipagents.store.run_folder import CHECKPOINT
from flipagents.train.pipeline import Cost, teach, train_stages
from flipagents.train.presets import presets
from flipenv.config import COARSE, FINE, EnvConfig
from flipenv.sources import CaseSource, Source, open_source

PRESET_OF = {"paper": "paper", "boxes": "paper-small", "ours": "small"}  # by rewards
TRAIN = "train"  # as --classifier: train one first
FINISHED = "row.json"  # in a row's folder: its options and the cost of its training
QUICK_TRAIN = "phantom:6?first=100&height=112&width=152"
QUICK_ENV = {"canvas": {"kind": "roi", "height": 48, "width": 48}, "window": 32}
QUICK_LEARNER = {"lanes": 4, "warmup": 16, "replay": 400, "batch_size": 16}
QUICK_STUDENT = {"features": (4, 4, 8, 8, 8, 4), "epochs": 2}
PAPER_ROWS = (  # MARL, IDR, stages, in the paper's order
    (False, False, ("fine",)),
    (False, False, ("coarse",)),
    (True, False, ("fine",)),
    (True, False, ("coarse",)),
    (True, True, ("fine",)),
    (True, True, ("coarse",)),
    (True, False, ("coarse", "fine")),
    (True, True, ("coarse", "fine")),
)
NOTE = (
    "MARL: two agents, else one. IDR: intensity reward. C2F: coarse superpixels, then fine ones; else C coarse or F "
    "fine ones alone. The paper's numbers are of its own images, canvas, networks and 100 epochs."
)


@dataclass(frozen=True)
class Row:
    """A row of the table: one pipeline to train, per seed."""

    label: str
    stages: Mapping[str, EnvConfig]
    learner: LearnerConfig
    recipe: Recipe
    method: str = "flip"  # that uses it

    def options(self) -> dict[str, Any]:
        """Everything that determines the weights apart from data, classifier and seed, as plain JSON data."""
        options = {
            "stages": {name: env.to_dict() for name, env in self.stages.items()},
            "learner": self.learner.to_dict(),
            "recipe": dataclasses.asdict(self.recipe),
        }
        plain: dict[str, Any] = json.loads(json.dumps(options))
        return plain

    def folder(self, out: Path) -> Path:
        """Folder of its weights, with `SEED` in place of the seed."""
        digest = hashlib.blake2b(json.dumps(self.options(), sort_keys=True).encode(), digest_size=5).hexdigest()
        return out / "runs" / f"{'-'.join(self.stages)}-{digest}" / f"seed-{SEED}"


def main(arguments: Sequence[str] | None = None) -> Report:
    """Run the script."""
    parser = make_parser(__doc__, "table2")
    parser.add_argument("--rewards", default="paper", choices=tuple(PRESET_OF))
    parser.add_argument("--epochs", type=int, default=1, help="per stage; the paper has 100; not with boxes")
    parser.add_argument("--steps", type=int, default=30_000, help="joint steps per stage, with boxes")
    parser.add_argument("--train", help="training cases; default: the split train of --data")
    parser.add_argument("--train-cases", type=int, help="use only the first of them")
    parser.add_argument("--classifier", help=f"its folder, or '{TRAIN}'; default: the shipped one")
    parser.add_argument("--rows", nargs="+", type=int, help="numbers of the rows, from 1; default: all")
    parser.set_defaults(out=None)
    options = read(parser, arguments)
    options.out = options.out or Path("benchmarks/results") / f"table2-{options.rewards}"
    options.steps = 100 if options.quick else options.steps
    every = rows_of(options)
    chosen = [row for number, row in enumerate(every, 1) if not options.rows or number in options.rows]
    costs = train_all(options, chosen)
    bars = [label_of(True, False, stages) for marl, idr, stages in PAPER_ROWS if marl and idr]  # the same without IDR
    references = ("ellipse", *(each.label for each in chosen if each.label in bars))
    rows = [Candidate(row.method, row.label, row.folder(options.out)) for row in chosen]
    report = run(options, rows, references=references)
    printed = dict(zip([row.label for row in every], TABLE_2, strict=False))
    table = [(row.label, report.row(row.label), printed.get(row.label)) for row in chosen]
    head, cells = cost_table(costs, report)
    notes = [NOTE, f"Training, mean over seeds:\n\n{markdown_table(head, cells)}", *saved(costs)]
    length = f"{options.epochs} epoch{'s' * (options.epochs != 1)}"
    if options.rewards == "boxes":
        length = f"{options.steps:,} joint steps"
    title = f"Ablation (Table 2), rewards: {options.rewards}, {length} a stage"
    figures = {"dice.png": dice_figure(report), "curves.png": curves_figure(chosen, options)}
    print(write(options.out, report, title, beside_paper(table), notes, figures))
    (options.out / "training.tex").write_text(latex_table(head, {"": cells}))
    return report


def rows_of(options: argparse.Namespace) -> list[Row]:
    """The paper's eight rows; with our rewards also an ablation of our pipeline."""
    preset = presets()[PRESET_OF[options.rewards]]
    learner = LearnerConfig.small(lanes=32) if options.rewards == "paper" else preset.learner
    length = {"train_steps": options.steps} if options.rewards == "boxes" else {"epochs": options.epochs}
    learner = learner.replace(device=options.device, **length, **(QUICK_LEARNER if options.quick else {}))
    base = EnvConfig() if options.rewards == "paper" else preset.env[-1].replace(coarse_channels=False)
    base = base.replace(**(QUICK_ENV if options.quick else {}))

    def row(label: str, stages: Sequence[str], env: EnvConfig, method: str = "flip") -> Row:
        return Row(label, staged(stages, env), learner, preset.recipe, method)

    found = []
    for marl, idr, stages in PAPER_ROWS:
        if options.rewards == "ours":
            env = base.replace(n_agents=1 + marl, idr_weight=float(idr))
        else:
            env = base.replace(n_agents=1 + marl, idr="superpixel" if idr else "none")
        found.append(row(label_of(marl, idr, stages), stages, env))
    if options.rewards == "boxes":
        found += [
            row("√ √ ×, C, theta 25", ("coarse",), base.replace(theta=25.0)),
            row("√ √ ×, C, credit joint", ("coarse",), base.replace(credit="joint")),
        ]
    if options.rewards == "ours":
        both = ("coarse", "fine")
        channels = tuple(name for name in base.channels if name != "prior")
        found += [
            row("ours", both, base),
            row("ours without prior channel", both, base.replace(channels=channels)),
            row("ours without classification reward", both, base.replace(csr_weight=0.0)),
            row("ours without stage 1", ("fine",), base),
            row("ours, student alone", both, base, "flip+student"),
        ]
    return found


def staged(stages: Sequence[str], env: EnvConfig) -> dict[str, EnvConfig]:
    """The environment of each stage: its superpixels, and the previous stage's mask if there is one."""
    area = {"coarse": COARSE, "fine": FINE}
    return {name: env.replace(cell_area=area[name], coarse_channels=number > 0) for number, name in enumerate(stages)}


def label_of(marl: bool, idr: bool, stages: Sequence[str]) -> str:
    """The row's label, as in the paper."""
    signs = " ".join("√" if each else "×" for each in (marl, idr, len(stages) > 1))
    return signs if len(stages) > 1 else f"{signs}, {stages[0][0].upper()}"


def train_all(options: argparse.Namespace, rows: Sequence[Row]) -> dict[str, list[dict[str, Cost]]]:
    """Train every row with every seed; return the cost of each stage per seed, by the row's label."""
    source, val = training_cases(options)
    classifier = classifier_folder(options, source, val)
    unique = {row.folder(options.out): row for row in rows}
    teaching = {row.folder(options.out) for row in rows if row.method == "flip+student"}
    jobs = [(path, row, seed) for path, row in unique.items() for seed in options.seeds]
    done = Parallel(n_jobs=options.jobs, return_as="generator")(
        delayed(train_row)(row, seed, folder_of(path, seed), source, classifier, path in teaching, options.quick)
        for path, row, seed in jobs
    )
    costs: dict[Path, list[dict[str, Cost]]] = {}
    for (path, row, seed), cost in zip(jobs, done, strict=True):
        costs.setdefault(path, []).append(cost)
        seconds = sum(each.seconds for each in cost.values())
        print(f"trained: {row.label}, seed {seed}, {seconds:.0f} s", flush=True)
    return {row.label: costs[row.folder(options.out)] for row in rows}


def train_row(
    row: Row, seed: int, folder: Path, source: Source, classifier: Path, student: bool, quick: bool
) -> dict[str, Cost]:
    """Train one pipeline unless it is finished; return the cost of each stage."""
    learner = row.learner.replace(seed=seed)
    options = {**row.options(), "seed": seed, "cases": len(source)}
    path = folder / FINISHED
    before = json.loads(path.read_text()) if path.exists() else {}
    if before.get("options") != options:
        judge = Classifier.load(classifier).scorer(learner.device)
        if row.recipe.prior == CONTOUR:
            shutil.copytree(SHIPPED / CONTOUR, folder / CONTOUR, dirs_exist_ok=True)
        costs = train_stages(
            source,
            row.stages,
            folder,
            learner=learner,
            scorer=judge,
            recipe=row.recipe,
            contour=presets()["small"].contour,
            progress=False,
        )
        before = {"options": options, "costs": {name: dataclasses.asdict(cost) for name, cost in costs.items()}}
        write_json(path, before)
        for name in row.stages:  # the replay buffer is large and no longer needed
            shutil.rmtree(folder / name / CHECKPOINT, ignore_errors=True)
    if student:
        config = dict(presets()["small"].students)["student"].replace(**(QUICK_STUDENT if quick else {}))
        teach(source, folder, {"student": config}, device=learner.device, progress=False)
    return {name: Cost(**cost) for name, cost in before["costs"].items()}


def training_cases(options: argparse.Namespace) -> tuple[Source, Source | None]:
    """Training cases, and cases to calibrate a classifier with if the data has that split."""
    if options.quick:
        return open_source(QUICK_TRAIN), None
    kind = options.data.partition("?")[0]
    splits = {name: f"{kind}?split={name}" for name in ("train", "val")}
    source = open_source(options.train or splits["train"])
    if options.train_cases:
        source = CaseSource(source.load(index) for index in range(min(options.train_cases, len(source))))
    return source, None if options.train else open_source(splits["val"])


def classifier_folder(options: argparse.Namespace, source: Source, val: Source | None) -> Path:
    """Folder of the classifier that all rows share, which is trained first if requested."""
    if options.classifier != TRAIN:
        return Path(options.classifier) if options.classifier else SHIPPED / "classifier" / "classifier"
    folder: Path = options.out / "classifier"
    if not (folder / "classifier").exists():
        train_classifier(source, config=presets()["small"].classifier, val=val, folder=folder, device=options.device)
    return folder / "classifier"


def folder_of(path: Path, seed: int) -> Path:
    """The folder of one seed."""
    return Path(str(path).replace(SEED, str(seed)))


def curves_figure(rows: Sequence[Row], options: argparse.Namespace) -> Any:
    """Return and erased share of the training episodes, a panel per kind of superpixels, a line per row and seed."""
    figure = new_figure(9.0, 5.6)
    panels = figure.subplots(2, 2, sharex="col")
    for column, stage in enumerate(("coarse", "fine")):
        for number, row in enumerate(rows):
            if stage not in row.stages:
                continue
            for seed in options.seeds:
                log = folder_of(row.folder(options.out), seed) / stage / "metrics.jsonl"
                metrics = [json.loads(line) for line in log.read_text().splitlines()]
                for axes, name in zip(panels[:, column], ("return", "erased"), strict=True):
                    known = [(each["step"], each[name]) for each in metrics if each[name] is not None]
                    label = row.label if seed == options.seeds[0] else None
                    axes.plot(*zip(*known, strict=True), color=COLOURS[number % len(COLOURS)], lw=1, label=label)
        panels[0, column].set_title(f"{stage} superpixels")
        panels[1, column].set_xlabel("joint steps")
        if panels[0, column].lines:
            panels[0, column].legend(frameon=False, fontsize=7)
    for axes, name in zip(panels[:, 0], ("return per episode", "erased share of the box"), strict=True):
        axes.set_ylabel(name)
    return figure


def cost_table(costs: Mapping[str, Sequence[dict[str, Cost]]], report: Report) -> tuple[list[str], list[list[str]]]:
    """Cost of training and time to segment, one line per row of the table; means over seeds."""
    head = ["row", "episodes", "joint steps", "joint steps an episode, by stage", "training, s", "ms/image"]
    cells = []
    for label, seeds in costs.items():
        row = report.row(label)
        stages = [f"{mean(seeds, name, 'steps') / mean(seeds, name, 'episodes'):.1f}" for name in seeds[0]]
        whole = [sum(mean(seeds, name, what) for name in seeds[0]) for what in ("episodes", "steps", "seconds")]
        ms = "" if row is None else f"{row.ms:.1f}"
        cells.append([label, f"{whole[0]:.0f}", f"{whole[1]:.0f}", ", ".join(stages), f"{whole[2]:.1f}", ms])
    return head, cells


def saved(costs: Mapping[str, Sequence[dict[str, Cost]]]) -> list[str]:
    """A sentence per superpixel size on what two agents save over one."""
    sentences = []
    for stage in ("fine", "coarse"):
        one, two = (costs.get(label_of(marl, False, (stage,))) for marl in (False, True))
        if one and two:
            length, seconds = (
                [mean(each, stage, what) / mean(each, stage, "episodes") for each in (one, two)]
                for what in ("steps", "seconds")
            )
            sentences.append(
                f"Two agents against one, {stage} superpixels: {length[1]:.1f} joint steps an episode against "
                f"{length[0]:.1f} ({length[1] / length[0] - 1:+.0%}), {seconds[1]:.2f} s of training an episode "
                f"against {seconds[0]:.2f} ({seconds[1] / seconds[0] - 1:+.0%}). The paper says that two agents save "
                "almost 50% of the running time."
            )
    return sentences


def mean(seeds: Sequence[dict[str, Cost]], stage: str, what: str) -> float:
    """Mean of one number of a stage over seeds."""
    return sum(getattr(each[stage], what) for each in seeds) / len(seeds)


if __name__ == "__main__":
    main()
