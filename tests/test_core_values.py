"""Rewards and ends in numbers worked out by hand on a 4x6 canvas with three superpixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from flipenv import core
from flipenv.config import EnvConfig
from flipenv.episode import stack
from flipenv.observation import observe
from flipenv.reward import csr
from flipenv.types import Box, Episode, Geometry, State

LABELS = np.array(
    [
        [-1, 0, 0, 1, 1, -1],
        [-1, 0, 0, 1, 1, -1],
        [-1, 2, 2, 2, 2, -1],
        [-1, -1, -1, -1, -1, -1],
    ],
    np.int16,
)
IMAGE = np.array(
    [
        [200, 10, 10, 30, 40, 200],
        [201, 10, 10, 30, 40, 202],
        [203, 60, 60, 61, 61, 204],
        [205, 206, 207, 208, 209, 210],
    ],
    np.uint8,
)
BACKGROUND = np.arange(100, 124, dtype=np.uint8).reshape(4, 6)

CELLS = [np.equal(LABELS, superpixel) for superpixel in range(3)]

# Score of the canvas by the superpixels that are erased on it; all are exact in binary
SCORES = {
    (): 0.875,
    (0,): 0.5,
    (1,): 0.75,
    (2,): 0.9375,
    (0, 1): 0.25,
    (0, 2): 0.5625,
    (1, 2): 0.8125,
    (0, 1, 2): 0.03125,
}
LN3, LN31 = 1.0986123, 3.4339872  # log-odds of 1/4 and of 1/32, both negated
LN97 = 0.2513144  # log-odds of 9/16


def table_scorer(canvases):
    scores = []
    for canvas in canvases:
        erased = tuple(s for s, cell in enumerate(CELLS) if (canvas == BACKGROUND)[cell].all())
        scores.append(SCORES[erased])
    return np.array(scores, np.float32)


class CountingScorer:
    """Counts canvases and calls; no canvas gets the same score twice."""

    def __init__(self):
        self.sizes = []

    def __call__(self, canvases):
        start = sum(self.sizes)
        self.sizes.append(len(canvases))
        return np.arange(start + 1, start + 1 + len(canvases), dtype=np.float32) / 1000


def hand_made(**changes):
    """Both agents begin on superpixel 0; then one stands on 1 while the other stands on 2, and the other way round."""
    greys = [IMAGE[cell] for cell in CELLS]
    whole = Box(0, 0, 4, 6)
    values = {
        "image": IMAGE,
        "background": BACKGROUND,
        "labels": LABELS,
        "order": np.array([[0, 1, 2], [0, 2, 1]], np.int16),
        "centers": np.array([[0, 1], [0, 3], [2, 2]], np.int16),
        "histograms": np.array([np.cumsum(np.bincount(grey, minlength=256)) for grey in greys], np.int32),
        "channels": np.zeros((0, 4, 6), np.uint8),
        "coarse": np.zeros((4, 6), np.uint8),
        "prior": np.array([0.25, 1.0, 0.5], np.float32),
        "deviation_gain": 1.0,
        "area": Box(0, 1, 3, 5),
        "box": Box(0, 1, 3, 5),
        "geometry": Geometry(whole, whole, 4, 6),
        "id": "hand-made",
    }
    return Episode(**values | changes)


def play(config, *steps, scorer=table_scorer, episode=None):
    """Transitions of one episode, one for each pair of actions, all with the lane taken out of the batch."""
    episodes = stack([episode or hand_made()])
    state = core.reset(episodes, core.first_score(episodes, scorer), config)
    transitions = []
    for actions in steps:
        transitions.append(core.step(episodes, state, np.array([actions]), scorer, config))
        state = transitions[-1].state
    return transitions


def options(**changes):
    return EnvConfig(window=8, frames=2, **{"idr": "none", "beta": None, "csr": "difference"} | changes)


FALLS = [
    # credit, actions at step 0 and, if any, at step 1; falls of the last step
    ("joint", [(1, 0)], [0.375, 0.375]),
    ("sequential", [(1, 0)], [0.375, 0.0]),
    ("counterfactual", [(1, 0)], [0.375, 0.0]),
    ("joint", [(1, 0), (1, 1)], [0.46875, 0.46875]),
    ("sequential", [(1, 0), (1, 1)], [0.25, 0.21875]),
    ("counterfactual", [(1, 0), (1, 1)], [0.53125, 0.21875]),
    ("joint", [(1, 0), (0, 1)], [-0.0625, -0.0625]),
    ("sequential", [(1, 0), (0, 1)], [0.0, -0.0625]),
    ("counterfactual", [(1, 0), (0, 1)], [0.0, -0.0625]),
    ("joint", [(1, 1)], [0.375, 0.375]),  # both on superpixel 0
    ("sequential", [(1, 1)], [0.375, 0.0]),  # the second changed nothing that the first had not
    ("counterfactual", [(1, 1)], [0.0, 0.0]),  # without either it would have been erased all the same
    ("joint", [(1, 0), (0, 0)], [0.0, 0.0]),
    ("sequential", [(1, 0), (0, 0)], [0.0, 0.0]),
    ("counterfactual", [(1, 0), (0, 0)], [0.0, 0.0]),
]
EACH = [f"{credit}-{steps[-1]}{'-' * (len(steps) - 1)}" for credit, steps, _ in FALLS]


@pytest.mark.parametrize(("credit", "steps", "falls"), FALLS, ids=EACH)
def test_credit_and_difference(credit, steps, falls):
    last = play(options(credit=credit), *steps)[-1]
    assert last.csr[0].tolist() == falls
    assert last.reward[0].tolist() == falls
    assert last.idr[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("credit", "steps", "falls"), FALLS, ids=EACH)
def test_sign_is_the_sign_of_the_fall(credit, steps, falls):
    last = play(options(credit=credit, csr="sign"), *steps)[-1]
    assert last.reward[0].tolist() == [(fall > 0) - (fall < 0) for fall in falls]


@pytest.mark.parametrize(
    ("credit", "expected"),
    [("joint", [LN31, LN31]), ("sequential", [LN3, LN31 - LN3]), ("counterfactual", [LN97 + LN31, LN31 - LN3])],
)
def test_logit(credit, expected):
    last = play(options(credit=credit, csr="logit"), (1, 0), (1, 1))[-1]
    assert last.reward[0].tolist() == pytest.approx(expected, rel=1e-6)


def test_logit_of_certain_scores_is_finite():
    before, after = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
    found = csr(before, after, options(csr="logit"))
    assert found[0].tolist() == pytest.approx([27.631, -27.631], rel=1e-3)
    assert found.dtype == np.float32


@pytest.mark.parametrize("kind", ["sign", "difference", "logit"])
def test_falls_within_the_dead_zone_pay_nothing(kind):
    steps = [(1, 0), (1, 1)]

    def paid(dead_zone, credit="sequential"):
        last = play(options(csr=kind, credit=credit, dead_zone=dead_zone), *steps)[-1]
        return (last.reward[0] != 0).tolist()

    assert paid(0.2187) == [True, True]
    assert paid(0.21875) == [True, False]
    assert paid(0.25) == [False, False]
    assert paid(0.46875, "joint") == [False, False]
    assert paid(0.4687, "joint") == [True, True]
    steps[1] = (0, 1)
    assert paid(0.0625) == [False, False]
    assert paid(0.0624) == [False, True]


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_dead_zone_is_compared_as_a_float32(library):
    xp = pytest.importorskip(library, reason="not installed")
    # As a float32 a tenth is a little more than a tenth
    before, after = (xp.asarray(np.array([[score]], np.float32)) for score in (0.1, 0.0))
    assert not np.asarray(csr(before, after, options(csr="sign", dead_zone=0.1))).any()
    assert np.asarray(csr(before, after, options(csr="sign", dead_zone=0.0999999))).all()


def test_without_scorer_only_intensities_pay():
    first, second = play(options(idr="superpixel", beta=1.0), (1, 0), (1, 1), scorer=None)
    assert first.reward[0].tolist() == [0.0, 0.0]
    assert second.csr[0].tolist() == [0.0, 0.0]
    assert second.reward[0].tolist() == [0.0, -1.0]
    assert np.isnan(second.state.score[0])
    assert not second.state.terminated[0]


# Superpixel 0 is erased: four pixels of 10. Superpixel 1 (30, 30, 40, 40) is 25 grey levels away, superpixel 2
# (60, 60, 61, 61) 50.5. Once added, each is half of what is erased: 12.5 and 25.25.
@pytest.mark.parametrize(
    ("reference", "theta", "penalties"),
    [
        ("superpixel", 24.75, [-1, -1]),
        ("superpixel", 25.0, [0, -1]),
        ("superpixel", 25.25, [0, -1]),
        ("superpixel", 50.25, [0, -1]),
        ("superpixel", 50.5, [0, 0]),
        ("superpixel", 50.75, [0, 0]),
        ("cumulative", 12.25, [-1, -1]),
        ("cumulative", 12.5, [0, -1]),
        ("cumulative", 12.75, [0, -1]),
        ("cumulative", 25.0, [0, -1]),
        ("cumulative", 25.25, [0, 0]),
        ("cumulative", 25.5, [0, 0]),
        ("none", 0.0, [0, 0]),
    ],
)
def test_intensities_at_theta(reference, theta, penalties):
    config = options(csr="difference", idr=reference, theta=theta)
    first, second = play(config, (1, 0), (1, 1))
    assert first.idr[0].tolist() == [0, 0]  # nothing was erased before
    assert second.idr[0].tolist() == penalties
    assert second.reward[0].tolist() == [0.46875 + penalty for penalty in penalties]
    # An agent that passes is not asked what it would have erased
    *_, passing = play(config, (1, 0), (1, 0))
    assert passing.idr[0].tolist() == [penalties[0], 0]


@pytest.mark.parametrize(("theta", "penalties"), [(49.5, [-1, -1]), (50.0, [0, -1]), (101.0, [0, 0])])
def test_distances_are_scaled_by_the_gain(theta, penalties):
    config = options(idr="superpixel", theta=theta)
    *_, last = play(config, (1, 0), (1, 1), episode=hand_made(deviation_gain=2.0))
    assert last.idr[0].tolist() == penalties


def test_agents_of_one_step_are_compared_with_what_was_erased_before_it():
    # Superpixels 1 and 2 are first: neither has a before. Then 0 against both: (25 + 50.5) / 2 = 37.75
    config = options(idr="superpixel", theta=37.5, traversals=9)
    steps = [(0, 0), (1, 1), (0, 0), (1, 0)]
    found = play(config, *steps)
    assert [each.idr[0].tolist() for each in found] == [[0, 0], [0, 0], [0, 0], [-1, 0]]
    assert play(config.replace(theta=37.75), *steps)[-1].idr[0].tolist() == [0, 0]


def test_one_superpixel_erased_twice_at_once_counts_once():
    (only,) = play(options(), (1, 1))
    assert only.changed[0].tolist() == [True, True]
    assert only.state.erased[0].tolist() == [True, False, False]
    assert only.state.histogram[0, [9, 10, 255]].tolist() == [0, 4, 4]
    np.testing.assert_array_equal(only.state.canvas[0], np.where(CELLS[0], BACKGROUND, IMAGE))


def test_erasing_what_is_erased_changes_nothing():
    found = play(options(idr="superpixel", theta=0.0), (1, 0), (0, 1), (1, 1))
    last = found[-1]
    # Agent 0 stands on superpixel 2, which agent 1 erased the step before; agent 1 erases superpixel 1
    assert last.changed[0].tolist() == [False, True]
    assert last.idr[0].tolist() == [0, -1]
    assert last.csr[0].tolist() == [0.53125, 0.53125]
    assert last.state.histogram[0, -1] == 12


def flags(transition):
    return bool(transition.state.terminated[0]), bool(transition.state.truncated[0])


def test_ends_once_the_score_is_below_beta():
    steps = [(1, 0), (1, 1)]
    assert flags(play(options(beta=0.0313), *steps)[-1]) == (True, False)
    assert flags(play(options(beta=0.03125), *steps)[-1]) == (False, False)
    assert flags(play(options(beta=None), *steps)[-1]) == (False, False)
    assert flags(play(options(beta=0.0313), steps[0])[-1]) == (False, False)


def test_ends_when_all_traversals_are_spent():
    found = play(options(traversals=2), *[(0, 0)] * 6)
    assert [flags(each) for each in found] == [(False, False)] * 5 + [(False, True)]
    assert [int(each.state.step[0]) for each in found] == [1, 2, 3, 4, 5, 6]


def test_ends_after_max_cycles():
    found = play(options(traversals=2, max_cycles=4), *[(0, 0)] * 4)
    assert [flags(each)[1] for each in found] == [False, False, False, True]
    found = play(options(traversals=1, max_cycles=4), *[(0, 0)] * 3)
    assert [flags(each)[1] for each in found] == [False, False, True]


def test_may_end_both_ways_at_once():
    assert flags(play(options(beta=0.05, max_cycles=2), (1, 0), (1, 1))[-1]) == (True, True)


@pytest.mark.parametrize("ending", [{"beta": 0.6}, {"max_cycles": 1}, {"beta": 0.6, "max_cycles": 1}])
def test_what_has_ended_stays_as_it_is(ending):
    config = options(idr="superpixel", theta=0.0, channels=("superpixel", "erased"), **ending)
    first, second, third = play(config.replace(frames=4), (1, 0), (1, 1), (0, 1))
    for later in (second, third):
        assert later.reward[0].tolist() == later.csr[0].tolist() == later.idr[0].tolist() == [0, 0]
        assert not later.changed.any()
        for field in dataclasses.fields(State):
            before, now = getattr(first.state, field.name), getattr(later.state, field.name)
            np.testing.assert_array_equal(now, before, err_msg=field.name, strict=True)


def four_lanes(scorer, config):
    """Lanes with superpixel 0 erased and agents on 1 and 2; the last has ended."""
    episodes = stack([hand_made() for _ in range(4)])
    state = core.reset(episodes, core.first_score(episodes, scorer), config)
    state = core.step(episodes, state, np.array([[1, 0]] * 4), scorer, config).state
    return episodes, dataclasses.replace(state, truncated=np.array([False, False, False, True]))


@pytest.mark.parametrize(("credit", "wanted"), [("joint", 2), ("sequential", 3), ("counterfactual", 4)])
def test_only_canvases_that_changed_are_scored(credit, wanted):
    scorer, config = CountingScorer(), options(credit=credit)
    episodes, state = four_lanes(scorer, config)
    assert scorer.sizes == [4, 4]
    # Both erase, one erases, nobody does, and one that would but has ended. Joint: one canvas a lane that changed.
    # Sequential: one an erasure. Counterfactual: the joint one, and one without each agent where both erased.
    actions = np.array([[1, 1], [0, 1], [0, 0], [1, 1]])
    transition = core.step(episodes, state, actions, scorer, config)
    assert scorer.sizes == [4, 4, wanted]
    assert (transition.state.score != state.score).tolist() == [True, True, False, False]
    np.testing.assert_array_equal(transition.csr[2:], 0.0)


@pytest.mark.parametrize("credit", ["joint", "sequential", "counterfactual"])
def test_scorer_is_not_called_where_nothing_changed(credit):
    scorer, config = CountingScorer(), options(credit=credit)
    episodes, state = four_lanes(scorer, config)
    for _ in range(2):
        state = core.step(episodes, state, np.zeros((4, 2), np.int64), scorer, config).state
    # The three that go on are back on superpixel 0, which is erased
    transition = core.step(episodes, state, np.ones((4, 2), np.int64), scorer, config)
    assert transition.state.step.tolist() == [4, 4, 4, 1]
    assert not transition.changed.any()
    assert scorer.sizes == [4, 4]


def test_dtypes_are_what_the_fields_say():
    *_, last = play(options(), (1, 0), (1, 1))
    state = last.state
    expected = {"canvas": "uint8", "erased": "bool", "histogram": "int64", "score": "float32", "frames": "uint8"}
    expected |= {"step": "int32", "here": "int16", "terminated": "bool", "truncated": "bool"}
    assert {name: str(getattr(state, name).dtype) for name in expected} == expected
    expected = {"reward": "float32", "csr": "float32", "idr": "float32", "changed": "bool"}
    assert {name: str(getattr(last, name).dtype) for name in expected} == expected


def test_reset_shows_the_image_and_observes_at_once():
    episodes, config = stack([hand_made()]), options()
    state = core.reset(episodes, core.first_score(episodes, table_scorer), config)
    np.testing.assert_array_equal(state.canvas[0], IMAGE)
    assert state.score.tolist() == [0.875]
    assert not state.erased.any()
    assert not state.histogram.any()
    # Superpixel 0's centre is row 0, column 1: index [4, 4] of the window, whose corner repeats the canvas' corner
    window = observe(episodes, state, config)[0, 0, 0]
    np.testing.assert_array_equal(window[4, 3:], [200, 10, 10, 30, 40])
    np.testing.assert_array_equal(window[:5, :4], np.full((5, 4), 200))
    np.testing.assert_array_equal(window[7, 2:5], [205, 205, 206])


def test_prior_pays_for_what_it_calls_nodule():
    """Superpixels 0, 1, 2 have a mean prior of 0.25, 1 and 0.5; erasing twice pays once."""
    config = options(csr_weight=0.0, prior_weight=2.0)
    first, second, third = play(config, (1, 0), (1, 1), (1, 0))
    assert first.reward.tolist() == [[-1.0, 0.0]]
    assert second.reward.tolist() == [[2.0, 0.0]]
    assert third.changed.tolist() == [[False, False]]
    assert third.reward.tolist() == [[0.0, 0.0]]
