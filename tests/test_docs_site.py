"""What the site's pages show: Python that runs, commands that exist, errors as they are raised, all public names."""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import flipagents
import flipenv

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)


def run(code: list[str]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for block in code:
        exec(block, known)
    return known


def test_your_own_parts_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flipagents.learn.agents import AGENTS

    monkeypatch.chdir(tmp_path)
    code = blocks("bring-your-own.md", "python")
    assert len(code) == 5
    with ExitStack() as stack:
        for registry in (flipenv.REWARDS, flipenv.BACKGROUNDS, flipenv.SUPERPIXELS, flipenv.SOURCES, AGENTS):
            stack.enter_context(registry.temporarily())
        known = run(code)
    assert known["case"].box == known["same"].box == (40, 50, 80, 110)
    np.testing.assert_array_equal(known["case"].image, known["same"].image)
    (mask,) = known["masks"]
    inside = mask[40:80, 50:110]
    assert mask.sum() == inside.sum()
    assert 0.4 < inside.mean() < 0.6  # of two agents that share the walk, one erases


def test_the_six_ways_of_the_readme_run() -> None:
    pytest.importorskip("torch")
    (code,) = blocks("../README.md", "python")
    assert re.findall(r"^# (\d)\.", code, flags=re.MULTILINE) == list("123456")
    for shown, quick in (
        ("busi:PATH", "phantom:1?height=80&width=112"),
        ("num_envs=64)", 'num_envs=2, source="phantom:1?height=80&width=112")'),
        ("vector_env(64,", 'vector_env(2, "phantom:1?height=80&width=112",'),
    ):
        assert code.count(shown) == 1
        code = code.replace(shown, quick)
    known = run([code])
    assert known["mask"].shape == (320, 448)
    assert type(known["envs"].reset()[0]).__module__ == "torch"
    observations, infos = known["env"].reset()
    assert set(observations) == set(infos) == {"eraser_0", "eraser_1"}


def test_the_quick_start_plays_an_episode() -> None:
    known = run(blocks("quick-start.md", "python")[1:])
    assert known["mask"].shape == (320, 448)
    assert known["mask"].any()


def test_the_masks_to_check_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flipagents.cli import main
    from flipagents.formats.quality_csv import Quality, write_quality

    monkeypatch.chdir(tmp_path)
    assert main(["segment", "phantom:2?height=80&width=112", "--method", "box", "-o", "masks", "-q"]) == 0
    rows = [
        Quality(path.name, "phantom", flipenv.Box(1, 2, 3, 4), "box", 4, quality, reasons=reasons)
        for path, quality, reasons in zip(
            sorted(Path("masks").glob("*_mask.png")), (0.9, 0.5), (("no-nodule",), ()), strict=True
        )
    ]
    write_quality(Path("masks/quality.csv"), rows)
    assert [row.mask for row in run(blocks("review.md", "python")[:1])["worst"]] == [rows[1].mask, rows[0].mask]


def test_a_mask_is_mended_and_rated() -> None:
    pytest.importorskip("onnxruntime")
    _, second = blocks("review.md", "python")
    case = flipenv.open_source("phantom:1?height=96&width=136&first=1000000").load(0)
    box, (row, column) = case.box, np.argwhere(case.mask)[0]
    known: dict[str, Any] = {"folder": None, "image": case.image, "box": box}
    exec(second, known | {"points": np.zeros((0, 2)), "labels": np.zeros(0)}, plain := {})
    exec(second, known | {"points": [(column, row), (box.left, box.top)], "labels": [1, 0]}, mended := {})
    assert mended["quality"].calibrated
    assert 0 < mended["quality"].low < mended["quality"].value < mended["quality"].high <= 1
    clicked = plain["segmenter"].predict(box, points=[(column, row)], labels=[1])
    assert clicked[row, column]
    assert not plain["segmenter"].predict(box, points=[(column, row)], labels=[0])[row, column]


def test_the_quick_start_segments() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    known = run(blocks("quick-start.md", "python")[:1])
    mask, case = known["mask"], known["case"]
    assert mask.shape == case.image.shape
    assert 2 * (mask & case.mask).sum() / (mask.sum() + case.mask.sum()) > 0.8


def test_films_are_followed() -> None:
    known = run(blocks("films.md", "python"))
    assert known["lacking"] == ()
    assert set(known["masks"]) >= set(range(5))
    (let_go,) = known["let_go"]
    assert abs(let_go.frame - known["film"].gone) <= 3


COMMANDS = [
    "../README.md",
    "quick-start.md",
    "environment.md",
    "agents.md",
    "review.md",
    "quality.md",
    "films.md",
    "baselines.md",
    "scale.md",
]


@pytest.mark.parametrize("page", COMMANDS)
def test_commands_exist(page: str) -> None:
    from flipagents.cli import parser as cli

    shown = "".join(blocks(page, "console") + blocks(page, "sh")).splitlines()
    lines = [line[line.find("flip ") :] for line in shown if re.match(r"(.*&& )?flip ", line)]
    assert lines
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "flip"
        cli.make_parser().parse_args(words)


def grey(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return np.zeros(shape, dtype)


def two_box_orders() -> None:
    Image.fromarray(grey(120, 160)).save("scan.png")
    header = "image,top,left,bottom,right,x0,y0,x1,y1"
    Path("cases.csv").write_text(f"{header}\nscan.png,40,50,80,110,50,40,110,80\n")
    flipenv.open_source("csv:cases.csv")


def jpeg_mask() -> None:
    Image.fromarray(grey(120, 160)).save("mask.jpg")
    flipenv.sources.read_mask("mask.jpg", (120, 160))


def negative_mask() -> None:
    Image.fromarray(np.where(np.eye(120, 160), 1, -1).astype(np.int32)).save("mask.tif")
    flipenv.sources.read_mask("mask.tif", (120, 160))


def turned_photograph() -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(grey(120, 160)).save("phone.jpg", exif=exif)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        flipenv.sources.read_image("phone.jpg")
    raise flipenv.FlipError(str(warned[0].message))


def one_grey_level() -> None:
    Image.fromarray(grey(120, 160)).save("scan.png")
    Path("cases.csv").write_text("image,top,left,bottom,right\nscan.png,40,90,80,130\n")
    flipenv.open_source("csv:cases.csv").load(0)


def no_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr("flipenv.superpixels.cv2", SimpleNamespace(__version__=cv2.__version__, ximgproc=None))
    flipenv.SUPERPIXELS["seeds"](grey(40, 60), 20)


def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import array_api_compat

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "array_api_compat.torch", None)
    monkeypatch.delattr(array_api_compat, "torch", raising=False)  # where something before has imported it
    flipenv.vector_env(2, "phantom:1", device="cpu")


def case_of(image: np.ndarray, box: tuple[int, int, int, int] = (40, 60, 80, 90)) -> flipenv.Case:
    return flipenv.Case(image, box, id="mine")


RAISED: dict[str, Callable[..., object]] = {
    "seeds": no_seeds,
    "torch": no_torch,
    "both": lambda patch: two_box_orders(),
    "flat": lambda patch: case_of(grey(320, 448), (40, 60, 40, 90)),
    "outside": lambda patch: case_of(grey(320, 448), (40, 60, 340, 90)),
    "colour": lambda patch: case_of(grey(120, 160, 3)),
    "16 bits": lambda patch: case_of(grey(120, 160, dtype="uint16")),
    "jpeg": lambda patch: jpeg_mask(),
    "negative": lambda patch: negative_mask(),
    "turned": lambda patch: turned_photograph(),
    "one level": lambda patch: one_grey_level(),
    "no scorer": lambda patch: flipenv.parallel_env("phantom:1", scorer=None),
    "no coarse": lambda patch: flipenv.parallel_env([case_of(grey(120, 160))], coarse_channels=True).reset(),
}


def told(text: str) -> str:
    return re.sub(r"OpenCV [\w.-]+ has", "OpenCV has", " ".join(text.split()))


@pytest.mark.parametrize("name", RAISED)
def test_errors_read_as_the_faq_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(flipenv.FlipError) as raised:
        RAISED[name](monkeypatch)
    assert told(str(raised.value).replace(f"{tmp_path}/", "")) in {told(block) for block in blocks("faq.md", "text")}


def test_every_error_of_the_faq_is_raised_here() -> None:
    assert len(blocks("faq.md", "text")) == len(RAISED)


def test_every_public_name_is_in_the_reference() -> None:
    shown = set(re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), flags=re.MULTILINE))
    public = {f"{package.__name__}.{name}" for package in (flipenv, flipagents) for name in package.__all__}
    assert public - shown == set()


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "benchmarks" / "README.md"]))
def test_what_documents_import_is_there_under_its_present_name(page: Path) -> None:
    for block in blocks(str(page), "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("flipenv", "flipagents"):
                assert node.module not in (*flipagents.moved.MOVED, *flipenv.moved.MOVED), page.name
                try:
                    module = import_module(node.module)
                except ImportError as missing:
                    if (missing.name or "").startswith(("flipenv", "flipagents")):
                        raise
                    pytest.skip(str(missing))
                for each in node.names:
                    assert f"{node.module}.{each.name}" not in flipagents.moved.MOVED, page.name
                    assert hasattr(module, each.name) or import_module(f"{node.module}.{each.name}"), page.name


def test_reading_paths_never_turn_back() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## Reading order")[2].partition("\n## ")[0]
    paths = re.findall(r"(?:^\d+\. `.*\n)+", section, flags=re.MULTILINE)
    assert len(paths) == 3
    for path in paths:
        files = re.findall(r"^\d+\. `(\S+\.py)`", path, flags=re.MULTILINE)
        assert 5 <= len(files) <= 10
        modules = [file.removesuffix(".py").replace("/", ".") for file in files]
        for place, file in enumerate(files):
            imported = {
                name
                for node in ast.walk(ast.parse((ROOT / file).read_text()))
                if isinstance(node, ast.ImportFrom) and node.module
                for name in (node.module, *(f"{node.module}.{each.name}" for each in node.names))
            }
            assert imported.isdisjoint(modules[:place]), file


def test_links_to_the_repository_become_links_of_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    hooks = import_module("hooks")
    places = {"docs/agents.md": "agents.md", "docs/decisions/1.md": "decisions/1.md", **hooks.brought()}
    for page, link, expected in (
        ("docs/agents.md", "../README.md#data", "overview.md#data"),
        ("docs/decisions/1.md", "../../benchmarks/README.md", "../benchmarks/README.md"),
        ("benchmarks/README.md", "../docs/agents.md#add-a-method", "../agents.md#add-a-method"),
        ("README.md", "LICENSE", "LICENSE.txt"),
        ("README.md", "https://example.org/README.md", "https://example.org/README.md"),
        ("README.md", "no-such-file.md", "no-such-file.md"),
    ):
        assert hooks.relinked(f"see [it]({link}).", page, places) == f"see [it]({expected})."


def test_fetching_from_another_host_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    fetched = import_module("hooks").FETCHED
    for tag in (
        '<script src="https://example.org/a.js">',
        '<img alt="" src=//example.org/a.png>',
        '<link rel="stylesheet" href="https://example.org/a.css">',
    ):
        assert fetched.search(f"<p>{tag}</p>")
    for tag in ('<a href="https://example.org">', '<script src="assets/a.js">', '<link rel="next" href="a.html">'):
        assert not fetched.search(f"<p>{tag}</p>")


def test_fields_of_a_docstring_become_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("griffe")
    monkeypatch.syspath_prepend(DOCS)
    listed = import_module("fields").listed
    plain = "Make it.\n\nFor people only,\nthat is: for all.\n\nRaises:\n    BoxError: never."
    assert listed(plain) == plain
    assert listed("Make it.\n\nsize: (h, w)\nmean, std: of what\n    is seen") == (
        "Make it.\n\n- `size`: (h, w)\n- `mean`, `std`: of what\n    is seen"
    )
