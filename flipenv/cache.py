"""Prepared episodes on disk, keyed by the content and the options that they depend on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import cv2
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from flipenv.atomic import replacing
from flipenv.background import BACKGROUNDS
from flipenv.channels import CHANNELS
from flipenv.config import EnvConfig
from flipenv.observation import OWN_CHANNELS
from flipenv.superpixels import SUPERPIXELS
from flipenv.types import Box, Episode, Geometry
from flipenv.walks import ORDERS

VERSION = 3  # incremented whenever `prepare` returns different arrays for the same case and options
_PREPARED = (  # options that change what `prepare` returns
    "canvas",
    "margin",
    "background",
    "superpixels",
    "cell_area",
    "n_agents",
    "order",
    "coarse_channels",
    "channels",
    "standardise",
)
_ARRAYS = ("image", "background", "labels", "order", "centers", "histograms", "channels", "coarse", "prior")


def default_folder() -> Path:
    """Default cache folder: $FLIPENV_CACHE, or flipenv in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("FLIPENV_CACHE") or Path(base) / "flipenv")


class EpisodeCache:
    """A folder of safetensors files; if one cannot be read or written, its episode is prepared again."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()

    def key(self, fingerprint: str, shift: tuple[float, float], config: EnvConfig) -> str:
        """Cache key of a case whose box is shifted by (rows, columns)."""
        options = config.to_dict()
        parts = [
            VERSION,
            cv2.__version__,
            fingerprint,
            shift,
            {name: options[name] for name in _PREPARED},
            _code(BACKGROUNDS[config.background]),
            _code(SUPERPIXELS[config.superpixels]),
            _code(ORDERS[config.order]),
            [_code(CHANNELS[name]) for name in config.channels if name not in OWN_CHANNELS],
        ]
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()

    def load(self, key: str) -> Episode | None:
        """Return the cached episode or None; a damaged file counts as none, with a warning."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                about = json.loads(file.metadata()["episode"])
                arrays = {name: file.get_tensor(name) for name in _ARRAYS}
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            warnings.warn(f"{path} is damaged ({error}); preparing the episode again", RuntimeWarning, stacklevel=2)
            return None
        return _episode(arrays, about)

    def save(self, key: str, episode: Episode) -> None:
        """Write atomically; a full disk only warns, since the episode is in memory."""
        path = self._path(key)
        about = {
            "deviation_gain": episode.deviation_gain,
            "area": episode.area,
            "box": episode.box,
            "geometry": dataclasses.asdict(episode.geometry),
            "id": episode.id,
        }
        arrays = {name: np.ascontiguousarray(getattr(episode, name)) for name in _ARRAYS}
        try:
            with replacing([path]) as parts:
                save_file(arrays, parts[path], metadata={"episode": json.dumps(about)})
        except (OSError, SafetensorError) as error:
            warnings.warn(
                f"cannot cache episodes in {self.folder} ({error}); free space there, set FLIPENV_CACHE to another "
                "folder, or pass cache=False",
                RuntimeWarning,
                stacklevel=2,
            )

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


def _code(part: Callable[..., Any]) -> str:
    """Digest of a registered function's code, so that editing it invalidates its cached episodes."""
    code = getattr(part, "__code__", None)
    return repr(part) if code is None else hashlib.blake2b(_text(code), digest_size=16).hexdigest()


def _text(code: CodeType) -> bytes:
    """Bytecode and constants; the repr of a nested function would contain its address."""
    constants = [_text(value) if isinstance(value, CodeType) else repr(value).encode() for value in code.co_consts]
    return b"|".join([code.co_code, *constants, repr(code.co_names).encode()])


def _episode(arrays: dict[str, Any], about: dict[str, Any]) -> Episode:
    geometry = about["geometry"]
    return Episode(
        **arrays,
        deviation_gain=about["deviation_gain"],
        area=Box(*about["area"]),
        box=Box(*about["box"]),
        geometry=Geometry(Box(*geometry["window"]), Box(*geometry["area"]), geometry["height"], geometry["width"]),
        id=about["id"],
    )
