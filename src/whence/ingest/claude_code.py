"""Transcripts of Claude Code, `~/.claude/projects/**/*.jsonl`.

Comes in: a line an entry, in the order in which they were written. Goes out: a run for each
session. What the user asks begins a turn; one answer of the API is one model call, although it is
written as a line for each of its blocks, each with the same usage; a tool call is joined with its
result by id. A sub-agent's entries (`isSidechain`) are in a span of its own, inside the call that
started it where that can be told. What was sent to the model is what the entry's ancestors say.

A session that goes on is imported again and gains what is new. Of an answer that was being written
at the time of an import, the call keeps what was there. A session that was forked, or resumed under
a new id, begins with a copy of another one's entries: calls that the other run has are not made
again, and a link says which run it continues.

A sub-agent may have a file of its own, `<session>/subagents/agent-<id>.jsonl`; which call started
it then stands in the file of the session, and is looked up there.

Source: the entries as Claude Code 1.0 and 2.0 write them; there is no published specification.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.errors import IngestError
from whence.ingest import json_files, keys, loose, usage
from whence.ingest.base import Skipped, Source
from whence.ingest.timeline import Timeline
from whence.record.event import Event
from whence.record.generation import Generation, ToolCall
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted, Update

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from whence.ingest.base import Known
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_SYNTHETIC = "<synthetic>"
"""The model of messages that Claude Code wrote itself."""
_SAID_BY = frozenset({"user", "assistant"})
_MOST_ANCESTORS = 20_000
_ABOUT = ("cwd", "gitBranch", "version", "userType")
_SHOWN_CHARS = 200
_SIGNS = (
    frozenset({"messageId", "snapshot"}),
    # Newer entries state their session behind the message, which may be long.
    frozenset({"parentUuid", "isSidechain"}),
)
_MOST_FOLDERS = 4
"""How far above a sub-agent's file that of its session is looked for."""


def detect(source: Source) -> bool:
    """Return whether a file begins with an entry of a transcript."""
    begins = json_files.peek(source)
    if begins.is_list or "type" not in begins.keys:
        return False
    return not begins.keys.isdisjoint({"sessionId", "leafUuid"}) or any(
        signs <= begins.keys for signs in _SIGNS
    )


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a transcript."""
    sessions: dict[str, _Session] = {}
    of_entry: dict[str, str] = {}
    summaries: list[tuple[int, Fields]] = []
    for line in _entries(source):
        if isinstance(line, Skipped):
            yield line
            continue
        number, key, entry, began_ns = line
        if key is None:
            summaries.append((number, entry))
            continue
        session = sessions.get(key)
        if session is None:
            session = sessions[key] = _Session(key, source, known)
            yield session.started(entry, began_ns)
        uuid = loose.name(entry.get("uuid"))
        if uuid is not None:
            of_entry[uuid] = key
        kind = loose.text(entry.get("type")) or "an entry"
        yield from session.read(kind, entry, uuid or f"line {number}")
    first = next(iter(sessions), None)
    for number, entry in summaries:
        key = of_entry.get(loose.name(entry.get("leafUuid")) or "", first)
        if key is None:
            yield Skipped(f"{source.name}:{number}", "a summary of a session that is not here")
        else:
            yield sessions[key].summary(entry)
    for session in sessions.values():
        yield from session.ended()


def _entries(
    source: Source,
) -> Iterator[tuple[int, str | None, Fields, int | None] | Skipped]:
    """Yield number, session and content of the entries, and when the session began.

    A transcript may begin with entries that state no time, or no session; they wait for the first
    one that does. A summary has no session.
    """
    began: dict[str, int] = {}
    waiting: list[tuple[int, str | None, Fields]] = []
    last: str | None = None
    for line in json_files.iter_objects(source):
        if isinstance(line, Skipped):
            yield line
            continue
        number, entry = line
        kind = loose.text(entry.get("type"))
        if kind is None or kind == "summary":
            no_type = Skipped(f"{source.name}:{number}", "it has no type")
            yield no_type if kind is None else (number, None, entry, None)
            continue
        last = key = loose.name(entry.get("sessionId")) or last
        at_ns = loose.time_ns(entry.get("timestamp"))
        if key is not None and key not in began and at_ns is not None:
            began[key] = at_ns
            for earlier, whose, one in waiting:
                if whose in {None, key}:
                    yield earlier, key, one, at_ns
            waiting = [one for one in waiting if one[1] not in {None, key}]
        if key is not None and key in began:
            yield number, key, entry, began[key]
        else:
            waiting.append((number, key, entry))
    for number, whose, entry in waiting:
        key = whose or next(iter(began), None)
        if key is None:
            yield Skipped(f"{source.name}:{number}", "it has no session")
        else:
            yield number, key, entry, began.get(key)


def _call_of(source: Source, session: str, agent: str) -> str | None:
    """Return the id of the tool call that started a sub-agent; None if no file beside says so."""
    name = f"{session}.jsonl"
    if Path(name).name != name:  # a session may call itself anything
        return None
    for folder in source.path.parents[:_MOST_FOLDERS]:
        path = folder / name
        if path.is_file() and path != source.path:
            return _calls_in(path, path.stat().st_size).get(agent)
    return None


@functools.lru_cache(maxsize=4)
def _calls_in(path: Path, size_bytes: int) -> Fields:
    """Return the ids of the tool calls in a session's file that started sub-agents, by those."""
    del size_bytes  # a session that goes on is read again
    found: Fields = {}
    for line in Source(path).iter_lines():
        if (
            isinstance(line, Skipped)
            or b'"agentId"' not in line[1]
            or b"tool_result" not in line[1]
        ):
            continue
        try:
            entry = loose.mapping(json_files.decoded(line[1]))
        except IngestError:
            continue
        agent = loose.name(loose.mapping(entry.get("toolUseResult")).get("agentId"))
        result = loose.first(loose.mapping(entry.get("message")).get("content"))
        if agent is not None and not entry.get("isSidechain"):
            found.setdefault(agent, loose.name(result.get("tool_use_id")))
    return found


class _Entry:
    """An entry of a conversation, as far as later ones need it."""

    __slots__ = ("key", "message", "parent")

    def __init__(self, message: Fields, parent: str | None) -> None:
        self.key = loose.name(message.get("id"))
        self.message: Fields = {"role": message.get("role"), "content": message.get("content")}
        self.parent = parent


class _Answer:
    """An answer of the API, gathered from its lines."""

    def __init__(self, key: str, entry: Fields, span: str | None, parent: str | None) -> None:
        self.key = key
        self.entry = entry
        self.span = span
        self.parent = parent
        self.blocks: list[Any] = []
        self.calls: list[tuple[str, Fields, int | None]] = []
        """Tool calls, each with its id and its time."""
        self.at_ns: int | None = None

    def take(self, entry: Fields, at_ns: int | None) -> None:
        """Take a line: the one that states the most output has the whole of the usage.

        A streamed answer counts up, and may be written again from an earlier state.
        """
        self.at_ns = at_ns if at_ns is not None else self.at_ns
        if _output_of(entry) >= _output_of(self.entry):
            self.entry = entry


class _Strand:
    """The main conversation of a session, or that of one sub-agent."""

    def __init__(self, around: str | None = None) -> None:
        self.around = around
        """Id of the span of the sub-agent."""
        self.turn: str | None = None
        self.turns = 0
        self.said: Any = None
        """What the model said last in the turn, if that was its last word."""
        self.answer: _Answer | None = None
        """The answer that is being gathered."""
        self.held: list[tuple[Fields, str, int | None]] = []
        """What was heard since, while the answer may go on: tools answer before it is complete."""
        self.last: str | None = None
        """Id of the last entry."""


class _Session:
    """One session, while its transcript is read."""

    def __init__(self, key: str, source: Source, known: Known) -> None:
        self.key = key
        self.source = source
        self.known = known
        self.line = Timeline(keys.run_id("claude-code", key))
        self.strands: dict[str, _Strand] = {"": _Strand()}
        self.entries: dict[str, _Entry] = {}
        self.strand_of: dict[str, str] = {}
        self.asked: dict[str, tuple[str, str, Fields, int | None]] = {}
        """Id of a tool call without a result to its span, its tool, its input and its time."""
        self.tasks: dict[str, str] = {}
        """What a sub-agent was asked to do to the span of the call that asks it."""
        self.copied: set[str] = set()
        """Ids of the tool calls that another run has, and of the runs."""

    def started(self, entry: Fields, began_ns: int | None) -> RunStarted:
        return RunStarted(
            ts=self.line.at(began_ns),
            run=self.line.run,
            name="claude-code",
            run_kind="session",
            external_id=self.key,
            session=self.key,
            attributes={k: entry[k] for k in _ABOUT if entry.get(k) is not None} or None,
        )

    def summary(self, entry: Fields) -> Update:
        point = self.line.point("summary", json_files.fingerprint(entry))
        return Update(**point, attributes={"summary": entry.get("summary")})

    def read(self, kind: str, entry: Fields, uuid: str) -> Iterator[Record]:
        """Yield the records of an entry.

        Args:
            kind: What it is.
            entry: It.
            uuid: What tells it from the others.
        """
        at_ns = loose.time_ns(entry.get("timestamp"))
        message = loose.mapping(entry.get("message"))
        if kind not in _SAID_BY or not message:
            yield self._event(kind, entry, uuid, at_ns)
            return
        stated = entry.get("parentUuid", self)  # None says that it has no parent
        name = yield from self._strand(entry, uuid, at_ns)
        strand = self.strands[name]
        parent = strand.last if stated is self else loose.name(stated)
        self.entries[uuid] = _Entry(message, parent)
        self.strand_of[uuid] = name
        if kind == "user" and strand.answer is not None and _is_amid(entry, message):
            strand.held.append((entry, uuid, at_ns))
        elif kind == "user":
            yield from self._flush(strand)
            yield from self._heard(entry, message, uuid, strand, at_ns)
        elif message.get("model") == _SYNTHETIC or entry.get("isApiErrorMessage"):
            yield from self._flush(strand)
            yield self._notice(entry, message, uuid, strand, at_ns)
        else:
            yield from self._said(entry, message, uuid, strand, at_ns)
        strand.last = uuid

    def _event(self, kind: str, entry: Fields, uuid: str, at_ns: int | None) -> Event:
        said = loose.text(entry.get("content")) or loose.text(entry.get("operation"))
        what = loose.text(entry.get("subtype")) or kind
        level = loose.text(entry.get("level")) or ("info" if kind == "system" else "debug")
        return Event(
            **self.line.point("entry", uuid, at_ns=at_ns),
            message=f"{what}: {said}" if said else what,
            level=level,
            data={"entry": entry},
        )

    def _notice(
        self, entry: Fields, message: Fields, uuid: str, strand: _Strand, at_ns: int | None
    ) -> Generation | Event:
        """Return what Claude Code wrote itself: that a call failed for good, or a remark."""
        said = _text_of(message.get("content")) or "a notice"
        point = self.line.point("notice", uuid, span=strand.turn or strand.around, at_ns=at_ns)
        if not entry.get("isApiErrorMessage"):
            return Event(**point, message=said, level="error", data={"message": message})
        kind = loose.text(entry.get("error")) or "API error"
        return Generation(
            **point,
            provider="anthropic",
            operation="chat",
            messages=self._sent(self.entries[uuid].parent, uuid),
            output=message.get("content"),
            status="error",
            error={"type": kind, "message": said},
        )

    def _strand(self, entry: Fields, uuid: str, at_ns: int | None) -> Generator[Record, None, str]:
        """Yield the start of a sub-agent with its first entry; return whose the entry is."""
        if entry.get("isSidechain") is not True:
            return ""
        own = loose.name(entry.get("agentId"))
        parent = loose.name(entry.get("parentUuid"))
        name = own or (self.strand_of.get(parent) if parent else None) or uuid
        if name and name not in self.strands:
            span = self.line.id("agent", name)
            content = loose.mapping(entry.get("message")).get("content")
            asked = content if isinstance(content, str) else None
            task = self.tasks.get(asked or "")
            if task is None and own is not None:
                call = _call_of(self.source, self.key, own)
                task = None if call is None else self.line.id("tool", call)
            self.strands[name] = _Strand(span)
            yield self.line.opened(
                span, f"agent {name}"[:_SHOWN_CHARS], "agent", at_ns=at_ns, parent=task, agent=name
            )
        return name

    def _heard(
        self, entry: Fields, message: Fields, uuid: str, strand: _Strand, at_ns: int | None
    ) -> Iterator[Record]:
        """Yield the records of what the user or a tool says."""
        content = message.get("content")
        results = [b for b in loose.mappings(content) if b.get("type") == "tool_result"]
        for place, result in enumerate(results):
            extra = entry.get("toolUseResult") if len(results) == 1 else None
            yield from self._result(result, extra, (uuid, place), strand, at_ns)
        if results or not content:
            return
        if entry.get("isMeta") or entry.get("isCompactSummary"):
            point = self.line.point("entry", uuid, span=strand.turn or strand.around, at_ns=at_ns)
            said = "compacted" if entry.get("isCompactSummary") else "context"
            yield Event(**point, message=said, level="debug", data={"message": message})
            return
        yield from self._end_turn(strand, at_ns)
        strand.turns += 1
        strand.turn = self.line.id("turn", uuid)
        name = f"turn {strand.turns}"
        yield self.line.opened(
            strand.turn, name, "step", at_ns=at_ns, parent=strand.around, input=content
        )

    def _end_turn(self, strand: _Strand, at_ns: int | None) -> Iterator[Record]:
        if strand.turn is not None:
            yield self.line.closed(strand.turn, at_ns=at_ns, output=strand.said)
        strand.turn, strand.said = None, None

    def _said(
        self, entry: Fields, message: Fields, uuid: str, strand: _Strand, at_ns: int | None
    ) -> Iterator[Record]:
        """Take a line of an answer; yield the answer before it."""
        key = loose.name(message.get("id")) or loose.name(entry.get("requestId")) or uuid
        if strand.answer is not None and strand.answer.key != key:
            yield from self._flush(strand)
        around = strand.turn or strand.around
        if strand.answer is None:
            strand.answer = _Answer(key, entry, around, self.entries[uuid].parent)
        answer, content = strand.answer, message.get("content")
        answer.take(entry, at_ns)
        blocks = loose.sequence(content) or ([content] if content else [])
        answer.blocks += blocks
        calls = [b for b in loose.mappings(blocks) if b.get("type") == "tool_use"]
        strand.said = None if calls else content
        for place, call in enumerate(calls):
            own = loose.name(call.get("id")) or f"{uuid}/{place}"
            answer.calls.append((own, call, at_ns))
            prompt = loose.text(loose.mapping(call.get("input")).get("prompt"))
            if prompt is not None:
                self.tasks[prompt] = self.line.id("tool", own)

    def _asks(
        self, call: Fields, own: str, at_ns: int | None, around: str | None, why: str
    ) -> Iterator[Record]:
        """Yield the start of a tool call, and why it was made."""
        tool, given = loose.name(call.get("name")) or "a tool", call.get("input")
        span = self.line.id("tool", own)
        self.asked[own] = (span, tool, {"input": given}, at_ns)
        if why:
            yield self.line.decided(
                "decision", own, span=around, at_ns=at_ns, why=why, tool=tool, given=given
            )
        yield self.line.opened(span, tool, "tool", at_ns=at_ns, parent=around, input=given)

    def _result(
        self,
        result: Fields,
        extra: Any,
        place: tuple[str, int],
        strand: _Strand,
        at_ns: int | None,
    ) -> Iterator[Record]:
        line, content = self.line, result.get("content")
        own = loose.name(result.get("tool_use_id")) or f"{place[0]}/{place[1]}"
        asked = self.asked.pop(own, None)
        if own in self.copied:
            return
        fields: Fields = {"tool_type": "function", "output": content}
        if isinstance(extra, dict):
            fields["attributes"] = {"result": extra}
        if result.get("is_error") is True:
            said = content if isinstance(content, str) else _text_of(content)
            fields |= {"status": "error", "error": {"type": "error", "message": said}}
        if asked is None:  # its question is in another file, or was cut off
            yield line.opened(
                line.id("tool", own), "a tool", "tool", at_ns=at_ns, parent=strand.turn
            )
            point = line.point("tool", own, "call", span=line.id("tool", own), at_ns=at_ns)
            yield ToolCall(**point, tool_name="a tool", **fields)
            return
        span, tool, given, began_ns = asked
        if began_ns is not None and at_ns is not None and at_ns >= began_ns:
            fields["duration_ns"] = at_ns - began_ns
        point = line.point("tool", own, "call", span=span, at_ns=at_ns)
        yield ToolCall(**point, tool_name=tool, **given, **fields)

    def _flush(self, strand: _Strand) -> Iterator[Record]:
        """Yield the model call of an answer whose lines were all read, and what it led to."""
        answer, strand.answer = strand.answer, None
        held, strand.held = strand.held, []
        if answer is not None:
            yield from self._answered(answer)
        for entry, uuid, at_ns in held:
            message = loose.mapping(entry.get("message"))
            yield from self._heard(entry, message, uuid, strand, at_ns)

    def _answered(self, answer: _Answer) -> Iterator[Record]:
        entry, message = answer.entry, loose.mapping(answer.entry.get("message"))
        response_id = loose.text(message.get("id"))
        other = None
        if response_id is not None and answer.at_ns is not None:
            other = self.known.answered(response_id, answer.at_ns)
        if other is not None and other != self.line.run:
            yield from self._continues(other, answer)
            return
        thoughts = [
            loose.text(block.get("thinking")) or ""
            for block in loose.mappings(answer.blocks)
            if block.get("type") == "thinking"
        ]
        cost, model = loose.amount(entry.get("costUSD")), loose.text(message.get("model"))
        extra = {k: entry[k] for k in ("requestId", "agentId") if entry.get(k) is not None}
        yield Generation(
            **self.line.point("answer", answer.key, span=answer.span, at_ns=answer.at_ns),
            provider="anthropic",
            model=model,
            response_id=response_id,
            operation="chat",
            messages=self._sent(answer.parent, answer.key),
            output=answer.blocks,
            reasoning="\n\n".join(filter(None, thoughts)) or None,
            usage=usage.of_stated(loose.mapping(message.get("usage")), "anthropic"),
            finish_reason=loose.text(message.get("stop_reason")),
            cost_usd=cost,
            cost_source=None if cost is None else "declared",
            attributes=extra or None,
        )
        why = _text_of(answer.blocks) or "\n\n".join(filter(None, thoughts))
        for own, call, at_ns in answer.calls:
            yield from self._asks(call, own, at_ns, answer.span, why)

    def _continues(self, other: str, answer: _Answer) -> Iterator[Link]:
        """Yield, once, that this run begins as another one did, which has the call."""
        self.copied |= {own for own, _, _ in answer.calls}
        if other not in self.copied:
            self.copied.add(other)
            point = self.line.point("continuation_of", other, at_ns=answer.at_ns)
            yield Link(**point, link_kind="continuation_of", source=other, target=self.line.run)

    def _sent(self, uuid: str | None, key: str) -> list[Any]:
        """Return the messages that an answer is to, the first one first."""
        found: list[Any] = []
        seen: set[str] = set()
        while uuid is not None and uuid not in seen and len(found) < _MOST_ANCESTORS:
            seen.add(uuid)
            entry = self.entries.get(uuid)
            if entry is None:
                break
            if entry.key is None or entry.key != key:
                found.append(entry.message)
            uuid = entry.parent
        return found[::-1]

    def ended(self) -> Iterator[Record]:
        """Yield what the transcript ends with: it does not say that a session is over."""
        done = True
        for strand in self.strands.values():
            yield from self._flush(strand)
            if strand.said is not None:
                yield from self._end_turn(strand, None)
            elif strand.turn is not None:
                done = False
            if strand.around is not None and strand.turn is None:
                yield self.line.closed(strand.around)
        if self.strands[""].last is None and len(self.strands) > 1:
            return  # the file of a sub-agent does not say how its session ended
        status = "complete" if done and not self.asked else "incomplete"
        yield RunEnded(ts=self.line.at(), run=self.line.run, status=status)


def _is_amid(entry: Fields, message: Fields) -> bool:
    """Whether what the user says may stand between the lines of one answer."""
    content = loose.mappings(message.get("content"))
    return bool(entry.get("isMeta")) or any(b.get("type") == "tool_result" for b in content)


def _output_of(entry: Fields) -> float:
    stated = loose.mapping(loose.mapping(entry.get("message")).get("usage"))
    return loose.number(stated.get("output_tokens")) or 0


def _text_of(content: Any) -> str:
    texts = [loose.text(block.get("text")) or "" for block in loose.mappings(content)]
    return " ".join(text for text in texts if text)
