"""Brings documents from outside docs/ to the site, under links that work in the repository too."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RENAMED = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "LICENSE.txt",
}
BROUGHT = (
    *RENAMED,
    "benchmarks/README.md",
    "benchmarks/results/**/*.md",
    "benchmarks/results/**/*.png",
    "benchmarks/results/**/*.json",
    "flipagents/weights/*/README.md",
)
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|[#/])[^)#\s]+")
ELSEWHERE = r"""["']?(?:https?:)?//"""
FETCHED = re.compile(
    rf"<(?:script|img|iframe|source)\b[^>]*\ssrc={ELSEWHERE}"
    rf"|<link\b[^>]*\srel=[\"']?(?:stylesheet|preconnect|preload)[^>]*\shref={ELSEWHERE}"
)


def brought() -> dict[str, str]:
    """Path in the repository of what lies outside docs/ -> path on the site."""
    paths = [path.relative_to(ROOT).as_posix() for pattern in BROUGHT for path in sorted(ROOT.glob(pattern))]
    return {path: RENAMED.get(path, path) for path in paths}


def relinked(markdown: str, page: str, places: dict[str, str]) -> str:
    """The text of a page with each link to a file of `places` (repository -> site) made one between site pages.

    page: its path in the repository. A link to anything else stays as it is, and a strict build complains.
    """
    here, shown = posixpath.dirname(page), posixpath.dirname(places[page])

    def place(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(here, link[0]))
        return posixpath.relpath(places[target], shown or ".") if target in places else link[0]

    return LINK.sub(place, markdown)


def on_config(config: Any) -> Any:
    """Fill the section Decisions."""
    for section in config.nav:
        if "Decisions" in section:
            section["Decisions"] = [f"decisions/{path.name}" for path in sorted((ROOT / "docs/decisions").glob("*.md"))]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add what lies outside docs/."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - so that links can be tested without MkDocs

    for path, page in brought().items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Make links fit the site."""
    places = {f"docs/{file.src_uri}": file.src_uri for file in files} | brought()
    source = Path(page.file.abs_src_path).relative_to(ROOT).as_posix()
    return relinked(markdown, source, places)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Refuse a page that fetches from another host."""
    found = FETCHED.search(output)
    if found:
        raise ValueError(f"{page.file.src_uri} fetches from another host: {found[0]}")
    return output
