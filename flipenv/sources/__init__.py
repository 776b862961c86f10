"""Sources of cases: phantoms, BUSI, subject folders, COCO, CSV tables, cases in memory."""

from flipenv.sources.base import Source, Unlabelled, find
from flipenv.sources.busi import BusiSource
from flipenv.sources.cases import CaseSource
from flipenv.sources.coco import CocoSource
from flipenv.sources.films import read_film
from flipenv.sources.folders import FolderSource
from flipenv.sources.lesion import largest_component, tight_box
from flipenv.sources.opening import SOURCES, SourceLike, open_source
from flipenv.sources.phantom_films import Film, FilmSource, phantom_film
from flipenv.sources.phantoms import PhantomSource
from flipenv.sources.readers import count_frames, read_image, read_mask
from flipenv.sources.table import TableSource

__all__ = [
    "SOURCES",
    "BusiSource",
    "CaseSource",
    "CocoSource",
    "Film",
    "FilmSource",
    "FolderSource",
    "PhantomSource",
    "Source",
    "SourceLike",
    "TableSource",
    "Unlabelled",
    "count_frames",
    "find",
    "largest_component",
    "open_source",
    "phantom_film",
    "read_film",
    "read_image",
    "read_mask",
    "tight_box",
]
