"""Baselines that learn: their losses against plain loops, what they may read, and what comes out of them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flipenv

torch = pytest.importorskip("torch", reason="what learns needs torch")
pytest.importorskip("monai", reason="the networks and heat maps are MONAI's")
from flipagents.classify.classifier import SmallNetwork, resnet18  # noqa: E402
from flipagents.cli import main  # noqa: E402
from flipagents.compare.baselines import TRAINED, adversarial_erasing, box_losses, sdi  # noqa: E402 - what follows needs torch
from flipagents.compare.baselines.heat import Heat, finest, hot  # noqa: E402
from flipagents.compare.baselines.trained import SHIPPED  # noqa: E402
from flipagents.compare.methods import make_method, run_method  # noqa: E402
from flipagents.compare.trainers import TRAINERS, train_method  # noqa: E402
from flipagents.maps.geometry import ellipse, ellipse_radius, filled_box  # noqa: E402
from flipagents.maps.network import Student  # noqa: E402
from flipagents.metrics import dice  # noqa: E402
from flipagents.store.checkpoint import CheckpointError  # noqa: E402
from flipenv.config import EnvConfig  # noqa: E402
from flipenv.errors import ConfigError, MaskError  # noqa: E402
from flipenv.sources import CaseSource  # noqa: E402
from flipenv.types import Case  # noqa: E402
from tests.conftest import SMALL  # noqa: E402

TINY: dict[str, Any] = {"features": (4, 4, 8, 8, 8, 4), "epochs": 30, "batch": 3}
QUICK: dict[str, Any] = {**TINY, "epochs": 1}
CLASSIFIER = {"epochs": 1, "examples": 64, "batch": 16, "patches": {"env": SMALL, "variants": 1, "per_normal": 2}}
OPTIONS: dict[str, dict[str, Any]] = {
    "unet": {},
    "box-unet": {},
    "sdi": {"rounds": 2},
    "adversarial-erasing": {"rounds": 2, "classifier": CLASSIFIER},
}


class Phantoms(CaseSource):
    """Cases in memory that offer phantoms without a nodule too."""

    def load_normal(self, index: int) -> np.ndarray:
        return flipenv.open_source(f"phantom:{len(self)}?height=80&width=112").load_normal(index)  # type: ignore[attr-defined,no-any-return]


@pytest.fixture(scope="module")
def small() -> list[Case]:
    source = flipenv.open_source("phantom:6?height=80&width=112")
    return [source.load(index) for index in range(6)]


def without(cases: list[Case]) -> CaseSource:
    return Phantoms([dataclasses.replace(case, mask=None) for case in cases])


def weights_of(folder: Path, name: str) -> Any:
    state = Student.load(folder / name).network.state_dict()
    return torch.cat([value.flatten().float() for value in state.values()])


@pytest.mark.parametrize("name", TRAINED)
def test_it_learns_and_is_found_again(name: str, small: list[Case], tmp_path: Path) -> None:
    source = Phantoms(small) if name == "unet" else without(small)
    folder = train_method(name, source, None, tmp_path, progress=False, options={**TINY, **OPTIONS[name]})
    assert folder == tmp_path / name
    assert sorted(path.name for path in folder.iterdir()) == ["about.json", "tensors.safetensors"]
    masks, again = (
        run_method(method, small) for method in (make_method(name, tmp_path), make_method(f"{name}:{tmp_path}"))
    )
    for mask, other in zip(masks, again, strict=True):
        np.testing.assert_array_equal(mask, other)
    scores = [dice(mask, np.asarray(case.mask)) for mask, case in zip(masks, small, strict=True)]
    rng = np.random.default_rng(0)
    coins = [filled_box(case.box, case.image.shape) & (rng.random(case.image.shape) < 0.5) for case in small]
    chance = [dice(coin, np.asarray(case.mask)) for coin, case in zip(coins, small, strict=True)]
    assert np.mean(scores) > np.mean(chance) + (0.05 if name == "adversarial-erasing" else 0.15)


@pytest.mark.parametrize("name", TRAINED)
def test_only_the_supervised_one_reads_masks(name: str, small: list[Case], tmp_path: Path) -> None:
    wrong = Phantoms([dataclasses.replace(case, mask=~np.asarray(case.mask)) for case in small])
    options = {**QUICK, **OPTIONS[name]}
    if name == "unet":
        train_method(name, Phantoms(small), None, tmp_path / "one", progress=False, options=options)
        with pytest.raises(MaskError, match="'unet' learns from masks; 'box-unet' needs none"):
            train_method(name, without(small), None, tmp_path / "none", progress=False, options=options)
    else:
        train_method(name, without(small), None, tmp_path / "one", progress=False, options=options)
    train_method(name, wrong, None, tmp_path / "wrong", progress=False, options=options)
    same = torch.equal(weights_of(tmp_path / "one", name), weights_of(tmp_path / "wrong", name))
    assert same == (name != "unet")


def test_projection_by_hand() -> None:
    probability = np.array([[0.2, 0.9, 0.4, 0.1], [0.3, 0.6, 0.7, 0.2], [0.05, 0.1, 0.2, 0.15]])
    box = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], float)

    def overlap(seen: np.ndarray, wanted: np.ndarray) -> float:
        return 1 - 2 * float(seen @ wanted) / float(seen @ seen + wanted @ wanted)

    expected = sum(overlap(probability.max(axis), box.max(axis)) for axis in (0, 1))
    logits = torch.logit(torch.tensor(probability))[None, None]
    assert float(box_losses.projection()(logits, torch.tensor(box)[None, None])) == pytest.approx(expected, abs=1e-4)


def test_affinity_against_a_plain_loop() -> None:
    rng = np.random.default_rng(3)
    logits, grey = rng.normal(0, 2, (2, 7, 5)), rng.normal(0, 1, (2, 7, 5))
    box = np.zeros((2, 7, 5))
    box[0, 1:4, 2:5], box[1, 4:7, 0:2] = 1, 1
    found = []
    for image, row, column in np.ndindex(2, 7, 5):
        for down, across in ((0, 2), (2, 0), (2, 2), (2, -2)):
            other = (image, row + down, column + across)
            if not (0 <= other[1] < 7 and 0 <= other[2] < 5):
                continue
            here = (image, row, column)
            if max(box[here], box[other]) and abs(grey[here] - grey[other]) <= 0.6:
                one, two = (1 / (1 + np.exp(-logits[place])) for place in (here, other))
                found.append(-np.log(one * two + (1 - one) * (1 - two)))
    assert 5 < len(found) < 60
    tensors = (torch.tensor(each)[:, None] for each in (logits, box, grey))
    assert float(box_losses.affinity(*tensors, 0.6)) == pytest.approx(np.mean(found))
    nothing = torch.zeros(1, 1, 4, 3)
    assert float(box_losses.affinity(nothing, nothing, nothing, 0.6)) == 0


def test_ring_by_hand() -> None:
    radius = torch.tensor([[0.1, 0.9, 1.0], [1.3, 0.5, 1.1]])[None, None] - 1  # less 1, as networks see it
    logits = torch.tensor([[1.0, 9.0, -9.0], [-2.0, 0.5, 3.0]])[None, None]
    entropy = [np.log1p(np.exp(-1.0)), np.log1p(np.exp(-2.0)), np.log1p(np.exp(-0.5))]
    assert float(box_losses.ring_loss(logits, radius)) == pytest.approx(np.mean(entropy))
    box = (radius < 0).float()
    seen = torch.cat([torch.zeros_like(radius), radius], 1)
    parts = [
        float(box_losses.projection()(logits, box)),
        float(box_losses.affinity(logits, box, seen[:, :1], 0.2)),
        float(np.mean(entropy)),
    ]
    for pairs, ring in ((0.0, 0.0), (2.0, 0.0), (0.0, 3.0), (2.0, 3.0)):
        total = float(box_losses.box_loss(pairs, ring, 0.2)(logits, box, seen))
        assert total == pytest.approx(parts[0] + pairs * parts[1] + ring * parts[2], rel=1e-5)


def test_labels_between_rounds(small: list[Case]) -> None:
    case = small[0]
    first = ellipse(case.box, case.image.shape)
    everywhere = np.ones(case.image.shape, np.float32)
    np.testing.assert_array_equal(sdi.clean(everywhere, case, first, 0.0), filled_box(case.box, case.image.shape))
    np.testing.assert_array_equal(sdi.clean(0 * everywhere, case, first, 0.0), first)
    fading = np.clip(1.5 - ellipse_radius(case.box, case.image.shape), 0, 1).astype(np.float32)
    label = sdi.clean(fading, case, first, 2.0)
    assert (label != first).any(), "grey levels are not asked"
    assert case.image[label & ~first].mean() < case.image[first & ~label].mean(), "a dark nodule gains dark pixels"


class HandMade(torch.nn.Sequential):
    """Brighter than the mean counts for nodule, darker counts three times against it."""

    def __init__(self) -> None:
        split, weigh = torch.nn.Conv2d(1, 2, 1, bias=False), torch.nn.Linear(2, 1)
        super().__init__(split, torch.nn.ReLU(inplace=True), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), weigh)
        with torch.no_grad():
            split.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
            weigh.weight.copy_(torch.tensor([[2.0, -6.0]]))
            weigh.bias.zero_()


def test_heat_of_a_network_whose_heat_is_known() -> None:
    canvas = np.random.default_rng(0).integers(0, 256, (10, 14)).astype(np.uint8)
    grey = (canvas / 255 - 0.5) / 0.25
    expected = np.maximum(2 * np.maximum(grey, 0) - 6 * np.maximum(-grey, 0), 0) / grey.size
    heat = Heat(HandMade(), 1)(canvas)
    assert heat.shape == canvas.shape
    np.testing.assert_allclose(heat, expected, atol=1e-6)
    # Grad-CAM++ counts what speaks for the nodule alone
    plus = Heat(HandMade(), 1, plus=True)(canvas)
    np.testing.assert_allclose(plus / plus.max(), np.maximum(grey, 0) / grey.max(), atol=1e-5)


def test_the_layer_that_is_looked_at() -> None:
    assert [finest(SmallNetwork().eval(), stride) for stride in (32, 16, 8, 4, 2)] == ["20", "17", "14", "8", "2"]
    assert [finest(resnet18().eval(), stride) for stride in (32, 16, 8)] == ["layer4", "layer4", "layer3"]
    with pytest.raises(ConfigError, match="stride=1: no layer of SmallNetwork is as fine"):
        finest(SmallNetwork().eval(), 1)


def test_heat_lies_where_the_image_shows_it(small: list[Case]) -> None:
    case = small[0]
    image = np.full(case.image.shape, 100, np.uint8)
    inside = case.box._replace(bottom=case.box.top + case.box.height // 2)
    image[inside.rows, inside.columns] = 230
    shown = dataclasses.replace(case, image=image)
    heat = Heat(HandMade(), 1).on_image(shown, EnvConfig.of(SMALL))
    assert heat.shape == image.shape
    assert 0 <= heat.min() <= heat.max() <= 1
    mask = hot(heat, shown, 0.5)
    assert dice(mask, filled_box(inside, image.shape)) > 0.95
    assert not hot(0 * heat, shown, 0.5).any()


@pytest.mark.parametrize("name", ["gradcam", "gradcam++"])
def test_cam_of_what_ships(name: str, small: list[Case]) -> None:
    for mask, case in zip(run_method(make_method(name), small), small, strict=True):
        box = filled_box(case.box, case.image.shape)
        assert not (mask & ~box).any()
        assert dice(mask, np.asarray(case.mask)) > 0.3


def test_what_is_erased_is_not_found_twice(small: list[Case]) -> None:
    case, mask = small[0], filled_box(small[0].box, small[0].image.shape)
    erased = adversarial_erasing.erase(case, mask)
    assert (erased.image[mask] != case.image[mask]).mean() > 0.5
    np.testing.assert_array_equal(erased.image[~mask], case.image[~mask])


def test_what_ships(small: list[Case]) -> None:
    for name in TRAINED:
        size = sum(path.stat().st_size for path in (SHIPPED / name).iterdir())
        assert size < 600_000, f"{name} has {size} bytes"
        for mask, case in zip(run_method(make_method(name), small), small, strict=True):
            assert dice(mask, np.asarray(case.mask)) > 0.6
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        make_method("unet", SHIPPED / "sdi")


def test_trainers_by_name(small: list[Case], tmp_path: Path) -> None:
    assert {"flip", *TRAINED} <= set(TRAINERS.names())
    for where in TRAINED.values():
        module, _, attribute = where.partition(":")
        path = Path(flipenv.__file__).parent.parent.joinpath(*module.split(".")).with_suffix(".py")
        assert re.search(rf"^def {attribute}\b", path.read_text(), flags=re.MULTILINE)
    with pytest.raises(ConfigError, match="unknown trainer 'unt': did you mean 'unet'"):
        train_method("unt", "phantom:2", None, tmp_path)
    with pytest.raises(ConfigError, match="unknown StudentConfig option 'epoch': did you mean 'epochs'"):
        train_method("sdi", "phantom:2", None, tmp_path, options={"epoch": 3})
    with pytest.raises(ConfigError, match="trainer 'sdi': multiple values for argument 'device'"):
        train_method("sdi", "phantom:2", None, tmp_path, options={"device": "cuda"})

    @TRAINERS.register("mine")
    def mine(source: Any, val: Any, folder: Path, device: str, progress: bool, *, twice: bool = False) -> Path:
        return folder / str(twice)

    assert train_method("mine", "phantom:2", None, tmp_path, options={"twice": True}) == tmp_path / "True"
    with pytest.raises(ConfigError, match="trainer 'mine': got an unexpected keyword argument 'thrice'"):
        train_method("mine", "phantom:2", None, tmp_path, options={"thrice": 1})


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = "phantom:4?height=80&width=112", str(tmp_path / "run")
    words = ["train", "--method", "box-unet", "--data", data, "--out", out]
    assert main([*words, "--set", "epochs=2", "features=[4,4,8,8,8,4]", "pairs=0.5"]) == 0
    told = capsys.readouterr().out
    assert f"--method box-unet --weights {out}" in told
    assert main(["evaluate", "--data", data, "--methods", "box-unet", "--weights", out, "--quiet"]) == 0
    assert "box-unet" in capsys.readouterr().out
    assert main(["segment", data, "--method", "box-unet", "--weights", out, "-o", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").glob("*_mask.png"))) == 4
    capsys.readouterr()
    assert main([*words, "--preset", "paper"]) == 2
    assert "preset" in capsys.readouterr().err
    assert main([*words, "--set", "pairs=-1"]) == 2
    assert "pairs=-1; expected a number" in capsys.readouterr().err
