"""A GPU gives what NumPy gives. Skipped without one; FLIP_DEVICE=cpu runs the same comparison on torch's CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import flipenv
from flipenv.batch import Batch, to_numpy

torch = pytest.importorskip("torch", reason="a GPU is used through torch")
from flipagents.learn.config import LearnerConfig  # noqa: E402 - needs torch
from flipagents.learn.learner import Learner  # noqa: E402
from flipagents.segment.segmenter import Segmenter  # noqa: E402

DEVICE = os.environ.get("FLIP_DEVICE", "cuda")
pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(), reason="no GPU; FLIP_DEVICE=cpu compares NumPy with torch"
)
CANVAS = {"kind": "roi", "height": 64, "width": 80}
ENVS = (
    {"cell_area": 60.0, "credit": "sequential", "csr": "logit", "idr": "cumulative", "theta": 2.0},
    {"cell_area": 40.0, "n_agents": 4, "credit": "counterfactual", "channels": ("superpixel", "ellipse")},
    {"cell_area": 60.0, "n_agents": 1, "observation": "egocentric", "standardise": True, "theta": "auto"},
)


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """TF32 would round the last bits, and `sign` makes rewards of them."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("options", ENVS, ids=["sequential", "four agents", "one agent"])
def test_every_step_is_the_same(options: dict[str, Any]) -> None:
    pool = flipenv.EpisodePool(
        "phantom:5?height=96&width=140",
        flipenv.EnvConfig.of({"canvas": CANVAS, "window": 32, "beta": None, **options}),
        cache=False,
    )
    batches = [Batch(pool, 6, device=device, progress=False) for device in (None, DEVICE)]
    draw, total = np.random.default_rng(0), 0.0
    for batch in batches:
        batch.reset(cases=[0, 1, 2, 3, 4, 0])
    for _ in range(40):
        actions = draw.integers(0, 2, (6, pool.config.n_agents))
        one, other = (
            batch.step(actions if batch.device is None else torch.from_numpy(actions).to(DEVICE)) for batch in batches
        )
        np.testing.assert_allclose(to_numpy(other.reward), one.reward, atol=1e-4)
        np.testing.assert_array_equal(to_numpy(other.changed), one.changed)
        for name in ("canvas", "erased", "histogram", "here", "terminated", "truncated"):
            np.testing.assert_array_equal(to_numpy(getattr(other.state, name)), getattr(one.state, name))
        np.testing.assert_array_equal(to_numpy(batches[1].observation()), batches[0].observation())
        total += float(np.abs(one.reward).sum())
    assert total > 0


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
