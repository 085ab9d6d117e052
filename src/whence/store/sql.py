"""A predicate as SQL text with parameters, meaning exactly what `match` means in Python.

Comes in: a predicate, the table and an alias. Goes out: a boolean SQL expression that is never NULL, and its parameters in order. Every name is one
of our own fields, quoted; every value and JSON key of the user is a parameter. What differs between SQL engines is in `Dialect`.
"""

from __future__ import annotations

import math
import string
from typing import Any

import msgspec

from whence.store.fields import Field, fields_of
from whence.store.predicate import And, Compare, FieldRef, In, IsNull, Not, Or, Predicate, Related

_UPPER, _LOWER = string.ascii_uppercase, string.ascii_lowercase
_FOLD = str.maketrans(_UPPER, _LOWER)
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
    json_type: str = "json_type({json})"
    """Its type: `VARCHAR`, `BOOLEAN`, `DOUBLE`, `OBJECT`, or an integer type."""
    json_text: str = "json_extract_string({json}, '$')"
    """The text of a JSON string."""
    tags_any: str = "len(list_filter({tags}, lambda tag: {test})) > 0"
    """Whether any tag passes a test written with `tag`."""


DUCKDB = Dialect()


def compile_predicate(predicate: Predicate, table: str, alias: str = "t", dialect: Dialect = DUCKDB) -> Clause:
    """Return the predicate about the row `alias` of `table` as SQL.

    Raises:
        KeyError: The predicate names a table or field that there is not.
    """
    return _Compiler(dialect).compile(predicate, table, alias)


class _Compiler:
    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._aliases = 0

    def compile(self, predicate: Predicate, table: str, alias: str) -> Clause:
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
                    f"NOT EXISTS (SELECT 1 FROM runs {inner} WHERE {inner}.id = {alias}.run AND NOT {present.sql})",
                    present.parameters,
                )
            test = self._about_field(Compare(own, predicate.operator, predicate.value), "runs", inner)
            return Clause(
                f"EXISTS (SELECT 1 FROM runs {inner} WHERE {inner}.id = {alias}.run AND {test.sql})", test.parameters
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
        return _about_scalar(predicate, field, column)

    def _about_tags(self, compare: Compare, column: str) -> Clause:
        test = _text_test("tag", compare)
        if test is FALSE:
            return FALSE
        return Clause(f"coalesce({self.dialect.tags_any.format(tags=column, test=test.sql)}, false)", test.parameters)

    def _about_json(self, predicate: Compare | IsNull, column: Clause, path: tuple[str, ...]) -> Clause:
        value = self._at(column, path)
        kind = Clause(self.dialect.json_type.format(json=value.sql), value.parameters)
        if isinstance(predicate, IsNull):
            return Clause(f"(coalesce({kind.sql}, 'NULL') = 'NULL')", kind.parameters)
        literal = predicate.value
        if isinstance(literal, bool):
            if predicate.operator != "=":
                return FALSE
            text = "true" if literal else "false"
            return Clause(
                f"coalesce({kind.sql} = 'BOOLEAN' AND CAST({value.sql} AS VARCHAR) = '{text}', false)",
                (*kind.parameters, *value.parameters),
            )
        if isinstance(literal, str):
            test = _text_test(self.dialect.json_text.format(json=value.sql), predicate)
            return Clause(
                f"coalesce({kind.sql} = 'VARCHAR' AND {test.sql}, false)",
                (*kind.parameters, *value.parameters, *test.parameters),
            )
        if literal is None or predicate.operator == "contains":
            return FALSE
        as_double = _number_test(f"TRY_CAST({value.sql} AS DOUBLE)", predicate.operator, literal, whole=False)
        as_whole = _number_test(f"TRY_CAST({value.sql} AS HUGEINT)", predicate.operator, literal, whole=True)
        return Clause(
            f"coalesce(CASE WHEN {kind.sql} = 'DOUBLE' THEN {as_double.sql} "
            f"WHEN {kind.sql} IN ('BIGINT', 'UBIGINT', 'HUGEINT', 'UHUGEINT') THEN {as_whole.sql} ELSE false END, false)",
            (
                *kind.parameters,
                *(value.parameters if as_double.parameters else ()),
                *as_double.parameters,
                *kind.parameters,
                *(value.parameters if as_whole.parameters else ()),
                *as_whole.parameters,
            ),
        )

    def _at(self, column: Clause, path: tuple[str, ...]) -> Clause:
        """Return the JSON value that the keys lead to; a list has no keys, although a pointer would index it."""
        if not path:
            return column
        pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)
        found = Clause(self.dialect.json_at.format(json=column.sql, path="?"), (*column.parameters, pointer))
        for index, key in enumerate(path):
            if key.isdigit() or key == "-":
                above = self._at(column, path[:index])
                kind = self.dialect.json_type.format(json=above.sql)
                found = Clause(
                    f"CASE WHEN {kind} = 'OBJECT' THEN {found.sql} END", (*above.parameters, *found.parameters)
                )
        return found

    def _new_alias(self) -> str:
        self._aliases += 1
        return f"r{self._aliases}"


def _joined(word: str, clauses: list[Clause], empty: Clause) -> Clause:
    if not clauses:
        return empty
    sql = word.join(clause.sql for clause in clauses)
    return Clause(f"({sql})", tuple(p for clause in clauses for p in clause.parameters))


def _not(clause: Clause) -> Clause:
    return Clause(f"(NOT {clause.sql})", clause.parameters)


def _about_scalar(compare: Compare, field: Field, column: str) -> Clause:
    literal = compare.value
    if field.type == "text":
        test = _text_test(column, compare)
    elif field.type == "boolean":
        if not isinstance(literal, bool) or compare.operator != "=":
            return FALSE
        test = Clause(f"{column} = ?", (literal,))
    elif isinstance(literal, (bool, str)) or literal is None or compare.operator == "contains":
        return FALSE
    else:
        test = _number_test(column, compare.operator, literal, whole=field.type == "integer")
    return test if test is FALSE else Clause(f"coalesce({test.sql}, false)", test.parameters)


def _text_test(value: str, compare: Compare) -> Clause:
    literal = compare.value
    if not isinstance(literal, str):
        return FALSE
    if compare.operator == "contains":
        folded = literal.lower() if literal.isascii() else literal.translate(_FOLD)
        return Clause(f"contains(translate({value}, '{_UPPER}', '{_LOWER}'), ?)", (folded,))
    return Clause(f"{value} {compare.operator} ?", (literal,))


def _number_test(value: str, operator: str, literal: float, *, whole: bool) -> Clause:
    """Return an exact comparison, as Python makes it: neither side is rounded to the type of the other."""
    if whole:
        return _whole_test(value, operator, literal)
    if isinstance(literal, float):
        return Clause(f"{value} {operator} CAST(? AS DOUBLE)", (literal,))
    nearest = float(literal)
    if int(nearest) == literal:
        return Clause(f"{value} {operator} CAST(? AS DOUBLE)", (nearest,))
    if operator == "=":
        return Clause(f"({value} IS NOT NULL AND false)")
    # No double lies between the literal and its nearest double, so the strict and the inclusive comparison are the same one.
    above = nearest > literal
    sign = {"<": "<", "<=": "<", ">": ">=", ">=": ">="} if above else {"<": "<=", "<=": "<=", ">": ">", ">=": ">"}
    return Clause(f"{value} {sign[operator]} CAST(? AS DOUBLE)", (nearest,))


def _whole_test(value: str, operator: str, literal: float) -> Clause:
    if isinstance(literal, float) and math.isfinite(literal) and literal == int(literal):
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
        if "HUGEINT" in value:
            return Clause(f"{value} {operator} CAST(? AS HUGEINT)", (str(literal),))
        return Clause(f"({value} IS NOT NULL AND {'true' if holds else 'false'})")
    return Clause(f"{value} {operator} CAST(? AS BIGINT)", (literal,))
