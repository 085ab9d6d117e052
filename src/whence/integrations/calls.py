"""One call of a client library and the attempts it takes, each of which becomes a generation.

A client retries inside, so what the user's program called once may be several exchanges over HTTP.
Each is an `Attempt`, and a later one is linked to the one before: `retry_of` within a call, and,
inferred, `retry_of` or `fallback_for` where the user's program asks the same again in the same span
after a failure. Outside a run a call gets a run of its own. Nothing here raises into the user's
program.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from whence import _clock
from whence.capture import emit
from whence.capture.context import current_scope
from whence.capture.noop import NoOp
from whence.capture.scopes import Run, Scope, Span, open_run
from whence.capture.state import current as state
from whence.integrations.attempts import Attempt, Failure
from whence.integrations.formats import base

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from whence.integrations.formats.base import Form


class Suppressed:
    """Stands where a call would, so that what is called inside is not recorded again."""


SUPPRESSED = Suppressed()

current: ContextVar[Call | Suppressed | None] = ContextVar("whence_client_call", default=None)
"""The call that the code at hand is in: what is sent meanwhile belongs to it."""

program: list[Scope] = []
"""The run of the whole program, if there is one: for threads that were started outside it."""


class Call:
    """What the user's program called once."""

    __slots__ = (
        "_last",
        "_left",
        "_lock",
        "_open",
        "_own_run",
        "begun_ns",
        "options",
        "outer",
        "provider",
        "scope",
        "seen",
        "wide",
    )

    def __init__(self, scope: Scope | None, options: Any = None) -> None:
        self.scope = scope
        self.begun_ns = _clock.mono_ns()
        self.options = options
        """What the library was asked to send; for bodies that are read while they are sent."""
        self.outer: Call | None = None
        """The call that made this one in its turn."""
        self.provider: str | None = None
        """Who is asked, where the host does not tell and the library knows."""
        self.wide = False
        """Whether whatever is sent meanwhile belongs to it, over any client."""
        self.seen = 0
        """How many attempts were seen, those of calls inside it included."""
        self._own_run: Run | None = None
        self._open = 0
        self._left = False
        self._last: Attempt | None = None
        self._lock = threading.Lock()

    def begin(
        self, form: Form, model: str | None, provider: str, ask: Callable[[], Any], **more: Any
    ) -> Attempt | None:
        """Return a new attempt, its span begun; None where nothing is recorded.

        Args:
            form: The form of the API that is spoken.
            model: The model asked for.
            provider: Who is asked.
            ask: Returns the decoded body of the request; it is called once, when it is recorded.
            **more: What else the record is to say, beside what form and answer say.
        """
        name = f"{form.operation} {model}" if model else form.operation
        about = base.without_empty({"provider": provider, "model": model})
        span = self.begin_span(name, "generation", about)
        if span is None:
            return None
        before = self._last
        attempt = self._last = Attempt(span, form, ask, self.end_span)
        attempt.model, attempt.provider = model, provider
        attempt.more = {**more, **_telemetry_ids()}
        if before is not None and before.failed:
            attempt.follow(Failure(before), inferred=False)
        elif before is None and self._own_run is None:
            attempt.link_to_failure(cast("Scope", self.scope))
        return attempt

    def inside(self, options: Any) -> Call:
        """Return a call that this one makes in its turn, over a library that is observed too."""
        call = Call(self.scope, options)
        call.provider = self.provider
        call.outer = self
        return call

    def begin_span(self, name: str, kind: str, about: dict[str, Any]) -> Span | None:
        """Return a span of the call, begun; None where nothing is recorded."""
        if self.scope is None:
            self.scope = self.run_for(name)
            if self.scope is None:
                return None
        span = Span(name, kind, about)
        if isinstance(span.start(self.scope), NoOp):
            return None
        self.count(1)
        return span

    def run_for(self, name: str) -> Scope | None:
        """Return a run for a call outside any; the call that made this one shares its own."""
        if self.outer is not None:
            if self.outer.scope is None:
                self.outer.scope = self.outer.run_for(name)
            return self.outer.scope
        run = open_run(name)
        if isinstance(run, Run):
            self._own_run = run.start()
        return self._own_run

    def count(self, change: int) -> None:
        """Count spans that are open, in this call and in the one that made it."""
        with self._lock:
            self._open += change
            self.seen += change > 0
        if self.outer is not None:
            self.outer.count(change)

    @emit.never_raises
    def end_span(self, span: Span, error: BaseException | None) -> None:
        """End a span of the call; the exception, if any, is in the record of what it stands for."""
        span.finish(error if span.kind != "generation" else None)
        self.count(-1)
        self.settle(error)

    @emit.never_raises
    def leave(self, error: BaseException | None = None) -> None:
        """Take note that the user's program has its answer, or its exception."""
        self._left = True
        self.options = None
        self.settle(error)

    def settle(self, error: BaseException | None) -> None:
        """End the run of its own, if it has one and nothing is open any more."""
        with self._lock:
            if not self._left or self._open:
                return
            run, self._own_run = self._own_run, None
        last = self._last
        if last is not None and last.failed and run is None:
            last.remember(cast("Scope", self.scope))
        self._last = None
        if self.outer is not None:
            self.outer.settle(error)
        if run is not None:
            problem = error or (last.error if last is not None else None)
            if problem is None and last is not None and last.failed:
                run.set(status="failed")
            run.finish(problem)


def _telemetry_ids() -> dict[str, str]:
    """Return the ids of the current OpenTelemetry span, if the program makes such spans.

    Whoever imports those spans later can tell by them that they are about the same call.
    """
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {
        "otel_trace_id": f"{context.trace_id:032x}",
        "otel_span_id": f"{context.span_id:016x}",
    }


@contextmanager
def suppressed() -> Generator[None, None, None]:
    """Record no call that is made inside: for code that records its calls itself."""
    before = current.get()
    current.set(SUPPRESSED)
    try:
        yield
    finally:
        current.set(before)


def open_call(options: Any = None) -> Call | None:
    """Return a call of a client; None where nothing is to be recorded."""
    around = current.get()
    if not state.enabled or isinstance(around, Suppressed):
        return None
    if around is not None and around.wide:
        return around.inside(options)
    scope = current_scope.get()
    if scope is None and program:
        scope = program[-1]
    return None if isinstance(scope, NoOp) else Call(scope, options)
