"""The weights that ship, on onnxruntime: in an installation without torch this is all that segments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="what was exported needs flip-learning[onnx]")
from flipagents import Segmenter
from flipagents.compare.methods import make_method
from flipenv.sources import open_source

SOURCE = "phantom:2?height=112&width=152"


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def test_it_segments_better_than_the_box() -> None:
    segmenter = Segmenter.from_pretrained(runtime="onnx")
    source = open_source(SOURCE)
    cases = [source.load(index) for index in range(len(source))]
    for case, mask in zip(cases, segmenter.predict_many([c.image for c in cases], [c.box for c in cases]), strict=True):
        assert mask.dtype == np.bool_
        assert mask.shape == case.image.shape
        box = np.zeros(case.image.shape, np.bool_)
        box[case.box.rows, case.box.columns] = True
        assert case.mask is not None
        assert dice(mask, case.mask) > dice(box, case.mask) + 0.02


def test_the_command_needs_no_torch(tmp_path: Path) -> None:
    """With curve and film, which ask the classifier too; and it does not look for torch."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from flipagents.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "assert not {'torch.nn', 'monai'} & set(sys.modules)\n"
        "sys.exit(code)"
    )
    words = ["segment", SOURCE, "--gif", "-o", str(tmp_path)]
    subprocess.run([sys.executable, "-c", code, *words], check=True)
    assert len(list(tmp_path.glob("phantom-000[01]*"))) == 8


def test_torch_is_asked_for_by_name(tmp_path: Path) -> None:
    """Weights for torch without torch: what to install is named."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from flipagents.cli import main\n"
        "sys.exit(main(['segment', 'phantom:1', '-o', sys.argv[1], '--runtime', 'torch']))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install flip-learning[agents]" in done.stderr
    assert "flip-learning[onnx]" in done.stderr


def test_scores_are_scores() -> None:
    scorer = make_method("flip", runtime="onnx").scorer()  # type: ignore[attr-defined]
    canvases = np.random.default_rng(0).integers(0, 256, (3, 128, 128)).astype(np.uint8)
    scores = scorer(canvases)
    assert scores.shape == (3,)
    assert ((scores >= 0) & (scores <= 1)).all()
