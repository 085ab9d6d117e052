"""Whether a model span states a call of its own, or one that another span has stated already.

Two instrumentations of one call leave a model span inside another one, and gateways and tracers
leave two beside each other. Comes in: a span that is a model call by its attributes, and what is
known of its run. Goes out: the id of the span whose call it states again, or None. What was decided
once is never decided otherwise, since the log is not rewritten. The rules, with the cases they come
from, are in docs/explanation/usage.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.ingest import reading
from whence.ingest.evidence import text_of
from whence.ingest.shape import Call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whence.ingest.otel import SpanIn
    from whence.ingest.reading import Reading
    from whence.ingest.shape import Shape


def find(span: SpanIn, read: Reading, shape: Shape) -> str | None:
    """Return the id of the span whose model call this one states again.

    None if it states one of its own; empty if it was imported before as one that does not.
    """
    before = shape.spans.get(span.span)
    if before is not None:  # imported before: what was decided then holds
        return None if before[1] == "generation" else ""
    figures = reading.figures(read)
    mine = Call(
        span.span,
        text_of(read.fields.get("response_id")),
        figures.input,
        figures.output,
        span.begun_ns,
        span.ended_ns,
    )
    inner = shape.calls_inside(span.span)
    if inner and _states_again(mine, inner):
        return inner[0].span
    outer = shape.call_around(span.parent) if span.parent else None
    if outer is not None and _states_again(outer, [mine]):
        return outer.span
    for other in shape.answers.get(mine.response_id or "", ()):
        if _overlap(mine, shape.calls[other]):
            return other
    return None


def _states_again(outer: Call, inner: list[Call]) -> bool:
    """Whether a model span states the calls inside it again, rather than one of its own."""
    answers = {call.response_id for call in inner if call.response_id is not None}
    if outer.response_id is not None and answers:
        return outer.response_id in answers
    if outer.input_tokens is None and outer.output_tokens is None:
        return True
    if len(inner) == 1:
        return not _contradict(outer, inner[0])
    return outer.input_tokens == _sum(c.input_tokens for c in inner) and (
        outer.output_tokens == _sum(c.output_tokens for c in inner)
    )


def _contradict(a: Call, b: Call) -> bool:
    """Whether two calls state other figures for both input and output.

    One alone may differ, since instrumentations count cached and reasoning tokens differently.

    Returns:
        True if they cannot be the same call.
    """
    return _differ(a.input_tokens, b.input_tokens) and _differ(a.output_tokens, b.output_tokens)


def _differ(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and a != b


def _sum(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _overlap(a: Call, b: Call) -> bool:
    return a.begun_ns < b.ended_ns and b.begun_ns < a.ended_ns
