"""Opens the facts of a home: in DuckDB where the store has it, in plain Python elsewhere.

Both ways give the same answers to every question of `whence.analysis.facts`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from whence.analysis import memoryfacts, sqlfacts
from whence.analysis.facts import Asked, Facts

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from whence.query.reader import Reader


@contextmanager
def open_facts(
    reader: Reader,
    *,
    filter: str = "",  # noqa: A002 - the word of the public API
    only: Mapping[str, str] | None = None,
    extra: str | None = None,
    hashes: bool = False,
) -> Generator[Facts]:
    """Yield the facts of a home as it is now; they do not change while the block lasts.

    Args:
        reader: An open reader.
        filter: Which generations count, in the filter language. Edges count where they lead to a
            request that counts.
        only: Values that fields of a call must have.
        extra: A key of the attributes, of the call or its run, to be had as the field `extra`.
        hashes: Make an input hash from the messages of calls that state none, which reads all
            messages.

    Raises:
        FilterError: The filter is wrong.
        StoreError: The store cannot be read.
    """
    asked = Asked(filter, dict(only or {}), extra, hashes)
    store = reader.store
    if sqlfacts.can_answer(store):
        with sqlfacts.opened(store, asked) as facts:
            yield facts
    else:
        yield memoryfacts.read(reader, asked)
