"""Which run and span the code at hand is in.

One context variable, so that tasks, threads and generators each have their own.

A new asyncio task starts with its creator's run; a new thread starts with none, unless the function
it runs went through `bind`. Another process takes a run up with `resume(traceparent)`.
"""

from __future__ import annotations

import contextvars
import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.capture.noop import NoOp
    from whence.capture.scopes import Scope

P = ParamSpec("P")
R = TypeVar("R")

current_scope: contextvars.ContextVar[Scope | NoOp | None] = contextvars.ContextVar(
    "whence_scope", default=None
)

copy_context = contextvars.copy_context


def bind(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` so that it runs in the run and span that are current now.

    Use it for threads: `executor.submit(whence.bind(work), item)`. One bound function may run in
    many threads at once.
    """
    scope = current_scope.get()

    @functools.wraps(function)
    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        token = current_scope.set(scope)
        try:
            return function(*args, **kwargs)
        finally:
            current_scope.reset(token)

    return bound
