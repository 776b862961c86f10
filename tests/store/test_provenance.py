"""Digests change with what they stand for, and with nothing else."""

from __future__ import annotations

import functools
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flipagents.store import provenance


def imported(path: Path) -> Any:
    """A user's module, as `import` leaves it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_about() -> None:
    told = provenance.about()
    assert told["versions"]["numpy"] == np.__version__
    assert set(told) == {"command", "commit", "versions", "machine", "time"}
    json.dumps(told)


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        ("/usr/bin/flip", "flip evaluate --data PATH/d"),
        ("/lib/flipagents/__main__.py", "flip evaluate --data PATH/d"),
        ("benchmarks/table1.py", "python table1.py evaluate --data PATH/d"),
        ("/lib/pytest/__main__.py", "python __main__.py evaluate --data PATH/d"),
    ],
)
def test_command(monkeypatch: pytest.MonkeyPatch, program: str, shown: str) -> None:
    monkeypatch.setattr(sys, "argv", [program, "evaluate", "--data", "/home/me/d"])
    assert provenance.about()["command"] == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("busi:/home/me/data/busi?split=val", "busi:PATH/busi?split=val"),
        ("--weights /a/b --out '/a/c/d'", "--weights PATH/b --out 'PATH/d'"),
        ("csv:cases/boxes.csv and 3/4 or ./a/b", "csv:cases/boxes.csv and 3/4 or ./a/b"),
        ("(/a/b/c holds no x)", "(PATH/c holds no x)"),
    ],
)
def test_folders_are_cut(given: str, shown: str) -> None:
    assert provenance.without_folders(given) == shown


def test_commit_of_a_checkout(tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text("1\n")
    assert provenance.about(file)["commit"] is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.example"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        if subprocess.run([*git, *words], check=False, capture_output=True).returncode:
            pytest.skip("no git here")
    commit = provenance.about(file)["commit"]
    assert len(commit) == 40
    file.write_text("2\n")
    assert provenance.about(file)["commit"] == f"{commit}+changes"


def test_code_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    files = [tmp_path / "users_one.py", tmp_path / "users_two.py"]
    for file in files:
        file.write_text(
            "def rule(image, box): return image > 1\n"
            "def make(function):\n    return lambda weights, device: function\n"
            "class Rule:\n    def __call__(self, cases): return cases\n"
        )
    module = imported(files[0])
    parts = [module.rule, module.make(module.rule), functools.partial(module.rule, 1), module.Rule, module.Rule()]
    before = [provenance.code_digest(part) for part in parts]
    held = provenance.code_digest(module.make(imported(files[1]).rule))
    assert len(set(before)) == 1, "one file"
    assert before[0] != provenance.code_digest()
    files[1].write_text(files[1].read_text() + "# other\n")
    assert [provenance.code_digest(part) for part in parts] == before
    assert provenance.code_digest(module.make(imported(files[1]).rule)) != held, "a function that is held by another"


def test_weights(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    assert provenance.weights_digest(None) == ""
    empty = provenance.weights_digest(folder)
    (folder / "about.json").write_text("{}")
    (folder / "tensors.safetensors").write_bytes(b"1")
    first = provenance.weights_digest(folder)
    (folder / "tensors.safetensors").write_bytes(b"2")
    assert provenance.weights_digest(folder) == first, "its digest is in about.json"
    (folder / "about.json").write_text('{"digest": 1}')
    second = provenance.weights_digest(folder)
    (folder / "other.onnx").write_bytes(b"3")
    third = provenance.weights_digest(folder)
    (folder / "other.onnx").write_bytes(b"4")
    assert len({empty, first, second, third, provenance.weights_digest(folder)}) == 5
    assert provenance.weights_digest(folder / "other.onnx") != provenance.weights_digest(tmp_path / "none")
