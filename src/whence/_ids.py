"""Ids that are made once, at capture.

Unique without coordination, in time order, and valid in OpenTelemetry.

A run id is 128 bits in the shape of a UUIDv7 (RFC 9562 section 5.7), written as 32 hex digits
without dashes, so it is a trace id as well. A span or record id is 64 bits, 16 hex digits: 41 bits
of milliseconds, then a 23-bit counter that starts at a random place in every process. Within a
process an id repeats only after eight million ids in one millisecond; across processes ids are
compared together with their run.
"""

from __future__ import annotations

import os
from itertools import count

from whence import _clock

_counter = count(int.from_bytes(os.urandom(3), "big"))
_tail = count(int.from_bytes(os.urandom(10), "big"))
_ODD = (
    0x9E37_79B9_7F4A_7C15_F39D | 1
)  # odd, so that multiplying by it is one-to-one; the golden ratio, so that steps spread
_TAIL_MASK = (1 << 78) - 1


def new_run_id() -> str:
    """Return a new 128-bit run id as 32 hex digits."""
    millis = _clock.wall_ns() // 1_000_000
    tail = (
        next(_tail) * _ODD & _TAIL_MASK
    )  # a step through all 78-bit numbers that no other process is likely to meet
    value = (
        (millis & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (tail >> 68) << 64
        | 0x2 << 62
        | (tail & 0x3FFF_FFFF_FFFF_FFFF)
    )
    return f"{value:032x}"


def new_number(now_ns: int) -> int:
    """Return a new 64-bit span or record id of the time `now_ns` as a number, never 0."""
    return (now_ns >> 20 & 0x1FF_FFFF_FFFF) << 23 | next(_counter) & 0x7F_FFFF


def new_id(now_ns: int) -> str:
    """Return a new 64-bit span or record id of the time `now_ns` as 16 hex digits."""
    return "%016x" % new_number(now_ns)  # noqa: UP031 - faster than an f-string


def reseed() -> None:
    """Start the counter at a new random place.

    Called in a forked child, which would repeat its parent's ids.
    """
    global _counter, _tail  # noqa: PLW0603 - one counter a process is the point
    _counter = count(int.from_bytes(os.urandom(3), "big"))
    _tail = count(int.from_bytes(os.urandom(10), "big"))
