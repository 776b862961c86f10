"""All episodes of a source under a config: prepared on demand or all in advance, and kept."""

from __future__ import annotations

import dataclasses
import math
import os
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from flipenv.background import BACKGROUNDS
from flipenv.cache import EpisodeCache
from flipenv.channels import CHANNELS
from flipenv.config import EnvConfig, quantile_of
from flipenv.episode import prepare, shift_box, stack
from flipenv.errors import ConfigError, SourceError
from flipenv.observation import OWN_CHANNELS
from flipenv.progress import track
from flipenv.registry import Registry, unknown
from flipenv.reward import REWARDS
from flipenv.sources import SourceLike, find, open_source
from flipenv.superpixels import SUPERPIXELS
from flipenv.theta import theta_from_boxes
from flipenv.types import Case, Episode, Episodes
from flipenv.walks import ORDERS

IN_MEMORY = 4096  # episodes kept by a pool that prepares on demand; about 0.7 GB at the default canvas
CHUNK = 16  # episodes that a worker prepares between two progress reports
WORTH_WORKERS = 64  # least number of episodes for which starting worker processes saves time


class EpisodePool:
    """Episode i is variant i % variants of case i // variants; a pool yields the same episodes on every machine.

    `cache`: True for the default folder, a folder, or False for none. A theta of "auto" is replaced by grey levels,
    measured on at most 256 episodes: `config.theta` is a number.
    """

    def __init__(self, source: SourceLike, config: EnvConfig, *, cache: bool | str | Path = True) -> None:
        self.source = open_source(source)
        if len(self.source) == 0:
            raise SourceError(f"source {source!r} has no case with a box; check its path, split and file names")
        self.config = config
        check_names(config)
        self._cache = None if cache is False else EpisodeCache(None if cache is True else cache)
        self._kept: OrderedDict[int, Episode] = OrderedDict()
        if isinstance(config.theta, str):
            self.config = config.replace(theta=theta_from_boxes(self, quantile_of(config.theta)))

    def __len__(self) -> int:
        return len(self.source) * self.config.variants

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}  # the receiver prepares them again or reads its cache

    def __deepcopy__(self, memo: dict[int, Any]) -> EpisodePool:
        return self  # the episodes of a pool never change

    def index(self, case_id: str) -> int:
        """First episode of the case with that id; SourceError if there is none."""
        return find(self.source, case_id) * self.config.variants

    def shift(self, index: int) -> tuple[float, float]:
        """Shift (rows, columns) of the box of episode `index`: direction and length are drawn uniformly."""
        least, largest = self.config.jitter
        if largest == 0:
            return 0.0, 0.0
        case, variant = divmod(index, self.config.variants)
        draw = np.random.default_rng([zlib.crc32(self.source.ids[case].encode()), variant])
        angle, length = draw.uniform(0, 2 * math.pi), draw.uniform(least, largest)
        return length * math.sin(angle), length * math.cos(angle)

    def case(self, index: int) -> Case:
        """Load the case of episode `index` with its box shifted: for evaluation, which may read the mask."""
        case = self.source.load(index // self.config.variants)
        return dataclasses.replace(case, box=shift_box(case.box, *self.shift(index), case.image.shape))

    def config_of(self, index: int) -> EnvConfig:
        """Config for preparing episode `index`; a subclass may prepare a case in several ways."""
        return self.config

    def episode(self, index: int) -> Episode:
        """Return episode `index` from memory, from the cache, or by preparing it."""
        if index not in self._kept:
            self._kept[index] = self._read(index) or self._prepare(index)
            if len(self._kept) > IN_MEMORY:
                self._kept.popitem(last=False)
        return self._kept[index]

    def rows(self, indices: Sequence[int]) -> Episodes:
        """The episodes of these indices as a NumPy batch."""
        return stack([self.episode(index) for index in indices])

    def prepare_all(self, *, workers: int | None = None, progress: bool = True) -> Episodes:
        """Prepare every episode, in worker processes where that saves time, and return them as one NumPy batch.

        workers: None for one per core, 1 for this process only.
        """
        every = {index: self._kept.get(index) or self._read(index) for index in range(len(self))}
        missing = [index for index, episode in every.items() if episode is None]
        if len(missing) < WORTH_WORKERS:
            workers = 1
        parts = [registry[name] for registry, name in _parts(self.config)]
        chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
        jobs = Parallel(n_jobs=workers or os.cpu_count() or 1, return_as="generator")(
            delayed(self._prepare_some)(chunk, parts) for chunk in chunks
        )
        for chunk in track(jobs, "preparing episodes", len(chunks), quiet=not progress, brief=True):
            every.update(chunk)
        ready = {index: episode for index, episode in every.items() if episode is not None}
        if len(ready) <= IN_MEMORY:  # masks and pictures ask for single episodes later
            self._kept.update(ready)
        return stack(list(ready.values()))

    def _prepare_some(self, indices: Sequence[int], parts: Sequence[Any]) -> dict[int, Episode]:
        """Prepare in a worker process, where the parts registered by the user's script are not known yet."""
        for (registry, name), part in zip(_parts(self.config), parts, strict=True):
            if name not in registry:
                registry.register(name)(part)
        return {index: self._prepare(index) for index in indices}

    def _prepare(self, index: int) -> Episode:
        episode = prepare(self.case(index), self.config_of(index))
        if self._cache is not None:
            self._cache.save(self._key(self._cache, index), episode)
        return episode

    def _read(self, index: int) -> Episode | None:
        return None if self._cache is None else self._cache.load(self._key(self._cache, index))

    def _key(self, cache: EpisodeCache, index: int) -> str:
        fingerprint = self.source.fingerprint(index // self.config.variants)
        return cache.key(fingerprint, self.shift(index), self.config_of(index))


def _parts(config: EnvConfig) -> list[tuple[Registry[Any], str]]:
    """The registered parts that preparation uses."""
    channels = [(CHANNELS, name) for name in config.channels if name not in OWN_CHANNELS]
    return [(BACKGROUNDS, config.background), (SUPERPIXELS, config.superpixels), (ORDERS, config.order), *channels]


def check_names(config: EnvConfig) -> None:
    """Raise ConfigError for a part that is not registered, before any episode needs it."""
    for registry, name in [*_parts(config), (REWARDS, config.reward)]:
        if name not in registry:
            own = OWN_CHANNELS if registry is CHANNELS else ()
            raise ConfigError(unknown(registry.kind, name, (*own, *registry)))
