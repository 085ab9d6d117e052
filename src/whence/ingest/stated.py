"""Times and ids as exports of platforms state them, in the form that records have.

Comes in: one value from a source, of any type. Goes out: the value in the form of a record's field,
or None where the source did not state one that a record can hold. Nothing here raises. Beside
`loose`, which takes parts as they are, this is for what platforms write in several units and forms:
data frames count time in whatever unit they like, and decimals are texts here and numbers there.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from whence.ingest import keys, loose

if TYPE_CHECKING:
    from whence.ingest.loose import Fields

_LAST_NS = 2**63
_UNITS_NS = ((10**11, 1_000_000_000), (10**14, 1_000_000), (10**17, 1_000))
"""Numbers below a limit count seconds, milliseconds, microseconds since 1970; else nanoseconds.

A time of this century in one unit is far from any time in another.
"""
_MS_NS = 1_000_000
_MAX_CHARS = 64


def time_ns(value: Any) -> int | None:
    """Return a time as Unix nanoseconds; None for what is no time between 1970 and 2262.

    Args:
        value: RFC 3339, without an offset taken as UTC; or a number since 1970, in the unit that
            its size tells; or MongoDB's `{"$date": ...}` or `{"$numberLong": ...}` of one of these.
    """
    if isinstance(value, dict):
        value = _of_mongodb(loose.mapping(value))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, str):
        return loose.time_ns(value) if len(value) <= _MAX_CHARS else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value - value != 0:
        return None
    if not 0 <= value < _LAST_NS:
        return None
    unit_ns = next((unit for limit, unit in _UNITS_NS if value < limit), 1)
    # Exactly what is written, which a product of floating-point numbers is not.
    found = int((Decimal(repr(value)) if isinstance(value, float) else value) * unit_ns)
    return found if found < _LAST_NS else None


def _of_mongodb(value: Fields) -> Any:
    """Return what an object of MongoDB's extended JSON stands for."""
    inner = value.get("$date", value.get("$numberLong"))
    if isinstance(inner, dict):
        inner = loose.mapping(inner).get("$numberLong")  # pyright: ignore[reportUnknownArgumentType]
    number_of = number(inner) if isinstance(inner, str) else None
    return inner if number_of is None else number_of


def length_ns(milliseconds: Any) -> int | None:
    """Return a length in milliseconds as nanoseconds; None for what is no length."""
    found = loose.amount(milliseconds)
    return None if found is None or found * _MS_NS >= _LAST_NS else round(found * _MS_NS)


def number(value: Any) -> float | None:
    """Return a finite number, also one that is written as text; None for anything else."""
    if isinstance(value, str) and 0 < len(value) <= _MAX_CHARS:
        try:
            value = float(value)
        except ValueError:
            return None
    return loose.number(value)


def figure(value: Any) -> int | float | None:
    """Return a number as `number` does, whole where it is a whole one."""
    found = number(value)
    return int(found) if found is not None and float(found).is_integer() else found


def run_id(form: str, known_as: str) -> str:
    """Return the id of a run: the source's own where it fits, else one that follows from it.

    Args:
        form: Name of the format, so that two systems may use one id.
        known_as: The source's id.
    """
    return known_as if keys.is_run_id(known_as) else keys.run_id(form, known_as)


def span_id(run: str, known_as: str) -> str:
    """Return the id of a span or record of a run: the source's own where it fits."""
    return known_as if keys.is_record_id(known_as) else keys.record_id(run, known_as)
