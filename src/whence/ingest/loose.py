"""Takes parts out of JSON that somebody else wrote, whatever they turn out to be.

Comes in: any value. Goes out: the part in the one form that the caller can use, or None or nothing
where it is something else. Numbers that a record cannot hold and times that no calendar has count
as something else. Nothing here raises, and nothing is converted that would change what was said.
"""

from __future__ import annotations

import math
from typing import Any, cast

from whence import _clock

Fields = dict[str, Any]
_MOST = 2**53
"""Beyond this, floating-point numbers are no exact counts any more."""
_SECOND_NS = 1_000_000_000
_LAST_NS = 2**63


def mapping(value: Any) -> Fields:
    """Return a mapping; an empty one for anything else."""
    return cast("Fields", value) if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """Return a list; an empty one for anything else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def mappings(value: Any) -> list[Fields]:
    """Return the mappings among the items of a list."""
    return [cast("Fields", item) for item in sequence(value) if isinstance(item, dict)]


def first(value: Any) -> Fields:
    """Return the first mapping in a list; an empty one if there is none."""
    found = mappings(value)
    return found[0] if found else {}


def text(value: Any) -> str | None:
    """Return a text; None for anything else, and for an empty one."""
    return value if isinstance(value, str) and value else None


def name(value: Any) -> str | None:
    """Return a text, or a number as text; None for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value) if abs(value) < _MOST else None
    return text(value)


def number(value: Any) -> float | None:
    """Return a number that can be reckoned with; None for anything else, NaN and infinities."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int):
        return value if abs(value) < _MOST else None
    return value if math.isfinite(value) else None


def count(value: Any) -> int | None:
    """Return a whole number from 0 to 2^53; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if 0 <= value <= _MOST else None


def amount(value: Any) -> float | None:
    """Return a number that is not below 0, such as a cost; None for anything else."""
    found = number(value)
    return None if found is None or found < 0 else found


def length_ns(seconds: Any) -> int | None:
    """Return a length in seconds as nanoseconds; None for what is no length."""
    found = amount(seconds)
    return None if found is None or found * _SECOND_NS >= _LAST_NS else round(found * _SECOND_NS)


def time_ns(value: Any) -> int | None:
    """Return a time as Unix nanoseconds; None for what is no time between 1970 and 2262.

    Args:
        value: RFC 3339, without an offset taken as UTC; or Unix seconds.
    """
    if isinstance(value, str):
        try:
            found = _clock.parse_ns(value)
        except (ValueError, OverflowError):
            return None
        return found if 0 <= found < _LAST_NS else None
    return length_ns(value)
