"""What a run tells, read back from its three files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch writes TensorBoard's events")
from flipagents.learn.log import RunLog

ROWS = [{"step": 10, "loss": 0.5}, {"step": 20, "loss": 0.25, "dice": 0.75}, {"step": 30, "loss": 0.125, "dice": 0.875}]


def write(folder: Path, start: int, rows: list[dict[str, float]]) -> None:
    log = RunLog(folder, start)
    for row in rows:
        log.write(row)
    log.close()


def test_rows_after_the_last_checkpoint_come_again(tmp_path: Path) -> None:
    write(tmp_path, 0, ROWS)
    write(tmp_path, 10, ROWS[1:])
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == ROWS
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["dice"] for row in table] == ["", "0.75", "0.875"]


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, 0, ROWS[:1])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "lo')
    assert RunLog(tmp_path, 20).rows == ROWS[:1]


def test_tensorboard_shows_each_step_once(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write(tmp_path, 0, ROWS)
    write(tmp_path, 10, ROWS[1:])
    events = event_accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["scalars"] == ["loss", "dice"]
    assert [(each.step, each.value) for each in events.Scalars("loss")] == [(10, 0.5), (20, 0.25), (30, 0.125)]
    assert [(each.step, each.value) for each in events.Scalars("dice")] == [(20, 0.75), (30, 0.875)]
