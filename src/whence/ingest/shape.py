"""What is known of an imported run: which records it has, its tree of spans, and its model calls.

Comes in: records, or the short notes on them that the ledger keeps. Goes out: whether a record is
there already, and which model calls stand inside a span with nothing between them that makes calls
of its own. It holds no content.

Calls are passed up the tree as spans become known, in whatever order they arrive: a call waits at
the first span above it that is not known yet, passes through steps, and stops at an agent, a tool
or another call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.ingest import keys, usage
from whence.record.generation import Generation
from whence.record.span import SpanEnded, SpanStarted

if TYPE_CHECKING:
    from whence.record.base import Record

PASSABLE = frozenset({"step", "stage", "custom", "transformation"})
"""Kinds of spans that make no calls of their own: what happens in them is their parent's doing."""

MAX_STEPS = 200
"""How far up a call is passed through steps."""

Note = str | list[Any]
"""A record's key; for a span and a model call a list that begins with it."""


class Call(msgspec.Struct, frozen=True):
    """One model call, as far as telling it from others needs."""

    span: str
    """Id of its span."""
    response_id: str | None
    """The provider's id of the answer."""
    input_tokens: int | float | None
    """What was stated as input."""
    output_tokens: int | float | None
    """What was stated as output."""
    begun_ns: int
    """Unix time."""
    ended_ns: int
    """Unix time."""


_CALL_PARTS = 7
"""How many parts a note on a model call has: more than others."""


def note_of(key: str, record: Record) -> Note:
    """Return the note on a record that `keys.key_of` gave this key."""
    if type(record) is SpanStarted:
        return [key, fitting(record.parent or ""), fitting(record.span_kind)]
    if type(record) is Generation and record.span:
        ended_ns = _clock.parse_ns(record.ts)
        stated = usage.figures(record.usage.stated if record.usage else None)
        begun_ns = ended_ns - (record.duration_ns or 0)
        answer = None if record.response_id is None else fitting(record.response_id)
        return [key, record.span, answer, stated.input, stated.output, begun_ns, ended_ns]
    return key


def answers_in(notes: list[Note]) -> list[tuple[str, int]]:
    """Return the ids of answers that notes on model calls have, each with when it came."""
    return [
        (note[2], note[6])
        for note in notes
        if not isinstance(note, str) and len(note) == _CALL_PARTS and note[2] is not None
    ]


def fitting(text: str) -> str:
    """Return a text that UTF-8 can hold, which the ledger is written in."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


class Shape:
    """What is known of one run."""

    __slots__ = ("answers", "calls", "ended", "has_root", "keys", "spans", "waiting")

    def __init__(self) -> None:
        self.keys: set[str] = set()
        """What tells its records apart, see `keys.key_of`."""
        self.spans: dict[str, tuple[str, str]] = {}
        """Span id to the id of its parent (empty for none) and its kind."""
        self.calls: dict[str, Call] = {}
        """Span id to the model call that was recorded in it."""
        self.answers: dict[str, list[str]] = {}
        """Response id to the spans of the calls that got it."""
        self.waiting: dict[str, list[str]] = {}
        """Id of a span that is not known to the spans of the calls inside it."""
        self.has_root = False
        """Whether one of its spans has no parent."""
        self.ended = ""
        """The latest time at which it ended; empty if it did not."""

    def take(self, key: str, record: Record) -> Note:
        """Take over a record that `keys.key_of` gave this key, and return the note on it."""
        if type(record) is SpanEnded:  # half of all records; nothing but the key is noted
            self.keys.add(key)
            return key
        note = note_of(key, record)
        self.add_note(note)
        return note

    def add_note(self, note: Note) -> None:
        """Take over what a note says."""
        if isinstance(note, str):
            self.keys.add(note)
            if note[:1] == keys.RUN_ENDED:
                self.ended = max(self.ended, note[1 : note.index("Z") + 1])
            return
        self.keys.add(note[0])
        if note[0][:1] == keys.SPAN_STARTED:
            self._add_span(note[0][1:], note[1], note[2])
        else:
            self._add_call(Call(*note[1:]))

    def _add_span(self, span: str, parent: str, kind: str) -> None:
        if span in self.spans:
            return
        self.spans[span] = (parent, kind)
        self.has_root = self.has_root or not parent
        inner = self.waiting.pop(span, None)
        if inner and kind in PASSABLE:
            for call in inner:
                self._pass_up(call, parent)

    def _add_call(self, call: Call) -> None:
        if call.span in self.calls:
            return
        self.calls[call.span] = call
        if call.response_id is not None:
            self.answers.setdefault(call.response_id, []).append(call.span)
        parent = self.spans.get(call.span)
        if parent is not None:
            self._pass_up(call.span, parent[0])

    def _pass_up(self, call: str, above: str) -> None:
        stop = self._climb(above)
        if stop and stop not in self.spans:
            self.waiting.setdefault(stop, []).append(call)

    def _climb(self, span: str) -> str:
        """Return the first span from `span` upwards that is not passable or not known."""
        for _ in range(MAX_STEPS):  # hostile parents may form a ring
            known = self.spans.get(span)
            if known is None or known[1] not in PASSABLE:
                return span
            span = known[0]
        return ""

    def calls_inside(self, span: str) -> list[Call]:
        """Return the calls inside a span that is not known yet, with nothing but steps between."""
        return [self.calls[inner] for inner in self.waiting.get(span, ()) if inner in self.calls]

    def call_around(self, parent: str) -> Call | None:
        """Return the call around a span with this parent, with nothing but steps between."""
        return self.calls.get(self._climb(parent))
