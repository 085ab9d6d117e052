"""What is asked of traces that were kept, wherever their rows are.

Comes in: a question of `TraceQuery` or of the calibration. Goes out: rows by column, newest first.
The rows follow from the log of this process's home (`embedded`), or stand in the table `traces` of
a database (`postgres`); both answer the same questions with the same rows. To keep rows elsewhere:
one class with the methods of `History`, and a line in `keeping`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Row = dict[str, Any]
"""A row of `traces` by column; times are RFC 3339 text."""

LISTED = (
    "trace_id", "project_name", "query", "intent", "domain", "report_type", "status",
    "quality_gate_passed", "overall_quality_score", "gap_principles", "strength_principles",
    "duration_seconds", "started_at", "trace_file_path",
)  # fmt: skip
"""The columns of a list of traces."""
ROUND_FIGURES = (
    "total_runs", "complete", "failed", "incomplete", "qg_passed", "qg_failed", "avg_quality",
    "avg_duration", "avg_cost",
)  # fmt: skip
"""The figures of a summary."""


class History(Protocol):
    """Questions about traces. Each raises `StoreError` if it cannot be answered."""

    def complete_with(self, column: str, value: str, limit: int) -> list[Row]:
        """Return complete traces whose `intent` or `domain` is `value`."""
        ...

    def of_project(self, project_name: str, limit: int) -> list[Row]:
        """Return all traces of a project."""
        ...

    def low_scoring(self, principle: str, threshold: float, limit: int) -> list[Row]:
        """Return complete traces in which a principle's last score is below `threshold`."""
        ...

    def gate_failures(self, limit: int) -> list[Row]:
        """Return complete traces that failed the quality gate."""
        ...

    def flagged(self, limit: int) -> list[Row]:
        """Return traces that are flagged for review."""
        ...

    def find(self, trace_id: str) -> Row | None:
        """Return one trace with all that is known of it; None if there is none."""
        ...

    def patterns(self, min_runs: int) -> list[Row]:
        """Return `principle_id`, `fail_count`, `avg_score`, `total_runs`, most failures first.

        Of complete traces; principles that failed in fewer than `min_runs` are left out.
        """
        ...

    def summary(self) -> Row:
        """Return the figures of `ROUND_FIGURES`."""
        ...

    def recent_failures(self, principles: Sequence[str], since_ns: int) -> Mapping[str, int]:
        """Return in how many complete traces since a time each principle failed."""
        ...

    def average(self, column: str | None = None, value: str | None = None) -> float | None:
        """Return the mean overall score of complete traces, or of those with an intent or domain.

        None where no such trace has a score.
        """
        ...

    def previous(self, project_name: str, trace_id: str, before: str) -> Row | None:
        """Return the complete trace of a project that began last before a time, if there is one."""
        ...

    def flag(self, trace_id: str, reason: str) -> None:
        """Flag a trace for review."""
        ...

    def note(self, trace_id: str, text: str) -> None:
        """Keep the notes of a review."""
        ...

    def save(self, row: Row) -> None:
        """Keep the row of a trace, in the place of an earlier one of the same trace."""
        ...
