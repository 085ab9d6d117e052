"""From the bytes of an answer to what the provider said: whole answers, event streams, errors.

Comes in: the status, the headers and the chunks as they arrive at the user's program. Goes out: one
`Outcome`. The bytes are read beside the client library, never instead of it; of a stream only what
it says is kept, not its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.integrations.formats import base

if TYPE_CHECKING:
    from whence.integrations.formats.base import Form, Stream

_MOST_BYTES = 64 << 20
_AWS_EVENTS = "application/vnd.amazon.eventstream"
_LAST = b"[DONE]"
_PRELUDE_BYTES = 12
_CRC_BYTES = 4


class Outcome(msgspec.Struct, frozen=True):
    """What came of one exchange with a provider."""

    status: int | None = None
    """The HTTP status; None where no answer came."""
    headers: Mapping[str, str] = {}
    """The headers of the answer, names in lower case."""
    body: Any = None
    """The decoded answer, put together if it was streamed."""
    content: bytes | None = None
    """The answer's bytes where they are no JSON: sound, an image."""
    streamed: bool = False
    """Whether it came as a stream of events."""
    whole: bool = True
    """Whether the provider's last word was read; False where the user's program stopped before."""
    error: BaseException | None = None
    """What ended it instead of an answer."""


class Reader:
    """Takes the chunks of one answer and tells its outcome at the end."""

    def __init__(self, form: Form, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._kind = headers.get("content-type", "").lower()
        self._encoding = headers.get("content-encoding", "").strip().lower()
        self._chunks: list[bytes] = []
        self._size = 0
        self._events: Events | None = None
        self._stream: Stream | None = None
        self._form = form
        if form.stream is not None and not self._encoding and self._is_stream:
            self._stream = form.stream()
            self._events = self._splitter()

    @property
    def _is_stream(self) -> bool:
        if self._form.lines:
            return "json" not in self._kind or "jsonl" in self._kind
        return self._kind.startswith(("text/event-stream", _AWS_EVENTS))

    def _splitter(self) -> Events:
        if self._form.lines:
            return LineEvents()
        return AwsEvents() if self._kind.startswith(_AWS_EVENTS) else SseEvents()

    @property
    def over(self) -> bool:
        """Whether the last event of a stream was taken, though the connection may still be open."""
        if self._stream is None or self._events is None:
            return False
        return self._events.done or (self._form.ends and self._stream.finished)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._size += len(chunk)
        if self._events is None or self._stream is None:
            if self._size <= _MOST_BYTES:
                self._chunks.append(chunk)
            return
        for event in self._events.feed(chunk):
            self._stream.add(event)

    def outcome(
        self, *, exhausted: bool, error: BaseException | None = None, unpack: Any = None
    ) -> Outcome:
        """Return what came of it.

        Args:
            exhausted: Whether the answer was read to its end.
            error: What ended it early, if it was not the user's program.
            unpack: Decodes bytes in the answer's content encoding.
        """
        body: Any = None
        content: bytes | None = None
        whole = exhausted
        if self._stream is not None:
            if exhausted and self._events is not None:
                for event in self._events.feed(b"\n"):
                    self._stream.add(event)
            body = self._stream.body()
            whole = exhausted or self._stream.finished or self.over
        elif self._size <= _MOST_BYTES:
            content = b"".join(self._chunks)
            if self._encoding and unpack is not None and content:
                content = cast("bytes", unpack(content))
            body, content, ended = self._read(content)
            whole = whole or ended
        return Outcome(
            status=self.status,
            headers=self.headers,
            body=body,
            content=content,
            streamed=self._is_stream,
            whole=whole,
            error=error,
        )

    def _read(self, content: bytes) -> tuple[Any, bytes | None, bool]:
        """Return body, content and whether it has an end, of an answer that was gathered."""
        if self._is_stream and self._form.stream is not None:
            stream = self._form.stream()
            for event in self._splitter().feed(content + b"\n"):
                stream.add(event)
            return stream.body(), None, stream.finished
        body = base.data_of(content) if "json" in self._kind or not self._kind else content
        return (None, content, False) if body is content else (body, None, False)


class Events:
    """Splits the bytes of a stream into events."""

    done = False
    """Whether an event said that it was the last."""

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Return the events that end in `chunk`."""
        raise NotImplementedError


class SseEvents(Events):
    """Server-sent events whose data is JSON.

    Source: HTML Living Standard, section 9.2.6. Fields other than `data` and `event` are left out.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._data: list[bytes] = []
        self._name = ""

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Return the events that end in `chunk`."""
        if (
            b"\n" not in chunk
        ):  # a long line: joining it at each chunk would take its length squared
            self._rest.append(chunk)
            return
        lines = b"".join([*self._rest, chunk]).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = [lines.pop()]
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:])
            elif line.startswith(b"event:"):
                self._name = line[6:].strip().decode("utf-8", "replace")
            elif not line.strip() and self._data:
                data, name = b"\n".join(self._data).strip(), self._name
                self._data, self._name = [], ""
                self.done = self.done or data == _LAST
                event = _event(data, name)
                if event is not None:
                    yield event


def _event(data: bytes, name: str) -> dict[str, Any] | None:
    """Return the data of an event, its name as its type if it has none; None if it is no object."""
    made = base.data_of(data)
    if not isinstance(made, dict):
        return None
    event = cast("dict[str, Any]", made)
    if name and "type" not in event and name != "message":
        event["type"] = name
    return event


class LineEvents(Events):
    """JSON lines, each of which is one event."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Return the events that end in `chunk`."""
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            event = _event(b"".join([*self._rest, line]), "message")
            self._rest = []
            if event is not None:
                yield event
        self._rest.append(rest)


class AwsEvents(Events):
    """The binary event stream of Amazon Bedrock, whose payloads hold an event in base64.

    Source: Smithy 2.0, "Amazon Event Stream Specification": total and header length, a checksum,
    headers, payload, a checksum; numbers are big-endian.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Return the events that end in `chunk`."""
        data = self._rest + chunk
        while len(data) >= _PRELUDE_BYTES:
            total, headers = struct.unpack_from(">II", data)
            if total < _PRELUDE_BYTES + _CRC_BYTES or total > _MOST_BYTES:
                data = b""  # not such a stream: there is no place to go on from
            if len(data) < total:
                break
            payload = data[_PRELUDE_BYTES + headers : total - _CRC_BYTES]
            data = data[total:]
            encoded = base.mapping(base.data_of(payload)).get("bytes")
            event = base.decoded(encoded) if isinstance(encoded, str) else None
            made = _event(event, "") if event else None
            if made is not None:
                yield made
        self._rest = data


def whole_answer(form: Form, status: int, headers: Mapping[str, str], content: bytes) -> Outcome:
    """Return the outcome of an answer that the client read at once, decoded as it was sent."""
    plain = {key: value for key, value in headers.items() if key != "content-encoding"}
    reader = Reader(form, status, plain)
    reader.feed(content)
    return reader.outcome(exhausted=True)
