"""The core against a plain-loop reference, a batch against its single lanes, one array library against another."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import get_args

import array_api_compat
import array_api_strict
import numpy as np
import pytest
from array_api_compat import array_namespace

from flipenv import core
from flipenv.channels import CHANNELS
from flipenv.config import CanvasKind, CanvasSpec, Credit, Csr, EnvConfig, Idr, ObservationKind
from flipenv.episode import prepare, shift_box, stack
from flipenv.observation import observe
from flipenv.scorer import ContrastScorer
from flipenv.sources.phantom import phantom_case
from flipenv.types import Box, Case, Episodes, State, Transition
from tests.reference import ReferenceEpisode

DRAWS = 170  # of one to three episodes each
OPTIONS = {
    "kind": get_args(CanvasKind),
    "margin": (0, 3, 11),
    "background": ("eq1", "mirror", "inpaint"),
    "superpixels": ("seeds", "slic", "grid"),
    "cell_area": (25.0, 60.0, 150.0),
    "jitter": ((0.0, 0.0), (0.0, 5.0), (5.0, 15.0)),
    "n_agents": (1, 2, 4),
    "order": ("index", "radial"),
    "window": (8, 15, 16, 32),
    "frames": (1, 2, 3, 6),
    "observation": get_args(ObservationKind),
    "coarse_channels": (False, True),
    "csr": get_args(Csr),
    "dead_zone": (0.0, 1e-4, 2e-3),
    "credit": get_args(Credit),
    "idr": get_args(Idr),
    "theta": (0.0, 2.0, 7.5, 25.0),
    "csr_weight": (1.0, 0.5),
    "idr_weight": (1.0, 2.0),
    "prior_weight": (0.0, 0.75),
    "standardise": (False, True, "core"),
    "traversals": (1, 2, 3),
}
CHANNEL_NAMES = ("superpixel", "erased", "box", "ellipse", "prior", "stripes")


class DarknessScorer:
    """Share of darkness in the canvas: sums are whole numbers and the one division is exact on every library."""

    def __call__(self, canvases):
        xp = array_namespace(canvases)
        grey = xp.astype(canvases, xp.int64)
        dark = xp.sum(xp.where(grey < 120, 120 - grey, xp.zeros_like(grey)), axis=(1, 2))
        rest = 20 * canvases.shape[1] * canvases.shape[2]
        return xp.astype(xp.astype(dark, xp.float64) / xp.astype(dark + rest, xp.float64), xp.float32)


@pytest.fixture(scope="module", autouse=True)
def stripes():
    """A registered channel: asymmetric, and unlike any of the package's own."""

    def paint(canvas, box):
        rows, columns = np.mgrid[: canvas.shape[0], : canvas.shape[1]]
        return ((7 * rows + 13 * columns + box.left) % 256).astype(np.uint8)

    with CHANNELS.temporarily():
        CHANNELS.register("stripes")(paint)
        yield


def random_case(rng, height, width):
    """Speckle with a dark ellipse in an asymmetric box, or a phantom; an earlier stage's mask comes with it."""
    if rng.random() < 0.25:
        case = phantom_case(int(rng.integers(1000)), height, width)
        image, box = case.image, case.box
    else:
        rows, columns = int(rng.integers(12, height // 2)), int(rng.integers(12, width // 2))
        top, left = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1))
        box = Box(top, left, top + rows, left + columns)
        y, x = np.mgrid[:height, :width]
        radius = np.hypot((y + 0.5 - top - rows / 2) / (rows / 2), (x + 0.5 - left - columns / 2) / (columns / 2))
        tissue = rng.integers(90, 150) + 0.3 * (y + x)
        grey = np.where(radius < 0.9, rng.integers(20, 90), tissue) * rng.gamma(9, 1 / 9, (height, width))
        image = np.clip(grey, 0, 255).astype(np.uint8)
    prior = rng.integers(0, 256, (height, width)).astype(np.uint8)
    return Case(image=image, box=box, coarse=rng.random((height, width)) < 0.5, prior=prior)


def random_canvas(rng, kind):
    sizes = [(64, 112)] if kind == "whole" else [(24, 40), (40, 24), (32, 48), (56, 40)]
    if rng.random() < 0.08:
        sizes = [(96, 128), (128, 80)]
    height, width = sizes[rng.integers(len(sizes))]
    return CanvasSpec(kind=kind, height=height, width=width, context=float(rng.choice([0.0, 0.5, 1.2])))


def random_config(rng, **fixed):
    options = {name: values[rng.integers(len(values))] for name, values in OPTIONS.items()} | fixed
    options["canvas"] = random_canvas(rng, options.pop("kind"))
    if options["canvas"].height * options["canvas"].width > 8000:
        options["cell_area"] = max(options["cell_area"], 150.0)  # or else the loops take minutes
    count = int(rng.integers(len(CHANNEL_NAMES) + 1))
    options["channels"] = tuple(str(name) for name in rng.permutation(CHANNEL_NAMES)[:count])
    return EnvConfig(**({"max_cycles": int(rng.integers(1, 40)) if rng.random() < 0.3 else None} | options))


def random_episodes(rng, config, count):
    """Prepared episodes of images of different sizes, boxes shifted as far as the config says."""
    episodes = []
    for _ in range(count):
        height, width = int(rng.integers(48, 110)), int(rng.integers(48, 110))
        case = random_case(rng, height, width if width != height else width + 7)
        shift = rng.uniform(*config.jitter) * np.array([np.sin(angle := rng.uniform(0, 7)), np.cos(angle)])
        box = shift_box(case.box, *shift, case.image.shape)
        episodes.append(prepare(dataclasses.replace(case, box=box), config))
    return episodes


def random_beta(rng, score):
    """Never, the paper's, or one that falls somewhere below the score of the untouched canvas."""
    return [None, 0.05, float(np.nan_to_num(score, nan=0.5)) * rng.uniform(0.8, 1.0)][rng.integers(3)]


def random_scorer(rng):
    return (DarknessScorer(), DarknessScorer(), DarknessScorer(), ContrastScorer(), None)[rng.integers(5)]


def assert_lane(lane, reference, state, observation):
    """One lane of the core's state and observation is what the reference says."""
    count = len(reference.centers)
    np.testing.assert_array_equal(state.canvas[lane], reference.canvas)
    assert set(np.flatnonzero(state.erased[lane])) == reference.erased
    assert not state.erased[lane, count:].any()
    np.testing.assert_array_equal(state.histogram[lane], reference.histogram)
    np.testing.assert_array_equal(state.score[lane], reference.score)
    assert state.step[lane] == reference.taken
    assert state.here[lane].tolist() == reference.here
    assert (state.terminated[lane], state.truncated[lane]) == (reference.terminated, reference.truncated)
    np.testing.assert_array_equal(observation[lane], reference.observation())


def assert_rewards(lane, step, transition, csr):
    np.testing.assert_array_equal(transition.changed[lane], step.changed)
    np.testing.assert_array_equal(transition.idr[lane], step.idr)
    tolerance = 1e-6 if csr == "logit" else 0.0
    np.testing.assert_allclose(transition.csr[lane], step.csr, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(transition.reward[lane], step.reward, rtol=tolerance, atol=tolerance)


def play_beside_reference(seed, seen):
    """Play one draw to its end and two steps beyond, and compare at every step; `seen` counts what happened."""
    rng = np.random.default_rng(seed)
    config, scorer = random_config(rng), random_scorer(rng)
    singles = random_episodes(rng, config, int(rng.integers(1, 4)))
    episodes = stack(singles)
    score = core.first_score(episodes, scorer)
    config = config.replace(beta=random_beta(rng, score[0]))
    references = [ReferenceEpisode(single, scorer, config) for single in singles]
    state = core.reset(episodes, score, config)
    observation = observe(episodes, state, config)
    assert observation.shape == (len(singles), config.n_agents, config.n_channels, config.window, config.window)
    for lane, reference in enumerate(references):
        assert_lane(lane, reference, state, observation)
    erases, dtype, beyond = rng.choice([0.2, 0.5, 0.9]), rng.choice([np.int64, np.int8, np.uint8]), 0
    while beyond < 2:
        beyond += all(reference.ended for reference in references)
        actions = (rng.random((len(singles), config.n_agents)) < erases).astype(dtype)
        transition = core.step(episodes, state, actions, scorer, config)
        state = transition.state
        observation = observe(episodes, state, config)
        for lane, reference in enumerate(references):
            step = reference.step(actions[lane].tolist())
            assert_lane(lane, reference, state, observation)
            assert_rewards(lane, step, transition, config.csr)
            seen["steps"] += 1
            seen["duplicate"] += step.duplicate
            seen[f"penalty {config.idr}"] += any(step.idr)
            seen[f"paid {config.csr} {config.credit}"] += any(step.csr)
            seen["raised score"] += any(csr < 0 for csr in step.csr)
    seen["episodes"] += len(singles)
    seen["padded"] += len({single.n_superpixels for single in singles}) > 1
    seen["scorer", type(scorer).__name__] += 1
    for reference in references:
        seen["terminated", reference.terminated, "truncated", reference.truncated] += 1
    drawn = dataclasses.asdict(config) | {"kind": config.canvas.kind}
    seen.update((name, drawn[name]) for name in OPTIONS)
    seen.update(("channels", name) for name in config.channels)
    seen["beta is None", config.beta is None] += 1
    seen["max_cycles is None", config.max_cycles is None] += 1


def test_core_follows_the_rules_written_as_loops():
    seen = Counter()
    for seed in range(DRAWS):
        try:
            play_beside_reference(seed, seen)
        except Exception as error:
            error.add_note(f"reproduce with play_beside_reference({seed}, Counter())")
            raise
    assert seen["episodes"] >= 300
    wanted = [(name, value) for name, values in OPTIONS.items() for value in values]
    wanted += [("channels", name) for name in CHANNEL_NAMES]
    wanted += [(f"{name} is None", value) for name in ("beta", "max_cycles") for value in (True, False)]
    wanted += [("scorer", name) for name in ("DarknessScorer", "ContrastScorer", "NoneType")]
    wanted += [("terminated", *ends) for ends in ((True, "truncated", False), (False, "truncated", True))]
    wanted += ["duplicate", "penalty superpixel", "penalty cumulative", "raised score", "padded"]
    wanted += [f"paid {csr} {credit}" for csr in get_args(Csr) for credit in get_args(Credit)]
    assert [what for what in wanted if seen[what] < 3] == []
    assert seen["penalty none"] == 0
    assert not any(case == ("terminated", False, "truncated", False) for case in seen)


def lanes(data, which):
    """Some lanes of a batch, still a batch."""
    return type(data)(**{field.name: getattr(data, field.name)[which] for field in dataclasses.fields(data)})


BATCH_SETS = [
    {"kind": "roi", "cell_area": 20.0, "n_agents": 2, "credit": "counterfactual", "csr": "difference"},
    {"kind": "roi", "cell_area": 12.0, "n_agents": 4, "credit": "sequential", "idr": "cumulative", "theta": 2.0},
    {"kind": "whole", "cell_area": 60.0, "n_agents": 1, "credit": "joint", "csr": "sign", "observation": "egocentric"},
    {"kind": "roi", "cell_area": 20.0, "n_agents": 2, "credit": "joint", "standardise": True, "coarse_channels": True},
]


@pytest.mark.parametrize("seed", range(len(BATCH_SETS)))
def test_batch_of_64_is_64_singles(seed):
    rng = np.random.default_rng(1000 + seed)
    config = random_config(rng, traversals=1, max_cycles=None, window=16, **BATCH_SETS[seed])
    scorer = ContrastScorer() if seed == 3 else DarknessScorer()
    prepared = random_episodes(rng, config, 64)
    counts = [episode.n_superpixels for episode in prepared]
    assert len(set(counts)) > 5
    assert len({episode.order.shape[1] for episode in prepared}) > 3
    batch, singles = stack(prepared), [stack([episode]) for episode in prepared]
    score = core.first_score(batch, scorer)
    config = config.replace(beta=float(np.median(score)) * 0.9)
    state = core.reset(batch, score, config)
    alone = [core.reset(single, core.first_score(single, scorer), config) for single in singles]
    for _ in range(int(batch.steps.max()) + 1):
        actions = rng.integers(0, 2, (64, config.n_agents))
        together = core.step(batch, state, actions, scorer, config)
        state = together.state
        seen = observe(batch, state, config)
        assert not (state.erased & (np.arange(max(counts)) >= np.array(counts)[:, None])).any()
        for lane, single in enumerate(singles):
            own = core.step(single, alone[lane], actions[lane : lane + 1], scorer, config)
            alone[lane] = own.state
            for field in dataclasses.fields(State):
                expected, found = getattr(own.state, field.name)[0], getattr(state, field.name)[lane]
                found = found[: counts[lane]] if field.name == "erased" else found
                np.testing.assert_array_equal(found, expected, err_msg=field.name, strict=True)
            np.testing.assert_array_equal(seen[lane], observe(single, own.state, config)[0], strict=True)
            for name in ("reward", "csr", "idr", "changed"):
                expected, found = getattr(own, name)[0], getattr(together, name)[lane]
                np.testing.assert_array_equal(found, expected, err_msg=name, strict=True)
    ended = state.terminated | state.truncated
    assert ended.all()
    assert state.terminated.any()
    assert (state.truncated & ~state.terminated).any()


def converted(data, convert):
    """The same batch with each field on another array library."""
    return type(data)(**{field.name: convert(getattr(data, field.name)) for field in dataclasses.fields(data)})


def assert_same_everywhere(config, convert, back, scorer, seed):
    """Play the same episodes on NumPy and on another array library and compare all there is at every step."""
    rng = np.random.default_rng(seed)
    episodes = stack(random_episodes(rng, config, 3))
    elsewhere = converted(episodes, convert)
    score, other_score = core.first_score(episodes, scorer), core.first_score(elsewhere, scorer)
    config = config.replace(beta=None if scorer is None else float(score.mean()) * 0.85)
    state, other = core.reset(episodes, score, config), core.reset(elsewhere, other_score, config)
    same_library = type(other.canvas)
    seen = observe(episodes, state, config)
    np.testing.assert_array_equal(back(observe(elsewhere, other, config)), seen, strict=True)
    while not (state.terminated | state.truncated).all():
        actions = rng.integers(0, 2, (3, config.n_agents))
        here = core.step(episodes, state, actions, scorer, config)
        there = core.step(elsewhere, other, convert(actions), scorer, config)
        state, other = here.state, there.state
        np.testing.assert_array_equal(
            back(observe(elsewhere, other, config)), observe(episodes, state, config), strict=True
        )
        for holder, other_holder, kind in ((state, other, State), (here, there, Transition)):
            for field in dataclasses.fields(kind):
                if field.name == "state":
                    continue
                expected, found = getattr(holder, field.name), getattr(other_holder, field.name)
                assert isinstance(found, same_library), field.name
                # The logarithm is the one function that libraries are free to round differently
                if config.csr == "logit" and field.name in ("csr", "reward"):
                    np.testing.assert_allclose(back(found), expected, rtol=1e-6, atol=1e-6, err_msg=field.name)
                else:
                    np.testing.assert_array_equal(back(found), expected, err_msg=field.name, strict=True)


LIBRARY_SETS = [
    {"n_agents": 1, "credit": "joint", "csr": "sign", "idr": "superpixel", "kind": "roi", "channels": CHANNEL_NAMES},
    {"n_agents": 2, "credit": "sequential", "csr": "difference", "idr": "cumulative", "theta": 2.0, "channels": ()},
    {"n_agents": 2, "credit": "counterfactual", "csr": "logit", "idr": "superpixel", "observation": "egocentric"},
    {"n_agents": 4, "credit": "counterfactual", "csr": "difference", "standardise": True, "coarse_channels": True},
    {"n_agents": 4, "credit": "joint", "csr": "sign", "idr": "none", "window": 32, "max_cycles": 7},
    {"n_agents": 4, "credit": "sequential", "csr": "sign", "kind": "whole", "window": 15, "order": "radial"},
]
library_sets = pytest.mark.parametrize("seed", range(len(LIBRARY_SETS)))
scorers = pytest.mark.parametrize("scorer", [DarknessScorer(), None], ids=["darkness", "no scorer"])


def library_config(seed):
    return random_config(
        np.random.default_rng(2000 + seed), **{"cell_area": 60.0, "traversals": 2} | LIBRARY_SETS[seed]
    )


@library_sets
@scorers
def test_strict_standard_is_numpy(seed, scorer):
    assert_same_everywhere(library_config(seed), array_api_strict.asarray, np.asarray, scorer, seed)


@library_sets
@scorers
def test_torch_is_numpy(seed, scorer):
    torch = pytest.importorskip("torch", reason="torch is an extra of the package")
    assert_same_everywhere(library_config(seed), torch.asarray, lambda tensor: tensor.numpy(), scorer, seed)


@library_sets
@scorers
def test_cuda_is_numpy(seed, scorer):
    torch = pytest.importorskip("torch", reason="torch is an extra of the package")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")

    def convert(array):
        return torch.asarray(array, device="cuda")

    assert_same_everywhere(library_config(seed), convert, lambda tensor: tensor.cpu().numpy(), scorer, seed)


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_contrast_scorer_gives_the_same_scores_everywhere(library):
    xp = pytest.importorskip(library, reason="not installed")
    rng = np.random.default_rng(5)
    canvases = np.stack([random_case(rng, 40, 56).image for _ in range(8)])
    expected = ContrastScorer()(canvases)
    found = ContrastScorer()(xp.asarray(canvases))
    assert array_api_compat.is_array_api_obj(found)
    # Contrasts are the same bit for bit; the exponential may be rounded differently
    np.testing.assert_allclose(np.asarray(found), expected, rtol=3e-7)
    np.testing.assert_array_equal([ContrastScorer()(canvas[None])[0] for canvas in canvases], expected)


def test_strict_needs_only_nonzero_beyond_fixed_shapes():
    """Data-dependent shapes are what lazy libraries lack; the core uses them to leave out lanes from scoring alone."""
    config = library_config(3)
    rng = np.random.default_rng(3)
    episodes = converted(stack(random_episodes(rng, config, 2)), array_api_strict.asarray)
    assert isinstance(episodes, Episodes)
    with array_api_strict.ArrayAPIStrictFlags(boolean_indexing=False):
        state = core.reset(episodes, core.first_score(episodes, DarknessScorer()), config)
        ones = array_api_strict.ones((2, 4), dtype=array_api_strict.int64)
        state = core.step(episodes, state, ones, DarknessScorer(), config).state
    assert np.asarray(state.erased).any(axis=1).all()
