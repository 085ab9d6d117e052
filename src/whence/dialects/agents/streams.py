"""Agents that give their answer piece by piece: the session lasts until the last piece.

Comes in: the generator that an agent's `run` returned. Goes out: one that behaves alike, in whose
steps the session is current, and whose end, failure or early close ends it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from whence.dialects.agents.session import Session


class SessionGenerator(Generator[Any, Any, Any]):
    """A generator inside a session."""

    def __init__(
        self,
        session: Session,
        inner: Generator[Any, Any, Any],
        end: Callable[[Any, BaseException | None], None],
    ) -> None:
        self._session = session
        self._inner = inner
        self._end = end

    def _step(self, step: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with self._session.current():
                return step(*arguments)
        except StopIteration as stop:
            self._end(stop.value, None)
            raise
        except BaseException as error:
            self._end(None, error)
            raise

    def send(self, value: Any, /) -> Any:
        """Go on to the next piece."""
        return self._step(self._inner.send, value)

    def throw(
        self,
        typ: Any,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
        /,
    ) -> Any:
        """Let the generator meet an exception."""
        del tb
        return self._step(self._inner.throw, val if isinstance(val, BaseException) else typ)

    def __del__(self) -> None:
        self.close()


class SessionAsyncGenerator(AsyncGenerator[Any, Any]):
    """An async generator inside a session."""

    def __init__(
        self,
        session: Session,
        inner: AsyncGenerator[Any, Any],
        end: Callable[[Any, BaseException | None], None],
    ) -> None:
        self._session = session
        self._inner = inner
        self._end = end

    async def _step(self, step: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with self._session.current():
                return await step(*arguments)
        except StopAsyncIteration:
            self._end(None, None)
            raise
        except BaseException as error:
            self._end(None, error)
            raise

    async def asend(self, value: Any, /) -> Any:
        """Go on to the next piece."""
        return await self._step(self._inner.asend, value)

    async def athrow(
        self,
        typ: Any,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
        /,
    ) -> Any:
        """Let the generator meet an exception."""
        del tb
        problem = val if isinstance(val, BaseException) else typ
        return await self._step(self._inner.athrow, problem)

    def __del__(self) -> None:
        # Nothing can be awaited here; the session of a stream that was dropped was cancelled.
        self._end(None, GeneratorExit())
