"""One exchange with a provider: a generation in a span of its own, and what it follows.

Comes in: the request when it is sent, the outcome when the answer has been read. Goes out: one
generation record. A failed exchange is remembered for a while by the span it was made in and by the
texts that were asked, so that what is tried instead can be linked to it. Once it is recorded,
nothing of request or answer is held.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from whence import _clock
from whence.capture import emit
from whence.integrations import looks
from whence.integrations.formats import base, responses

if TYPE_CHECKING:
    from whence.capture.scopes import Scope, Span
    from whence.integrations.answer import Outcome
    from whence.integrations.formats.base import Fields, Form

Ended = Callable[["Span", BaseException | None], Any]
"""Gets the span of an attempt and the exception that ended it, when it is over."""

_mono = _clock.mono_ns
_FIRST_ERROR_STATUS = 400
_MOST_REMEMBERED = 512
_MOST_LEVELS = 20
_ROLES = frozenset({"role", "type", "id", "name", "cache_control", "detail"})

_open: dict[int, Attempt] = {}
"""Attempts that nobody has ended yet: a stream that is left lying about is recorded at exit."""


class Failure:
    """What is remembered of a failed call, to link what is tried instead."""

    __slots__ = ("attempt", "model", "provider", "span_id")

    def __init__(self, attempt: Attempt) -> None:
        self.span_id = attempt.span_id
        self.provider = attempt.provider
        self.model = attempt.model
        self.attempt = attempt.number


_failures: dict[tuple[str, str | None, int], Failure] = {}


class Attempt:
    """One exchange with a provider, from the request to the end of the answer."""

    __slots__ = (
        "_ask",
        "_digest",
        "_ended",
        "_first_ns",
        "_lock",
        "_pid",
        "_span",
        "abandon",
        "begun_ns",
        "error",
        "failed",
        "form",
        "model",
        "more",
        "number",
        "provider",
        "span_id",
    )

    def __init__(
        self,
        span: Span,
        form: Form,
        ask: Callable[[], Any],
        ended: Ended,
    ) -> None:
        self._ended: Ended | None = ended
        self._span = span
        self.form = form
        self._ask: Callable[[], Any] | None = ask
        self._pid = os.getpid()
        self.begun_ns = _mono()
        self._first_ns: int | None = None
        self._digest: int | None = None
        self._lock = threading.Lock()
        self.span_id = span.id
        self.number = 1
        self.model: str | None = None
        self.provider = ""
        self.more: dict[str, Any] = {}
        self.failed = False
        self.error: BaseException | None = None
        self.abandon: Callable[[], None] | None = None
        """Ends it with what was seen so far, if it is a stream that is still open."""
        _open[id(self)] = self

    @property
    def span(self) -> Span:
        """The span it is recorded in."""
        return self._span

    def arrived(self) -> None:
        """Take note that the first chunk of a stream is there."""
        if self._first_ns is None:
            self._first_ns = _mono()

    def end(self, outcome: Outcome) -> None:
        """Record the exchange. A second call does nothing."""
        with self._lock:  # a stream may be closed by its reader and by a finalizer at once
            ended, self._ended = self._ended, None
        if ended is None or self._pid != os.getpid():
            return
        duration_ns = _mono() - self.begun_ns
        try:
            self._record(outcome, duration_ns)
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            emit.failed(error, self._span.run_id)
        _open.pop(id(self), None)
        ended(self._span, outcome.error)

    def _record(self, outcome: Outcome, duration_ns: int) -> None:
        fields = self._asked()
        sent: list[Any] = fields.get("media", [])
        told = self._answered(outcome)
        fields |= {key: value for key, value in told.items() if value is not None} | self.more
        if sent and told.get("media"):
            fields["media"] = [*sent, *told["media"]]
        fields["duration_ns"] = duration_ns
        if self._first_ns is not None and outcome.streamed:
            fields["first_chunk_ns"] = self._first_ns - self.begun_ns
        fields["attempt"] = self.number
        if self.failed:
            self._digest = _digest(fields)
        self._span.record_generation(**fields)
        if self.form is responses.RESPONSES:
            looks.remember(outcome.body, self._span)

    def _asked(self) -> Fields:
        ask, self._ask = self._ask, None
        body = ask() if ask is not None else None
        fields: Fields = {"operation": self.form.operation}
        said = self.form.asked(base.mapping(body))
        return fields | {key: value for key, value in said.items() if value is not None}

    def _answered(self, outcome: Outcome) -> Fields:
        fields = self._about(outcome)
        self.error = outcome.error
        if outcome.status is not None and outcome.status >= _FIRST_ERROR_STATUS:
            said = outcome.body if outcome.body is not None else _shown(outcome.content)
            fields["error"] = base.error_of(outcome.status, said)
        elif body := base.mapping(outcome.body):
            fields |= self.form.answered(body)
            if fields.get("error") is None and body.get("error"):  # some send it with status 200
                fields["error"] = base.error_of(None, body)
        elif outcome.content and self.form.heard is not None:
            kind = outcome.headers.get("content-type", "")
            fields |= self.form.heard(outcome.content, kind)
        if outcome.error is not None and _is_cancelled(outcome.error):
            self.failed = True
            fields["status"] = "cancelled"
        elif outcome.error is not None and fields.get("error") is None:
            fields["error"] = outcome.error
        if fields.get("error") is not None:
            self.failed = True
            fields["status"] = "error"
        elif not outcome.whole:
            fields["status"] = "cancelled"
        return fields

    def _about(self, outcome: Outcome) -> Fields:
        headers = outcome.headers
        status = outcome.status
        fields: Fields = {
            "request_id": headers.get("x-request-id") or headers.get("request-id"),
            "stream": True if outcome.streamed else None,
        }
        if status is not None and status >= _FIRST_ERROR_STATUS:
            fields["retry_after"] = headers.get("retry-after")
        return fields

    def link_to_failure(self, scope: Scope) -> None:
        """Link it to a failed call in the same span that asked the same, if there is one."""
        if not _failures or not any(
            key[:2] == (scope.run_id, scope.span_id) for key in list(_failures)
        ):
            return
        body = self._ask() if self._ask is not None else None
        self._digest = _digest(self.form.asked(base.mapping(body)))
        failure = _failures.pop((scope.run_id, scope.span_id, self._digest), None)
        if failure is not None:
            self.follow(failure, inferred=True)

    def follow(self, failure: Failure, *, inferred: bool) -> None:
        """Link it to what failed before: the same again, or something else instead."""
        if (failure.provider, failure.model) == (self.provider, self.model):
            self.number = failure.attempt + 1
            self._span.link("retry_of", self._span, source=failure.span_id, inferred=inferred)
        else:
            self._span.link("fallback_for", self._span, source=failure.span_id, inferred=inferred)

    def remember(self, scope: Scope) -> None:
        """Remember it as a failure of `scope`, for as long as not many others follow."""
        if self._digest is None:
            return
        _failures[scope.run_id, scope.span_id, self._digest] = Failure(self)
        if len(_failures) > _MOST_REMEMBERED:
            _failures.pop(next(iter(list(_failures))), None)  # the oldest


def _digest(asked: Fields) -> int:
    """Return a number that is the same for the same texts, however a provider has them put."""
    return hash((*_texts(asked.get("messages"), 0),))


def _texts(value: Any, depth: int) -> list[str]:
    if isinstance(value, str):
        return [value]
    if depth > _MOST_LEVELS:
        return []
    if isinstance(value, dict):
        items = cast("Mapping[str, Any]", value).items()
        return [t for key, item in items if key not in _ROLES for t in _texts(item, depth + 1)]
    if isinstance(value, list):
        return [t for item in cast("list[Any]", value) for t in _texts(item, depth + 1)]
    return []


def _shown(content: bytes | None) -> str | None:
    return content[:2000].decode("utf-8", "replace") if content else None


def _is_cancelled(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return not names.isdisjoint(
        {"CancelledError", "Cancelled", "GeneratorExit", "KeyboardInterrupt"}
    )


def _end_open() -> None:
    """Record what nobody ended: streams that were not read to their end nor closed."""
    from whence.integrations.answer import Outcome  # noqa: PLC0415 - only at exit

    for attempt in list(_open.values()):
        if attempt.abandon is not None:
            attempt.abandon()
        attempt.end(Outcome(whole=False))


atexit.register(_end_open)
