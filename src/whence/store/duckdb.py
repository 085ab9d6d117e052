"""The embedded store: an in-memory DuckDB over the archive's Parquet parts and the log's hot tail.

It writes nothing and locks nothing, so any number of processes may read while others record and
compact. There is one view a table, `runs`, `spans`, `decisions` and so on, over the archive and the
hot rows; whole runs are read from the log itself, by seeking.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _extras
from whence.errors import StoreError
from whence.log import catalog as catalogs
from whence.log import segment
from whence.store import columns, load, sql, views
from whence.store.base import Abilities, Key, Measure, Order
from whence.store.fields import fields_of
from whence.store.hot import HotTables
from whence.store.pointrows import POINT_TABLES
from whence.store.rows import TABLES, TIME_FIELD, Row
from whence.store.staterows import run_row, span_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from whence.log.catalog import Catalog
    from whence.log.home import Home
    from whence.log.reader import Problem
    from whence.store.predicate import Predicate

_RETRIES = 3
_RECORD_ID = re.compile(r"[0-9a-f]{16}")
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_NAMED_SQL = """
SELECT run FROM (
    SELECT run, 0 AS rank, 0 AS ts_ns FROM runs WHERE id = ?
    UNION ALL SELECT run, 1, started_ns FROM runs WHERE external_id = ?
    UNION ALL SELECT run, 2, ts_ns FROM outputs WHERE output_id = ?
) ORDER BY rank, ts_ns DESC, run DESC LIMIT 1
"""
_NEAR_NS = 10_000_000_000


class DuckDBStore:
    """Rows of one home, read through DuckDB."""

    abilities = Abilities(sql=True, annotate=True, blobs=True)

    def __init__(self, home: Home) -> None:
        duckdb = _extras.require("duckdb", "cli", "reading an archive")
        self.home = home
        self._duckdb = duckdb
        self._lock = threading.RLock()
        self._connection: DuckDBPyConnection = duckdb.connect(":memory:")
        # Views list the parts by name, so the metadata of a file never changes under a cached
        # entry.
        self._connection.execute("SET parquet_metadata_cache = true")
        self._connection.execute("SET preserve_insertion_order = false")
        self._catalog: Catalog | None = None
        self._places: tuple[Catalog | None, str, dict[str, list[int]]] | None = None
        self._stamp: tuple[int, int] | None = None
        self._hot: HotTables | None = None
        self._split: tuple[bool, bool] | None = None
        self._groups: dict[str, list[tuple[int, int, int, str]]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take in what was written and archived since the last call."""
        with self._lock:
            for attempt in range(_RETRIES):
                stamp = self._catalog_stamp()
                try:
                    if self._hot is None or stamp != self._stamp:
                        self._hot, self._stamp = None, stamp
                        self._load()
                    if self._hot is not None:
                        self._hot.refresh()
                    self._define_views()
                except self._duckdb.Error as error:
                    # A part that was merged away meanwhile is not missed.
                    if attempt == _RETRIES - 1 or self._catalog_stamp() == stamp:
                        raise self._unreadable(error) from error
                    continue
                # A segment may have been archived between the two looks: then its rows would be
                # missing or double.
                if self._catalog_stamp() == self._stamp:
                    break

    def _catalog_stamp(self) -> tuple[int, int]:
        try:
            stat = self.home.catalog.stat()
        except FileNotFoundError:
            return NO_CATALOG
        return (stat.st_ino, stat.st_mtime_ns)

    def _unreadable(self, error: Exception) -> StoreError:
        """Return what to raise where DuckDB cannot read the archive, naming the damaged files."""
        damaged = catalogs.damaged_files(self.home, self._catalog or catalogs.Catalog())
        if not damaged:
            return StoreError(
                f"the store could not answer: {error}; "
                "if the archive is damaged, `whence rebuild` makes it anew from the log"
            )
        more = f" and {len(damaged) - 1:,} more" if len(damaged) > 1 else ""
        return StoreError(
            f"{self.home.archive / damaged[0]}{more} is missing or damaged; "
            f"run `whence rebuild --home {self.home.root}` to make the archive anew from the log"
        )

    def _load(self) -> None:
        self._catalog = catalogs.read(self.home)
        if self._stamp == NO_CATALOG:
            self._check_archive_is_no_loss()
        if self._catalog.parts and self._catalog.columns != columns.fingerprint():
            message = (
                f"the archive in {self.home.archive} was made by a version with other columns; "
                "run `whence compact` to make it anew from the log"
            )
            raise StoreError(message)
        self._hot = HotTables(self.home, self._catalog, self._connection)
        self._split = None
        self._groups = {}

    def _check_archive_is_no_loss(self) -> None:
        """Look whether the log has segments that only an archive which is gone could answer for.

        Only a home without a catalog is asked: in any other that would mean listing the whole log.

        Raises:
            StoreError: It has, so that rows would be missing without a word.
        """
        unseen = segment.first_unmarked(self.home)
        # Its marker may have gone because it was archived just now.
        if unseen is not None and self._catalog_stamp() == NO_CATALOG:
            message = (
                f"the archive in {self.home.archive} is gone, and the log has segments that were "
                f"in it, such as {unseen}; "
                f"run `whence rebuild --home {self.home.root}` to make it anew from the log"
            )
            raise StoreError(message)

    def _define_views(self) -> None:
        """Define one view a table.

        The archive is asked about split runs and spans only where there are any.
        """
        hot, catalog = self._hot, self._catalog
        if hot is None or catalog is None:
            return
        split = bool(hot.split_runs), bool(hot.split_spans)
        if split == self._split:
            return
        for table in TABLES:
            source = table_sql(table, self._files(table), split=split)
            self._connection.execute(f"CREATE OR REPLACE VIEW {table} AS {source}")
        self._split = split

    def select(
        self,
        table: str,
        where: Predicate,
        order: Order,
        limit: int | None = None,
        after: Key | None = None,
    ) -> list[Row]:
        """Return matching rows in order. See `Store.select`."""
        condition = sql.compile_predicate(where, table)
        field, down = f't."{order.field}"', order.descending
        conditions, parameters = [condition.sql], list(condition.parameters)
        if after is not None:
            sign = "<" if down else ">"
            behind = f"(t.run {sign} ? OR (t.run = ? AND t.id {sign} ?))"
            tie = [after.run, after.run, after.id]
            if after.value is None:
                conditions.append(f"({field} IS NULL AND {behind})")
                parameters += tie
            else:
                conditions.append(
                    f"({field} {sign} ? OR ({field} = ? AND {behind}) OR {field} IS NULL)"
                )
                parameters += [after.value, after.value, *tie]
        way = "DESC" if down else "ASC"
        bound = "" if limit is None else f" LIMIT {int(limit)}"
        ordering = f"ORDER BY {field} {way} NULLS LAST, t.run {way}, t.id {way}{bound}"
        matching = " AND ".join(conditions)
        make = columns.row_maker(table)
        if limit is not None and down and order.field == TIME_FIELD[table]:
            before = after.value if after is not None and isinstance(after.value, int) else None
            found = self._latest(table, matching, parameters, ordering, limit, before)
            if found is not None:
                return [make(values) for values in found]
        if limit is None or table in NARROW_TABLES:
            found = self._ask(
                f"SELECT {columns.column_list(table)} FROM {table} t WHERE {matching} {ordering}",
                parameters,
            )
        else:
            found = self._select_wide(table, matching, parameters, ordering)
        return [make(values) for values in found]

    def _latest(  # noqa: PLR0917 - private, and called in one place
        self,
        table: str,
        matching: str,
        parameters: list[Any],
        ordering: str,
        limit: int,
        before_ns: int | None,
    ) -> list[tuple[Any, ...]] | None:
        """Return the latest matching rows from the newest files; None if those hold too few."""
        names = columns.column_list(table)
        field = f't."{TIME_FIELD[table]}"'
        split = self._split
        if split is None:  # nothing was read yet
            return None
        for since_ns, files in self._windows(table, limit, before_ns):
            source = table_sql(table, files, split=split)
            text = (
                f"SELECT {names} FROM ({source}) t "
                f"WHERE {matching} AND {field} >= {since_ns} {ordering}"
            )
            try:
                found = self._ask(text, parameters, attempts=1)
            except StoreError:
                return None  # a file was merged away: the views, made anew, have the others
            if len(found) >= limit:
                return found
        return None

    def _windows(
        self, table: str, limit: int, before_ns: int | None
    ) -> list[tuple[int, list[str]]]:
        """Return times since which to look for the latest rows, each window eight times wider.

        The parts are in order of time, so a few row groups hold the latest rows; reading them takes
        5 ms where ordering a million rows takes 70. If a window has enough matching rows they are
        the latest ones, whatever lies before it.

        Returns:
            The time, and the files that hold all archived rows since then.
        """
        groups = [g for g in self._row_groups(table) if before_ns is None or g[1] <= before_ns]
        windows: list[tuple[int, list[str]]] = []
        wanted, rows, since = max(limit, WINDOW_ROWS), 0, 0
        for count, (_, earliest, size, _) in enumerate(groups, 1):
            since = earliest if rows == 0 else min(since, earliest)
            rows += size
            if rows >= wanted and count < len(groups):
                files = {file: None for latest, _, _, file in groups if latest >= since}
                windows.append((since, list(files)))
                wanted *= 8
        return windows

    def _row_groups(self, table: str) -> list[tuple[int, int, int, str]]:
        """Return latest time, earliest time, rows and file of each row group, latest first."""
        known = self._groups.get(table)
        if known is None:
            files = self._files(table)
            known = []
            if files:
                known = self._ask(
                    "SELECT CAST(stats_max_value AS BIGINT), CAST(stats_min_value AS BIGINT), "
                    "row_group_num_rows, file_name FROM parquet_metadata(?) "
                    "WHERE path_in_schema = ? AND stats_max_value IS NOT NULL ORDER BY 1 DESC",
                    [files, TIME_FIELD[table]],
                )
            self._groups[table] = known
        return known

    def _files(self, table: str) -> list[str]:
        catalog = self._catalog
        return [str(self.home.archive / f) for f in catalog.files(table)] if catalog else []

    def _select_wide(
        self, table: str, matching: str, parameters: list[Any], ordering: str
    ) -> list[tuple[Any, ...]]:
        """Find the keys first and fetch wide columns for those rows only.

        Sorting would carry them all along.

        Returns:
            The rows as tuples of columns, in order.
        """
        keys = self._ask(
            f'SELECT t.run, t.id, t."{TIME_FIELD[table]}" FROM {table} t '
            f"WHERE {matching} {ordering}",
            parameters,
        )
        if not keys:
            return []
        times = [key[2] for key in keys]
        text = (
            f"SELECT {columns.column_list(table)} FROM {table} t "
            f'WHERE t."{TIME_FIELD[table]}" BETWEEN ? AND ? '
            "AND t.run IN (SELECT unnest(?)) AND t.id IN (SELECT unnest(?))"
        )
        runs, ids = list({key[0] for key in keys}), [key[1] for key in keys]
        found = self._ask(text, [min(times), max(times), runs, ids])
        names = list(columns.column_types(table))
        at_run, at_id = names.index("run"), names.index("id")
        by_key = {(values[at_run], values[at_id]): values for values in found}
        return [by_key[key[0], key[1]] for key in keys if (key[0], key[1]) in by_key]

    def count(self, table: str, where: Predicate) -> int:
        """Return how many rows match."""
        condition = sql.compile_predicate(where, table)
        found = self._ask(
            f"SELECT count(*) FROM {table} t WHERE {condition.sql}", condition.parameters
        )
        return found[0][0]

    def aggregate(
        self, table: str, where: Predicate, by: Sequence[str], measures: Sequence[Measure]
    ) -> list[dict[str, Any]]:
        """Return the measures for each group. See `Store.aggregate`."""
        of_run = any(name.startswith("run.") for name in by)
        groups = [f'r."{name[4:]}"' if name.startswith("run.") else f't."{name}"' for name in by]
        parameters: list[Any] = []
        figures: list[str] = [_measure_sql(measure, table, parameters) for measure in measures]
        condition = sql.compile_predicate(where, table)
        source = f"{table} t LEFT JOIN runs r ON r.id = t.run" if of_run else f"{table} t"
        grouping = f" GROUP BY {', '.join(groups)}" if groups else " HAVING count(*) > 0"
        text = (
            f"SELECT {', '.join([*groups, *figures])} FROM {source} WHERE {condition.sql}{grouping}"
        )
        names = [*by, *(measure.name for measure in measures)]
        found = self._ask(text, [*parameters, *condition.parameters])
        return [dict(zip(names, values, strict=True)) for values in found]

    def find_run(self, any_id: str) -> str | None:
        """Return the run that an id names; the latest if several match the same kind of id."""
        if not any_id:
            return None
        if _RUN_ID.fullmatch(any_id) and self._places_of(any_id):
            return any_id
        if _RECORD_ID.fullmatch(any_id):
            # The id tells when it was made, so a few row groups have it if it is one of ours.
            made_ns = int(any_id, 16) >> 31 << 30
            near = self._find_by_id(any_id, (made_ns - _NEAR_NS, made_ns + _NEAR_NS))
            if near is not None:
                return near
        found = self._ask(_NAMED_SQL, [any_id, any_id, any_id])
        return found[0][0] if found else self._find_by_id(any_id, None)

    def _find_by_id(self, any_id: str, times_ns: tuple[int, int] | None) -> str | None:
        """Return the run of a row with that id, if one is there, among rows of these times."""
        # Table by table: planning one question over all parts of all tables would take longer.
        for table in TABLES:
            bound = f" AND {TIME_FIELD[table]} BETWEEN ? AND ?" if times_ns else ""
            found = self._ask(
                f"SELECT max(run) FROM {table} WHERE id = ?{bound}", [any_id, *(times_ns or ())]
            )
            if found and found[0][0] is not None:
                return found[0][0]
        return None

    def run_rows(self, run_id: str) -> Mapping[str, Sequence[Row]]:
        """Return all rows of a run by table, in order of time, read from its places in the log."""
        with self._lock:
            hot = self._hot
            state = hot.state_of_run(run_id) if hot is not None else None
            places = state.places if state is not None else self._places_of(run_id)
            writer_lives = hot.is_live if hot is not None else _never
        projection = load.read_run(self.home, run_id, places)
        tables: dict[str, list[Row]] = {
            table: list(projection.points[table]) for table in POINT_TABLES
        }
        tables["runs"] = [run_row(s, live=writer_lives(s.writer)) for s in projection.runs.values()]
        tables["spans"] = [
            span_row(s, live=writer_lives(s.writer)) for s in projection.spans.values() if s.is_row
        ]
        for table, rows in tables.items():
            rows.sort(key=lambda row, name=TIME_FIELD[table]: (getattr(row, name), row.id))
        return {table: tables[table] for table in TABLES}

    def _places_of(self, run_id: str) -> dict[str, list[int]]:
        """Return where an archived run stands in the log.

        The last answer is remembered: who finds a run reads it next.
        """
        catalog, known = self._catalog, self._places
        if known is not None and known[0] is catalog and known[1] == run_id:
            return known[2]
        files = [str(self.home.archive / f) for f in catalog.files("runs")] if catalog else []
        if not files:
            return {}
        found = self._ask("SELECT places FROM read_parquet(?) WHERE id = ?", [files, run_id])
        places: dict[str, list[int]] = msgspec.json.decode(found[0][0]) if found else {}
        self._places = (catalog, run_id, places)
        return places

    def edges(self, ids: Sequence[str], *, forward: bool) -> list[Row]:
        """Return the links that start or end at any of `ids`."""
        name = "source" if forward else "target"
        found = self._ask(
            f"SELECT {columns.column_list('links')} FROM links WHERE {name} IN (SELECT unnest(?))",
            [list(ids)],
        )
        make = columns.row_maker("links")
        return [make(values) for values in found]

    def problems(self) -> list[Problem]:
        """Return what in the hot segments could not be read."""
        return list(self._hot.problems) if self._hot is not None else []

    def sql_tables(self) -> views.SqlTables:
        """Return what a separate process needs to answer SQL about this home.

        These are the part files, and the hot rows in files of their own. The caller removes the
        folder of the hot rows by closing the result.

        Raises:
            StoreError: The store is closed, or a part of the archive is missing or damaged.
        """
        with self._lock:
            self.refresh()
            catalog, hot = self._catalog, self._hot
            if catalog is None or hot is None:
                message = f"the store of {self.home.root} is closed"
                raise StoreError(message)
            is_damaged = bool(catalogs.damaged_files(self.home, catalog))
            if is_damaged and self._catalog_stamp() == self._stamp:
                raise self._unreadable(FileNotFoundError(self.home.archive))
            return views.export_tables(
                self._connection,
                {
                    table: [str(self.home.archive / f) for f in catalog.files(table)]
                    for table in TABLES
                },
                split_runs=bool(hot.split_runs),
                split_spans=bool(hot.split_spans),
            )

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def ask(self, text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what a statement of our own gives: SQL over the tables, never a user's text.

        Raises:
            StoreError: A part cannot be read, or DuckDB refuses the statement.
        """
        return self._ask(text, parameters)

    def _ask(
        self, text: str, parameters: Sequence[Any], *, attempts: int = _RETRIES
    ) -> list[tuple[Any, ...]]:
        """Return what one of our own queries gives, as tuples.

        A part that was merged away meanwhile makes it look at the catalog again.

        Raises:
            StoreError: A part cannot be read, or DuckDB refuses the query.
        """
        with self._lock:
            for attempt in range(attempts):
                try:
                    return self._connection.execute(text, list(parameters)).fetchall()
                except self._duckdb.IOException as error:
                    if attempt == attempts - 1:
                        raise self._unreadable(error) from error
                    self._stamp = None
                    self.refresh()
                except self._duckdb.Error as error:
                    raise self._unreadable(error) from error
        return []


NO_CATALOG = (0, 0)
"""The stamp of a catalog that is not there: nothing was archived, or the archive was deleted."""
WINDOW_ROWS = 256
"""How many rows the first window for the latest rows spans at least.

One file of very wide rows holds about as many, and each costs reading all of it.
"""
NARROW_TABLES = frozenset({"factors", "scores", "links", "annotations", "gaps"})
"""Tables without wide columns, for which fetching by key would cost more than it saves."""


def _never(_writer: str) -> bool:
    return False


def table_sql(table: str, files: Sequence[str], *, split: tuple[bool, bool]) -> str:
    """Return the query that gives a table's rows from archive files and from what is hot.

    Args:
        table: The table.
        files: Parquet files of it.
        split: Whether there are runs, and spans, of which the archive has a part only.
    """
    names = columns.column_list(table)
    hot = f"SELECT {names} FROM hot_{table}"
    if not files:
        return hot
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    archived = f"SELECT {names} FROM read_parquet([{listed}])"
    if table == "runs" and split[0]:
        archived += " WHERE id NOT IN (SELECT id FROM split_runs)"
    elif table == "spans" and split[1]:
        archived += (
            " a WHERE NOT EXISTS (SELECT 1 FROM split_spans s WHERE s.run = a.run AND s.id = a.id)"
        )
    return f"{archived} UNION ALL {hot}"


def _measure_sql(measure: Measure, table: str, parameters: list[Any]) -> str:
    if measure.where is not None:
        condition = sql.compile_predicate(measure.where, table)
        parameters.extend(condition.parameters)
        hits = f"count(*) FILTER (WHERE {condition.sql})"
        return hits if measure.function == "count" else f"{hits} / count(*)"
    if measure.function == "count":
        return "count(*)"
    field = fields_of(table)[measure.field or ""]
    column = f't."{field.name}"'
    if measure.function in ("p50", "p95", "p99"):
        return f"quantile_cont({column}, 0.{measure.function[1:]})"
    total = f"sum({column})"
    if measure.function == "sum":
        return f"CAST({total} AS BIGINT)" if field.type == "integer" else total
    return f"{measure.function}({column})"
