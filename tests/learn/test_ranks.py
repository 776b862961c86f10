"""Two processes that train together: one set of weights, the lanes of both, and checkpoints that fit each other."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the learner needs torch")
from flipagents.learn import ranks  # noqa: E402 - needs torch
from flipagents.segment.loading import load_agent  # noqa: E402
from flipagents.store import checkpoint  # noqa: E402 - needs torch
from flipagents.store.checkpoint import CheckpointError, Snapshot  # noqa: E402
from flipagents.store.run_folder import AGENT, CHECKPOINT  # noqa: E402
from tests.learn.test_learner import TASK, dice_of, filled_box, phantoms, same, tiny  # noqa: E402

SCRIPT = """
import json, sys
from pathlib import Path
from flipagents.learn import ranks  # noqa: E402 - needs torch
from flipagents.learn.config import LearnerConfig
from flipagents.learn.learner import Learner
from tests.learn.test_learner import TASK, phantoms, tiny

task, folder, steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
with ranks.process_group("cpu"):
    assert ranks.count() == 2
    if task == "tiny":
        same = {"epsilon_start": 0.2, "epsilon_end": 0.2, "log_every": 50, "checkpoint_every": 100}
        learner = tiny(train_steps=steps, **same)
    else:
        options = {"warmup": 400, "updates_per_step": 0.2, "gamma": 0.5, "lanes": 8, "train_steps": steps}
        learner = Learner(phantoms(32, 100, TASK), LearnerConfig.small(**options), progress=False)
    row = learner.fit(folder, progress=False)
    learner.agent.save(folder / f"held-by-{ranks.rank()}")
    about = {"row": row, "updates": learner.agent.updates, "steps": learner.steps, "episodes": learner.episodes,
             "drawn": [generator.bit_generator.state for generator in learner.batch.generators],
             "replay": learner.agent.replay.observation.long().sum().item()}
    (folder / f"told-by-{ranks.rank()}.json").write_text(json.dumps(about))
"""


HERE = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def train(task: str, folder: Path, steps: int, script: Path) -> list[dict[str, Any]]:
    """Let torchrun start two processes; return what each of them told."""
    script.write_text(SCRIPT)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    subprocess.run([sys.executable, *words, task, str(folder), str(steps)], check=True, capture_output=True, env=HERE)
    return told_by_both(folder)


def train_without_torchrun(task: str, folder: Path, steps: int, script: Path) -> None:
    """The same two processes, without a third one that imports torch to start them."""
    script.write_text(SCRIPT)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rendezvous = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    words = [sys.executable, str(script), task, str(folder), str(steps)]
    started = [
        subprocess.Popen(words, env={**HERE, **rendezvous, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    try:
        assert [each.wait(timeout=300) for each in started] == [0, 0]
    finally:
        for each in started:
            each.kill()


def told_by_both(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"told-by-{rank}.json").read_text()) for rank in range(2)]


def held(folder: Path) -> list[dict[str, Any]]:
    return [load_agent(folder / f"held-by-{rank}").weights() for rank in range(2)]


def test_both_hold_the_same_weights_and_learn(tmp_path: Path) -> None:
    """Dice seen: 0.87; the filled box reaches 0.837."""
    told = train("task", tmp_path / "run", 5000, tmp_path / "script.py")
    assert same(*held(tmp_path / "run"))
    for name in ("row", "updates", "steps", "episodes"):
        assert told[0][name] == told[1][name]
    assert told[0]["steps"] >= 5000
    assert told[0]["updates"] == pytest.approx((5000 - 400) * 0.2 / 2, rel=0.1)
    assert told[0]["replay"] != told[1]["replay"], "both lived through the same"
    assert not [state for state in told[0]["drawn"] if state in told[1]["drawn"]]
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] // 1000 for row in rows] == [1, 2, 3, 4, 5]
    unseen = phantoms(16, 0, TASK)
    assert dice_of(load_agent(tmp_path / "run" / AGENT), unseen) > filled_box(unseen) + 0.01


def test_a_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    train_without_torchrun("tiny", tmp_path / "at once", 400, script)
    train_without_torchrun("tiny", tmp_path / "twice", 200, script)
    assert checkpoint.about_of(tmp_path / "twice" / CHECKPOINT)["steps"] < 300
    # the second process was killed before it could put its newest checkpoint in place
    own = tmp_path / "twice" / f"{CHECKPOINT}-1"
    own.rename(own.with_name(own.name + ranks.NEXT))
    train_without_torchrun("tiny", tmp_path / "twice", 400, script)
    assert same(*held(tmp_path / "twice"))
    assert same(held(tmp_path / "twice")[0], held(tmp_path / "at once")[0])
    with pytest.raises(CheckpointError, match="processes: 2 then, 1 now"):
        tiny(epsilon_start=0.2, epsilon_end=0.2).fit(tmp_path / "twice", progress=False)


def test_the_newest_that_all_have_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever moment the other process was killed in."""

    def put(name: str, step: int) -> None:
        checkpoint.write(tmp_path / name, Snapshot(about={"steps": step}), "test")

    def read() -> Any:
        return ranks.read(tmp_path / "c", "test", lambda about: int(about["steps"]))

    theirs: set[int] = set()
    monkeypatch.setattr(ranks, "all_gather", lambda value: [value, theirs])
    assert read() is None
    put("c", 10)
    with pytest.raises(CheckpointError, match="have no checkpoint of the same step"):
        read()
    put(f"c{ranks.NEXT}", 20)
    for steps, newest in (({10}, 10), ({10, 20}, 20), ({20, 30}, 20)):
        theirs.clear()
        theirs.update(steps)
        assert read().about["steps"] == newest


def test_alone_nothing_is_told() -> None:
    with ranks.process_group("cpu") as device:
        assert (device, ranks.count(), ranks.rank()) == ("cpu", 1, 0)
        tensor = torch.arange(4.0)
        ranks.average([tensor])
        assert tensor.tolist() == [0, 1, 2, 3]
        assert ranks.total(3, "cpu") == 3
        assert ranks.all_gather("me") == ["me"]
        assert ranks.on_rank_0(lambda: 5) == 5
