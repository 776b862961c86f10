"""The environment for one's own hands: one episode by keys, then what the trained pipeline makes of the same case."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from flipagents.metrics import dice
from flipenv.episode import mask_on_canvas
from flipenv.pictures.render import BACKDROP, MARGIN, QUIET, TEXT, Colour, Rgb, overlay
from flipenv.pixels import Mask
from flipenv.pool import EpisodePool
from flipenv.scorer import Scorer
from flipenv.single import EraseEnv
from flipenv.types import Box, Case

YOU, BEST = "you", "true mask"
Segment = Callable[[Case], Mask]
RULE = "The others erase each superpixel that lies mostly inside their mask, by the same rules."
STRIP = 34  # px, height of the line below the picture
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, eq=False)
class Result:
    """One played episode."""

    name: str  # who played
    mask: Mask  # (height, width) of the image, what was erased
    dice: float  # NaN if the case has no true mask
    erased: float  # share of the area
    reward: float  # sum over steps and agents
    steps: int
    flipped: bool  # whether the tag flipped before the walk was over


class _Turns:
    """An environment with the sums of its running episode."""

    def __init__(self, env: EraseEnv) -> None:
        self.env = env
        self.reward, self.steps, self.erased = 0.0, 0, 0.0
        self.flipped = False
        self.superpixels: Sequence[int] = ()  # where the agents stand

    def reset(self, seed: int | None = None, case: int | None = None) -> int:
        """Start an episode; return its index in the pool."""
        _, info = self.env.reset(seed=seed, options={"case": case})
        self.reward, self.steps, self.erased = 0.0, 0, 0.0
        self.superpixels = info["superpixel"].tolist()
        return int(info["case"])

    def step(self, action: int) -> bool:
        """Take a step; return whether the episode has ended."""
        _, reward, terminated, truncated, info = self.env.step(action)
        self.reward += reward
        self.steps += 1
        self.erased = float(info["area"])
        self.superpixels, self.flipped = info["superpixel"].tolist(), terminated
        return terminated or truncated

    def result(self, name: str, truth: Mask | None) -> Result:
        """What has come of the episode."""
        mask = self.env.mask()
        score = math.nan if truth is None else dice(mask, truth)
        return Result(name, mask, score, self.erased, self.reward, self.steps, self.flipped)


class Game:
    """One case after another, each played by a person; the environment draws and pays.

    pool: its episodes. scorer: as for the environment. rivals: methods by name that segment the case when the episode
    has ended. seed: of the first case; those after it follow from its random stream.
    """

    render_mode = "rgb_array"  # as Gymnasium's window asks

    def __init__(
        self,
        pool: EpisodePool,
        scorer: Scorer | str = "contrast",
        rivals: Mapping[str, Segment] | None = None,
        seed: int | None = None,
    ) -> None:
        self.pool, self.rivals = pool, dict(rivals or {})
        self.env = EraseEnv(pool, scorer=scorer, render_mode=self.render_mode)
        self.keys = {key: action for key, action in self.env.get_keys_to_action().items() if len(key) == 1}
        self._mine, self._theirs = _Turns(self.env), _Turns(EraseEnv(pool, scorer=scorer))
        self.results: list[Result] = []  # of the ended episode, one's own first; empty while it runs
        self._start(seed=seed)

    def act(self, action: int) -> bool:
        """One step, bit k of the action for agent k; nothing once the episode has ended. Return whether it ends now."""
        if self.results or not self._mine.step(action):
            return False
        masks = {name: segment(self.case) for name, segment in self.rivals.items()}
        if self.case.mask is not None:
            masks[BEST] = self.case.mask
        self.results = [self._mine.result(YOU, self.case.mask)]
        self.results += [self._replayed(name, mask) for name, mask in masks.items()]
        return True

    def again(self) -> None:
        """Start the same case from the beginning."""
        self._start(case=self._index)

    def another(self) -> None:
        """Start a case drawn from the source."""
        self._start()

    def render(self) -> Rgb:
        """The picture of the step, or of the results, above the keys and the reward so far.

        (h, w, 3) uint8, of one size for all steps and cases.
        """
        picture = self.env.render()
        assert picture is not None
        keys = "r again   n another case   Esc quit"
        if self.results:
            shown = [result for result in self.results if result.name != BEST]
            picture = compared(self.case, shown, (picture.shape[0], picture.shape[1]))
        else:
            keys = f"space erase   right pass   {'1 2 one agent erases   ' * (len(self.keys) > 3)}{keys}"
        strip = np.full((STRIP, picture.shape[1], 3), BACKDROP, np.uint8)
        _write(strip, keys, (MARGIN, 18), QUIET, 0.45)
        _write(strip, f"reward {self._mine.reward:+.1f}", (picture.shape[1] - 120, 18), TEXT, 0.5)
        return np.concatenate([picture, strip])

    def _start(self, *, seed: int | None = None, case: int | None = None) -> None:
        self._index = self._mine.reset(seed, case)
        self.case = self.pool.source.load(self._index // self.pool.config.variants)
        self.results = []

    def _replayed(self, name: str, mask: Mask) -> Result:
        """The same episode, in which a mask tells which superpixels to erase: those that are mostly inside it."""
        episode, turns = self.pool.episode(self._index), self._theirs
        seen = mask_on_canvas(mask, episode.geometry, self.pool.config.canvas)
        inside = [bool(seen[episode.labels == label].mean() > 0.5) for label in range(episode.n_superpixels)]
        turns.reset(case=self._index)
        while not turns.step(sum(inside[at] << agent for agent, at in enumerate(turns.superpixels))):
            pass
        return turns.result(name, self.case.mask)


def told(results: Sequence[Result]) -> str:
    """The results as a table."""
    lines = [f"{'':<12}{'Dice':>7}{'erased':>9}{'reward':>9}{'steps':>7}"]
    for each in results:
        score = "-" if math.isnan(each.dice) else f"{each.dice:.3f}"
        lines.append(f"{each.name:<12}{score:>7}{each.erased:>9.0%}{each.reward:>+9.1f}{each.steps:>7}")
    return "\n".join(lines)


def compared(case: Case, results: Sequence[Result], size: tuple[int, int]) -> Rgb:
    """The masks beside each other around the box, the true one dashed, one's own first; (h, w, 3) uint8 of `size`."""
    height, width = size
    picture = np.full((height, width, 3), BACKDROP, np.uint8)
    mine = results[0]
    end = "the tag flipped" if mine.flipped else "the walk was over"
    _write(picture, f"{case.id}: {end} after {mine.steps} steps", (MARGIN, 34), TEXT, 0.6)
    across = (width - MARGIN) // max(2, len(results)) - MARGIN
    part = _around(case)
    scale = min(across / part.width, (height - 170) / part.height)
    shape = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
    truth = None if case.mask is None else _cut(case.mask, part, shape, cv2.INTER_NEAREST) > 0
    image = _cut(case.image, part, shape, cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    for number, each in enumerate(results):
        left, top = MARGIN + number * (across + MARGIN), 58
        mask = _cut(each.mask, part, shape, cv2.INTER_NEAREST) > 0
        picture[top : top + shape[1], left : left + shape[0]] = overlay(image, mask, truth=truth)
        below = top + shape[1]
        score = "" if math.isnan(each.dice) else f"   Dice {each.dice:.3f}"
        _write(picture, f"{each.name}{score}", (left, below + 26), TEXT, 0.55)
        _write(picture, f"erased {each.erased:.0%}   reward {each.reward:+.1f}", (left, below + 50), QUIET, 0.48)
    if len(results) > 1:
        _write(picture, RULE, (MARGIN, height - 24), QUIET, 0.48)
    return picture


def _around(case: Case) -> Box:
    """The box with a quarter of its long side around it, inside the image."""
    box, (height, width) = case.box, case.image.shape
    more = max(box.height, box.width) // 4
    return Box(
        max(0, box.top - more),
        max(0, box.left - more),
        min(height, box.bottom + more),
        min(width, box.right + more),
    )


def _cut(pixels: Mask | Rgb, part: Box, size: tuple[int, int], interpolation: int) -> Rgb:
    return np.asarray(
        cv2.resize(np.asarray(pixels, np.uint8)[part.rows, part.columns], size, interpolation=interpolation), np.uint8
    )


def _write(picture: Rgb, text: str, place: tuple[int, int], colour: Colour, size: float) -> None:
    plain = text.encode("ascii", "replace").decode()  # all that this font has
    cv2.putText(picture, plain, place, FONT, size, colour, 1, cv2.LINE_AA)
