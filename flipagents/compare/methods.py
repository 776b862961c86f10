"""Methods that turn an image and a box into a mask, chosen by name: ours, and what it is compared with.

    @box_method("mine")
    def mine(image, box):  # (height, width) uint8 and a Box -> (height, width) bool
        ...

The project's own are listed in `flipagents.compare.baselines`. A package offers methods without being imported first
through entry points of the group `flipagents.methods`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from flipagents.compare.baselines import MAKERS, RULES
from flipenv.checks import check_companion
from flipenv.errors import ConfigError, MaskError
from flipenv.pixels import Grey, Mask
from flipenv.registry import LazyRegistry
from flipenv.types import Box, Case

GROUP = "flipagents.methods"  # entry points

BoxFunction: TypeAlias = Callable[[Grey, Box], Mask]
Method: TypeAlias = Callable[[list[Case]], list[Mask]]  # one mask a case, in the cases' order
Maker: TypeAlias = Callable[..., Method]  # (folder of trained weights or None, torch device[, runtime]) -> Method
OURS = {  # as MAKERS; the third parameter is a runtime
    "flip": "flipagents.compare.ours:Flip",
    "flip+student": "flipagents.compare.ours:FlipStudent",
    "contour": "flipagents.compare.ours:ContourMethod",
}


class Methods(LazyRegistry[Maker]):
    """Makers of methods by name; a rule of one image and one box is given a maker when it is asked for."""

    def _imported(self, name: str) -> Maker:
        part: Any = super()._imported(name)
        return (lambda weights, device: _each(part)) if name in RULES else part


METHODS = Methods("method", GROUP, {**RULES, **MAKERS, **OURS}, extra="agents")


def box_method(name: str) -> Callable[[BoxFunction], BoxFunction]:
    """Return a decorator that registers a function of one image and one box; the function stays as it is.

    A method that wants many cases at once, or trained weights, registers its maker: `METHODS.register(name)`. A maker
    with a third parameter `runtime` gets what `make_method` was given as that.
    """

    def add(function: BoxFunction) -> BoxFunction:
        METHODS.register(name)(lambda weights, device: _each(function))
        return function

    return add


def _each(function: BoxFunction) -> Method:
    return lambda cases: [function(case.image, case.box) for case in cases]


def make_method(
    name: str,
    weights: str | Path | None = None,
    device: str = "cpu",
    *,
    runtime: str = "auto",
    evaluation: bool = False,
) -> Method:
    """Make a method by name, or by `NAME:PATH`, whose weights lie there; weights: None for those that ship.

    runtime: of a method that `has_runtimes`; what was chosen is then its attribute `runtime`. evaluation: whether masks
    are known, so that a method may see them. Raises ConfigError for a name that nobody registered, for a runtime of a
    method that has no choice, and for a method that sees masks where it is not for an evaluation;
    MissingDependencyError for a method that needs what is not installed.
    """
    check_method(name, runtime)
    options = {"runtime": runtime} if has_runtimes(name) else {}
    name, path = _split(name)
    weights = weights if path is None else path
    method = METHODS[name](None if weights is None else Path(weights), device, **options)
    if sees_masks(method) and not evaluation:
        raise ConfigError(
            f"method {name!r} reads the true masks: it tells an evaluation what could be reached and segments nothing; "
            "use it with `flip evaluate`, or choose another method"
        )
    return method


def check_method(name: str, runtime: str = "auto") -> None:
    """Raise ConfigError as `make_method` does, without making anything: what is wrong with a call is said at once."""
    METHODS.check(_split(name)[0])
    if runtime != "auto" and not has_runtimes(name):
        raise ConfigError(f"method {name!r} has one runtime; leave out {runtime!r}, which others have a choice of")


def has_runtimes(name: str) -> bool:
    """Whether a method, as `make_method` takes it, can be run by torch and by onnxruntime: its maker takes `runtime`.

    ConfigError for a name that nobody registered.
    """
    maker = METHODS[_split(name)[0]]
    return "runtime" in inspect.signature(maker).parameters


def _split(name: str) -> tuple[str, str | None]:
    """Name and path of `NAME:PATH`; the path is None for a name alone."""
    head, colon, path = name.partition(":")
    return (head, path) if colon and head in METHODS.names() else (name, None)


def sees_masks(method: Method) -> bool:
    """Whether a method says, by an attribute of this name, that it reads the masks that it is measured with."""
    return bool(getattr(method, "sees_masks", False))


def run_method(method: Method, cases: Sequence[Case]) -> list[Mask]:
    """Let a method segment cases; it gets image, box and id alone, in memory of its own.

    A method that sees masks (see `sees_masks`) gets those too. Raises MaskError where it does not give one mask
    (height, width) bool a case.
    """
    shown = [case.mask.copy() if sees_masks(method) and case.mask is not None else None for case in cases]
    masks = method(
        [Case(case.image.copy(), case.box, id=case.id, mask=own) for case, own in zip(cases, shown, strict=True)]
    )
    if len(masks) != len(cases):
        raise MaskError(f"the method gave {len(masks)} masks for {len(cases)} cases; expected one each, in their order")
    for case, mask in zip(cases, masks, strict=True):
        if mask is None:
            raise MaskError(f"case {case.id!r}: the method gave None; expected a mask, which may be empty")
        check_companion(f"case {case.id!r}: the method's mask", mask, case.image.shape, "bool")
    return masks
