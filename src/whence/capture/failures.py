"""Describes an exception for a record: its type, its message and its stack, bounded.

Comes in: the exception of a user's block, or what the program told of a failure. Goes out: the
`error` of a record. The values of variables are never in it. It is loaded with the first failure.
"""

from __future__ import annotations

import traceback
from typing import Any

from whence import _interrupts
from whence.capture import guard

_MAX_CHARS = 4_000
_MAX_STACK_CHARS = 8_000


class ToldError(Exception):
    """Stands for a failure of which the program told only a message."""


def describe(exception: BaseException) -> dict[str, Any]:
    """Return type, message and stack of an exception, bounded, without the values of variables."""
    if type(exception) is ToldError:
        return {"type": "error", "message": str(exception)[:_MAX_CHARS]}
    described = guard.describe(exception)
    message = described.partition(": ")[2]
    try:
        message = str(exception)[:_MAX_CHARS]
        stack = "".join(traceback.format_exception(exception, limit=-20, chain=True))[
            -_MAX_STACK_CHARS:
        ]
    except Exception as error:  # noqa: BLE001 - the user's __str__ may do anything
        _interrupts.pass_on(error)
        stack = "the stack could not be formatted"
    kind = type(exception)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    return {"type": name, "message": message, "stack": stack}
