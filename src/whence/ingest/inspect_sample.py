"""One sample of an Inspect log: a run with its spans, model calls, tool calls and scores.

Comes in: a sample as it is logged. Goes out: the records of its run; `inspect_events` makes those
of its events. Long texts of a log stand under `attachments` once and are put back where they were;
messages may stand in a pool. Both are bounded, so that a small log cannot stand for a huge one.

Source: inspect_ai `log/_log.py` (`EvalSample`), `log/_condense.py`, `event/_pool.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.ingest import loose, usage
from whence.ingest.base import Skipped
from whence.ingest.inspect_events import Events, Scored, score
from whence.record.event import Event
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.loose import Fields
    from whence.ingest.timeline import Timeline
    from whence.record.base import Record

_REFERENCES = ("attachment://", "tc://")
_MOST_DEPTH = 100
_MOST_CHARS = 1 << 30
"""How many characters may be put back in one sample."""
_NODE_CHARS = 8
_SHOWN_CHARS = 200
_KEPT = (
    "id",
    "epoch",
    "input",
    "choices",
    "target",
    "metadata",
    "sandbox",
    "files",
    "setup",
    "store",
    "limit",
    "invalidation",
    "total_time",
    "working_time",
)


class Place(msgspec.Struct, frozen=True):
    """Where a sample belongs."""

    where: str
    """What it is called in reports."""
    parent: str
    """Id of the run of its evaluation."""
    task: str
    """What was evaluated."""
    external_id: str
    """What the log calls the sample."""
    workflow: str | None
    """What the evaluation shares with others that were started together."""
    created_ns: int | None
    """When the evaluation began, Unix time."""


def records_of(given: Fields, line: Timeline, place: Place) -> Iterator[Record | Skipped]:
    """Yield the records of a sample."""
    transcript = loose.mapping(given.get("transcript"))  # where logs of 2024 have the events
    attachments = loose.mapping(given.get("attachments")) or loose.mapping(
        transcript.get("content")
    )
    texts = _Texts(attachments)
    stated = given.get("events") or transcript.get("events")
    events = loose.mappings(stated)
    times = [t for event in events if (t := loose.time_ns(event.get("timestamp"))) is not None]
    began_ns = loose.time_ns(given.get("started_at"))
    if began_ns is None:
        began_ns = min(times, default=place.created_ns)
    yield _started(texts.restored(given, _KEPT), given, line, place, began_ns)
    if not events:
        yield from _messages(texts.put_back(given.get("messages")), line)
    pool = _pool(given)
    reader = Events(line)
    yield from _attempts(given, texts, line, reader)
    reader.pair(events)
    for number, event in enumerate(events):
        kind = loose.name(event.get("event")) or "event"
        if kind == "model":
            event["input"] = _heard(event, pool, texts)
        restored = loose.mapping(texts.put_back({k: v for k, v in event.items() if k != "call"}))
        call = loose.mapping(event.get("call"))
        response_id = loose.text(loose.mapping(call.get("response")).get("id"))
        yield from reader.read(kind, restored, number, response_id)
    if texts.exhausted:
        yield Skipped(place.where, "texts are repeated too often; some are left as references")
    dropped = len(loose.sequence(stated)) - len(events)
    if dropped:
        yield Skipped(place.where, f"{dropped} events are not objects")
    yield from _ended(given, texts, line, reader.scored)


def _started(
    kept: Fields, given: Fields, line: Timeline, place: Place, began_ns: int | None, /
) -> RunStarted:
    used = given.get("model_usage")
    attributes = {k: v for k, v in kept.items() if v not in (None, {}, [])}
    if loose.mapping(used):
        attributes["declared"] = declared(used)
    if began_ns is None:
        attributes["undated"] = True
    return RunStarted(
        ts=line.at(began_ns),
        run=line.run,
        name=f"{place.task} {loose.name(given.get('id'))}",
        run_kind="sample",
        external_id=place.external_id,
        parent_run=place.parent,
        workflow=place.workflow,
        attributes=attributes,
    )


def declared(used: Any) -> Fields:
    """Return what is declared about tokens: by model as stated, and their sums."""
    sums: dict[str, float] = {}
    for stated in loose.mapping(used).values():
        figures = usage.figures(loose.mapping(stated))
        for name in figures.__struct_fields__:
            number = getattr(figures, name)
            if number is not None:
                sums[f"{name}_tokens"] = sums.get(f"{name}_tokens", 0) + number
    return {**sums, "model_usage": used}


class _Texts:
    """The attachments of a sample, put back where they were taken from."""

    def __init__(self, attachments: Fields) -> None:
        self._attachments = attachments
        self._left = _MOST_CHARS
        self.exhausted = False

    def restored(self, given: Fields, names: tuple[str, ...]) -> Fields:
        return {name: self.put_back(given[name]) for name in names if name in given}

    def put_back(self, value: Any, depth: int = _MOST_DEPTH) -> Any:
        """Return a value with its texts in place of references to them."""
        if isinstance(value, str):
            return self._text(value)
        if depth and isinstance(value, dict):
            fields = cast("Fields", value)
            return {key: self.put_back(item, depth - 1) for key, item in fields.items()}
        if depth and isinstance(value, list):
            return [self.put_back(item, depth - 1) for item in cast("list[Any]", value)]
        return value

    def _text(self, value: str) -> str:
        for prefix in _REFERENCES:
            if value.startswith(prefix):
                found = self._attachments.get(value.removeprefix(prefix))
                return found if isinstance(found, str) and self.affords(len(found)) else value
        return value

    def affords(self, chars: int) -> bool:
        """Whether so many characters may be put back; they count as put back if so."""
        if chars > self._left:
            self.exhausted = True
            return False
        self._left -= chars
        return True


def _pool(given: Fields) -> list[Any]:
    pool = given.get("message_pool")
    if not isinstance(pool, list):
        pool = loose.mapping(given.get("events_data")).get("messages")
    return loose.sequence(pool)


def _heard(event: Fields, pool: list[Any], texts: _Texts) -> Any:
    """Return the messages of a model call, which may be ranges of a pool."""
    refs = event.get("input_refs")
    if not isinstance(refs, list) or event.get("input"):
        return event.get("input")
    found: list[Any] = []
    for ref in loose.sequence(refs):
        bounds = [loose.count(n) for n in loose.sequence(ref)]
        if len(bounds) != 2 or None in bounds:  # noqa: PLR2004 - first and end
            continue
        for message in pool[bounds[0] : bounds[1]]:
            if not texts.affords(_size(message)):
                return found
            found.append(message)
    return found


def _size(value: Any, depth: int = _MOST_DEPTH) -> int:
    """Return about how many characters a value has."""
    if isinstance(value, str):
        return len(value)
    parts: list[Any] = []
    if depth and isinstance(value, dict):
        parts = [part for pair in cast("Fields", value).items() for part in pair]
    elif depth and isinstance(value, list):
        parts = cast("list[Any]", value)
    return _NODE_CHARS + sum(_size(part, depth - 1) for part in parts)


def _messages(messages: Any, line: Timeline) -> Iterator[Event]:
    """Yield what was said in a sample without events: nobody can tell the calls in it."""
    for number, message in enumerate(loose.mappings(messages)):
        role, content = loose.name(message.get("role")) or "somebody", message.get("content")
        said = content if isinstance(content, str) else ""
        yield Event(
            **line.point("message", number), message=f"{role}: {said}", data={"message": message}
        )


def _attempts(given: Fields, texts: _Texts, line: Timeline, reader: Events) -> Iterator[Record]:
    """Yield the attempts before the last one, each linked to the one that came next."""
    before: str | None = None
    for number, attempt in enumerate(loose.mappings(given.get("error_retries")), start=1):
        events = loose.mappings(texts.put_back(attempt.get("events")))
        span = line.id("attempt", number)
        if before is not None:
            yield _retried(before, span, line)
        yield from reader.attempt(events, number, error_of(attempt))
        message = loose.text(attempt.get("message")) or "an error"
        yield Event(
            **line.point("attempt", number, "failed", span=span),
            message=f"attempt {number} failed: {message}",
            level="warning",
            data={"attempt": {k: v for k, v in attempt.items() if k != "events"}},
        )
        before = span
    if before is not None:
        yield _retried(before, line.run, line)


def _retried(earlier: str, later: str, line: Timeline) -> Link:
    point = line.point("retry_of", earlier)
    return Link(**point, link_kind="retry_of", source=earlier, target=later)


def _ended(
    given: Fields, texts: _Texts, line: Timeline, scored: dict[str, Scored]
) -> Iterator[Record]:
    scores = loose.mapping(given.get("scores"))
    single = loose.mapping(given.get("score"))  # logs of early 2024 have one without a name
    if not scores and single:
        scores = {"score": single}
    if not scores:
        scores = {name: seen.score for name, seen in scored.items() if seen.score}
    for name, stated in scores.items():
        seen = scored.get(name, Scored())
        point = line.point("score", name, span=seen.span, at_ns=seen.at_ns)
        yield score(point, name, loose.mapping(texts.put_back(stated)))
    output = loose.mapping(given.get("output"))
    choice = loose.first(output.get("choices"))
    answer = texts.put_back(loose.mapping(choice.get("message")).get("content"))
    if answer:
        yield Output(
            **line.point("answer"),
            output_id=f"answer-{line.run[:16]}",
            output_kind="answer",
            summary=answer[:_SHOWN_CHARS] if isinstance(answer, str) else "",
            value=answer,
        )
    error = loose.mapping(given.get("error"))
    completed_ns = loose.time_ns(given.get("completed_at"))
    yield RunEnded(
        ts=line.at(completed_ns),
        run=line.run,
        status="failed" if error else "complete",
        duration_ns=loose.length_ns(given.get("total_time")),
        error=error_of(error) if error else None,
    )


def error_of(error: Fields) -> Fields:
    """Return an error of a log as a record has it."""
    message = loose.text(error.get("message")) or "an error"
    kind, bracket, said = message.partition("(")
    plain = bool(bracket) and kind.isidentifier()
    return {
        "type": kind if plain else loose.name(error.get("type")) or "error",
        "message": said.removesuffix(")").strip("'\"") if plain else message,
        **({"stack": error["traceback"]} if "traceback" in error else {}),
    }
