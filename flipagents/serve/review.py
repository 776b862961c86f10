"""Which masks of a folder a person should look at first, and what there is to see of each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from flipagents.formats.quality_csv import NAME, REASONS, Quality, read_quality
from flipagents.segment.origin import MASK, Origin, read_origin
from flipenv.checks import check_box
from flipenv.errors import BoxError, FlipError, ImageError, SourceError
from flipenv.pixels import Grey, Mask
from flipenv.sources import read_image
from flipenv.types import Box

VIEW = (400, 300)  # width and height of a card's picture, in its own units
AROUND = 0.3  # of the long side of what is shown, on each side
FAR = 1.0  # likewise if the nodule may be elsewhere
ELSEWHERE = frozenset({"box-off", "no-nodule"})  # reasons to show more of the image
QUALITY = 88  # of a JPEG


@dataclass(frozen=True)
class Listed:
    """A mask in the folder."""

    path: Path
    row: Quality | None  # of quality.csv; None if there is none, or if it is about another mask
    is_outdated: bool = False  # whether it is about another mask

    @property
    def name(self) -> str:
        """The mask's file name without its ending."""
        return self.path.name.removesuffix(MASK).removesuffix(".png")

    @property
    def is_marked(self) -> bool:
        """Whether there is a reason to look at it."""
        return self.row is not None and self.row.is_marked


@dataclass(frozen=True)
class Listing:
    """The masks of a folder, in the order in which to look at them."""

    folder: Path
    masks: Sequence[Listed]
    is_rated: bool  # whether the folder has a quality.csv
    missing: int = 0  # rows of it whose mask is not in the folder


@dataclass(frozen=True, eq=False)
class Picture:
    """The part of an image around a mask. Lengths are in units of VIEW."""

    jpeg: bytes | None  # grey; None if the image cannot be read
    place: tuple[float, float, float, float]  # x, y, width and height of the JPEG
    box: tuple[float, float, float, float] | None  # likewise; None if unknown
    outline: str  # of the mask, as the data of an SVG path; "" for an empty mask


@dataclass(frozen=True, eq=False)
class Card:
    """One mask to look at."""

    listed: Listed
    picture: Picture | None  # None if the mask cannot be read
    box: Box | None  # px of the image; None if unknown
    method: str  # "" if unknown
    area_px: int | None  # px in the mask; None if it cannot be read
    notes: tuple[str, ...] = ()  # what cannot be shown, and why


def listing(folder: Path) -> Listing:
    """List the masks of an output folder of `flip segment`: marked ones first, then the least sure.

    Within both, masks of unknown quality come first; without a quality.csv all masks are in the order of their names.
    A row about another mask than the one that is there now is dropped.
    Raises SourceError for a folder without masks, or a faulty quality.csv, naming its line.
    """
    table = folder / NAME
    rows = {row.mask: row for row in read_quality(table)} if table.exists() else {}
    try:
        names = {path.name for path in folder.glob(f"*{MASK}")}
    except OSError as error:
        raise SourceError(f"{folder}: cannot be read ({error.strerror})") from None
    names |= {name for name in rows if (folder / name).is_file()}
    if not names:
        raise SourceError(f"{folder} holds no NAME{MASK}; expected the output folder of `flip segment`")
    masks = [_listed(folder / name, rows.get(name)) for name in names]
    return Listing(folder, sorted(masks, key=_urgency), table.exists(), len(rows.keys() - names))


def _listed(path: Path, row: Quality | None) -> Listed:
    """The mask with its row, unless it has been made again or mended since: then its box or its area is another."""
    if row is None:
        return Listed(path, None)
    origin = read_origin(path)
    try:
        area = np.count_nonzero(read_image(path))
    except FlipError:  # which its card will say
        return Listed(path, row)
    is_same = area == row.area_px and (origin is None or Box.from_xyxy(*origin.box) == row.box)
    return Listed(path, row if is_same else None, is_outdated=not is_same)


def _urgency(listed: Listed) -> tuple[bool, float, str]:
    quality = None if listed.row is None else listed.row.quality
    return not listed.is_marked, -1.0 if quality is None else quality, listed.path.name


def card(listed: Listed) -> Card:
    """Read a mask and its image. What cannot be read is said in the card's notes."""
    origin, row = read_origin(listed.path), listed.row
    notes = [f"changed since {NAME} was written, so its quality is unknown"] if listed.is_outdated else []
    box = Box.from_xyxy(*origin.box) if origin else row.box if row else None
    method = origin.method if origin else row.method if row else ""
    try:
        mask = read_image(listed.path) > 0
    except FlipError as error:
        return Card(listed, None, box, method, None, (*notes, _short(error, listed.path)))
    try:
        box = None if box is None else Box(*check_box(box, mask.shape))
    except BoxError as error:
        box = None
        notes.append(str(error))
    if not mask.any():
        notes.append(REASONS["empty"])
    try:
        image: Grey | None = _image(listed.path.parent, origin, mask)
    except FlipError as error:
        image = None
        notes.append(f"mask alone: {error}")
    far = row is not None and not ELSEWHERE.isdisjoint(row.reasons)
    return Card(listed, picture(image, mask, box, FAR if far else AROUND), box, method, int(mask.sum()), tuple(notes))


def cards(
    found: Listing, first: int | None = None, *, advance: Callable[[float], None] | None = None
) -> Iterator[Card]:
    """Cards of the first masks, or of all. advance: called with 1 after each."""
    for listed in found.masks[:first]:
        yield card(listed)
        if advance is not None:
            advance(1)


def _image(folder: Path, origin: Origin | None, mask: Mask) -> Grey:
    """The image of a mask; a FlipError says why there is none."""
    if origin is None:
        raise SourceError("the mask does not record its image")
    if origin.image is None:
        raise SourceError("its image was not read from a file of its own")
    path = folder / origin.image
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its orientation: mask and box are on the pixels as stored
        try:
            image = read_image(path, frame=origin.frame)
        except FlipError as error:
            raise type(error)(_short(error, path)) from None
    if image.shape != mask.shape:
        sizes = ("x".join(map(str, shape)) for shape in (image.shape, mask.shape))
        raise ImageError("its image is {}, the mask {} (height x width)".format(*sizes))
    return image


def picture(image: Grey | None, mask: Mask, box: Box | None, around: float = AROUND) -> Picture:
    """The part of an image (height, width) around box and mask, and the two on it.

    around: how much more is shown on each side, as a share of the long side of box and mask together.
    """
    window = _window(mask, box, around)
    scale = VIEW[0] / window.width
    height, width = mask.shape
    part = Box(max(0, window.top), max(0, window.left), min(height, window.bottom), min(width, window.right))
    place = _placed(part, window, scale)
    jpeg = None
    if image is not None:
        pixels = np.ascontiguousarray(image[part.rows, part.columns])
        if scale < 1:
            size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    outline = _outline(mask[part.rows, part.columns], scale, place[:2])
    return Picture(jpeg, place, None if box is None else _placed(box, window, scale), outline)


def _window(mask: Mask, box: Box | None, around: float) -> Box:
    """Image px around box and mask in the shape of VIEW; may extend beyond the image."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    seen = [Box(y, x, y + height, x + width)] if width else []
    seen += [] if box is None else [box]
    seen = seen or [Box(0, 0, mask.shape[0], mask.shape[1])]
    whole = Box(
        min(each.top for each in seen),
        min(each.left for each in seen),
        max(each.bottom for each in seen),
        max(each.right for each in seen),
    )
    more = max(4.0, around * max(whole.height, whole.width))
    half = max((whole.height + 2 * more) * VIEW[0] / VIEW[1], whole.width + 2 * more) / 2
    across, down = (whole.left + whole.right) / 2, (whole.top + whole.bottom) / 2
    left, columns = round(across - half), round(2 * half)
    rows = round(columns * VIEW[1] / VIEW[0])
    top = round(down - rows / 2)
    return Box(top, left, top + rows, left + columns)


def _placed(part: Box, window: Box, scale: float) -> tuple[float, float, float, float]:
    return (
        (part.left - window.left) * scale,
        (part.top - window.top) * scale,
        part.width * scale,
        part.height * scale,
    )


def _outline(mask: Mask, scale: float, start: tuple[float, float]) -> str:
    """The outlines of a mask, corners of pixels smoothed away; `start` is where its first pixel lies, in view units."""
    finer = max(1, round(scale))  # so that the line runs along the edge, not through the middle of its pixels
    fine = mask.astype(np.uint8).repeat(finer, axis=0).repeat(finer, axis=1)
    contours, _ = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    pieces = []
    for contour in contours:
        smooth = cv2.approxPolyDP(contour, 0.6 * finer, True)[:, 0]
        points = (smooth + 0.5) / finer * scale + np.asarray(start)
        pieces.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return "".join(pieces)


def _short(error: FlipError, path: Path) -> str:
    """An error with the name of its file in place of the path, which a card has no room for."""
    return str(error).replace(str(path), path.name)
