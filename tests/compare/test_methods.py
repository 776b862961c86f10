"""Methods by name: what they see, what they must give, and one of a user's own."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import flipagents
from flipagents.cli import main
from flipagents.compare import report
from flipagents.compare.baselines import MAKERS, RULES
from flipagents.compare.methods import METHODS, box_method, make_method, run_method
from flipagents.compare.ours import Found
from flipagents.maps.geometry import ellipse, filled_box
from flipagents.maps.polar import polar
from flipagents.maps.tidy import tidy
from flipenv.errors import ConfigError, FlipError, MaskError, MissingDependencyError
from flipenv.types import Box, Case


def test_names() -> None:
    assert {"box", "ellipse", "polar", "polar+grey", "flip", "flip+student", "litemedsam"} <= set(METHODS.names())
    with pytest.raises(ConfigError, match="unknown method 'elipse': did you mean 'ellipse'"):
        make_method("elipse")


def test_the_tables_name_what_is_there() -> None:
    for where in (*RULES.values(), *MAKERS.values()):
        module, _, attribute = where.partition(":")
        path = Path(flipagents.__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
        assert re.search(rf"^((def|class) {attribute}\b|{attribute} = )", path.read_text(), flags=re.MULTILINE), where
    code = (
        "import sys; from flipagents.compare.methods import METHODS, make_method\n"
        "make_method('box')\n"
        "loaded = [name for name in sys.modules if name.startswith('flipagents.compare.baselines.')]\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_method_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("flipagents.compare.baselines.litemedsam", "flipagents.maps.litemedsam"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"'litemedsam' needs torch: pip install flip-learning\[agents\]"):
        make_method("litemedsam")


def test_only_evaluations_show_masks(phantoms: list[Case], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @METHODS.register("truth")
    class Truth:
        sees_masks = True

        def __init__(self, weights: Path | None, device: str) -> None:
            pass

        def __call__(self, cases: list[Case]) -> list[np.ndarray]:
            return [np.asarray(case.mask) for case in cases]

    found = report.evaluate(phantoms, ["truth"], draws=10, progress=False)
    assert {row.dice.mean for row in found.summaries if row.method == "truth"} == {1}
    with pytest.raises(ConfigError, match="method 'truth' reads the true masks"):
        make_method("truth")
    out = tmp_path / "out"
    assert main(["segment", "phantom:2?height=80&width=112", "-o", str(out), "--method", "truth"]) == 2
    assert "use it with `flip evaluate`" in capsys.readouterr().err
    assert not out.exists()
    own = np.asarray(phantoms[0].mask)
    assert run_method(make_method("truth", evaluation=True), phantoms[:1])[0] is not own


def test_rules_are_the_baselines(phantoms: list[Case]) -> None:
    for name, rule in {"box": lambda image, box: filled_box(box, image.shape), "polar": polar}.items():
        for mask, case in zip(run_method(make_method(name), phantoms), phantoms, strict=True):
            np.testing.assert_array_equal(mask, rule(case.image, case.box))
    for mask, case in zip(run_method(make_method("ellipse"), phantoms), phantoms, strict=True):
        np.testing.assert_array_equal(mask, ellipse(case.box, case.image.shape))


def test_a_method_of_ones_own(phantoms: list[Case]) -> None:
    @box_method("dark")
    def dark(image: np.ndarray, box: Box) -> np.ndarray:
        return filled_box(box, image.shape) & (image < 40)

    assert "dark" in METHODS.names()
    for mask, case in zip(run_method(make_method("dark"), phantoms), phantoms, strict=True):
        np.testing.assert_array_equal(mask, dark(case.image, case.box))
    with pytest.raises(ConfigError, match="method 'dark' is already registered"):
        box_method("dark")(lambda image, box: image > 0)


def test_a_method_of_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entries(list[object]):
        names = frozenset({"theirs"})

        def load(self) -> object:
            return lambda weights, device: lambda cases: [np.zeros(case.image.shape, bool) for case in cases]

    entries = Entries()
    entries.append(entries)

    def offered(group: str, name: str | None = None) -> object:
        return entries if name in (None, "theirs") else []

    monkeypatch.setattr("flipenv.registry.entry_points", offered)
    case = Case(np.zeros((9, 12), np.uint8), Box(1, 2, 5, 6))
    assert not run_method(make_method("theirs"), [case])[0].any()


def test_nothing_but_image_and_box_reaches_a_method(phantoms: list[Case]) -> None:
    seen: list[Case] = []

    @METHODS.register("spy")
    def spy(weights: Path | None, device: str):  # type: ignore[no-untyped-def]
        assert (weights, device) == (Path("here"), "cuda")

        def run(cases: list[Case]) -> list[np.ndarray]:
            seen.extend(cases)
            for case in cases:
                case.image[:] = 7  # its own copy
            return [np.ones(case.image.shape, bool) for case in cases]

        return run

    full = [
        dataclasses.replace(case, coarse=case.mask, prior=case.image, background=case.image, meta={"class": "benign"})
        for case in phantoms
    ]
    assert all(case.mask is not None for case in full)
    before = [case.image.copy() for case in full]
    run_method(make_method("spy", "here", "cuda"), full)
    assert [case.id for case in seen] == [case.id for case in full]
    for case, own, image in zip(seen, full, before, strict=True):
        assert case.box == own.box
        assert (case.mask, case.coarse, case.prior, case.background, case.meta) == (None, None, None, None, {})
        np.testing.assert_array_equal(own.image, image)


@pytest.mark.parametrize(
    ("give", "fault"),
    [
        (lambda case: None, "gave None"),
        (lambda case: np.zeros((2, 3), bool), r"mask has shape \(2, 3\)"),
        (lambda case: np.zeros(case.image.shape), "mask has dtype float64; expected bool"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(phantoms: list[Case], give: object, fault: str) -> None:
    with pytest.raises(MaskError, match=f"case 'phantom-0000': the method.*{fault}"):
        run_method(lambda cases: [give(case) for case in cases], phantoms[:1])  # type: ignore[operator]
    with pytest.raises(MaskError, match="0 masks for 1 cases"):
        run_method(lambda cases: [], phantoms[:1])


def test_flip_is_the_segmenter(phantoms: list[Case], tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the agents need torch")
    from flipagents.segment.segmenter import Segmenter
    from tests.segment.test_segmenter import tiny_pipeline

    folder = tiny_pipeline(tmp_path)
    flip = make_method("flip", folder)
    assert flip.scorer() is None  # type: ignore[attr-defined]
    expected = Segmenter.from_pretrained(folder).predict_many([c.image for c in phantoms], [c.box for c in phantoms])
    for mask, truth in zip(run_method(flip, phantoms), expected, strict=True):
        np.testing.assert_array_equal(mask, truth)


def test_weights_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the agents need torch")
    from flipagents.store import checkpoint
    from flipagents.store.checkpoint import CheckpointError

    monkeypatch.setattr(checkpoint, "SHIPPED", tmp_path / "none")
    with pytest.raises(CheckpointError, match="shipped weights cannot be loaded.*`flip train --data PATH"):
        make_method("flip")
    with pytest.raises(CheckpointError, match=r"mine.pipeline.json is not a pipeline"):
        make_method("flip", tmp_path / "mine")


def test_rules_run_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['onnxruntime'] = None\n"
        "from flipagents import report\n"
        "from flipagents.compare.methods import make_method\n"
        "found = report.evaluate('phantom:2?height=80&width=112', ['polar'], draws=10, progress=False)\n"
        "assert len(found.summaries) == 3\n"
        "try: make_method('flip')\n"
        "except ImportError as error: assert 'flip-learning[agents]' in str(error), error\n"
        "else: raise SystemExit('flip was made without torch and onnxruntime')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_student_is_one_pass(phantoms: list[Case], tmp_path: Path) -> None:
    pytest.importorskip("monai", reason="a student is taught by MONAI's loss")
    from flipagents.segment.loading import load_student
    from tests.maps.test_network import tiny_students

    tiny_students(tmp_path)
    maps = load_student("student", tmp_path).maps([case.image for case in phantoms], [case.box for case in phantoms])
    for mask, seen in zip(run_method(make_method("flip+student", tmp_path), phantoms), maps, strict=True):
        np.testing.assert_array_equal(mask, tidy(seen > 0.5))


def test_a_box_that_may_be_off_is_moved_first(phantoms: list[Case], tmp_path: Path) -> None:
    pytest.importorskip("monai", reason="a student is taught by MONAI's loss")
    from flipagents.maps.locate import relocate
    from flipagents.segment.loading import load_student
    from tests.maps.test_network import tiny_students

    tiny_students(tmp_path)
    found = Found(make_method("box"), 12, tmp_path)
    images, boxes = [case.image for case in phantoms], [case.box for case in phantoms]
    moved = relocate(load_student("locator", tmp_path), images, boxes, 12)
    assert moved != boxes
    for case, mask, box in zip(phantoms, run_method(found, phantoms), moved, strict=True):
        np.testing.assert_array_equal(mask, filled_box(box, case.image.shape))
        assert (box.height, box.width) == (case.box.height, case.box.width)
        assert max(abs(box.top - case.box.top), abs(box.left - case.box.left)) <= 12
    with pytest.raises(ConfigError, match="margin=0; expected a box tolerance of at least 1 px"):
        Found(make_method("box"), 0, tmp_path)
    (tmp_path / "locator" / "tensors.safetensors").write_bytes(b"cut short")
    with pytest.raises(FlipError, match="locator"):
        Found(make_method("box"), 12, tmp_path)
