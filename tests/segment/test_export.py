"""An exported pipeline against the one that it was made of: the same numbers, the same masks, and no torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks to export are torch's")
pytest.importorskip("monai", reason="a pipeline's students are taught by MONAI's loss")
pytest.importorskip("onnxscript", reason="export needs flip-learning[agents]")
pytest.importorskip("onnxruntime", reason="what was exported needs flip-learning[onnx]")
from flipagents.classify.classifier import NETWORKS, Classifier, ClassifierConfig  # noqa: E402
from flipagents.cli import main  # noqa: E402
from flipagents.compare.methods import make_method  # noqa: E402
from flipagents.learn.agents import make_agent  # noqa: E402
from flipagents.maps.network import Student  # noqa: E402
from flipagents.segment.export import _agent, export_pipeline  # noqa: E402
from flipagents.segment.loading import (  # noqa: E402
    load_agent,
    load_mapper,
)
from flipagents.segment.onnx import OnnxAgent, OnnxMapper  # noqa: E402
from flipagents.segment.runtimes import COPY, fault_of_copy  # noqa: E402
from flipagents.segment.segmenter import Segmenter  # noqa: E402
from flipagents.store.checkpoint import SHIPPED, CheckpointError  # noqa: E402
from flipagents.store.onnx import NETWORK, open_network  # noqa: E402
from flipagents.store.recipe import Recipe, networks  # noqa: E402
from flipenv.batch import Batch, to_numpy  # noqa: E402
from flipenv.config import EnvConfig  # noqa: E402
from flipenv.errors import ConfigError, MissingDependencyError  # noqa: E402
from flipenv.pool import EpisodePool  # noqa: E402
from flipenv.sources import read_image  # noqa: E402
from flipenv.types import Case  # noqa: E402
from tests.maps.test_network import TINY, tiny_students  # noqa: E402

ENV = {
    "canvas": {"kind": "roi", "height": 40, "width": 48},
    "window": 16,
    "frames": 2,
    "channels": ("superpixel", "box", "prior"),
    "beta": None,
}


@pytest.fixture(scope="module")
def folders(copied: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A pipeline of untrained networks of every kind, and its export."""
    where = tmp_path_factory.mktemp("torch") / "pipeline"
    return Path(shutil.copytree(copied, where, ignore=shutil.ignore_patterns(COPY))), copied / COPY


def pipeline_of_every_kind(where: Path) -> Path:
    """Untrained networks of every kind that a pipeline may have."""
    for seed, (name, options) in enumerate((("one", {"cell_area": 60.0}), ("two", {"coarse_channels": True}))):
        env = EnvConfig.of(ENV, **options)
        make_agent("ddqn", env, {"trunk": "small", "seed": 7 + seed}).save(where / name)
    tiny_students(where)
    torch.manual_seed(5)
    Student(TINY).save(where / "contour")
    config = ClassifierConfig.preset("small", patches={"env": ENV})
    Classifier(NETWORKS["small"]().eval(), config, temperature=1.7).save(where / "classifier" / "classifier")
    votes = ({}, {"cell_area": 45.0})
    Recipe(("one", "two"), votes, prior="contour", smooth=0.02).write(where)
    return where


def shown(cases: list[Case]) -> tuple[list[Any], list[Any]]:
    return [case.image for case in cases], [case.box for case in cases]


def test_maps_and_masks_are_those_of_torch(folders: tuple[Path, Path], phantoms: list[Case]) -> None:
    ours, theirs = (Segmenter.from_pretrained(folder) for folder in folders)
    assert [type(agent) for agent in theirs.stages] == [OnnxAgent, OnnxAgent]
    maps = ours.map_many(*shown(phantoms))
    assert 0.01 < np.mean([np.mean(each > 0) for each in maps]) < 0.99, "agents that erase all or nothing prove little"
    for seen, wanted in zip(theirs.map_many(*shown(phantoms)), maps, strict=True):
        np.testing.assert_allclose(seen, wanted, atol=1e-4)
    for seen, wanted in zip(theirs.predict_many(*shown(phantoms)), ours.predict_many(*shown(phantoms)), strict=True):
        np.testing.assert_array_equal(seen, wanted)


@pytest.mark.parametrize(
    ("name", "env", "config"),
    [
        ("independent", {"observation": "egocentric", "n_agents": 4}, {"trunk": "small", "duelling": True}),
        ("ddqn", {}, {"trunk": "resnet18"}),
    ],
)
def test_every_kind_of_agent(name: str, env: dict[str, Any], config: dict[str, Any], tmp_path: Path) -> None:
    make_agent(name, EnvConfig.of(ENV, channels=("superpixel", "box"), **env), config).save(tmp_path / "torch")
    _agent(tmp_path / "torch", tmp_path / "onnx")
    ours, theirs = load_agent(tmp_path / "torch"), load_agent(tmp_path / "onnx")
    assert (theirs.env, theirs.config) == (ours.env, ours.config)
    pool = EpisodePool("phantom:5?height=80&width=112", ours.env, cache=False)
    for n_lanes, device in ((1, None), (5, None), (3, "cpu")):
        batch = Batch(pool, n_lanes, scorer=None, device=device, progress=False)
        batch.seed(1)
        batch.reset()
        preference = theirs.erase_preference(batch)
        assert isinstance(preference, np.ndarray if device is None else torch.Tensor)
        assert preference.shape == (n_lanes, ours.env.n_agents)
        np.testing.assert_allclose(to_numpy(preference), to_numpy(ours.erase_preference(batch)), atol=1e-5)
        np.testing.assert_array_equal(to_numpy(theirs.act(batch)), to_numpy(ours.act(batch)))


def test_students_and_scorer(folders: tuple[Path, Path], phantoms: list[Case]) -> None:
    for name in ("contour", "student", "locator"):
        ours, theirs = (load_mapper(folder / name) for folder in folders)
        assert isinstance(theirs, OnnxMapper)
        assert theirs.view == ours.view
        for seen, wanted in zip(theirs.maps(*shown(phantoms)), ours.maps(*shown(phantoms)), strict=True):
            np.testing.assert_allclose(seen, wanted, atol=1e-5)
    canvases = np.random.default_rng(3).integers(0, 256, (300, 40, 48)).astype(np.uint8)
    ours, theirs = (make_method("flip", folder).scorer()(canvases) for folder in folders)  # type: ignore[attr-defined]
    assert theirs.shape == (300,)
    np.testing.assert_allclose(theirs, ours, atol=1e-5)


def test_without_torch(folders: tuple[Path, Path], phantoms: list[Case], tmp_path: Path) -> None:
    """In a process that cannot import torch: the command with agents, student and a box that may be off."""
    case = phantoms[2]
    (tmp_path / "cases" / "one").mkdir(parents=True)
    import cv2

    cv2.imwrite(str(tmp_path / "cases" / "one" / "data.png"), case.image)
    np.save(tmp_path / "cases" / "one" / "nodule.npy", np.array(case.box))
    for number, words in enumerate(([], ["--method", "flip+student"], ["--margin", "6", "--gif"])):
        code = (
            "import sys; sys.modules['torch'] = sys.modules['monai'] = None\n"
            "from flipagents.cli import main\nsys.exit(main(sys.argv[1:]))"
        )
        told = ["segment", str(tmp_path / "cases"), *words, "--weights"]
        out = [tmp_path / f"{kind}{number}" for kind in ("torch", "onnx")]
        assert main([*told, str(folders[0]), "-o", str(out[0])]) == 0
        subprocess.run([sys.executable, "-c", code, *told, str(folders[1]), "-o", str(out[1])], check=True)
        files = [sorted(path.name for path in folder.iterdir()) for folder in out]
        assert files[0] == files[1]
        masks = [read_image(folder / "one_mask.png") for folder in out]
        np.testing.assert_array_equal(masks[0], masks[1])


def test_the_files_tell_nothing_of_this_machine(folders: tuple[Path, Path]) -> None:
    written = sorted(folders[1].rglob(NETWORK))
    assert len(written) == 6
    here = str(Path(__file__).parents[2]).encode()
    for path in written:
        assert here not in path.read_bytes()
        assert b"stack_trace" not in path.read_bytes()


def test_what_cannot_be_exported_or_run(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, into = folders
    with pytest.raises(ConfigError, match="is the pipeline itself"):
        export_pipeline(where, where)
    with pytest.raises(CheckpointError, match="holds networks for onnx, not for torch"):
        export_pipeline(into, tmp_path)
    with pytest.raises(CheckpointError, match="is a network for 'mapper'; expected one for 'agent'"):
        open_network(into / "student", "agent")
    with pytest.raises(ConfigError, match="this onnxruntime has no such device; use cpu"):
        open_network(into / "student", "mapper", "tpu")
    with pytest.raises(ConfigError, match="agent 'random' has no network to export"):
        make_agent("random", ENV).network()
    with pytest.raises(ConfigError, match="cannot be saved again; copy its folder"):
        load_agent(into / "one").save(tmp_path / "copy")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        MissingDependencyError,
        match=r"needs the package 'onnxruntime', which is not installed: pip install flip-learning\[onnx\]",
    ):
        open_network(into / "student", "mapper")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingDependencyError, match=r"flip-learning\[agents\]"):
        _agent(where / "one", tmp_path / "again")


def test_what_ships_for_onnx_is_what_ships_for_torch() -> None:
    """After new weights: flip export -o flipagents/weights/busi-small/onnx."""
    assert fault_of_copy(SHIPPED) is None
    assert len(networks(SHIPPED / COPY, Recipe.read(SHIPPED / COPY))) == 6
