"""The events of an Inspect sample become spans, model calls, tool calls, decisions and events.

Comes in: events in the order of the log, their texts put back. Goes out: records. A span may be
told by `span_begin` and `span_end` with ids, or, in logs until 2025, by `step` events that nest. A
tool call is in the span of its own that the log has for it, or in one that is made. An approval is
a decision. Changes of the state are passed over, since they repeat what calls and messages say.

Source: inspect_ai `inspect_ai/event/`, and `scorer/_metric.py` for the words of scores.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from whence.ingest import loose, usage
from whence.ingest.loose import Fields
from whence.record.decision import Decision, Option
from whence.record.event import Event
from whence.record.generation import Generation, ToolCall
from whence.record.score import Score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.timeline import Timeline
    from whence.record.base import Record

_KINDS = {
    "solver": "stage",
    "scorer": "evaluation",
    "agent": "agent",
    "handoff": "agent",
    "tool": "tool",
}
_PASSED_OVER = frozenset({"sample_init", "state"})
_NESTING = frozenset({"span_begin", "span_end", "step", "score"})
"""Events about what others are inside of; of a failed attempt the log has but the last ones."""
_APPROVALS = ("approve", "modify", "reject", "escalate", "terminate")
_NESTED = 20
_VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Correct, partly correct, incorrect, no answer."""
_PASSED = {"C": True, "I": False, "N": False}


class Scored(msgspec.Struct, frozen=True):
    """Where a scorer gave its score."""

    span: str | None = None
    at_ns: int | None = None
    score: Fields = {}


class Events:
    """The events of one sample, while they are read.

    Args:
        line: The ids and times of its run.
    """

    def __init__(self, line: Timeline) -> None:
        self.scored: dict[str, Scored] = {}
        """Name of a scorer to its last score that was not an intermediate one."""
        self._line = line
        self._spans: dict[str, tuple[str, str, str]] = {}
        """Id of a span in the log to id, kind and name of the one here."""
        self._steps: list[tuple[str, str, str]] = []
        """Id, kind and name of the steps that are open."""
        self._called: dict[int, str] = {}
        """Place of a tool event to the id in the log of the span that it has for the call."""
        self._of_calls: set[str] = set()
        self._rounds: dict[str, int] = {}

    def pair(self, events: list[Fields]) -> None:
        """Find the spans that stand for tool calls: of the call's name, in the call's span."""
        waiting: dict[tuple[str | None, str | None], deque[str]] = {}
        for event in events:
            if event.get("event") == "span_begin" and event.get("type") == "tool":
                key = (loose.text(event.get("parent_id")), loose.text(event.get("name")))
                waiting.setdefault(key, deque()).append(loose.name(event.get("id")) or "")
        for place, event in enumerate(events):
            if event.get("event") == "tool":
                key = (loose.text(event.get("span_id")), loose.text(event.get("function")))
                if waiting.get(key):
                    self._called[place] = waiting[key].popleft()
        self._of_calls = set(self._called.values())

    def read(
        self,
        kind: str,
        event: Fields,
        place: object,
        response_id: str | None = None,
        depth: int = 0,
    ) -> Iterator[Record]:
        """Yield the records of an event.

        Args:
            kind: What it is.
            event: It, with its texts put back.
            place: Where it stands.
            response_id: The provider's id of the answer, if it is a model call.
            depth: How many events it is inside of, as logs of 2024 have them.
        """
        at_ns = loose.time_ns(event.get("timestamp"))
        if kind in {"span_begin", "span_end", "step"}:
            yield from self._of_span(kind, event, place, at_ns)
        elif kind == "model":
            yield self._model(event, place, at_ns, response_id)
        elif kind == "tool":
            yield from self._tool(event, place, at_ns)
        elif kind == "score":
            yield from self._score(event, place, at_ns)
        elif kind == "approval":
            yield self._approval(event, place, at_ns)
        elif kind not in _PASSED_OVER:
            yield self._other(kind, event, place, at_ns)
        for number, inner in enumerate(loose.mappings(event.get("events"))):
            if depth < _NESTED:
                inner_kind = loose.name(inner.get("event")) or "event"
                yield from self.read(inner_kind, inner, f"{place}.{number}", None, depth + 1)

    def attempt(self, events: list[Fields], number: int, error: Fields) -> Iterator[Record]:
        """Yield the records of an attempt at the sample that failed.

        Args:
            events: What of it is logged: the last model call and what followed.
            number: Which attempt, from 1.
            error: Why it failed.
        """
        line, span, name = self._line, self._line.id("attempt", number), f"attempt {number}"
        times = [t for e in events if (t := loose.time_ns(e.get("timestamp"))) is not None]
        yield line.opened(span, name, "step", at_ns=min(times, default=None))
        self._steps.append((span, "step", name))
        for place, event in enumerate(events):
            kind = loose.name(event.get("event")) or "event"
            if kind not in _NESTING:
                yield from self.read(kind, event, f"attempt {number}.{place}")
        self._steps.pop()
        yield line.closed(span, status="error", error=error)

    def _around(self, event: Fields) -> tuple[str | None, str | None]:
        """Return id and stage of the span that an event is in."""
        known = self._spans.get(loose.name(event.get("span_id")) or "")
        if known is None and self._steps:
            known = self._steps[-1]
        if known is None:
            return None, None
        return known[0], known[2] if known[1] == "stage" else None

    def _point(self, name: str, place: object, event: Fields, at_ns: int | None) -> Fields:
        span, stage = self._around(event)
        return self._line.point(name, place, span=span, stage=stage, at_ns=at_ns)

    def _of_span(
        self, kind: str, event: Fields, place: object, at_ns: int | None
    ) -> Iterator[Record]:
        line, name = self._line, loose.name(event.get("name")) or "a span"
        sort = _KINDS.get(loose.name(event.get("type")) or "", "step")
        if kind == "step":
            if event.get("action") == "begin":
                span, parent = line.id("step", place), self._steps[-1][0] if self._steps else None
                self._steps.append((span, sort, name))
                yield line.opened(span, name, sort, at_ns=at_ns, parent=parent)
                return
            while self._steps:  # a step that did not end ends with the one around it
                span, _, known = self._steps.pop()
                yield line.closed(span, at_ns=at_ns)
                if known == name:
                    break
            return
        own = loose.name(event.get("id")) or f"at {place}"
        if kind == "span_begin":
            parent = self._spans.get(loose.name(event.get("parent_id")) or "", (None,))[0]
            span = line.id("span", own)
            self._spans[own] = (span, sort, name)
            kept = {k: event[k] for k in ("type", "metadata") if event.get(k)} or None
            agent = name if sort == "agent" else None
            yield line.opened(
                span, name, sort, at_ns=at_ns, parent=parent, agent=agent, attributes=kept
            )
        elif own in self._spans and own not in self._of_calls:  # a tool call ends its own
            yield line.closed(self._spans[own][0], at_ns=at_ns)

    def _model(
        self, event: Fields, place: object, at_ns: int | None, response_id: str | None
    ) -> Generation:
        output = loose.mapping(event.get("output"))
        choices = loose.mappings(output.get("choices"))
        answers = [choice.get("message") for choice in choices]
        choice = loose.first(output.get("choices"))
        length = loose.length_ns(output.get("time"))
        if length is None:
            length = loose.length_ns(event.get("working_time"))
        ended_ns = loose.time_ns(event.get("completed"))
        if ended_ns is None and at_ns is not None:
            ended_ns = at_ns + (length or 0)
        model = loose.text(event.get("model"))
        stated = loose.mapping(output.get("usage"))
        extra = {k: event[k] for k in ("role", "cache", "working_time") if event.get(k) is not None}
        if event.get("cache") == "read":  # the answer states what it once took; nothing was sent
            extra |= {"cached_usage": stated} if stated else {}
            stated, length = Fields(), None
        provider = model.partition("/")[0] if model and "/" in model else None
        failure = loose.text(event.get("error")) or loose.text(output.get("error"))
        retries, cost = loose.count(event.get("retries")), loose.amount(stated.get("total_cost"))
        return Generation(
            **self._point("model", place, event, ended_ns),
            operation="chat",
            provider=provider,
            model=model,
            response_model=loose.text(output.get("model")),
            response_id=response_id,
            messages=loose.sequence(event.get("input")) or None,
            output=answers[0] if len(answers) == 1 else answers or None,
            reasoning=_reasoning(answers),
            parameters=_parameters(event),
            usage=usage.of_stated(stated, provider),
            finish_reason=loose.text(choice.get("stop_reason")),
            attempt=None if retries is None else retries + 1,
            duration_ns=length,
            cost_usd=cost,
            cost_source=None if cost is None else "declared",
            status="ok" if failure is None else "error",
            error=None if failure is None else {"type": "error", "message": failure},
            attributes=extra or None,
        )

    def _tool(self, event: Fields, place: object, at_ns: int | None) -> Iterator[Record]:
        name = loose.name(event.get("function")) or "a tool"
        ended_ns = loose.time_ns(event.get("completed"))
        length = loose.length_ns(event.get("working_time"))
        if length is None and at_ns is not None and ended_ns is not None and ended_ns >= at_ns:
            length = ended_ns - at_ns
        around, stage = self._around(event)
        extra = {
            k: event[k]
            for k in ("id", "agent", "truncated", "message_id", "failed")
            if event.get(k) is not None
        }
        fields: Fields = {
            "tool_type": loose.text(event.get("type")),
            "input": event.get("arguments"),
            "output": event.get("result"),
            "duration_ns": length,
            "attributes": extra or None,
        }
        failure = event.get("error")
        error = None
        if failure is not None or event.get("failed") is True:
            said = loose.mapping(failure)
            message = loose.text(said.get("message")) or loose.text(failure) or ""
            error = {"type": loose.name(said.get("type")) or "error", "message": message}
        own = self._spans.get(self._called.get(place, "")) if isinstance(place, int) else None
        if own is None:
            yield from self._line.tool(
                "tool",
                place,
                name=name,
                parent=around,
                at_ns=at_ns,
                ended_ns=ended_ns,
                stage=stage,
                error=error,
                **fields,
            )
            return
        if error is not None:
            fields |= {"status": "error", "error": error}
        point = self._line.point("tool", place, "call", span=own[0], stage=stage, at_ns=ended_ns)
        yield ToolCall(**point, tool_name=name, **fields)

    def _score(self, event: Fields, place: object, at_ns: int | None) -> Iterator[Score]:
        span, _ = self._around(event)
        known = self._spans.get(loose.name(event.get("span_id")) or "")
        name = (known or (self._steps[-1] if self._steps else ("", "", "score")))[2]
        given = loose.mapping(event.get("score"))
        if event.get("intermediate") is True:
            self._rounds[name] = self._rounds.get(name, 0) + 1
            point = self._point("score", place, event, at_ns)
            yield score(point, name, given, self._rounds[name])
        else:
            self.scored[name] = Scored(span, at_ns, given)

    def _approval(self, event: Fields, place: object, at_ns: int | None) -> Decision:
        taken = loose.name(event.get("decision")) or "?"
        names = dict.fromkeys((*_APPROVALS, taken))
        return Decision(
            **self._point("approval", place, event, at_ns),
            name="tool approval",
            what=taken,
            why=loose.text(event.get("explanation")) or "",
            options=[Option(name=name, chosen=name == taken) for name in names],
            inputs={k: event[k] for k in ("message", "call", "modified") if event.get(k)} or None,
            made_by=loose.name(event.get("approver")),
        )

    def _other(self, kind: str, event: Fields, place: object, at_ns: int | None) -> Event:
        said, level = _said(kind, event)
        data = {
            k: v
            for k, v in event.items()
            if k not in {"event", "events", "span_id", "timestamp", "uuid", "working_start"}
        }
        point = self._point("event", place, event, at_ns)
        return Event(**point, message=f"{kind}: {said}" if said else kind, level=level, data=data)


def score(point: Fields, name: str, stated: Fields, iteration: int | None = None) -> Score:
    """Return a score; what has no number is kept in its attributes."""
    value = stated.get("value")
    word = value if isinstance(value, str) else ""
    number = _VALUES.get(word, loose.number(value))
    if isinstance(value, bool):
        number = float(value)
    return Score(
        **point,
        name=name,
        value=number,
        passed=value if isinstance(value, bool) else _PASSED.get(word),
        feedback=loose.text(stated.get("explanation")) or "",
        iteration=iteration,
        attributes={k: v for k, v in stated.items() if k != "explanation" and v not in (None, {})},
    )


def _said(kind: str, event: Fields) -> tuple[str, str]:
    """Return what an event says in a line, and how serious it is."""
    if kind == "logger":
        message = loose.mapping(event.get("message"))
        return loose.text(message.get("message")) or "", loose.text(message.get("level")) or "info"
    if kind == "error":
        return loose.text(loose.mapping(event.get("error")).get("message")) or "", "error"
    if kind == "sample_limit":
        return loose.text(event.get("message")) or loose.text(event.get("type")) or "", "warning"
    if kind == "sandbox":
        words = (event.get("action"), event.get("cmd"), event.get("file"))
        return " ".join(word for word in words if isinstance(word, str)), "info"
    for name in ("name", "message", "source", "input"):
        text = loose.text(event.get(name))
        if text is not None:
            return text, "info"
    return "", "debug" if kind == "store" else "info"


def _parameters(event: Fields) -> Fields | None:
    config = {k: v for k, v in loose.mapping(event.get("config")).items() if v is not None}
    tools, choice = loose.sequence(event.get("tools")), event.get("tool_choice")
    if tools:
        config |= {"tools": tools, "tool_choice": choice}
    return config or None


def _reasoning(answers: list[Any]) -> str | None:
    texts = [
        loose.text(part.get("reasoning")) or ""
        for answer in answers
        for part in loose.mappings(loose.mapping(answer).get("content"))
        if part.get("type") == "reasoning"
    ]
    return "\n\n".join(text for text in texts if text) or None
