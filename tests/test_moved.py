"""Old names of modules give the new modules, and say so."""

from __future__ import annotations

import importlib
import sys

import pytest

import flipagents.moved
import flipenv.moved

OPTIONAL = ("napari", "gradio", "torch", "matplotlib", "monai", "onnx", "scipy", "stable_baselines3", "ray")


@pytest.mark.parametrize(("old", "new"), [*flipenv.moved.MOVED.items(), *flipagents.moved.MOVED.items()])
def test_old_names(old: str, new: str) -> None:
    sys.modules.pop(old, None)
    try:
        importlib.import_module(new)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] in OPTIONAL:
            pytest.skip(f"{error.name} is not installed")
        raise
    with pytest.warns(FutureWarning, match=f"{old} is now {new}"):
        found = importlib.import_module(old)
    assert found is sys.modules[new]


def test_what_the_module_segment_held() -> None:
    pytest.importorskip("array_api_compat")
    import flipagents.segment
    from flipagents.store.recipe import Recipe

    with pytest.warns(FutureWarning, match="Recipe is now in flipagents.store.recipe"):
        assert flipagents.segment.Recipe is Recipe
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        flipagents.segment.nothing  # noqa: B018


def test_no_name_is_taken_twice() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("flipagents.nowhere")
