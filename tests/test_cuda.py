"""Learning and segmenting on a GPU; its steps are compared in test_core_parity. FLIP_DEVICE=cpu runs them here."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

import flipenv

torch = pytest.importorskip("torch", reason="a GPU is used through torch")
from flipagents.learn.config import LearnerConfig  # noqa: E402 - needs torch
from flipagents.learn.learner import Learner  # noqa: E402
from flipagents.segment.segmenter import Segmenter  # noqa: E402

DEVICE = os.environ.get("FLIP_DEVICE", "cuda")
pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(), reason="no GPU; FLIP_DEVICE=cpu runs on the CPU"
)
CANVAS = {"kind": "roi", "height": 64, "width": 80}


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """TF32 would round the last bits, and `sign` makes rewards of them."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_it_learns_there() -> None:
    env = flipenv.EnvConfig.of({"canvas": CANVAS, "window": 32, "cell_area": 60.0, "beta": None, "traversals": 1})
    pool = flipenv.EpisodePool("phantom:8?height=96&width=140", env, cache=False)
    config = LearnerConfig.small(device=DEVICE, lanes=8, warmup=64, train_steps=600, log_every=100)
    rows = list(Learner(pool, config, progress=False).train())
    assert np.isfinite([row["loss"] for row in rows if row.get("loss") is not None]).all()
    assert rows[-1]["episodes"] > 8


def test_the_shipped_masks_are_the_same(phantoms: list[flipenv.Case]) -> None:
    images, boxes = [case.image for case in phantoms], [case.box for case in phantoms]
    one, other = (
        Segmenter.from_pretrained(device=device, runtime="torch").predict_many(images, boxes)
        for device in ("cpu", DEVICE)
    )
    for mine, theirs in zip(one, other, strict=True):
        assert (mine != theirs).sum() <= 0.001 * mine.sum()
