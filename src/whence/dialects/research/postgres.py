"""Traces as rows of a PostgreSQL database: the table `traces` of document 5, section 3.2.

Comes in: rows to keep, and questions. Goes out: rows by column. One connection a process, opened
when it is first needed and again when it was lost; the tables are made when they are missing. What
the driver raises becomes a `StoreError` here. Values that a column has no room for are cut, or left
out where a cut value would mislead.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import threading
from typing import TYPE_CHECKING, Any, cast

from whence import _clock, _extras
from whence.dialects.research.history import LISTED, ROUND_FIGURES, Row
from whence.dialects.research.schema import LOCK, MIGRATION
from whence.errors import StoreError
from whence.exports.research_shape import iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TEXT_CHARS = {
    "trace_id": 100,
    "intent": 50,
    "domain": 100,
    "report_type": 100,
    "research_type": 100,
    "status": 20,
    "synthesis_model": 100,
}
_PATH_CHARS = 500
_INT_MAX = 2**31 - 1
_STATEMENT_TIMEOUT_MS = 10_000
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
_FROM = "FROM traces t LEFT JOIN projects p ON p.id = t.project_id"
_NAME = "coalesce(p.name, t.project_name)"
_LISTED = ", ".join(f"{_NAME} AS {n}" if n == "project_name" else f"t.{n}" for n in LISTED)
_NEWEST = "ORDER BY t.started_at DESC, t.id DESC LIMIT %s"


class PostgresHistory:
    """See `whence.dialects.research.history.History`.

    Args:
        url: Address of the database.
        connect_timeout_s: Seconds to wait for it.
    """

    def __init__(self, url: str, connect_timeout_s: float) -> None:
        self._url = url
        self._timeout_s = connect_timeout_s
        self._psycopg: Any = _extras.require("psycopg", "postgres", "keeping traces in PostgreSQL")
        self._lock = threading.Lock()
        self._connection: Any = None

    def close(self) -> None:
        """Give up the connection."""
        with self._lock:
            self._drop()

    def migrate(self) -> None:
        """Make the tables, indexes and views that are missing."""
        self._ask("SELECT 1", (), make_tables=True)

    def complete_with(self, column: str, value: str, limit: int) -> list[Row]:
        """Return complete traces with an intent or domain."""
        where = f"t.{_known(column)} = %s AND t.status = 'complete'"
        return self._list(where, (value,), limit)

    def of_project(self, project_name: str, limit: int) -> list[Row]:
        """Return all traces of a project."""
        return self._list(f"{_NAME} = %s", (project_name,), limit)

    def low_scoring(self, principle: str, threshold: float, limit: int) -> list[Row]:
        """Return complete traces in which a principle scored low."""
        where = "t.status = 'complete' AND (t.principle_scores->>%s)::float < %s"
        return self._list(where, (principle, threshold), limit)

    def gate_failures(self, limit: int) -> list[Row]:
        """Return complete traces that failed the gate."""
        return self._list("t.quality_gate_passed = FALSE AND t.status = 'complete'", (), limit)

    def flagged(self, limit: int) -> list[Row]:
        """Return traces that are flagged for review."""
        return self._list("t.flagged_for_review = TRUE", (), limit)

    def find(self, trace_id: str) -> Row | None:
        """Return one trace."""
        text = f"SELECT t.*, {_NAME} AS shown_name {_FROM} WHERE t.trace_id = %s"
        found = self._ask(text, (trace_id,))
        return found[0] | {"project_name": found[0].pop("shown_name")} if found else None

    def patterns(self, min_runs: int) -> list[Row]:
        """Return which principles fail most."""
        return self._ask(
            """
            SELECT s.principle_id, count(*) FILTER (WHERE s.failed) AS fail_count,
                avg(s.score) AS avg_score, count(*) AS total_runs
            FROM (
                SELECT named.principle_id,
                    (t.principle_scores->>named.principle_id)::float AS score,
                    named.principle_id = ANY (t.gap_principles) AS failed
                FROM traces t, LATERAL (
                    SELECT jsonb_object_keys(t.principle_scores) AS principle_id
                    UNION SELECT unnest(t.gap_principles)
                ) named
                WHERE t.status = 'complete'
            ) s
            GROUP BY s.principle_id
            HAVING count(*) FILTER (WHERE s.failed) >= greatest(%s, 1)
            ORDER BY fail_count DESC, s.principle_id""",
            (min_runs,),
        )

    def summary(self) -> Row:
        """Return counts and averages over all traces."""
        complete = "FILTER (WHERE status = 'complete')"
        figures = (
            "count(*)",
            f"count(*) {complete}",
            "count(*) FILTER (WHERE status = 'failed')",
            "count(*) FILTER (WHERE status = 'incomplete')",
            "count(*) FILTER (WHERE quality_gate_passed = TRUE)",
            "count(*) FILTER (WHERE quality_gate_passed = FALSE)",
            f"avg(overall_quality_score) {complete}",
            f"avg(duration_seconds) {complete}",
            f"avg(synthesis_cost_usd) {complete}",
        )
        named = (f"{what} AS {name}" for what, name in zip(figures, ROUND_FIGURES, strict=True))
        return self._ask(f"SELECT {', '.join(named)} FROM traces", ())[0]

    def recent_failures(self, principles: Sequence[str], since_ns: int) -> Mapping[str, int]:
        """Return how often principles failed since a time."""
        found = self._ask(
            "SELECT gap, count(*) AS times FROM traces t, unnest(t.gap_principles) gap "
            "WHERE t.status = 'complete' AND t.started_at >= %s AND gap = ANY (%s) GROUP BY gap",
            (_clock.format_ns(since_ns), list(principles)),
        )
        return {row["gap"]: row["times"] for row in found}

    def average(self, column: str | None = None, value: str | None = None) -> float | None:
        """Return a mean overall score."""
        where = "" if column is None else f" AND {_known(column)} = %s"
        text = "SELECT avg(overall_quality_score) AS mean FROM traces WHERE status = 'complete'"
        found = self._ask(text + where, () if column is None else (value,))
        return cast("float | None", found[0]["mean"])

    def previous(self, project_name: str, trace_id: str, before: str) -> Row | None:
        """Return the complete trace of a project before this one."""
        where = f"{_NAME} = %s AND t.status = 'complete' AND t.trace_id <> %s AND t.started_at < %s"
        found = self._list(where, (project_name, trace_id, before), 1)
        return found[0] if found else None

    def flag(self, trace_id: str, reason: str) -> None:
        """Flag a trace for review."""
        text = "UPDATE traces SET flagged_for_review = TRUE, review_notes = %s WHERE trace_id = %s"
        self._ask(text, (_clean(reason), trace_id))

    def note(self, trace_id: str, text: str) -> None:
        """Keep the notes of a review."""
        self._ask(
            "UPDATE traces SET review_notes = %s WHERE trace_id = %s", (_clean(text), trace_id)
        )

    def save(self, row: Row) -> None:
        """Keep a row, in the place of an earlier one of the same trace."""
        values = _values(row)
        places = dict.fromkeys(values, "%s")
        # A project that the table of projects does not know must not cost the row.
        places["project_id"] = "(SELECT id FROM projects WHERE id = %s::uuid)"
        places["principle_scores"] = "%s::jsonb"
        others = ", ".join(f"{name} = EXCLUDED.{name}" for name in values if name != "trace_id")
        self._ask(
            f"INSERT INTO traces ({', '.join(values)}) VALUES ({', '.join(places.values())}) "
            f"ON CONFLICT (trace_id) DO UPDATE SET {others}",
            tuple(values.values()),
        )

    def _list(self, where: str, parameters: tuple[Any, ...], limit: int) -> list[Row]:
        text = f"SELECT {_LISTED} {_FROM} WHERE {where} {_NEWEST}"
        return self._ask(text, (*parameters, max(0, limit)))

    def _ask(
        self, text: str, parameters: tuple[Any, ...], *, make_tables: bool = False
    ) -> list[Row]:
        """Return what a statement gives, after making the tables if they are missing.

        A connection that was lost since it was last used is opened again, once.

        Raises:
            StoreError: The database is away, or refuses.
        """
        psycopg = self._psycopg
        with self._lock:
            fresh = self._connection is None
            for attempt in range(3):
                try:
                    if make_tables:
                        self._make_tables()
                        make_tables = False
                    return self._execute(text, parameters)
                except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
                    if attempt:
                        raise self._refused(error) from error
                    make_tables = True
                except psycopg.OperationalError as error:
                    self._drop()
                    if fresh or attempt:
                        raise self._refused(error) from error
                    fresh = True
                except psycopg.Error as error:
                    raise self._refused(error) from error
        raise StoreError("the tables of traces could not be made")

    def _refused(self, error: Exception) -> StoreError:
        # The driver's words only: the address may hold a password.
        said = " ".join(str(error).split()) or type(error).__name__
        return StoreError(f"the database of traces did not answer: {said}")

    def _execute(self, text: str, parameters: tuple[Any, ...]) -> list[Row]:
        cursor = self._open().execute(text, parameters)
        if cursor.description is None:
            return []
        rows = cast("list[dict[str, Any]]", cursor.fetchall())
        return [{name: _plain(value) for name, value in row.items()} for row in rows]

    def _make_tables(self) -> None:
        with self._open().transaction():
            self._open().execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            self._open().execute(MIGRATION)

    def _open(self) -> Any:
        if self._connection is None or self._connection.closed:
            from psycopg.rows import dict_row  # noqa: PLC0415 - an optional package

            self._connection = self._psycopg.connect(
                self._url,
                autocommit=True,
                row_factory=dict_row,
                connect_timeout=max(2, round(self._timeout_s)),  # libpq knows no shorter one
                application_name="whence",
                options=f"-c statement_timeout={_STATEMENT_TIMEOUT_MS}",
            )
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class _Known:
    """The connection of this process. There is one, `_known_history`."""

    history: PostgresHistory | None = None
    key: tuple[str, float, int] = ("", 0.0, 0)


_known_history = _Known()


def get_history(url: str, connect_timeout_s: float) -> PostgresHistory:
    """Return the rows of a database, with the connection of this process if it has one.

    Raises:
        MissingExtraError: psycopg is not installed.
    """
    key = (url, connect_timeout_s, os.getpid())
    known = _known_history
    if known.history is None or known.key != key:
        if known.history is not None and known.key[2] == os.getpid():
            known.history.close()
        known.history, known.key = PostgresHistory(url, connect_timeout_s), key
    return known.history


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as its columns take it."""
    values = {name: _fitted(name, value) for name, value in row.items()}
    values["started_at"] = values["started_at"] or _clock.format_ns(_clock.wall_ns())
    scores = {_clean(name): score for name, score in row["principle_scores"].items()}
    values["principle_scores"] = json.dumps(scores)
    return values


def _fitted(name: str, value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) <= _INT_MAX else None
    if isinstance(value, list):
        return [_clean(str(item)) for item in cast("list[Any]", value)]
    if isinstance(value, float):
        return value
    text = _clean(str(value))
    if name.endswith("_path"):
        return text if len(text) <= _PATH_CHARS else None
    return text[: _TEXT_CHARS.get(name)]


def _clean(text: str) -> str:
    """Return a text that PostgreSQL takes: without NUL and without halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return iso((value - _EPOCH) // dt.timedelta(microseconds=1) * 1_000)
    return value


def _known(column: str) -> str:
    if column not in {"intent", "domain"}:
        raise StoreError(f"traces are not listed by {column!r}; use intent or domain")
    return column
