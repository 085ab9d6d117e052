r"""The filter language: text goes in, a predicate that every store understands comes out.

Every name and type is checked here against the fields of the tables; nothing is evaluated. What is
wrong is a `FilterError` that points at the offending character. `show` is the way back.

    filter     = [ either ] ;
    either     = both , { "or" , both } ;
    both       = term , { "and" , term } ;
    term       = "not" , term | "(" , either , ")" | "true" | "false" | function | comparison ;
    function   = ( "any" | "all" ) , "(" , table , [ "," , either ] , ")"
               | "count" , "(" , table , [ "," , either ] , ")" , order , integer ;
    comparison = operand , [ test ] ;                          (* no test: the field is true *)
    test       = operator , value | "is" , [ "not" ] , "null"
               | [ "not" ] , "in" , "(" , [ value , { "," , value } ] , ")" ;
    operand    = name , { "." , key } | "score" , "(" , string , ")" ;
    key        = name | string ;
    operator   = order | "~" | "!~" ;                          (* contains, does not contain *)
    order      = "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" ;
    value      = string | number | "true" | "false" | "null" | "now" , [ "-" , duration ] ;
    number     = [ "-" ] , digits , [ "." , digits ] , [ exponent ] ;
    exponent   = ( "e" | "E" ) , [ "+" | "-" ] , digits ;
    duration   = digits , ( "s" | "m" | "h" | "d" | "w" ) ;
    string     = '"' , { character | escape } , '"' | "'" , { character | escape } , "'" ;
    escape     = "\" , ( '"' | "'" | "\" | "n" | "r" | "t" | "u" , 4 * hexdigit ) ;
    table      = name ;                                        (* singular or plural *)

`all` needs its second part, and `count` compares with an integer. Keywords may be in capitals.
"""

from __future__ import annotations

import msgspec

from whence.errors import FilterError
from whence.query.canonical import show
from whence.query.literals import (
    OPERATORS,
    Value,
    check_operator,
    read_integer,
    read_value,
)
from whence.query.names import Operand, resolve, resolve_score, resolve_table
from whence.query.tokens import Cursor, Token
from whence.store.predicate import (
    ALWAYS,
    And,
    Compare,
    In,
    IsNull,
    Not,
    Or,
    Predicate,
    Related,
)
from whence.store.rows import TABLES

__all__ = ["MAX_DEPTH", "parse", "show"]

MAX_DEPTH = 100
"""How deep `not`, parentheses and functions may be nested."""

_FUNCTIONS = frozenset({"any", "all", "count", "score"})


class _Scope(msgspec.Struct, frozen=True):
    """Where a part of the filter stands."""

    table: str
    """Table of the rows at hand."""
    now_ns: int | None
    """What `now` means, Unix nanoseconds; None for the clock's time."""
    depth: int = 0
    """How many parts are open around it."""


def parse(text: str, table: str, now_ns: int | None = None) -> Predicate:
    """Return what rows of `table` must satisfy according to `text`; every row satisfies blank text.

    Args:
        text: The filter.
        table: Table of the rows it is asked of.
        now_ns: What `now` means, Unix nanoseconds; the clock's time if not given.

    Returns:
        The predicate, its names and types checked.

    Raises:
        FilterError: The text is not a filter on that table.
        KeyError: There is no such table.
    """
    if table not in TABLES:
        raise KeyError(table)
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise FilterError(f"a filter is a text such as 'status = \"failed\"', not {text!r}")
    cursor = Cursor(text)
    if cursor.token.kind == "end":
        return ALWAYS
    predicate = _either(cursor, _Scope(table, now_ns))
    rest = cursor.token
    if rest.kind != "end":
        cursor.fail(f"Expected `and`, `or` or the end but found {rest}.")
    return predicate


def _either(cursor: Cursor, scope: _Scope) -> Predicate:
    # One function for both chains, so that a level of nesting costs few frames of Python's stack.
    alternatives = [[_term(cursor, scope)]]
    while word := cursor.take_if("and", "or"):
        term = _term(cursor, scope)
        if word.keyword == "and":
            alternatives[-1].append(term)
        else:
            alternatives.append([term])
    either = [terms[0] if len(terms) == 1 else And(tuple(terms)) for terms in alternatives]
    return either[0] if len(either) == 1 else Or(tuple(either))


def _term(cursor: Cursor, scope: _Scope) -> Predicate:
    negations = 0
    while word := cursor.take_if("not"):
        scope = _deeper(cursor, scope, word)
        negations += 1
    if opening := cursor.take_if("("):
        predicate = _either(cursor, _deeper(cursor, scope, opening))
        cursor.expect(")", "close the parenthesis after `and`, `or` or a comparison")
    elif constant := cursor.take_if("true", "false"):
        predicate = ALWAYS if constant.keyword == "true" else Or(())
    elif cursor.token.kind == "name" and cursor.following.keyword == "(":
        predicate = _function(cursor, scope)
    else:
        predicate = _comparison(cursor, scope, resolve(cursor, scope.table, _names(cursor)))
    for _ in range(negations):
        predicate = Not(predicate)
    return predicate


def _deeper(cursor: Cursor, scope: _Scope, opening: Token, table: str | None = None) -> _Scope:
    if scope.depth >= MAX_DEPTH:
        cursor.fail(f"The filter nests more than {MAX_DEPTH} deep; use fewer parentheses.", opening)
    return _Scope(table or scope.table, scope.now_ns, scope.depth + 1)


def _function(cursor: Cursor, scope: _Scope) -> Predicate:
    function = cursor.token
    word = function.text.lower()
    if word not in _FUNCTIONS:
        cursor.fail(f"There is no function {function}; there are any, all, count and score.")
    cursor.take()
    opening = cursor.expect("(", "it follows the name of a function")
    if word == "score":
        name = cursor.take()
        if name.kind != "string":
            cursor.fail(f'Expected a name in quotes but found {name}; write score("name").', name)
        cursor.expect(")", 'write score("name")')
        return _comparison(cursor, scope, resolve_score(function, name.text))
    table = resolve_table(cursor, cursor.take())
    where: Predicate = ALWAYS
    inner = _deeper(cursor, scope, opening, table)
    if cursor.take_if(","):
        where = _either(cursor, inner)
    elif word == "all":
        cursor.fail("`all` needs to know what must hold; write all(scores, passed).")
    cursor.expect(")", f"write {word}({table}, and what must hold)")
    if word == "any":
        return Related(table, where)
    if word == "all":
        return Related(table, Not(where), "=", 0)
    sign = cursor.token.keyword
    if sign not in OPERATORS or OPERATORS[sign][0] == "contains":
        cursor.fail(f"Expected a comparison but found {cursor.token}; write count({table}) > 3.")
    cursor.take()
    count = read_integer(cursor, f"write count({table}) > 3")
    return Related(table, where, OPERATORS[sign][0], count)


def _names(cursor: Cursor) -> list[Token]:
    first = cursor.token
    if first.kind in {"string", "number", "duration"}:
        cursor.fail(f"A filter starts with a field, not with a value; put {first} on the right.")
    if first.kind != "name" or first.keyword:
        cursor.fail(f'A comparison belongs here but found {first}; write one as in name = "draft".')
    names = [cursor.take()]
    while cursor.take_if("."):
        if cursor.token.kind not in {"name", "string"}:
            cursor.fail(f"A key belongs after the dot but found {cursor.token}; quote odd keys.")
        names.append(cursor.take())
    return names


def _comparison(cursor: Cursor, scope: _Scope, operand: Operand) -> Predicate:
    if operand.table is not None:
        _deeper(cursor, scope, operand.token)
    start = cursor.token
    if cursor.take_if("is"):
        negated = cursor.take_if("not")
        cursor.expect("null", "write `is null` or `is not null`")
        return operand.asks(_null(cursor, operand, start, negated=bool(negated)))
    negated = start.keyword == "not" and cursor.following.keyword == "in" and bool(cursor.take())
    if cursor.token.keyword == "in":
        found: Predicate = In(operand.ref, _values(cursor, scope, operand))
        return operand.asks(Not(found) if negated else found)
    if start.keyword not in OPERATORS:
        if operand.field.type == "boolean":
            return operand.asks(Compare(operand.ref, "=", value=True))
        hint = "= true" if operand.field.type == "json" else "is not null"
        name = operand.shown
        cursor.fail(f"{name} needs a comparison but found {start}; write {name[:-1]} {hint}`.")
    check_operator(cursor, operand, cursor.take())
    if cursor.token.keyword == "null" and start.keyword in {"=", "==", "!="}:
        cursor.take()
        return operand.asks(_null(cursor, operand, start, negated=start.keyword == "!="))
    operator, negated = OPERATORS[start.keyword]
    compared = Compare(operand.ref, operator, read_value(cursor, operand, start, scope.now_ns))
    return operand.asks(Not(compared) if negated else compared)


def _null(cursor: Cursor, operand: Operand, start: Token, *, negated: bool) -> Predicate:
    if operand.field.type == "tags":
        name = operand.ref.name
        cursor.fail(f'`{name}` is a list and never null; write {name} !~ "" for none.', start)
    return Not(IsNull(operand.ref)) if negated else IsNull(operand.ref)


def _values(cursor: Cursor, scope: _Scope, operand: Operand) -> tuple[Value, ...]:
    word = cursor.take()
    check_operator(cursor, operand, word)
    cursor.expect("(", 'the values stand in parentheses, as in ("a", "b")')
    values: list[Value] = []
    if cursor.take_if(")"):
        return ()
    while True:
        values.append(read_value(cursor, operand, word, scope.now_ns))
        if cursor.take_if(")"):
            return tuple(values)
        cursor.expect(",", "separate values by commas and close with `)`")
