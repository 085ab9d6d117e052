"""Streams that read along: the library gets every chunk as before, and what it gets is seen.

An answer that is streamed goes on long after the request was sent. What reads along ends the
exchange when the stream is exhausted, closed, broken off or forgotten, whichever is first.
"""

from __future__ import annotations

import functools
import importlib
import weakref
from typing import TYPE_CHECKING, Any, Protocol, cast

from whence.capture import emit
from whence.integrations.answer import Outcome, Reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from whence.integrations.formats.base import Form


class Exchange(Protocol):
    """What takes part in one request and its answer."""

    form: Form
    abandon: Callable[[], None] | None

    def arrived(self) -> None:
        """Take note that the first chunk of a stream is there."""
        ...

    def end(self, outcome: Outcome) -> None:
        """Take what came of it."""
        ...


def read_along(
    response: Any, exchange: Exchange, headers: dict[str, str], *, is_async: bool
) -> None:
    """Have the stream of a response of httpx or httpx2 read along for an exchange."""
    reader = Reader(exchange.form, response.status_code, headers)
    kind = cast("type[Any]", type(response))
    along = _stream_class(_package_of(kind), is_async)(response.stream, reader, exchange, kind)
    response.stream = along
    forgotten = weakref.WeakMethod(along.end_early)
    exchange.abandon = lambda: (found := forgotten()) and found()


class Along:
    """A stream that reads along.

    Subclasses add the iteration, as one of httpx's or httpx2's own streams.
    """

    def __init__(self, stream: Any, reader: Reader, exchange: Exchange, kind: type[Any]) -> None:
        self._stream = stream
        self._reader = reader
        self._exchange: Exchange | None = exchange
        self._kind = kind

    def _see(self, chunk: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        try:
            exchange.arrived()
            self._reader.feed(chunk)
            if self._reader.over:  # some programs do not read on, nor close what they have read
                self.end(exhausted=False)
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            emit.failed(error, "")

    def end(self, *, exhausted: bool, error: BaseException | None = None) -> None:
        """End the attempt with what was seen. A second call does nothing."""
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        try:
            outcome = self._reader.outcome(exhausted=exhausted, error=error, unpack=self._unpack)
        except Exception as failure:  # noqa: BLE001 - as above
            emit.failed(failure, "")
            outcome = Outcome(status=self._reader.status, whole=exhausted, error=error)
        exchange.end(outcome)

    def end_early(self) -> None:
        """End the attempt because nobody reads on."""
        self.end(exhausted=False)

    def _unpack(self, content: bytes) -> bytes:
        """Return bytes in the answer's content encoding decoded, as the library does it."""
        coded = {"content-encoding": self._reader.headers["content-encoding"]}
        return self._kind(200, headers=coded, content=content).content

    def __del__(self) -> None:
        self.end(exhausted=False)


def _package_of(kind: type[Any]) -> str:
    """Return which of the two packages a class of responses is of."""
    roots = (base.__module__.partition(".")[0] for base in kind.__mro__)
    return next((root for root in roots if root in {"httpx", "httpx2"}), "httpx2")


@functools.cache
def _stream_class(package: str, is_async: bool) -> Any:  # noqa: FBT001 - private, and a key of the cache
    """Return the class of streams that read along, for a package and its way of iterating."""
    module = importlib.import_module(package)
    return (
        _async_stream(module.AsyncByteStream) if is_async else _sync_stream(module.SyncByteStream)
    )


def _sync_stream(kind: Any) -> Any:
    class SyncAlong(Along, kind):  # type: ignore[misc]
        def __iter__(self) -> Iterator[bytes]:
            try:
                for chunk in self._stream:
                    self._see(chunk)
                    yield chunk
            except GeneratorExit:
                self.end(exhausted=False)
                raise
            except BaseException as error:
                self.end(exhausted=False, error=error)
                raise
            self.end(exhausted=True)

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                self.end(exhausted=False)

    return SyncAlong


def _async_stream(kind: Any) -> Any:
    class AsyncAlong(Along, kind):  # type: ignore[misc]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for chunk in self._stream:
                    self._see(chunk)
                    yield chunk
            except GeneratorExit:
                self.end(exhausted=False)
                raise
            except BaseException as error:
                self.end(exhausted=False, error=error)
                raise
            self.end(exhausted=True)

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                self.end(exhausted=False)

    return AsyncAlong
