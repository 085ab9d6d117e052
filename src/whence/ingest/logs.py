"""Log records of OpenTelemetry become events of the runs and spans that they name.

Comes in: log records. Goes out: an event each; a score for an evaluation. A record that names no
trace belongs to no run and is kept so. Log records have no id, so theirs is a digest of what they
say; of two that are alike to the nanosecond in one request both are kept.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from whence import _clock
from whence.ingest import evidence, keys, semconv, values
from whence.ingest.otel import Happening, LogIn
from whence.record import codec
from whence.record.event import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whence.record.base import Record

_LEVELS = ("debug", "debug", "info", "warning", "error", "error")
_PER_LEVEL = 4
_MOST = 24
_EVENT_NAME = "event.name"
"""The attribute that named an event before OTLP 1.5 had a field for it."""


def records_of(given: Iterable[LogIn]) -> Iterator[Record]:
    """Yield a record for each log record."""
    alike: dict[str, int] = {}
    for log in given:
        digest = _digest(log)
        number = alike[digest] = alike.get(digest, 0) + 1
        event = _event_of(log)
        if event == semconv.EVALUATION_EVENT:
            about = {name: v for name, v in log.attributes.items() if name != _EVENT_NAME}
            happening = Happening(event, log.time_ns, about)
            yield evidence.evaluation(log.trace, log.span or None, happening, f"{digest}{number}")
            continue
        yield Event(
            ts=_clock.format_ns(log.time_ns),
            run=log.trace,
            span=log.span or None,
            id=keys.record_id(log.trace, log.span, "log", digest, str(number)),
            message=event or (log.body if isinstance(log.body, str) else "log"),
            level=_level(log),
            data=_data(log, event) or None,
        )


def _event_of(log: LogIn) -> str:
    named = log.event or log.attributes.get(_EVENT_NAME)
    return named if isinstance(named, str) else ""


def _level(log: LogIn) -> str:
    if 1 <= log.severity <= _MOST:
        return _LEVELS[(log.severity - 1) // _PER_LEVEL]
    return log.severity_text.lower() or "info"


def _data(log: LogIn, event: str) -> dict[str, Any]:
    data = {**log.origin.labels, **log.attributes}
    if log.body is not None and (event or not isinstance(log.body, str)):
        data["body"] = log.body
    return data


def _digest(log: LogIn) -> str:
    said = [log.time_ns, log.event, log.severity, log.body, log.attributes, log.origin.scope]
    settled = values.settled(said, lambda content, _encoding, _preview: {"": content.hex()})
    return hashlib.blake2b(codec.encode_json(settled), digest_size=16).hexdigest()
