"""A torch classifier as a scorer: logits of three forms, chunks, resizing, and bad heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flipenv.errors import ConfigError, ScorerError
from flipenv.testing import check_scorer

torch = pytest.importorskip("torch", reason="the torch scorer needs torch")
from flipenv.torch_scorer import TorchScorer  # noqa: E402 - imports torch

CANVASES = np.random.default_rng(0).integers(0, 256, (7, 20, 28)).astype(np.uint8)


class Mean(torch.nn.Module):
    """Logit: ten times the mean grey level from 0.5, so that scores can be written down."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.weight = torch.nn.Parameter(torch.tensor(10.0))
        self.drop = torch.nn.Dropout(0.5)
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, x: Any) -> Any:
        self.sizes.append(tuple(x.shape))
        logit = self.weight * self.drop(x).mean((1, 2, 3))
        return {
            "n": logit,
            "n1": logit[:, None],
            "n2": torch.stack([-logit / 2, logit / 2], 1),
            "n3": logit[:, None].tile(3),
        }[self.form]


@pytest.mark.parametrize("form", ["n", "n1", "n2"])
def test_scores(form: str) -> None:
    scorer = TorchScorer(Mean(form).train(), mean=0.5, std=0.5, temperature=2.0, batch=3)
    expected = 1 / (1 + np.exp(-10 * ((CANVASES / 255).mean((1, 2)) - 0.5) / 0.5 / 2))
    assert np.allclose(scorer(CANVASES), expected, atol=1e-6)
    assert [size[0] for size in scorer.module.sizes] == [3, 3, 1]
    check_scorer(scorer, CANVASES)


def test_canvases_may_be_tensors() -> None:
    scorer = TorchScorer(Mean("n"))
    scores = scorer(torch.as_tensor(CANVASES))
    assert isinstance(scores, torch.Tensor)
    assert not scores.requires_grad
    assert np.array_equal(scores.numpy(), scorer(CANVASES))


def test_canvases_may_be_strict_arrays() -> None:
    strict = pytest.importorskip("array_api_strict")
    scores = TorchScorer(Mean("n"))(strict.asarray(CANVASES))
    assert isinstance(scores, type(strict.asarray([1.0])))


def test_size_and_autocast() -> None:
    scorer = TorchScorer(Mean("n"), size=(10, 14), autocast=True)
    assert np.abs(scorer(CANVASES) - TorchScorer(Mean("n"))(CANVASES)).max() < 0.05
    assert scorer.module.sizes == [(7, 1, 10, 14)]


def test_bad_heads() -> None:
    with pytest.raises(ScorerError, match=r"\(7, 3\).*\(n, 2\)"):
        TorchScorer(Mean("n3"))(CANVASES)
    broken = Mean("n")
    broken.weight.data.fill_(float("nan"))
    with pytest.raises(ScorerError, match="7 of them NaN"):
        TorchScorer(broken)(CANVASES)
    with pytest.raises(ConfigError, match="std=0"):
        TorchScorer(Mean("n"), std=0)
