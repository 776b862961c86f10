"""Configs times seeds: one folder a run, done once, gone on with, the same numbers wherever it is performed."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="what is trained is torch's")
from flipagents.cli import main
from flipagents.cli import parser as cli
from flipagents.compare.ablation import DONE, REPORT, Plan, Run, table
from flipagents.scale import engines as dispatch
from flipenv.errors import ConfigError, SourceError

PLAN: dict[str, Any] = {
    "train": "phantom:2?height=80&width=112",
    "evaluate": "phantom:3?height=80&width=112",
    "methods": ["polar"],
    "seeds": [0, 7],
    "configs": {"full": {}, "no prior": {"env": {"prior_weight": 0.0}, "student": {"seed": 3}, "agent": "vdn"}},
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "plan.json"
    path.write_text(json.dumps({**PLAN, **changes}))
    return path


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Calls of train_pipeline, which is not run, and fails for seed 7 of 'full' the first time."""
    import flipagents.train.pipeline

    calls: list[dict[str, Any]] = []

    def train_pipeline(train: str, val: str | None, folder: Path, **options: Any) -> Path:
        calls.append({"folder": folder, **options})
        if folder.parent.name == "seed-7" and "full" in str(folder) and len(calls) < 4:
            raise SourceError("the disk\nwent away")
        return folder

    monkeypatch.setattr(flipagents.train.pipeline, "train_pipeline", train_pipeline)
    return calls


def test_each_run_is_done_once(
    tmp_path: Path, trained: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ablate", str(write(tmp_path)), "-o", str(tmp_path / "out")]
    assert main(words) == 1
    told = capsys.readouterr().out
    assert "4 runs, 0 already done" in told
    assert "full/seed-7: failed: the disk went away" in told
    assert "| full | polar |" in told
    assert [call["learner_options"]["seed"] for call in trained] == [0, 7, 0, 7]
    assert [call["student_options"]["seed"] for call in trained] == [0, 7, 3, 3]
    assert [call["env_options"] for call in trained] == [{}, {}, {"prior_weight": 0.0}, {"prior_weight": 0.0}]
    assert [call["agent"] for call in trained] == ["ddqn", "ddqn", "vdn", "vdn"]
    assert main(words) == 0
    assert "4 runs, 3 already done" in (told := capsys.readouterr().out)
    assert len(trained) == 5
    assert trained[-1]["folder"] == tmp_path / "out" / "full" / "seed-7" / "weights"
    rows = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert told.endswith("\n".join(rows) + "\n")
    assert [row.split("|")[1:3] + row.split("|")[5:6] for row in rows[2:] if "polar" in row] == [
        [" full ", " polar ", " 2 "],
        [" no prior ", " polar ", " 2 "],
    ]


def test_the_table_is_means_over_seeds(tmp_path: Path) -> None:
    runs = Plan.read(write(tmp_path)).runs(tmp_path)
    dice = {("full", 0): (0.5, 0.7), ("full", 7): (0.9, 0.9), ("no prior", 0): (0.25, 0.5)}
    for run in runs:
        if (run.config, run.seed) in dice:
            finish(run, dice[run.config, run.seed])
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table(runs).splitlines()[2:]]
    assert rows[0] == ["full", "polar", "0.7500", f"{np.std([0.6, 0.9], ddof=1):.4f}", "2"]
    assert rows[1] == ["no prior", "polar", "0.3750", "", "1"]


def test_cases_that_were_left_out_are_told(tmp_path: Path) -> None:
    runs = Plan.read(write(tmp_path)).runs(tmp_path)
    finish(runs[0], (0.5, 0.7))
    finish(runs[1], (0.9,), failed=[{"case": "3", "method": "polar"}, {"case": "3", "method": "flip"}])
    lines = table(runs).splitlines()
    assert [line for line in lines if "left out" in line] == [
        "full, seed 7: 1 case left out, see report/table.md in its folder"
    ]


def test_a_log_gets_the_lines_of_each_run(
    tmp_path: Path, trained: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = write(tmp_path, seeds=[0], configs={"full": {}})
    assert main(["ablate", str(plan), "-o", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().err.split("\n")[:-1]
    assert lines[0].endswith("out/full/seed-0: full, seed 0")
    assert lines[1] == "evaluating: 0/9, starting"
    assert all(lines)
    assert trained[0]["progress"] is True


def test_an_output_that_cannot_be_written_is_said_before_anything_is_trained(
    tmp_path: Path, trained: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["ablate", str(write(tmp_path)), "-o", str(tmp_path / "file" / "out")]) == 2
    assert "file/out (Not a directory); choose another folder" in capsys.readouterr().err
    assert main(["ablate", str(write(tmp_path)), "-o", str(tmp_path / "out"), "--engine", "slurn"]) == 2
    assert "did you mean 'slurm'" in capsys.readouterr().err
    assert trained == []


def finish(run: Run, dice: Sequence[float], failed: Sequence[dict[str, str]] = ()) -> None:
    """What a finished run leaves."""
    (run.folder / REPORT).mkdir(parents=True)
    lines = ["method,case,dice", *(f"polar,{index},{value}" for index, value in enumerate(dice))]
    (run.folder / REPORT / "cases.csv").write_text("\n".join(lines))
    (run.folder / REPORT / "report.json").write_text(json.dumps({"failed": failed}))
    (run.folder / DONE).write_text(json.dumps(run.about))


def test_a_folder_of_another_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Plan.read(write(tmp_path)).runs(tmp_path / "out")[0]
    finish(run, (0.5, 0.5))
    assert run.done
    changed = write(tmp_path, configs={"full": {"env": {"theta": 40.0}}}, train="phantom:9")
    assert main(["ablate", str(changed), "-o", str(tmp_path / "out")]) == 2
    assert "was run with other options, train; rename the config, or remove it" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["plain", "slurm", "ray"])
def test_engines(engine: str, tmp_path: Path) -> None:
    """One run that was finished meanwhile, and one that fails: each ends once, and says how."""
    options: dict[str, Any] = {}
    if engine == "slurm":
        pytest.importorskip("submitit", reason="the engine slurm needs submitit")
        options = {"cluster": "local"}
    if engine == "ray":
        ray = pytest.importorskip("ray", reason="the engine ray needs Ray")
        ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    try:
        runs = Plan.read(write(tmp_path, train=f"csv:{tmp_path}/none.csv", seeds=[0], slurm={})).runs(tmp_path / "out")
        finish(runs[0], (0.5, 0.5))
        ended = {run.config: reason for run, reason in dispatch.ENGINES[engine](runs, tmp_path / "out", **options)}
    finally:
        if engine == "ray":
            ray.shutdown()
    assert ended["full"] == ""
    assert "none.csv" in ended["no prior"]
    assert not runs[1].done
    if engine == "slurm":
        assert json.loads((runs[1].folder / dispatch.JOB).read_text())["id"].isdecimal()


def test_what_is_under_way_is_not_handed_in_again(tmp_path: Path) -> None:
    run = Plan.read(write(tmp_path)).runs(tmp_path)[0]

    class Job:
        ended = False

        def __init__(self, folder: Path, job_id: str) -> None:
            self.job_id = job_id

        def done(self) -> bool:
            return self.ended

    assert dispatch._under_way(run, Job, tmp_path) is None
    run.folder.mkdir(parents=True)
    (run.folder / dispatch.JOB).write_text('{"id": "31_2"}')
    assert dispatch._under_way(run, Job, tmp_path).job_id == "31_2"
    Job.ended = True
    assert dispatch._under_way(run, Job, tmp_path) is None


def test_plans_that_make_no_sense(tmp_path: Path) -> None:
    for changes, fault in (
        ({"configs": {}}, "at least one config and one seed"),
        ({"seeds": []}, "at least one config and one seed"),
        ({"configs": {"a": {"learn": {}}}}, "config 'a': unknown part 'learn': did you mean 'learner'"),
        ({"epochs": 3}, "expected train, evaluate, configs"),
        ({"configs": {"a": {"learner": {"epoch": 3}}}}, "config 'a': .* option 'epoch': did you mean 'epochs'"),
        ({"configs": {"a": {"agent": "ddpn"}}}, "config 'a': unknown agent 'ddpn': did you mean 'ddqn'"),
        ({"preset": "smal"}, "unknown preset 'smal': did you mean 'small'"),
        ({"device": "cudua"}, "unknown device 'cudua': did you mean 'cuda'"),
        ({"methods": ["polr"]}, "unknown method 'polr': did you mean 'polar'"),
    ):
        with pytest.raises(ConfigError, match=fault):
            Plan.read(write(tmp_path, **changes))
    for name, text in (("none.json", None), ("broken.json", "{"), ("list.json", "[1]")):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError, match=name):
            Plan.read(tmp_path / name)


def test_yaml_says_the_same(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="a YAML plan needs PyYAML")
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    assert Plan.read(tmp_path / "plan.yaml") == Plan.read(write(tmp_path))
    (tmp_path / "plan.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="plan.yaml cannot be read"):
        Plan.read(tmp_path / "plan.yaml")


def test_the_documented_plan_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
    (block,) = re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "plan.json").write_text(block)
    assert len(Plan.read(tmp_path / "plan.json").runs(tmp_path)) == 12


def test_documented_commands_exist() -> None:
    text = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("flip ")]
    assert len(lines) > 8
    for line in lines:
        cli.make_parser().parse_args(shlex.split(line)[1:])
