"""Batches: many calls of a model that are asked for at once and answered hours later.

Asking for a batch calls no model yet: it becomes a span with what was asked for. Each result
becomes a generation when the user's program fetches it, under the id that the program gave the
request. Fetching results again in the same process records nothing again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.capture import emit
from whence.integrations.formats import base, chat, gemini, media, messages, responses

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.capture.scopes import Span
    from whence.integrations.answer import Outcome
    from whence.integrations.calls import Call
    from whence.integrations.formats.base import Fields, Form, Json

_MOST_REMEMBERED = 200_000
_FIRST_ERROR_STATUS = 400
_recorded: set[int] = set()
_spans: dict[str, str] = {}
"""Batch to the span in which this process asked for it."""

_OBJECTS = {
    "chat.completion": chat.CHAT,
    "response": responses.RESPONSES,
    "text_completion": chat.COMPLETION,
}


def of_openai(line: Json) -> tuple[Form, Fields] | None:
    """Return one result of an OpenAI batch; None for a line of another file.

    Source: OpenAI API reference, "The request output object".
    """
    answer = base.mapping(line.get("response"))
    if "custom_id" not in line or not (answer or line.get("error")):
        return None
    body = base.mapping(answer.get("body"))
    form = _OBJECTS.get(str(body.get("object")), media.EMBEDDINGS)
    status = answer.get("status_code")
    if line.get("error") or (isinstance(status, int) and status >= _FIRST_ERROR_STATUS):
        said = {"error": line["error"]} if line.get("error") else dict(body)
        return form, {"error": base.error_of(status, said), "status": "error"}
    return form, {**form.answered(body), "request_id": base.text(answer.get("request_id"))}


def of_anthropic(line: Json) -> tuple[Form, Fields] | None:
    """Return one result of an Anthropic batch; None for a line of another file.

    Source: Anthropic API reference, "Retrieve Message Batch results".
    """
    result = base.mapping(line.get("result"))
    kind = result.get("type")
    if "custom_id" not in line or not isinstance(kind, str):
        return None
    if kind == "succeeded":
        return messages.MESSAGES, messages.answered(base.mapping(result.get("message")))
    if kind == "canceled":
        return messages.MESSAGES, {"status": "cancelled"}
    inner = base.mapping(result.get("error")) or {"type": kind, "message": f"the request {kind}"}
    error = base.error_of(None, inner if "error" in inner else {"error": dict(inner)})
    return messages.MESSAGES, {"error": error, "status": "error"}


def of_gemini(line: Json) -> tuple[Form, Fields] | None:
    """Return one result of a Gemini batch, inline or from a file; None for another line."""
    if line.get("error"):
        return gemini.CONTENT, {"error": base.error_of(None, line), "status": "error"}
    answer = base.mapping(line.get("response"))
    return (gemini.CONTENT, gemini.answered(answer)) if answer else None


class Results:
    """Takes part in the fetching of results and records each as it passes."""

    def __init__(
        self,
        call: Call,
        provider: str,
        batch_id: str | None,
        read: Callable[[Json], tuple[Form, Fields] | None],
    ) -> None:
        self.form = base.Form("batch", _nothing, _nothing, self._taker, lines=True)
        self.abandon: Callable[[], None] | None = None
        self._call = call
        self._provider = provider
        self._batch_id = batch_id
        self._read = read
        self._span: Span | None = None
        self._count = 0

    def _taker(self) -> Results:
        return self

    @property
    def finished(self) -> bool:
        """Whether the last result was taken, which no line says."""
        return False

    def arrived(self) -> None:
        """Take no note: how fast results are fetched says nothing of a model."""

    def body(self) -> dict[str, Any]:
        """Return nothing: each result is recorded when it comes."""
        return {}

    def add(self, event: Json) -> None:
        """Record one result."""
        found = self._read(event)
        if found is None:
            return
        form, fields = found
        given = event.get("custom_id") or base.mapping(event.get("metadata")).get("key")
        own = given or event.get("key") or fields.get("response_id") or self._count
        self._count += 1
        key = hash((self._provider, self._batch_id or fields.get("response_id"), own))
        if key in _recorded:
            return
        if len(_recorded) >= _MOST_REMEMBERED:
            _recorded.clear()
        _recorded.add(key)
        if self._span is None:
            self._span = self._begin()
        if self._span is not None:
            said = {name: value for name, value in fields.items() if value is not None}
            self._span.record_generation(
                operation=form.operation,
                provider=self._provider,
                model=said.get("response_model"),
                batch_id=self._batch_id,
                custom_id=base.text(own),
                **{"service_tier": "batch", **said},
            )

    def _begin(self) -> Span | None:
        about = base.without_empty({"batch_id": self._batch_id, "provider": self._provider})
        span = self._call.begin_span("batch results", "step", about)
        earlier = _spans.get(self._batch_id or "")
        if span is not None and earlier is not None:
            span.link("continuation_of", span, source=earlier)
        return span

    def end(self, outcome: Outcome) -> None:
        """Take the results that did not come as lines, and end the span."""
        try:
            for line in results_in(base.mapping(outcome.body)):
                self.add(line)
            if self._span is not None:
                self._span.set(output_count=self._count)
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            emit.failed(error, "")
        if self._span is not None:
            self._call.end_span(self._span, outcome.error)
            self._span = None


def results_in(body: Json) -> list[Json]:
    """Return the results that stand in a Gemini batch itself."""
    output = base.mapping(base.mapping(body.get("metadata")).get("output"))
    for holder in (base.mapping(body.get("response")), output, base.mapping(body.get("dest"))):
        inner = gemini.either(holder, "inlinedResponses")
        listed = base.mappings(inner) or base.mappings(
            gemini.either(base.mapping(inner), "inlinedResponses")
        )
        if listed:
            return listed
    return []


class Created:
    """Takes part in asking for a batch and records what was asked for."""

    def __init__(self, call: Call, provider: str, ask: Callable[[], Any]) -> None:
        self.form = base.Form("batch", _nothing, _nothing)
        self.abandon: Callable[[], None] | None = None
        self._ask = ask
        self._call = call
        self._provider = provider
        self._span = call.begin_span("batch", "step", {"provider": provider})

    def arrived(self) -> None:
        """Take no note."""

    def end(self, outcome: Outcome) -> None:
        """Record what was asked for, and the id that the provider gave it."""
        span = self._span
        if span is None:
            return
        try:
            asked = base.mapping(self._ask())
            answer = base.mapping(outcome.body)
            batch_id = base.text(answer.get("id")) or base.text(answer.get("name"))
            listed = _requests_of(asked)
            said = {key: value for key, value in asked.items() if key not in {"requests", "batch"}}
            about = base.without_empty({**said, "batch_id": batch_id})
            span.set(**base.without_empty({"input": listed, "input_count": len(listed) or None}))
            span.set(**about)
            if batch_id is not None:
                _remember(batch_id, span.id)
            if outcome.status is not None and outcome.status >= _FIRST_ERROR_STATUS:
                span.set(status="error", error=base.error_of(outcome.status, outcome.body))
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            emit.failed(error, "")
        self._call.end_span(span, outcome.error)


def _requests_of(asked: Json) -> list[Json]:
    """Return the requests that stand in the body itself: Anthropic's, and Gemini's inline ones."""
    listed = base.mappings(asked.get("requests"))
    if listed:
        return listed
    config = base.mapping(gemini.either(base.mapping(asked.get("batch")), "inputConfig"))
    inner = base.mapping(config.get("requests"))
    return base.mappings(inner.get("requests"))


def _remember(batch_id: str, span_id: str) -> None:
    if len(_spans) >= _MOST_REMEMBERED:
        _spans.clear()
    _spans[batch_id] = span_id


def _nothing(_body: Json) -> Fields:
    return {}
