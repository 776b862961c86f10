"""What Label Studio sends and gets, and what is refused; over a socket where sockets matter."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flipagents.maps.geometry import ellipse
from flipagents.serve import http as server
from flipagents.serve.label_studio import Backend, RequestError, read_box, read_tags
from flipagents.serve.service import SegmentationService
from flipenv import Box, Case
from flipenv.errors import BoxError, ConfigError, FlipError, ImageError, SourceError
from tests.formats.test_brush_rle import decoded

CONFIG = """<View><!-- masks from boxes -->
  <Image name="scan" value="$picture"/>
  <BrushLabels name="mask" toName="scan"><Label value="cyst"/><Label value="nodule"/></BrushLabels>
  <RectangleLabels name="box" toName="scan" smart="true"><Label value="nodule"/></RectangleLabels>
</View>"""


@pytest.fixture
def case(phantoms: list[Case]) -> Case:
    return phantoms[0]


@pytest.fixture
def media(tmp_path: Path, case: Case) -> Path:
    root = tmp_path / "media"
    (root / "sub folder").mkdir(parents=True)
    Image.fromarray(case.image).save(root / "sub folder" / "scan 1.png")
    Image.fromarray(case.image).save(tmp_path / "secret.png")
    (root / "way out").symlink_to(tmp_path)
    return root


def uri(case: Case) -> str:
    data = io.BytesIO()
    Image.fromarray(case.image).save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def region(case: Case, box: Box, **changes: Any) -> dict[str, Any]:
    height, width = case.image.shape
    value = {
        "x": 100 * box.left / width,
        "y": 100 * box.top / height,
        "width": 100 * box.width / width,
        "height": 100 * box.height / height,
        "rotation": 0,
        "rectanglelabels": ["nodule"],
    }
    size = {"original_width": width, "original_height": height, "image_rotation": 0}
    return {"type": "rectanglelabels", "from_name": "box", "to_name": "scan", "value": value, **size, **changes}


def asked(image: str, *regions: dict[str, Any], config: str = CONFIG) -> dict[str, Any]:
    return {
        "tasks": [{"id": 1, "data": {"picture": image}, "drafts": []}],
        "project": "1.1700000000",
        "label_config": config,
        "params": {"login": None, "password": None, "context": {"result": list(regions)}},
    }


@pytest.mark.parametrize("address", ["/data/local-files/?d=sub%20folder/scan%201.png", "sub folder/scan 1.png", "data"])
def test_a_box_becomes_a_brush_mask(case: Case, media: Path, address: str) -> None:
    backend = Backend(SegmentationService(), media, "ellipse")
    answer = backend.predict(asked(uri(case) if address == "data" else address, region(case, case.box)))
    (prediction,) = answer["results"]
    (found,) = prediction["result"]
    height, width = case.image.shape
    assert (found["original_height"], found["original_width"]) == (height, width)
    assert (found["type"], found["from_name"], found["to_name"]) == ("brushlabels", "mask", "scan")
    assert (found["value"]["format"], found["value"]["brushlabels"]) == ("rle", ["nodule"])
    mask = decoded(found["value"]["rle"], height, width)
    np.testing.assert_array_equal(mask, ellipse(case.box, case.image.shape))
    json.dumps(answer)


def test_uploads_two_boxes_and_labels(case: Case, media: Path) -> None:
    (media / "upload" / "7").mkdir(parents=True)
    Image.fromarray(case.image).save(media / "upload" / "7" / "a.png")
    other = region(case, Box(5, 6, 40, 30), type="rectangle")
    del other["value"]["rectanglelabels"]
    request = asked("/data/upload/7/a.png", region(case, case.box), other)
    (prediction,) = Backend(SegmentationService(), media, "box").predict(request)["results"]
    assert [each["value"]["brushlabels"] for each in prediction["result"]] == [["nodule"], ["cyst"]]
    areas = [decoded(each["value"]["rle"], *case.image.shape).sum() for each in prediction["result"]]
    assert areas == [case.box.height * case.box.width, 35 * 24]


def test_scores_are_predicted_dice(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="the weights that ship run on it")
    service = SegmentationService()
    aside = Box(case.box.top, max(case.box.left - 9, 0), case.box.bottom, case.box.right)
    request = asked(uri(case), region(case, case.box), region(case, aside))
    (prediction,) = Backend(service, method="contour").predict(request)["results"]
    expected = [own.quality.value for own in service.results(case.image, [case.box, aside], "contour")]
    assert [each["score"] for each in prediction["result"]] == expected
    assert prediction["score"] == min(expected) < max(expected)
    (plain,) = Backend(service, method="ellipse").predict(request)["results"]
    assert "score" not in plain
    assert all("score" not in each for each in plain["result"])


def test_percents_are_those_of_whole_pixels() -> None:
    """All boxes of an image whose sides are no powers of two come back as they were."""
    image = np.zeros((37, 53), np.uint8)
    for top in range(0, 36):
        for left in range(0, 52):
            box = Box(top, left, 37, 53)
            assert read_box(region(Case(image, box), box), image.shape) == box
    drawn = region(Case(image, box), Box(3, 4, 9, 12))
    drawn["value"] |= {"x": 100 * 4.4 / 53, "width": 100 * 7.1 / 53}
    assert read_box(drawn, image.shape) == Box(3, 4, 9, 12)
    drawn["value"] |= {"x": 100 * 4.6 / 53, "width": 100 * 7.1 / 53}
    assert read_box(drawn, image.shape) == Box(3, 5, 9, 12)


def test_no_box_no_mask(case: Case) -> None:
    for params in ({}, None, {"context": None}, {"context": {"result": []}}):
        assert (
            Backend(SegmentationService(), None, "box").predict(asked(uri(case)) | {"params": params})["results"] == []
        )


@pytest.mark.parametrize(
    "address",
    [
        "../secret.png",
        "/data/local-files/?d=../secret.png",
        "/data/local-files/?d=%2e%2e%2fsecret.png",
        "/data/%2e%2e/secret.png",
        "/data/local-files/?d=/etc/hostname",
        "/etc/hostname",
        "way out/secret.png",
        "sub folder",
        "",
        "none.png",
        "a\0b.png",
        "x" * 5000,
        "http://127.0.0.1/scan.png",
        "https://example.org/scan.png",
        "//example.org/scan.png",
        "file:///etc/hostname",
        "s3://bucket/scan.png",
    ],
)
def test_no_file_outside_and_nothing_fetched(case: Case, media: Path, address: str) -> None:
    backend = Backend(SegmentationService(), media, "box")
    with pytest.raises(FlipError) as told:
        backend.predict(asked(address, region(case, case.box)))
    assert isinstance(told.value, SourceError | RequestError)
    assert str(media.parent) not in str(told.value)
    with pytest.raises(FlipError):
        Backend(SegmentationService(), None, "box").predict(asked(address, region(case, case.box)))


def test_images_that_are_refused(case: Case, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colour = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(colour, "PNG")
    backend = Backend(SegmentationService(), media, "box")
    for data, told in [
        (f"data:image/png;base64,{base64.b64encode(colour.getvalue()).decode()}", "found colour"),
        ("data:image/png;base64,AAAA", "image"),
        ("data:image/png;base64,?", "damaged"),
        ("data:text/plain,abc", "base64"),
    ]:
        with pytest.raises(ImageError, match=told):
            backend.image(data)
    monkeypatch.setattr("flipagents.serve.label_studio.MAX_BYTES", 100)
    for address in (uri(case), "sub folder/scan 1.png"):
        with pytest.raises(ImageError, match="larger than 100 bytes"):
            backend.image(address)
    with pytest.raises(ConfigError, match="is not a folder"):
        Backend(SegmentationService(), media / "none")
    with pytest.raises(ConfigError, match="unheard"):
        Backend(SegmentationService(), media, "unheard")


@pytest.mark.parametrize("orientation", range(2, 9))
def test_images_that_a_browser_turns_are_refused(case: Case, media: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(case.image).save(media / "phone.jpg", exif=exif)
    with pytest.raises(ImageError, match=rf"phone\.jpg: .*\(orientation {orientation}\).*save it upright"):
        Backend(SegmentationService(), media, "box").predict(asked("phone.jpg", region(case, case.box)))


def test_boxes_that_are_refused(case: Case) -> None:
    shape = case.image.shape
    for changes, told in [
        ({"original_width": 7}, "another file"),
        ({"image_rotation": 90}, "rotated"),
        ({"value": {"x": 0, "y": 0, "width": 0, "height": 50}}, "no width"),
        ({"value": {"x": 60, "y": 0, "width": 50, "height": 50}}, "outside"),
        ({"value": {"x": float("nan"), "y": 0, "width": 50, "height": 50}}, "finite"),
        ({"value": {"x": "1", "y": 0, "width": 50, "height": 50}}, "percents"),
        ({"value": {"x": 1, "y": 0, "width": 50, "height": 50, "rotation": 3}}, "rotated"),
    ]:
        with pytest.raises(BoxError, match=told):
            read_box(region(case, case.box, **changes), shape)
    with pytest.raises(BoxError, match="rectangle tool"):
        Backend(SegmentationService(), None, "box").predict(
            asked(uri(case), region(case, case.box, type="keypointlabels"))
        )
    for request in (
        {"params": {"context": {"result": "all"}}},
        asked(uri(case), region(case, case.box)) | {"tasks": []},
        asked(uri(case), region(case, case.box)) | {"tasks": [{}]},
    ):
        with pytest.raises(RequestError):
            Backend(SegmentationService(), None, "box").predict(request)


def test_a_box_that_shows_one_grey_level_is_refused(case: Case) -> None:
    flat = np.array(case.image)
    flat[case.box.rows, case.box.columns] = 0
    flat = Case(flat, case.box)
    with pytest.raises(ImageError, match="all pixels inside the box .* are grey level 0"):
        Backend(SegmentationService(), None, "box").predict(asked(uri(flat), region(flat, flat.box)))


def test_labelling_configs() -> None:
    assert read_tags(CONFIG).labels == ("cyst", "nodule")
    for config, told in [
        ("", "not XML"),
        (None, "missing"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View/>', "declarations"),
        ('<View><Image name="scan" value="$picture"/></View>', "add one"),
        (CONFIG.replace('toName="scan"', 'toName="other"'), "add one"),
    ]:
        with pytest.raises(RequestError, match=told):
            read_tags(config)
    with pytest.raises(RequestError, match="add one"):
        read_tags(CONFIG, "another")


@pytest.fixture
def port(media: Path) -> Iterator[int]:
    with server.make_server(Backend(SegmentationService(), media, "ellipse"), "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running.server_address[1]
        running.shutdown()
        thread.join()


JSON = {"Content-Type": "application/json"}


def ask(port: int, method: str, path: str, body: Any = None, headers: dict[str, str] = JSON) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        with suppress(BrokenPipeError):  # refused before all of it was sent: the answer is there all the same
            connection.request(method, path, body, headers)
        answer = connection.getresponse()
        assert answer.getheader("Access-Control-Allow-Origin") is None
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_over_http(port: int, case: Case) -> None:
    assert ask(port, "GET", "/health") == (
        200,
        {"status": "UP", "model_class": "flip", "model_version": "flip-learning ellipse"},
    )
    schema = {"project": "1.1", "schema": CONFIG, "hostname": "http://localhost:8080", "access_token": "", "extra": 1}
    assert ask(port, "POST", "/setup", json.dumps(schema)) == (200, {"model_version": "flip-learning ellipse"})
    assert ask(port, "POST", "/webhook", json.dumps({"action": "ANNOTATION_CREATED"}))[0] == 200
    request = json.dumps(asked("sub folder/scan 1.png", region(case, case.box)))
    status, answer = ask(port, "POST", "/predict", request)
    assert status == 200
    assert len(answer["results"][0]["result"]) == 1
    status, answer = ask(port, "POST", "/predict", json.dumps(asked("../secret.png", region(case, case.box))))
    assert (status, answer) == (400, {"error": "the task's image is not a file in --media-root"})


def test_what_http_refuses(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for status, method, path, body, headers in [
        (404, "GET", "/predict", None, JSON),
        (404, "POST", "/train", "{}", JSON),
        (415, "POST", "/predict", "{}", {"Content-Type": "text/plain"}),
        (400, "POST", "/predict", "{", JSON),
        (400, "POST", "/predict", "[]", JSON),
        (400, "POST", "/predict", "[" * 100_000, JSON),
        (411, "POST", "/predict", iter([b"{}"]), JSON),  # in chunks
        (413, "POST", "/predict", None, JSON | {"Content-Length": str(10**9)}),
        (403, "GET", "/health", None, {"Host": "rebound.example:9090"}),
        (403, "GET", "/health", None, {"Origin": "http://elsewhere.example"}),
        (403, "POST", "/predict", b"{}", {**JSON, "Origin": "null"}),
    ]:
        found, answer = ask(port, method, path, body, headers)
        assert (found, list(answer)) == (status, ["error"]), (method, path, headers)
    monkeypatch.setattr("flipagents.serve.http.Handler.timeout", 0.2)
    assert ask(port, "POST", "/predict", b"{", JSON | {"Content-Length": "50"})[0] == 408


def test_an_error_of_ours_is_told_briefly(
    port: int, case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("secret path")

    monkeypatch.setattr(SegmentationService, "results", fails)
    request = json.dumps(asked("sub folder/scan 1.png", region(case, case.box)))
    assert ask(port, "POST", "/predict", request) == (500, {"error": "internal error: RuntimeError"})
    assert "secret path" in capsys.readouterr().out
