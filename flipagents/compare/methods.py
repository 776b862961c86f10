"""Methods that turn an image and a box into a mask, chosen by name: ours, and what it is compared with.

    @box_method("mine")
    def mine(image, box):  # (height, width) uint8 and a Box -> (height, width) bool
        ...

The project's own are listed in `flipagents.compare.baselines`. A package offers methods without being imported first
through entry points of the group `flipagents.methods`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TypeAlias

from flipagents.compare.baselines import MAKERS, RULES
from flipagents.maps.tidy import tidy
from flipenv.checks import check_companion
from flipenv.errors import ConfigError, FlipError, MaskError, MissingDependencyError
from flipenv.pixels import Grey, Mask
from flipenv.registry import Registry, unknown
from flipenv.types import Box, Case

GROUP = "flipagents.methods"  # entry points

BoxFunction: TypeAlias = Callable[[Grey, Box], Mask]
Method: TypeAlias = Callable[[list[Case]], list[Mask]]  # one mask a case, in the cases' order
Maker: TypeAlias = Callable[..., Method]  # (folder of trained weights or None, torch device[, runtime]) -> Method
METHODS: Registry[Maker] = Registry("method")


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


def method_names() -> list[str]:
    """All methods that can be made, registered here or offered by installed packages."""
    return sorted({*METHODS, *entry_points(group=GROUP).names})


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
    method = _maker(name)(None if weights is None else Path(weights), device, **options)
    if sees_masks(method) and not evaluation:
        raise ConfigError(
            f"method {name!r} reads the true masks: it tells an evaluation what could be reached and segments nothing; "
            "use it with `flip evaluate`, or choose another method"
        )
    return method


def check_method(name: str, runtime: str = "auto") -> None:
    """Raise ConfigError as `make_method` does, without making anything: what is wrong with a call is said at once."""
    if _split(name)[0] not in method_names():
        raise ConfigError(unknown(METHODS.kind, name, method_names()))
    if runtime != "auto" and not has_runtimes(name):
        raise ConfigError(f"method {name!r} has one runtime; leave out {runtime!r}, which others have a choice of")


def has_runtimes(name: str) -> bool:
    """Whether a method, as `make_method` takes it, can be run by torch and by onnxruntime: its maker takes `runtime`.

    ConfigError for a name that nobody registered.
    """
    maker = _maker(_split(name)[0])
    return "runtime" in inspect.signature(maker).parameters


def _split(name: str) -> tuple[str, str | None]:
    """Name and path of `NAME:PATH`; the path is None for a name alone."""
    head, colon, path = name.partition(":")
    return (head, path) if colon and head in method_names() else (name, None)


def _maker(name: str) -> Maker:
    if name not in METHODS:
        for entry in entry_points(group=GROUP, name=name):
            METHODS.register(name)(entry.load())
    return METHODS[name]


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


def _register(name: str, where: str, *, rule: bool) -> None:
    """File what `module:attribute` names; it is imported when the method is made."""

    def make(weights: Path | None, device: str) -> Method:
        try:
            part = resolve_name(where)
            made: Method = _each(part) if rule else part(weights, device)
        except MissingDependencyError:
            raise
        except ImportError as error:
            raise MissingDependencyError(
                f"method {name!r} needs {error.name or where}: pip install flip-learning[agents]"
            ) from error
        return made

    METHODS.register(name)(make)


for _name, _where in RULES.items():
    _register(_name, _where, rule=True)
for _name, _where in MAKERS.items():
    _register(_name, _where, rule=False)


@METHODS.register("flip")
class Flip:
    """The agents of a trained pipeline (see `flipagents.Segmenter`).

    weights: a folder that `flip train` wrote, None for the weights that ship. runtime: see `Segmenter.from_pretrained`;
    the attribute of this name says what was chosen. Raises CheckpointError for a folder that holds no pipeline,
    MissingDependencyError without what runs it.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu", runtime: str = "auto") -> None:
        with _loading("flip", weights):
            from flipagents.segment.segmenter import Segmenter  # noqa: PLC0415 - only where it is asked for

            self.device = device
            self.segmenter = Segmenter.from_pretrained(weights, device=device, runtime=runtime)
            self.runtime = self.segmenter.runtime

    def __call__(self, cases: list[Case]) -> list[Mask]:
        """One mask a case."""
        return self.segmenter.predict_many([case.image for case in cases], [case.box for case in cases])

    def scorer(self) -> Any:
        """The classifier that lies beside the agents as a Scorer, None where there is none."""
        from flipagents.store import checkpoint  # noqa: PLC0415
        from flipagents.store.recipe import CLASSIFIER  # noqa: PLC0415

        assert self.segmenter.folder is not None
        folder = self.segmenter.folder / CLASSIFIER
        if not checkpoint.exists(folder):
            return None
        if self.runtime == "onnx":
            from flipagents.segment.onnx import OnnxScorer  # noqa: PLC0415 - optional

            return OnnxScorer.load(folder, self.device)
        from flipagents.classify.classifier import Classifier  # noqa: PLC0415 - torch

        return Classifier.load(folder).scorer(self.device)


@METHODS.register("flip+student")
class FlipStudent:
    """The network that learned the agents' maps (`flipagents.maps.network`), one pass an image; otherwise as `Flip`."""

    def __init__(self, weights: Path | None = None, device: str = "cpu", runtime: str = "auto") -> None:
        with _loading("flip+student", weights):
            from flipagents.segment.loading import load_student  # noqa: PLC0415 - only where it is asked for

            self.student = load_student("student", weights, device, runtime)
            self.runtime = self.student.runtime

    def __call__(self, cases: list[Case]) -> list[Mask]:
        """One mask a case."""
        maps = self.student.maps([case.image for case in cases], [case.box for case in cases])
        return [tidy(seen > 0.5) for seen in maps]


@METHODS.register("contour")
def _contour(weights: Path | None, device: str, runtime: str = "auto") -> Method:
    with _loading("contour", weights):
        from flipagents.compare.ours import ContourMethod  # noqa: PLC0415 - only where it is asked for

        return ContourMethod(weights, device, runtime)


class Finder:
    """Moves boxes that may be off to where a pipeline sees the nodule (see `flipagents.maps.locate`).

    weights, device, runtime: as `Flip`.
    """

    def __init__(self, weights: str | Path | None = None, device: str = "cpu", runtime: str = "auto") -> None:
        with _loading("found", weights):
            from flipagents.segment.loading import load_student  # noqa: PLC0415 - only where it is asked for

            self.locator = load_student("locator", weights, device, runtime)
            self.runtime = self.locator.runtime

    def __call__(self, cases: list[Case], margin: int) -> list[Case]:
        """Return the cases with their boxes moved, by at most `margin` image px down and across."""
        from flipagents.maps.locate import relocate  # noqa: PLC0415 - torch

        _check_margin(margin)
        boxes = relocate(self.locator, [case.image for case in cases], [case.box for case in cases], margin)
        return [dataclasses.replace(case, box=box) for case, box in zip(cases, boxes, strict=True)]


class Found:
    """A method for boxes that may be off: a `Finder` moves each first.

    method: what gets the moved boxes. margin: by how many image px, down and across, a box may be moved. weights,
    device, runtime: of the network that looks.
    """

    def __init__(
        self,
        method: Method,
        margin: int,
        weights: str | Path | None = None,
        device: str = "cpu",
        runtime: str = "auto",
    ) -> None:
        _check_margin(margin)
        self.finder = Finder(weights, device, runtime)
        self.method, self.margin, self.sees_masks = method, margin, sees_masks(method)

    def __call__(self, cases: list[Case]) -> list[Mask]:
        """One mask a case."""
        return self.method(self.find(cases))

    def find(self, cases: list[Case]) -> list[Case]:
        """Return the cases with their boxes moved."""
        return self.finder(cases, self.margin)


def _check_margin(margin: int) -> None:
    if margin < 1:
        raise ConfigError(f"margin={margin}; expected at least 1 px, by which boxes may be off")


@contextmanager
def _loading(name: str, weights: str | Path | None) -> Iterator[None]:
    """Say what helps where torch or trained weights are missing."""
    try:
        yield
    except MissingDependencyError:
        raise
    except ImportError as error:
        raise MissingDependencyError(
            f"method {name!r} needs {error.name or 'torch'}: pip install flip-learning[agents]; "
            "box, ellipse and polar run without"
        ) from error
    except FlipError as error:
        if weights is not None:
            raise
        raise type(error)(
            f"the weights that ship cannot be loaded ({error}); train your own with `flip train --data PATH --out "
            "runs/mine` and give --weights runs/mine"
        ) from None
