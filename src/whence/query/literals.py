"""The values of a filter: what compares with which field, and how a value is read and written.

Text compares with text, numbers with numbers, times with RFC 3339 strings and `now - 24h`, which
become integer nanoseconds here. What does not fit is refused with a message that shows what would.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, TypeAlias

from whence import _clock
from whence.query.tokens import Cursor, Token, quote

if TYPE_CHECKING:
    from whence.query.names import Operand
    from whence.store.fields import FieldType
    from whence.store.predicate import Operator

Value: TypeAlias = str | int | float | bool

OPERATORS: dict[str, tuple[Operator, bool]] = {
    "=": ("=", False),
    "==": ("=", False),
    "!=": ("!=", False),
    "<": ("<", False),
    "<=": ("<=", False),
    ">": (">", False),
    ">=": (">=", False),
    "~": ("contains", False),
    "!~": ("contains", True),
}
"""Operators as written: the predicate's operator, and whether its outcome is negated."""

UNIT_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9, "w": 604800 * 10**9}
"""Length of each unit of a duration, in nanoseconds."""

_EQUALITY = frozenset({"=", "==", "!="})
_ORDER = frozenset({"<", "<=", ">", ">="})
_CONTAINS = frozenset({"~", "!~"})
_ALLOWED: dict[FieldType, frozenset[str]] = {
    "text": _EQUALITY | _ORDER | _CONTAINS | {"in"},
    "integer": _EQUALITY | _ORDER | {"in"},
    "number": _EQUALITY | _ORDER | {"in"},
    "boolean": _EQUALITY,
    "tags": _EQUALITY | _CONTAINS | {"in"},
    "json": _EQUALITY | _ORDER | _CONTAINS | {"in"},
}
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_INT64_DIGITS = 19
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)
_SAMPLES: dict[FieldType, str] = {
    "text": '"draft"',
    "integer": "3",
    "number": "0.5",
    "boolean": "true",
    "tags": '"nightly"',
    "json": '3 or "draft"',
}


def check_operator(cursor: Cursor, operand: Operand, operator: Token) -> None:
    """Check that `operator`, a symbol or `in`, may be used on the operand.

    Raises:
        FilterError: It may not.
    """
    if operator.keyword in _ALLOWED[operand.field.type]:
        return
    known = " ".join(sign for sign in (*OPERATORS, "in") if sign in _ALLOWED[operand.field.type])
    cursor.fail(
        f"{operand.shown} is {operand.described}, to which {operator} does not apply; use {known}.",
        operator,
    )


def read_value(cursor: Cursor, operand: Operand, operator: Token, now_ns: int | None) -> Value:
    """Return the literal at the cursor and move past it.

    Args:
        cursor: Stands at the literal.
        operand: What it is compared with.
        operator: By which operator; it has been checked.
        now_ns: What `now` means, Unix nanoseconds; None for the clock's time.

    Returns:
        The value, of a type that the operand compares with; for a time, Unix nanoseconds.

    Raises:
        FilterError: It is no literal, or of another type.
    """
    start = cursor.token
    if operand.is_time and start.kind == "string":
        return _moment(cursor, cursor.take())
    if start.kind == "name" and start.text.lower() == "now":
        if not operand.is_time:
            cursor.fail(f"`now` compares with times only; {operand.shown} is {operand.described}.")
        return _now(cursor, now_ns)
    value = _literal(cursor, operand)
    _check_type(cursor, operand, operator, start, value)
    return value


def read_integer(cursor: Cursor, why: str) -> int:
    """Return the integer at the cursor and move past it.

    Raises:
        FilterError: It is something else; the message ends with `why`.
    """
    start = cursor.token
    value = _number(cursor) if start.kind == "number" or start.keyword == "-" else None
    if not isinstance(value, int):
        cursor.fail(f"Expected a whole number but found {start}; {why}.", start)
    return value


def write_value(value: Value | None, *, is_time: bool = False) -> str:
    """Return `value` as a literal; as an RFC 3339 string if it is an integer and `is_time`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return quote(value)
    if is_time and isinstance(value, int):
        return quote(_clock.format_ns(value).replace(".000000000", ""))
    return repr(value)


def _literal(cursor: Cursor, operand: Operand) -> Value:
    token = cursor.token
    match token.kind, token.keyword:
        case "string", _:
            return cursor.take().text
        case _, "true" | "false":
            return cursor.take().keyword == "true"
        case ("number", _) | (_, "-"):
            return _number(cursor)
        case _:
            return cursor.fail(_no_value(token, operand))


def _no_value(token: Token, operand: Operand) -> str:
    if token.keyword == "null":
        return "null has no order and is in no list; write `is null` or `is not null`."
    if token.kind == "duration":
        return f"A duration stands after `now -` only; write {_sample(operand)}."
    if token.kind == "name" and not token.keyword:
        return f"A value belongs here; if {token} is text, write {quote(token.text)}."
    return f"A value belongs here but found {token}; write {_sample(operand)}."


def _number(cursor: Cursor) -> int | float:
    minus = cursor.take_if("-")
    token = cursor.token
    start = minus or token
    if token.kind != "number":
        cursor.fail(f"Expected a number after `-` but found {token}; write -5 or -0.5.")
    cursor.take()
    sign = -1 if minus else 1
    if token.text.isdigit():
        digits = token.text.lstrip("0") or "0"
        # Counted before it is converted: int() itself refuses texts of some thousands of digits.
        value = sign * int(digits) if len(digits) <= _INT64_DIGITS else None
        if value is None or not _INT64_MIN <= value <= _INT64_MAX:
            cursor.fail("The integer does not fit in 64 bits; write it as 1e20, or as text.", start)
        return value
    number = sign * float(token.text)
    if not math.isfinite(number):
        cursor.fail(f"{token} is more than a number can hold; the largest is about 1.8e308.", start)
    return number


def _now(cursor: Cursor, now_ns: int | None) -> int:
    start = cursor.take()
    moment_ns = _clock.wall_ns() if now_ns is None else now_ns
    if not cursor.take_if("-"):
        return moment_ns
    token = cursor.token
    if token.kind != "duration":
        cursor.fail(f"Expected a duration such as 24h but found {token}; the units are s m h d w.")
    cursor.take()
    digits = token.text[:-1].lstrip("0") or "0"
    length_ns = int(digits[: _INT64_DIGITS + 1]) * UNIT_NS[token.text[-1]]
    return _checked_ns(cursor, start, moment_ns - length_ns)


def _moment(cursor: Cursor, token: Token) -> int:
    moment_ns = None
    if _MOMENT.fullmatch(token.text):
        try:
            moment_ns = _clock.parse_ns(token.text.upper())
        except ValueError:
            moment_ns = None
    if moment_ns is None:
        cursor.fail(
            f'{token} is not a date; write "2026-11-01", "2026-11-01T10:00:00Z" or now - 24h.',
            token,
        )
    return _checked_ns(cursor, token, moment_ns)


def _checked_ns(cursor: Cursor, token: Token, moment_ns: int) -> int:
    if not _INT64_MIN <= moment_ns <= _INT64_MAX:
        cursor.fail("The time is outside the years 1678 to 2262; write one within.", token)
    return moment_ns


def _check_type(
    cursor: Cursor, operand: Operand, operator: Token, start: Token, value: Value
) -> None:
    kind = operand.field.type
    is_text = isinstance(value, str)
    if kind == "json":
        if operator.keyword in _CONTAINS and not is_text:
            cursor.fail(f"{operator} looks for text; write {quote(start.text)}.", start)
        if operator.keyword in _ORDER and isinstance(value, bool):
            cursor.fail(f"true and false have no order; use = or != instead of {operator}.", start)
        return
    if kind in {"integer", "number"}:
        fits = not is_text and not isinstance(value, bool)
    else:
        fits = isinstance(value, bool) if kind == "boolean" else is_text
    if not fits:
        cursor.fail(
            f"{operand.shown} is {operand.described} and {start} is not; write {_sample(operand)}.",
            start,
        )


def _sample(operand: Operand) -> str:
    if operand.is_time:
        return 'a date as in "2026-11-01", or now - 24h'
    return f"a value as in {_SAMPLES[operand.field.type]}"
