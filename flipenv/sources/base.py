"""What a source of cases is: the promise that every reader keeps, and the parts that all of them share."""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from flipenv.checks import check_box, check_contrast
from flipenv.errors import FlipError, SourceError
from flipenv.registry import unknown
from flipenv.types import Case


@runtime_checkable
class Source(Protocol):
    """A numbered collection of cases that are read one at a time.

    A source travels to worker processes: it can be pickled, and it holds file names rather than pictures.
    """

    @property
    def ids(self) -> tuple[str, ...]:
        """One id a case, none twice."""
        ...

    def __len__(self) -> int: ...

    def load(self, index: int) -> Case:
        """Read one case; ImageError, MaskError, BoxError or SourceError name the file that does not fit."""
        ...

    def fingerprint(self, index: int) -> str:
        """Hex digest of all that determines the case (id, box, file bytes), without decoding a picture.

        The same content gives the same digest wherever its folder lies, so that it can be the key of a cache.
        """
        ...


class Entry(Protocol):
    """One case of a `ListedSource`: where it comes from, and how it is read."""

    @property
    def id(self) -> str:
        """The case's id; see `Source.ids`."""
        ...

    def load(self) -> Case:
        """Read the case; see `Source.load`."""
        ...

    def fingerprint(self) -> str:
        """Hash what determines the case; see `Source.fingerprint`."""
        ...

    def unlabelled(self) -> Entry:
        """The same case without its mask; where the box does not come from it, the mask is neither read nor hashed."""
        ...


@dataclass(frozen=True, eq=False)
class BadEntry:
    """A case that cannot be read, known when the source is opened; the others can."""

    id: str
    error: FlipError

    def load(self) -> Case:
        """Raise the error."""
        raise type(self.error)(*self.error.args)

    def fingerprint(self) -> str:
        """Raise the error."""
        raise type(self.error)(*self.error.args)

    def unlabelled(self) -> BadEntry:
        """It is bad without its mask too."""
        return self


class ListedSource:
    """A source whose cases are listed when it is opened and read when they are asked for.

    What is wrong with one of them shows when that one is loaded, so that the others can be worked on.

    Raises SourceError when `entries` is empty or two of them have the same id; `where` says whose they are.
    """

    def __init__(self, entries: Sequence[Entry], where: str) -> None:
        if not entries:
            raise SourceError(f"{where}: holds no cases; expected at least one image with a box")
        self.where = where
        self.entries = tuple(entries)
        self._ids = tuple(entry.id for entry in self.entries)
        twice = [f"{name!r} ({count} times)" for name, count in Counter(self._ids).items() if count > 1]
        if twice:
            more = ", ..." if len(twice) > 5 else ""
            raise SourceError(f"{where}: ids are not unique: {', '.join(twice[:5])}{more}; give each case its own id")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.where}: {len(self)} cases>"

    @property
    def ids(self) -> tuple[str, ...]:
        """One id a case, in the order of the cases."""
        return self._ids

    def __len__(self) -> int:
        return len(self.entries)

    def load(self, index: int) -> Case:
        """Read one case; see `Source.load`."""
        return self.entries[index].load()

    def fingerprint(self, index: int) -> str:
        """Hex digest of what determines one case; see `Source.fingerprint`."""
        return self.entries[index].fingerprint()


class Unlabelled:
    """The cases of a source without their masks, as a user's own would be: a Source that reads no mask in vain.

    A damaged mask does not matter to it, but where a box is drawn around the mask.
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    @property
    def ids(self) -> tuple[str, ...]:
        """Those of the source."""
        return self.source.ids

    def __len__(self) -> int:
        return len(self.source)

    def load(self, index: int) -> Case:
        """Read one case; its mask is None. See `Source.load`."""
        if isinstance(self.source, ListedSource):
            return self.source.entries[index].unlabelled().load()
        return dataclasses.replace(self.source.load(index), mask=None)

    def fingerprint(self, index: int) -> str:
        """Hex digest of what determines the case without its mask, as far as the source can tell it apart."""
        if isinstance(self.source, ListedSource):
            return self.source.entries[index].unlabelled().fingerprint()
        return self.source.fingerprint(index)


def make_case(where: str, *, columns_first: bool = False, **parts: Any) -> Case:
    """Return the Case of parts that come from files; an error about them says `where` they come from.

    columns_first: quote the box in errors as X0, Y0, X1, Y1, because that is how it was given.
    Raises as Case, and ImageError where the box shows one grey level: the file or the box is another than was meant.
    """
    with naming(where):
        check_box(parts["box"], parts["image"].shape, columns_first=columns_first)
        case = Case(**parts)
        check_contrast(case.image, case.box, columns_first=columns_first)
        return case


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Put the name of a file, a line or a case before the message of a FlipError."""
    try:
        yield
    except FlipError as error:
        raise type(error)(f"{where}: {error}") from error


def find(source: Source, case_id: str) -> int:
    """Return the index of the case with this id; SourceError with the nearest ids if there is none.

    >>> from flipenv.sources import open_source
    >>> find(open_source("phantom:12"), "phantom-0007")
    7
    """
    ids = source.ids
    if case_id in ids:
        return ids.index(case_id)
    shown = dict.fromkeys([*difflib.get_close_matches(str(case_id), ids, n=5), *ids[:5]])
    raise SourceError(
        f"{unknown('case', case_id, shown)}{', ...' if len(shown) < len(ids) else ''} ({len(ids)} in all)"
    )
