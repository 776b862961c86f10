"""The scripts import each other by name, as when they are run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the scripts, from which they are imported; no method that they register stays."""
    pytest.importorskip("matplotlib", reason="the scripts draw")
    pytest.importorskip("torch", reason="the scripts train and segment")
    from flipagents.compare.methods import METHODS

    monkeypatch.syspath_prepend(str(SCRIPTS))
    assert sys.path[0] == str(SCRIPTS)
    with METHODS.temporarily():
        yield SCRIPTS
