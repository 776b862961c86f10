"""Idle threads sleep: what a command tells the libraries before they start, and that a user's own word counts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flipagents.machine import threads

SMALL = "phantom:1?height=80&width=112"


def run(code: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process that has none of the settings but these."""
    own = {name: value for name, value in os.environ.items() if name not in (*threads.SETTINGS, "OMP_NUM_THREADS")}
    told = [sys.executable, "-c", code, *words]
    return subprocess.run(told, capture_output=True, text=True, check=True, env={**own, **environment})


@pytest.mark.parametrize(("given", "expected"), [({}, 1), ({"OPENCV_FOR_THREADS_NUM": "2"}, 2)])
def test_before_opencv_starts(tmp_path: Path, given: dict[str, str], expected: int) -> None:
    code = (
        "import sys\n"
        "from flipagents.cli import main\n"
        "assert not {'cv2', 'numpy', 'torch', 'onnxruntime'} & set(sys.modules), 'settled too late'\n"
        "assert main(['segment', sys.argv[1], '--method', 'box', '-o', sys.argv[2]]) == 0\n"
        "import cv2\n"
        "print(cv2.getNumThreads())"
    )
    assert run(code, SMALL, str(tmp_path), **given).stdout.split()[-1] == str(expected)


@pytest.mark.parametrize("given", ["", "ACTIVE"])
def test_before_openmp_starts(tmp_path: Path, given: str) -> None:
    """GNU's OpenMP, which torch's wheels for Linux bring, tells its settings when it is loaded."""
    pytest.importorskip("torch", reason="the OpenMP is torch's")
    code = "import sys\nfrom flipagents.cli import main\nsys.exit(main(sys.argv[1:]))"
    words = ["segment", SMALL, "--method", "flip+student", "--runtime", "torch", "-o", str(tmp_path)]
    told = run(code, *words, OMP_DISPLAY_ENV="true", **({"OMP_WAIT_POLICY": given} if given else {})).stderr
    if "OMP_WAIT_POLICY" not in told:
        pytest.skip("this torch has another OpenMP")
    assert f"OMP_WAIT_POLICY = '{given or 'PASSIVE'}'" in told


def test_importing_the_packages_sets_nothing() -> None:
    code = "import os, flipenv, flipagents.segment.segmenter, flipagents.compare.methods\nprint(sorted(os.environ))"
    told = run(code).stdout
    assert not [name for name in threads.SETTINGS if f"'{name}'" in told]


@pytest.mark.parametrize("given", ["", "1"])
def test_onnxruntime_never_spins(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    pytest.importorskip("onnxruntime", reason="it is onnxruntime's threads")
    from flipagents import Segmenter
    from flipagents.segment.onnx import OnnxAgent
    from flipagents.store.onnx import MOST_THREADS

    monkeypatch.setenv("OMP_NUM_THREADS", given or "0")
    for agent in Segmenter.from_pretrained(runtime="onnx").stages:
        assert isinstance(agent, OnnxAgent)
        settings = agent.session.get_session_options()
        assert settings.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert 1 <= settings.intra_op_num_threads <= (int(given) if given else MOST_THREADS)
