"""One trained run for all tests of this room: it takes half a minute."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import flipenv

CANVAS = {"kind": "roi", "height": 48, "width": 48}
ENV = {"canvas": CANVAS, "window": 32}
LEARNER = {"epochs": 3, "lanes": 8, "replay": 2000, "warmup": 64, "log_every": 200, "checkpoint_minutes": 0.0}
CLASSIFIER = {
    "epochs": 1,
    "examples": 64,
    "batch": 16,
    "val_examples": 32,
    "patches": {"variants": 1, "per_normal": 1, "per_case": 1},
}
STUDENT = {"epochs": 8, "batch": 4, "features": (4, 4, 8, 8, 8, 4)}


OPTIONS: dict[str, Any] = {
    "progress": False,
    "env_options": ENV,
    "learner_options": LEARNER,
    "classifier_options": CLASSIFIER,
    "student_options": STUDENT,
}


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images and their boxes; no mask anywhere."""
    folder = tmp_path_factory.mktemp("boxes")
    source = flipenv.open_source("phantom:12?height=96&width=136")
    with (folder / "cases.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "top", "left", "bottom", "right"])
        for index in range(len(source)):
            case = source.load(index)
            Image.fromarray(case.image).save(folder / f"{case.id}.png")
            rows.writerow([f"{case.id}.png", *case.box])
    return folder / "cases.csv"


@pytest.fixture(scope="session")
def trained(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; not to be changed."""
    pytest.importorskip("torch", reason="the pipeline trains with torch")
    pytest.importorskip("monai", reason="the networks are MONAI's")
    from flipagents.train.pipeline import train_pipeline

    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLIPENV_CACHE", str(tmp_path_factory.mktemp("cache")))
        return train_pipeline(f"csv:{table}", None, folder / "run", **OPTIONS)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "run"))
