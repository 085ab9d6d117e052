"""What verbs go to when nothing is recorded: an object that takes every call and does nothing.

It stands in where recording is off, where a run was left out by its project or by sampling, and
where there is no current run, so that user code never has to ask. Its methods are spelled out
because `__getattr__` would cost three times as much.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal, Self

from whence.capture.context import current_scope

if TYPE_CHECKING:
    from types import TracebackType


class NoOp:
    """Takes every verb of a run and span and records nothing."""

    __slots__ = ()

    id = ""
    trace_id = ""
    status = "disabled"
    run_id = ""
    span_id = None
    stage = None
    recording = False

    def decide(self, /, name: str, what: Any, **_: Any) -> str:
        """Record nothing."""
        return ""

    def factor(self, /, name: str, raw_value: Any, **_: Any) -> str:
        """Record nothing."""
        return ""

    def source(self, /, source_type: str, source_key: str, **_: Any) -> str:
        """Record nothing."""
        return ""

    def score(self, /, name: str, value: Any, **_: Any) -> str:
        """Record nothing."""
        return ""

    def output(self, /, id: str, **_: Any) -> str:  # noqa: A002 - the public name is fixed by the API document
        """Record nothing."""
        return ""

    def link(self, /, kind: str, target: Any, **_: Any) -> str:
        """Record nothing."""
        return ""

    def event(self, /, message: str, **_: Any) -> str:
        """Record nothing."""
        return ""

    def tag(self, *names: str) -> None:
        """Record nothing."""

    def set(self, /, **attributes: Any) -> None:
        """Record nothing."""

    def flag(self, reason: str) -> str:
        """Record nothing."""
        return ""

    def record_generation(self, /, **fields: Any) -> str:
        """Record nothing."""
        return ""

    def tool_call(self, /, tool_name: str, **fields: Any) -> str:
        """Record nothing."""
        return ""

    def transformation(self, /, name: str, **fields: Any) -> str:
        """Record nothing."""
        return ""

    def start(self, within: Any = None) -> Self:
        """Record nothing."""
        return self

    def finish(self, error: BaseException | str | None = None) -> None:
        """Record nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> Literal[False]:
        return False

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> Literal[False]:
        return self.__exit__(kind, error, stack)

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "<whence: nothing is recorded here>"


class _Off(NoOp):
    """The one that all share: entering and leaving it calls no function of Python's.

    That is two of the three calls which a span costs that is not recorded.
    """

    __slots__ = ()


NOOP = _Off()
if not TYPE_CHECKING:
    _Off.__enter__ = staticmethod(repeat(NOOP).__next__)
    _Off.__exit__ = staticmethod(
        "".format
    )  # takes what it is told of an exception, answers nothing


class Muted(NoOp):
    """A run that is not recorded, and hides an outer run from what is called inside it."""

    __slots__ = ("_token",)

    def __enter__(self) -> Self:
        self._token = current_scope.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> Literal[False]:
        try:
            current_scope.reset(self._token)
        except ValueError:
            # The block was left in another context than it was entered in; that context never saw
            # this run.
            return False
        return False
