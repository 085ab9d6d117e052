"""Where failures of ours end.

They are counted as lost records and told once, and never reach the user's program.
"""

from __future__ import annotations

import sys

from whence import _interrupts

_told: set[str] = set()
_TELL_AT_MOST = 20


def tell_once(key: str, sentence: str) -> None:
    """Write one sentence to standard error, once a process for each key and twenty times in all."""
    if key in _told or len(_told) >= _TELL_AT_MOST:
        return
    _told.add(key)
    stream = sys.stderr
    if stream is None:  # a windowed or daemon process may have none
        return
    try:
        stream.write(f"whence: {sentence}\n")
    except Exception as error:  # noqa: BLE001 - closed, broken, or the user's own stream
        _interrupts.pass_on(error)
        return  # the loss is still counted and told by the gap record


def describe(error: BaseException) -> str:
    """Return class and message of an error in one line of at most 300 characters.

    It does so whatever the error's `__str__` does.
    """
    try:
        text = str(error)
    except Exception as failure:  # noqa: BLE001 - the user's __str__ may do anything
        _interrupts.pass_on(failure)
        text = "its message cannot be shown"
    return f"{type(error).__name__}: {text}"[:300].replace("\n", " ")
