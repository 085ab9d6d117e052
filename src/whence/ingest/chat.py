"""A conversation in the form of chat messages becomes turns, model calls and tool calls.

Comes in: a list of messages with `role`, `content`, `tool_calls` and `tool_call_id`. Goes out:
records. A message of the user begins a turn, each message of the assistant is a model call that got
all messages before it, and a tool call has the next message with its id as its answer. What the
user says after the last answer goes into an event, since no call got it.

Agents that are prompted to write what they do (ReAct) have no `tool_calls`: their calls stand in
the text behind `Action:`, and the answers come as messages of the user that say so.

Source: OpenAI chat completions; sierra-research/tau-bench `agents/chat_react_agent.py`.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from whence.ingest import loose
from whence.ingest.loose import Fields
from whence.ingest.reading import json_of
from whence.ingest.timeline import NO_ANSWER
from whence.record.event import Event
from whence.record.generation import Generation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from whence.ingest.timeline import Timeline
    from whence.record.base import Record


_THOUGHT, _ACTION, _TOLD = "Thought:", "Action:", "API output: "


class Chat:
    """The conversation of one run, while it is read.

    Args:
        line: The ids and times of the run.
        error_of: Returns what went wrong according to a tool's answer; None if nothing did.
    """

    def __init__(self, line: Timeline, error_of: Callable[[Any], Fields | None]) -> None:
        self.called: dict[str, None] = {}
        """The tools that were called, in order, each once."""
        self._line = line
        self._error_of = error_of
        self._turns = 0
        self._turn: str | None = None
        self._answer: Any = None
        self._given: set[int] = set()
        self._written: dict[int, _Written] = {}
        """Place of a message to the call that stands in its text."""

    def read(self, messages: Any) -> Iterator[Record]:
        """Yield the records of a conversation; what is no message is passed over."""
        said = loose.mappings(messages)
        answers = _answers(said)
        self._written = _written(said)
        heard = 0
        for number, message in enumerate(said):
            role = message.get("role")
            if role == "user" and number - 1 in self._written:
                continue  # what a tool answered
            if role == "user":
                yield from self._begin(message, number)
            elif role == "assistant":
                yield from self._call(said[:number], message, number)
                yield from self._tools(message, number, answers)
                heard = number + 1
            elif role == "tool" and number not in self._given:
                yield from self._orphan(message, number)
        unheard = [
            n
            for n in range(heard, len(said))
            if said[n].get("role") == "user" and n - 1 not in self._written
        ]
        for number in unheard:
            content = said[number].get("content")
            message = f"the user said: {content}" if isinstance(content, str) else "the user spoke"
            point = self._line.point("said", number, span=self._turn)
            yield Event(**point, message=message, data={"message": said[number]})
        yield from self._end()

    def _begin(self, message: Fields, number: int) -> Iterator[Record]:
        yield from self._end()
        self._turns += 1
        self._turn = self._line.id("turn", number)
        yield self._line.opened(
            self._turn, f"turn {self._turns}", "step", input=message.get("content")
        )

    def _end(self) -> Iterator[Record]:
        if self._turn is not None:
            yield self._line.closed(self._turn, output=self._answer)
        self._turn, self._answer = None, None

    def _call(self, heard: list[Fields], message: Fields, number: int) -> Iterator[Record]:
        point = self._line.point("call", number, span=self._turn)
        self._answer = message.get("content")
        yield Generation(**point, operation="chat", messages=list(heard), output=message)

    def _tools(
        self, message: Fields, number: int, answers: dict[str, deque[tuple[int, Any]]]
    ) -> Iterator[Record]:
        why = loose.text(message.get("content"))
        calls = loose.mappings(message.get("tool_calls"))
        written = self._written.get(number)
        if written is not None:
            why, calls, answers = written.why, [written.call], {"": deque([written.answer])}
        for place, call in enumerate(calls):
            function = loose.mapping(call.get("function"))
            tool = loose.name(function.get("name")) or "a tool"
            self.called[tool] = None
            given = json_of(function.get("arguments"))
            if why is not None:
                yield self._line.decided(
                    "decision", number, place, span=self._turn, why=why, tool=tool, given=given
                )
            waiting = answers.get(loose.name(call.get("id")) or "", deque())
            while waiting and waiting[0][0] < number:
                waiting.popleft()
            content: Any = None
            fields: Fields = {"status": NO_ANSWER}
            if waiting:
                answer, content = waiting.popleft()
                self._given.add(answer)
                fields = {}
            yield from self._line.tool(
                "tool",
                number,
                place,
                name=tool,
                parent=self._turn,
                error=self._error_of(content),
                input=given,
                output=content,
                attributes={"tool_call_id": call["id"]} if "id" in call else None,
                **fields,
            )

    def _orphan(self, message: Fields, number: int) -> Iterator[Record]:
        """Yield the call of an answer whose question is not there."""
        tool = loose.name(message.get("name")) or "a tool"
        self.called[tool] = None
        content = message.get("content")
        yield from self._line.tool(
            "tool",
            number,
            name=tool,
            parent=self._turn,
            error=self._error_of(content),
            output=content,
        )


class _Written(msgspec.Struct, frozen=True):
    """A tool call in the text of a message."""

    why: str | None
    call: Fields
    answer: tuple[int, Any]
    """Place and content of what the tool answered."""


def _written(said: list[Fields]) -> dict[int, _Written]:
    """Return the calls that stand in texts, by the places of these."""
    found: dict[int, _Written] = {}
    for number, (message, answer) in enumerate(itertools.pairwise(said)):
        text, told = loose.text(message.get("content")), loose.text(answer.get("content")) or ""
        if text is None or message.get("role") != "assistant" or message.get("tool_calls"):
            continue
        thought, sign, action = text.rpartition(_ACTION)
        given = loose.mapping(json_of(action.strip()))
        if sign and "name" in given and answer.get("role") == "user" and told.startswith(_TOLD):
            function = {"name": given["name"], "arguments": given.get("arguments")}
            why = loose.text(thought.strip().removeprefix(_THOUGHT).strip())
            result = (number + 1, told.removeprefix(_TOLD))
            found[number] = _Written(why, {"function": function}, result)
    return found


def _answers(said: list[Fields]) -> dict[str, deque[tuple[int, Any]]]:
    """Return place and content of the answers of tools, by the id of their call, in order."""
    found: dict[str, deque[tuple[int, Any]]] = {}
    for number, message in enumerate(said):
        key = loose.name(message.get("tool_call_id"))
        if key is not None and message.get("role") == "tool":
            found.setdefault(key, deque()).append((number, message.get("content")))
    return found
