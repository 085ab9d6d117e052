"""Transcripts of Claude Code, `~/.claude/projects/**/*.jsonl`.

Comes in: a line an entry, in the order in which they were written. Goes out: a run for each
session. What the user asks begins a turn; one answer of the API is one model call, although it is
written as a line for each of its blocks, each with the same usage; a tool call is joined with its
result by id. A sub-agent's entries (`isSidechain`) are in a span of its own, inside the call that
started it where that can be told. What was sent to the model is what the entry's ancestors say.

A session that goes on is imported again and gains what is new. Of an answer that was being written
at the time of an import, the call keeps what was there.

Source: the entries as Claude Code 1.0 and 2.0 write them; there is no published specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.ingest import json_files, keys, loose, usage
from whence.ingest.base import Skipped
from whence.ingest.timeline import Timeline
from whence.record.event import Event
from whence.record.generation import Generation, ToolCall
from whence.record.run import RunEnded, RunStarted, Update

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from whence.ingest.base import Known, Source
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_SYNTHETIC = "<synthetic>"
"""The model of messages that Claude Code wrote itself."""
_SAID_BY = frozenset({"user", "assistant"})
_MOST_ANCESTORS = 20_000
_ABOUT = ("cwd", "gitBranch", "version", "userType")
_SHOWN_CHARS = 200


def detect(source: Source) -> bool:
    """Return whether a file begins with an entry of a transcript."""
    begins = json_files.peek(source)
    if begins.is_list or "type" not in begins.keys:
        return False
    return not begins.keys.isdisjoint({"sessionId", "leafUuid"}) or (
        {"messageId", "snapshot"} <= begins.keys
    )


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a transcript."""
    del known
    sessions: dict[str, _Session] = {}
    of_entry: dict[str, str] = {}
    summaries: list[tuple[int, Fields]] = []
    last: str | None = None
    for line in json_files.iter_objects(source):
        if isinstance(line, Skipped):
            yield line
            continue
        number, entry = line
        kind, key = loose.text(entry.get("type")), loose.name(entry.get("sessionId")) or last
        if kind == "summary":
            summaries.append((number, entry))
            continue
        if kind is None or key is None:
            yield Skipped(f"{source.name}:{number}", "it has no type or no session")
            continue
        last = key
        session = sessions.get(key)
        if session is None:
            session = sessions[key] = _Session(key)
            yield session.started(entry)
        uuid = loose.name(entry.get("uuid"))
        if uuid is not None:
            of_entry[uuid] = key
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
        self.calls: list[tuple[str, Fields]] = []
        """Tool calls, each with its id."""
        self.at_ns: int | None = None


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
        self.last: str | None = None
        """Id of the last entry."""


class _Session:
    """One session, while its transcript is read."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.line = Timeline(keys.run_id("claude-code", key))
        self.strands: dict[str, _Strand] = {"": _Strand()}
        self.entries: dict[str, _Entry] = {}
        self.strand_of: dict[str, str] = {}
        self.asked: dict[str, tuple[str, str, Fields, int | None]] = {}
        """Id of a tool call without a result to its span, its tool, its input and its time."""
        self.tasks: dict[str, str] = {}
        """What a sub-agent was asked to do to the span of the call that asks it."""

    def started(self, entry: Fields) -> RunStarted:
        return RunStarted(
            ts=self.line.at(loose.time_ns(entry.get("timestamp"))),
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
        if kind == "user":
            yield from self._flush(strand)
            yield from self._heard(entry, message, uuid, strand, at_ns)
        elif message.get("model") == _SYNTHETIC or entry.get("isApiErrorMessage"):
            yield from self._flush(strand)
            yield self._notice(message, uuid, strand, at_ns)
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

    def _notice(self, message: Fields, uuid: str, strand: _Strand, at_ns: int | None) -> Event:
        texts = [loose.text(b.get("text")) for b in loose.mappings(message.get("content"))]
        point = self.line.point("notice", uuid, span=strand.turn or strand.around, at_ns=at_ns)
        said = " ".join(text for text in texts if text) or "a notice"
        return Event(**point, message=said, level="error", data={"message": message})

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
        # The last line has the whole of the usage; a streamed answer counts up.
        answer.entry, answer.at_ns = entry, at_ns if at_ns is not None else answer.at_ns
        blocks = loose.sequence(content) or ([content] if content else [])
        answer.blocks += blocks
        calls = [b for b in loose.mappings(blocks) if b.get("type") == "tool_use"]
        strand.said = None if calls else content
        for place, call in enumerate(calls):
            own = loose.name(call.get("id")) or f"{uuid}/{place}"
            answer.calls.append((own, call))
            prompt = loose.text(loose.mapping(call.get("input")).get("prompt"))
            if prompt is not None:
                self.tasks[prompt] = self.line.id("tool", own)

    def _asks(self, call: Fields, own: str, answer: _Answer, why: str) -> Iterator[Record]:
        """Yield the start of a tool call, and why it was made."""
        around, at_ns = answer.span, answer.at_ns
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
        """Yield the model call of an answer whose lines were all read."""
        answer, strand.answer = strand.answer, None
        if answer is None:
            return
        entry, message = answer.entry, loose.mapping(answer.entry.get("message"))
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
            response_id=loose.text(message.get("id")),
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
        for own, call in answer.calls:
            yield from self._asks(call, own, answer, why)

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
        status = "complete" if done and not self.asked else "incomplete"
        yield RunEnded(ts=self.line.at(), run=self.line.run, status=status)


def _text_of(content: Any) -> str:
    texts = [loose.text(block.get("text")) or "" for block in loose.mappings(content)]
    return " ".join(text for text in texts if text)
