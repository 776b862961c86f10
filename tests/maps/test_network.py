"""Students learn the maps that they are shown, and give them for images that they were not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import flipenv

torch = pytest.importorskip("torch", reason="a student needs torch")
pytest.importorskip("monai", reason="a student is taught by MONAI's loss")
from flipagents.maps.crops import Crop  # noqa: E402
from flipagents.maps.geometry import ellipse  # noqa: E402 - what follows needs torch, or stands beside it
from flipagents.maps.locate import relocate  # noqa: E402
from flipagents.maps.network import Student, StudentConfig  # noqa: E402
from flipagents.maps.polar import polar_probability  # noqa: E402
from flipagents.maps.training import distil, example  # noqa: E402
from flipagents.metrics import dice  # noqa: E402
from flipagents.segment.loading import load_student  # noqa: E402
from flipagents.store.checkpoint import CheckpointError  # noqa: E402
from flipenv.episode import shift_box  # noqa: E402
from flipenv.errors import ConfigError  # noqa: E402
from flipenv.types import Case  # noqa: E402

TINY = StudentConfig(features=(4, 4, 8, 8, 8, 4), epochs=2, batch=4)


def tiny_students(folder: Path) -> None:
    """An untrained student and locator beside a pipeline's agents."""
    for seed, (name, view) in enumerate((("student", "tight"), ("locator", "loose"))):
        torch.manual_seed(seed)
        Student(TINY.replace(view=view)).save(folder / name)


def some(text: str) -> list[Case]:
    source = flipenv.open_source(text)
    return [source.load(index) for index in range(len(source))]


def maps_of(cases: list[Case]) -> list[np.ndarray]:
    return [np.clip(polar_probability(case.image, case.box), 0, 1) for case in cases]


@pytest.fixture(scope="module")
def taught() -> Student:
    """A student of 48 phantoms' polar maps."""
    cases = some("phantom:48?first=100&height=112&width=152")
    return distil(cases, maps_of(cases), StudentConfig(epochs=12), progress=False)


def test_it_learns(taught: Student) -> None:
    cases = some("phantom:10?height=112&width=152")
    maps = list(taught.maps([case.image for case in cases], [case.box for case in cases]))
    for case, seen in zip(cases, maps, strict=True):
        assert seen.shape == case.image.shape
        assert seen.dtype == np.float32
        assert 0 <= seen.min() <= seen.max() <= 1
    wanted = [each > 0.5 for each in maps_of(cases)]
    ours = np.mean([dice(seen > 0.5, mask) for seen, mask in zip(maps, wanted, strict=True)])
    filled = np.mean(
        [dice(ellipse(case.box, case.image.shape), mask) for case, mask in zip(cases, wanted, strict=True)]
    )
    assert ours > filled + 0.01, "it knows no more than the box"


def test_company_changes_nothing(taught: Student, phantoms: list[Case]) -> None:
    images, boxes = [case.image for case in phantoms], [case.box for case in phantoms]
    together = list(taught.maps(images, boxes))
    for index, seen in enumerate(together):
        alone = next(iter(taught.maps(images[index : index + 1], boxes[index : index + 1])))
        np.testing.assert_allclose(alone, seen, atol=1e-5)


def test_a_mirrored_image_gives_the_mirrored_map(taught: Student, phantoms: list[Case]) -> None:
    case = phantoms[0]
    width = case.image.shape[1]
    box = flipenv.Box(case.box.top, width - case.box.right, case.box.bottom, width - case.box.left)
    images = [case.image, np.ascontiguousarray(case.image[:, ::-1])]
    seen, mirrored = taught.maps(images, [case.box, box])
    np.testing.assert_allclose(mirrored[:, ::-1], seen, atol=0.02)


def test_same_arguments_same_weights(phantoms: list[Case]) -> None:
    one, other = (distil(phantoms, maps_of(phantoms), TINY, progress=False) for _ in range(2))
    third = distil(phantoms, maps_of(phantoms), TINY.replace(seed=1), progress=False)
    weights = [
        torch.cat([each.flatten().float() for each in s.network.state_dict().values()]) for s in (one, other, third)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_saved_and_read(taught: Student, phantoms: list[Case], tmp_path: Path) -> None:
    taught.save(tmp_path / "student")
    again = load_student("student", tmp_path)
    assert again.config == taught.config
    one, other = (next(iter(each.maps([phantoms[0].image], [phantoms[0].box]))) for each in (taught, again))
    np.testing.assert_array_equal(one, other)
    with pytest.raises(CheckpointError, match="holds no locator"):
        load_student("locator", tmp_path)
    with pytest.raises(CheckpointError, match="do not fit"):
        Student(TINY).take(taught.network.state_dict())


def test_what_it_is_taught_on(phantoms: list[Case]) -> None:
    """Image and map of an example are moved, mirrored and cut alike."""
    config = TINY.replace(shift=6.0)
    case = phantoms[0]
    wanted = case.image.astype(np.float32) / 255  # so that the map is what the first input shows
    for seed in range(8):
        seen, target = example(case, wanted, config, np.random.default_rng(seed))
        assert np.corrcoef(seen[0].ravel(), target.ravel())[0, 1] > 0.7
        assert seen.dtype == target.dtype == np.float32


def test_a_box_that_was_off_is_found(phantoms: list[Case]) -> None:
    cases = some("phantom:32?first=200&height=128&width=168")
    config = StudentConfig.loose(epochs=20, shift=20.0, features=(8, 8, 16, 16, 32, 8))
    locator = distil(cases, maps_of(cases), config, progress=False)
    held = some("phantom:8?height=128&width=168")
    off = [shift_box(case.box, 14, -12 if index % 2 else 12, case.image.shape) for index, case in enumerate(held)]
    found = relocate(locator, [case.image for case in held], off, 20)

    def apart(boxes: list[flipenv.Box]) -> float:
        pairs = zip(boxes, held, strict=True)
        return float(np.mean([np.hypot(box.top - case.box.top, box.left - case.box.left) for box, case in pairs]))

    assert apart(found) < 0.6 * apart(off)
    assert all((one.height, one.width) == (box.height, box.width) for one, box in zip(found, off, strict=True))


def test_wrong_maps_and_options(phantoms: list[Case]) -> None:
    with pytest.raises(ConfigError, match="one map for each image"):
        distil(phantoms, maps_of(phantoms)[:-1], TINY, progress=False)
    with pytest.raises(ConfigError, match="one map for each image"):
        distil(phantoms, [each.T for each in maps_of(phantoms)], TINY, progress=False)
    with pytest.raises(ConfigError, match="unknown StudentConfig option 'epoch': did you mean 'epochs'"):
        TINY.replace(epoch=3)
    with pytest.raises(ConfigError, match="view='tigth'"):
        StudentConfig(view="tigth")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="epochs=0"):
        StudentConfig(epochs=0)
    assert Crop.around(phantoms[0].box, TINY.view).width == pytest.approx(1.4 * phantoms[0].box.width)
