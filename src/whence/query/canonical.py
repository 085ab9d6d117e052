"""How a predicate is written: a predicate goes in, the one text that stands for it comes out.

The text has parentheses only where they are needed, full field names, and shorthands spelled out,
so that filters that mean the same tree look the same. Nothing is checked here.
"""

from __future__ import annotations

from whence.query.literals import write_value
from whence.query.tokens import key
from whence.store.predicate import (
    ALWAYS,
    And,
    Compare,
    FieldRef,
    In,
    IsNull,
    Literal_,
    Not,
    Or,
    Predicate,
    Related,
)

_EITHER, _BOTH, _TERM = 0, 1, 2


def show(predicate: Predicate) -> str:
    """Return the canonical text of `predicate`, which parses to an equal tree on its table."""
    return "" if predicate == ALWAYS else _shown(predicate, _EITHER)


def _shown(predicate: Predicate, place: int) -> str:  # noqa: PLR0911 - one case a node
    match predicate:
        case And((only,)) | Or((only,)):
            return _shown(only, place)
        case And(terms):
            text = " and ".join(_shown(term, _TERM) for term in terms)
            return _closed(text, "true", is_open=place > _BOTH)
        case Or(terms):
            text = " or ".join(_shown(term, _BOTH) for term in terms)
            return _closed(text, "false", is_open=place > _EITHER)
        case Not(term):
            return _negated(term)
        case Related():
            return _function(predicate)
        case Compare(field, operator, value):
            return _compared(field, "~" if operator == "contains" else operator, value)
        case In():
            return _listed(predicate, "in")
        case IsNull(field):
            return f"{_name(field)} is null"


def _closed(text: str, empty: str, *, is_open: bool) -> str:
    return f"({text})" if text and is_open else text or empty


def _negated(term: Predicate) -> str:
    match term:
        case Compare(field, "contains", value):
            return _compared(field, "!~", value)
        case In():
            return _listed(term, "not in")
        case IsNull(field):
            return f"{_name(field)} is not null"
        case _:
            return f"not {_shown(term, _TERM)}"


def _function(related: Related) -> str:
    match related:
        case Related(table, Not(where), "=", 0):
            return f"all({table}, {_shown(where, _EITHER)})"
        case Related(table, where, operator, count):
            more = "" if where == ALWAYS else f", {_shown(where, _EITHER)}"
            if (operator, count) == (">", 0):
                return f"any({table}{more})"
            return f"count({table}{more}) {operator} {count}"


def _compared(field: FieldRef, sign: str, value: Literal_) -> str:
    return f"{_name(field)} {sign} {_value(field, value)}"


def _listed(term: In, word: str) -> str:
    values = ", ".join(_value(term.field, value) for value in term.values)
    return f"{_name(term.field)} {word} ({values})"


def _name(field: FieldRef) -> str:
    prefix = ("run",) if field.of_run else ()
    return ".".join((*prefix, field.name, *map(key, field.path)))


def _value(field: FieldRef, value: Literal_) -> str:
    return write_value(value, is_time=field.name.endswith("_ns") and not field.path)
