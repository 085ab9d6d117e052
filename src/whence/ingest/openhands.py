"""Runs of OpenHands: a line of `output.jsonl` a run, a list of events, or a folder of them.

Comes in: events of either version, actions and the observations they led to, and metrics with
costs, tokens and latencies of the model calls. Goes out: records. An action of the agent is a step,
with what it decided to do and why, and a tool call with the observation as its answer. A model call
is known by the id of its response: several actions may come from one, and some, such as those of a
condenser, lead to none. Where there are no ids, as in older files, the costs belong to the actions
in order.

A folder is the same run while it grows, known by its first event; a list is not.

Source: OpenHands 0.x, `openhands/events/serialization/event.py` and `openhands/llm/metrics.py`; in
older events the arguments stand beside `action` and there are no ids, sources and times. Those of
version 1 are read by `openhands_events`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.errors import IngestError
from whence.ingest import json_files, keys, loose, openhands_events, usage
from whence.ingest.base import Skipped
from whence.ingest.loose import Fields
from whence.ingest.timeline import NO_ANSWER, Timeline
from whence.record.event import Event
from whence.record.generation import Generation
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output, Score

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whence.ingest.base import Known, Source
    from whence.record.base import Record

_OF_LINE = frozenset({"metrics", "git_patch", "test_result", "instance_id"})
_OF_EVENT = frozenset({"action", "observation"})
_TALK = frozenset({"message", "finish", "think", "reject", "system", "change_agent_state", "null"})
"""Actions that call no tool."""
_BROKEN = frozenset({"error", "stuck"})
_SET_UP = frozenset({"system", "recall"})
"""Actions that no model decided on, although they are the agent's."""
_OWN = frozenset(
    {
        "id",
        "timestamp",
        "source",
        "message",
        "action",
        "observation",
        "cause",
        "tool_call_metadata",
        "llm_metrics",
        "args",
        "extras",
        "content",
        "thought",
    }
)


class _Call(msgspec.Struct, frozen=True):
    """What the metrics say of one model call."""

    key: str = ""
    """What tells it from the others: the id of its response; empty in older files."""
    response_id: str | None = None
    model: Any = None
    stated: Fields = {}
    cost_usd: Any = None
    seconds: Any = None
    at_ns: int | None = None


def detect(source: Source) -> bool:
    """Return whether a file begins with a run of OpenHands or an event, or a folder has those."""
    if source.is_folder:
        return openhands_events.is_folder_of_events(source.path)
    begins = json_files.peek(source)
    if begins.is_list:
        known = {"id", "source"} <= begins.keys and not _OF_EVENT.isdisjoint(begins.keys)
        is_list = known or openhands_events.is_event(begins.keys)
        return is_list and not openhands_events.is_copied(source.path)
    return "instruction" in begins.keys and (
        "history" in begins.keys or not _OF_LINE.isdisjoint(begins.keys)
    )


def files_of(source: Source) -> Iterator[Path]:
    """Yield the files of events in a folder."""
    yield from openhands_events.files_in(source.path)


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a file.

    Raises:
        IngestError: The file is neither a list of events nor an object a line.
    """
    del known
    if source.is_folder:
        yield from _read_folder(source)
        return
    if json_files.peek(source).is_list:
        content, skipped = json_files.document(source)
        if all(_OF_EVENT.isdisjoint(event) for event in loose.mappings(content)):
            raise IngestError(f"{source.name} is not a list of events")
        name = source.path.name.partition(".")[0]
        key = json_files.fingerprint(content)
        yield from _run({"history": content, "instance_id": name}, source.name, key)
        yield from skipped
        return
    for line in json_files.iter_objects(source):
        if isinstance(line, Skipped):
            yield line
            continue
        number, given = line
        where = f"{source.name}:{number}"
        if not isinstance(given.get("history"), list) and "metrics" not in given:
            yield Skipped(where, "it has neither a history nor metrics")
            continue
        try:
            yield from _run(given, where, json_files.fingerprint(given))
        except IngestError as error:
            yield Skipped(where, str(error))


def _read_folder(source: Source) -> Iterator[Record | Skipped]:
    events: list[Fields] = []
    for item in openhands_events.iter_folder(source.path):
        if isinstance(item, Skipped):
            yield item
        else:
            events.append(item)
    state = openhands_events.state_beside(source.path)
    given: Fields = {"history": events, "instance_id": source.path.resolve().parent.name}
    given |= {k: state[k] for k in ("execution_status", "tags", "workspace") if state.get(k)}
    key = json_files.fingerprint(events[0]) if events else ""
    yield from _run(given, source.name, key, openhands_events.metrics_of(state))


def _run(
    given: Fields, where: str, key: str, beside: Fields | None = None
) -> Iterator[Record | Skipped]:
    """Yield the records of a run.

    Args:
        given: What is known of it, its events as `history`.
        where: What it is called in reports.
        key: What tells it from others. The name of a file is no part of that.
        beside: Metrics that stand elsewhere.
    """
    line = Timeline(keys.run_id("openhands", key))
    events, skipped = _events(given.get("history"), where)
    events = openhands_events.in_old_form(events)
    metrics = loose.mapping(given.get("metrics")) or beside or _metrics_in(events)
    yield _started(given, metrics, events, line)
    yield from skipped
    yield from _Steps(line, _calls(metrics)).read(events)
    yield from _outcome(given, events, line)


def _events(history: Any, where: str) -> tuple[list[Fields], list[Skipped]]:
    """Return the events of a history; the oldest files have pairs of an action and what came."""
    flat: list[Any] = []
    for item in loose.sequence(history):
        flat += (
            [one for one in cast("list[Any]", item) if one] if isinstance(item, list) else [item]
        )
    skipped = [
        Skipped(f"{where}, event {number}", "not an object")
        for number, item in enumerate(flat)
        if not isinstance(item, dict)
    ]
    return loose.mappings(flat), skipped


def _started(given: Fields, metrics: Fields, events: list[Fields], line: Timeline) -> RunStarted:
    issue = loose.mapping(given.get("issue"))
    instance = loose.name(given.get("instance_id"))
    if instance is None and {"owner", "repo", "number"} <= issue.keys():
        instance = f"{issue['owner']}/{issue['repo']}#{issue['number']}"
    attributes = {
        k: v
        for k, v in given.items()
        if k not in {"history", "metrics", "git_patch", "error", "success", "result_explanation"}
    }
    declared = {
        name: metrics[key]
        for name, key in (("cost_usd", "accumulated_cost"), ("usage", "accumulated_token_usage"))
        if metrics.get(key) is not None
    }
    if declared:
        attributes["declared"] = declared
    times = [t for event in events if (t := loose.time_ns(event.get("timestamp"))) is not None]
    if not times:
        attributes["undated"] = True
    return RunStarted(
        ts=line.at(min(times, default=None)),
        run=line.run,
        name="openhands",
        run_kind="agent",
        external_id=instance,
        workflow=instance,
        attributes=attributes,
    )


def _metrics_in(events: list[Fields]) -> Fields:
    """Return the metrics that events carry: each has those of all calls before it, or the last."""
    merged: Fields = {}
    lists: dict[str, dict[str, Any]] = {}
    for event in events:
        metrics = loose.mapping(event.get("llm_metrics"))
        merged |= {k: v for k, v in metrics.items() if k.startswith("accumulated")}
        for name in ("token_usages", "response_latencies", "costs"):
            for one in loose.mappings(metrics.get(name)):
                key = one.get("timestamp" if name == "costs" else "response_id")
                lists.setdefault(name, {}).setdefault(repr(key), one)
    return merged | {name: list(found.values()) for name, found in lists.items()}


def _calls(metrics: Fields) -> list[_Call]:
    """Return the model calls that metrics tell of, in order."""
    stated = loose.mappings(metrics.get("token_usages"))
    costs = loose.sequence(metrics.get("costs"))
    latencies = loose.mappings(metrics.get("response_latencies"))
    seconds = {loose.name(one.get("response_id")): one.get("latency") for one in latencies}
    calls: list[_Call] = []
    seen: set[str] = set()
    for number in range(max(len(stated), len(costs))):
        one = stated[number] if number < len(stated) else {}
        cost = costs[number] if number < len(costs) else None
        of_cost = loose.mapping(cost)
        response_id = loose.name(one.get("response_id"))
        key = response_id or ""
        if key and key in seen:  # one answer, charged twice
            key = f"{key}#{number}"
        seen.add(key)
        names = {"model", "response_id", "context_window", "per_turn_token"}
        calls.append(
            _Call(
                key=key,
                response_id=response_id,
                model=one.get("model") or of_cost.get("model"),
                stated={k: v for k, v in one.items() if k not in names},
                cost_usd=of_cost.get("cost") if of_cost else cost,
                seconds=seconds.get(response_id) if response_id else None,
                at_ns=loose.time_ns(of_cost.get("timestamp")),
            )
        )
    return calls


class _Steps:
    """The events of one run, while they are read."""

    def __init__(self, line: Timeline, calls: list[_Call]) -> None:
        self.line = line
        self.by_key = {call.key: call for call in calls if call.key}
        self.in_order = [call for call in calls if not call.key]
        self.made: set[str] = set()
        """Keys of the calls that are recorded already."""
        self.number = 0

    def read(self, events: list[Fields]) -> Iterator[Record]:
        """Yield the records of events, then of the calls that led to none."""
        answers = _answers(events)
        answering = {place for place, _ in answers.values()}
        steps = 0
        for place, event in enumerate(events):
            if "action" in event and _is_of_agent(event, place):
                steps += 1
                yield from self._step(event, place, steps, answers.get(place))
            elif place not in answering:
                yield self._event(event, place)
        for call in [*self.by_key.values(), *self.in_order]:
            if call.key not in self.made:
                yield self._call(call, None, None)

    def _event(self, event: Fields, place: int) -> Event:
        kind = loose.name(event.get("observation")) or loose.name(event.get("action")) or "event"
        at_ns = loose.time_ns(event.get("timestamp"))
        said = loose.text(_arguments(event).get("content")) or loose.text(event.get("content"))
        who = loose.name(event.get("source")) or ("user" if "action" in event else "environment")
        return Event(
            **self.line.point("event", place, at_ns=at_ns),
            message=f"{who}: {kind}" + (f": {said}" if said else ""),
            level="error" if kind == "error" else "info",
            data={"event": event},
        )

    def _step(
        self, event: Fields, place: int, number: int, answer: tuple[int, Fields] | None
    ) -> Iterator[Record]:
        line, kind = self.line, loose.name(event.get("action")) or "an action"
        at_ns = loose.time_ns(event.get("timestamp"))
        said = None if answer is None else answer[1]
        ended_ns = None if said is None else loose.time_ns(said.get("timestamp"))
        arguments = _arguments(event)
        span = line.id("step", place)
        yield line.opened(
            span,
            f"{kind} {number}",
            "step",
            at_ns=at_ns,
            attributes={k: event[k] for k in ("id", "source", "message") if k in event} or None,
        )
        called = loose.mapping(event.get("tool_call_metadata"))
        yield from self._called(called, span)
        thought = loose.text(arguments.get("thought")) or loose.text(event.get("thought"))
        given = {k: v for k, v in arguments.items() if k != "thought"}
        if thought is not None:
            yield line.decided("decision", place, span=span, why=thought, tool=kind, given=given)
        if said is not None or kind not in _TALK:
            fields: Fields = {} if said is not None else {"status": NO_ANSWER}
            yield from line.tool(
                "tool",
                place,
                name=loose.name(called.get("function_name")) or kind,
                parent=span,
                at_ns=at_ns,
                ended_ns=ended_ns,
                error=None if said is None else _error_of(said),
                tool_type=kind,
                input=given,
                output=None if said is None else said.get("content"),
                duration_ns=None if at_ns is None or ended_ns is None else ended_ns - at_ns,
                attributes=None if said is None else _extras(said),
                **fields,
            )
        elif kind == "finish":
            yield Event(**line.point("finish", place, span=span), message="finish", data=given)
        elif kind == "message":
            content = loose.text(given.get("content")) or "a message"
            yield Event(**line.point("said", place, span=span), message=content, data=given)
        yield line.closed(
            span, at_ns=ended_ns, output=None if said is None else said.get("content")
        )

    def _called(self, called: Fields, span: str) -> Iterator[Generation]:
        """Yield the model call that an action came from, with its first action."""
        response = loose.mapping(called.get("model_response"))
        key = loose.name(response.get("id"))
        if key is None:
            if not called and self.in_order:
                yield self._call(self.in_order.pop(0), None, span)
            return
        if key not in self.made:
            known = self.by_key.get(key)
            if known is None and self.in_order and not self.by_key:
                known = msgspec.structs.replace(self.in_order.pop(0), key=key, response_id=key)
            yield self._call(known or _Call(key, key), response, span)

    def _call(self, call: _Call, response: Fields | None, span: str | None) -> Generation:
        if call.key:
            self.made.add(call.key)
        self.number += 1
        said = response or {}
        choice = loose.first(said.get("choices"))
        message = loose.mapping(choice.get("message"))
        cost = loose.amount(call.cost_usd)
        return Generation(
            **self.line.point("call", call.key or self.number, span=span, at_ns=call.at_ns),
            operation="chat",
            model=loose.text(call.model),
            response_model=loose.text(said.get("model")),
            response_id=call.response_id,
            output=message or None,
            reasoning=message.get("reasoning_content"),
            usage=usage.of_stated(call.stated or loose.mapping(said.get("usage"))),
            finish_reason=loose.text(choice.get("finish_reason")),
            duration_ns=loose.length_ns(call.seconds),
            cost_usd=cost,
            cost_source=None if cost is None else "declared",
        )


def _is_of_agent(event: Fields, place: int) -> bool:
    """Whether an action is the agent's; the first message of an older file is the task."""
    source = event.get("source")
    if source is not None:
        return source == "agent" and loose.name(event.get("action")) not in _SET_UP
    return not (place == 0 and event.get("action") == "message")


def _answers(events: list[Fields]) -> dict[int, tuple[int, Fields]]:
    """Return the place of an action to place and content of the observation it led to.

    An observation names its cause by id; in older files it follows its action and is of its kind.
    """
    places = {event["id"]: n for n, event in enumerate(events) if _has_id(event)}
    found: dict[int, tuple[int, Fields]] = {}
    waiting: int | None = None
    for place, event in enumerate(events):
        if "observation" not in event:
            waiting = place if "action" in event else waiting
            continue
        cause = event.get("cause")
        asked = places.get(cause) if isinstance(cause, (int, str)) else None
        if asked is None and cause is None and not _has_id(event) and waiting is not None:
            kind = event["observation"]
            asked = waiting if kind in (events[waiting].get("action"), "error") else None
        if asked is not None and asked not in found and "action" in events[asked]:
            found[asked] = (place, event)
    return found


def _has_id(event: Fields) -> bool:
    return isinstance(event.get("id"), (int, str))


def _arguments(event: Fields) -> Fields:
    """Return the arguments of an action; older files have them beside its kind."""
    given = event.get("args")
    if isinstance(given, dict):
        return cast("Fields", given)
    return {k: v for k, v in event.items() if k not in _OWN or k in {"content", "thought"}}


def _extras(said: Fields) -> Fields | None:
    """Return what an observation says beside its content."""
    extras = loose.mapping(said.get("extras"))
    others = {k: v for k, v in said.items() if k not in _OWN}
    kept = {k: v for k, v in (extras | others).items() if k not in {"command", "code"}}
    return kept or None


def _error_of(said: Fields) -> Fields | None:
    content = loose.text(said.get("content")) or ""
    if said.get("observation") == "error":
        return {"type": "error", "message": content}
    extras = loose.mapping(said.get("extras"))
    for holder in (loose.mapping(extras.get("metadata")), extras, said):
        code = holder.get("exit_code")
        if isinstance(code, int) and not isinstance(code, bool):
            last = content.strip().rpartition("\n")[2]
            return None if code == 0 else {"type": f"exit code {code}", "message": last}
    return {"type": "error", "message": content} if extras.get("is_error") is True else None


def _outcome(given: Fields, events: list[Fields], line: Timeline) -> Iterator[Record]:
    success = given.get("success")
    report = loose.mapping(loose.mapping(given.get("test_result")).get("report"))
    judged = (
        ("success", success, given.get("result_explanation")),
        ("resolved", report.get("resolved"), None),
    )
    for name, passed, said in judged:
        if isinstance(passed, bool):
            yield Score(
                **line.point("score", name),
                name=name,
                value=float(passed),
                passed=passed,
                scale="0-1",
                feedback=loose.text(said) or "",
                by="openhands",
            )
    test = loose.mapping(given.get("test_result"))
    patch = given.get("git_patch") or test.get("git_patch")
    if patch:
        yield Output(
            **line.point("patch"),
            output_id=f"patch-{line.run[:16]}",
            output_kind="patch",
            summary="the changes to the repository",
            value=patch,
        )
    failure = loose.text(given.get("error"))
    if failure is not None:
        kind, colon, message = failure.partition(": ")
        error = {"type": kind, "message": message} if colon else {"type": "error", "message": kind}
        yield RunEnded(ts=line.at(), run=line.run, status="failed", error=error)
    elif given.get("execution_status") in _BROKEN:
        error = {"type": "execution status", "message": given["execution_status"]}
        yield RunEnded(ts=line.at(), run=line.run, status="failed", error=error)
    elif "metrics" in given or any(event.get("action") == "finish" for event in events):
        yield RunEnded(ts=line.at(), run=line.run, status="complete")
