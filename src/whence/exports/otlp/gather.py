"""Gathers the records of running runs into finished spans, holding no more than it has to.

Comes in: records in the order of the log. Goes out: spans, each once, as soon as it is finished,
and the span of a run when that ends. A record that comes for a span that went out already goes with
the run's own span, as an event that names it; one that comes for a run that went out is lost, and
counted. A span that a call has ended is held for a moment, since more may follow.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, cast

from whence import _clock
from whence.exports.otlp import convert
from whence.log import blobs
from whence.query import restore
from whence.record import codec
from whence.record.event import Foreign
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.span import SpanEnded, SpanStarted
from whence.store.project import Projection
from whence.store.staterows import run_row, span_row
from whence.store.states import RunState

if TYPE_CHECKING:
    from whence.exports.otlp.convert import Place
    from whence.exports.otlp.model import Options, SpanOut
    from whence.log.home import Home
    from whence.record.codec import AnyRecord
    from whence.store import rows as r
    from whence.store.states import SpanState

MAX_RECORDS = 50_000
"""How many records of open spans and runs are held."""
MAX_REMEMBERED = 100_000
"""How many spans and runs that went out are remembered."""
CALL_GRACE_NS = 1_000_000_000
"""How long a span is held after the call that ends it."""

_Key = tuple[str, str]
_POINTS = tuple(
    kind
    for kind in codec.KINDS.values()
    if kind not in {RunStarted, RunEnded, Update, SpanStarted, SpanEnded, Foreign}
)


class _Remembered(OrderedDict[Any, None]):
    """The latest of many keys."""

    def note(self, key: Any) -> None:
        self[key] = None
        if len(self) > MAX_REMEMBERED:
            self.popitem(last=False)


class Gathering:
    """What is known of the runs of one process that have not ended.

    Args:
        home: The home, for values in blobs.
        options: Names and content.
    """

    def __init__(self, home: Home, options: Options) -> None:
        self._home = home
        self._options = options
        self._known = Projection()
        self._held: dict[str, dict[str, list[r.PointRow]]] = {}
        self._count = 0
        self._places: dict[str, Place] = {}
        self._called: dict[_Key, int] = {}
        self._sent: _Remembered = _Remembered()
        self._ended: _Remembered = _Remembered()
        self.lost = 0
        """Records that no span carries."""

    def add(self, record: AnyRecord, segment: str, offset: int) -> None:
        """Take one record, its references resolved."""
        if not record.run:
            return  # of no run: there is no trace that it belongs to
        if record.run in self._ended and isinstance(record, _POINTS):
            # What is in a span that is still open goes out with it.
            self.lost += (record.run, record.span or "") not in self._known.spans
        self._known.add(record, segment, offset)

    def finished(self, *, now: bool = False) -> list[SpanOut]:
        """Return the spans that are finished and were not returned before.

        Args:
            now: Do not wait for what may follow a call.
        """
        self._take_points()
        made: list[SpanOut] = []
        for key in list(self._known.touched_spans | self._called.keys()):
            state = self._known.spans.get(key)
            if state is None:
                continue
            if key in self._sent:
                del self._known.spans[key]  # only calls that came late: their rows are held
            elif state.is_whole and self._is_due(key, state, now=now):
                made += self._span(key, state)
        for run in self._known.touched_runs:
            state = self._known.runs.get(run)
            if state is not None and state.end is not None and run not in self._ended:
                made += self._run(run)
        self._known.touched_spans.clear()
        self._known.touched_runs.clear()
        self._bound()
        return made

    def _take_points(self) -> None:
        """Move what was recorded to the spans it was recorded in."""
        for table, rows in self._known.points.items():
            for row in cast("list[r.PointRow]", rows):
                of_run = self._held.setdefault(row.run, {})
                of_run.setdefault(row.span or "", []).append(row)
                self._count += 1
            self._known.points[table] = []

    def _is_due(self, key: _Key, state: SpanState, *, now: bool) -> bool:
        run = self._known.runs.get(key[0])
        if state.end is not None or now or (run is not None and run.end is not None):
            return True
        since_ns = self._called.setdefault(key, _clock.mono_ns())
        return _clock.mono_ns() - since_ns >= CALL_GRACE_NS

    def _span(self, key: _Key, state: SpanState) -> list[SpanOut]:
        row = restore.restored(span_row(state, live=True), self._blob)
        records = self._restored(self._pop(*key))
        del self._known.spans[key]
        self._called.pop(key, None)
        self._sent.note(key)
        known = _Spans(key[0], self._sent, self._known.spans)
        return convert.of_span(row, records, self._place(key[0]), self._options, known)

    def _run(self, run: str) -> list[SpanOut]:
        late = [
            key
            for key, state in self._known.spans.items()
            if key[0] == run and state.is_whole and key not in self._sent
        ]
        made = [one for key in late for one in self._span(key, self._known.spans[key])]
        row = restore.restored(run_row(self._known.runs[run], live=True), self._blob)
        own = self._restored(self._pop(run, ""))
        open_spans = {key[1] for key in self._known.spans if key[0] == run}
        others = [span for span in self._held.get(run, {}) if span not in open_spans]
        strays = [record for span in others for record in self._restored(self._pop(run, span))]
        place = self._place(run)
        known = _Spans(run, self._sent, self._known.spans)
        if self._known.runs[run].start is not None:  # else whoever began it sends its span
            spans = convert.of_run(row, [*own, *strays], place, self._options, known)
            made += spans
        self._ended.note(run)
        del self._known.runs[run]
        if not open_spans:
            self._places.pop(run, None)
            self._held.pop(run, None)
        return made

    def _place(self, run: str) -> Place:
        place = self._places.get(run)
        if place is None:
            state = self._known.runs.get(run) or RunState(run)
            row = restore.restored(run_row(state, live=True), self._blob)
            place = self._places[run] = convert.place_of(row, self._options)
        return place

    def _pop(self, run: str, span: str) -> list[r.PointRow]:
        rows = self._held.get(run, {}).pop(span, [])
        self._count -= len(rows)
        return rows

    def _restored(self, rows: list[r.PointRow]) -> list[r.PointRow]:
        made = [restore.restored(row, self._blob) for row in rows]
        return sorted(made, key=lambda row: (row.ts_ns, row.id))

    def _blob(self, sha256: str) -> bytes:
        return blobs.get(self._home, sha256)

    def _bound(self) -> None:
        """Give up the oldest of what is held, if it is too much."""
        while self._count > MAX_RECORDS or len(self._known.runs) > MAX_REMEMBERED:
            run = next(iter(self._held), None)
            if run is None:
                run = next(iter(self._known.runs))
                del self._known.runs[run]
                continue
            dropped = sum(map(len, self._held.pop(run).values()))
            self._count -= dropped
            self.lost += dropped


class _Spans:
    """The ids of a run's spans, as far as they are remembered."""

    def __init__(self, run: str, *known: Any) -> None:
        self._run = run
        self._known = known

    def __contains__(self, span: object) -> bool:
        return any((self._run, span) in one for one in self._known)
