"""What people's SQL may name in a home, made ready for the child process that answers it.

Comes in: a store that can hand over its rows as files. Goes out: the statements that make a view of
each table over these files, and the views that the requirement documents name. The hot rows are in
files of their own, which go when the answer is there.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from whence.errors import StoreError
from whence.query.sqlwire import SqlFile, SqlSetup, file_url
from whence.store.duckdb import DuckDBStore
from whence.store.views import REQUIREMENT_VIEWS

if TYPE_CHECKING:
    from collections.abc import Generator

    from whence.store.base import Store


@contextmanager
def prepared(store: Store) -> Generator[SqlSetup]:
    """Yield the setup of a query child for a store; its files stay until the block is left.

    Raises:
        StoreError: The store takes no SQL.
    """
    if not isinstance(store, DuckDBStore):
        message = (
            "SQL needs DuckDB: pip install 'whence[cli]', and open the home without memory=True"
        )
        raise StoreError(message)
    with store.sql_tables() as tables:
        urls = {name: file_url(name) for name in tables.files}
        views = {
            name: select.format(**urls) for name, select in tables.sources.items()
        } | REQUIREMENT_VIEWS
        yield SqlSetup(
            statements=tuple(f"CREATE VIEW {name} AS {select}" for name, select in views.items()),
            files={name: SqlFile(path) for name, path in tables.files.items()},
            tables=tuple(views),
        )
