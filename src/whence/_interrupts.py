"""Tells what a signal handler raised from failures of our own.

A program may stop what it is doing with a signal: `signal.alarm`, and a handler that raises. The
exception comes out of whatever runs at that moment, code of ours included, and may be of any class.
It is the program's own, so it goes on to the program, where our failures and those of the user's
values never do. What another thread raises (`PyThreadState_SetAsyncExc`) cannot be told from them.
"""

from __future__ import annotations

from typing import cast

_CO_VARARGS = 0x04  # of `inspect`, which only programs that observe functions need


def pass_on(error: BaseException) -> None:
    """Raise an exception again if a signal handler raised it while we were at work.

    Raises:
        BaseException: It is the program's own.
    """
    if is_from_signal(error):
        raise error


def is_from_signal(error: BaseException) -> bool:
    """Whether a signal handler raised it: a function that was called with the frame it stopped.

    Returns:
        True if so.
    """
    entry = error.__traceback__
    while entry is not None and entry.tb_next is not None:
        stopped, entry = entry.tb_frame, entry.tb_next
        code = entry.tb_frame.f_code
        count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & _CO_VARARGS)
        values = entry.tb_frame.f_locals
        for name in code.co_varnames[:count]:
            value = values.get(name)
            given = cast("tuple[object, ...]", value) if type(value) is tuple else (value,)
            if any(one is stopped for one in given):
                return True
    return False
