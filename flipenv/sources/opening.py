"""Sources from text, such as "phantom:200" or "busi:PATH?split=train"."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from flipenv.errors import ConfigError, SourceError
from flipenv.registry import Registry, unknown
from flipenv.sources.base import Source
from flipenv.sources.busi import BusiSource
from flipenv.sources.cases import CaseSource
from flipenv.sources.coco import CocoSource
from flipenv.sources.folders import FolderSource
from flipenv.sources.options import need_path, split_options, whole_number, yes_or_no
from flipenv.sources.phantom_films import FilmSource
from flipenv.sources.phantoms import PhantomSource
from flipenv.sources.table import TableSource
from flipenv.types import Case

SourceLike: TypeAlias = Source | str | Case | Iterable[Case]

# Each takes the text after "kind:", "" if there is none.
SOURCES: Registry[Callable[[str], Source]] = Registry("source")


def open_source(source: SourceLike) -> Source:
    """Return a Source from a Source, a Case, an iterable of Case, or text.

    Text is `kind` or `kind:ARGUMENT?option=value&option=value`:

    - `phantom`, `phantom:200?first=1000&height=160&width=224`: synthetic cases, by default 64
    - `phantom-film`, `phantom-film:4?frames=24&fade=true&first=0&height=320&width=448`: every frame of synthetic films
    - `busi:PATH?split=train&boxes=FILE.csv`: the BUSI folder
    - `folders:PATH`: subject folders with data.png and nodule.npy
    - `coco:FILE.json?category=nodule`: COCO instances
    - `csv:FILE.csv?split=train`: a table; options keep the rows whose column has that value

    Raises ConfigError for an unknown kind, SourceError for an unknown option or unreadable data.
    """
    if isinstance(source, str):
        kind, _, text = source.partition(":")
        if kind not in SOURCES:
            raise ConfigError(f"{unknown('source', kind, SOURCES)}; write 'kind:ARGUMENT', for example 'folders:PATH'")
        return SOURCES[kind](text)
    if isinstance(source, Source):
        return source
    if isinstance(source, Case):
        return CaseSource([source])
    if isinstance(source, Iterable):
        return CaseSource(source)
    raise SourceError(
        f"source is a {type(source).__name__}; expected a Source, a Case, an iterable of Case, or text such as "
        f"'phantom:8' or 'folders:PATH' (kinds are {', '.join(sorted(SOURCES))})"
    )


@SOURCES.register("phantom")
def _phantom(text: str) -> Source:
    count, options = split_options("phantom", text, ("first", "height", "width"))
    numbers = {name: whole_number("phantom", name, value) for name, value in options.items()}
    return PhantomSource(**({"count": whole_number("phantom", "count", count)} if count else {}), **numbers)


@SOURCES.register("phantom-film")
def _phantom_film(text: str) -> Source:
    kind = "phantom-film"
    count, options = split_options(kind, text, ("fade", "first", "frames", "height", "width"))
    fade = yes_or_no(kind, "fade", options.pop("fade", "false"))
    numbers = {name: whole_number(kind, name, value) for name, value in options.items()}
    return FilmSource(**({"count": whole_number(kind, "count", count)} if count else {}), **numbers, fade=fade)


@SOURCES.register("busi")
def _busi(text: str) -> Source:
    path, options = split_options("busi", text, ("split", "boxes"))
    return BusiSource(need_path("busi", path, "busi:PATH?split=train"), **options)


@SOURCES.register("folders")
def _folders(text: str) -> Source:
    path, _ = split_options("folders", text, ())
    return FolderSource(need_path("folders", path, "folders:PATH"))


@SOURCES.register("coco")
def _coco(text: str) -> Source:
    path, options = split_options("coco", text, ("category",))
    return CocoSource(need_path("coco", path, "coco:FILE.json"), **options)


@SOURCES.register("csv")
def _csv(text: str) -> Source:
    path, options = split_options("csv", text, None)
    return TableSource(need_path("csv", path, "csv:FILE.csv"), keep=options)
