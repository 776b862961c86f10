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

from tests.conftest import BUSI

EXAMPLES = Path(__file__).parents[2] / "examples"
ALL = [  # module, what it needs, arguments
    ("sb3_learn", "sb3_contrib", {"name": "dqn"}),
    ("sb3_learn", "sb3_contrib", {"name": "ppo"}),
    ("sb3_learn", "sb3_contrib", {"name": "maskable"}),
    ("torchrl_vdn", "torchrl", {"kind": "native"}),
    ("torchrl_vdn", "torchrl", {"kind": "wrapper"}),
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
    task = importlib.import_module("task").phantoms()
    learnt, random = example.main(task, **arguments)
    changes = {"traversals": 2} if arguments.get("name") == "maskable" else {}
    everything, _ = task.but(**changes).play(lambda seen: np.ones(seen.shape[:2], int))
    assert learnt > random + 2
    assert learnt > everything + 1


def test_the_task_uses_no_mask() -> None:
    task = importlib.import_module("task")
    phantoms = task.phantoms(2, 2)
    assert not [case for case in phantoms.cases if case.mask is not None]
    for case in (*phantoms.cases, *phantoms.unseen):
        inside = case.image[case.box.rows, case.box.columns]
        dark = case.prior[case.box.rows, case.box.columns] > 0
        assert inside[dark].max() < inside[~dark].min()
    assert phantoms.play_randomly(3) == phantoms.play_randomly(3)


def test_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--data` names a BUSI folder; `--steps` and `--seed` are passed on."""
    task = importlib.import_module("task")
    monkeypatch.setattr(task, "busi", lambda folder: f"BUSI of {folder}")
    monkeypatch.setattr(sys, "argv", ["x.py", "ppo", "--data", "data/busi", "--steps", "7", "--seed", "3"])
    called: list[Any] = []
    task.run(lambda *args, **options: called.append((args, options)), "dqn", "ppo")
    assert called == [(("BUSI of data/busi", "ppo"), {"steps": 7, "seed": 3})]


@pytest.mark.skipif(BUSI is None, reason="FLIP_BUSI names no BUSI folder")
def test_patients() -> None:
    """Learnt on BUSI's train, measured on its val: an agent that erases what the rule says beats random ones."""
    pytest.importorskip("sb3_contrib", reason="examples/sb3_learn.py needs sb3_contrib")
    task = importlib.import_module("task").busi(BUSI)
    learnt, random = importlib.import_module("sb3_learn").main(task, "ppo", steps=2000)
    assert learnt > random + 4
