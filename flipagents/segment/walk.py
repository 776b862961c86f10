"""One walk of the agents, recorded step by step for pictures and films."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flipagents.metrics import dice
from flipagents.segment.segmenter import Segmenter, walking
from flipenv.batch import Batch, to_numpy
from flipenv.episode import mask_on_canvas
from flipenv.pictures.render import Rgb, Scene, draw
from flipenv.pictures.viewer import Viewer
from flipenv.pixels import Mask
from flipenv.pool import EpisodePool
from flipenv.scorer import Scorer
from flipenv.types import Case

FRAMES = 80  # approximate number in a film; an episode has hundreds of steps


@dataclass(frozen=True, eq=False)
class Recording:
    """One walk of the last stage."""

    scene: Scene  # at the end, with erased shares, and scores if there was a scorer, after each step
    frames: Sequence[Rgb]  # (h, w, 3) uint8; empty unless requested
    mask: Mask  # (height, width) of the image, erased by this walk


def scenes(
    segmenter: Segmenter, case: Case, *, scorer: Scorer | None = None, truth: Mask | None = None
) -> Iterator[Scene]:
    """Walk all stages on one case, the last as in the segmenter's first vote: about FRAMES scenes of the last stage.

    The first scene is before its first step, the last at its end. truth: (height, width) bool, drawn, and compared with
    the erased pixels after each step, on the canvas.
    """
    for scene, _ in _walk(segmenter, case, scorer, truth):
        yield scene


def record(
    segmenter: Segmenter, case: Case, *, scorer: Scorer | None = None, film: bool = False, truth: Mask | None = None
) -> Recording:
    """Keep the last of the `scenes`, and with `film` a picture of each.

    The final mask averages more votes and is post-processed; the recording shows what one walk erases.
    """
    walked = list(_walk(segmenter, case, scorer, truth))
    last, batch = walked[-1]
    return Recording(last, [draw(scene) for scene, _ in walked] if film else [], batch.mask(0))


def _walk(segmenter: Segmenter, case: Case, scorer: Scorer | None, truth: Mask | None) -> Iterator[tuple[Scene, Batch]]:
    """Yield `scenes`, each with the batch."""
    agent = segmenter.stages[-1]
    informed = segmenter.before_last([segmenter.informed(case)])
    pool = EpisodePool(informed, walking(agent.env, **segmenter.recipe.votes[0]), cache=False)
    batch = Batch(pool, 1, scorer=scorer, device=agent.batch_device, progress=False)
    viewer = Viewer(batch, "rgb_array")
    batch.reset(cases=[0])
    shown = None if truth is None else mask_on_canvas(truth, pool.episode(0).geometry, pool.config.canvas)
    dices: list[float] = []

    def scene() -> Scene:
        return dataclasses.replace(viewer.scene(), truth=shown, dices=list(dices))

    def note() -> None:
        viewer.record()
        if shown is not None:
            dices.append(dice(to_numpy(batch.erased()[0]), shown))

    note()
    first = scene()
    yield first, batch
    every = math.ceil(first.steps / FRAMES)
    ended = False
    while not ended:
        state = batch.advance(agent.act(batch))
        note()
        ended = bool(state.terminated[0] | state.truncated[0])
        if ended or int(state.step[0]) % every == 0:
            yield scene(), batch
