"""Segmentation methods by name, from image and box to mask: ours, and the baselines.

    @box_method("mine")
    def mine(image, box):  # (height, width) uint8 and a Box -> (height, width) bool
        ...

The project's own are listed in `flipagents.compare.baselines`. Other packages provide methods through entry points of
the group `flipagents.methods`, without being imported first.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from flipagents.compare.baselines import MAKERS, RULES
from flipagents.maps.mapper import Mapper
from flipagents.segment.answer import Answer
from flipagents.segment.quality import LOCATOR, Gauge, Quality
from flipagents.store import checkpoint
from flipagents.store.recipe import CONTOUR, PIPELINE, Recipe
from flipenv.checks import check_companion
from flipenv.errors import ConfigError, MaskError
from flipenv.pixels import Grey, Mask
from flipenv.registry import LazyRegistry
from flipenv.types import Box, Case

GROUP = "flipagents.methods"  # entry points

BoxFunction: TypeAlias = Callable[[Grey, Box], Mask]
Method: TypeAlias = Callable[[list[Case]], list[Mask]]  # one mask per case, in order
Maker: TypeAlias = Callable[..., Method]  # (folder of trained weights or None, torch device[, runtime]) -> Method
OURS = {  # as MAKERS; the third parameter is a runtime
    "flip": "flipagents.compare.ours:Flip",
    "flip+student": "flipagents.compare.ours:FlipStudent",
    "contour": "flipagents.compare.ours:ContourMethod",
    "guide": "flipagents.compare.ours:Guide",
}


class Methods(LazyRegistry[Maker]):
    """Makers of methods by name; a rule for one image and box is wrapped in a maker on first use."""

    def _imported(self, name: str) -> Maker:
        part: Any = super()._imported(name)
        return (lambda weights, device: _each(part)) if name in RULES else part


METHODS = Methods("method", GROUP, {**RULES, **MAKERS, **OURS}, extra="agents")


def box_method(name: str) -> Callable[[BoxFunction], BoxFunction]:
    """Return a decorator that registers a function of one image and one box; the function itself is unchanged.

    A method that needs many cases at once, or trained weights, registers its maker: `METHODS.register(name)`. A maker
    with a third parameter `runtime` receives the runtime given to `make_method`.
    """

    def add(function: BoxFunction) -> BoxFunction:
        METHODS.register(name)(lambda weights, device: _each(function))
        return function

    return add


def _each(function: BoxFunction) -> Method:
    return lambda cases: [function(case.image, case.box) for case in cases]


def usual_methods(weights: str | Path | None = None) -> list[str]:
    """The methods that `flip evaluate` compares if none are named: a rule, and what the pipeline has."""
    return ["polar", *(["flip"] if default_method(weights) != "flip+student" else []), "flip+student"]


def default_method(weights: str | Path | None = None) -> str:
    """The method of a pipeline if none is named: its learned prior alone; or its agents; without agents its student.

    On BUSI no agents are better than the prior that pays them, and they take four times as long (benchmarks/README.md).
    weights: as for `make_method`.
    """
    where = checkpoint.weights_folder(weights)
    if checkpoint.exists(where / CONTOUR):
        return CONTOUR
    return "flip" if not (where / PIPELINE).exists() or Recipe.read(where).stages else "flip+student"


GUIDE = "guide"  # what `flip segment --guide` uses


def make_method(
    name: str,
    weights: str | Path | None = None,
    device: str = "cpu",
    *,
    runtime: str = "auto",
    evaluation: bool = False,
) -> Method:
    """Make a method by name, or by `NAME:PATH` with its weights at PATH; weights: None for the shipped ones.

    runtime: for a method that `has_runtimes`; its attribute `runtime` is the one chosen. evaluation: whether the method
    may read the true masks. Raises ConfigError for an unknown name, for a runtime of a method without a choice, and for
    a method that reads masks outside an evaluation; MissingDependencyError if a dependency is not installed.
    """
    check_method(name, runtime)
    options = {"runtime": runtime} if has_runtimes(name) else {}
    name, path = _split(name)
    weights = weights if path is None else path
    method = METHODS[name](None if weights is None else Path(weights), device, **options)
    if sees_masks(method) and not evaluation:
        raise ConfigError(
            f"method {name!r} reads the true masks: it is an upper bound for evaluations and cannot segment; "
            "use it with `flip evaluate`, or choose another method"
        )
    return method


def check_method(name: str, runtime: str = "auto") -> None:
    """Raise ConfigError as `make_method` does, without making anything, so that errors show at once."""
    method, path = _split(name)
    METHODS.check(method)
    if path is not None and method in RULES:
        raise ConfigError(f"method {method!r} has no weights; omit ':{path}'")
    if runtime != "auto" and not has_runtimes(name):
        raise ConfigError(f"method {name!r} has no choice of runtime; omit runtime {runtime!r}")


def has_runtimes(name: str) -> bool:
    """Whether a method (named as for `make_method`) runs on torch or onnxruntime: its maker takes `runtime`.

    ConfigError for an unknown name.
    """
    maker = METHODS[_split(name)[0]]
    return "runtime" in inspect.signature(maker).parameters


def _split(name: str) -> tuple[str, str | None]:
    """Name and path of `NAME:PATH`; the path is None without a colon."""
    head, colon, path = name.partition(":")
    return (head, path) if colon and head in METHODS.names() else (name, None)


def sees_masks(method: Method) -> bool:
    """Whether a method reads the true masks, as declared by its attribute of this name."""
    return bool(getattr(method, "sees_masks", False))


def run_method(method: Method, cases: Sequence[Case]) -> list[Mask]:
    """Run a method on cases; it only gets copies of image, box and id.

    A method that reads masks (see `sees_masks`) gets those too. Raises MaskError unless it returns one mask (height,
    width) bool per case.
    """
    masks = method(_shown(method, cases))
    if len(masks) != len(cases):
        raise _miscounted(len(masks), cases)
    for case, mask in zip(cases, masks, strict=True):
        _check_mask(case, mask)
    return masks


@dataclass(frozen=True, eq=False)
class Rated:
    """A mask with how good it probably is."""

    mask: Mask
    quality: Quality | None  # None for a method without maps


def run_answers(method: Method, cases: Sequence[Case]) -> list[Answer]:
    """As `run_method`, each mask with the maps that it was made from.

    A method has those if its attribute `answers` turns cases into their answers, in order: an iterable that may compute
    one after the other. For another method the answers have no map. Keeps all maps in memory, see `run_rated`.
    """
    return list(_answers(method, cases))


def run_rated(
    method: Method,
    cases: Sequence[Case],
    *,
    locator: Mapper | None = None,
    change: Callable[[Case, Answer], Mask] | None = None,
) -> list[Rated]:
    """As `run_method`, each mask with its quality: see `flipagents.segment.quality`; no map is kept.

    The method's attribute `gauge` rates its answers; without one they are not calibrated. locator: a pipeline's network
    of this name, to see boxes beside a nodule better, at the price of one more pass per image. change: gives the mask
    that a person made of the answer's.
    """
    gauge = getattr(method, "gauge", None) or Gauge()
    rated = []
    for case, answer in zip(cases, _answers(method, cases), strict=True):
        located = {} if locator is None else {LOCATOR: next(iter(locator.maps([case.image], [answer.box])))}
        seen = dataclasses.replace(answer, opinions={**answer.opinions, **located})
        seen = seen if change is None else seen.mended(change(case, answer))
        rated.append(Rated(seen.mask, gauge.rate(case.image, seen)))
    return rated


def _answers(method: Method, cases: Sequence[Case]) -> Iterator[Answer]:
    """The checked answers, one after the other; an error may come late."""
    answering: Callable[[list[Case]], Iterable[Answer]] | None = getattr(method, "answers", None)
    if answering is None:
        yield from (Answer(mask, case.box) for case, mask in zip(cases, run_method(method, cases), strict=True))
        return
    count = 0
    for count, answer in enumerate(answering(_shown(method, cases)), 1):
        if count > len(cases):
            raise _miscounted(count, cases)
        case = cases[count - 1]
        _check_mask(case, answer.mask)
        if answer.map is not None:
            check_companion(f"case {case.id!r}: the method's map", answer.map, case.image.shape, "float32")
        yield answer
    if count < len(cases):
        raise _miscounted(count, cases)


def _shown(method: Method, cases: Sequence[Case]) -> list[Case]:
    """What a method sees of the cases."""
    masks = [case.mask.copy() if sees_masks(method) and case.mask is not None else None for case in cases]
    return [Case(case.image.copy(), case.box, id=case.id, mask=own) for case, own in zip(cases, masks, strict=True)]


def _check_mask(case: Case, mask: Mask | None) -> None:
    if mask is None:
        raise MaskError(f"case {case.id!r}: the method gave None; expected a mask, which may be empty")
    check_companion(f"case {case.id!r}: the method's mask", mask, case.image.shape, "bool")


def _miscounted(count: int, cases: Sequence[Case]) -> MaskError:
    return MaskError(f"the method returned {count} masks for {len(cases)} cases; expected one per case, in order")
