"""Small cases for all tests, and real ones where a folder of BUSI is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import flipenv

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

SMALL = {"canvas": {"kind": "roi", "height": 64, "width": 80}, "cell_area": 60.0, "window": 32}
BUSI = os.environ.get("FLIP_BUSI")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or leaves episodes in the user's cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FLIPENV_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def phantoms() -> list[flipenv.Case]:
    """Non-square, each of another size."""
    source = [
        flipenv.open_source(f"phantom:2?first={2 * seed}&height={96 + 8 * seed}&width={150 - 6 * seed}")
        for seed in range(3)
    ]
    return [each.load(index) for each in source for index in range(2)]


def cases(kind: str) -> list[flipenv.Case]:
    """Six phantoms, or six BUSI cases of the validation split."""
    if kind == "phantom":
        source = flipenv.open_source("phantom:6?height=112&width=152")
    else:
        if BUSI is None:
            pytest.skip("FLIP_BUSI names no BUSI folder; set it to run on real images")
        source = flipenv.open_source(f"busi:{BUSI}?split=val")
    return [source.load(index) for index in range(6)]


@pytest.fixture(scope="session", params=["phantom", "busi"])
def real_and_phantom(request: pytest.FixtureRequest) -> list[flipenv.Case]:
    """The same test on phantoms and on real images."""
    return cases(request.param)
