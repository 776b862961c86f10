"""Whatever is given, the error has a name, says what was given and what to do, and nothing is lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import flipenv
from flipenv.errors import (
    ActionError,
    BoxError,
    ConfigError,
    EpisodeError,
    FlipError,
    ImageError,
    MaskError,
    ScorerError,
    SourceError,
)
from flipenv.types import Box, Case
from tests.conftest import SMALL

GREY = np.zeros((30, 50), np.uint8)


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((10, 10, 31, 20), "outside.*30x50"),
        ((-1, 10, 20, 20), "outside"),
        ((10, 10, 20, 51), "outside"),
        ((20, 10, 10, 20), "inverted.*bottom < top"),
        ((10, 20, 20, 10), "inverted.*right < left"),
        ((10, 10, 10, 20), r"no height \(top == bottom\)"),
        ((10, 20, 20, 20), "no width"),
        ((10, 10, float("nan"), 20), "nan.*whole number"),
        ((10, 10, 20.5, 20), "20.5.*whole number"),
        ((10, 10, 20), "not four"),
        ("10 10 20 20", "not four"),
        (None, "not four"),
    ],
)
def test_boxes(box: Any, says: str) -> None:
    with pytest.raises(BoxError, match=says) as error:
        Case(GREY, box)
    assert "30x50" in str(error.value)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.full((30, 50), np.nan), "float64.*NaN.*uint8"),
        (np.zeros((30, 50)), "float64.*rescale"),
        (np.zeros((30, 50), np.uint16), "uint16.*rescale"),
        (np.zeros((30, 50, 4), np.uint8), "4 channels.*convert"),
        (np.zeros((0, 50), np.uint8), r"\(0, 50\).*non-empty"),
        (np.zeros(50, np.uint8), r"\(50,\)"),
        ([[1, 2]], "list.*expected"),
    ],
)
def test_images(image: Any, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        Case(image, Box(1, 1, 9, 9))


@pytest.mark.parametrize("name", ["mask", "coarse"])
def test_masks(name: str) -> None:
    with pytest.raises(MaskError, match=r"\(30, 49\).*\(30, 50\).*resample"):
        Case(GREY, Box(1, 1, 9, 9), **{name: np.zeros((30, 49), bool)})
    with pytest.raises(MaskError, match="uint8.*bool.*> 0"):
        Case(GREY, Box(1, 1, 9, 9), **{name: GREY})


def test_the_channel_prior_needs_a_prior() -> None:
    env = flipenv.parallel_env(Case(GREY, Box(1, 1, 29, 29), "mine"), channels=("prior",), cache=False)
    with pytest.raises(MaskError, match=r"case 'mine' has no prior.*dataclasses.replace\(case, prior=picture\)"):
        env.reset()


def test_coarse_channels_need_a_coarse_mask() -> None:
    env = flipenv.parallel_env(Case(GREY, Box(1, 1, 29, 29), "mine"), coarse_channels=True, cache=False)
    with pytest.raises(MaskError, match="mine.*coarse.*replace"):
        env.reset()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (Image.fromarray(np.zeros((30, 50), np.uint16)), "16"),
        (Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 50, 4)).astype(np.uint8)), "RGBA|alpha"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "picture.png"),
        (None, "picture.png"),
    ],
    ids=["16-bit", "RGBA", "truncated", "missing"],
)
def test_files(tmp_path: Path, content: Any, says: str) -> None:
    file, table = tmp_path / "picture.png", tmp_path / "cases.csv"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        content.save(file)
    table.write_text("image,top,left,bottom,right\npicture.png,2,3,20,30\n")
    with pytest.raises((ImageError, SourceError), match=says) as error:
        flipenv.parallel_env(f"csv:{table}", cache=False).reset()
    assert "picture.png" in str(error.value)


def test_sources(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'phantom'"):
        flipenv.parallel_env("phantm")
    with pytest.raises(SourceError, match=str(tmp_path)):
        flipenv.parallel_env(f"busi:{tmp_path}")
    with pytest.raises(SourceError, match="int.*expected a Source"):
        flipenv.parallel_env(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"margn": 3}, "'margn'.*did you mean 'margin'"),
        ({"margin": -1}, "margin=-1.*between 0"),
        ({"margin": 1.5}, "margin=1.5.*whole number"),
        ({"csr": "signum"}, "csr='signum'.*'sign'"),
        ({"n_agents": 3}, "n_agents=3.*1, 2, 4"),
        ({"beta": 2}, "beta=2"),
        ({"beta": float("nan")}, "beta=nan"),
        ({"jitter": (5, 2)}, "jitter.*least <= largest"),
        ({"canvas": "round"}, "kind='round'.*'roi'"),
        ({"canvas": {"hight": 3}}, "'hight'.*did you mean 'height'"),
        ({"traversals": 0}, "traversals=0"),
        ({"frames": True}, "frames=True"),
        ({"background": "eq2"}, "unknown background 'eq2'.*did you mean 'eq1'"),
        ({"superpixels": "seed"}, "unknown.*'seed'.*did you mean 'seeds'"),
        ({"order": "spiral"}, "unknown order 'spiral'.*index, radial"),
        ({"channels": ("elipse",)}, "did you mean 'ellipse'"),
        ({"reward": "papr"}, "unknown reward 'papr'"),
        ({"scorer": None}, "scorer=None with beta=0.05.*beta=None"),
        ({"scorer": "resnet"}, "scorer='resnet'.*'contrast'"),
        ({"render_mode": "ansi"}, "render_mode='ansi'.*rgb_array"),
    ],
)
def test_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        flipenv.parallel_env(Case(GREY, Box(1, 1, 29, 29)), cache=False, **options)


def test_an_option_for_a_pool_is_refused(phantoms: list[Case]) -> None:
    pool = flipenv.EpisodePool(phantoms, flipenv.EnvConfig(), cache=False)
    with pytest.raises(ConfigError, match="EpisodePool"):
        flipenv.parallel_env(pool, margin=3)


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (2, "is 2; expected 0..1"),
        (-1, "is -1"),
        (0.0, "float.*whole number"),
        (True, "True"),
        (None, "NoneType"),
        ("1", "str"),
        (np.array([0, 1]), r"int64 array of shape \(2,\)"),
        (np.float32(1), "float32"),
    ],
)
def test_actions(phantoms: list[Case], action: Any, says: str) -> None:
    env = flipenv.parallel_env(phantoms, cache=False)
    env.reset(seed=0)
    with pytest.raises(ActionError, match=says) as error:
        env.step({"eraser_0": 0, "eraser_1": action})
    assert "eraser_1" in str(error.value)
    env.step({"eraser_0": 0, "eraser_1": np.int8(1)})
    single = flipenv.EraseEnv(phantoms, cache=False)
    single.reset()
    with pytest.raises(ActionError, match=says):
        single.step(action)


def test_actions_for_the_wrong_agents(phantoms: list[Case]) -> None:
    env = flipenv.parallel_env(phantoms, cache=False)
    env.reset()
    for actions in ({"eraser_0": 1}, {"eraser_0": 1, "eraser_1": 0, "eraser_2": 0}, {}):
        with pytest.raises(ActionError, match="eraser_1"):
            env.step(actions)


@pytest.mark.parametrize(
    ("actions", "says"),
    [
        (np.zeros(2, np.int64), r"shape \(2,\).*\(3,\)"),
        (np.zeros((3, 2), np.int64), r"shape \(3, 2\)"),
        (np.zeros(3), "dtype float64.*astype"),
        (np.array([0, 1, 4]), r"hold \[4\]"),
        (np.array([0, -1, 1]), r"hold \[-1\]"),
        (1, r"shape \(\)"),
    ],
)
def test_batched_actions(phantoms: list[Case], actions: Any, says: str) -> None:
    envs = flipenv.vector_env(3, phantoms, n_agents=2, cache=False, progress=False)
    envs.reset()
    with pytest.raises(ActionError, match=says):
        envs.step(actions)


def test_step_before_reset_and_after_the_end(phantoms: list[Case]) -> None:
    env = flipenv.parallel_env(phantoms, max_cycles=1, cache=False)
    for when in ("before reset", "after the end"):
        with pytest.raises(EpisodeError, match=when):
            env.step({"eraser_0": 0, "eraser_1": 0})
        env.reset()
        env.step({"eraser_0": 0, "eraser_1": 0})
    single = flipenv.EraseEnv(phantoms, max_cycles=1, cache=False)
    for when in ("before reset", "after the end"):
        with pytest.raises(EpisodeError, match=when):
            single.step(0)
        single.reset()
        single.step(0)
    envs = flipenv.vector_env(2, phantoms, cache=False, progress=False)
    with pytest.raises(EpisodeError, match="before reset"):
        envs.step(np.array([0, 0]))
    with pytest.raises(EpisodeError, match="before reset"):
        flipenv.parallel_env(phantoms, cache=False).state()
    with pytest.raises(EpisodeError, match="before reset"):
        flipenv.parallel_env(phantoms, cache=False, render_mode="rgb_array").render()


def test_vector_options(phantoms: list[Case]) -> None:
    with pytest.raises(ConfigError, match="num_envs=0"):
        flipenv.vector_env(0, phantoms, cache=False)
    envs = flipenv.vector_env(2, phantoms, cache=False, progress=False)
    with pytest.raises(ConfigError, match="seed has 3"):
        envs.reset(seed=[1, 2, 3])
    with pytest.raises(EpisodeError, match="first reset"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    envs.reset()
    for mask in (np.array([1, 0]), np.array([True]), np.array([False, False]), [True, False]):
        with pytest.raises(ConfigError, match="reset_mask"):
            envs.reset(options={"reset_mask": mask})
    with pytest.raises(SourceError, match="episode 99"):
        envs.reset(options={"case": [99, 0]})


@pytest.mark.parametrize(
    ("scorer", "says"),
    [
        (lambda canvases: np.zeros((len(canvases), 2), np.float32), r"shape \(1, 2\).*one nodule score"),
        (lambda canvases: np.full(len(canvases), 1.5, np.float32), r"1.5.*\[0, 1\]"),
        (lambda canvases: np.full(len(canvases), np.nan, np.float32), r"nan.*\[0, 1\]"),
    ],
)
def test_scorers(phantoms: list[Case], scorer: Any, says: str) -> None:
    with pytest.raises(ScorerError, match=says):
        flipenv.parallel_env(phantoms, scorer=scorer, cache=False).reset()


def test_every_error_is_a_value_error_of_one_family() -> None:
    for error in (BoxError, ImageError, MaskError, ConfigError, SourceError, ScorerError, ActionError, EpisodeError):
        assert issubclass(error, FlipError)
        assert issubclass(error, ValueError)


numbers = st.one_of(
    st.integers(-40, 120), st.floats(allow_nan=True, allow_infinity=True), st.none(), st.text(max_size=3)
)


@settings(max_examples=300, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 60),
    box=st.one_of(st.tuples(*[st.integers(-5, 65)] * 4), st.tuples(*[numbers] * 4), st.lists(numbers, max_size=6)),
    dtype=st.sampled_from(["uint8", "uint16", "float32", "bool"]),
    extra=st.sampled_from([(), (3,), (4,)]),
    options=st.fixed_dictionaries(
        {},
        optional={
            "margin": st.integers(-3, 40),
            "cell_area": st.sampled_from([0.5, 1.0, 9.0, 75.0, 1e9, float("nan")]),
            "window": st.sampled_from([0, 8, 31, 64]),
            "n_agents": st.integers(0, 5),
            "background": st.sampled_from(["eq1", "mirror", "inpaint", "none"]),
            "superpixels": st.sampled_from(["seeds", "slic", "grid", ""]),
            "channels": st.lists(st.sampled_from(["box", "erased", "superpixel", "nose"]), max_size=3),
            "traversals": st.integers(-1, 3),
            "colour": st.just("red"),
        },
    ),
    actions=st.lists(st.one_of(st.integers(-1, 2), st.none(), st.floats()), min_size=4, max_size=4),
)
def test_anything_at_all_works_or_raises_a_named_error(
    height: int,
    width: int,
    box: Any,
    dtype: str,
    extra: tuple[int, ...],
    options: dict[str, Any],
    actions: list[Any],
) -> None:
    image = (np.arange(height * width * (extra or (1,))[0]) % 251).reshape(height, width, *extra).astype(dtype)
    named = None
    try:
        env = flipenv.parallel_env(Case(image, box), config=SMALL, cache=False, **options)
        seen, _ = env.reset(seed=0)
        for action in actions:
            if env.agents:
                seen, *_ = env.step(dict.fromkeys(env.agents, action))
        assert all(picture in env.observation_space(agent) for agent, picture in seen.items())
        assert env.mask().shape == (height, width)
    except FlipError as error:
        named = error
    assert type(named) is not FlipError
    assert named is None or len(str(named)) > 20


def test_a_refused_step_changes_nothing(phantoms: list[Case]) -> None:
    env, other = (flipenv.parallel_env(phantoms, cache=False) for _ in range(2))
    env.reset(seed=3)
    other.reset(seed=3)
    with pytest.raises(ActionError):
        env.step({"eraser_0": 1, "eraser_1": 9})
    assert np.array_equal(
        env.step({"eraser_0": 1, "eraser_1": 1})[0]["eraser_0"],
        other.step(dict.fromkeys(other.agents, 1))[0]["eraser_0"],
    )
    assert dataclasses.asdict(env.config) == dataclasses.asdict(other.config)


def test_devices(phantoms: list[Case]) -> None:
    with pytest.raises(FlipError, match=r"device='no-such-device'.*(needs torch|cannot be used)"):
        flipenv.vector_env(2, phantoms, device="no-such-device", cache=False, progress=False)
