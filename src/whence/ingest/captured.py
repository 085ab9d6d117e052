"""What capture recorded in a home, so that spans which say it again do not count it again.

Comes in: what capture wrote into the log of a home, whichever process wrote it, and spans. Goes
out: for a span that states a model call which is there, run and span of that call; and for a run,
what tells the records that are there, since its own export may come back. Other files that whence
made of a run name it and say when it began, and are there with it as a whole. Calls are told by the
answer's id, or by the span that was current when the request was sent, which capture notes; a span
around such a call, with nothing between them that makes calls of its own, states it again. The
rules are those of docs/explanation/usage.md. Only the log of the days around a span is read, each
line once, and those of a run once more where its export comes.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.errors import RecordError
from whence.ingest import keys, reading, segments, semconv
from whence.ingest.base import Skipped
from whence.ingest.shape import PASSABLE
from whence.log import reader, segment
from whence.record import codec
from whence.record.run import RunStarted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whence.ingest.base import Known
    from whence.ingest.otel import SpanIn
    from whence.log.home import Home
    from whence.record.base import Record
    from whence.record.codec import AnyRecord
    from whence.record.generation import Generation

MAX_CALLS = 50_000
"""How many calls, and how many spans around them, are remembered."""
_DAY_NS = 86_400_000_000_000
MAX_RUNS = 100_000
"""Of how many runs is remembered where they stand."""
MAX_KEYED_RUNS = 100
"""Of how many runs is remembered what they hold."""
_IS_CALL, _HAS_IDS = b'"generation"', b'"otel_span_id"'
_RUN = b'"run":"'
_RUN_CHARS = 32
_IS_START = b'"run_started"'
_SAME_START_NS = 1_000_000_000
"""How far apart a file's and the log's word for when a run began may be."""


class _Line(msgspec.Struct, gc=False):
    """As much of a line as tells a call."""

    kind: str
    ts: str
    run: str
    id: str = ""
    span: str | None = None
    response_id: str | None = None
    duration_ns: int | None = None
    attributes: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Line).decode


class _Start(msgspec.Struct, gc=False):
    """As much of the start of a run as tells it."""

    kind: str
    ts: str
    run: str
    external_id: str | None = None


_decode_start = msgspec.json.Decoder(_Start).decode


class _Call(tuple[str, str, int, int]):
    """Run and span of a recorded call, when it began and when it ended."""

    __slots__ = ()


class Calls:
    """Recorded model calls, and the spans that state them again."""

    def __init__(self) -> None:
        self._by_answer: OrderedDict[str, _Call] = OrderedDict()
        self._inside: OrderedDict[tuple[str, str], _Call] = OrderedDict()

    @property
    def is_any(self) -> bool:
        """Whether a call was noted; `find` finds none before."""
        return bool(self._by_answer or self._inside)

    def note(self, record: _Line | Generation, *, by_answer: bool = True) -> None:
        """Take in the record of a call.

        Args:
            record: The record.
            by_answer: Whether the id of its answer tells it, too.
        """
        ended_ns = _clock.parse_ns(record.ts)
        begun_ns = ended_ns - (record.duration_ns or 0)
        call = _Call((record.run, record.span or record.id, begun_ns, ended_ns))
        if record.response_id and by_answer:
            _remember(self._by_answer, record.response_id, call)
        about = record.attributes or {}
        trace, span = about.get("otel_trace_id"), about.get("otel_span_id")
        if isinstance(trace, str) and isinstance(span, str):
            _remember(self._inside, (trace, span), call)

    def find(self, span: SpanIn) -> tuple[str, str] | None:
        """Return run and span of the recorded call that a span states again; None if it does not.

        Spans are to be asked for from the inside out.
        """
        what = semconv.what_it_is(span.attributes)
        inside = self._inside.get((span.trace, span.span))
        if what in semconv.CALLS:
            call = inside or self._with_answer(span)
            if call is not None:
                self._pass_up(span, call)
            return None if call is None else (call[0], call[1])
        kind = "custom" if what is None else semconv.SPAN_KIND[what]
        if inside is not None and kind in PASSABLE:
            self._pass_up(span, inside)
        return None

    def _with_answer(self, span: SpanIn) -> _Call | None:
        """Return the recorded call with the same answer, if both happened at one time."""
        answer: Any = reading.read(span.attributes).fields.get("response_id")
        call = self._by_answer.get(answer) if isinstance(answer, str) else None
        if call is None or not (span.begun_ns <= call[3] and call[2] <= span.ended_ns):
            return None
        return call

    def _pass_up(self, span: SpanIn, call: _Call) -> None:
        if span.parent:
            _remember(self._inside, (span.trace, span.parent), call)


class CallsOfHome(Calls):
    """The model calls that capture recorded in a home.

    Args:
        home: The home.
        own: The writer of the import that asks, which tells of its calls itself.
    """

    def __init__(self, home: Home, own: str) -> None:
        super().__init__()
        self._home = home
        self._own = own
        self._changed_ns: dict[str, int] = {}
        self._offsets: dict[segment.SegmentName, int] = {}
        self._watched: dict[str, set[segment.SegmentName]] = {}
        self._runs: dict[bytes, dict[segment.SegmentName, tuple[int, int]]] = {}
        """Run to the stretch of each segment in which something of it stands."""
        self._keys: OrderedDict[str, tuple[object, frozenset[str]]] = OrderedDict()
        self._begun_ns: OrderedDict[str, int] = OrderedDict()
        """Id, or external id, of a run to when it began."""

    def has_run(self, names: Iterable[str | None], begun_ns: int) -> bool:
        """Whether capture recorded a run in the home that has one of these names.

        Args:
            names: What its id or its external id may be.
            begun_ns: When it began, Unix time: an external id alone may be another's.

        Returns:
            True if it is in what was recorded on the days around.
        """
        with contextlib.suppress(OSError):
            self.catch_up(begun_ns, begun_ns)
        began = [self._begun_ns[name] for name in names if name in self._begun_ns]
        return any(abs(one_ns - begun_ns) <= _SAME_START_NS for one_ns in began)

    def keys_of(self, run: str) -> frozenset[str]:
        """Return what tells the records of a run that were not imported, see `keys.key_of`.

        Of the days that were read so far.

        Raises:
            OSError: A segment cannot be read.
        """
        stretches = dict(self._runs.get(run.encode(), {}))
        known = self._keys.pop(run, None)
        if known is None or known[0] != stretches:
            found = frozenset(
                keys.key_of(record)
                for name, stretch in stretches.items()
                for record in self._iter_records(name, run, stretch)
            )
            known = (stretches, found)
        self._keys[run] = known
        if len(self._keys) > MAX_KEYED_RUNS:
            self._keys.popitem(last=False)
        return known[1]

    def _iter_records(
        self, name: segment.SegmentName, run: str, stretch: tuple[int, int]
    ) -> Iterator[AnyRecord]:
        start, end = stretch
        try:
            for line in reader.iter_lines(name.path_in(self._home), start):
                if line.offset >= end:
                    return
                if run.encode() in line.content:
                    with contextlib.suppress(RecordError):  # whence doctor tells of it
                        record = codec.decode(line.content)
                        if record.run == run:
                            yield record
        except FileNotFoundError:  # retention took it
            return

    def catch_up(self, begun_ns: int, ended_ns: int) -> None:
        """Read what was recorded in the days around a time, as far as it is not read yet.

        Args:
            begun_ns: When the time begins.
            ended_ns: When it ends.

        Raises:
            OSError: A segment cannot be read.
        """
        around_ns = (begun_ns - _DAY_NS, begun_ns, ended_ns, ended_ns + _DAY_NS)
        days = {segment.today(max(0, time_ns)) for time_ns in around_ns}
        today = segment.today(_clock.wall_ns())  # of whenever it is, an import may be of today
        for day in sorted({*days, today}):
            self._look(day)
            for name in list(self._watched.get(day, ())):
                if day in days or segments.is_import(name):
                    self._read(name)

    def _look(self, day: str) -> None:
        """Note the segments of a day that are new."""
        folder = self._home.log / day
        try:
            changed_ns = folder.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if self._changed_ns.get(day) == changed_ns:
            return
        self._changed_ns[day] = changed_ns
        watched = self._watched.setdefault(day, set())
        for path in folder.glob("*.jsonl"):
            name = segment.parse_name(f"{day}/{path.name.removesuffix('.jsonl')}")
            if name is not None and name not in self._offsets and name.writer != self._own:
                self._offsets[name] = 0
                watched.add(name)

    def _read(self, name: segment.SegmentName) -> None:
        """Read on in a segment, and no more of it once its writer is gone."""
        path, offset = name.path_in(self._home), self._offsets[name]
        try:
            live = segment.is_live(path)  # asked first: what a dead writer wrote is whole
            is_import = segments.is_import(name)
            wanted = _HAS_IDS if is_import else _IS_CALL
            for line in reader.iter_lines(path, offset):
                self._offsets[name] = line.offset + len(line.content) + 1
                if not is_import:
                    self._note_run(name, line.offset, line.content)
                    if _IS_START in line.content:
                        self._note_start(line.content)
                if wanted in line.content:
                    self._take(line.content, by_answer=not is_import)
        except FileNotFoundError:  # retention took it
            live = False
        if not live:
            self._watched[name.day].discard(name)

    def _note_run(self, name: segment.SegmentName, offset: int, content: bytes) -> None:
        start = content.find(_RUN) + len(_RUN)  # before anything that the user said
        stretches = self._runs.setdefault(content[start : start + _RUN_CHARS], {})
        begun = stretches[name][0] if name in stretches else offset
        stretches[name] = (begun, offset + len(content) + 1)
        if len(self._runs) > MAX_RUNS:
            del self._runs[next(iter(self._runs))]

    def _note_start(self, content: bytes) -> None:
        try:
            start = _decode_start(content)
            if start.kind == RunStarted.__struct_config__.tag:
                for name in filter(None, (start.run, start.external_id)):
                    _remember(self._begun_ns, name, _clock.parse_ns(start.ts), MAX_RUNS)
        except (msgspec.MsgspecError, ValueError, RecursionError):  # whence doctor tells of it
            return

    def _take(self, content: bytes, *, by_answer: bool) -> None:
        try:
            record = _decode(content)
            if record.kind == "generation":
                self.note(record, by_answer=by_answer)
        except (msgspec.MsgspecError, ValueError, RecursionError):  # whence doctor tells of it
            return


def already_there(records: Iterable[Record | Skipped], known: Known) -> Iterator[Record | Skipped]:
    """Yield records of a run that was recorded in the home, so that none of them is written."""
    for record in records:
        if not isinstance(record, Skipped):
            known.run(record.run).keys.add(keys.key_of(record))
        yield record


def _remember(known: OrderedDict[Any, Any], key: Any, value: Any, most: int = MAX_CALLS) -> None:
    known[key] = value
    if len(known) > most:
        known.popitem(last=False)
