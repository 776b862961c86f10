"""`flip review`: which masks to check."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

# What a command needs is imported where it runs: `flip --help` must not wait for torch, nor for OpenCV.
# ruff: noqa: PLC0415

SHEET = "review.html"


def review(options: argparse.Namespace) -> int:
    """Write one HTML page of all masks in a folder, marked and least sure first, to look through in a browser."""
    from flipagents.serve.review import cards, listing
    from flipagents.serve.review_page import sheet
    from flipagents.store.files import write_texts
    from flipenv.errors import ConfigError
    from flipenv.progress import show_progress

    path = options.out or options.folder / SHEET
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"-o {path}: the page is HTML; give a name that ends with .html")
    found = listing(options.folder)
    count = min(len(found.masks), options.first or len(found.masks))
    with show_progress("drawing", count, quiet=options.quiet, brief=True) as shown:
        page = sheet(found, cards(found, options.first, advance=shown.advance))
    write_texts({path: page})
    if not options.quiet:
        marked = f", {sum(each.is_marked for each in found.masks)} marked" if found.is_rated else ""
        print(f"{count} of {len(found.masks)} masks{marked} in {path} ({len(page) / 1e6:.1f} MB)")
    return 0


def add_options(parser: argparse.ArgumentParser, count: Callable[[str], int]) -> None:
    """Options of `flip review`. count: type of a whole number, 1 or more."""
    parser.add_argument("folder", type=Path, metavar="OUT", help="output folder of `flip segment`")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help=f"the page (default OUT/{SHEET})")
    parser.add_argument("--first", type=count, metavar="N", help="only the first N masks")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary")
