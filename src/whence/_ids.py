"""Ids that are made once, at capture.

Unique without coordination, in time order, and valid in OpenTelemetry.

A run id is 128 bits in the shape of a UUIDv7 (RFC 9562 section 5.7), written as 32 hex digits
without dashes, so it is a trace id as well. A span or record id is 64 bits, 16 hex digits, taken
from a counter that starts at 33 bits of the time (in units of 2^30 ns, about a second) and 31
random bits. `renew` moves it up to the clock again each second in which something is recorded.
Within a process an id never repeats; across processes ids are compared together with their run, and
two processes that record 20,000 records a second each in one run meet once in 14 hours.
"""

from __future__ import annotations

import os
from itertools import count

from whence import _clock

_STILL_DRAWN = 1 << 16


def _start(now_ns: int) -> int:
    chosen = int.from_bytes(os.urandom(4), "big") >> 1
    return (now_ns >> 30 & 0x1_FFFF_FFFF) << 31 | chosen


next_number = count(_start(_clock.wall_ns())).__next__
"""Return a new 64-bit span or record id as a number, never 0. `renew` replaces it, so look it up
here for each id."""
_tail = count(int.from_bytes(os.urandom(10), "big"))
_ODD = (
    0x9E37_79B9_7F4A_7C15_F39D | 1
)  # odd, so that multiplying by it is one-to-one; the golden ratio, so that steps spread
_TAIL_MASK = (1 << 78) - 1


def new_run_id() -> str:
    """Return a new 128-bit run id as 32 hex digits."""
    if os.getpid() != _pid:
        reseed()
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


def new_id() -> str:
    """Return a new 64-bit span or record id as 16 hex digits."""
    return "%016x" % next_number()  # noqa: UP031 - faster than an f-string


def root_id(run: str) -> str:
    """Return the id of the span that stands for a run among systems that know only spans.

    It follows from the run's id, so that whoever has one can name the other.
    """
    import hashlib  # noqa: PLC0415 - importing whence has to be quick

    text = f"run {run}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def renew(now_ns: int) -> None:
    """Move the ids up to the clock, unless they are ahead of it.

    Threads that have looked the old counter up may still draw from it, one id each: the new one
    starts behind those.
    """
    global next_number  # noqa: PLW0603 - one counter a process is the point
    next_number = count(max(_start(now_ns), next_number() + _STILL_DRAWN)).__next__


def reseed() -> None:
    """Start the counters at new random places.

    Called in a forked child, which would repeat its parent's ids.
    """
    global next_number, _tail, _pid  # noqa: PLW0603 - one counter a process is the point
    _pid = os.getpid()
    next_number = count(_start(_clock.wall_ns())).__next__
    _tail = count(int.from_bytes(os.urandom(10), "big"))


def begin_fork() -> None:
    """Ask for the process at each id from now on, since a child may draw before it has reseeded."""
    global next_number, _next_of_parent
    if next_number is not _next_while_forking:
        _next_of_parent, next_number = next_number, _next_while_forking


def end_fork() -> None:
    """Draw as before: the process that forked is the parent."""
    global next_number  # noqa: PLW0603 - as above
    if next_number is _next_while_forking:
        next_number = _next_of_parent


def _next_while_forking() -> int:
    if os.getpid() != _pid:
        reseed()
        return next_number()
    return _next_of_parent()


_next_of_parent = next_number
_pid = os.getpid()
