"""What the page offers for which weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flipagents.serve.page_actions import Actions
from flipagents.serve.page_weights import LABELS, NO_AGENTS, Choices
from flipagents.serve.service import USUAL, available_methods
from flipagents.store.checkpoint import SHIPPED, WEIGHTS


def test_the_shipped_ones_come_with_a_line() -> None:
    choices = Choices()
    assert next(iter(choices.all)) == "busi-small"
    assert choices.all["busi-small"].label == "busi-small: boxes only"
    assert choices.all["busi-paper"].label == "busi-paper: the paper's rewards"
    assert all((each.folder / "pipeline.json").exists() for each in choices.all.values())
    assert choices.first.service.weights is None
    assert choices.of("busi-paper").service.weights == WEIGHTS / "busi-paper"
    assert choices.of("gone").name == choices.of(None).name == "busi-small"


def test_given_ones_come_first(tmp_path: Path) -> None:
    mine = tmp_path / "busi-small"
    choices = Choices(mine)
    assert list(choices.all)[:2] == ["busi-small", str(SHIPPED)]
    assert choices.first.folder == mine
    assert choices.first.label == "busi-small: as given"
    assert list(Choices(WEIGHTS / "busi-paper").all)[:2] == ["busi-paper", "busi-small"]


@pytest.mark.parametrize("stages", [[], ["stage1"]])
def test_weights_without_agents_say_so(tmp_path: Path, stages: list[str]) -> None:
    """And offer only the methods whose networks they have."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pipeline.json").write_text(json.dumps({"stages": stages, "votes": [{}]}))
    shutil.copytree(SHIPPED / "contour", tmp_path / "mine" / "contour")
    actions = Actions(Choices(tmp_path / "mine"), tmp_path / "made")
    changes = actions.chosen("mine")
    assert changes["agents"] == {"visible": bool(stages)}
    assert changes["no_agents"] == {"value": "" if stages else NO_AGENTS}
    offered = [name for _, name in changes["method"]["choices"]]
    assert offered == ["contour", *(["flip"] if stages else []), "polar", "grabcut-fair"]
    assert changes["method"]["value"] == "contour"


def test_every_method_is_offered_once() -> None:
    first = Choices().first
    assert tuple(LABELS) == USUAL
    assert sorted([*(name for _, name in first.usual), *first.others]) == sorted(available_methods())
