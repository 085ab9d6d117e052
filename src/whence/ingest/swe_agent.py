"""Trajectories of SWE-agent and mini-swe-agent, `.traj` and `.traj.json`.

Comes in: a file a run, of any generation of the format: a `trajectory` of steps, only a `history`
of messages, or mini-swe-agent's `messages`. Goes out: one run a file. A step is a model call, what
it decided to do next and why, and the tool call that did it; where there are only messages, an
answer of the model and what follows it are a step. Tokens and costs are declared for the run as a
whole: a replay declares 0, which is not the same as declaring nothing.

Source: SWE-agent `sweagent/types.py` and `agent/models.py` (`APIStats`); mini-swe-agent
`agents/default.py`.
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
from whence.record.decision import Decision
from whence.record.generation import Generation
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.record.base import Record

_SUFFIX = ".traj"
_SUBMITTED = "submitted"
_ANSWERS = frozenset({"user", "tool"})
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


class _Step(msgspec.Struct, frozen=True):
    response: Any = None
    thought: str | None = None
    action: Any = None
    observation: Any = None
    heard: list[Any] | None = None
    seconds: Any = None
    failed: Fields | None = None
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
    if not any(loose.mappings(given.get(k)) for k in ("trajectory", "history", "messages")):
        raise IngestError(f"{source.name} has neither a trajectory nor messages")
    line = Timeline(keys.run_id("swe-agent", json_files.fingerprint(content)))
    yield from _run(given, line, source)
    for number, step in enumerate(loose.sequence(given.get("trajectory"))):
        if not isinstance(step, dict):
            yield Skipped(f"{source.name}, step {number}", "not an object")
    yield from skipped


def _run(given: Fields, line: Timeline, source: Source) -> Iterator[Record]:
    info = loose.mapping(given.get("info"))
    stated = loose.mapping(info.get("model_stats"))
    kept = {k: v for k, v in given.items() if k not in {"trajectory", "history", "messages"}}
    declared = {own: stated[name] for name, own in _FIGURES.items() if name in stated}
    if "total_cost" in stated:
        declared.setdefault("cost_usd", stated["total_cost"])
    steps = list(_steps(given))
    undated = all(step.at_ns is None for step in steps)
    yield RunStarted(
        ts=line.at(next((step.at_ns for step in steps), None)),
        run=line.run,
        name="mini-swe-agent" if "messages" in given else "swe-agent",
        run_kind="agent",
        external_id=source.path.name.partition(_SUFFIX)[0] or None,
        attributes=kept
        | ({"declared": declared} if declared else {})
        | ({"undated": True} if undated else {}),
    )
    model = _model_of(given)
    for number, step in enumerate(steps):
        yield from _step(step, number, line, model)
    yield from _outcome(info, line)


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
        yield _Step(
            response=step.get("response"),
            thought=loose.text(step.get("thought")),
            action=step.get("action"),
            observation=step.get("observation"),
            heard=heard,
            seconds=step.get("execution_time"),
            attributes=extra,
        )


def _is_answer(said: Fields) -> bool:
    return said.get("role") == "assistant" and not said.get("is_demo")


def _of_messages(said: list[Fields]) -> Iterator[_Step]:
    answered = [n for n, message in enumerate(said) if _is_answer(message)]
    for number, place in enumerate(answered):
        message = said[place]
        until = answered[number + 1] if number + 1 < len(answered) else len(said)
        after = [one for one in said[place + 1 : until] if loose.name(one.get("role")) in _ANSWERS]
        extra = loose.mapping(message.get("extra"))
        code = next((found for one in after if (found := _return_code(one)) is not None), None)
        yield _Step(
            response=message,
            thought=_thought_of(message),
            action=_action_of(message, extra),
            observation=after[0].get("content") if len(after) == 1 else after or None,
            heard=said[:place],
            failed={"type": f"exit code {code}", "message": _said_last(after)} if code else None,
            answer=loose.mapping(extra.get("response")),
            cost_usd=extra.get("cost"),
            at_ns=loose.time_ns(extra.get("timestamp")),
        )


def _thought_of(message: Fields) -> str | None:
    """Return why: stated, or the text around the block of code."""
    stated, content = loose.text(message.get("thought")), message.get("content")
    if stated is not None or not isinstance(content, str) or not _COMMAND.search(content):
        return stated
    return loose.text(_COMMAND.sub("", content, count=1).strip())


def _said_last(after: list[Fields]) -> str:
    """Return the last line of what a command printed."""
    content = after[0].get("content")
    lines = str(content).replace("</output>", "").strip().splitlines()
    return lines[-1] if lines else ""


def _return_code(said: Fields) -> int | None:
    content = said.get("content")
    match = _RETURN_CODE.match(content) if isinstance(content, str) else None
    stated = loose.mapping(said.get("extra")).get("returncode")
    if match is not None:
        return int(match[1])
    return stated if isinstance(stated, int) and not isinstance(stated, bool) else None


def _action_of(message: Fields, extra: Fields) -> Any:
    """Return what an answer says is to be done: stated, called, or in a block of code."""
    stated = message.get("action")
    if stated:
        return stated
    actions = loose.mappings(extra.get("actions"))
    if actions:
        return actions[0].get("command", actions[0])
    for call in loose.mappings(message.get("tool_calls")):
        function = loose.mapping(call.get("function"))
        return {"name": function.get("name"), "arguments": json_of(function.get("arguments"))}
    content = message.get("content")
    match = _COMMAND.search(content) if isinstance(content, str) else None
    return match[1] if match else None


def _step(step: _Step, number: int, line: Timeline, model: str | None) -> Iterator[Record]:
    span = line.id("step", number)
    tool = _tool_of(step.action)
    name = f"{tool or 'answer'} {number + 1}"
    yield line.opened(span, name, "step", at_ns=step.at_ns, attributes=step.attributes or None)
    if step.response is not None:
        yield _call(step, line.point("call", number, span=span), model)
    if step.thought is not None and tool is not None:
        yield Decision(
            **line.point("decision", number, span=span),
            name=NEXT,
            what=step.action,
            why=step.thought,
            made_by=model,
        )
    if tool is not None:
        yield from line.tool(
            "tool",
            number,
            name=tool,
            parent=span,
            error=step.failed,
            tool_type="command",
            input=step.action,
            output=step.observation,
            duration_ns=loose.length_ns(step.seconds),
        )
    yield line.closed(span, output=step.observation)


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
        reasoning=step.thought,
        usage=usage.of_stated(stated),
        finish_reason=loose.text(choice.get("finish_reason")),
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
