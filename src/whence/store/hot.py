"""The rows that are not archived yet.

Read from the segments, kept in tables of an in-memory DuckDB, renewed as the log grows.

Comes in: a home, its catalog and a connection. Goes out: up-to-date tables `hot_<table>`, and the
set of runs and spans that the archive must not answer for because the log, or a state left in the
archive, knows more about them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from whence.log import segment
from whence.store import columns, load
from whence.store.compactor import PartState
from whence.store.load import Tail
from whence.store.pointrows import POINT_TABLES
from whence.store.project import Projection
from whence.store.rows import TABLES, Row
from whence.store.staterows import run_row, span_row
from whence.store.states import RunState, SpanState, merge_runs, merge_spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from duckdb import DuckDBPyConnection

    from whence.log.catalog import Catalog
    from whence.log.home import Home
    from whence.log.reader import Problem

_decode_state = msgspec.json.Decoder(PartState).decode


class HotTables:
    """Tables of rows that the archive does not have, or has only pieces of."""

    def __init__(self, home: Home, catalog: Catalog, connection: DuckDBPyConnection) -> None:
        self._home = home
        self._catalog = catalog
        self._connection = connection
        self._projection = Projection(load.start_finder(home))
        self._tails: dict[str, Tail] = {}
        self._live: frozenset[str] = frozenset()
        self._left_runs: dict[str, RunState] = {}
        self._left_spans: dict[tuple[str, str], SpanState] = {}
        self._looked_for: set[str | tuple[str, str]] = set()
        """Runs and spans without a start for which the archive was asked: it will not change."""
        self.problems: list[Problem] = []
        self.split_runs: set[str] = set()
        """Runs whose row in the archive, if any, is not the whole truth."""
        self.split_spans: set[tuple[str, str]] = set()
        for table in TABLES:
            connection.execute(columns.create_table(table, f"hot_{table}"))
        connection.execute("CREATE OR REPLACE TABLE split_runs (id VARCHAR)")
        connection.execute("CREATE OR REPLACE TABLE split_spans (run VARCHAR, id VARCHAR)")
        self._load_states()

    def _load_states(self) -> None:
        """Take over the runs and spans that were not whole when they were archived."""
        files = [str(self._home.archive / name) for name in self._catalog.files("parts")]
        if not files:
            return
        for (text,) in self._connection.execute(
            "SELECT state FROM read_parquet(?)", [files]
        ).fetchall():
            state = _decode_state(text)
            if state.run is not None:
                known = self._left_runs.get(state.run.id)
                self._left_runs[state.run.id] = (
                    state.run if known is None else merge_runs(known, state.run)
                )
            if state.span is not None:
                key = (state.span.run, state.span.id)
                known_span = self._left_spans.get(key)
                self._left_spans[key] = (
                    state.span if known_span is None else merge_spans(known_span, state.span)
                )

    def refresh(self) -> bool:
        """Read what the segments have gained; return whether any row changed."""
        archived = self._catalog.segments
        for name in segment.list_hot(self._home):
            key = str(name)
            if key not in archived and key not in self._tails:
                self._tails[key] = Tail(self._home, name)
        projection = self._projection
        grown = sum(
            tail.read_into(projection, self.problems)
            for tail in self._tails.values()
            if tail.has_grown()
        )
        live = frozenset(tail.name.writer for tail in self._tails.values() if tail.check_live())
        first_time = (
            not self.split_runs
            and not self.split_spans
            and bool(self._left_runs or self._left_spans)
        )
        if not grown and live == self._live and not first_time:
            return False
        changed_writers = live ^ self._live
        self._live = live
        self._write_points()
        self._write_runs(changed_writers, everything=first_time)
        self._write_spans(changed_writers, everything=first_time)
        projection.touched_runs.clear()
        projection.touched_spans.clear()
        return True

    def _write_points(self) -> None:
        for table in POINT_TABLES:
            rows = self._projection.points[table]
            if rows:
                self._insert(table, rows)
                rows.clear()

    def _write_runs(self, changed_writers: frozenset[str], *, everything: bool) -> None:
        projection = self._projection
        touched = set(projection.touched_runs)
        if everything:
            touched |= self._left_runs.keys()
        for states in (projection.runs, self._left_runs):
            touched |= {
                s.id for s in states.values() if s.end is None and s.writer in changed_writers
            }
        touched.discard("")
        states = [s for run_id in touched if (s := self._whole_run(run_id)) is not None]
        self.split_runs |= touched
        self._replace("runs", [run_row(s, live=s.writer in self._live) for s in states])

    def _whole_run(self, run_id: str) -> RunState | None:
        """Return everything known of a run.

        Here, in the states left over, and in the archive's own rows, which are asked once.
        """
        state = self._known_run(run_id)
        if (state is None or state.start is None) and run_id not in self._looked_for:
            self._looked_for.add(run_id)
            archived = load.read_run(self._home, run_id, self._archived_places(run_id)).runs
            if run_id in archived:
                left = self._left_runs.get(run_id)
                whole = archived[run_id]
                self._left_runs[run_id] = whole if left is None else merge_runs(whole, left)
                return self._known_run(run_id)
        return state

    def _known_run(self, run_id: str) -> RunState | None:
        read, left = self._projection.runs.get(run_id), self._left_runs.get(run_id)
        return read or left if read is None or left is None else merge_runs(read, left)

    def _archived_places(self, run_id: str) -> dict[str, list[int]]:
        """Return the places in the log of a run that is whole in the archive."""
        files = [str(self._home.archive / name) for name in self._catalog.files("runs")]
        if not files:
            return {}
        found = self._connection.execute(
            "SELECT places FROM read_parquet(?) WHERE id = ?", [files, run_id]
        ).fetchone()
        return {} if found is None else msgspec.json.decode(found[0])

    def _write_spans(self, changed_writers: frozenset[str], *, everything: bool) -> None:
        projection = self._projection
        touched = set(projection.touched_spans)
        if everything:
            touched |= self._left_spans.keys()
        for states in (projection.spans, self._left_spans):
            touched |= {
                key for key, s in states.items() if not s.is_whole and s.writer in changed_writers
            }
        self._look_for_starts(touched)
        states = [s for key in touched if (s := self._known_span(key)) is not None and s.is_row]
        self.split_spans |= touched
        self._replace("spans", [span_row(s, live=s.writer in self._live) for s in states])

    def _look_for_starts(self, keys: set[tuple[str, str]]) -> None:
        """Take over what the archived part of the log has of spans that began there.

        A span may be whole in the archive though its run is not, so the run's places count.
        """
        by_run: dict[str, list[tuple[str, str]]] = {}
        for key in keys - self._looked_for:
            state = self._known_span(key)
            if state is not None and state.start is None:
                by_run.setdefault(key[0], []).append(key)
                self._looked_for.add(key)
        for run_id, wanted in by_run.items():
            run = self._whole_run(run_id)
            places = run.places if run is not None else {}
            archived = {name: at for name, at in places.items() if name not in self._tails}
            spans = load.read_run(self._home, run_id, archived).spans if archived else {}
            for key in wanted:
                if key in spans:
                    left = self._left_spans.get(key)
                    found = spans[key]
                    self._left_spans[key] = found if left is None else merge_spans(found, left)

    def _known_span(self, key: tuple[str, str]) -> SpanState | None:
        read, left = self._projection.spans.get(key), self._left_spans.get(key)
        return read or left if read is None or left is None else merge_spans(read, left)

    def _replace(self, table: str, rows: Sequence[Row]) -> None:
        """Put rows in place of those with the same run and id."""
        if not rows:
            return
        name = f"hot_{table}"
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE incoming AS SELECT * FROM " + name + " LIMIT 0"
        )
        self._insert(table, rows, into="incoming")
        self._connection.execute(
            f"DELETE FROM {name} USING incoming "
            f"WHERE {name}.run = incoming.run AND {name}.id = incoming.id"
        )
        self._connection.execute(f"INSERT INTO {name} SELECT * FROM incoming")
        known, split = ("id" if table == "runs" else "run, id"), f"split_{table}"
        self._connection.execute(
            f"INSERT INTO {split} SELECT {known} FROM incoming EXCEPT SELECT {known} FROM {split}"
        )
        self._connection.execute("DROP TABLE incoming")

    def _insert(self, table: str, rows: Iterable[Row], into: str | None = None) -> None:
        with tempfile.TemporaryDirectory(prefix="whence-") as folder:
            lines = Path(folder) / "rows"
            columns.write_lines(rows, lines)
            self._connection.execute(
                f"INSERT INTO {into or 'hot_' + table} {columns.read_lines(table)}", [str(lines)]
            )

    def state_of_run(self, run_id: str) -> RunState | None:
        """Return what the log and the left-over states say of a run.

        None if only the archive's rows know it.
        """
        if run_id in self._projection.runs or run_id in self._left_runs:
            return self._whole_run(run_id)
        return None

    def is_live(self, writer: str) -> bool:
        """Whether a writer holds a segment."""
        return writer in self._live
