"""A predicate as SQL text with parameters, meaning exactly what `match` means in Python.

Comes in: a predicate, the table and an alias. Goes out: a boolean SQL expression that is never
NULL, and its parameters in order. Every name is one of our own fields, quoted; every value and JSON
key of the user is a parameter. What differs between SQL engines is in `Dialect`.
"""

from __future__ import annotations

import math
import string
from typing import TYPE_CHECKING, Any

import msgspec

from whence.store.fields import Field, fields_of
from whence.store.predicate import And, Compare, FieldRef, In, IsNull, Not, Or, Predicate, Related

if TYPE_CHECKING:
    from collections.abc import Sequence

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


class Clause(msgspec.Struct, frozen=True):
    """A piece of SQL and the parameters that its question marks stand for."""

    sql: str
    parameters: tuple[Any, ...] = ()


TRUE, FALSE = Clause("true"), Clause("false")


class Dialect(msgspec.Struct, frozen=True):
    """How one engine spells what the SQL standard does not."""

    json_at: str = "json_extract({json}, {path})"
    """The JSON value at a JSON pointer (RFC 6901)."""
    json_type: str = "json_type({json}, {path})"
    """Its type: `VARCHAR`, `BOOLEAN`, `DOUBLE`, `OBJECT`, or an integer type."""
    json_text: str = "json_extract_string({json}, {path})"
    """The text of the JSON string there."""
    matches: str = "regexp_matches({value}, ?)"
    """Whether a text matches an RE2 pattern."""
    tags_any: str = "len(list_filter({tags}, lambda tag: {test})) > 0"
    """Whether any tag passes a test written with `tag`."""


DUCKDB = Dialect()


def compile_predicate(
    predicate: Predicate, table: str, alias: str = "t", dialect: Dialect = DUCKDB
) -> Clause:
    """Return the predicate about the row `alias` of `table` as SQL.

    Raises:
        KeyError: The predicate names a table or field that there is not.
    """
    return _Compiler(dialect).compile(predicate, table, alias)


class _Compiler:
    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._aliases = 0

    def compile(self, predicate: Predicate, table: str, alias: str) -> Clause:  # noqa: PLR0911 - one return a form
        match predicate:
            case And(terms):
                return _joined(" AND ", [self.compile(term, table, alias) for term in terms], TRUE)
            case Or(terms):
                return _joined(" OR ", [self.compile(term, table, alias) for term in terms], FALSE)
            case Not(term):
                return _not(self.compile(term, table, alias))
            case Compare(field, "!=", value):
                return _not(self.compile(Compare(field, "=", value), table, alias))
            case In(field, values):
                among = _among(field, values, table, alias)
                if among is not None:
                    return among
                terms = tuple(Compare(field, "=", value) for value in values)
                return self.compile(Or(terms), table, alias)
            case Compare() | IsNull():
                return self._about_field(predicate, table, alias)
            case Related():
                return self._related(predicate, table, alias)

    def _related(self, related: Related, table: str, alias: str) -> Clause:
        inner = self._new_alias()
        where = self.compile(related.where, related.table, inner)
        run = f"{alias}.id" if table == "runs" else f"{alias}.run"
        source = f"FROM {related.table} {inner} WHERE {inner}.run = {run} AND {where.sql}"
        if (related.operator, related.count) in ((">", 0), (">=", 1), ("!=", 0)):
            return Clause(f"EXISTS (SELECT 1 {source})", where.parameters)
        if (related.operator, related.count) in (("=", 0), ("<", 1), ("<=", 0)):
            return Clause(f"NOT EXISTS (SELECT 1 {source})", where.parameters)
        count = f"coalesce((SELECT count(*) {source}), 0)"
        sign = "<>" if related.operator == "!=" else related.operator
        return Clause(f"({count} {sign} ?)", (*where.parameters, related.count))

    def _about_field(self, predicate: Compare | IsNull, table: str, alias: str) -> Clause:
        ref = predicate.field
        if ref.of_run and table != "runs":
            inner = self._new_alias()
            own = FieldRef(ref.name, ref.path)
            if isinstance(predicate, IsNull):
                present = self._about_field(IsNull(own), "runs", inner)
                return Clause(
                    f"NOT EXISTS (SELECT 1 FROM runs {inner} "
                    f"WHERE {inner}.id = {alias}.run AND NOT {present.sql})",
                    present.parameters,
                )
            test = self._about_field(
                Compare(own, predicate.operator, predicate.value), "runs", inner
            )
            return Clause(
                f"EXISTS (SELECT 1 FROM runs {inner} "
                f"WHERE {inner}.id = {alias}.run AND {test.sql})",
                test.parameters,
            )
        home = "runs" if ref.of_run else table
        field = fields_of(home)[ref.name]
        column = f'{alias}."{field.name}"'
        if field.type == "json":
            return self._about_json(predicate, Clause(column), ref.path)
        if isinstance(predicate, IsNull):
            return Clause("false") if field.type == "tags" else Clause(f"({column} IS NULL)")
        if field.type == "tags":
            return self._about_tags(predicate, column)
        return _about_scalar(predicate, field, column, self.dialect)

    def _about_tags(self, compare: Compare, column: str) -> Clause:
        test = _text_test("tag", compare, self.dialect)
        if test is FALSE:
            return FALSE
        return Clause(
            f"coalesce({self.dialect.tags_any.format(tags=column, test=test.sql)}, false)",
            test.parameters,
        )

    def _about_json(
        self, predicate: Compare | IsNull, column: Clause, path: tuple[str, ...]
    ) -> Clause:
        dialect = self.dialect
        at, fixed = _pointer(path), column.parameters
        guard = self._objects_above(column, path)

        def guarded(test: Clause) -> Clause:
            if guard is None:
                return test
            return Clause(
                f"(CASE WHEN {guard.sql} THEN {test.sql} ELSE false END)",
                (*guard.parameters, *test.parameters),
            )

        def spelled(template: str) -> Clause:
            return Clause(template.format(json=column.sql, path=at.sql), (*fixed, *at.parameters))

        kind = spelled(dialect.json_type)
        if isinstance(predicate, IsNull):
            present = guarded(Clause(f"(coalesce({kind.sql}, 'NULL') <> 'NULL')", kind.parameters))
            return _not(present)
        literal = predicate.value
        if isinstance(literal, bool):
            if predicate.operator != "=":
                return FALSE
            value = spelled(dialect.json_at)
            text = "true" if literal else "false"
            return guarded(
                Clause(
                    f"coalesce(CAST({value.sql} AS VARCHAR) = '{text}', false)", value.parameters
                )
            )
        if isinstance(literal, str):
            value = spelled(dialect.json_text)
            test = _text_test(value.sql, predicate, dialect)
            is_text = f"coalesce({kind.sql} = 'VARCHAR', false)"
            # The cheap test comes first: the type of a value is looked at only where its text fits.
            return guarded(
                Clause(
                    f"(CASE WHEN {test.sql} THEN {is_text} ELSE false END)",
                    (*value.parameters, *test.parameters, *kind.parameters),
                )
            )
        if literal is None or predicate.operator == "contains":
            return FALSE
        return guarded(_json_number(spelled(dialect.json_at), kind, predicate.operator, literal))

    def _objects_above(self, column: Clause, path: tuple[str, ...]) -> Clause | None:
        """Return the condition that no key indexes a list, as a pointer does with digits."""
        tests: list[Clause] = []
        for index, key in enumerate(path):
            if key.isdigit() or key == "-":
                above = _pointer(path[:index])
                kind = self.dialect.json_type.format(json=column.sql, path=above.sql)
                tests.append(
                    Clause(
                        f"coalesce({kind} = 'OBJECT', false)",
                        (*column.parameters, *above.parameters),
                    )
                )
        return _joined(" AND ", tests, TRUE) if tests else None

    def _new_alias(self) -> str:
        self._aliases += 1
        return f"r{self._aliases}"


def _pointer(path: tuple[str, ...]) -> Clause:
    """Return a JSON pointer as SQL text; as a parameter only where a literal could not carry it."""
    pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)
    if "\0" in pointer:
        return Clause("?", (pointer,))
    return Clause("'" + pointer.replace("'", "''") + "'")


def _json_number(value: Clause, kind: Clause, operator: str, literal: float) -> Clause:
    """Return an exact comparison of a JSON number; strings that look like numbers are none.

    A comparison of doubles that lets through whatever could fit comes first, since it parses the
    JSON once.
    """
    loose = {"=": "=", "<": "<=", "<=": "<=", ">": ">=", ">=": ">="}[operator]
    as_double = _number_test(f"TRY_CAST({value.sql} AS DOUBLE)", operator, literal, whole=False)
    as_whole = _number_test(f"TRY_CAST({value.sql} AS HUGEINT)", operator, literal, whole=True)
    return Clause(
        f"(CASE WHEN TRY_CAST({value.sql} AS DOUBLE) {loose} CAST(? AS DOUBLE) THEN "
        f"coalesce(CASE WHEN {kind.sql} = 'DOUBLE' THEN {as_double.sql} "
        f"WHEN {kind.sql} IN ('BIGINT', 'UBIGINT', 'HUGEINT', 'UHUGEINT') THEN {as_whole.sql} "
        "ELSE false END, false) "
        "ELSE false END)",
        (
            *value.parameters,
            float(literal),
            *kind.parameters,
            *value.parameters,
            *as_double.parameters,
            *kind.parameters,
            *value.parameters,
            *as_whole.parameters,
        ),
    )


def _joined(word: str, clauses: list[Clause], empty: Clause) -> Clause:
    if not clauses:
        return empty
    sql = word.join(clause.sql for clause in clauses)
    return Clause(f"({sql})", tuple(p for clause in clauses for p in clause.parameters))


def _not(clause: Clause) -> Clause:
    return Clause(f"(NOT {clause.sql})", clause.parameters)


def _among(ref: FieldRef, values: Sequence[Any], table: str, alias: str) -> Clause | None:
    """Return the test of a text against many texts; None where the terms have to stand alone.

    Six times faster than as many comparisons: 0.5 s instead of 3.2 s for 500 ids among a million.
    """
    if ref.path or (ref.of_run and table != "runs"):
        return None
    field = fields_of("runs" if ref.of_run else table)[ref.name]
    if field.type != "text" or not values or not all(type(value) is str for value in values):
        return None
    places = ", ".join("?" * len(values))
    return Clause(f'coalesce({alias}."{field.name}" IN ({places}), false)', tuple(values))


def _about_scalar(compare: Compare, field: Field, column: str, dialect: Dialect) -> Clause:
    literal = compare.value
    if field.type == "text":
        test = _text_test(column, compare, dialect)
    elif field.type == "boolean":
        if not isinstance(literal, bool) or compare.operator != "=":
            return FALSE
        test = Clause(f"{column} = ?", (literal,))
    elif isinstance(literal, (bool, str)) or literal is None or compare.operator == "contains":
        return FALSE
    else:
        test = _number_test(column, compare.operator, literal, whole=field.type == "integer")
    return test if test is FALSE else Clause(f"coalesce({test.sql}, false)", test.parameters)


def _text_test(value: str, compare: Compare, dialect: Dialect = DUCKDB) -> Clause:
    literal = compare.value
    if not isinstance(literal, str):
        return FALSE
    if compare.operator == "contains":
        return Clause(dialect.matches.format(value=value), (_pattern(literal),))
    return Clause(f"{value} {compare.operator} ?", (literal,))


def _pattern(literal: str) -> str:
    """Return an RE2 pattern that finds `literal`, whatever the case of A-Z in it.

    Ten times faster in DuckDB than folding the text first, and no flag would do: `(?i)` folds other
    letters too.
    """
    parts: list[str] = []
    for char in literal:
        if char in string.ascii_letters:
            parts.append(f"[{char.lower()}{char.upper()}]")
        elif char.isascii():
            parts.append(f"\\x{{{ord(char):x}}}")
        else:
            parts.append(char)
    return "".join(parts)


def _number_test(value: str, operator: str, literal: float, *, whole: bool) -> Clause:
    """Return an exact comparison, as Python makes it.

    Neither side is rounded to the type of the other.
    """
    if whole:
        return _whole_test(value, operator, literal)
    if isinstance(literal, float):
        return Clause(f"{value} {operator} CAST(? AS DOUBLE)", (literal,))
    nearest = float(literal)
    if int(nearest) == literal:
        return Clause(f"{value} {operator} CAST(? AS DOUBLE)", (nearest,))
    if operator == "=":
        return Clause(f"({value} IS NOT NULL AND false)")
    # No double lies between the literal and its nearest double, so the strict and the inclusive
    # comparison are the same one.
    above = nearest > literal
    sign = (
        {"<": "<", "<=": "<", ">": ">=", ">=": ">="}
        if above
        else {"<": "<=", "<=": "<=", ">": ">", ">=": ">"}
    )
    return Clause(f"{value} {sign[operator]} CAST(? AS DOUBLE)", (nearest,))


def _whole_test(value: str, operator: str, literal: int | float) -> Clause:  # noqa: PYI041 - told apart
    if isinstance(literal, float) and literal.is_integer():
        literal = int(literal)
    if isinstance(literal, float):
        if math.isnan(literal) or operator == "=":
            return Clause(f"({value} IS NOT NULL AND false)")
        if math.isinf(literal):
            holds = (literal > 0) == (operator in ("<", "<="))
            return Clause(f"({value} IS NOT NULL AND {'true' if holds else 'false'})")
        literal = math.floor(literal)
        operator = "<=" if operator in ("<", "<=") else ">"
    if not _INT_MIN <= literal <= _INT_MAX:
        holds = operator in ("<", "<=") if literal > 0 else operator in (">", ">=")
        if "HUGEINT" in value and -(2**127) <= literal < 2**127:
            return Clause(f"{value} {operator} CAST(? AS HUGEINT)", (str(literal),))
        return Clause(f"({value} IS NOT NULL AND {'true' if holds else 'false'})")
    return Clause(f"{value} {operator} CAST(? AS BIGINT)", (literal,))
