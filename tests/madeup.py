"""Rows that no recorder would write, and a store of them: what broken logs are tested with."""

from __future__ import annotations

from whence.store.memory import MemoryStore
from whence.store.rows import Row, RunRow, SpanRow


class Rows(MemoryStore):
    """A store of rows that a test makes up, for what no recorder would write."""

    def __init__(self, **tables: list[Row]) -> None:
        super().__init__()
        self._given = tables
        self.refresh()

    def refresh(self) -> None:
        """Take the given rows for what the log holds."""
        super().refresh()
        for table, rows in getattr(self, "_given", {}).items():
            self._rows[table] = list(rows)
            for row in rows:
                self._by_run.setdefault(row.run, {}).setdefault(table, []).append(row)


RUN = "0" * 31 + "1"


def run_row(**fields) -> RunRow:
    """Return a run that began at 0."""
    return RunRow(**{"id": RUN, "run": RUN, "started_ns": 0, "status": "complete", **fields})


def span_row(name: str, started_ns: int = 0, ended_ns: int | None = None, **fields) -> SpanRow:
    """Return a span of the run, its id its name."""
    known = {"id": name, "run": RUN, "name": name, "kind": "stage", "status": "ok"}
    return SpanRow(**{**known, "started_ns": started_ns, "ended_ns": ended_ns, **fields})
