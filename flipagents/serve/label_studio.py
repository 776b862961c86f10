"""Label Studio's requests while a user draws a box, answered with brush masks; independent of HTTP."""

from __future__ import annotations

import base64
import binascii
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from flipagents.formats import brush_rle as brush
from flipagents.serve.service import AGENTS, Desk, open_picture
from flipenv.checks import check_box
from flipenv.errors import BoxError, ConfigError, FlipError, ImageError, SourceError
from flipenv.types import Box

LARGEST = 64_000_000  # bytes of an image file
LOCAL_FILES = "/data/local-files/"  # Label Studio's own address of a file of its local storage: ?d=PATH
DATA = "/data/"  # prefix of uploaded files
RECTANGLES = ("rectanglelabels", "rectangle")
MOST = 100  # boxes per request


class RequestError(FlipError):
    """A malformed request."""


@dataclass(frozen=True)
class Tags:
    """The parts of a labelling config that an answer names."""

    brush: str  # name of the BrushLabels
    labels: tuple[str, ...]  # that it offers
    image: str  # name of the Image that it is drawn on
    key: str  # of the image in a task's data


class Backend:
    """Answers /predict for one method.

    media_root: folder whose images tasks may name; None: tasks must bring their images as data URIs. method, margin: as
    `flipagents.serve.service.Desk.masks`. One request is computed at a time.
    """

    def __init__(self, desk: Desk, media_root: Path | None = None, method: str = AGENTS, margin: int = 0) -> None:
        if media_root is not None and not media_root.is_dir():
            raise ConfigError(f"media root {media_root} is not a folder; give the folder of the images")
        self.desk, self.method, self.margin = desk, method, margin
        self.root = None if media_root is None else media_root.resolve()
        self._busy = threading.Lock()
        desk.method(method)  # so that missing dependencies show now

    @property
    def version(self) -> str:
        """Model version shown by Label Studio."""
        return f"flip-learning {self.method}"

    def predict(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to /predict: a brush mask for each rectangle of the context, none without one.

        Raises RequestError for a request of another form, SourceError, ImageError, BoxError for images and boxes that
        cannot be taken.
        """
        drawn = _drawn(request)
        if not drawn:
            return {"results": [], "model_version": self.version}
        tags = read_tags(request.get("label_config"), drawn[0].get("to_name"))
        tasks = request.get("tasks")
        if not isinstance(tasks, list) or len(tasks) != 1 or not isinstance(tasks[0], dict):
            raise RequestError("expected one task in `tasks`, that in which the box was drawn")
        image = self.image(_part(tasks[0], "data", dict).get(tags.key))
        boxes = [read_box(each, image.shape) for each in drawn]
        with self._busy:
            masks = self.desk.masks(image, boxes, self.method, self.margin)
        result = [_region(mask, each, tags) for mask, each in zip(masks, drawn, strict=True)]
        answer = {"result": result, "model_version": self.version}
        return {"results": [answer], "model_version": self.version}

    def image(self, address: Any) -> NDArray[np.uint8]:
        """The image (height, width) uint8 of a task: a data URI, or a file below the media root; nothing is fetched."""
        if not isinstance(address, str) or not address:
            raise RequestError("the task has no image; expected a data URI or a path in its data")
        if not address.startswith("data:"):
            return open_picture(self.file(address), upright=True).image  # as browsers, which draw boxes, show it
        with tempfile.TemporaryDirectory(prefix="flip-serve-") as folder:
            path = Path(folder) / "image"
            path.write_bytes(_decoded(address))
            return open_picture(path, upright=True).image

    def file(self, address: str) -> Path:
        """The file that a path of a task means; SourceError for one outside the media root, and for other addresses.

        Taken are `/data/local-files/?d=PATH` and `/data/PATH`, as Label Studio names its local storage and its uploads,
        and PATH, all below the media root.
        """
        try:
            parts = urlsplit(address)
        except ValueError:
            raise SourceError("the task's image is no address") from None
        if parts.scheme or parts.netloc:
            raise SourceError(
                "the task's image is a web address, and nothing is fetched; put the file below --media-root, or into "
                "the task as a data URI"
            )
        if self.root is None:
            raise SourceError("the task names a file; start `flip serve` with --media-root, the folder that holds it")
        if parts.path == LOCAL_FILES:
            name = parse_qs(parts.query).get("d", [""])[0]
        else:
            name = unquote(parts.path.removeprefix(DATA))
        try:
            path = (self.root / name).resolve()  # of links too
            inside = path.is_relative_to(self.root) and path.is_file()
        except (OSError, ValueError, RuntimeError):  # a NUL, a name that is too long, links in a circle
            inside = False
        if not inside:
            raise SourceError("the task's image is no file below --media-root")
        if path.stat().st_size > LARGEST:
            raise ImageError(f"{path.name} is larger than {LARGEST} bytes")
        return path


def read_tags(config: Any, to_name: Any = None) -> Tags:
    """Find the brush and its image in a labelling config; to_name: the image drawn on, where there are several."""
    if not isinstance(config, str) or "<!" in config.replace("<!--", ""):
        raise RequestError("`label_config` is missing or has declarations; expected the labelling config as XML")
    try:
        tree = ElementTree.fromstring(config)
    except ElementTree.ParseError as error:
        raise RequestError(f"`label_config` is no XML ({error})") from None
    images = {tag.get("name"): tag for tag in tree.iter("Image")}
    for tag in tree.iter("BrushLabels"):
        image = images.get(tag.get("toName"))
        value = "" if image is None else image.get("value", "")
        if image is None or to_name not in (None, tag.get("toName")) or not value.startswith("$"):
            continue
        labels = tuple(label.get("value", "") for label in tag.iter("Label"))
        if labels:
            return Tags(tag.get("name", ""), labels, tag.get("toName", ""), value[1:])
    raise RequestError(
        "the labelling config has no <BrushLabels> with a <Label> on the <Image> of the box; add one, to hold the masks"
    )


def read_box(region: Mapping[str, Any], shape: tuple[int, ...]) -> Box:
    """The pixels that a rectangle in percent covers by half or more; BoxError where it does not fit."""
    height, width = shape
    size = (region.get("original_height"), region.get("original_width"))
    if size != (height, width):
        raise BoxError(
            f"the box was drawn on an image of {size[0]}x{size[1]} (height x width) but the file has {height}x{width}: "
            "it is another file, or turned by its EXIF orientation"
        )
    value = _part(region, "value", dict)
    if region.get("image_rotation") or value.get("rotation"):
        raise BoxError("the box or its image is turned; expected sides along rows and columns")
    numbers = [value.get(name) for name in ("x", "y", "width", "height")]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise BoxError("the box has no x, y, width and height; expected percents of the image")
    x, y, across, down = (float(number) / 100 for number in numbers)
    return Box(*check_box(Box.covering(y * height, x * width, (y + down) * height, (x + across) * width), shape))


def _drawn(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rectangles of a request's context."""
    params = request.get("params") or {}
    context = params.get("context") if isinstance(params, dict) else None
    regions = context.get("result") if isinstance(context, dict) else None
    if not regions:
        return []
    if not isinstance(regions, list) or not all(isinstance(region, dict) for region in regions):
        raise RequestError("`params.context.result` is no list of regions")
    drawn = [region for region in regions if region.get("type") in RECTANGLES]
    if not 0 < len(drawn) <= MOST:
        raise BoxError(f"{len(drawn)} rectangles were drawn; expected 1 to {MOST}: use the rectangle tool")
    return drawn


def _region(mask: NDArray[np.bool_], drawn: Mapping[str, Any], tags: Tags) -> dict[str, Any]:
    height, width = mask.shape
    wanted = drawn["value"].get("rectanglelabels")
    label = next((each for each in wanted if each in tags.labels), None) if isinstance(wanted, Sequence) else None
    return {
        "id": uuid4().hex[:10],
        "from_name": tags.brush,
        "to_name": tags.image,
        "type": "brushlabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": brush.encode(mask), "brushlabels": [label or tags.labels[0]]},
    }


def _decoded(address: str) -> bytes:
    head, comma, text = address.partition(",")
    if not comma or not head.endswith(";base64"):
        raise ImageError("the task's data URI is not in base64; expected data:image/png;base64,...")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ImageError(f"the task's data URI is damaged ({error})") from None
    if len(data) > LARGEST:
        raise ImageError(f"the task's image is larger than {LARGEST} bytes")
    return data


def _part(parent: Mapping[str, Any], name: str, kind: type) -> Any:
    part = parent.get(name)
    if not isinstance(part, kind):
        raise RequestError(f"`{name}` is missing or of another form")
    return part
