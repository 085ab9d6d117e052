"""Patterns that a trace completes: a principle that keeps failing, an intent that does badly.

Comes in: a trace with a verdict. Goes out: sentences for people, on the project's page of alerts,
and a flag for review on the trace. Nothing is ever blocked, and nothing raises: a question that
cannot be asked is logged.

The four patterns and their thresholds are those of document 5 (pipeline observability) section 7.1
and of the system it describes; each can be set.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from whence import _clock
from whence.capture import guard
from whence.dialects.research import files, keeping, settings
from whence.dialects.research.stages import now
from whence.dialects.research.trace import NoOpTrace, Trace, log
from whence.exports.research_summary import said
from whence.ingest import research_parts as parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from whence.dialects.research.history import History

FAILURES = 3
"""In how many recent traces a principle has to have failed."""
DAYS = 7
"""How far back a trace is recent."""
DROP = 0.5
"""By more than how much an average has to be below the overall one."""
_DAY_NS = 86_400_000_000_000


async def check_calibration_flags(
    trace: Trace, *, failures: int = FAILURES, days: float = DAYS, drop: float = DROP
) -> list[str]:
    """Return what a trace, after it was saved, shows to be reviewed; say so where people look.

    A trace with findings is flagged for review, and the findings are appended to the alerts of its
    project. Asked again about the same trace, they are not told twice.

    Args:
        trace: The trace; without a stage `quality_gate` it shows nothing.
        failures: In how many recent complete traces a principle has to have failed.
        days: What is recent.
        drop: By more than how much the average of an intent or domain has to be below the overall.

    Returns:
        Sentences, none if there is no pattern.
    """
    if isinstance(trace, NoOpTrace) or parts.GATE not in trace.stages:
        return []
    try:
        known = keeping.get_history()
        since_ns = _clock.wall_ns() - round(days * _DAY_NS)
        found = await asyncio.to_thread(
            lambda: list(_iter_flags(trace, known, failures, days, since_ns, drop))
        )
        if found and found != trace.flags:
            trace.flags = found
            await asyncio.to_thread(_tell, trace, known, found)
    except Exception as error:  # noqa: BLE001 - flags never raise into the pipeline
        log.error("flags of trace %s were not checked: %s", trace.trace_id, guard.describe(error))
        return []
    return found


def _iter_flags(  # noqa: PLR0917 - private, and called in one place
    trace: Trace, known: History, failures: int, days: float, since_ns: int, drop: float
) -> Iterator[str]:
    outputs = trace.stages[parts.GATE].outputs
    gaps = parts.gap_ids(outputs)
    counts: Mapping[str, int] = known.recent_failures(gaps, since_ns) if gaps else {}
    for gap in gaps:
        if counts.get(gap, 0) >= failures:
            yield (
                f"Principle {gap} has scored below threshold {counts[gap]} times in the last "
                f"{days:g} days. Consider reviewing calibration."
            )
    overall = known.average()
    for column, value in (("intent", trace.intent), ("domain", trace.domain)):
        mean = known.average(column, value) if value and overall is not None else None
        if mean is not None and overall is not None and mean < overall - drop:
            yield (
                f"Traces with the {column} {value} score {mean:.2f} on average, "
                f"{overall - mean:.2f} below the overall average of {overall:.2f}. "
                "Consider reviewing calibration."
            )
    if _passed(outputs) is False:
        before = _before(trace, known)
        if before is not None and before["quality_gate_passed"]:
            yield (
                f"This run failed the quality gate after the previous run of the project "
                f"({before['trace_id']}) passed it. Consider comparing the two."
            )


def _passed(outputs: Mapping[str, Any]) -> bool | None:
    passed = outputs.get("passed", outputs.get("passing"))
    return passed if isinstance(passed, bool) else None


def _before(trace: Trace, known: History) -> Mapping[str, Any] | None:
    project = trace.project_name or trace.project_id
    if not project or trace.started_at is None:
        return None
    return known.previous(project, trace.trace_id, trace.started_at)


def _tell(trace: Trace, known: History, found: list[str]) -> None:
    """Flag the trace for review and put the findings on the page of alerts."""
    reason = " ".join(found)
    if trace.recording is None:
        known.flag(trace.trace_id, reason)
    else:
        trace.recording.flag(reason)
        if settings.current().postgres is not None:
            known.flag(trace.trace_id, reason)
    files.append_alerts(
        trace.project_name, [f"- {now()} {said(trace.trace_id)}: {said(one)}" for one in found]
    )
