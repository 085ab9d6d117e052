"""What a predicate means, said in Python: a predicate goes in, a test of a row comes out.

This is the reference that every other store is compared with, so it follows the rules of
`whence.store.predicate` word by word and has no shortcuts that depend on the data. Rows of the same
run are fetched through `RelatedRows`; nothing is stored here.
"""

from __future__ import annotations

import operator
import string
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, cast

import msgspec

from whence.store.fields import fields_of
from whence.store.predicate import (
    And,
    Compare,
    FieldRef,
    In,
    IsNull,
    Literal_,
    Not,
    Operator,
    Or,
    Predicate,
    Related,
)
from whence.store.rows import Row, RunRow

Test: TypeAlias = Callable[[Row], bool]

_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_ORDERS: dict[Operator, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_COUNTS: dict[Operator, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class RelatedRows(Protocol):
    """How a predicate reaches the other rows of a run."""

    def run_of(self, row: Row) -> RunRow | None:
        """Return the run that `row` belongs to, itself if it is one; None if the run is unknown."""
        ...

    def rows_in_run(self, table: str, run_id: str) -> Sequence[Row]:
        """Return the rows of `table` in the run, in any order."""
        ...


def compile_predicate(  # noqa: C901, PLR0911 - one case a node
    predicate: Predicate, table: str, related: RelatedRows
) -> Test:
    """Return a function that tells whether a row of `table` satisfies `predicate`.

    Raises:
        KeyError: The predicate names a table or field that there is not.
    """
    match predicate:
        case And(terms):
            return _all([compile_predicate(term, table, related) for term in terms])
        case Or(terms):
            return _any([compile_predicate(term, table, related) for term in terms])
        case Not(term):
            holds = compile_predicate(term, table, related)
            return lambda row: not holds(row)
        case IsNull(field):
            get = _getter(field, table, related)
            return lambda row: get(row) is None
        case In(field, values):
            return _compared(field, table, related, _is_one_of(values))
        case Compare(field, "!=", value):
            equal = _compared(field, table, related, _equals(value))
            return lambda row: not equal(row)
        case Compare(field, "=", value):
            return _compared(field, table, related, _equals(value))
        case Compare(field, "contains", value):
            return _compared(field, table, related, _contains(value))
        case Compare(field, sign, value):
            return _compared(field, table, related, _ordered(_ORDERS[sign], value))
        case Related():
            return _counted(predicate, table, related)


def _all(tests: list[Test]) -> Test:
    return lambda row: all(test(row) for test in tests)


def _any(tests: list[Test]) -> Test:
    return lambda row: any(test(row) for test in tests)


def _counted(predicate: Related, table: str, related: RelatedRows) -> Test:
    holds = compile_predicate(predicate.where, predicate.table, related)
    agrees = _COUNTS[predicate.operator]

    def test(row: Row) -> bool:
        run_id = row.id if table == "runs" else row.run
        found = sum(holds(other) for other in related.rows_in_run(predicate.table, run_id))
        return agrees(found, predicate.count)

    return test


def _compared(
    field: FieldRef, table: str, related: RelatedRows, holds: Callable[[Any], bool]
) -> Test:
    get = _getter(field, table, related)
    home = "runs" if field.of_run else table
    if fields_of(home)[field.name].type == "tags" and not field.path:
        return lambda row: any(holds(tag) for tag in get(row) or ())
    return lambda row: holds(get(row))


def _getter(field: FieldRef, table: str, related: RelatedRows) -> Callable[[Row], Any]:
    name, path = field.name, field.path
    home = "runs" if field.of_run else table
    if name not in fields_of(home):
        raise KeyError(f"{home}.{name}")

    def get_own(row: Row) -> Any:
        return _at(getattr(row, name), path)

    def get_of_run(row: Row) -> Any:
        run = related.run_of(row)
        return None if run is None else _at(getattr(run, name), path)

    return get_of_run if field.of_run and table != "runs" else get_own


def _at(value: Any, path: tuple[str, ...]) -> Any:
    if path and isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    for key in path:
        if not isinstance(value, dict):
            return None
        value = cast("dict[str, Any]", value).get(key)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _comparable(value: Any, literal: Literal_) -> bool:
    if isinstance(literal, bool):
        return isinstance(value, bool)
    if isinstance(literal, str):
        return isinstance(value, str)
    return literal is not None and _is_number(value)


def _equals(literal: Literal_) -> Callable[[Any], bool]:
    return lambda value: _comparable(value, literal) and value == literal


def _is_one_of(literals: tuple[Literal_, ...]) -> Callable[[Any], bool]:
    tests = [_equals(literal) for literal in literals]
    return lambda value: any(equal(value) for equal in tests)


def _ordered(order: Callable[[Any, Any], bool], literal: Literal_) -> Callable[[Any], bool]:
    if isinstance(literal, bool):
        return lambda _value: False
    return lambda value: _comparable(value, literal) and order(value, literal)


def _contains(literal: Literal_) -> Callable[[Any], bool]:
    if not isinstance(literal, str):
        return lambda _value: False
    part = _fold(literal)
    return lambda value: isinstance(value, str) and part in _fold(value)


def _fold(text: str) -> str:
    # str.lower() would also fold letters beyond A-Z, which databases do each in their own way.
    return text.lower() if text.isascii() else text.translate(_FOLDED)
