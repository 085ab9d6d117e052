"""The shape of a research trace: documents are put together from their parts here, nowhere else.

Comes in: the fields of a trace and of its stages, from a trace in memory or from recorded rows.
Goes out: plain data in the form of document 5 (pipeline observability) section 3, and its bytes.
Nothing is looked up and nothing is read or written.

Where the example and the code of that section differ, both are served: a stage has the keys of the
code, and those of the example where they are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from whence import _clock
from whence.ingest import research_parts as parts
from whence.record import values

SCHEMA_VERSION = 1
GENERATOR = "ire-observability-v1"
"""The generator that document 5 names, which readers of its files look for."""
DIALECT = "research"
"""What the attribute `dialect` of the runs of this form says."""
_GONE = ("object", "cycle", "deep", "withheld", "blob")
"""Markers of values that are gone, or not at hand; the others have been put back."""
_CALL_KEYS = frozenset({"model", "token_usage", "cost_usd"})


def iso(unix_ns: int) -> str:
    """Return a time as documents have it: RFC 3339, UTC, microseconds."""
    return f"{_clock.format_ns(unix_ns)[:26]}Z"


def trace_document(
    *,
    trace_id: str,
    project_id: Any,
    project_name: Any,
    query: Any,
    intent: Any,
    domain: Any,
    report_type: Any,
    research_type: Any,
    started_at: str | None,
    completed_at: str | None,
    duration_seconds: float | None,
    status: str,
    stages: dict[str, Any],
    iterations: list[Any],
    outputs: Mapping[str, Any],
    child_traces: list[Any],
    parent_trace_id: str | None,
    overhead_ms: float | None,
) -> dict[str, Any]:
    """Return a document from its parts: the one place that knows its outer shape."""
    made: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "trace_id": trace_id,
        "project_id": project_id,
        "project_name": project_name,
        "run": {
            "query": query,
            "intent": intent,
            "domain": domain,
            "report_type": report_type,
            "research_type": research_type,
            "started_at": started_at,
            "completed_at": completed_at,
            "duration_seconds": duration_seconds,
            "status": status,
            "tracing_enabled": True,
        },
        "stages": stages,
        "iterations": iterations,
        "iteration_count": len(iterations) or 1,
        "quality_gate_failures": sum(
            isinstance(one, Mapping) and parts.failed_round(cast("Mapping[str, Any]", one))
            for one in iterations
        ),
        "outputs": dict(outputs),
        "child_traces": child_traces,
        "metadata": {"trace_version": SCHEMA_VERSION, "generator": GENERATOR},
    }
    if overhead_ms is not None:
        made["metadata"]["tracing_overhead_ms"] = overhead_ms
    if parent_trace_id is not None:
        made["parent_trace_id"] = parent_trace_id
    return made


def stage_document(
    name: str,
    *,
    started_at: str | None,
    completed_at: str | None,
    duration_seconds: float | None,
    decisions: list[dict[str, Any]],
    outputs: Mapping[str, Any],
    evidence: Mapping[str, Any],
    prompts: Mapping[str, Any],
    error: str | None,
    figures: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return one pass through a stage: the one place that knows a stage's shape.

    Args:
        name: The stage.
        started_at: When it began; None if only records made it.
        completed_at: When it ended.
        duration_seconds: How long it took.
        decisions: Its decisions.
        outputs: What it gave back.
        evidence: What it collected, kept and dropped.
        prompts: What a model was asked.
        error: Why it failed.
        figures: Model call and verdict as recorded, for what the outputs do not state.
    """
    call, verdict = _apart(parts.lifted(name, outputs, prompts))
    known_call, known_verdict = _apart(figures or {})
    if known_verdict and not verdict.get("principle_scores") and "overall_score" not in verdict:
        verdict = known_verdict  # the outputs say no more than whether it passed
    return {
        "started_at": started_at,
        "completed_at": completed_at,
        "duration_seconds": duration_seconds,
        "decisions": decisions,
        "evidence": dict(evidence),
        "prompts": dict(prompts),
        **(call or known_call),
        **verdict,
        "outputs": dict(outputs),
        "error": error,
    }


def _apart(figures: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is said of the model call, and what of the verdict."""
    call = {k: v for k, v in figures.items() if k in _CALL_KEYS}
    return call, {k: v for k, v in figures.items() if k not in call}


def passes_document(passes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a stage that was gone through several times: the last pass, the others `earlier`."""
    *earlier, last = passes
    return last | {"earlier": earlier} if earlier else last


def to_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a document as JSON, indented by two; what JSON has no form for is its text."""
    return msgspec.json.format(msgspec.json.encode(plain(document)), indent=2) + b"\n"


def plain(value: Any) -> Any:  # noqa: PLR0911 - one return a form
    """Return `value` as JSON has it: keys as text, and as text whatever has no other form."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if value.isascii() else _unicode(value)
    if isinstance(value, int):
        return int(value) if values.INT_MIN <= value <= values.INT_MAX else hex(value)
    if isinstance(value, float):
        return float(value) if value - value == 0 else repr(float(value))
    if isinstance(value, Mapping):
        mapping = cast("Mapping[Any, Any]", value)
        if values.is_marker(mapping) and mapping[values.MARK] in _GONE:
            return _marker(mapping)
        items = mapping.items()
        return {_unicode(str(key)): plain(item) for key, item in items}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in cast("list[Any]", value)]
    return _unicode(str(value))


def _marker(marker: Mapping[str, Any]) -> Any:
    """Return the readable part of what stands for a value that is gone or is no data."""
    for key in ("preview", "repr", "why", "value"):
        if isinstance(marker.get(key), str):
            return marker[key]
    return str(marker.get(values.MARK))


def _unicode(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
