"""Onnxruntime or torch: which is taken, that no copy of other weights is, and that masks do not depend on it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import flipenv

torch = pytest.importorskip("torch", reason="the choice is between torch and onnxruntime")
pytest.importorskip("onnxscript", reason="copies are written by flip-learning[agents]")
pytest.importorskip("onnxruntime", reason="the choice is between torch and onnxruntime")
from flipagents.cli import main  # noqa: E402
from flipagents.compare.methods import make_method, run_method  # noqa: E402
from flipagents.compare.ours import Finder, Found  # noqa: E402
from flipagents.compare.report import evaluate  # noqa: E402
from flipagents.learn.agents import make_agent  # noqa: E402 - what follows needs torch
from flipagents.maps.network import Student  # noqa: E402
from flipagents.scale.worker import Work, Worker  # noqa: E402
from flipagents.segment.export import write_copy  # noqa: E402
from flipagents.segment.loading import load_student  # noqa: E402
from flipagents.segment.outputs import output_paths  # noqa: E402
from flipagents.segment.runtimes import COPY, fault_of_copy, pipeline_folder  # noqa: E402
from flipagents.segment.segmenter import Segmenter  # noqa: E402
from flipagents.store.checkpoint import SHIPPED, CheckpointError, weights_folder  # noqa: E402
from flipagents.store.recipe import PIPELINE, Recipe  # noqa: E402
from flipenv.errors import ConfigError, MissingDependencyError  # noqa: E402
from flipenv.types import Case  # noqa: E402
from tests.maps.test_network import TINY  # noqa: E402
from tests.segment.test_segmenter import tiny_pipeline  # noqa: E402

SMALL = "phantom:2?height=80&width=112"


def test_a_cpu_runs_the_copy(copied: Path, phantoms: list[Case]) -> None:
    chosen = Segmenter.from_pretrained(copied)
    assert (chosen.runtime, chosen.folder) == ("onnx", copied / COPY)
    plain = Segmenter.from_pretrained(copied, runtime="torch")
    assert (plain.runtime, plain.folder) == ("torch", copied)
    images, boxes = [case.image for case in phantoms], [case.box for case in phantoms]
    for one, other in zip(chosen.predict_many(images, boxes), plain.predict_many(images, boxes), strict=True):
        np.testing.assert_array_equal(one, other)
    assert pipeline_folder(copied, device="cuda") == copied, "a GPU runs torch"
    assert pipeline_folder(copied / COPY) == copied / COPY
    assert Segmenter.from_pretrained().runtime == "onnx", "of the weights that ship"


def test_it_is_said_what_was_used(copied: Path, phantoms: list[Case]) -> None:
    for name in ("flip", "flip+student", "contour"):
        assert [make_method(name, copied, runtime=each).runtime for each in ("auto", "torch")] == ["onnx", "torch"]  # type: ignore[attr-defined]
    assert [Finder(copied, runtime=each).runtime for each in ("auto", "torch")] == ["onnx", "torch"]
    assert [type(make_method("flip", copied, runtime=each).scorer()).__name__ for each in ("onnx", "torch")] == [  # type: ignore[attr-defined]
        "OnnxScorer",
        "TorchScorer",
    ]
    with pytest.raises(ConfigError, match="method 'polar' has no choice of runtime; omit runtime 'onnx'"):
        make_method("polar", runtime="onnx")


def test_an_evaluation_says_what_was_used(copied: Path, tmp_path: Path) -> None:
    for runtime, used in (("auto", "onnx"), ("torch", "torch")):
        found = evaluate(
            SMALL,
            ["polar", "flip", f"flip+student:{copied}"],
            weights=copied,
            runtime=runtime,
            draws=10,
            folder=tmp_path,
            progress=False,
        )
        assert found.about["runtimes"] == {"flip": used, f"flip+student:{copied}": used}
    assert len(list((tmp_path / "evaluations").glob("flip-*.csv"))) == 2, "they are two evaluations"


def test_a_worker_is_told(copied: Path, tmp_path: Path) -> None:
    source = flipenv.open_source(SMALL)
    masks = []
    for runtime in ("onnx", "torch"):
        worker = Worker(Work(source, weights=copied, margin=5, runtime=runtime))
        assert isinstance(worker.method, Found)
        assert worker.method.finder.runtime == worker.agents.runtime == runtime  # type: ignore[union-attr]
        paths = {index: output_paths(tmp_path / runtime, str(index), curve=True) for index in range(2)}
        assert [each.error for each in worker.run(paths)] == ["", ""]
        masks.append([files[0].read_bytes() for files in paths.values()])
    assert masks[0] == masks[1]


def test_without_onnxruntime(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert Segmenter.from_pretrained(copied).runtime == "torch"
    with pytest.raises(
        MissingDependencyError,
        match=r"needs the package 'onnxruntime', which is not installed: pip install flip-learning\[onnx\]",
    ):
        Segmenter.from_pretrained(copied, runtime="onnx")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install flip-learning\[agents\]; or"):
        Segmenter.from_pretrained(copied)


def test_a_copy_of_other_weights_is_not_run(mine: Path) -> None:
    torch.manual_seed(99)
    Student(TINY).save(mine / "student")
    fault = f"{mine / COPY} is a copy of other weights than those in {mine} \\(student\\)"
    with pytest.warns(RuntimeWarning, match=f"{fault}, so torch runs them; `flip export --weights"):
        assert Segmenter.from_pretrained(mine).runtime == "torch"
    with pytest.warns(RuntimeWarning, match=fault):
        assert load_student("student", mine).runtime == "torch"
    with pytest.raises(CheckpointError, match=fault):
        Segmenter.from_pretrained(mine, runtime="onnx")
    before = written(mine)
    write_copy(mine)
    assert Segmenter.from_pretrained(mine, runtime="onnx").runtime == "onnx"
    anew = {path for path, when in written(mine).items() if before[path] != when}
    assert anew == {mine / COPY / "student" / "network.onnx"}, "copies of the same weights are kept"


@pytest.mark.parametrize("change", ["recipe", "more", "fewer"])
def test_a_copy_of_another_pipeline_is_not_run(mine: Path, change: str) -> None:
    if change == "recipe":
        dataclasses.replace(Recipe.read(mine), smooth=0.3).write(mine)
    else:
        shutil.rmtree((mine if change == "more" else mine / COPY) / "locator")
    wanted = "has another pipeline.json" if change == "recipe" else r"is a copy of other weights.*\(locator\)"
    with pytest.warns(RuntimeWarning, match=wanted):
        assert pipeline_folder(mine) == mine


def written(folder: Path) -> dict[Path, int]:
    """When each network of a pipeline's copy was written."""
    return {path: path.stat().st_mtime_ns for path in (folder / COPY).rglob("network.onnx")}


def test_a_copy_that_was_not_finished_is_finished(mine: Path) -> None:
    (mine / COPY / PIPELINE).unlink()
    shutil.rmtree(mine / COPY / "student")
    before = written(mine)
    write_copy(mine)
    assert fault_of_copy(mine) is None
    after = written(mine)
    assert after.keys() - before.keys() == {mine / COPY / "student" / "network.onnx"}
    assert before.items() <= after.items()


def test_without_a_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of an earlier version, or one whose copy was not finished: torch, and no word about it."""
    mine = tiny_pipeline(tmp_path / "mine", stages=("stage1",))
    (mine / COPY).mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Segmenter.from_pretrained(mine).runtime == "torch"
    words = ["segment", SMALL, "--weights", str(mine), "--runtime", "onnx", "-o", str(tmp_path / "out")]
    assert main(words) == 2
    assert f"{mine} has no ONNX copy; `flip export --weights {mine} -o {mine / COPY}` writes it" in " ".join(
        capsys.readouterr().err.split()
    )
    assert main(["export", "--weights", str(mine), "-o", str(mine / COPY)]) == 0
    assert main(words) == 0


def test_a_copy_is_written_once(mine: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in mine.rglob("*") if path.is_file()}
    write_copy(mine)
    assert {path: path.stat().st_mtime_ns for path in mine.rglob("*") if path.is_file()} == before


def test_an_agent_without_a_network_has_no_copy(tmp_path: Path) -> None:
    folder = tiny_pipeline(tmp_path)
    make_agent("random", Segmenter.from_pretrained(folder).stages[0].env).save(folder / "stage1")
    with pytest.warns(RuntimeWarning, match="gets no ONNX copy.*agent 'random' has no network to export"):
        write_copy(folder)
    assert Segmenter.from_pretrained(folder).runtime == "torch"


def test_a_runtime_that_is_none(copied: Path) -> None:
    with pytest.raises(ConfigError, match="unknown runtime 'onx': did you mean 'onnx'"):
        Segmenter.from_pretrained(copied, runtime="onx")
    with pytest.raises(CheckpointError, match="holds networks for onnx, not for torch"):
        Segmenter.from_pretrained(copied / COPY, runtime="torch")


@pytest.mark.parametrize("name", ["flip", "flip+student", "contour"])
@pytest.mark.parametrize("data", ["phantom:6?first=40", "busi"])
def test_masks_of_what_ships_are_those_of_torch(name: str, data: str) -> None:
    if data == "busi":
        if "FLIP_BUSI" not in os.environ:
            pytest.skip("FLIP_BUSI is not set")
        data = f"busi:{os.environ['FLIP_BUSI']}?split=val"
    source = flipenv.open_source(data)
    cases = [dataclasses.replace(source.load(index), mask=None) for index in range(len(source))]
    theirs, ours = (run_method(make_method(name, runtime=each), cases) for each in ("onnx", "torch"))
    assert all(mask.any() for mask in theirs)
    # Sums in another order differ in the last digits. The prior is rounded to whole grey levels, so one of them may
    # change, and with it a pixel on the rim whose value was nearly zero: one in six phantoms, none on BUSI's val.
    others = [int((one != other).sum()) for one, other in zip(theirs, ours, strict=True)]
    assert sum(others) <= 1, dict(zip([case.id for case in cases], others, strict=True))


@pytest.mark.parametrize(
    ("runtime", "absent"),
    [("auto", ("torch",)), ("torch", ("onnxruntime",))],
)
def test_segmenting_imports_no_more_than_it_needs(runtime: str, absent: tuple[str, ...], tmp_path: Path) -> None:
    """No optimiser is made, for which torch would import its compiler; none of the networks is MONAI's."""
    code = (
        "import sys\n"
        "from flipagents.cli import main\n"
        "code = main(sys.argv[2:])\n"
        "names = {'monai', 'torch._dynamo', 'sympy', 'scipy', 'matplotlib', 'tensorboard', *sys.argv[1].split()}\n"
        "assert not names & set(sys.modules), names & set(sys.modules)\n"
        "sys.exit(code)"
    )
    words = [" ".join(absent), "segment", SMALL, "--gif", "--margin", "5", "-o", str(tmp_path), "--runtime", runtime]
    subprocess.run([sys.executable, "-c", code, *words], check=True)
    assert len(list(tmp_path.glob("*_mask.png"))) == 2


def test_what_ships_has_its_copy() -> None:
    assert fault_of_copy(SHIPPED) is None


@pytest.mark.parametrize("name", ["busi-small", "busi-guided", "busi-paper"])
def test_every_shipped_pipeline_has_its_copy(name: str, phantoms: list[Case]) -> None:
    assert fault_of_copy(weights_folder(name)) is None
    images, boxes = [case.image for case in phantoms[:2]], [case.box for case in phantoms[:2]]
    one, other = (
        Segmenter.from_pretrained(name, runtime=runtime).predict_many(images, boxes) for runtime in ("onnx", "torch")
    )
    assert sum((mine != theirs).sum() for mine, theirs in zip(one, other, strict=True)) <= 1, "but for a tie"
    assert all(mask.any() for mask in one)
