"""Windows and channels against plain loops and against stacks written out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from flipenv import core
from flipenv.arrays import pick, windows
from flipenv.batch import Batch
from flipenv.config import EnvConfig
from flipenv.episode import stack
from flipenv.observation import observe
from flipenv.types import Box, Episode, Geometry
from tests.reference import cut

HEIGHT, WIDTH, SIDE = 20, 33, 8
libraries = pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])


def corners_and_edges(height, width):
    rows, columns = (0, 1, height // 2, height - 1), (0, 2, width // 2, width - 1)
    return [(row, column) for row in rows for column in columns]


@libraries
@pytest.mark.parametrize("side", [1, 8, 15, 16, 45])  # the last is wider than the canvas
@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_windows_at_corners_and_edges(library, side, dtype):
    xp = pytest.importorskip(library, reason="not installed")
    rng = np.random.default_rng(side)
    pictures = rng.integers(0, 250, (3, 12, 31)).astype(dtype)
    places = np.array([corners_and_edges(12, 31)] * 3, np.int16)
    places = rng.permuted(places, axis=1)  # each lane looks elsewhere
    found = np.asarray(windows(xp.asarray(pictures), xp.asarray(places), side))
    assert found.dtype == dtype
    for lane, centers in enumerate(places.tolist()):
        expected = [cut(pictures[lane].tolist(), center, side) for center in centers]
        np.testing.assert_array_equal(found[lane], expected)


@libraries
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_windows_of_layers_are_those_of_each(library, layers):
    xp = pytest.importorskip(library, reason="not installed")
    rng = np.random.default_rng(layers)
    pictures = rng.integers(0, 250, (2, layers, 9, 14)).astype(np.uint8)
    places = np.array([[[0, 13], [4, 5], [8, 0]], [[3, 3], [8, 13], [1, 7]]], np.int16)
    found = np.asarray(windows(xp.asarray(pictures), xp.asarray(places), 6))
    assert found.shape == (2, layers, 3, 6, 6)
    for layer in range(layers):
        np.testing.assert_array_equal(found[:, layer], windows(pictures[:, layer], places, 6))


def test_window_by_hand():
    picture = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    found = windows(picture, np.array([[[0, 2]]], np.int16), 4)
    np.testing.assert_array_equal(found[0, 0], [[1, 2, 3, 3], [1, 2, 3, 3], [1, 2, 3, 3], [4, 5, 6, 6]])


@libraries
def test_pick_takes_each_lanes_own_rows(library):
    xp = pytest.importorskip(library, reason="not installed")
    values = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    index = np.array([[2, 0, 2, 1], [0, 0, 1, 2]], np.int16)
    found = np.asarray(pick(xp.asarray(values), xp.asarray(index)))
    np.testing.assert_array_equal(found, [[values[lane, row] for row in index[lane]] for lane in range(2)])


def quarters(config):
    """Four superpixels in columns of one grey level each, wide enough that the centre of a window tells which it is.

    Superpixel s is 10 + s, its background 110 + s, its coarse mask 255 where s is odd, its prepared channel 210 + s.
    """
    labels = np.tile(np.minimum(np.arange(WIDTH) // SIDE, 3), (HEIGHT, 1)).astype(np.int16)
    walks = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 3, 2], [2, 0, 0, 1]], np.int16)[: config.n_agents]
    whole = Box(0, 0, HEIGHT, WIDTH)
    greys = [[10 + s] * int((labels == s).sum()) for s in range(4)]
    histograms = np.array([np.cumsum(np.bincount(grey, minlength=256)) for grey in greys])
    prepared = [name for name in config.channels if name not in ("superpixel", "erased")]
    return Episode(
        image=(10 + labels).astype(np.uint8),
        background=(110 + labels).astype(np.uint8),
        labels=labels,
        order=walks,
        centers=np.array([[9 + s, SIDE * s + SIDE // 2] for s in range(4)], np.int16),
        histograms=histograms.astype(np.int32),
        channels=np.array([210 + 10 * m + labels for m in range(len(prepared))], np.uint8).reshape(-1, HEIGHT, WIDTH),
        coarse=np.where(labels % 2 == 1, 255, 0).astype(np.uint8),
        prior=np.full(labels.max() + 1, 0.5, np.float32),
        deviation_gain=1.0,
        area=whole,
        box=whole,
        geometry=Geometry(whole, whole, HEIGHT, WIDTH),
        id="quarters",
    )


def middles(observation):
    """What each channel shows at the centre of its window, agent by agent."""
    return observation[0, :, :, SIDE // 2, SIDE // 2].tolist()


def seen(config, *steps):
    """Observations at reset and after each joint step."""
    episodes = stack([quarters(config)])
    state = core.reset(episodes, core.first_score(episodes, None), config)
    observations = [observe(episodes, state, config)]
    for actions in steps:
        state = core.step(episodes, state, np.array([actions]), None, config).state
        observations.append(observe(episodes, state, config))
    return observations


def test_first_frame_is_repeated_then_time_moves_on():
    config = EnvConfig(n_agents=2, window=SIDE, frames=6, traversals=9)
    found = [middles(each)[0] for each in seen(config, (0, 0), (1, 0), (0, 0))]
    assert found[0] == [10, 13, 10, 13, 10, 13]
    assert found[1] == [10, 13, 10, 13, 11, 12]
    # Agent 0 erased superpixel 1 and went on to 2; agent 1 stands on 1 now, and sees it erased
    assert found[2] == [10, 13, 11, 12, 12, 111]
    # Older windows still show what was seen then
    assert found[3] == [11, 12, 12, 111, 13, 10]


@pytest.mark.parametrize(("frames", "agents", "history"), [(1, 1, 1), (3, 2, 2), (1, 4, 1), (6, 4, 2), (6, 1, 6)])
def test_frames_are_rounded_up_to_whole_steps(frames, agents, history):
    config = EnvConfig(n_agents=agents, window=SIDE, frames=frames)
    (observation,) = seen(config)
    assert observation.shape == (1, agents, history * agents, SIDE, SIDE)
    assert observation.dtype == np.uint8


def test_joint_groups_grey_then_coarse_then_extra():
    channels = ("erased", "ellipse", "superpixel", "box")
    config = EnvConfig(n_agents=2, window=SIDE, frames=4, coarse_channels=True, channels=channels)
    _, observation = seen(config, (1, 0))
    expected = [
        *(10, 13, 11, 12),  # agent 0 then 1, at reset then now; superpixel 0 was seen before it was erased
        *(0, 255, 255, 0),  # the coarse mask in the same windows
        *(0, 211, 255, 221),  # agent 0 on superpixel 1, which is whole
        *(0, 212, 255, 222),  # agent 1 on superpixel 2
    ]
    assert middles(observation) == [expected, expected]


def test_egocentric_puts_own_first_in_each_group():
    config = EnvConfig(
        n_agents=4, window=SIDE, frames=8, coarse_channels=True, channels=("box",), observation="egocentric"
    )
    _, observation = seen(config, (0, 0, 0, 0))
    walks = [[0, 1], [3, 2], [1, 1], [2, 0]]  # the agents' superpixels at reset and now
    for own, found in enumerate(middles(observation)):
        turn = [walks[(own + offset) % 4] for offset in range(4)]
        assert found[:8] == [10 + walk[t] for t in range(2) for walk in turn]
        assert found[8:16] == [255 * (walk[t] % 2) for t in range(2) for walk in turn]
        assert found[16:] == [210 + walk[1] for walk in turn]


def test_live_channels_pixel_by_pixel():
    config = EnvConfig(n_agents=1, window=SIDE, frames=1, channels=("superpixel", "erased"))
    _, observation = seen(config, (1,))
    # Superpixel 1 is columns 8..15 and the window columns 8..15; it starts on the border of what was erased
    np.testing.assert_array_equal(observation[0, 0, 1], np.full((SIDE, SIDE), 255))
    np.testing.assert_array_equal(observation[0, 0, 2], np.zeros((SIDE, SIDE)))
    config = dataclasses.replace(config, window=2 * SIDE)
    _, observation = seen(config, (1,))
    columns = np.arange(2 * SIDE) + 4  # the window's first column lies at 12 - 8
    np.testing.assert_array_equal(observation[0, 0, 1], [np.where(columns // SIDE == 1, 255, 0)] * 2 * SIDE)
    np.testing.assert_array_equal(observation[0, 0, 2], [np.where(columns < SIDE, 255, 0)] * 2 * SIDE)


def test_labels_beyond_the_canvas_repeat_the_edge():
    config = EnvConfig(n_agents=1, window=2 * SIDE, frames=1, channels=("superpixel", "erased"))
    (before,) = seen(config)
    # The window's columns are -4..11 and its rows 1..16: superpixel 0 goes on to the left
    expected = [[255] * 12 + [0] * 4] * 2 * SIDE
    np.testing.assert_array_equal(before[0, 0, 1], expected)
    _, after, *_ = seen(config.replace(max_cycles=4), (1,), (0,), (0,), (0,))
    assert not after[0, 0, 2, :, 4:].any()
    *_, back = seen(config, (1,), (0,), (0,), (0,))
    np.testing.assert_array_equal(back[0, 0, 2], expected)


@pytest.mark.parametrize("scorer", ["contrast", None])
def test_advancing_is_stepping_without_pay(scorer):
    config = EnvConfig(canvas={"kind": "roi", "height": 40, "width": 48}, window=16, beta=0.3 if scorer else None)
    paid, unpaid = (Batch("phantom:3?height=80&width=112", 3, scorer=scorer, config=config, cache=False) for _ in "ab")
    rng = np.random.default_rng(5)
    for batch in (paid, unpaid):
        batch.reset(cases=[0, 1, 2])
    for _ in range(25):
        actions = rng.integers(0, 2, (3, config.n_agents))
        expected, found = paid.step(actions).state, unpaid.advance(actions)
        assert unpaid.state is found
        for name, array in vars(expected).items():
            np.testing.assert_array_equal(getattr(found, name), array, err_msg=name)
    assert found.erased.any()
