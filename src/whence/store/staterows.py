"""How what is known of a run or span becomes its row.

Comes in: a state (`whence.store.states`), and whether its writer is alive. Goes out: the row. Of
several updates the latest to say something holds; tags and attributes add up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence import _clock
from whence.store import rows as r
from whence.store.pointrows import error_type, milliseconds
from whence.store.states import timestamp_ns

if TYPE_CHECKING:
    from whence.record.run import RunStarted, Update
    from whence.record.span import SpanStarted
    from whence.store.states import RunState, SpanState

_parse = _clock.parse_ns


def _update_order(update: Update) -> tuple[str, int, str]:
    return (update.ts, update.seq, update.id)


def run_row(state: RunState, *, live: bool) -> r.RunRow:
    """Return the row of a run.

    Args:
        state: What is known of it.
        live: Whether its writer is alive, which decides between `running` and `incomplete` for a
            run that did not end.
    """
    start, end = state.start, state.end
    updates = sorted(state.updates, key=_update_order)
    attributes, tags = _gather(start, updates)
    given: dict[str, Any] = {}
    for update in updates:
        given.update(update.fields or {})
    output = _last(updates, "output")
    error = end.error if end else None
    status = (end.status if end else None) or ("running" if live else "incomplete")

    def field(name: str) -> Any:
        value = given.get(name)
        return value if value is not None else getattr(start, name, None)

    return r.RunRow(
        id=state.id,
        run=state.id,
        name=start.name if start else "",
        kind=start.run_kind if start else None,
        project=start.project if start else None,
        status=status,
        started_ns=_parse(start.ts) if start else state.first_ns,
        ended_ns=_parse(end.ts) if end else None,
        duration_ms=milliseconds(end.duration_ns) if end else None,
        external_id=field("external_id"),
        parent_run=start.parent_run if start else None,
        workflow=field("workflow"),
        session=field("session"),
        conversation=field("conversation"),
        user=field("user"),
        tags=tags,
        attributes=attributes,
        environment=start.environment if start else None,
        output=output,
        error_type=error_type(error),
        error=error,
        overhead_ms=milliseconds(end.overhead_ns) if end else None,
        records=state.records,
        spans=state.spans,
        decisions=state.decisions,
        generations=state.generations,
        tool_calls=state.tool_calls,
        errors=state.failures.count,
        lost=state.lost,
        input_tokens=state.input_tokens,
        output_tokens=state.output_tokens,
        cost_usd=state.cost_usd,
        unpriced_calls=state.unpriced_calls,
        flagged=state.flagged,
    )


def span_row(state: SpanState, *, live: bool) -> r.SpanRow:
    """Return the row of a span; see `run_row`."""
    start, updates = state.start, sorted(state.updates, key=_update_order)
    end = state.end or state.call
    attributes, tags = _gather(start, updates)
    error = end.error if end else None
    ended_output = state.end.output if state.end else None
    output = ended_output if ended_output is not None else _last(updates, "output")
    given_status = _last(updates, "status")
    first = start or state.end or (updates[0] if updates else None)
    given_input = _last(updates, "input")
    return r.SpanRow(
        id=state.id,
        run=state.run,
        parent=start.parent if start else None,
        stage=first.stage if first else None,
        name=start.name if start else "",
        kind=start.span_kind if start else "custom",
        status=end.status if end else given_status or ("running" if live else "incomplete"),
        started_ns=timestamp_ns(first) if first else _parse(end.ts) if end else 0,
        ended_ns=_parse(end.ts) if end else None,
        duration_ms=milliseconds(end.duration_ns) if end else None,
        agent=start.agent if start else None,
        algorithm=_last(updates, "algorithm") or (start.algorithm if start else None),
        input_count=_or(_last(updates, "input_count"), start.input_count if start else None),
        output_count=_last(updates, "output_count"),
        tags=tags,
        attributes=attributes,
        input=_or(given_input, start.input if start else None),
        output=output,
        error_type=error_type(error),
        error=error,
    )


def _gather(
    start: RunStarted | SpanStarted | None, updates: list[Update]
) -> tuple[dict[str, Any], list[str]]:
    attributes: dict[str, Any] = dict(start.attributes or {}) if start else {}
    tags: dict[str, None] = dict.fromkeys(getattr(start, "tags", None) or ())
    for update in updates:
        attributes.update(update.attributes or {})
        tags.update(dict.fromkeys(update.tags or ()))
    return attributes, list(tags)


def _last(updates: list[Update], name: str) -> Any:
    for update in reversed(updates):
        value = getattr(update, name)
        if value is not None:
            return value
    return None


def _or(value: Any, other: Any) -> Any:
    return other if value is None else value
