"""Lanes of episodes that run in parallel: the only stateful part, shared by all views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace

from flipenv import core
from flipenv.config import EnvConfig
from flipenv.episode import mask_on_image
from flipenv.errors import ConfigError, MissingDependencyError, ScorerError, SourceError
from flipenv.observation import erased_pixels, observe
from flipenv.pool import EpisodePool
from flipenv.scorer import ContrastScorer, Scorer
from flipenv.sources import SourceLike
from flipenv.types import Array, Episodes, State, Transition


def to_numpy(array: Array) -> npt.NDArray[Any]:
    """Copy an array of any library and device to NumPy memory."""
    return np.array(array.cpu().numpy() if hasattr(array, "cpu") else array)


class Batch:
    """B lanes, each with its own random stream, episode and state.

    Lane i of a batch seeded with s plays the same episodes as a single lane seeded with s + i. A batch of one prepares
    episodes when they are drawn; a larger one prepares its whole pool at the start and keeps it on its device.

    pool: an `EpisodePool`, or a source to make one from.
    scorer: computes the nodule score; "contrast" for the analytic one, None for none (then beta must be None).
    device: None for NumPy arrays, else a torch device ("cpu", "cuda").
    cache: where prepared episodes are kept: True for the default folder, a folder, or False.
    config, options: an `EnvConfig`, or a mapping of its fields, and changes to it.
    """

    def __init__(
        self,
        pool: EpisodePool | SourceLike,
        n_lanes: int = 1,
        *,
        scorer: Scorer | str | None = "contrast",
        config: EnvConfig | Mapping[str, Any] | None = None,
        device: str | None = None,
        cache: bool | str | Path = True,
        workers: int | None = None,
        progress: bool = True,
        **options: Any,
    ) -> None:
        if isinstance(pool, EpisodePool):
            given, own = EnvConfig.of(pool.config if config is None else config, **options), pool.config
            if given != own:
                mine, theirs = given.to_dict(), own.to_dict()
                other = ", ".join(f"{name}={mine[name]!r}" for name in mine if mine[name] != theirs[name])
                raise ConfigError(
                    f"{other}: the EpisodePool, which prepares the episodes, was made with others; pass options to "
                    "EpisodePool(source, config), or use pool.config, where a theta of 'auto' is a number"
                )
            self.pool = pool
        else:
            self.pool = EpisodePool(pool, EnvConfig.of(config, **options), cache=cache)
        self.config = self.pool.config
        self.scorer = _scorer(scorer, self.config)
        self.n_lanes = n_lanes
        self.device = _device(device)
        self._all: Episodes | None = None
        if n_lanes > 1:
            self._all = self._place(self.pool.prepare_all(workers=workers, progress=progress))
        self.first_scores: dict[int, float] = {}
        self.generators = [np.random.default_rng() for _ in range(n_lanes)]
        self.drawn = np.full(n_lanes, -1, np.int64)  # episode of the pool in each lane
        self.episodes: Episodes | None = None
        self.state: State | None = None

    def seed(self, seeds: int | Sequence[int | None] | None) -> None:
        """Restart the random streams: an int seeds lane i with seed + i; None leaves a lane's stream unchanged."""
        per_lane = [seeds + lane for lane in range(self.n_lanes)] if isinstance(seeds, int) else seeds
        for lane, seed in enumerate(per_lane or []):
            if seed is not None:
                self.generators[lane] = np.random.default_rng(int(seed))

    def reset(self, lanes: Sequence[int] | None = None, cases: Sequence[str | int | None] | None = None) -> None:
        """Start new episodes in `lanes` (default: all), drawn uniformly or given by case id or index (None: drawn)."""
        chosen = list(range(self.n_lanes)) if lanes is None or self.state is None else list(lanes)
        wanted = cases if cases is not None else [None] * len(chosen)
        for lane, case in zip(chosen, wanted, strict=True):
            self.drawn[lane] = self._index(lane, case)
        rows = self._rows(self.drawn[chosen])
        state = core.reset(rows, self._initial(rows, self.drawn[chosen]), self.config)
        if self.state is None or len(chosen) == self.n_lanes:
            self.episodes, self.state = rows, state
            return
        for name, array in vars(rows).items():
            getattr(self.episodes, name)[chosen] = array  # these arrays are not shared
        self.state = State(
            **{name: _with_rows(array, chosen, vars(state)[name]) for name, array in vars(self.state).items()}
        )

    def step(self, actions: Array) -> Transition:
        """Let every agent of every lane act, actions (B, A); lanes that have ended are unchanged."""
        transition = core.step(self.episodes, self.state, actions, self.scorer, self.config)  # type: ignore[arg-type]
        self.state = transition.state
        return transition

    def advance(self, actions: Array) -> State:
        """`step` without rewards: return the new state."""
        self.state = core.advance(self.episodes, self.state, actions, self.scorer, self.config)  # type: ignore[arg-type]
        return self.state

    def observation(self) -> Array:
        """What each agent sees now, (B, A, C, P, P) uint8."""
        return observe(self.episodes, self.state, self.config)  # type: ignore[arg-type]

    def erased(self) -> Array:
        """Erased pixels of each canvas, (B, H, W) bool."""
        return erased_pixels(self.state.erased, self.episodes.labels)  # type: ignore[union-attr]

    def mask(self, lane: int = 0) -> npt.NDArray[np.bool_]:
        """The segmentation so far in pixels of the lane's own image, (height, width) bool."""
        geometry = self.pool.episode(int(self.drawn[lane])).geometry
        only = slice(lane, lane + 1)
        erased = erased_pixels(self.state.erased[only, ...], self.episodes.labels[only, ...])  # type: ignore[union-attr]
        return mask_on_image(to_numpy(erased[0, ...]), geometry)

    def _index(self, lane: int, case: str | int | None) -> int:
        if case is None:
            return int(self.generators[lane].integers(len(self.pool)))
        if isinstance(case, str):
            return self.pool.index(case)
        if not 0 <= case < len(self.pool):
            raise SourceError(f"episode {case} does not exist; expected 0 to {len(self.pool) - 1}, or a case id")
        return int(case)

    def _rows(self, indices: npt.NDArray[np.int64]) -> Episodes:
        if self._all is None:
            return self._place(self.pool.rows([int(index) for index in indices]))
        return Episodes(**{name: array[indices] for name, array in vars(self._all).items()})

    def _place(self, episodes: Episodes) -> Episodes:
        return Episodes(**{name: self._put(array) for name, array in vars(episodes).items()})

    def _put(self, array: npt.NDArray[Any]) -> Array:
        if self.device is None:
            return array
        from array_api_compat import torch  # noqa: PLC0415

        return torch.asarray(array).to(self.device)

    def _initial(self, rows: Episodes, indices: npt.NDArray[np.int64]) -> Array:
        """First scores of these episodes (B,) float32; each episode of the pool is scored once."""
        new = [lane for lane, index in enumerate(indices) if int(index) not in self.first_scores]
        if new:
            fresh = rows if len(new) == len(indices) else Episodes(**{k: v[new] for k, v in vars(rows).items()})
            scores = to_numpy(core.first_score(fresh, self.scorer))
            if self.scorer is not None and not ((scores >= 0) & (scores <= 1)).all():
                raise ScorerError(
                    f"scorer {self.scorer!r} returned {scores.tolist()}; expected nodule scores in [0, 1]"
                )
            self.first_scores.update(zip((int(indices[lane]) for lane in new), scores.tolist(), strict=True))
        return self._put(np.array([self.first_scores[int(index)] for index in indices], np.float32))


def _with_rows(array: Array, lanes: list[int], rows: Array) -> Array:
    """Copy of an array with some rows replaced; the caller may still hold a transition with the old one."""
    copy = array_namespace(array).asarray(array, copy=True)
    copy[lanes] = rows
    return copy


def _device(device: str | None) -> str | None:
    if device is None:
        return None
    try:
        from array_api_compat import torch  # noqa: PLC0415

        torch.asarray([0]).to(device)
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f"device={device!r} needs torch: pip install 'flip-learning[torch]', or device=None for NumPy arrays"
        ) from None
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device={device!r} cannot be used: {error}") from None
    return device


def _scorer(scorer: Scorer | str | None, config: EnvConfig) -> Scorer | None:
    if scorer is None and config.beta is not None:
        raise ConfigError(f"scorer=None with beta={config.beta}: without a scorer no tag can flip; set beta=None")
    if isinstance(scorer, str):
        if scorer != "contrast":
            raise ConfigError(f"scorer={scorer!r}; expected 'contrast', None, or a function of canvases (B, H, W)")
        return ContrastScorer()
    return scorer
