"""Trajectories of SWE-agent and mini-swe-agent, `.traj` and `.traj.json`.

Comes in: a file a run, of any generation of the format: a `trajectory` of steps, only a `history`
of messages, or mini-swe-agent's `messages`. Goes out: one run a file. A step is a model call, what
it decided to do next and why, and the tool calls that did it; where there are only messages, an
answer of the model and what follows it are a step. An answer that mini-swe-agent could not parse
stands in the message that says so, and is a step that failed. Where a file has several attempts,
each is a stage with its steps. Tokens and costs are declared for the run as a whole: a replay
declares 0, which is not the same as declaring nothing.

Source: SWE-agent `sweagent/types.py`, `agent/models.py` (`APIStats`) and `agent/agents.py`
(`RetryAgent`); mini-swe-agent `agents/default.py` and `models/utils/actions_*.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from whence.errors import IngestError
from whence.ingest import json_files, keys, loose, usage
from whence.ingest.base import Skipped
from whence.ingest.loose import Fields
from whence.ingest.reading import json_of
from whence.ingest.timeline import NEXT, Timeline
from whence.record.decision import Decision, Option
from whence.record.generation import Generation
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.record.base import Record

_SUFFIX = ".traj"
_FORMAT = b'"trajectory_format"'
_SUBMITTED = "submitted"
_ANSWERS = frozenset({"user", "tool"})
_RESULT = "function_call_output"
_TOLD = frozenset({"trajectory", "history", "messages", "attempts"})
"""What becomes records of its own."""
_COMMAND = re.compile(r"```(?:mswea_bash_command|bash|sh)?\s*\n(.*?)\n?```", re.DOTALL)
_RETURN_CODE = re.compile(r"\s*<returncode>(-?\d{1,9})</returncode>")
_SHOWN_CHARS = 200
_FIGURES = {
    "instance_cost": "cost_usd",
    "tokens_sent": "input_tokens",
    "tokens_received": "output_tokens",
    "api_calls": "api_calls",
}
"""What model_stats call a total, and what it is called here. `total_cost` covers more runs."""


class _Action(msgspec.Struct, frozen=True):
    what: Any
    observation: Any = None
    failed: Fields | None = None
    at_ns: int | None = None
    """When it was observed."""


class _Step(msgspec.Struct, frozen=True):
    response: Any = None
    thought: str | None = None
    reasoning: str | None = None
    actions: tuple[_Action, ...] = ()
    observation: Any = None
    heard: list[Any] | None = None
    seconds: Any = None
    failed: Fields | None = None
    """Why nothing could be done with the answer."""
    answer: Fields = {}
    """The provider's own answer, where it was kept."""
    cost_usd: Any = None
    at_ns: int | None = None
    attributes: Fields = {}


def detect(source: Source) -> bool:
    """Return whether a file is called a trajectory, or has steps with action and observation."""
    begins = json_files.peek(source)
    if _SUFFIX in source.suffixes:
        return bool(begins.keys)
    if begins.is_list:
        return False
    if "trajectory_format" in begins.keys or {"trajectory", "replay_config"} <= begins.keys:
        return True
    if {"info", "messages"} <= begins.keys and json_files.ends_with(source, _FORMAT):
        return True
    signs = (b'"observation"', b'"action"', b'"response"')
    return "trajectory" in begins.keys and all(sign in source.head for sign in signs)


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a file.

    Raises:
        IngestError: The file has neither steps nor messages.
    """
    del known
    content, skipped = json_files.document(source)
    given = loose.mapping(content)
    if isinstance(content, list):
        given = {"messages": [said for said in loose.mappings(content) if "role" in said]}
    if not any(loose.mappings(given.get(name)) for name in _TOLD):
        raise IngestError(f"{source.name} has neither a trajectory nor messages")
    line = Timeline(keys.run_id("swe-agent", json_files.fingerprint(content)))
    yield from _run(given, line, source)
    for number, step in enumerate(loose.sequence(given.get("trajectory"))):
        if not isinstance(step, dict):
            yield Skipped(f"{source.name}, step {number}", "not an object")
    yield from skipped


def _run(given: Fields, line: Timeline, source: Source) -> Iterator[Record]:
    info = loose.mapping(given.get("info"))
    attempts = loose.mappings(given.get("attempts"))
    stated = loose.mapping(info.get("model_stats")) or _together(attempts)
    kept = {k: v for k, v in given.items() if k not in _TOLD}
    declared = {own: stated[name] for name, own in _FIGURES.items() if name in stated}
    if "total_cost" in stated:
        declared.setdefault("cost_usd", stated["total_cost"])
    steps = [list(_steps(one)) for one in attempts or [given]]
    times = [step.at_ns for of_attempt in steps for step in of_attempt if step.at_ns is not None]
    yield RunStarted(
        ts=line.at(next(iter(times), None)),
        run=line.run,
        name="mini-swe-agent" if "messages" in given else "swe-agent",
        run_kind="agent",
        external_id=source.path.name.partition(_SUFFIX)[0] or None,
        attributes=kept
        | ({"declared": declared} if declared else {})
        | ({} if times else {"undated": True}),
    )
    if attempts:
        for number, (attempt, of_attempt) in enumerate(zip(attempts, steps, strict=True)):
            yield from _attempt(attempt, of_attempt, number, line)
        yield from _chosen(info, len(attempts), line)
    else:
        model = _model_of(given)
        for number, step in enumerate(steps[0]):
            yield from _step(step, (number,), line, model)
    yield from _outcome(info, line)


def _together(attempts: list[Fields]) -> Fields:
    """Return what attempts state together, where the run as a whole states nothing."""
    stated = [loose.mapping(loose.mapping(one.get("info")).get("model_stats")) for one in attempts]
    found = {
        name: [one[name] for one in stated if loose.amount(one.get(name)) is not None]
        for name in _FIGURES
    }
    return {name: sum(amounts) for name, amounts in found.items() if amounts}


def _attempt(given: Fields, steps: list[_Step], number: int, line: Timeline) -> Iterator[Record]:
    """Yield an attempt at the task, which is linked to the one after it."""
    span, info = line.id("attempt", number), loose.mapping(given.get("info"))
    kept = {k: v for k, v in info.items() if k != "submission"}
    yield line.opened(span, f"attempt {number + 1}", "stage", attributes=kept or None)
    if number:
        before = line.id("attempt", number - 1)
        point = line.point("retry_of", number, span=span)
        yield Link(**point, link_kind="retry_of", source=before, target=span)
    model = _model_of(given)
    for place, step in enumerate(steps):
        yield from _step(step, (number, place), line, model, span)
    yield line.closed(span, output=info.get("submission"))


def _chosen(info: Fields, attempts: int, line: Timeline) -> Iterator[Decision]:
    """Yield which attempt was taken."""
    best = loose.count(info.get("best_attempt_idx"))
    if best is None or best >= attempts:
        return
    names = [f"attempt {number + 1}" for number in range(attempts)]
    yield Decision(
        **line.point("chosen"),
        name="which attempt",
        what=names[best],
        options=[Option(name=name, chosen=name == names[best]) for name in names],
        inputs={"chooser": info["chooser"]} if info.get("chooser") else None,
    )


def _model_of(given: Fields) -> str | None:
    config = given.get("replay_config")
    replay = loose.mapping(json_of(config))
    agent = loose.mapping(replay.get("agent"))
    mini = loose.mapping(loose.mapping(given.get("info")).get("config"))
    for holder in (agent, mini):
        model = loose.mapping(holder.get("model"))
        name = loose.text(model.get("name")) or loose.text(model.get("model_name"))
        if name is not None:
            return name
    return None


def _steps(given: Fields) -> Iterator[_Step]:
    history = loose.mappings(given.get("history"))
    trajectory = loose.mappings(given.get("trajectory"))
    if trajectory:
        yield from _of_trajectory(trajectory, history)
    else:
        yield from _of_messages(loose.mappings(given.get("messages")) or history)


def _of_trajectory(trajectory: list[Fields], history: list[Fields]) -> Iterator[_Step]:
    answered = [n for n, said in enumerate(history) if _is_answer(said)]
    fits = len(answered) == len(trajectory)
    for place, step in enumerate(trajectory):
        query = loose.mappings(step.get("query"))
        heard = query if any(query) else history[: answered[place]] if fits else None
        extra = {k: step[k] for k in ("state", "extra_info") if step.get(k)}
        action = _Action(step["action"], step.get("observation")) if step.get("action") else None
        yield _Step(
            response=step.get("response"),
            thought=loose.text(step.get("thought")),
            actions=() if action is None else (action,),
            observation=step.get("observation"),
            heard=heard,
            seconds=step.get("execution_time"),
            attributes=extra,
        )


def _is_answer(said: Fields) -> bool:
    # An answer of the Responses API has no role.
    return (said.get("role") == "assistant" and not said.get("is_demo")) or (
        said.get("object") == "response"
    )


def _is_unparsed(said: Fields) -> bool:
    """Whether a message tells a model that its answer, which it holds, cannot be parsed."""
    extra = loose.mapping(said.get("extra"))
    return bool(extra.get("interrupt_type")) and not extra.keys().isdisjoint(
        {"response", "model_response", "cost"}
    )


def _of_messages(said: list[Fields]) -> Iterator[_Step]:
    answered = [n for n, message in enumerate(said) if _is_answer(message) or _is_unparsed(message)]
    for number, place in enumerate(answered):
        message = said[place]
        until = answered[number + 1] if number + 1 < len(answered) else len(said)
        if _is_answer(message):
            yield _answer(
                message, said[:place], [m for m in said[place + 1 : until] if _is_said(m)]
            )
        else:
            yield _unparsed(message, said[:place])


def _is_said(message: Fields) -> bool:
    return loose.name(message.get("role")) in _ANSWERS or message.get("type") == _RESULT


def _answer(message: Fields, heard: list[Any], after: list[Fields]) -> _Step:
    extra = loose.mapping(message.get("extra"))
    answer = loose.mapping(extra.get("response"))
    if not answer and message.get("object") == "response":
        answer = message
    actions = _actions_of(message, extra)
    return _Step(
        response={k: v for k, v in message.items() if k != "extra"} if answer else message,
        thought=_thought_of(message),
        reasoning=_reasoning_of(message),
        actions=tuple(_observed(actions, after)),
        observation=_content(after[0]) if len(after) == 1 else after or None,
        heard=heard,
        answer=answer,
        cost_usd=extra.get("cost"),
        at_ns=loose.time_ns(extra.get("timestamp")),
    )


def _unparsed(message: Fields, heard: list[Any]) -> _Step:
    extra = loose.mapping(message.get("extra"))
    answer = loose.mapping(extra.get("response"))
    choice = loose.first(answer.get("choices"))
    said = choice.get("message") or answer.get("output") or extra.get("model_response")
    failed = {"type": loose.name(extra.get("interrupt_type")), "message": _text(message)}
    return _Step(
        response=said or extra.get("response") or "",
        reasoning=_reasoning_of(loose.mapping(said)),
        observation=_content(message),
        heard=heard,
        failed=failed,
        answer=answer,
        cost_usd=extra.get("cost"),
        at_ns=loose.time_ns(extra.get("timestamp")),
    )


def _observed(actions: list[Any], after: list[Fields]) -> Iterator[_Action]:
    """Yield what was done with what was seen of it: by the id of the call, or else in order."""
    told = {key: one for one in after if (key := _call_id(one)) is not None}
    for place, action in enumerate(actions):
        stated = loose.mapping(action)
        seen = told.get(loose.name(stated.get("tool_call_id")) or "")
        if seen is None and not told and place < len(after):
            seen = after[place]
        code = None if seen is None else _return_code(seen)
        observation = None if seen is None else _content(seen)
        if len(actions) == 1 and len(after) > 1:
            observation = after
        yield _Action(
            what=stated.get("command", action),
            observation=observation,
            failed={"type": f"exit code {code}", "message": _said_last(seen)} if code else None,
            at_ns=None
            if seen is None
            else loose.time_ns(loose.mapping(seen.get("extra")).get("timestamp")),
        )


def _call_id(said: Fields) -> str | None:
    return loose.name(said.get("tool_call_id")) or loose.name(said.get("call_id"))


def _content(said: Fields) -> Any:
    return said.get("content", said.get("output"))


def _text(said: Fields) -> str:
    """Return what a message says, whether in one text or in parts."""
    content = _content(said)
    parts = [loose.text(part.get("text")) or "" for part in loose.mappings(content)]
    return content if isinstance(content, str) else "\n".join(part for part in parts if part)


def _thought_of(message: Fields) -> str | None:
    """Return why: stated, the text around the block of code, or what was said beside a call."""
    stated, content = loose.text(message.get("thought")), message.get("content")
    if stated is not None:
        return stated
    items = loose.mappings(message.get("output"))
    if message.get("tool_calls") or items:
        said = "\n".join(_text(item) for item in items if item.get("type") == "message")
        return loose.text(_text(message) if not items else said)
    if not isinstance(content, str) or not _COMMAND.search(content):
        return None
    return loose.text(_COMMAND.sub("", content, count=1).strip())


def _reasoning_of(message: Fields) -> str | None:
    """Return what a model thought before it answered, where the provider gives it."""
    for name in ("reasoning_content", "reasoning"):
        if loose.text(message.get(name)):
            return loose.text(message[name])
    items = [i for i in loose.mappings(message.get("output")) if i.get("type") == "reasoning"]
    parts = [part for item in items for part in loose.mappings(item.get("summary"))]
    return "\n\n".join(text for part in parts if (text := loose.text(part.get("text")))) or None


def _said_last(seen: Fields | None) -> str:
    """Return the last line of what a command printed, or why there is none."""
    seen = seen or {}
    extra = loose.mapping(seen.get("extra"))
    stated = loose.text(extra.get("exception_info")) or loose.text(extra.get("raw_output"))
    content = stated or str(_content(seen)).replace("</output>", "")
    lines = content.strip().splitlines()
    return lines[-1] if lines else ""


def _return_code(said: Fields) -> int | None:
    content = _content(said)
    match = _RETURN_CODE.match(content) if isinstance(content, str) else None
    stated = loose.mapping(said.get("extra")).get("returncode")
    if match is not None:
        return int(match[1])
    return stated if isinstance(stated, int) and not isinstance(stated, bool) else None


def _actions_of(message: Fields, extra: Fields) -> list[Any]:
    """Return what an answer says is to be done: stated, called, or in a block of code."""
    stated = message.get("action")
    if stated:
        return [stated]
    actions: list[Any] = list(loose.mappings(extra.get("actions")))
    if actions:
        return actions
    for call in loose.mappings(message.get("tool_calls")):
        function = loose.mapping(call.get("function"))
        given = json_of(function.get("arguments"))
        actions.append({"name": function.get("name"), "arguments": given})
    content = message.get("content")
    match = _COMMAND.search(content) if isinstance(content, str) and not actions else None
    return [match[1]] if match else actions


def _step(
    step: _Step,
    place: tuple[int, ...],
    line: Timeline,
    model: str | None,
    parent: str | None = None,
) -> Iterator[Record]:
    span = line.id("step", *place)
    tools = [(tool, one) for one in step.actions if (tool := _tool_of(one.what)) is not None]
    name = f"{tools[0][0] if tools else 'answer'} {place[-1] + 1}"
    yield line.opened(
        span, name, "step", at_ns=step.at_ns, parent=parent, attributes=step.attributes or None
    )
    if step.response is not None:
        yield _call(step, line.point("call", *place, span=span), model)
    if step.thought is not None and tools:
        whats = [one.what for _, one in tools]
        yield Decision(
            **line.point("decision", *place, span=span),
            name=NEXT,
            what=whats[0] if len(whats) == 1 else whats,
            why=step.thought,
            made_by=model,
        )
    for number, (tool, action) in enumerate(tools):
        yield from line.tool(
            "tool",
            *place,
            *((number,) if number else ()),
            name=tool,
            parent=span,
            error=action.failed,
            ended_ns=action.at_ns,
            tool_type="command",
            input=action.what,
            output=action.observation,
            duration_ns=loose.length_ns(step.seconds),
        )
    status: Fields = {} if step.failed is None else {"status": "error", "error": step.failed}
    yield line.closed(span, output=step.observation, **status)


def _call(step: _Step, point: Fields, model: str | None) -> Generation:
    said = step.answer
    stated = loose.mapping(said.get("usage"))
    choice = loose.first(said.get("choices"))
    cost = loose.amount(step.cost_usd)
    return Generation(
        **point,
        operation="chat",
        model=model,
        response_model=loose.text(said.get("model")),
        response_id=loose.text(said.get("id")),
        messages=step.heard,
        output=step.response,
        reasoning=step.reasoning or step.thought,
        usage=usage.of_stated(stated),
        finish_reason=loose.text(choice.get("finish_reason")) or loose.text(said.get("status")),
        cost_usd=cost,
        cost_source=None if cost is None else "declared",
    )


def _tool_of(action: Any) -> str | None:
    """Return the first word of a command, which is the tool; None if there is no command."""
    if isinstance(action, dict):
        return loose.name(loose.mapping(action).get("name")) or "a tool"
    words = action.split(None, 1) if isinstance(action, str) else []
    return words[0][:_SHOWN_CHARS] if words else None


def _outcome(info: Fields, line: Timeline) -> Iterator[Record]:
    submission = info.get("submission")
    if submission:
        yield Output(
            **line.point("submission"),
            output_id=f"submission-{line.run[:16]}",
            output_kind="patch",
            summary="what was submitted",
            value=submission,
        )
    status = loose.text(info.get("exit_status"))
    if status is None:
        return
    if status.lower().startswith(_SUBMITTED):
        yield RunEnded(ts=line.at(), run=line.run, status="complete")
    else:
        error = {"type": "exit", "message": status}
        yield RunEnded(ts=line.at(), run=line.run, status="failed", error=error)
