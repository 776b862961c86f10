"""Optional packages, imported on demand; the error says how to install them."""

from __future__ import annotations

import importlib
from types import ModuleType

from flipenv.errors import MissingDependencyError


def need(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional module; MissingDependencyError says what needs it and how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingDependencyError(
            f"{purpose} needs the package '{package}', which is not installed: pip install flip-learning[{extra}]"
        ) from error
