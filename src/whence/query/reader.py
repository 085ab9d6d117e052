"""The reading facade: one object on which every question about a home is asked.

`open_store` opens a home; a `Reader` answers with rows as they were meant (`whence.query.restore`),
in pages, trees and chains. Before each question it takes in what was written since the last one, so
whoever writes a record and then asks finds it. Everything it does is in a module of its own; here
is only what belongs to an open store. It never writes, but for annotations, which are records of
their own. To add a store: a line in `OPENERS`.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Self

from whence import config
from whence.errors import NotFoundError, SqlRefused, StoreError
from whence.log import blobs
from whence.log.home import Home
from whence.query import find, restore, tables
from whence.query.tables import DEFAULT_LIMIT, TableMethod
from whence.record import values
from whence.store import rows as r
from whence.store.memory import MemoryStore

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from whence.log.reader import Problem
    from whence.query.compare import Comparison
    from whence.query.lineage import Direction, Lineage
    from whence.query.page import Page
    from whence.query.sqlresult import SqlResult
    from whence.query.stats import Stats
    from whence.query.tree import RunTree
    from whence.query.why import Why
    from whence.store.base import Store

OPENERS: dict[str, Callable[[str], Store]] = {}
"""URL scheme to what opens the store there. A home folder has no scheme."""


def open_store(
    home_or_url: str | os.PathLike[str] | None = None, *, memory: bool = False
) -> Reader:
    """Return a reader of a home, to be used with `with`.

    A default home that does not exist yet is empty; one that was named has to exist.

    Args:
        home_or_url: The home folder; `WHENCE_HOME`, else `./.whence`, if None.
        memory: Read everything into memory with the reference store, rather than through DuckDB
            where that is installed.

    Raises:
        ConfigError: What was given is no path.
        StoreError: There is no such home, or the URL is of a store that this version cannot open.
    """
    if isinstance(home_or_url, str) and "://" in home_or_url:
        scheme = home_or_url.partition("://")[0]
        opener = OPENERS.get(scheme)
        if opener is None:
            # Without the rest of the URL, which may hold a password.
            raise StoreError(
                f"{scheme}://… is not a store this version can open; give a home folder"
            )
        return Reader(opener(home_or_url), None)
    path = config.home_path(home_or_url)
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is a file, not a home; give the folder that holds `log`")
    if home_or_url is not None and not path.exists():
        raise StoreError(
            f"there is no home at {path}; run `whence demo` to make one, "
            "or set WHENCE_HOME to yours"
        )
    home = Home(path)
    return Reader(_open_home(home, memory=memory), home)


def _open_home(home: Home, *, memory: bool) -> Store:
    if memory or importlib.util.find_spec("duckdb") is None:
        return MemoryStore(home)
    from whence.store.duckdb import DuckDBStore  # noqa: PLC0415 - an optional package, which takes a while to import

    return DuckDBStore(home)


class Reader:
    """An open store. Use it with `with`, from one thread at a time.

    Each table is a method of its name that gives pages of rows, the latest first:
    `reader.decisions("confidence < 0.6")`; the arguments are those of `whence.query.tables.Ask`.
    """

    runs = TableMethod(r.RunRow)
    spans = TableMethod(r.SpanRow)
    decisions = TableMethod(r.DecisionRow)
    factors = TableMethod(r.FactorRow)
    sources = TableMethod(r.SourceRow)
    generations = TableMethod(r.GenerationRow)
    tool_calls = TableMethod(r.ToolCallRow)
    transformations = TableMethod(r.TransformationRow)
    scores = TableMethod(r.ScoreRow)
    outputs = TableMethod(r.OutputRow)
    links = TableMethod(r.LinkRow)
    events = TableMethod(r.EventRow)
    annotations = TableMethod(r.AnnotationRow)
    gaps = TableMethod(r.GapRow)

    def __init__(self, store: Store, home: Home | None) -> None:
        self._store: Store | None = store
        self.home = home

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up files and connections; closing twice is allowed."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    @property
    def store(self) -> Store:
        """The store behind this reader, up to date with what has been written.

        Raises:
            StoreError: The reader is closed.
        """
        if self._store is None:
            raise StoreError("this store is closed; open it again with whence.open()")
        self._store.refresh()
        return self._store

    def rows(
        self,
        table: str,
        filter: str = "",  # noqa: A002 - the word of the public API
        *,
        order: str = "",
        limit: int | None = DEFAULT_LIMIT,
        after: str | None = None,
    ) -> Page[Any]:
        """Return rows of the table called `table`, a page at a time; see `whence.query.tables.Ask`.

        Raises:
            StoreError: There is no such table.
            FilterError: The filter or the order is wrong; `position` says where.
            CursorError: `after` is not a cursor of this filter and order.
            ConfigError: The limit is less than one.
        """
        return tables.page(
            self.store,
            self.blob,
            table,
            filter_text=filter,
            order_text=order,
            limit=limit,
            after=after,
        )

    def count(self, table: str, filter: str = "") -> int:  # noqa: A002 - the word of the public API
        """Return how many rows of `table` satisfy `filter`.

        Raises:
            StoreError: There is no such table.
            FilterError: The filter is wrong.
        """
        where = tables.predicate(table, filter)
        return self.store.count(table, where)

    def run(self, any_id: str) -> RunTree:
        """Return the whole run as a tree of its spans and records.

        Args:
            any_id: A run id or its first digits, an external id, or the id of anything in the run.

        Raises:
            NotFoundError: Nothing has that id, or several runs begin with it.
        """
        from whence.query import tree  # noqa: PLC0415 - each question imports what it needs

        found = find.find(self.store, any_id)
        return tree.build(found.rows, self.blob)

    def why(self, any_id: str) -> Why:
        """Return the reasoning chain behind an output, run, span or decision; it prints.

        See `whence.query.why` for what belongs to the chain of an output.

        Args:
            any_id: The id of an output, run, span or record, or an external id.

        Raises:
            NotFoundError: Nothing has that id, or several runs begin with it.
        """
        from whence.query import why  # noqa: PLC0415

        return why.explain(self.store, self.blob, any_id)

    def compare(self, a: str, b: str) -> Comparison:
        """Return how run `b` differs from run `a`, and where they first part.

        Differences are b - a.

        Raises:
            NotFoundError: Nothing has one of the ids.
        """
        from whence.query import compare, tree  # noqa: PLC0415

        store = self.store
        first, second = (tree.build(find.find(store, one).rows, self.blob) for one in (a, b))
        return compare.compare(first, second)

    def lineage(
        self, any_id: str, direction: Direction = "both", depth: int | None = None
    ) -> Lineage:
        """Return what a thing came from and what came from it, over links.

        Args:
            any_id: An id that links may name: of a run, span, record or output, an external id, or
                an id of your own.
            direction: `ancestors`, `descendants` or `both`.
            depth: How many links to follow; None for all.

        Raises:
            NotFoundError: Neither a thing nor a link has that id.
            ConfigError: The direction or the depth is none.
        """
        from whence.query import lineage  # noqa: PLC0415

        return lineage.trace(self.store, any_id, direction, depth)

    def stats(
        self,
        by: str | Sequence[str] = ("model",),
        window: str | None = "24h",
        *,
        table: str = "generations",
        filter: str = "",  # noqa: A002 - the word of the public API
    ) -> Stats:
        """Return counts, errors, tokens, cost, durations and scores of a table by group.

        Args:
            by: Fields of the table, or `run.` and a field of the run; an empty sequence for one
                group of all.
            window: How far to look back, as in `90s`, `24h`, `7d`; None for all time.
            table: The table.
            filter: Which of its rows.

        Raises:
            StoreError: There is no such table.
            FilterError: The filter, a field or the window is wrong.
        """
        from whence.query import stats  # noqa: PLC0415

        return stats.compute(self.store, table, by, window, filter)

    def annotate(
        self,
        any_id: str,
        *,
        flag: str | None = None,
        status: str | None = None,
        note: str | None = None,
        by: str | None = None,
        **attributes: Any,
    ) -> str:
        """Return the id of a remark about a run, span, output or record, which is added.

        The remark is a record of its own; what it is about stays as it is.

        Args:
            any_id: What it is about.
            flag: Why it should be reviewed.
            status: Where the review stands: `pending_review`, `approved`, `rejected`.
            note: Free text, markdown.
            by: Who says so.
            **attributes: Whatever else is to be said.

        Raises:
            NotFoundError: Nothing has that id.
            ConfigError: The remark says nothing.
            StoreError: It could not be written.
        """
        from whence.query import annotate  # noqa: PLC0415

        if self.home is None:
            raise StoreError("this store takes no annotations; annotate where the log is")
        found = find.find(self.store, any_id)
        remark = annotate.Remark(flag, status, note, by, attributes)
        return annotate.write(self.home, found, remark)

    def sql(
        self,
        text: str,
        *,
        timeout_s: float = 30,
        memory_limit_mb: int = 1024,
        max_rows: int = 100_000,
    ) -> SqlResult:
        """Return the rows of one read-only SQL statement over the tables.

        Args:
            text: One SELECT.
            timeout_s: Seconds after which it is stopped.
            memory_limit_mb: Megabytes it may use.
            max_rows: Most rows of the result; `truncated` says whether there were more.

        Raises:
            SqlRefused: The text is not one read-only query.
            SqlError: The query failed or was stopped at a limit.
            StoreError: This store takes no SQL.
        """
        from whence.query import sqlrun, sqltables  # noqa: PLC0415 - only those who write SQL pay for it

        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
            raise SqlRefused(f"a query is a text, not {text!r}")
        with sqltables.prepared(self.store) as setup:
            return sqlrun.run_guarded(
                setup, text, timeout_s=timeout_s, memory_limit_mb=memory_limit_mb, max_rows=max_rows
            )

    def blob(self, sha256: str) -> bytes:
        """Return the bytes of a large or binary value.

        Raises:
            NotFoundError: There is no such blob.
            StoreError: Its bytes are not those it was named after, or this store has no blobs.
        """
        if self.home is None:
            raise StoreError("this store has no blobs; they are in the home that recorded them")
        if not isinstance(sha256, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
            raise NotFoundError(f"there is no blob {sha256!r}; a blob has a SHA-256 as its name")
        return blobs.get(self.home, sha256)

    def value(self, value: Any) -> Any:
        """Return `value` with every marker in it put back, blobs as text, bytes or JSON value."""
        return values.restore(value, lambda marker: restore.blob_value(marker, self.blob))

    def problems(self) -> list[Problem]:
        """Return what in the log could not be read."""
        return self.store.problems()
