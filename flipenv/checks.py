"""Checks of boxes, images and actions; each message states what was given, what was expected and the remedy."""

from __future__ import annotations

import math
import operator
from typing import Any

from flipenv.errors import ActionError, BoxError, ImageError, MaskError


def check_image(image: Any, name: str = "image") -> None:
    """Raise ImageError unless `image` is a non-empty (height, width) uint8 array."""
    shape = getattr(image, "shape", None)
    if shape is None:
        raise ImageError(f"{name} is a {type(image).__name__}; expected a (height, width) uint8 array")
    dtype = str(image.dtype)
    if len(shape) == 3:
        raise ImageError(
            f"{name} has shape {tuple(shape)} ({shape[2]} channels); expected grey (height, width): convert it first, "
            "for example with PIL's convert('L')"
        )
    if len(shape) != 2 or 0 in shape:
        raise ImageError(f"{name} has shape {tuple(shape)}; expected a non-empty (height, width)")
    if not dtype.endswith("uint8"):
        nan = " and contains NaN" if "float" in dtype and bool((image != image).any()) else ""  # noqa: PLR0124 - NaN differs from itself
        raise ImageError(
            f"{name} has dtype {dtype}{nan}; expected uint8 grey levels 0..255: choose a window and rescale, "
            "for example ((x - low) / (high - low) * 255).clip(0, 255).astype('uint8')"
        )


def check_companion(name: str, array: Any, shape: tuple[int, ...], dtype: str) -> None:
    """Raise MaskError unless `array` is None or has the image's shape and the given dtype."""
    if array is None:
        return
    if tuple(getattr(array, "shape", ())) != tuple(shape):
        raise MaskError(
            f"{name} has shape {tuple(getattr(array, 'shape', ()))} but its image has {tuple(shape)}; "
            "both must be on the same pixel grid: resample one of them"
        )
    if not str(array.dtype).endswith(dtype):
        raise MaskError(f"{name} has dtype {array.dtype}; expected {dtype}: use `array > 0` or `.astype('{dtype}')`")


def check_box(box: Any, shape: tuple[int, ...], *, columns_first: bool = False) -> tuple[int, int, int, int]:
    """Return the box (top, left, bottom, right) as four ints; BoxError unless it is non-empty and inside the image.

    columns_first: errors quote it as X0, Y0, X1, Y1, the order in which it was given.
    """
    height, width = shape[:2]
    names = ("X0", "Y0", "X1", "Y1") if columns_first else ("top", "left", "bottom", "right")
    expected = f"expected ({', '.join(names)}) in pixels of a {height}x{width} image (height x width)"
    try:
        top, left, bottom, right = (_whole(value) for value in box)
    except (TypeError, ValueError) as error:
        raise BoxError(f"box {box!r} is not four whole numbers ({error}); {expected}") from None
    given = f"box {(left, top, right, bottom) if columns_first else (top, left, bottom, right)}"
    upper, lower, first, last = ("Y0", "Y1", "X0", "X1") if columns_first else ("top", "bottom", "left", "right")
    if bottom == top or right == left:
        side = f"height ({upper} == {lower})" if bottom == top else f"width ({first} == {last})"
        raise BoxError(f"{given} has no {side}; {expected}")
    if bottom < top or right < left:
        side = f"{lower} < {upper}" if bottom < top else f"{last} < {first}"
        raise BoxError(f"{given} is inverted ({side}); {expected}")
    if top < 0 or left < 0 or bottom > height or right > width:
        raise BoxError(f"{given} reaches outside its image; {expected}: clip it, or check the order of the numbers")
    return top, left, bottom, right


def check_contrast(image: Any, box: tuple[int, int, int, int], *, columns_first: bool = False) -> None:
    """Raise ImageError if the image (height, width) has a single grey level inside the box, or two adjacent ones.

    Such an image comes from a wrong window or palette, or from a box outside the tissue. columns_first: as `check_box`.
    """
    top, left, bottom, right = box
    inside = image[top:bottom, left:right]
    low, high = int(inside.min()), int(inside.max())
    if high - low <= 1:
        levels = f"level {low}" if low == high else f"levels {low} and {high}"
        given = (left, top, right, bottom) if columns_first else (top, left, bottom, right)
        raise ImageError(
            f"all pixels inside the box {given} are grey {levels}: there is no nodule to see; "
            "check the window or palette of the file, and the box"
        )


def check_actions(actions: Any, shape: tuple[int, ...], choices: int) -> None:
    """Raise ActionError unless `actions` is an integer array of this shape with values 0..choices-1."""
    expected = f"expected whole numbers 0..{choices - 1} of shape {shape}"
    given = tuple(getattr(actions, "shape", ()))
    if given != tuple(shape):
        raise ActionError(f"actions have shape {given}; {expected}")
    if "int" not in str(actions.dtype):
        raise ActionError(f"actions have dtype {actions.dtype}; {expected}: use .astype('int64')")
    wrong = (actions < 0) | (actions >= choices)
    if bool(wrong.any()):
        raise ActionError(f"actions hold {actions[wrong].ravel()[:4].tolist()}; {expected}")


def check_action(action: Any, choices: int, agent: str = "") -> int:
    """Return one action as an int; ActionError unless it is a whole number 0..choices-1."""
    whose = f" of {agent}" if agent else ""
    try:
        value = operator.index(action)
    except TypeError:
        shape = getattr(action, "shape", None)
        kind = type(action).__name__ if shape is None else f"{action.dtype} array of shape {tuple(shape)}"
        raise ActionError(
            f"action{whose} is {action!r} ({kind}); expected a whole number 0..{choices - 1}, for example "
            "env.action_space.sample()"
        ) from None
    if isinstance(action, bool) or not 0 <= value < choices:
        raise ActionError(f"action{whose} is {action!r}; expected 0..{choices - 1}")
    return value


def _whole(value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        number = float(value)
        if not math.isfinite(number) or number != math.floor(number):
            raise ValueError(f"{value!r} is not a whole number") from None
        return int(number)
