"""Shares of a source that add up to all of it, whoever works on them and whoever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flipagents.cli import main
from flipagents.scale.worker import Work, Worker, pending, shard_of
from flipagents.segment.outputs import output_paths
from flipagents.store.files import file_names
from flipenv.errors import ConfigError
from flipenv.sources import open_source, read_image

TABLE = "quality.csv"  # about all masks of a folder
SOURCE = "phantom:7?height=80&width=112"


def contents(folder: Path) -> dict[str, bytes]:
    """The files of cases in a folder; hidden files are what a killed writer left."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "." and path.name != TABLE}


@pytest.mark.parametrize(("method", "count"), [("polar", 1), ("polar", 3), ("polar", 9), ("flip", 3)])
def test_shares_are_the_whole(method: str, count: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    weights = ["--weights", request.getfixturevalue("pipeline")] if method == "flip" else []
    words = ["segment", SOURCE, "--method", method, *weights]
    assert main([*words, "-o", str(tmp_path / "whole")]) == 0
    seen: set[str] = set()
    for number in range(1, count + 1):
        out = tmp_path / f"share{number}"
        assert main([*words, "-o", str(out), "--shard", f"{number}/{count}"]) == 0
        assert main([*words, "-o", str(tmp_path / "together"), "--shard", f"{number}/{count}"]) == 0
        own = set(contents(out)) if out.exists() else set()
        assert not own & seen
        seen |= own
    assert contents(tmp_path / "together") == contents(tmp_path / "whole")
    assert (tmp_path / "together" / TABLE).read_bytes() == (tmp_path / "whole" / TABLE).read_bytes()
    assert seen == set(contents(tmp_path / "whole"))


@pytest.fixture
def pipeline(tmp_path: Path) -> str:
    pytest.importorskip("torch", reason="the agents need torch")
    from tests.segment.test_segmenter import tiny_pipeline

    return str(tiny_pipeline(tmp_path / "weights"))


def test_a_killed_share_is_finished_by_the_same_command(tmp_path: Path) -> None:
    words = ["segment", "phantom:240?height=80&width=112", "--method", "polar", "--shard", "2/3", "-o"]
    out = tmp_path / "out"
    work = subprocess.Popen([sys.executable, "-m", "flipagents", *words, str(out)], stdout=subprocess.DEVNULL)
    while not out.exists() or len(contents(out)) < 10:
        assert work.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    os.kill(work.pid, signal.SIGKILL)
    work.wait()
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if not path.name.startswith(".")}
    assert len(before) < 160
    assert main([*words, str(out)]) == 0
    done = [path for path in before if path.name.replace("overlay", "mask") in {p.name for p in before}]
    kept = [path for path in done if path.with_name(path.name.replace("mask", "overlay")) in before]
    assert kept, "nothing was whole when it was killed"
    assert all(path.stat().st_mtime_ns == before[path] for path in kept), "what was finished was done again"
    assert main([*words, str(tmp_path / "at once")]) == 0
    assert contents(out) == contents(tmp_path / "at once")
    assert len(contents(out)) == 160


def test_a_share_is_every_nth() -> None:
    paths = {index: [Path(str(index))] for index in range(10)}
    assert list(shard_of(paths, "1/4")) == [0, 4, 8]
    assert list(shard_of(paths, "4/4")) == [3, 7]
    assert list(shard_of(paths, "1/1")) == list(paths)
    assert list(shard_of(paths, "11/12")) == []
    for wrong in ("0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2", ""):
        with pytest.raises(ConfigError, match="expected i/n with i from 1 to n, for example 3/100"):
            shard_of(paths, wrong)


def test_what_is_there_is_not_waited_for(tmp_path: Path) -> None:
    source = open_source(SOURCE)
    paths = {index: output_paths(tmp_path, name) for index, name in enumerate(file_names(source.ids))}
    worker = Worker(Work(source, "ellipse"))
    outcomes = list(worker.run({index: paths[index] for index in (2, 5)}))
    assert [(each.index, each.error) for each in outcomes] == [(2, ""), (5, "")]
    assert [each.details["area_px"] for each in outcomes] == [
        read_image(paths[index][0]).astype(bool).sum() for index in (2, 5)
    ]
    assert list(pending(worker.work, paths)) == [0, 1, 3, 4, 6]
    paths[2][1].unlink()
    assert list(pending(worker.work, paths)) == [0, 1, 2, 3, 4, 6]
