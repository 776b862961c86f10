"""Box in, mask out: the same mask whatever else is in the batch, and what each stage is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes, label

torch = pytest.importorskip("torch", reason="the agents need torch")
from flipagents.learn.agent import Agent  # noqa: E402 - needs torch
from flipagents.learn.agents import make_agent  # noqa: E402 - needs torch
from flipagents.learn.config import LearnerConfig  # noqa: E402
from flipagents.metrics import boundary  # noqa: E402
from flipagents.segment.corrections import CorrectionError  # noqa: E402
from flipagents.segment.segmenter import Segmenter, walking  # noqa: E402
from flipagents.store.checkpoint import CheckpointError  # noqa: E402
from flipagents.store.recipe import PIPELINE, Recipe  # noqa: E402
from flipenv.batch import Batch  # noqa: E402
from flipenv.config import EnvConfig  # noqa: E402
from flipenv.episode import mask_on_canvas, prepare  # noqa: E402
from flipenv.errors import BoxError, ConfigError, EpisodeError, ImageError  # noqa: E402
from flipenv.types import Array, Box, Case  # noqa: E402

ENV = {"canvas": {"kind": "roi", "height": 40, "width": 48}, "cell_area": 30.0, "window": 16, "frames": 2}
STAGES = (EnvConfig.of(ENV, cell_area=60.0), EnvConfig.of(ENV, coarse_channels=True))


def tiny_pipeline(folder: Path, **recipe: Any) -> Path:
    """A pipeline of untrained agents, which erase some superpixels and pass on others."""
    for seed, (name, env) in enumerate(zip(("stage1", "stage2"), STAGES, strict=True)):
        make_agent("ddqn", env, {"trunk": "small", "seed": seed}).save(folder / name)
    Recipe(**recipe).write(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipeline(tmp_path_factory.mktemp("pipeline"), votes=({}, {"cell_area": 45.0}, {"order": "radial"}))


class Recorder(Agent):
    """Erases the left half of its superpixels, or all, and keeps what it was shown."""

    def __init__(self, env: EnvConfig, share: float) -> None:
        super().__init__(env, LearnerConfig())
        self.share, self.coarse = share, [np.zeros(0)]
        self.betas: list[Any] = []
        self.pictures: list[Array] = []  # prepared channels at the start of each walk

    def act(self, batch: Batch, epsilon: float = 0.0) -> Array:
        assert batch.episodes is not None
        assert batch.state is not None
        self.coarse, self.betas = [np.array(each) for each in batch.episodes.coarse], [batch.config.beta]
        if (batch.state.step == 0).all():
            self.pictures.append(np.array(batch.episodes.channels))
        column = np.take_along_axis(batch.episodes.centers[:, :, 1], batch.state.here.astype(int), axis=1)
        return (column < self.share * self.env.canvas.width).astype(np.int64)


def test_the_batch_changes_no_mask(folder: Path, phantoms: list[Case]) -> None:
    images, boxes = [case.image for case in phantoms], [case.box for case in phantoms]
    reference = Segmenter.from_pretrained(folder, lanes=1).predict_many(images, boxes)
    shares = [
        mask[box.rows, box.columns].sum() / (box.height * box.width) for mask, box in zip(reference, boxes, strict=True)
    ]
    assert 0.01 < np.mean(shares) < 0.99, "untrained agents that erase all or nothing prove little"
    order = [4, 1, 5, 0, 3, 2]
    for lanes in (2, 3, 64):
        segmenter = Segmenter.from_pretrained(folder, lanes=lanes)
        masks = segmenter.predict_many([images[i] for i in order], [boxes[i] for i in order])
        for place, index in enumerate(order):
            assert masks[place].dtype == np.bool_
            assert masks[place].shape == images[index].shape
            np.testing.assert_array_equal(masks[place], reference[index])
    for image, box, mask in zip(images, boxes, reference, strict=True):
        segmenter.set_image(image)
        np.testing.assert_array_equal(segmenter.predict(list(box)), mask)
        assert not mask[: box.top].any()
        assert not mask[:, box.right :].any()


def test_a_mirrored_image_gives_the_mirrored_mask(folder: Path, phantoms: list[Case]) -> None:
    segmenter = Segmenter.from_pretrained(folder)
    turned = [np.ascontiguousarray(case.image[:, ::-1]) for case in phantoms[:3]]
    boxes = [
        (case.box.top, case.image.shape[1] - case.box.right, case.box.bottom, case.image.shape[1] - case.box.left)
        for case in phantoms[:3]
    ]
    masks = segmenter.predict_many([case.image for case in phantoms[:3]], [case.box for case in phantoms[:3]])
    for mask, mirrored in zip(masks, segmenter.predict_many(turned, boxes), strict=True):
        np.testing.assert_array_equal(mirrored, mask[:, ::-1])


@pytest.mark.parametrize("mirror", [True, False])
def test_the_second_stage_sees_the_first_ones_masks(phantoms: list[Case], mirror: bool) -> None:
    first, second = Recorder(STAGES[0].replace(beta=0.5), 0.5), Recorder(STAGES[1], 1.0)
    segmenter = Segmenter([first, second], Recipe(mirror=mirror))
    case = phantoms[0]
    (seen,) = segmenter.before_last([case])
    stage1 = seen.coarse
    assert stage1 is not None
    assert 0 < stage1.sum() < case.box.height * case.box.width
    segmenter.set_image(case.image)
    mask = segmenter.predict(case.box)
    assert second.betas == [None]
    if not mirror:
        geometry = prepare(case, walking(first.env)).geometry
        shown = mask_on_canvas(stage1, geometry, STAGES[1].canvas)
        np.testing.assert_array_equal(second.coarse[0] > 0, shown)
    assert mask[case.box.rows, case.box.columns].mean() > 0.95  # the second stage erased everything


def test_votes_are_a_majority(phantoms: list[Case]) -> None:
    case = phantoms[0]
    left = Recorder(STAGES[0], 0.5)
    alone = Segmenter([left], Recipe(mirror=False)).predict_many([case.image], [case.box])[0]
    assert 0.3 < alone[case.box.rows, case.box.columns].mean() < 0.7
    both = Segmenter([left], Recipe(mirror=True)).predict_many([case.image], [case.box])[0]
    assert both.sum() < 0.3 * alone.sum()  # left half and right half have no majority


def largest(pixels: Array) -> Array:
    """The largest piece, corners count as touching, with its holes filled; by SciPy, as `tidy` is by OpenCV."""
    pieces, _ = label(pixels, structure=np.ones((3, 3)))
    return binary_fill_holes(pieces == np.bincount(pieces[pieces > 0]).argmax())


def test_masks_are_where_maps_are_positive(folder: Path, phantoms: list[Case]) -> None:
    images, boxes = [case.image for case in phantoms], [case.box for case in phantoms]
    segmenter = Segmenter.from_pretrained(folder)
    for values, mask, case in zip(
        segmenter.map_many(images, boxes), segmenter.predict_many(images, boxes), phantoms, strict=True
    ):
        assert values.dtype == np.float32
        assert values.shape == case.image.shape
        assert np.abs(values).max() <= 1
        assert len(np.unique(values)) > 20
        np.testing.assert_array_equal(largest(values > 0), mask)


class Doubter(Agent):
    """Would erase everything, is in doubt, and is sure of the opposite where there are many superpixels."""

    def erase_preference(self, batch: Batch) -> Array:
        assert batch.episodes is not None
        assert batch.state is not None
        sure = np.where(batch.episodes.steps > 60, -0.9, 0.3).astype(np.float32)
        return np.broadcast_to(sure[:, None], batch.state.here.shape)


def test_a_vote_counts_as_much_as_its_agent_is_sure(phantoms: list[Case]) -> None:
    case = phantoms[0]
    middle = (case.box.top + case.box.bottom) // 2, (case.box.left + case.box.right) // 2
    agent = Doubter(STAGES[0], LearnerConfig())
    votes = ({}, {"order": "radial"}, {"cell_area": 5.0})
    for count, expected in ((2, 0.3), (3, (0.3 + 0.3 - 0.9) / 3)):
        segmenter = Segmenter([agent], Recipe(votes=votes[:count], mirror=False))
        (values,) = segmenter.map_many([case.image], [case.box])
        assert values[middle] == pytest.approx(expected, abs=1e-6)


def test_votes_walk_side_by_side(phantoms: list[Case]) -> None:
    recipe = Recipe(votes=({}, {"canvas": {"kind": "roi", "height": 40, "width": 48, "context": 0.9}}))
    agents = [Recorder(env, 1.0) for env in STAGES]
    Segmenter(agents, recipe).predict_many([case.image for case in phantoms[:2]], [case.box for case in phantoms[:2]])
    assert [len(agent.pictures) for agent in agents] == [1, 1], "each stage walks once"
    assert agents[0].pictures[0].shape[0] == 4  # two images and their mirror images
    assert agents[1].pictures[0].shape[0] == 8
    for vote in ({"traversals": 3}, {"canvas": {"kind": "roi", "height": 64, "width": 48}}):
        segmenter = Segmenter(agents, Recipe(votes=({}, vote)))
        with pytest.raises(ConfigError, match="votes run in one batch.*margin, background, superpixels, cell_area"):
            segmenter.predict_many([phantoms[0].image], [phantoms[0].box])


def test_bad_input_is_named(folder: Path, phantoms: list[Case]) -> None:
    segmenter = Segmenter.from_pretrained(folder)
    with pytest.raises(EpisodeError, match="set_image"):
        segmenter.predict((1, 2, 30, 40))
    case = phantoms[0]
    good = list(case.box)
    for bad in ((1, 2, 3), None, (5, 5, 5, 9), (0, 0, 10**6, 5), (1.5, 2, 30, 40), "box"):
        with pytest.raises(BoxError, match="image 1: box"):
            segmenter.predict_many([case.image, case.image], [good, bad])  # type: ignore[list-item]
    with pytest.raises(BoxError, match="2 images but 1 boxes"):
        segmenter.predict_many([case.image, case.image], [good])
    with pytest.raises(ImageError, match="image 0: image has dtype float64"):
        segmenter.predict_many([case.image / 255.0], [good])  # type: ignore[list-item]
    assert segmenter.predict_many([], []) == []


def test_recipe_round_trip(tmp_path: Path) -> None:
    recipe = Recipe(("a", "b/agent"), ({}, {"cell_area": 40.0}), mirror=False, opening=2)
    recipe.write(tmp_path)
    assert Recipe.read(tmp_path) == recipe
    assert [path.name for path in tmp_path.iterdir()] == [PIPELINE]


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"stages": ["a"]}', '{"stages": 3, "votes": []}', "{", "\xff"])
def test_a_foreign_recipe_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / PIPELINE).write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match="is not a pipeline.*flip train"):
        Segmenter.from_pretrained(tmp_path)


def test_a_pipeline_without_its_agents_is_refused(tmp_path: Path) -> None:
    Recipe().write(tmp_path)
    with pytest.raises(CheckpointError, match="stage1 is not a checkpoint"):
        Segmenter.from_pretrained(tmp_path)


def test_every_walk_sees_the_prior_that_is_computed_once(phantoms: list[Case]) -> None:
    asked: list[Box] = []

    def rising(image: np.ndarray, box: Box) -> np.ndarray:
        asked.append(box)
        return np.tile(np.arange(image.shape[1], dtype=np.uint8), (image.shape[0], 1))

    agents = [Recorder(env.replace(channels=("prior",)), 1.0) for env in STAGES]
    recipe = Recipe(votes=({}, {"cell_area": 45.0}), mirror=True)
    images, boxes = [case.image for case in phantoms[:2]], [case.box for case in phantoms[:2]]
    Segmenter(agents, recipe, prior=rising).predict_many(images, boxes)
    assert asked == boxes
    for agent in agents:
        (pictures,) = agent.pictures
        straight, turned = (np.diff(pictures[lane, 0, 20, 8:40].astype(int)) for lane in (0, -1))
        assert (straight >= 0).all()
        assert straight.sum() > 10
        assert (turned <= 0).all()
        assert turned.sum() < -10


def test_masks_hold_no_state_of_earlier_calls(folder: Path, phantoms: list[Case]) -> None:
    segmenter = Segmenter.from_pretrained(folder)
    case, other = phantoms[0], phantoms[3]
    segmenter.set_image(case.image)
    before = segmenter.predict(case.box)
    segmenter.predict_many([other.image], [other.box])
    np.testing.assert_array_equal(segmenter.predict(case.box), before)
    moved = Box(case.box.top + 2, case.box.left, case.box.bottom, case.box.right)
    assert segmenter.predict(moved).shape == before.shape


def test_smoothing_rounds_steps_and_keeps_the_place() -> None:
    rows, columns = np.mgrid[:12, :16]
    shape = np.hypot(rows - 5.5, (columns - 7.5) / 1.4) < 4.5
    steps = np.kron(np.where(shape, 1, -1), np.ones((8, 8))).astype(np.float32)
    box = Box(8, 12, 88, 116)
    before = steps > 0
    after = Segmenter([], Recipe(smooth=0.05))._smoothed(steps, box) > 0
    assert boundary(after).sum() < 0.9 * boundary(before).sum()
    assert (before & after).sum() > 0.95 * before.sum()
    assert Segmenter([], Recipe())._smoothed(steps, box) is steps


def test_points_mend_the_mask(folder: Path, phantoms: list[Case]) -> None:
    """They are clicks on the agents' own mask, columns first."""
    from flipagents.segment.mend import Mender

    case = phantoms[0]
    segmenter = Segmenter.from_pretrained(folder)
    with pytest.raises(EpisodeError, match="set_image"):
        segmenter.predict(case.box, points=[(1, 1)], labels=[1])
    segmenter.set_image(case.image)
    plain = segmenter.predict(case.box)
    row, column = case.box.top + 2, case.box.left + 7
    mender = Mender(case.image, case.box, plain)
    mender.click(row, column, "pass" if plain[row, column] else "erase")
    found = segmenter.predict(case.box, points=np.array([[column, row]]), labels=[int(not plain[row, column])])
    np.testing.assert_array_equal(found, mender.mask)
    assert (found != plain).any()
    np.testing.assert_array_equal(segmenter.predict(case.box, points=[], labels=[]), plain)
    for options, told in (
        ({"points": [(1, 1)]}, "points without labels"),
        ({"labels": [1]}, "labels without points"),
        ({"points": [(1, 1)], "labels": [1, 0]}, "for 1 points"),
    ):
        with pytest.raises(CorrectionError, match=told):
            segmenter.predict(case.box, **options)
