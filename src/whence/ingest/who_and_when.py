"""Who&When: failed runs of agent teams in which people marked the decisive mistake.

Comes in: a file a run, with the question, the history of messages, and who made the mistake at
which step and why. Goes out: one run a file. Each message is a span of the agent who sent it, and a
model call; what the terminal answered is a tool call, which failed if its exit code says so. That
the answer was wrong is a score of the run; the mistake is a score of its step, with the reason, and
flags it for review. The files state neither tokens nor times.

Source: ag2ai/Agents_Failure_Attribution (ICML 2025). Runs of AG2 name the agent under `name`, runs
of Magentic-One under `role`, where `Orchestrator (-> WebSurfer)` is a choice of who comes next.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from whence.errors import IngestError
from whence.ingest import json_files, keys, loose
from whence.ingest.base import Skipped
from whence.ingest.timeline import Timeline
from whence.record.decision import Decision, Option
from whence.record.event import Event
from whence.record.generation import Generation
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Annotation, Score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_SIGNS = frozenset({"question_ID", "mistake_agent", "mistake_step"})
_TERMINALS = frozenset({"computer_terminal", "computerterminal"})
_EXIT_CODE = re.compile(r"\s*exitcode: (-?\d{1,9})\b[^\n]*\n?(?:Code output:\s*)?")
_PART = re.compile(r"(.+?) \((.+)\)", re.DOTALL)
_NEXT = "-> "
_CODE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
_PEOPLE = frozenset({"human", "user_proxy"})
_MISTAKE = "decisive_mistake"
_BY = "Who&When annotators"


def detect(source: Source) -> bool:
    """Return whether a file has a history of messages and a mistake."""
    begins = json_files.peek(source)
    if begins.is_list or "history" not in begins.keys:
        return False
    # A long history may stand before all other keys.
    return not _SIGNS.isdisjoint(begins.keys) or json_files.ends_with(source, b'"mistake_step"')


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a file.

    Raises:
        IngestError: The file has no history.
    """
    del known
    content, skipped = json_files.document(source)
    given = loose.mapping(content)
    if not isinstance(given.get("history"), list):
        raise IngestError(f"{source.name} has no history of messages")
    line = Timeline(keys.run_id("who-and-when", json_files.fingerprint(given)))
    yield from _run(given, line, source)
    yield from skipped


def _run(given: Fields, line: Timeline, source: Source) -> Iterator[Record | Skipped]:
    yield RunStarted(
        ts=line.at(),
        run=line.run,
        name="who-and-when",
        run_kind="agent",
        external_id=loose.name(given.get("question_ID")) or source.path.name.partition(".")[0],
        attributes={k: v for k, v in given.items() if k != "history"} | {"undated": True},
    )
    history = loose.sequence(given.get("history"))
    team = list(dict.fromkeys(_agent_of(message) for message in loose.mappings(history)))
    spans: dict[int, str] = {}
    code: list[Fields] = []
    for number, message in enumerate(history):
        if not isinstance(message, dict):
            yield Skipped(f"{source.name}, message {number}", "not an object")
            continue
        said = loose.mapping(message)
        spans[number] = line.id("message", number)
        yield from _message(said, number, line, team, code)
        content = said.get("content")
        code = [] if not isinstance(content, str) else _code_in(content)
    yield from _judged(given, line, spans)
    if "mistake_step" in given or "mistake_reason" in given:
        yield RunEnded(ts=line.at(), run=line.run, status="complete")


def _message(
    said: Fields, number: int, line: Timeline, team: list[str], code: list[Fields]
) -> Iterator[Record]:
    agent, part = _agent_of(said), _part_of(said)
    content = said.get("content")
    span = line.id("message", number)
    attributes = {"step": number, "role": said.get("role")}
    if agent.lower() in _TERMINALS:
        yield from line.tool(
            "message",
            number,
            name=agent,
            parent=None,
            error=_error_of(content),
            input=code or None,
            output=content,
            attributes=attributes,
        )
        return
    yield line.opened(span, agent, "agent", agent=agent, attributes=attributes)
    if agent.lower() in _PEOPLE:
        yield Event(
            **line.point("said", number, span=span), message=str(content), data={"message": said}
        )
    else:
        point = line.point("call", number, span=span)
        yield Generation(**point, name=_called(agent, part), output=content)
    if part is not None and part.startswith(_NEXT):
        chosen = part.removeprefix(_NEXT)
        options = [Option(name=one, chosen=one == chosen) for one in team if one != agent]
        yield Decision(
            **line.point("next", number, span=span),
            name="who comes next",
            what=chosen,
            why=content if isinstance(content, str) else "",
            options=options,
            made_by=agent,
        )
    yield line.closed(span, output=content)


def _called(agent: str, part: str | None) -> str:
    return agent if part is None or part.startswith(_NEXT) else f"{agent} ({part})"


def _agent_of(said: Fields) -> str:
    """Return who sent a message: its name, or its role without what stands in brackets."""
    name = loose.name(said.get("name"))
    if name is not None:
        return name
    role = loose.name(said.get("role")) or "an agent"
    match = _PART.fullmatch(role)
    return match[1] if match else role


def _part_of(said: Fields) -> str | None:
    if loose.name(said.get("name")) is not None:
        return None
    match = _PART.fullmatch(loose.name(said.get("role")) or "")
    return match[2] if match else None


def _code_in(content: str) -> list[Fields]:
    return [{"language": match[1], "code": match[2]} for match in _CODE.finditer(content)]


def _error_of(content: object) -> Fields | None:
    match = _EXIT_CODE.match(content) if isinstance(content, str) else None
    if match is None or int(match[1]) == 0:
        return None
    last = str(content)[match.end() :].strip().rpartition("\n")[2]
    return {"type": f"exit code {match[1]}", "message": last}


def _judged(given: Fields, line: Timeline, spans: dict[int, str]) -> Iterator[Record]:
    correct = given.get("is_correct", given.get("is_corrected"))
    if isinstance(correct, bool):
        truth = given.get("ground_truth", given.get("groundtruth"))
        yield Score(
            **line.point("correct"),
            name="is_correct",
            value=float(correct),
            passed=correct,
            scale="0-1",
            feedback="" if truth is None else f"the right answer is {truth}",
            by="Who&When",
        )
    agent, reason = loose.name(given.get("mistake_agent")), loose.text(given.get("mistake_reason"))
    if agent is None and reason is None and given.get("mistake_step") is None:
        return
    step = _step_of(given.get("mistake_step"))
    target = spans.get(-1 if step is None else step)
    said = {"agent": agent, "step": given.get("mistake_step")}
    yield Score(
        **line.point("mistake", span=target),
        name=_MISTAKE,
        passed=False,
        target=target,
        feedback=reason or "",
        by=_BY,
        attributes=said,
    )
    yield Annotation(
        **line.point("mistake", "flag"),
        target=target or line.run,
        flag=_MISTAKE.replace("_", " "),
        note=f"by {agent} at step {given.get('mistake_step')}: {reason}",
        by=_BY,
        attributes=said,
    )


def _step_of(value: object) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:  # noqa: PLR2004 - no history is longer
        return int(value)
    return loose.count(value)
