"""The ten questions of document 5 (pipeline observability) section 6, without SQL.

Comes in: what is looked for. Goes out: light results, figures, or the whole document of a trace.
Every question is asynchronous and answered in a thread, so that a program that waits for it goes on
with its other tasks. Where the rows are is settled by `configure`; a run that another dialect or
the core recorded is found where the question makes sense for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from whence.dialects.research import settings
from whence.dialects.research.history import LISTED, Row
from whence.dialects.research.keeping import get_history
from whence.dialects.shared.home import reading
from whence.errors import NotFoundError
from whence.exports.research_trace import render
from whence.ingest import research_parts as parts

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class TraceResult:
    """What a list of traces tells of each."""

    trace_id: str
    """The trace's own id; the run's id for a run that has none."""
    project_name: str | None
    """The project."""
    query: str | None
    """What was asked."""
    intent: str | None
    """In which spirit."""
    domain: str | None
    """From what field."""
    report_type: str | None
    """For what kind of report."""
    status: str
    """`in_progress`, `complete`, `incomplete` or `failed`."""
    quality_gate_passed: bool | None
    """Whether the report passed."""
    overall_quality_score: float | None
    """Its score, 0 to 3."""
    gap_principles: list[str] | None
    """Principles that failed."""
    strength_principles: list[str] | None
    """Principles with the full score."""
    duration_seconds: float | None
    """How long it took."""
    started_at: str
    """When it began: RFC 3339, UTC."""
    trace_file_path: str | None
    """Where its document is; None if it could not be written, or the run makes none."""


class TraceQuery:
    """Questions about traces, the latest first. Each raises `StoreError` if it cannot be asked."""

    @staticmethod
    async def by_intent(intent: str, limit: int = 50) -> list[TraceResult]:
        """Return complete traces with an intent."""
        return await _listed(lambda: get_history().complete_with("intent", intent, limit))

    @staticmethod
    async def by_domain(domain: str, limit: int = 50) -> list[TraceResult]:
        """Return complete traces of a domain."""
        return await _listed(lambda: get_history().complete_with("domain", domain, limit))

    @staticmethod
    async def by_project(project_name: str, limit: int = 50) -> list[TraceResult]:
        """Return all traces of a project, however they ended."""
        return await _listed(lambda: get_history().of_project(project_name, limit))

    @staticmethod
    async def low_scoring_principle(
        principle_id: str, threshold: float = 2, limit: int = 50
    ) -> list[TraceResult]:
        """Return complete traces in which a principle scored below `threshold`."""
        return await _listed(lambda: get_history().low_scoring(principle_id, threshold, limit))

    @staticmethod
    async def quality_gate_failures(limit: int = 50) -> list[TraceResult]:
        """Return complete traces that failed the quality gate."""
        return await _listed(lambda: get_history().gate_failures(limit))

    @staticmethod
    async def flagged_for_review(limit: int = 20) -> list[TraceResult]:
        """Return traces that are flagged for review."""
        return await _listed(lambda: get_history().flagged(limit))

    @staticmethod
    async def principle_patterns(min_runs: int = 3) -> list[dict[str, Any]]:
        """Return which principles fail most often, over all complete traces.

        Args:
            min_runs: In how many traces a principle has to have failed to be told of.

        Returns:
            Mappings with `principle_id`, `fail_count`, `avg_score` and `total_runs`, the largest
            count first.
        """
        return await asyncio.to_thread(lambda: get_history().patterns(min_runs))

    @staticmethod
    async def compare(trace_id_a: str, trace_id_b: str) -> dict[str, Any]:
        """Compare two traces side by side.

        Returns:
            `trace_a`, `trace_b` and `diff`: `quality_delta`, `duration_delta` and `cost_delta` are
            b - a, None where one of them is not known; `gaps_a_only`, `gaps_b_only`, `gaps_both`.
            A mapping with `error` if an id is unknown.
        """
        return await asyncio.to_thread(_compare, trace_id_a, trace_id_b)

    @staticmethod
    async def full_trace(trace_id: str) -> dict[str, Any] | None:
        """Return the whole document of a trace: all decisions, prompts and evidence.

        It is read from the trace's file. A run without one (of another dialect, killed, or with a
        file that could not be written) is rendered from the log.

        Returns:
            The document; None if the id is unknown or the file is damaged.
        """
        return await asyncio.to_thread(load_document, trace_id)

    @staticmethod
    async def summary() -> dict[str, Any]:
        """Return counts and averages over all traces.

        These are `total_runs`, `complete`, `failed`, `incomplete`, `qg_passed`, `qg_failed`,
        `avg_quality`, `avg_duration` (seconds) and `avg_cost` (US dollars); averages are of
        complete traces, and None where nothing is known.
        """
        return await asyncio.to_thread(lambda: get_history().summary())


async def _listed(ask: Callable[[], list[Row]]) -> list[TraceResult]:
    rows = await asyncio.to_thread(ask)
    return [TraceResult(**{name: row[name] for name in LISTED}) for row in rows]


def _compare(trace_id_a: str, trace_id_b: str) -> dict[str, Any]:
    history = get_history()
    a, b = history.find(trace_id_a), history.find(trace_id_b)
    if a is None or b is None:
        return {"error": "One or both trace IDs not found"}
    gaps_a, gaps_b = (set(row["gap_principles"] or ()) for row in (a, b))
    return {
        "trace_a": _summed_up(a),
        "trace_b": _summed_up(b),
        "diff": {
            "quality_delta": _difference(a, b, "overall_quality_score"),
            "duration_delta": _difference(a, b, "duration_seconds"),
            "cost_delta": _difference(a, b, "synthesis_cost_usd"),
            "gaps_a_only": sorted(gaps_a - gaps_b),
            "gaps_b_only": sorted(gaps_b - gaps_a),
            "gaps_both": sorted(gaps_a & gaps_b),
        },
    }


def _summed_up(row: Row) -> dict[str, Any]:
    names = ("trace_id", "project_name", "intent", "domain", "quality_gate_passed")
    return {
        **{name: row[name] for name in names},
        "gap_principles": row["gap_principles"],
        "strength_principles": row["strength_principles"],
        "duration_seconds": row["duration_seconds"],
        "quality_score": row["overall_quality_score"],
        "cost_usd": row["synthesis_cost_usd"],
    }


def _difference(a: Row, b: Row, name: str) -> float | None:
    return None if a[name] is None or b[name] is None else b[name] - a[name]


def load_document(trace_id: str) -> dict[str, Any] | None:
    """Return the document of a trace, see `TraceQuery.full_trace`.

    Raises:
        StoreError: The rows of traces cannot be asked.
    """
    row = get_history().find(trace_id)
    path = None if row is None else _existing(row["trace_file_path"])
    if path is not None:
        try:
            document = parts.decode(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return cast("dict[str, Any]", document) if isinstance(document, dict) else None
    with reading() as reader:
        try:
            return render(reader.run(trace_id), reader.value)
        except NotFoundError:
            return None


def _existing(stated: str | None) -> Path | None:
    """Return where a trace's file is now: where it was written, or below the root that holds now.

    Returns:
        Its path; None if there is no such file.
    """
    if not stated:
        return None
    path = Path(stated)
    moved = settings.projects_folder().joinpath(*path.parts[-3:])
    return next((one for one in (path, moved) if one.is_file()), None)
