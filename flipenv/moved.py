"""Modules that moved: for one version, importing an old name imports the new module with a warning."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "flipenv.film": "flipenv.pictures.film",
    "flipenv.phantom": "flipenv.sources.phantom",
    "flipenv.render": "flipenv.pictures.render",
    "flipenv.speckle": "flipenv.sources.speckle",
    "flipenv.viewer": "flipenv.pictures.viewer",
    "flipenv.window": "flipenv.pictures.window",
}


def redirection(old: str, new: str) -> ModuleSpec:
    """Import spec that resolves `old` to the module `new`, with a FutureWarning."""
    return ModuleSpec(old, _Redirection(new))


class Finder(MetaPathFinder):
    """Resolves old module names to the new ones."""

    def __init__(self, moved: Mapping[str, str]) -> None:
        self.moved = moved

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder`."""
        return redirection(name, self.moved[name]) if name in self.moved else None


class _Redirection(Loader):
    def __init__(self, new: str) -> None:
        self.new = new

    def exec_module(self, module: ModuleType) -> None:
        """Replace the module created for the old name by the new one."""
        old = module.__name__
        warnings.warn(f"{old} is now {self.new}; the next version drops the old name", FutureWarning, stacklevel=2)
        sys.modules[old] = importlib.import_module(self.new)
