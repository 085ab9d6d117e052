"""Results of tau2-bench: simulated conversations, in which the customer has tools as well.

Comes in: the file that a run writes, `{timestamp, info, tasks, simulations}`, or a simulation by
itself, as newer versions keep one a file. Goes out: one run a simulation. A message of the customer
begins a turn; each message that a model wrote is a model call, the agent's and the simulated
customer's, with what it states of tokens, cost and time. A tool call has the tool message of the
same id as its answer. The reward is a score. A trial is linked to the next one of its task as
`retry_of`. The greeting with which every conversation begins is no model's.

Source: sierra-research/tau2-bench, `src/tau2/data_model/simulation.py` and `message.py`.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from whence.errors import IngestError
from whence.ingest import json_files, keys, loose, usage
from whence.ingest.base import Skipped
from whence.ingest.timeline import NO_ANSWER, Timeline
from whence.record.generation import Generation
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_OF_RESULTS = frozenset({"info", "tasks"})
_SIGNS = (b'"agent_info"', b'"user_info"')
_OF_SIMULATION = frozenset({"id", "task_id", "start_time", "termination_reason"})
_STOPPED = frozenset({"user_stop", "agent_stop"})
_SOLVED = 1.0
"""The reward from which a task counts as solved."""
_BY = {"assistant": "agent", "user": "simulated customer"}
_TOLD = frozenset({"id", "messages", "ticks", "reward_info", "start_time", "end_time", "duration"})
"""What of a simulation becomes records or fields of their own."""


def detect(source: Source) -> bool:
    """Return whether a file has results with an agent and a customer, or is a simulation."""
    begins = json_files.peek(source)
    if begins.is_list:
        return False
    results = begins.keys >= _OF_RESULTS or {"info", "simulations"} <= begins.keys
    return (results and all(sign in source.head for sign in _SIGNS)) or (
        begins.keys >= _OF_SIMULATION
    )


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a file.

    Raises:
        IngestError: The file has no simulations.
    """
    del known
    content, skipped = json_files.document(source)
    given = loose.mapping(content)
    simulations = given.get("simulations", [given] if "messages" in given else None)
    if not isinstance(simulations, list):
        raise IngestError(f"{source.name} has no simulations")
    runs: dict[str, list[tuple[int, str]]] = {}
    for number, simulation in enumerate(loose.sequence(simulations)):
        where, one = f"{source.name}, simulation {number}", loose.mapping(simulation)
        if not isinstance(one.get("messages"), list):
            yield Skipped(where, "it has no messages")
            continue
        try:
            own = loose.name(one.get("id")) or json_files.fingerprint(one)
        except IngestError as error:
            yield Skipped(where, str(error))
            continue
        run = _Run(one, loose.mapping(given.get("info")), Timeline(keys.run_id("tau2-bench", own)))
        runs.setdefault(str(one.get("task_id")), []).append(
            (loose.count(one.get("trial")) or 0, run.line.run)
        )
        yield from run.records()
    yield from _retries(runs)
    yield from skipped


class _Run:
    """One simulation, while it is read."""

    def __init__(self, given: Fields, info: Fields, line: Timeline) -> None:
        self.given = given
        self.info = info
        self.line = line
        self.messages = _flat(given["messages"])
        self.answers = _answers(self.messages)
        self.turn: str | None = None
        self.turns = 0
        self.said: Any = None
        """What the agent said last in the turn."""

    def records(self) -> Iterator[Record]:
        """Yield the records of the simulation."""
        yield self._started()
        for number, message in enumerate(self.messages):
            at_ns = loose.time_ns(message.get("timestamp"))
            role = message.get("role")
            if role == "user" and message.get("content"):
                yield from self._begin(message, number, at_ns)
            if role in _BY:
                yield from self._said(message, number, at_ns, str(role))
        yield from self._end()
        yield from self._outcome()

    def _started(self) -> RunStarted:
        given, line = self.given, self.line
        began_ns = loose.time_ns(given.get("start_time"))
        environment = loose.mapping(self.info.get("environment_info"))
        domain = loose.name(environment.get("domain_name"))
        task = loose.name(given.get("task_id")) or "?"
        name = " ".join(part for part in ("tau2-bench", domain, "task", task) if part)
        costs = {k: given[k] for k in ("agent_cost", "user_cost") if given.get(k) is not None}
        attributes = {k: v for k, v in given.items() if k not in _TOLD and v is not None}
        attributes |= {k: self.info[k] for k in ("git_commit", "agent_info") if k in self.info}
        amounts = [cost for v in costs.values() if (cost := loose.amount(v)) is not None]
        if amounts:
            attributes["declared"] = {"cost_usd": sum(amounts), **costs}
        if began_ns is None:
            attributes["undated"] = True
        return RunStarted(
            ts=line.at(began_ns),
            run=line.run,
            name=name,
            run_kind="agent",
            external_id=loose.name(given.get("id")),
            workflow=name,
            attributes=attributes,
        )

    def _begin(self, message: Fields, number: int, at_ns: int | None) -> Iterator[Record]:
        yield from self._end(at_ns)
        self.turns += 1
        self.turn = self.line.id("turn", number)
        said = message.get("content")
        yield self.line.opened(self.turn, f"turn {self.turns}", "step", at_ns=at_ns, input=said)

    def _end(self, at_ns: int | None = None) -> Iterator[Record]:
        if self.turn is not None:
            yield self.line.closed(self.turn, at_ns=at_ns, output=self.said)
        self.turn, self.said = None, None

    def _said(self, message: Fields, number: int, at_ns: int | None, role: str) -> Iterator[Record]:
        if not self._is_greeting(message, number):
            yield self._call(message, number, at_ns, role)
        if role == "assistant" and message.get("content"):
            self.said = message["content"]
        why = loose.text(message.get("content"))
        for place, call in enumerate(loose.mappings(message.get("tool_calls"))):
            tool, given = loose.name(call.get("name")) or "a tool", call.get("arguments")
            if why is not None:
                yield self.line.decided(
                    "decision", number, place, span=self.turn, why=why, tool=tool, given=given
                )
            yield from self._tool(call, (number, place), tool, at_ns)

    def _is_greeting(self, message: Fields, number: int) -> bool:
        """Whether a message is the one that is written before any model is asked."""
        return (
            number == 0
            and message.get("role") == "assistant"
            and not message.get("usage")
            and not message.get("cost")
            and not message.get("raw_data")
        )

    def _call(self, message: Fields, number: int, at_ns: int | None, role: str) -> Generation:
        config = loose.mapping(self.info.get("agent_info" if role == "assistant" else "user_info"))
        answer = loose.mapping(message.get("raw_data"))
        choice = loose.first(answer.get("choices"))
        inner = loose.mapping(choice.get("message", answer.get("message")))
        cost = loose.amount(message.get("cost"))
        heard = [one for one in self.messages[:number] if _is_heard(one, role)]
        return Generation(
            **self.line.point("call", number, span=self.turn, at_ns=at_ns),
            name=_BY[role],
            operation="chat",
            model=loose.text(config.get("llm")),
            response_model=loose.text(answer.get("model")),
            response_id=loose.text(answer.get("id")),
            messages=heard or None,
            output={k: message[k] for k in ("role", "content", "tool_calls") if message.get(k)},
            reasoning=loose.text(inner.get("reasoning_content")),
            parameters=loose.mapping(config.get("llm_args")) or None,
            usage=usage.of_stated(loose.mapping(message.get("usage"))),
            finish_reason=loose.text(choice.get("finish_reason", answer.get("finish_reason"))),
            duration_ns=loose.length_ns(message.get("generation_time_seconds")),
            cost_usd=cost,
            cost_source=None if cost is None else "declared",
        )

    def _tool(
        self, call: Fields, place: tuple[int, int], tool: str, at_ns: int | None
    ) -> Iterator[Record]:
        waiting = self.answers.get(loose.name(call.get("id")) or "", [])
        answer = next((one for number, one in waiting if number > place[0]), None)
        fields: Fields = {"status": NO_ANSWER} if answer is None else {}
        said = answer or {}
        content = said.get("content")
        error = {"type": "error", "message": str(content or "")} if said.get("error") else None
        yield from self.line.tool(
            "tool",
            *place,
            name=tool,
            parent=self.turn,
            at_ns=at_ns,
            ended_ns=loose.time_ns(said.get("timestamp")),
            error=error,
            tool_type="function",
            input=call.get("arguments"),
            output=content,
            attributes={k: call[k] for k in ("id", "requestor") if call.get(k)} or None,
            **fields,
        )

    def _outcome(self) -> Iterator[Record]:
        line, given = self.line, self.given
        judged = loose.mapping(given.get("reward_info"))
        ended_ns = loose.time_ns(given.get("end_time"))
        reward = loose.number(judged.get("reward"))
        if reward is not None:
            yield Score(
                **line.point("reward", at_ns=ended_ns),
                name="reward",
                value=reward,
                scale="0-1",
                threshold=_SOLVED,
                passed=reward >= _SOLVED,
                by="tau2-bench",
                attributes={k: v for k, v in judged.items() if k != "reward" and v} or None,
            )
        reason = loose.name(given.get("termination_reason"))
        if reason is None:
            return
        stopped = reason in _STOPPED
        yield RunEnded(
            ts=line.at(ended_ns),
            run=line.run,
            status="complete" if stopped else "failed",
            duration_ns=loose.length_ns(given.get("duration")),
            error=None if stopped else {"type": "termination", "message": reason},
        )


def _flat(messages: Any) -> list[Fields]:
    """Return the messages, those that hold several answers of tools as these."""
    flat: list[Fields] = []
    for message in loose.mappings(messages):
        flat += loose.mappings(message.get("tool_messages")) or [message]
    return flat


def _answers(messages: list[Fields]) -> dict[str, list[tuple[int, Fields]]]:
    """Return place and content of the answers of tools, by the id of their call."""
    found: dict[str, list[tuple[int, Fields]]] = {}
    for number, message in enumerate(messages):
        key = loose.name(message.get("id"))
        if message.get("role") == "tool" and key is not None:
            found.setdefault(key, []).append((number, message))
    return found


def _is_heard(message: Fields, role: str) -> bool:
    """Whether one side got a message: neither sees the tools of the other."""
    if message.get("role") == "tool":
        return message.get("requestor", "assistant") == role
    return message.get("role") == role or not message.get("tool_calls")


def _retries(runs: dict[str, list[tuple[int, str]]]) -> Iterator[Link]:
    for trials in runs.values():
        ordered = list(dict.fromkeys(run for _, run in sorted(trials)))
        for earlier, later in itertools.pairwise(ordered):
            point = Timeline(later).point("retry_of", earlier)
            yield Link(**point, link_kind="retry_of", source=earlier, target=later)
