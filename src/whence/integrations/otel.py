"""Records what an application's own OpenTelemetry instrumentation states.

    from whence.integrations.otel import WhenceSpanProcessor

    provider.add_span_processor(WhenceSpanProcessor())

Comes in: spans of a `TracerProvider` as they end. Goes out: records in the home, as `whence import`
would make them. The provider stays the application's: none is made, and the global one is not
touched. What ends a span waits for nothing; a thread of the processor's own writes. A call that
capture recorded as well is counted once (`doubles`), and spans that came from whence are passed
over.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from whence.capture import guard
from whence.capture.context import current_scope
from whence.capture.state import current as state
from whence.ingest.sink import Sink
from whence.ingest.traces import Traces
from whence.integrations import readable
from whence.integrations.doubles import Doubles
from whence.log.home import Home
from whence.record.run import RunStarted

if TYPE_CHECKING:
    from whence.ingest.otel import SpanIn
    from whence.record.base import Record

MAX_WAITING = 50_000
"""How many ended spans wait to be written at most; more are lost, and counted."""
BATCH_SPANS = 2_000
DELAY_S = 1.0
"""How long a span waits, so that what capture says of the same call is known by then."""
SETTLE_AFTER_NS = 60_000_000_000
"""How long a trace whose root is elsewhere has to be silent to be taken as ended."""
_MAX_RUNS = 10_000
_WHENCE = "whence"
_FLUSH_MS = 30_000


class WhenceSpanProcessor:
    """A span processor that records ended spans in a home.

    Args:
        home: The home folder; the one that `whence.configure` set if None.
        delay_s: How long spans wait to be written together, in seconds.
    """

    def __init__(
        self, home: str | os.PathLike[str] | None = None, *, delay_s: float = DELAY_S
    ) -> None:
        self._given_home = home
        self._delay_s = delay_s
        self._runs: OrderedDict[str, str] = OrderedDict()
        self.lost = 0
        """How many spans could not be recorded."""
        self._reset()
        if hasattr(os, "register_at_fork"):
            own = weakref.WeakMethod(self._after_fork)
            os.register_at_fork(after_in_child=lambda: (call := own()) and call())

    def _reset(self) -> None:
        self._spans: deque[Any] = deque()
        self._writing = threading.RLock()
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._sink: Sink | None = None
        self._traces: Traces | None = None
        self._doubles = Doubles()
        self._closed = False

    def _after_fork(self) -> None:
        if self._sink is not None:
            self._sink.disown()
        self._reset()

    def on_start(self, span: Any, parent_context: Any = None) -> None:  # noqa: ARG002 - the SDK's signature
        """Note the run in which a trace begins, if there is one."""
        if span.parent is None:
            scope = current_scope.get()
            run = getattr(scope, "run_id", None)
            if run:
                self._runs[f"{span.context.trace_id:032x}"] = run
                if len(self._runs) > _MAX_RUNS:
                    self._runs.popitem(last=False)

    def _on_ending(self, span: Any) -> None:
        """Do nothing: the SDK asks this of every processor."""

    def on_end(self, span: Any) -> None:
        """Take an ended span; it is written a moment later."""
        scope = span.instrumentation_scope
        if self._closed or not state.enabled or (scope is not None and scope.name == _WHENCE):
            return
        if len(self._spans) >= MAX_WAITING:
            self._lose(1, "more spans ended than could be written")
            return
        self._spans.append(span)
        if self._thread is None:
            self._start()
        elif len(self._spans) >= BATCH_SPANS:
            self._wake.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._work, name="whence-otel", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads: a flush and the shutdown write it all
                return
            self._thread = thread

    def _work(self) -> None:
        while not self._closed:
            self._wake.wait(self._delay_s)
            self._wake.clear()
            with self._writing:
                if not self._closed:
                    self._write(SETTLE_AFTER_NS)

    def force_flush(self, timeout_millis: int = _FLUSH_MS) -> bool:
        """Write what waits; return whether it was done in time."""
        if not self._writing.acquire(timeout=max(0, timeout_millis) / 1_000):
            return False
        try:
            return self._write(SETTLE_AFTER_NS)
        finally:
            self._writing.release()

    def shutdown(self) -> None:
        """Write what waits, end the runs whose root is elsewhere, and close the home."""
        with self._writing:
            if self._closed:
                return
            self._write(0)
            self._closed = True
            self._wake.set()
            if self._spans:
                self._lose(len(self._spans), "they could not be written before the end")
                self._spans.clear()
            sink, self._sink = self._sink, None
            if sink is not None:
                sink.__exit__(None, None, None)

    def _write(self, idle_ns: int) -> bool:
        """Write the spans that wait.

        Returns:
            Whether all of them are written.
        """
        while self._spans:
            taken = [self._spans.popleft() for _ in range(min(len(self._spans), BATCH_SPANS))]
            try:
                self._write_batch(taken)
            except Exception as error:  # noqa: BLE001 - the application must not learn of it
                if len(self._spans) + len(taken) <= MAX_WAITING and not self._closed and idle_ns:
                    self._spans.extendleft(reversed(taken))  # the disk may come back
                else:
                    self._lose(len(taken), guard.describe(error))
                guard.tell_once("otel", f"spans cannot be written: {guard.describe(error)}")
                return False
        try:
            self._settle(idle_ns)
        except Exception as error:  # noqa: BLE001 - as above
            guard.tell_once("otel", f"runs cannot be ended: {guard.describe(error)}")
            return False
        return True

    def _write_batch(self, given: list[Any]) -> None:
        sink, traces = self._open()
        self._doubles.catch_up(state.find_writer())
        spans = [made for one in given if (made := self._converted(one)) is not None]
        spans.sort(key=lambda span: (span.ended_ns, -span.begun_ns))  # from the inside out
        for span in spans:
            double = self._doubles.find(span)
            if double is not None:
                span.attributes = {
                    **span.attributes,
                    "openinference.span.kind": "CHAIN",
                    "same_call_run": double[0],
                    "same_call_as": double[1],
                }
        with sink.batch():
            for record in traces.records_of(spans):
                sink.take(self._placed(record))

    def _converted(self, span: Any) -> SpanIn | None:
        """Return a span as the importers take it; None if its project is not recorded.

        A span that cannot be converted is lost, and the others are not.
        """
        try:
            made = readable.span_in(span, content=state.capture_content, redact=_redact())
        except Exception as error:  # noqa: BLE001 - an attribute may be anything
            self._lose(1, guard.describe(error))
            return None
        project = made.origin.resource.get("service.name")
        return made if state.projects.get(str(project), True) else None

    def _placed(self, record: Record) -> Record:
        """Return a record; the start of a run with the run in which its trace began."""
        if isinstance(record, RunStarted):
            parent = self._runs.pop(record.run, None)
            if parent is not None and parent != record.run:
                return msgspec.structs.replace(record, parent_run=parent)
        return record

    def _settle(self, idle_ns: int) -> None:
        if self._sink is None or self._traces is None:
            return
        ends = list(self._traces.settle(idle_ns))
        if ends:
            with self._sink.batch():
                for record in ends:
                    self._sink.take(self._placed(record))

    def _open(self) -> tuple[Sink, Traces]:
        sink, traces = self._sink, self._traces
        if sink is None or traces is None:
            settings = state.load()
            home = Path(self._given_home) if self._given_home is not None else settings.home
            sink = self._sink = Sink(Home(home), durable=settings.durability != "process")
            traces = self._traces = Traces(sink)
        return sink, traces

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        guard.tell_once("otel lost", f"spans of OpenTelemetry could not be recorded: {why}")


def _redact() -> readable.Redact | None:
    """Return the function that `configure(redact=...)` set, with the path that it may not take."""
    redact = state.redact
    if redact is None:
        return None
    if state.redact_takes_path:
        return redact
    return lambda text, _path: redact(text)
