"""One pipeline with its ONNX copy for all tests of this room: torch takes half a minute to write one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of untrained networks of every kind with its ONNX copy; not to be changed."""
    from flipagents.segment.export import write_copy
    from tests.segment.test_export import pipeline_of_every_kind

    folder = pipeline_of_every_kind(tmp_path_factory.mktemp("copied"))
    write_copy(folder)
    return folder


@pytest.fixture
def mine(copied: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(copied, tmp_path / "mine"))
