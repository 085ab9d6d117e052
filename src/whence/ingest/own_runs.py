"""The root span of whence's own OTLP export becomes the run that it stands for.

Comes in: a root span that says so. Goes out: start and end of the run, and what became known of it
between them. A run that came from OpenTelemetry itself keeps the root that it came with, which is a
span as well; its root then states fields of the run under `whence.run.` all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock, _ids
from whence.ingest import keys, own, semconv
from whence.ingest.otel import STATUS_ERROR
from whence.record.run import RunEnded, RunStarted, Update

if TYPE_CHECKING:
    from whence.ingest.otel import SpanIn
    from whence.ingest.own_spans import OwnSpan
    from whence.record.base import Record

_RUN = "whence.run."


def is_root(span: SpanIn) -> bool:
    """Whether a span is nothing but the run."""
    return span.attributes.get(own.RECORD) == "run" and span.span == _ids.root_id(span.trace)


def is_merged(span: SpanIn) -> bool:
    """Whether a root span states fields of its run beside its own."""
    given = span.attributes
    return given.get(f"{_RUN}merged") is True and isinstance(given.get(own.SPAN_KIND), str)


def project_of(resource: dict[str, Any]) -> str | None:
    """Return the project that a resource names; None if it names none."""
    for name in semconv.PROJECT:
        project = resource.get(name)
        if isinstance(project, str) and project and not project.startswith("unknown_service"):
            return project
    return None


def environment_of(resource: dict[str, Any]) -> dict[str, Any] | None:
    """Return the environment that a resource tells: the one that was recorded, or itself."""
    recorded = resource.get(own.ENVIRONMENT)
    return (recorded if isinstance(recorded, dict) else resource) or None  # pyright: ignore[reportUnknownVariableType]


def records_of(it: OwnSpan, *, merged: bool) -> list[Record]:
    """Return the records of a run.

    Args:
        it: Its root span.
        merged: Whether that is a span of the run too.
    """
    span, stated = it.span, it.stated
    resource = span.origin.resource
    project = stated.get(f"{_RUN}project", own.is_text, project_of(resource))
    environment = stated.get(f"{_RUN}environment", own.is_mapping, environment_of(resource))
    tags = stated.get(f"{_RUN}tags" if merged else "tag.tags", own.is_texts, None)
    start = RunStarted(
        ts=_clock.format_ns(span.begun_ns),
        run=span.trace,
        name=span.name,
        run_kind=_text(stated.text(f"{_RUN}kind")),
        project=project_of(resource) if project is msgspec.UNSET else project,
        external_id=_text(stated.text(f"{_RUN}external_id")),
        parent_run=_text(stated.text(f"{_RUN}parent")),
        tags=None if tags is msgspec.UNSET else tags or None,
        environment=environment_of(resource) if environment is msgspec.UNSET else environment,
        session=_text(stated.text("session.id")),
        user=_text(stated.text("user.id")),
        conversation=_text(stated.text("gen_ai.conversation.id")),
        workflow=_text(stated.text("gen_ai.workflow.name")),
    )
    output = stated.get(f"{_RUN}output", own.anything)
    if output is msgspec.UNSET:
        output = None if merged else it.value("output")
    made: list[Record] = []
    if output is not None:
        made.append(
            Update(
                ts=_clock.format_ns(span.ended_ns or span.begun_ns),
                run=span.trace,
                id=keys.record_id(span.trace, "output of the root"),
                output=output,
            )
        )
    is_ended = stated.get(f"{_RUN}ended", own.is_truth, absent=True) is not False
    end = _ended(it)
    if is_ended and span.ended_ns:
        made.append(end)
    stated.take(f"{_RUN}merged", f"{_RUN}lost")
    if merged:
        attributes = stated.get(f"{_RUN}attributes", own.is_mapping, None)
    else:
        stated.take(own.RECORD)
        attributes = stated.of_user({})
    if attributes is not msgspec.UNSET and attributes:
        start = msgspec.structs.replace(start, attributes=attributes)
    return [start, *made]


def _ended(it: OwnSpan) -> RunEnded:
    span, stated = it.span, it.stated
    status = "failed" if span.status == STATUS_ERROR else "complete"
    told = stated.get(f"{_RUN}status", own.is_text, status)
    ended_ns = stated.get(f"{_RUN}ended_ns", own.is_time, span.ended_ns)
    error = stated.get(f"{_RUN}error", own.is_mapping, it.error)
    lengths = {
        name: stated.get(f"{_RUN}{name}_ms", own.is_ms, None) for name in ("duration", "overhead")
    }
    duration_ms, overhead_ms = lengths["duration"], lengths["overhead"]
    if duration_ms is msgspec.UNSET:
        duration_ms = max(0, span.ended_ns - span.begun_ns) / 1_000_000
    return RunEnded(
        ts=_clock.format_ns(span.ended_ns if ended_ns in {None, msgspec.UNSET} else ended_ns),
        run=span.trace,
        status=told if isinstance(told, str) else status,
        duration_ns=own.length_ns(duration_ms),
        error=it.error if error is msgspec.UNSET else error,
        overhead_ns=None if overhead_ms is msgspec.UNSET else own.length_ns(overhead_ms),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
