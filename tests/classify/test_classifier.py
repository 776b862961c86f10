"""Training from boxes, resuming, and what is saved; on phantoms, small enough for one core."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flipenv
from flipenv.errors import ConfigError
from flipenv.sources import CaseSource
from flipenv.testing import check_scorer

torch = pytest.importorskip("torch", reason="the classifier needs torch")
cv2 = pytest.importorskip("cv2")
from flipagents.classify.classifier import NETWORKS, Classifier, ClassifierConfig, SmallNetwork  # noqa: E402 - imports torch
from flipagents.classify.sites import normal_images  # noqa: E402
from flipagents.classify.training import train_classifier  # noqa: E402
from flipagents.store.checkpoint import CheckpointError  # noqa: E402 - imports torch

ENV = {"canvas": {"kind": "roi", "height": 48, "width": 64}, "cell_area": 40.0}
PATCHES = {"env": ENV, "variants": 2, "per_normal": 3, "per_case": 1, "margin": 8, "cell_areas": (40.0, 120.0)}
SHORT = ClassifierConfig(patches=PATCHES, epochs=3, examples=96, batch=32, val_examples=96)  # type: ignore[arg-type]
TRAIN = "phantom:6?height=96&width=144"
VAL = "phantom:4?first=100&height=96&width=144"


def weights(classifier: Classifier) -> dict[str, Any]:
    return {name: value.numpy() for name, value in classifier.network.state_dict().items()}


def same(one: Classifier, two: Classifier) -> bool:
    first, second = weights(one), weights(two)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def quick(source: Any = TRAIN, **options: Any) -> Classifier:
    config = options.pop("config", SHORT)
    return train_classifier(source, config=config, progress=False, device="cpu", **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, Path]:
    folder = tmp_path_factory.mktemp("run")
    return quick(val=VAL, folder=folder), folder


def test_a_run_with_validation_draws_its_checks(trained: tuple[Classifier, Path]) -> None:
    for name in ("reliability", "seams", "monotonicity"):
        picture = cv2.imread(str(trained[1] / f"{name}.png"))
        assert picture is not None, name
        assert picture.std() > 1, f"{name} is blank"


def test_learns_nodules_and_not_seams() -> None:
    config = dataclasses.replace(SHORT, epochs=8, examples=960)
    source = "phantom:40?height=96&width=144"
    classifier = quick(source, config=config, val="phantom:16?first=500&height=96&width=144")
    checks = classifier.check("phantom:16?first=900&height=96&width=144")
    numbers = checks.numbers()
    assert numbers["auc"] > 0.85
    assert numbers["auc_with_erased"] > 0.85
    assert checks.seams.mean() < 0.5 * checks.whole.mean()
    assert checks.pastes.mean() < 0.5 * checks.whole.mean()
    for curve in checks.curves.values():
        median = np.median(curve, axis=0)
        assert median[0] > median[10] > median[-1]


def test_small_network() -> None:
    network = SmallNetwork().eval()
    assert sum(each.numel() * each.element_size() for each in network.state_dict().values()) <= 1_000_000
    for height, width in ((128, 128), (48, 64), (320, 448)):
        assert network(torch.zeros(2, 1, height, width)).shape == (2, 1)


def test_paper_preset() -> None:
    pytest.importorskip("monai", reason="ResNet18 is MONAI's")
    config = ClassifierConfig.preset("paper")
    assert (config.network, config.learning_rate, config.batch) == ("resnet18", 1e-3, 128)
    network = NETWORKS[config.network]().eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 64, 96)).shape == (1, 1)


def test_same_seed_same_bits(trained: tuple[Classifier, Path]) -> None:
    assert same(trained[0], quick(val=VAL))
    assert not same(trained[0], quick(val=VAL, config=dataclasses.replace(SHORT, seed=1)))


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    quick(config=dataclasses.replace(SHORT, epochs=1, examples=32))
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("stop", [1, 2])
def test_resumes_bit_for_bit(trained: tuple[Classifier, Path], tmp_path: Path, stop: int) -> None:
    def interrupt(row: dict[str, Any]) -> None:
        if row["epoch"] == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(val=VAL, folder=tmp_path, on_epoch=interrupt)
    assert not (tmp_path / "classifier").exists()
    epochs: list[int] = []
    resumed = quick(val=VAL, folder=tmp_path, on_epoch=lambda row: epochs.append(row["epoch"]))
    assert epochs == list(range(stop + 1, 4))
    assert same(resumed, trained[0])
    assert resumed.temperature == trained[0].temperature
    logs = [list(csv.DictReader((folder / "log.csv").open())) for folder in (tmp_path, trained[1])]
    for one, two in zip(*logs, strict=True):
        assert {**one, "seconds": ""} == {**two, "seconds": ""}


def test_finished_training_is_not_repeated(trained: tuple[Classifier, Path]) -> None:
    def never(row: dict[str, Any]) -> None:
        raise AssertionError(row)

    assert same(quick(val=VAL, folder=trained[1], on_epoch=never), trained[0])


def test_other_config_in_the_same_folder(trained: tuple[Classifier, Path], tmp_path: Path) -> None:
    other = dataclasses.replace(SHORT, epochs=1)
    quick(folder=tmp_path, config=other)
    with pytest.raises(ConfigError, match="another config"):
        quick(folder=tmp_path)
    with pytest.raises(ConfigError, match="other data"):
        quick("phantom:6?height=96&width=152", folder=tmp_path, config=other)
    again = quick(folder=tmp_path, val=VAL, resume=False)
    assert same(again, trained[0])


def test_save_and_load(trained: tuple[Classifier, Path], tmp_path: Path) -> None:
    classifier, folder = trained
    canvases = np.random.default_rng(0).integers(0, 256, (5, 48, 64)).astype(np.uint8)
    expected = classifier.scorer("cpu")(canvases)
    classifier.save(tmp_path / "copy")
    for each in (folder / "classifier", tmp_path / "copy"):
        loaded = Classifier.load(each)
        assert np.array_equal(loaded.scorer("cpu")(canvases), expected)
        assert loaded.config == classifier.config
        assert loaded.temperature == classifier.temperature
        assert loaded.metrics == classifier.metrics
    check_scorer(classifier.scorer("cpu", batch=2), canvases)


def test_foreign_folders(trained: tuple[Classifier, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="in training"):
        Classifier.load(trained[1] / "last")
    with pytest.raises(CheckpointError, match="no such folder"):
        Classifier.load(tmp_path / "nothing")


def test_metrics(trained: tuple[Classifier, Path]) -> None:
    metrics = trained[0].metrics
    assert metrics["nodules"] == 4
    assert metrics["epoch"] in (1, 2, 3)
    assert metrics["temperature"] == trained[0].temperature > 0
    assert {"accuracy", "auc", "ece", "ece_before", "seams", "pastes", "curves"} <= metrics.keys()
    losses = [float(row["val_loss"]) for row in csv.DictReader((trained[1] / "log.csv").open())]
    assert metrics["epoch"] == 1 + int(np.argmin(losses))


def test_masks_do_not_matter(trained: tuple[Classifier, Path]) -> None:
    def wrong(name: str) -> CaseSource:
        source = flipenv.open_source(name)
        cases = [source.load(index) for index in range(len(source))]
        return CaseSource([dataclasses.replace(case, mask=~case.mask) for case in cases])

    normals = [normal_images(flipenv.open_source(name)) for name in (TRAIN, VAL)]
    assert same(quick(wrong(TRAIN), normals=normals[0], val=wrong(VAL), val_normals=normals[1]), trained[0])


def test_trains_without_mask_files(tmp_path: Path) -> None:
    """A BUSI folder in which nobody drew masks, and a table of boxes."""
    source = flipenv.open_source(TRAIN)
    root = tmp_path / "Dataset_BUSI_with_GT"
    lines = ["image,top,left,bottom,right"]
    for name in ("benign", "normal"):
        (root / name).mkdir(parents=True)
    for index in range(6):
        case = source.load(index)
        cv2.imwrite(str(root / "benign" / f"benign ({index + 1}).png"), case.image)
        cv2.imwrite(str(root / "normal" / f"normal ({index + 1}).png"), source.load_normal(index))  # type: ignore[attr-defined]
        lines.append(f"benign/benign ({index + 1}).png,{','.join(map(str, case.box))}")
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    assert not list(tmp_path.rglob("*mask*"))
    classifier = quick(f"busi:{tmp_path}?boxes={tmp_path / 'boxes.csv'}", config=dataclasses.replace(SHORT, epochs=1))
    assert classifier.temperature == 1
    assert classifier.metrics == {"epoch": 1}


def test_plays_in_the_environment(trained: tuple[Classifier, Path]) -> None:
    env = flipenv.parallel_env(VAL, scorer=trained[0].scorer("cpu"), config={**ENV, "beta": None, "window": 32})
    env.reset(seed=0)
    _, rewards, *_ = env.step(dict.fromkeys(env.agents, 1))
    assert set(rewards) == {"eraser_0", "eraser_1"}


def test_config_round_trip() -> None:
    assert ClassifierConfig.of(SHORT.to_dict()) == SHORT
    for bad, match in (
        ({"network": "smal"}, "did you mean 'small'"),
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"batch": 1}, "batch=1; expected a whole number between 2"),
        ({"schedule": "step"}, "schedule"),
    ):
        with pytest.raises(ConfigError, match=match):
            ClassifierConfig.of(bad)
    with pytest.raises(ConfigError, match="preset"):
        ClassifierConfig.preset("large")
