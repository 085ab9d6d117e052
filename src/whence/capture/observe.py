"""A decorator that makes a span of every call of a function.

The function may be plain, async, a generator or an async generator. A generator's span lasts from
its first step to its end or early close, and is current only while the generator itself runs, not
while its consumer does.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, overload

from whence.capture.context import current_scope
from whence.capture.scopes import Span
from whence.capture.state import current as state

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from types import TracebackType

    from whence.capture.noop import NoOp

F = TypeVar("F", bound=Callable[..., Any])


@overload
def observe(function: F, /) -> F: ...
@overload
def observe(
    *, name: str | None = None, kind: str = "step", capture_io: bool = True
) -> Callable[[F], F]: ...


def observe(
    function: Any = None, /, *, name: str | None = None, kind: str = "step", capture_io: bool = True
) -> Any:
    """Return the function so that each call is a span.

    Args:
        function: The function, when used without parentheses.
        name: Name of the span; the function's qualified name if None.
        kind: Kind of the span.
        capture_io: Whether arguments and result are recorded as input and output. `self` and `cls`
            are left out.
    """
    if function is None:
        return functools.partial(_decorate, name=name, kind=kind, capture_io=capture_io)
    return _decorate(function, name=name, kind=kind, capture_io=capture_io)


def _decorate(function: Any, *, name: str | None, kind: str, capture_io: bool) -> Any:
    if isinstance(function, (staticmethod, classmethod)):
        method = cast("Any", function)
        inner = _decorate(method.__func__, name=name, kind=kind, capture_io=capture_io)
        return method.__class__(inner)
    title = name or getattr(function, "__qualname__", repr(function)).replace("<locals>.", "")
    describe = _arguments_of(function) if capture_io else None

    def opened(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Span:
        return Span(title, kind, {"input": describe(args, kwargs)} if describe is not None else {})

    if inspect.isasyncgenfunction(function):
        return _wrap_async_generator(function, opened, capture_io)
    if inspect.isgeneratorfunction(function):
        return _wrap_generator(function, opened, capture_io)
    if inspect.iscoroutinefunction(function):
        return _wrap_async(function, opened, capture_io)
    return _wrap_plain(function, opened, capture_io)


Opened = Callable[[tuple[Any, ...], dict[str, Any]], Span]


def _wrap_plain(function: Any, opened: Opened, capture_io: bool) -> Any:  # noqa: FBT001
    @functools.wraps(function)
    def observed(*args: Any, **kwargs: Any) -> Any:
        if not state.enabled:
            return function(*args, **kwargs)
        with opened(args, kwargs) as span:
            result = function(*args, **kwargs)
            if capture_io and result is not None:
                span.set(output=result)
            return result

    return observed


def _wrap_async(function: Any, opened: Opened, capture_io: bool) -> Any:  # noqa: FBT001
    @functools.wraps(function)
    async def observed(*args: Any, **kwargs: Any) -> Any:
        if not state.enabled:
            return await function(*args, **kwargs)
        with opened(args, kwargs) as span:
            result = await function(*args, **kwargs)
            if capture_io and result is not None:
                span.set(output=result)
            return result

    return observed


def _wrap_generator(function: Any, opened: Opened, capture_io: bool) -> Any:  # noqa: FBT001
    @functools.wraps(function)
    def observed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        if not state.enabled:
            return (yield from function(*args, **kwargs))  # pyright: ignore[reportUnknownVariableType]
        inner = function(*args, **kwargs)
        with _Steps(opened(args, kwargs)) as steps:
            sent: Any = None
            throw: BaseException | None = None
            while True:
                try:
                    with steps:
                        item = inner.throw(throw) if throw is not None else inner.send(sent)
                except StopIteration as stop:
                    steps.finish(stop.value, capture_io)
                    return stop.value
                steps.count += 1
                try:
                    sent, throw = (yield item), None
                except GeneratorExit:
                    with steps:
                        inner.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - whatever is thrown in goes to the inner generator
                    throw = error

    return observed


def _wrap_async_generator(function: Any, opened: Opened, capture_io: bool) -> Any:  # noqa: FBT001
    @functools.wraps(function)
    async def observed(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        if not state.enabled:
            async for item in function(*args, **kwargs):
                yield item
            return
        inner = function(*args, **kwargs)
        with _Steps(opened(args, kwargs)) as steps:
            sent: Any = None
            throw: BaseException | None = None
            while True:
                try:
                    with steps:
                        item = await (
                            inner.athrow(throw) if throw is not None else inner.asend(sent)
                        )
                except StopAsyncIteration:
                    steps.finish(None, capture_io)
                    return
                steps.count += 1
                try:
                    sent, throw = (yield item), None
                except GeneratorExit:
                    with steps:
                        await inner.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - whatever is thrown in goes to the inner generator
                    throw = error

    return observed


class _Steps:
    """Makes a generator's span current while the generator runs.

    The span ends when the outer block is left.
    """

    def __init__(self, span: Span) -> None:
        self._span = span
        self._depth = 0
        self._previous: Any = None
        self.count = 0
        self._live: Span | NoOp | None = None

    def __enter__(self) -> Self:
        self._depth += 1
        self._previous = current_scope.get()
        if self._live is None:
            self._live = self._span.__enter__()
            current_scope.set(self._previous)
        elif isinstance(self._live, Span):
            current_scope.set(self._live)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth:
            current_scope.set(self._previous)
        else:
            self._span.__exit__(kind, error, stack)

    def finish(self, result: Any, capture_io: bool) -> None:  # noqa: FBT001
        """Record how many items came out, and the returned value if there is one."""
        if self._live is not None:
            self._live.set(output_count=self.count)
            if capture_io and result is not None:
                self._live.set(output=result)


def _arguments_of(function: Any) -> Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    """Return a function that names the arguments of a call.

    They are named by position where the signature is not to be had.
    """
    try:
        names = [
            p.name
            for p in inspect.signature(function).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        names = []
    skip = 1 if names[:1] in (["self"], ["cls"]) else 0

    def describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        named = dict(zip(names, args, strict=False))
        if len(args) > len(names):
            named["args"] = list(args[len(names) :])
        if skip:
            named.pop(names[0], None)
        named.update(kwargs)
        return named

    return describe
