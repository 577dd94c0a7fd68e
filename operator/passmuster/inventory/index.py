"""Rows by a key, for checks that ask about many resources: reading a long list once for each would take minutes.

What could not be read surfaces as it does in a `View`: asking for a key yields the rows that were read and then raises
`Unread`, so that a pass is reached before the gap and an absence never is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator

from passmuster.inventory.snapshot import Gap, Row, Unread


class Index:
    """The rows of one or several readings by what `key` says of a row.

    ::

        jobs = Index(lambda row: row["ResourceArn"], view.rows(COPY_JOBS))
        any(row["State"] == "COMPLETED" for row in jobs.rows(arn))
    """

    __slots__ = ("_gaps", "_rows")

    def __init__(self, key: Callable[[Row], Hashable], *readings: Iterable[Row]) -> None:
        self._rows: dict[Hashable, list[Row]] = defaultdict(list)
        self._gaps: list[Gap] = []
        for reading in readings:
            try:
                for row in reading:
                    self._rows[key(row)].append(row)
            except Unread as unread:
                self._gaps.extend(unread.gaps)

    def rows(self, key: Hashable, region: str | None = None) -> Iterator[Row]:
        """Every row of that key that was read; then Unread is raised if something was not.

        With `region`, only what could not be read there counts: the rows of that key can be nowhere else.
        """
        yield from self._rows.get(key, ())
        gaps = [gap for gap in self._gaps if region in (None, gap.request.region)]
        if gaps:
            raise Unread(gaps)


def by_region(rows: Iterable[Row]) -> Index:
    """Rows by the region that they were read in; ask it with `rows(region, region)`."""
    return Index(lambda row: row.region, rows)
