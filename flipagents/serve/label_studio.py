"""Label Studio backend: brush masks for the boxes a user draws; independent of HTTP."""

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
from flipagents.segment.quality import Quality
from flipagents.serve.service import AGENTS, SegmentationService, open_picture
from flipenv.checks import check_box
from flipenv.errors import BoxError, ConfigError, FlipError, ImageError, SourceError
from flipenv.types import Box

MAX_BYTES = 64_000_000  # bytes of an image file
LOCAL_FILES = "/data/local-files/"  # URL of a file in Label Studio's local storage: ?d=PATH
DATA = "/data/"  # prefix of uploaded files
RECTANGLES = ("rectanglelabels", "rectangle")
MAX_BOXES = 100  # boxes per request


class RequestError(FlipError):
    """A malformed request."""


@dataclass(frozen=True)
class Tags:
    """The parts of a labelling config used in an answer."""

    brush: str  # name of the BrushLabels
    labels: tuple[str, ...]  # of the brush
    image: str  # name of the Image it draws on
    key: str  # of the image in the task's data


class Backend:
    """Answers /predict for one method.

    media_root: folder of the images that tasks may refer to; None allows data URIs only. method, margin: as
    `flipagents.serve.service.SegmentationService.masks`. Requests are computed one at a time.
    """

    def __init__(
        self, service: SegmentationService, media_root: Path | None = None, method: str = AGENTS, margin: int = 0
    ) -> None:
        if media_root is not None and not media_root.is_dir():
            raise ConfigError(f"media root {media_root} is not a folder; expected the folder of the images")
        self.service, self.method, self.margin = service, method, margin
        self.root = None if media_root is None else media_root.resolve()
        self._busy = threading.Lock()
        service.method(method)  # fail early on missing dependencies

    @property
    def version(self) -> str:
        """Model version shown by Label Studio."""
        return f"flip-learning {self.method}"

    def predict(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to /predict: a brush mask per rectangle in the context; no results without a rectangle.

        The score of a mask is its predicted Dice, that of the answer the lowest of them; a method without maps gives
        none.

        Raises RequestError for a malformed request, SourceError, ImageError or BoxError for an invalid image or box.
        """
        drawn = _rectangles(request)
        if not drawn:
            return {"results": [], "model_version": self.version}
        tags = read_tags(request.get("label_config"), drawn[0].get("to_name"))
        tasks = request.get("tasks")
        if not isinstance(tasks, list) or len(tasks) != 1 or not isinstance(tasks[0], dict):
            raise RequestError("expected one task in `tasks`, the one with the box")
        image = self.image(_field(tasks[0], "data").get(tags.key))
        boxes = [read_box(each, image.shape) for each in drawn]
        with self._busy:
            rated = self.service.results(image, boxes, self.method, self.margin)
        result = [_region(own.mask, each, tags, own.quality) for own, each in zip(rated, drawn, strict=True)]
        scores = [own.quality.value for own in rated if own.quality is not None]
        answer = {"result": result, "model_version": self.version, **({"score": min(scores)} if scores else {})}
        return {"results": [answer], "model_version": self.version}

    def image(self, address: Any) -> NDArray[np.uint8]:
        """The image of a task, (height, width) uint8, from a data URI or a file in the media root."""
        if not isinstance(address, str) or not address:
            raise RequestError("the task has no image; expected a data URI or a path in its data")
        if not address.startswith("data:"):
            return open_picture(self.file(address), upright=True).image  # as browsers show it
        with tempfile.TemporaryDirectory(prefix="flip-serve-") as folder:
            path = Path(folder) / "image"
            path.write_bytes(_decode(address))
            return open_picture(path, upright=True).image

    def file(self, address: str) -> Path:
        """The file of a task's image; SourceError for a file outside the media root, or a web address.

        Accepted are `/data/local-files/?d=PATH` (local storage), `/data/PATH` (uploads) and PATH, all relative to the
        media root.
        """
        try:
            parts = urlsplit(address)
        except ValueError:
            raise SourceError("the task's image is not a valid URL") from None
        if parts.scheme or parts.netloc:
            raise SourceError(
                "the task's image is a web address, which is not fetched; put the file in --media-root, or send it as "
                "a data URI"
            )
        if self.root is None:
            raise SourceError("the task refers to a file; start `flip serve` with --media-root, its folder")
        if parts.path == LOCAL_FILES:
            name = parse_qs(parts.query).get("d", [""])[0]
        else:
            name = unquote(parts.path.removeprefix(DATA))
        try:
            path = (self.root / name).resolve()  # resolves links too
            inside = path.is_relative_to(self.root) and path.is_file()
        except (OSError, ValueError, RuntimeError):  # NUL, name too long, link cycle
            inside = False
        if not inside:
            raise SourceError("the task's image is not a file in --media-root")
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"{path.name} is larger than {MAX_BYTES} bytes")
        return path


def read_tags(config: Any, to_name: Any = None) -> Tags:
    """Find the brush and its image in a labelling config; to_name: the image drawn on, if there are several."""
    if not isinstance(config, str) or "<!" in config.replace("<!--", ""):
        raise RequestError("`label_config` is missing or has DTD declarations; expected a labelling config")
    try:
        tree = ElementTree.fromstring(config)
    except ElementTree.ParseError as error:
        raise RequestError(f"`label_config` is not XML ({error})") from None
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
        "the labelling config has no <BrushLabels> with a <Label> on the <Image> of the box; add one for the masks"
    )


def read_box(region: Mapping[str, Any], shape: tuple[int, ...]) -> Box:
    """The box of a rectangle in percent, see `Box.covering`; BoxError if it does not fit the image."""
    height, width = shape
    size = (region.get("original_height"), region.get("original_width"))
    if size != (height, width):
        raise BoxError(
            f"the box was drawn on an image of {size[0]}x{size[1]} (height x width) but the file has {height}x{width}: "
            "it is another file, or rotated by its EXIF orientation"
        )
    value = _field(region, "value")
    if region.get("image_rotation") or value.get("rotation"):
        raise BoxError("the box or its image is rotated; expected sides along rows and columns")
    numbers = [value.get(name) for name in ("x", "y", "width", "height")]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise BoxError("the box has no x, y, width and height; expected percents of the image")
    x, y, across, down = (float(number) / 100 for number in numbers)
    return Box(*check_box(Box.covering(y * height, x * width, (y + down) * height, (x + across) * width), shape))


def _rectangles(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rectangles of a request's context."""
    params = request.get("params") or {}
    context = params.get("context") if isinstance(params, dict) else None
    regions = context.get("result") if isinstance(context, dict) else None
    if not regions:
        return []
    if not isinstance(regions, list) or not all(isinstance(region, dict) for region in regions):
        raise RequestError("`params.context.result` is not a list of regions")
    drawn = [region for region in regions if region.get("type") in RECTANGLES]
    if not 0 < len(drawn) <= MAX_BOXES:
        raise BoxError(f"found {len(drawn)} rectangles; expected 1 to {MAX_BOXES}: use the rectangle tool")
    return drawn


def _region(mask: NDArray[np.bool_], drawn: Mapping[str, Any], tags: Tags, quality: Quality | None) -> dict[str, Any]:
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
        **({} if quality is None else {"score": quality.value}),
        "value": {"format": "rle", "rle": brush.encode(mask), "brushlabels": [label or tags.labels[0]]},
    }


def _decode(address: str) -> bytes:
    head, comma, text = address.partition(",")
    if not comma or not head.endswith(";base64"):
        raise ImageError("the task's data URI is not base64; expected data:image/png;base64,...")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ImageError(f"the task's data URI is damaged ({error})") from None
    if len(data) > MAX_BYTES:
        raise ImageError(f"the task's image is larger than {MAX_BYTES} bytes")
    return data


def _field(parent: Mapping[str, Any], name: str) -> Any:
    part = parent.get(name)
    if not isinstance(part, dict):
        raise RequestError(f"`{name}` is missing or not a JSON object")
    return part
