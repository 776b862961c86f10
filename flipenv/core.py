"""Reset and step: pure, batched, and the same code for every array library.

No randomness, no in-place writes, no loop over episodes. Views convert dicts to arrays and call these two functions.
"""

from __future__ import annotations

from array_api_compat import array_namespace, device

from flipenv.arrays import pick
from flipenv.config import EnvConfig
from flipenv.done import terminated, truncated
from flipenv.errors import ScorerError
from flipenv.observation import look, positions
from flipenv.reward import REWARDS, Outcome, csr, idr
from flipenv.scorer import Scorer
from flipenv.types import Array, Episodes, State, Transition


def reset(episodes: Episodes, score: Array, config: EnvConfig) -> State:
    """Return the initial state, with nothing erased; `score` (B,) comes from `first_score`."""
    xp = array_namespace(episodes.image)
    batch, superpixels, bins = episodes.histograms.shape
    on = device(episodes.image)
    step = xp.zeros((batch,), dtype=xp.int32, device=on)
    never = xp.zeros((batch,), dtype=xp.bool, device=on)
    here = positions(episodes, step)
    frame = look(episodes, episodes.image, here, config)
    return State(
        canvas=episodes.image,
        erased=xp.zeros((batch, superpixels), dtype=xp.bool, device=on),
        histogram=xp.zeros((batch, bins), dtype=xp.int64, device=on),
        score=score,
        frames=xp.stack([frame] * config.history, axis=1),
        step=step,
        here=here,
        terminated=never,
        truncated=never,
    )


def first_score(episodes: Episodes, scorer: Scorer | None) -> Array:
    """Score of the untouched canvases, (B,) float32; NaN without a scorer."""
    xp = array_namespace(episodes.image)
    batch = episodes.image.shape[0]
    if scorer is None:
        return xp.full((batch,), xp.nan, dtype=xp.float32, device=device(episodes.image))
    return _ask(scorer, episodes.image)


def step(episodes: Episodes, state: State, actions: Array, scorer: Scorer | None, config: EnvConfig) -> Transition:
    """Let every agent pass (0) or erase (1) its current superpixel; actions (B, A).

    An episode that has ended is left unchanged, with reward 0. Without a scorer the classification reward is 0.
    """
    xp = array_namespace(state.canvas)
    new, changed, before, after, own = _move(episodes, state, actions, scorer, config)
    by_score = xp.zeros_like(before) if scorer is None else csr(before, after, config)
    by_intensity = idr(state.histogram, own, episodes.deviation_gain, changed, config)
    outcome = Outcome(episodes, state, new, state.here, changed, before, after, by_score, by_intensity)
    reward = REWARDS[config.reward](outcome, config)
    live = ~(state.terminated | state.truncated)
    return Transition(
        state=new,
        reward=xp.where(live[:, None], reward, xp.zeros_like(reward)),
        csr=by_score,
        idr=by_intensity,
        changed=changed,
    )


def advance(episodes: Episodes, state: State, actions: Array, scorer: Scorer | None, config: EnvConfig) -> State:
    """The state after `step`, without computing rewards."""
    return _move(episodes, state, actions, scorer, config)[0]


def _move(
    episodes: Episodes, state: State, actions: Array, scorer: Scorer | None, config: EnvConfig
) -> tuple[State, Array, Array, Array, Array]:
    """Return the new state, which erasures changed something (B, A) bool, and the inputs of the reward.

    These are the scores before and after (B, A), see `_judge`, and the histograms of the agents' superpixels (B, A, K).
    """
    xp = array_namespace(state.canvas)
    here = state.here
    live = ~(state.terminated | state.truncated)
    changed = (actions == 1) & ~pick(state.erased, here) & live[:, None]
    canvas, before, after, score = _judge(episodes, state, here, changed, scorer, config)
    count = state.step + xp.astype(live, xp.int32)
    next_here = positions(episodes, count)
    frame = look(episodes, canvas, next_here, config)
    frames = xp.concat([state.frames[:, 1:, ...], frame[:, None, ...]], axis=1)
    own = xp.astype(pick(episodes.histograms, here), xp.int64)
    new = State(
        canvas=canvas,
        erased=state.erased | _marked(here, changed, state.erased),
        histogram=state.histogram + _counted(own, here, changed),
        score=score,
        frames=xp.where(xp.reshape(live, (-1, 1, 1, 1, 1, 1)), frames, state.frames),
        step=count,
        here=next_here,
        terminated=state.terminated | terminated(score, config),
        truncated=state.truncated | truncated(count, episodes, config),
    )
    return new, changed, before, after, own


def _judge(
    episodes: Episodes, state: State, here: Array, changed: Array, scorer: Scorer | None, config: EnvConfig
) -> tuple[Array, Array, Array, Array]:
    """Return the new canvas, each agent's scores before and after (B, A), and the new score (B,).

    `joint`: every agent gets the joint change. `sequential`: agents erase in turn and each gets its own change.
    `counterfactual`: each is compared with the canvas that the others would have produced without it.
    """
    xp = array_namespace(state.canvas)
    agents = changed.shape[1]
    target = xp.where(changed, here, xp.full_like(here, -2))  # -2 matches no label
    hits = [episodes.labels == target[:, agent, None, None] for agent in range(agents)]

    def erase(by: list[int]) -> Array:
        hit = hits[by[0]]
        for agent in by[1:]:
            hit = hit | hits[agent]
        return xp.where(hit, episodes.background, state.canvas)

    everyone = list(range(agents))
    canvas = erase(everyone)
    if scorer is None:
        unknown = xp.broadcast_to(state.score[:, None], tuple(changed.shape))
        return canvas, unknown, unknown, state.score
    any_changed = xp.any(changed, axis=1)
    if config.credit == "joint" or agents == 1:
        (score,) = _rescore(scorer, [canvas], [any_changed], [state.score])
        shape = tuple(changed.shape)
        return canvas, xp.broadcast_to(state.score[:, None], shape), xp.broadcast_to(score[:, None], shape), score
    if config.credit == "sequential":
        steps = [*(erase(everyone[: agent + 1]) for agent in everyone[:-1]), canvas]
        moved = [changed[:, agent] for agent in everyone]
        scores = [state.score]
        for mine, answer in zip(moved, _rescore(scorer, steps, moved, [state.score] * agents), strict=True):
            scores.append(xp.where(mine, answer, scores[-1]))
        return canvas, xp.stack(scores[:-1], axis=1), xp.stack(scores[1:], axis=1), scores[-1]
    total = xp.sum(xp.astype(changed, xp.int8), axis=1, dtype=xp.int8)
    alone = [erase([other for other in everyone if other != agent]) for agent in everyone]
    requested = [changed[:, agent] & (total > 1) for agent in everyone]
    *answers, score = _rescore(scorer, [*alone, canvas], [*requested, any_changed], [state.score] * (agents + 1))
    without = [xp.where(changed[:, agent], answers[agent], score) for agent in everyone]
    return canvas, xp.stack(without, axis=1), xp.stack([score] * agents, axis=1), score


def _rescore(scorer: Scorer, canvases: list[Array], requested: list[Array], score: list[Array]) -> list[Array]:
    """Score (B,) of each canvas (B, H, W), in one call; lanes not requested keep the given score, at no cost."""
    xp = array_namespace(requested[0])
    which = xp.concat(requested)
    (index,) = xp.nonzero(which)
    if index.shape[0] == 0:
        return score
    pictures = xp.concat(canvases) if len(canvases) > 1 else canvases[0]
    if index.shape[0] < pictures.shape[0]:
        pictures = xp.take(pictures, index, axis=0)
    answers = _ask(scorer, pictures)
    place = xp.cumulative_sum(xp.astype(which, xp.int64)) - 1
    spread = xp.where(which, xp.take(answers, xp.clip(place, 0, None), axis=0), xp.concat(score))
    batch = requested[0].shape[0]
    return [spread[start : start + batch] for start in range(0, spread.shape[0], batch)]


def _ask(scorer: Scorer, pictures: Array) -> Array:
    scores = scorer(pictures)
    if tuple(scores.shape) != (pictures.shape[0],):
        raise ScorerError(
            f"scorer {scorer!r} returned shape {tuple(scores.shape)} for canvases {tuple(pictures.shape)}; "
            f"expected one nodule score per canvas: ({pictures.shape[0]},)"
        )
    return scores


def _marked(here: Array, changed: Array, erased: Array) -> Array:
    """Superpixels erased in this step, (B, S) bool."""
    xp = array_namespace(erased)
    superpixel = xp.arange(erased.shape[1], dtype=here.dtype, device=device(erased))
    return xp.any((superpixel == here[:, :, None]) & changed[:, :, None], axis=1)


def _counted(own: Array, here: Array, changed: Array) -> Array:
    """Cumulative histogram (B, K) of the pixels erased in this step; two agents on one superpixel count it once.

    own (B, A, K) int64 is the histogram of each agent's superpixel.
    """
    xp = array_namespace(changed)
    agents = changed.shape[1]
    first = changed
    if agents > 1:
        same = (here[:, :, None] == here[:, None, :]) & changed[:, None, :]
        earlier = xp.tril(xp.ones((agents, agents), dtype=xp.int8, device=device(changed)), k=-1) == 1
        first = changed & ~xp.any(same & earlier, axis=2)
    return xp.sum(own * xp.astype(first, xp.int64)[:, :, None], axis=1)
