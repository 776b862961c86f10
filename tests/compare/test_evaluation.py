"""Cases with moved boxes, and evaluations that are kept and found again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from flipagents import metrics
from flipagents.compare import evaluation
from flipagents.compare.evaluation import Candidate, Cases, Evaluation, Store
from flipagents.compare.methods import box_method
from flipagents.maps.geometry import ellipse
from flipenv.config import EnvConfig
from flipenv.errors import ImageError, MissingDependencyError, SourceError
from flipenv.pool import EpisodePool
from flipenv.sources import CaseSource
from flipenv.types import Case
from tests.compare.conftest import REASON


def test_moved_boxes(phantoms: list[Case]) -> None:
    source = CaseSource(phantoms)
    first, third = (Cases(source, (8, 12), seed) for seed in (0, 2))
    pool = EpisodePool(source, EnvConfig(jitter=(8, 12)), cache=False)
    for index, case in enumerate(phantoms):
        assert first.load(index).box == pool.case(index).box != case.box
    assert [third.load(index).box for index in range(6)] != [first.load(index).box for index in range(6)]
    rows = Evaluation(Candidate("ellipse"), third).run().rows
    for index, row in enumerate(rows):
        case = third.load(index)
        assert (row.case, row.seed) == (phantoms[index].id, 2)
        assert row.dice == metrics.dice(ellipse(case.box, case.image.shape), case.mask)


def test_in_chunks(phantoms: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    cases = Cases(CaseSource(phantoms))
    whole = Evaluation(Candidate("polar"), cases).run().rows
    monkeypatch.setattr(evaluation, "CHUNK", 4)
    monkeypatch.setattr(evaluation, "KEPT", 0)
    cases = Cases(CaseSource(phantoms))
    told: list[int] = []
    parts = Evaluation(Candidate("polar"), cases).run(tell=told.append).rows
    assert told == [4, 2]
    assert [row.dice for row in parts] == [row.dice for row in whole]


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


def test_kept_and_found_again(phantoms: list[Case], tmp_path: Path) -> None:
    box_method("nothing")(lambda image, box: np.zeros(image.shape, bool))
    store = Store(tmp_path / "new")
    own = Evaluation(Candidate("nothing", "a/b"), Cases(CaseSource(phantoms)))
    assert store.load(own) is None
    outcome = own.run()
    store.save(own, outcome, {"commit": "c"})
    assert repr(store.load(own)) == repr(outcome)
    renamed = dataclasses.replace(own, candidate=Candidate("nothing", "a?b"))
    assert {row.method for row in store.load(renamed).rows} == {"a?b"}
    files = sorted((tmp_path / "new").iterdir())
    assert [file.suffix for file in files] == [".csv", ".json"]
    told = json.loads(files[1].read_text())
    assert (told["method"], told["commit"], told["seed"]) == ("nothing", "c", 0)
    files[0].write_text(files[0].read_text()[:-40])
    assert store.load(own) is None, "half a file"


class Broken(CaseSource):
    """Cases of which some cannot be read for a reason, some of those not even to be hashed."""

    def __init__(self, cases: list[Case], why: dict[int, str], unhashed: tuple[int, ...] = ()) -> None:
        super().__init__(cases)
        self.why, self.unhashed = why, unhashed

    def load(self, index: int) -> Case:
        if index in self.why:
            raise ImageError(self.why[index])
        return super().load(index)

    def fingerprint(self, index: int) -> str:
        if index in self.unhashed:
            raise SourceError(self.why[index])
        return super().fingerprint(index)


def test_a_case_without_a_mask_is_left_out(phantoms: list[Case]) -> None:
    cases = Cases(CaseSource([phantoms[0], dataclasses.replace(phantoms[1], mask=None), phantoms[2]]))
    outcome = Evaluation(Candidate("box"), cases).run()
    assert [row.case for row in outcome.rows] == [phantoms[0].id, phantoms[2].id]
    assert [(each.case, each.method) for each in outcome.failures] == [(phantoms[1].id, "")]
    assert "has no mask" in outcome.failures[0].reason
    assert outcome.whole


def test_no_case_at_all(phantoms: list[Case]) -> None:
    blind = [dataclasses.replace(case, mask=None) for case in phantoms]
    with pytest.raises(
        SourceError, match=f"none of 6 cases can be evaluated; the first, '{phantoms[0].id}': has no mask"
    ):
        Evaluation(Candidate("box"), Cases(CaseSource(blind))).run()


def test_bad_cases_leave_the_others_as_they_are(phantoms: list[Case], picky: list[str]) -> None:
    picky.append(phantoms[4].id)
    whole = Evaluation(Candidate("ellipse"), Cases(CaseSource(phantoms))).run().rows
    cases = Cases(Broken(phantoms, {1: "cut short", 2: "no such file"}, unhashed=(2,)))
    outcome = Evaluation(Candidate("picky"), cases).run()
    assert [row.dice for row in outcome.rows] == [whole[index].dice for index in (0, 3, 5)]
    told = {(each.case, each.reason, each.method) for each in outcome.failures}
    assert told == {
        (phantoms[1].id, "cut short", ""),
        (phantoms[2].id, "no such file", ""),
        (phantoms[4].id, REASON, "picky"),
    }
    assert not outcome.whole


def test_what_a_method_needs_is_no_fault_of_the_case(phantoms: list[Case]) -> None:
    asked = []

    @box_method("needy")
    def needy(image: np.ndarray, box: object) -> np.ndarray:
        asked.append(box)
        raise MissingDependencyError("needs scikit-image")

    with pytest.raises(MissingDependencyError):
        Evaluation(Candidate("needy"), Cases(CaseSource(phantoms))).run()
    assert len(asked) == 1


def test_the_key_knows_why_a_case_cannot_be_hashed(phantoms: list[Case]) -> None:
    sources = [Broken(phantoms, {2: why}, unhashed=(2,)) for why in ("no such file", "empty box")]
    keys = {Evaluation(Candidate("box"), Cases(source)).key() for source in (CaseSource(phantoms), *sources)}
    assert len(keys) == 3


def test_failures_are_kept_and_looked_at_again(phantoms: list[Case], tmp_path: Path) -> None:
    """A case may be read later although nothing of it changed, with a library that was missing."""
    store, source = Store(tmp_path), Broken(phantoms, {2: "needs /home/me/pydicom"})
    own = Evaluation(Candidate("box"), Cases(source))
    outcome = own.run()
    store.save(own, outcome, {})
    assert repr(store.load(Evaluation(Candidate("box"), Cases(source)))) == repr(outcome)
    told = json.loads(next(tmp_path.glob("*.json")).read_text())["failed"]
    assert told == [{"case": phantoms[2].id, "reason": "needs PATH/pydicom"}], "files are shared"
    source.why.clear()
    later = Evaluation(Candidate("box"), Cases(source))
    assert later.key() == own.key()
    assert store.load(later) is None
    source.why[3] = "cut short"
    assert store.load(Evaluation(Candidate("box"), Cases(source))) is None, "another one"


def test_what_a_method_failed_on_is_tried_again(phantoms: list[Case], picky: list[str], tmp_path: Path) -> None:
    picky.append(phantoms[4].id)
    own, store = Evaluation(Candidate("picky"), Cases(CaseSource(phantoms))), Store(tmp_path)
    store.save(own, own.run(), {})
    assert list(tmp_path.iterdir()) == []
