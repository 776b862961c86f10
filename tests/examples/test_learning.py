"""Each learning example does better on unseen phantoms than random actions and than erasing everything.

docs/learners.md has the returns of five seeds; the least of them leaves the margins below.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the examples learn with torch")
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"
ALL = [  # module, what it needs, arguments
    ("sb3_learn", "sb3_contrib", {"name": "dqn"}),
    ("sb3_learn", "sb3_contrib", {"name": "ppo"}),
    ("sb3_learn", "sb3_contrib", {"name": "maskable"}),
    ("torchrl_vdn", "torchrl", {"kind": "native"}),
    ("cleanrl_dqn", "torch", {}),
    ("tianshou_aec", "tianshou", {}),
    ("rllib_ppo", "ray.rllib", {}),
]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    for name in [name for name, module in sys.modules.items() if _is_example(module)]:
        del sys.modules[name]


def _is_example(module: Any) -> bool:
    return str(getattr(module, "__file__", "") or "").startswith(str(EXAMPLES))


@pytest.mark.parametrize(("name", "needs", "arguments"), ALL, ids=str)
def test_it_learns(name: str, needs: str, arguments: dict[str, Any]) -> None:
    pytest.importorskip(needs, reason=f"examples/{name}.py needs {needs}")
    example = importlib.import_module(name)
    learnt, random = example.main(**arguments)
    changes = {"traversals": 2} if arguments.get("name") == "maskable" else {}
    everything = importlib.import_module("task").mean_return(lambda seen: np.ones(seen.shape[:2], int), **changes)
    assert learnt > random + 2
    assert learnt > everything + 1


def test_the_wrapper_runs() -> None:
    """Too slow to learn in a test: see docs/learners.md."""
    pytest.importorskip("torchrl", reason="examples/torchrl_vdn.py needs torchrl")
    learnt, random = importlib.import_module("torchrl_vdn").main("wrapper", steps=128)
    assert np.isfinite([learnt, random]).all()


def test_the_task_uses_no_mask() -> None:
    task = importlib.import_module("task")
    first, second = task.cases(2)
    for case in (first, second):
        inside = case.image[case.box.rows, case.box.columns]
        dark = case.prior[case.box.rows, case.box.columns] > 0
        assert inside[dark].max() < inside[~dark].min()
    assert task.random_return(3) == task.random_return(3)
