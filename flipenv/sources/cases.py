"""Cases in memory, as a source."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from flipenv.errors import SourceError
from flipenv.sources.base import ListedSource
from flipenv.sources.contents import digest
from flipenv.types import Case


@dataclass(frozen=True, eq=False)
class CaseInMemory:
    """One case in memory."""

    case: Case

    @property
    def id(self) -> str:
        """The case's id; see `Source.ids`."""
        return self.case.id

    def load(self) -> Case:
        """Return the case; see `Source.load`."""
        return self.case

    def fingerprint(self) -> str:
        """Hash what determines the case; see `Source.fingerprint`."""
        case = self.case
        arrays = (case.image, case.mask, case.background, case.coarse, case.prior)
        return digest(case.id, case.box, case.meta, *(None if array is None else np.asarray(array) for array in arrays))

    def unlabelled(self) -> CaseInMemory:
        """The same case without its mask."""
        return CaseInMemory(dataclasses.replace(self.case, mask=None))


class CaseSource(ListedSource):
    """Cases from an iterable, which is consumed at once.

    Raises SourceError if it is empty, an item is not a Case, or two cases have the same id.
    """

    def __init__(self, cases: Iterable[Case]) -> None:
        entries = []
        for index, case in enumerate(cases):
            if not isinstance(case, Case):
                raise SourceError(
                    f"item {index} of the cases is a {type(case).__name__}; expected flipenv Case objects, "
                    "for example Case(image, (top, left, bottom, right))"
                )
            entries.append(CaseInMemory(case))
        super().__init__(entries, "cases in memory")
