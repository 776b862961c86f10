"""A Ray cluster of two workers on this machine: the same files, failures listed, and a worker that is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="the engine ray needs flip-learning[ray]")
pytest.importorskip("ray.data", reason="the engine ray needs Ray Data")
from flipagents.cli import main  # noqa: E402
from flipagents.scale import ray as ray_engine  # noqa: E402
from flipagents.scale.worker import Paths, Work  # noqa: E402
from flipagents.segment.outputs import output_paths  # noqa: E402
from flipagents.store.files import file_names  # noqa: E402
from flipenv.errors import ImageError  # noqa: E402
from flipenv.sources import Source, open_source  # noqa: E402
from flipenv.types import Case  # noqa: E402
from tests.scale.test_worker import contents  # noqa: E402

SOURCE = "phantom:30?height=80&width=112"
BLOCK = 3  # images that a worker takes at a time


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    yield
    ray.shutdown()


@dataclass
class Watched:
    """A source that notes in a file which case was read by whom, takes its time, and cannot read one case."""

    source: Source
    log: Path
    seconds: float
    broken: int

    @property
    def ids(self) -> tuple[str, ...]:
        return self.source.ids

    def __len__(self) -> int:
        return len(self.source)

    def load(self, index: int) -> Case:
        with self.log.open("a") as file:
            file.write(f"{index} {os.getpid()}\n")
        time.sleep(self.seconds)
        if index == self.broken:
            raise ImageError("cannot be read today")
        return self.source.load(index)

    def fingerprint(self, index: int) -> str:
        return self.source.fingerprint(index)


def paths_in(folder: Path, source: Source) -> Paths:
    return {index: output_paths(folder, name) for index, name in enumerate(file_names(source.ids))}


def test_a_worker_that_is_killed_loses_nothing(cluster: None, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    log.touch()
    source = Watched(open_source(SOURCE), log, 0.1, broken=20)
    paths = paths_in(out, source)
    finished: dict[Path, tuple[int, int]] = {}

    def kill() -> None:
        while not out.exists() or len(contents(out)) < 12:
            time.sleep(0.01)
        victim = int(log.read_text().split()[-1])
        finished.update({path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.glob("*.png")})
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    told = list(ray_engine.run(Work(source, "ellipse"), paths, workers=2, block=BLOCK))
    killer.join()
    assert sorted(each.index for each in told) == list(range(30)), "each case once"
    assert [(each.index, each.error) for each in told if each.error] == [(20, "cannot be read today")]
    reads = [line.split() for line in log.read_text().splitlines()]
    assert len({pid for _, pid in reads}) == 3, "two workers, and one in place of the killed one"
    assert 30 <= len(reads) <= 30 + BLOCK, "more than the killed worker's block was done again"
    assert len(finished) >= 12
    pairs = [path for path in finished if path.with_name(path.name.replace("_mask", "_overlay")) in finished]
    whole = {path for path in pairs if path.with_name(path.name.replace("_overlay", "_mask")) in finished}
    for path in whole:
        assert finished[path] == (path.stat().st_ino, path.stat().st_mtime_ns), f"{path.name} was done twice"
    assert main(["segment", SOURCE, "--method", "ellipse", "-o", str(tmp_path / "plain")]) == 0
    plain = contents(tmp_path / "plain")
    assert contents(out) == {name: data for name, data in plain.items() if not name.startswith("phantom-0020")}


def test_the_command(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["segment", "phantom:5?height=80&width=112", "--method", "polar"]
    assert main([*words, "-o", str(tmp_path / "plain")]) == 0
    monkeypatch.setattr(ray_engine, "CHUNK", 2)
    out = ["-o", str(tmp_path / "ray"), "--engine", "ray"]
    assert main([*words, *out, "--shard", "1/2"]) == 0
    assert "3 segmented" in capsys.readouterr().out
    assert main([*words, *out]) == 0
    assert "2 segmented" in (told := capsys.readouterr().out)
    assert "3 already done" in told
    assert contents(tmp_path / "ray") == contents(tmp_path / "plain")
    assert main([*words, *out, "--overwrite"]) == 2
    assert "tracks progress by output files" in capsys.readouterr().err
