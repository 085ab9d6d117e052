"""Ids, times and sums of money as document 2 (token provenance) writes them.

Ids are `prov_<n>`, `rel_<n>`, `usage_<n>`; the number is unique without coordination and in order
of time. Times are aware datetimes in UTC, in dicts RFC 3339 texts. Money is a decimal number.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import Any

from whence import _clock, _ids

_SECOND_NS = 1_000_000_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def new_id(prefix: str) -> str:
    """Return a new id such as `prov_8214565720323784`."""
    return f"{prefix}_{_ids.next_number()}"


def now() -> dt.datetime:
    """Return the time, in UTC."""
    return moment_of(_clock.wall_ns())


def moment_of(unix_ns: int) -> dt.datetime:
    """Return Unix nanoseconds as a time in UTC, cut to microseconds."""
    return _EPOCH + dt.timedelta(microseconds=unix_ns // 1_000)


def unix_ns(moment: dt.datetime) -> int:
    """Return a time as Unix nanoseconds; one without an offset is taken as UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
    return (aware - _EPOCH) // _MICROSECOND * 1_000


def as_moment(value: Any) -> dt.datetime | None:
    """Return a datetime or RFC 3339 text as a time in UTC; None for anything else."""
    try:
        if isinstance(value, dt.datetime):
            return moment_of(unix_ns(value))
        return moment_of(_clock.parse_ns(value)) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def as_text(moment: dt.datetime) -> str:
    """Return a time as an RFC 3339 text."""
    return _clock.format_ns(unix_ns(moment))


def as_money(value: Any) -> Decimal | None:
    """Return a number or its text as an exact decimal; None for anything else.

    A float is taken as the shortest decimal that stands for it, so 0.1 is a tenth. Infinities and
    what is not a number are None.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        money = value if isinstance(value, Decimal) else Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    return money if money.is_finite() else None
