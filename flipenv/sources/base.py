"""The interface of a source of cases, and the parts shared by all sources."""

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

    Sources are sent to worker processes: they can be pickled, and hold file names rather than images.
    """

    @property
    def ids(self) -> tuple[str, ...]:
        """One unique id per case."""
        ...

    def __len__(self) -> int: ...

    def load(self, index: int) -> Case:
        """Read one case; ImageError, MaskError, BoxError or SourceError name the faulty file."""
        ...

    def fingerprint(self, index: int) -> str:
        """Hex digest of everything that determines the case (id, box, file bytes), without decoding an image.

        The same content gives the same digest in any folder, so it can serve as a cache key.
        """
        ...


class Entry(Protocol):
    """One case of a `ListedSource`, read on demand."""

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
        """The same case without its mask, which is neither read nor hashed unless the box is derived from it."""
        ...


@dataclass(frozen=True, eq=False)
class BadEntry:
    """A case found unreadable when the source is opened; the others stay usable."""

    id: str
    error: FlipError

    def load(self) -> Case:
        """Raise the error."""
        raise type(self.error)(*self.error.args)

    def fingerprint(self) -> str:
        """Raise the error."""
        raise type(self.error)(*self.error.args)

    def unlabelled(self) -> BadEntry:
        """Itself."""
        return self


class ListedSource:
    """A source whose cases are listed when it is opened and read on demand.

    An error in one case is raised when that case is loaded; the others stay usable.

    Raises SourceError if `entries` is empty or two of them have the same id; `where` names the source in errors.
    """

    def __init__(self, entries: Sequence[Entry], where: str) -> None:
        if not entries:
            raise SourceError(f"{where}: no cases found; expected at least one image with a box")
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
        """One id per case, in order."""
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
    """The cases of a source without their masks.

    Masks are not read, unless the box is derived from them.
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    @property
    def ids(self) -> tuple[str, ...]:
        """The source's ids."""
        return self.source.ids

    def __len__(self) -> int:
        return len(self.source)

    def load(self, index: int) -> Case:
        """Read one case; its mask is None. See `Source.load`."""
        if isinstance(self.source, ListedSource):
            return self.source.entries[index].unlabelled().load()
        return dataclasses.replace(self.source.load(index), mask=None)

    def fingerprint(self, index: int) -> str:
        """Hex digest of the case, without its mask if the source can separate it."""
        if isinstance(self.source, ListedSource):
            return self.source.entries[index].unlabelled().fingerprint()
        return self.source.fingerprint(index)


def make_case(where: str, *, columns_first: bool = False, **parts: Any) -> Case:
    """Return a Case of parts read from files; errors are prefixed with `where`.

    columns_first: errors quote the box as X0, Y0, X1, Y1, as given.
    Raises as Case, and ImageError if the box has a single grey level: the wrong file or box.
    """
    with naming(where):
        check_box(parts["box"], parts["image"].shape, columns_first=columns_first)
        case = Case(**parts)
        check_contrast(case.image, case.box, columns_first=columns_first)
        return case


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Prefix the message of a FlipError with the name of a file, line or case."""
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
