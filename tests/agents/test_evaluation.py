"""Cases with moved boxes, and evaluations that are kept and found again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from flipagents import evaluation, metrics
from flipagents.baselines.geometry import ellipse
from flipagents.evaluation import Candidate, Cases, Evaluation, Store
from flipagents.methods import METHODS, box_method
from flipenv.config import EnvConfig
from flipenv.errors import SourceError
from flipenv.pool import EpisodePool
from flipenv.sources import CaseSource
from flipenv.types import Case


def test_moved_boxes(phantoms: list[Case]) -> None:
    source = CaseSource(phantoms)
    first, third = (Cases(source, (8, 12), seed) for seed in (0, 2))
    pool = EpisodePool(source, EnvConfig(jitter=(8, 12)), cache=False)
    for index, case in enumerate(phantoms):
        assert first.load(index).box == pool.case(index).box != case.box
    assert [third.load(index).box for index in range(6)] != [first.load(index).box for index in range(6)]
    rows = Evaluation(Candidate("ellipse"), third).run()
    for index, row in enumerate(rows):
        case = third.load(index)
        assert (row.case, row.seed) == (phantoms[index].id, 2)
        assert row.dice == metrics.dice(ellipse(case.box, case.image.shape), case.mask)


def test_in_chunks(phantoms: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    cases = Cases(CaseSource(phantoms))
    whole = Evaluation(Candidate("polar"), cases).run()
    monkeypatch.setattr(evaluation, "CHUNK", 4)
    monkeypatch.setattr(evaluation, "KEPT", 0)
    cases = Cases(CaseSource(phantoms))
    assert [len(chunk) for chunk in cases.chunks()] == [4, 2]
    assert [row.dice for row in Evaluation(Candidate("polar"), cases).run()] == [row.dice for row in whole]


def test_names_and_folders() -> None:
    assert Candidate("flip").name == "flip"
    assert Candidate("flip", margin=3).name == "found flip"
    assert Candidate("flip", "ours", margin=3).name == "ours"
    assert Candidate("flip").folder(1) is None
    assert Candidate("flip", weights="runs/{seed}/a").folder(7) == Path("runs/7/a")


def test_keys(phantoms: list[Case], tmp_path: Path) -> None:
    source = CaseSource(phantoms)
    (tmp_path / "net.onnx").write_bytes(b"1")

    def key(candidate: Candidate, shift: tuple[float, float] = (0, 0), seed: int = 0, device: str = "cpu") -> str:
        return Evaluation(candidate, Cases(source, shift, seed), device).key()

    assert key(Candidate("box")) == key(Candidate("box", "another label")) == key(Candidate("box"), seed=3)
    keys = [
        key(Candidate("box")),
        key(Candidate("polar")),
        key(Candidate("box"), (2, 3)),
        key(Candidate("box"), (2, 3), 1),
        key(Candidate("box"), device="cuda"),
        key(Candidate("box", margin=5)),
        key(Candidate("box", weights=tmp_path)),
        key(Candidate(f"onnx:{tmp_path / 'net.onnx'}")),
    ]
    (tmp_path / "net.onnx").write_bytes(b"2")
    keys += [key(Candidate("box", weights=tmp_path)), key(Candidate(f"onnx:{tmp_path / 'net.onnx'}"))]
    keys.append(Evaluation(Candidate("box"), Cases(CaseSource(phantoms[:5]))).key())
    assert len(set(keys)) == len(keys)


def test_kept_and_found_again(phantoms: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METHODS, "_parts", dict(METHODS._parts))
    box_method("nothing")(lambda image, box: np.zeros(image.shape, bool))
    store = Store(tmp_path / "new")
    own = Evaluation(Candidate("nothing", "a/b"), Cases(CaseSource(phantoms)))
    assert store.load(own) is None
    rows = own.run()
    store.save(own, rows, {"commit": "c"})
    assert repr(store.load(own)) == repr(rows)
    renamed = dataclasses.replace(own, candidate=Candidate("nothing", "a?b"))
    assert {row.method for row in store.load(renamed) or []} == {"a?b"}
    files = sorted((tmp_path / "new").iterdir())
    assert [file.suffix for file in files] == [".csv", ".json"]
    told = json.loads(files[1].read_text())
    assert (told["method"], told["commit"], told["seed"]) == ("nothing", "c", 0)
    files[0].write_text(files[0].read_text()[:-40])
    assert store.load(own) is None, "half a file"


def test_a_case_without_a_mask(phantoms: list[Case]) -> None:
    cases = Cases(CaseSource([phantoms[0], dataclasses.replace(phantoms[1], mask=None)]))
    with pytest.raises(SourceError, match=f"case '{phantoms[1].id}' has no mask"):
        Evaluation(Candidate("box"), cases).run()
