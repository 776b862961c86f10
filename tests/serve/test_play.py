"""Playing by hand: what a key does, what is counted, and the window with keys that a program presses."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest

import flipenv
from flipagents.cli import main
from flipagents.metrics import dice
from flipagents.serve.play import Game, told
from flipenv.config import EnvConfig
from flipenv.errors import FlipError
from flipenv.pool import EpisodePool
from flipenv.types import Case
from tests.conftest import SMALL


def a_pool(cases: list[Case], **options: Any) -> EpisodePool:
    config = EnvConfig.of({**SMALL, "n_agents": 1, "traversals": 1, "beta": 0.0, **options})
    return EpisodePool(cases, config, cache=False)


def everything(case: Case) -> np.ndarray:
    mask = np.zeros(case.image.shape, bool)
    mask[case.box.rows, case.box.columns] = True
    return mask


def test_an_episode_counts_as_the_environment_does(phantoms: list[Case]) -> None:
    pool = a_pool(phantoms)
    game, env = Game(pool, seed=4), flipenv.EraseEnv(pool)
    env.reset(seed=4)
    rng, total, ended, steps, info = np.random.default_rng(0), 0.0, False, 0, {}
    while not ended:
        action = int(rng.integers(2))
        _, reward, terminated, truncated, info = env.step(action)
        assert game.act(action) == (terminated or truncated)
        total, ended, steps = total + reward, terminated or truncated, steps + 1
    mine, best = game.results
    np.testing.assert_array_equal(mine.mask, env.mask())
    assert (mine.name, mine.reward, mine.erased, mine.steps) == ("you", total, info["area"], steps)
    assert mine.dice == dice(env.mask(), game.case.mask)
    assert best.name == "true mask"
    assert best.dice > max(0.7, mine.dice)
    assert not game.act(1)  # over
    assert len(game.results) == 2


def test_rivals_play_the_same_case_by_the_same_rules(phantoms: list[Case]) -> None:
    rivals = {"all": everything, "none": lambda case: np.zeros(case.image.shape, bool)}
    game = Game(a_pool(phantoms), rivals=rivals, seed=1)
    while not game.act(1):
        pass
    mine, everyone, nobody, best = game.results
    assert [each.name for each in game.results] == ["you", "all", "none", "true mask"]
    np.testing.assert_array_equal(mine.mask, everyone.mask)
    assert (mine.reward, mine.steps, mine.erased) == (everyone.reward, everyone.steps, everyone.erased)
    assert mine.erased == 1
    assert (nobody.erased, nobody.dice, nobody.mask.any()) == (0, 0, False)
    assert best.steps == mine.steps
    lines = told(game.results).splitlines()
    assert lines[0].split() == ["Dice", "erased", "reward", "steps"]
    assert lines[3].split() == ["none", "0.000", "0%", f"{nobody.reward:+.1f}", str(nobody.steps)]


def test_the_tag_that_flips_ends_it(phantoms: list[Case]) -> None:
    def until_half(canvases: Any) -> Any:
        return np.where(canvases[:, 40, 40] == start, 0.9, 0.1).astype(np.float32)

    pool = a_pool(phantoms, beta=0.5)
    start = pool.episode(0).image[40, 40]
    game = Game(pool, until_half)
    game.again()
    game._start(case=0)
    while not game.act(1):
        pass
    assert game.results[0].flipped
    assert 0 < game.results[0].erased < 1


def test_again_is_the_same_case_and_another_is_drawn(phantoms: list[Case]) -> None:
    game = Game(a_pool(phantoms), seed=3)
    first = game.case.id
    before = game.render()
    game.act(1)
    assert not np.array_equal(game.render(), before)
    game.again()
    assert game.case.id == first
    np.testing.assert_array_equal(game.render(), before)
    ids = []
    for _ in range(8):
        game.another()
        ids.append(game.case.id)
    same = Game(a_pool(phantoms), seed=3)
    for each in ids:
        same.another()
        assert same.case.id == each
    assert len(set(ids)) > 1


def test_without_a_true_mask_there_is_no_dice(phantoms: list[Case]) -> None:
    bare = [Case(case.image, case.box, id=case.id) for case in phantoms]
    game = Game(a_pool(bare), rivals={"all": everything}, seed=0)
    while not game.act(1):
        pass
    assert [each.name for each in game.results] == ["you", "all"]
    assert all(math.isnan(each.dice) for each in game.results)
    assert told(game.results).splitlines()[1].split()[1] == "-"


@pytest.mark.parametrize("agents", [1, 2])
def test_pictures_have_one_size(phantoms: list[Case], agents: int) -> None:
    game = Game(a_pool(phantoms, n_agents=agents), rivals={"all": everything}, seed=0)
    frames = [game.render()]
    while not game.act(1):
        frames.append(game.render())
    frames.append(game.render())
    assert len({frame.shape for frame in frames}) == 1
    assert frames[0].dtype == np.uint8
    assert not np.array_equal(frames[-1], frames[-2])


def test_two_agents_have_keys_of_their_own(phantoms: list[Case]) -> None:
    game = Game(a_pool(phantoms, n_agents=2), seed=0)
    assert game.keys == {("p",): 0, (" ",): 3, ("1",): 1, ("2",): 2}
    four = flipenv.EraseEnv(a_pool(phantoms, n_agents=4)).get_keys_to_action()
    assert four["1", "3"] == 0b0101
    assert sorted(four.values()) == [*range(16), 15]


def press(pygame: Any, keys: list[int]) -> None:
    """Queue presses of keys for the window, and that it is closed."""
    pygame.display.init()
    for key in keys:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
        pygame.event.post(pygame.event.Event(pygame.KEYUP, key=key))
    pygame.event.post(pygame.event.Event(pygame.QUIT))


def test_the_window_takes_one_step_a_press(phantoms: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame")
    from flipagents.serve.play_window import show

    game, acted, ended = Game(a_pool(phantoms), seed=2), [], []
    act, steps = game.act, game.pool.episode(game._index).order.shape[1]
    monkeypatch.setattr(game, "act", lambda action: acted.append(action) or act(action))
    keys = [pygame.K_SPACE, pygame.K_RIGHT, pygame.K_p, pygame.K_x, pygame.K_r] + [pygame.K_SPACE] * steps
    press(pygame, [*keys, pygame.K_SPACE])
    show(game, ended.append)
    assert acted == [1, 0, 0] + [1] * (steps + 1)
    assert [[each.name for each in results] for results in ended] == [["you", "true mask"]]
    assert ended[0][0].steps == steps
    assert not pygame.display.get_init()


def test_the_next_case_and_the_way_out(phantoms: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame")
    from flipagents.serve.play_window import show

    game, drawn = Game(a_pool(phantoms), seed=2), []
    monkeypatch.setattr(game, "another", lambda: drawn.append(1))
    press(pygame, [pygame.K_n, pygame.K_ESCAPE, pygame.K_n])
    show(game, lambda results: None)
    assert drawn == [1]


def test_without_a_screen(phantoms: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame")
    from flipagents.serve.play_window import show

    def none(*_: Any, **__: Any) -> None:
        raise pygame.error("No available video device")

    monkeypatch.setattr("pygame.display.set_mode", none)
    with pytest.raises(
        FlipError, match=r"cannot open a window \(No available video device\); flip play needs a screen"
    ):
        show(Game(a_pool(phantoms)), lambda results: None)


def test_gymnasiums_own_play_knows_the_keys(phantoms: list[Case]) -> None:
    pygame = pytest.importorskip("pygame")
    from gymnasium.utils.play import play

    env = flipenv.EraseEnv(a_pool(phantoms), render_mode="rgb_array")
    taken: list[tuple[int, bool]] = []

    def note(before: Any, after: Any, action: int, reward: float, ended: bool, cut: bool, info: dict[str, Any]) -> None:
        taken.append((action, info["changed"].item()))
        pygame.event.post(pygame.event.Event(pygame.QUIT))

    pygame.display.init()
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_SPACE))
    play(env, callback=note, wait_on_player=True, seed=0, fps=60)
    assert taken == [(1, True)]


WORDS = ["play", "--data", "phantom:2?height=80&width=112", "--seed", "0", "--cell-area", "900"]


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    pygame = pytest.importorskip("pygame")
    pytest.importorskip("onnxruntime", reason="the shipped weights run")
    press(pygame, [pygame.K_SPACE] * 40)
    assert main(WORDS) == 0
    out = capsys.readouterr().out
    assert out.startswith("phantom-000")
    names = [line.split("  ")[0] for line in out.splitlines()[2:] if line]
    assert names == ["you", "flip", "contour", "true mask"]


def test_command_without_a_library_for_networks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pygame = pytest.importorskip("pygame")
    from flipenv.errors import MissingDependencyError

    def missing(*_: Any, **__: Any) -> None:
        raise MissingDependencyError("method 'flip' needs torch")

    monkeypatch.setattr("flipagents.compare.ours.Flip", missing)
    press(pygame, [pygame.K_SPACE] * 40)
    assert main(WORDS) == 0
    captured = capsys.readouterr()
    assert captured.err == ("flip play: the contrast scores, and nobody plays against you: method 'flip' needs torch\n")
    assert [line.split("  ")[0] for line in captured.out.splitlines()[2:] if line] == ["you", "true mask"]


def test_command_without_pygame(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    assert main(WORDS) == 2
    assert "flip play needs the package 'pygame', which is not installed: pip install flip-learning[render]" in (
        capsys.readouterr().err
    )
