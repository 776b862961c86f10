"""Checkpoints are complete or not there, and whatever else is found is named."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="checkpoints hold tensors")
from flipagents.store import checkpoint  # noqa: E402 - needs torch
from flipagents.store.checkpoint import ABOUT, TENSORS, CheckpointError, Snapshot  # noqa: E402

KIND = "test"


def snapshot(value: float = 1.0) -> Snapshot:
    shared = torch.zeros(3, dtype=torch.bool)
    tensors = {
        "float": torch.full((2, 3), value),
        "double": torch.tensor([value, float("nan")], dtype=torch.float64),
        "bytes": torch.get_rng_state(),
        "view": torch.arange(24).reshape(2, 3, 4)[:, 1],
        "layout": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(7),
        "one": shared,
        "same": shared,
    }
    return Snapshot(tensors, {"generator": np.random.default_rng(0).bit_generator.state, "value": value})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    given = snapshot()
    checkpoint.write(tmp_path / "run" / "here", given, KIND)
    got = checkpoint.read(tmp_path / "run" / "here", KIND)
    assert got.about == given.about
    assert got.tensors.keys() == given.tensors.keys()
    for name, tensor in given.tensors.items():
        assert got.tensors[name].dtype == tensor.dtype
        assert torch.equal(got.tensors[name].nan_to_num(), tensor.nan_to_num())
    np.random.default_rng().bit_generator.state = got.about["generator"]
    assert sorted(each.name for each in (tmp_path / "run").iterdir()) == ["here"]


def test_the_newer_replaces_the_older(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        checkpoint.write(tmp_path / "here", snapshot(value), KIND)
    assert checkpoint.read(tmp_path / "here", KIND).about["value"] == 2.0
    assert [each.name for each in tmp_path.iterdir()] == ["here"]


def test_a_crash_between_the_renames_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.write(tmp_path / "here", snapshot(1.0), KIND)
    rename = os.rename

    def dies(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / "here":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", dies)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.write(tmp_path / "here", snapshot(2.0), KIND)
    monkeypatch.undo()
    assert not (tmp_path / "here").exists()
    assert checkpoint.exists(tmp_path / "here")
    assert checkpoint.read(tmp_path / "here", KIND).about["value"] == 1.0
    checkpoint.write(tmp_path / "here", snapshot(3.0), KIND)
    assert checkpoint.read(tmp_path / "here", KIND).about["value"] == 3.0
    assert [each.name for each in tmp_path.iterdir()] == ["here"]


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    left = tmp_path / ".here.x1.part"
    left.mkdir()
    (left / TENSORS).write_bytes(b"half")
    assert not checkpoint.exists(tmp_path / "here")
    checkpoint.write(tmp_path / "here", snapshot(), KIND)
    assert not left.exists()


FULL_DISK = """
import resource, sys
from flipagents.store import checkpoint  # noqa: E402 - needs torch
from flipagents.store.checkpoint import Snapshot
import torch
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    checkpoint.write(sys.argv[1], Snapshot({"large": torch.zeros(1_000_000)}), "test")
except OSError as error:
    print(error)
    raise SystemExit(3)
"""


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "here", snapshot(), KIND)
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "here")]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 3, ran.stderr
    assert "free space on that disk or choose another folder" in ran.stdout
    assert str(tmp_path / "here") in ran.stdout
    assert checkpoint.read(tmp_path / "here", KIND).about["value"] == 1.0
    assert [each.name for each in tmp_path.iterdir()] == ["here"]


def test_other_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"holds \['thesis.tex'\], which would be lost; give a folder of its own"):
        checkpoint.write(tmp_path, snapshot(), KIND)
    with pytest.raises(CheckpointError, match="holds a file"):
        checkpoint.write(tmp_path / "thesis.tex", snapshot(), KIND)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def _truncated(folder: Path) -> None:
    data = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(data[: len(data) // 2])


def _flipped(folder: Path) -> None:
    data = bytearray((folder / TENSORS).read_bytes())
    data[-1] ^= 1
    (folder / TENSORS).write_bytes(data)


def _pickled(folder: Path) -> None:
    (folder / TENSORS).write_bytes(pickle.dumps({"weights": [1, 2, 3]}))


def _changed(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        about = json.loads((folder / ABOUT).read_text())
        (folder / ABOUT).write_text(
            json.dumps({key: value for key, value in (about | values).items() if value != "gone"})
        )

    return change


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_truncated, "was written with; it is damaged or foreign: use another checkpoint or copy it again"),
        (_flipped, "is not the file that about.json was written with"),
        (_pickled, "is not the file that about.json was written with"),
        (lambda folder: (folder / TENSORS).unlink(), "cannot be read"),
        (lambda folder: (folder / ABOUT).unlink(), r"is not a checkpoint \(found: \['tensors.safetensors'\]\)"),
        (lambda folder: (folder / ABOUT).write_text('{"format": 1, "ki'), "about.json cannot be read"),
        (lambda folder: (folder / ABOUT).write_text("[1, 2]"), "about.json has no about, digest, format, kind"),
        (_changed(digest="gone"), "about.json has no digest"),
        (_changed(kind="soup"), "holds a 'soup'; expected a 'test'"),
        (
            _changed(format=2),
            r"has format 2, written by .*; this version reads format 1: use the version that wrote it",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, harm: Callable[[Path], None], message: str) -> None:
    checkpoint.write(tmp_path / "here", snapshot(), KIND)
    harm(tmp_path / "here")
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read(tmp_path / "here", KIND)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        checkpoint.read(tmp_path / "nowhere", KIND)


def test_plain_data() -> None:
    given = {"a": (np.float32(0.5), float("nan")), 3: np.arange(2), "t": torch.tensor([1.0, float("inf")]), "n": None}
    assert checkpoint.plain(given) == {"a": [0.5, None], "3": [0, 1], "t": [1.0, None], "n": None}


def test_shipped_weights_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert checkpoint.weights_folder() == checkpoint.SHIPPED
    assert checkpoint.weights_folder("busi-small") == checkpoint.SHIPPED
    assert checkpoint.weights_folder("runs/busi-small") == Path("runs/busi-small")
    assert checkpoint.weights_folder("mine") == Path("mine")
    Path("busi-small").mkdir()
    assert checkpoint.weights_folder("busi-small") == Path("busi-small"), "one's own comes first"
