"""What a name in a filter means: names as written go in, a field and where to look for it come out.

In order: the row's own field, a table of the same run (`decision.confidence`), the run's field. A
few words are short for a field (`started`, `tag`) or, on runs, for rows of the run (`stage`,
`model`, `provider`, `score("name")`). Close names are suggested when nothing fits; no value and no
operator is looked at here.
"""

from __future__ import annotations

import difflib

import msgspec

from whence.query.tokens import Cursor, Token, key
from whence.store.fields import Field, fields_of
from whence.store.predicate import And, Compare, FieldRef, IsNull, Not, Predicate, Related
from whence.store.rows import TABLES

ALIASES = {"started": "started_ns", "ended": "ended_ns", "ts": "ts_ns", "tag": "tags"}
"""Words that are short for a field, wherever a table has that field."""

SHORTHANDS: dict[str, tuple[str, str, Predicate | None]] = {
    "stage": ("spans", "name", Compare(FieldRef("kind"), "=", "stage")),
    "model": ("generations", "model", None),
    "provider": ("generations", "provider", None),
}
"""Words that on runs ask about rows of the run: the table, the field, and what else must hold."""

_TABLE_NAMES = {name: table for table in TABLES for name in (table, table.removesuffix("s"))}
_WORDS = {
    "text": "text",
    "integer": "a number",
    "number": "a number",
    "boolean": "true or false",
    "tags": "a list of texts",
    "json": "JSON",
}


class Operand(msgspec.Struct, frozen=True):
    """The left side of a comparison, resolved."""

    ref: FieldRef
    """The field, seen from the rows it is looked up in."""
    field: Field
    """What the field is; with a path the values may be any JSON."""
    token: Token
    """The token to blame."""
    table: str | None = None
    """The table of the rows of the same run to look in; None for the row at hand or its run."""
    where: Predicate | None = None
    """What else those rows must satisfy."""
    is_shorthand: bool = False
    """Whether `is null` asks for the lack of such a row, rather than for a row with a null."""

    @property
    def is_time(self) -> bool:
        """Whether dates may be compared with it."""
        return self.field.is_time

    @property
    def shown(self) -> str:
        """The field as an error message names it."""
        return f"`{'.'.join((self.ref.name, *map(key, self.ref.path)))}`"

    @property
    def described(self) -> str:
        """What sort of field it is, as an error message says it."""
        return "a time" if self.is_time else _WORDS[self.field.type]

    def asks(self, predicate: Predicate) -> Predicate:
        """Return what the row at hand must satisfy so that the field satisfies `predicate`."""
        if self.table is None:
            return predicate
        if not self.is_shorthand:
            return Related(self.table, predicate)
        if isinstance(predicate, IsNull):
            return Related(self.table, self._with(Not(predicate)), "=", 0)
        return Related(self.table, self._with(predicate))

    def _with(self, predicate: Predicate) -> Predicate:
        return predicate if self.where is None else And((self.where, predicate))


def resolve(cursor: Cursor, table: str, names: list[Token]) -> Operand:
    """Return what the dotted `names` mean on rows of `table`.

    Raises:
        FilterError: There is no such field.
    """
    first = names[0]
    own = _field(table, first.text)
    if own is not None and (len(names) == 1 or _has_keys(table, own)):
        return _operand(cursor, table, own, names)
    if len(names) > 1 and (other := _TABLE_NAMES.get(first.text)):
        return _of_table(cursor, table, other, names[1:])
    if own is not None:
        return _operand(cursor, table, own, names)
    if table == "runs":
        if len(names) == 1 and (short := SHORTHANDS.get(first.text)):
            other, name, where = short
            field = fields_of(other)[name]
            return Operand(FieldRef(name), field, first, other, where, is_shorthand=True)
    elif (of_run := _field("runs", first.text)) is not None:
        return _operand(cursor, "runs", of_run, names, of_run=True)
    return cursor.fail(_unknown(table, first.text), first)


def resolve_score(token: Token, name: str) -> Operand:
    """Return the value of the scores called `name` in the run of the row at hand."""
    where = Compare(FieldRef("name"), "=", name)
    field = fields_of("scores")["value"]
    return Operand(FieldRef("value"), field, token, "scores", where, is_shorthand=True)


def resolve_table(cursor: Cursor, token: Token) -> str:
    """Return the table that `token` names in singular or plural.

    Raises:
        FilterError: It names none, or the runs, of which a row has exactly one.
    """
    table = _TABLE_NAMES.get(token.text)
    if table == "runs":
        cursor.fail("A row has exactly one run; write `run.status` to ask about it.", token)
    if table is None:
        close = _close(token.text, list(_TABLE_NAMES))
        hint = f"did you mean {close}" if close else f"the tables are {', '.join(TABLES)}"
        cursor.fail(f"There is no table {token}; {hint}{'?' if close else '.'}", token)
    return table


def _of_table(cursor: Cursor, table: str, other: str, names: list[Token]) -> Operand:
    field = _field(other, names[0].text)
    if field is None:
        cursor.fail(_unknown(other, names[0].text), names[0])
    of_run = other == "runs" and table != "runs"
    operand = _operand(cursor, other, field, names, of_run=of_run)
    is_near = other in {table, "runs"}
    return operand if is_near else msgspec.structs.replace(operand, table=other)


def _operand(
    cursor: Cursor, table: str, field: Field, names: list[Token], *, of_run: bool = False
) -> Operand:
    if len(names) == 1:
        return Operand(FieldRef(field.name, of_run=of_run), field, names[0])
    if not _has_keys(table, field):
        sort = "a list" if field.type == "json" else _WORDS[field.type]
        cursor.fail(f"`{field.name}` is {sort}, which has no keys; drop {names[1]}.", names[1])
    path = tuple(token.text for token in names[1:])
    return Operand(FieldRef(field.name, path, of_run=of_run), field, names[0])


def _field(table: str, name: str) -> Field | None:
    fields = fields_of(table)
    return fields.get(name) or fields.get(ALIASES.get(name, ""))


def _has_keys(table: str, field: Field) -> bool:
    if field.type != "json":
        return False
    row_fields = msgspec.structs.fields(TABLES[table])
    return not any(f.name == field.name and f.default_factory is list for f in row_fields)


def _unknown(table: str, name: str) -> str:
    known = [*fields_of(table), *(short for short in ALIASES if _field(table, short))]
    known += SHORTHANDS if table == "runs" else fields_of("runs")
    own_key = f"`attributes.{key(name)}`"
    if close := _close(name, known):
        return f"{table} have no field `{name}`; did you mean {close}, or {own_key} of your own?"
    return f"{table} have no field `{name}`; a key of your own is written {own_key}."


def _close(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name.lower(), dict.fromkeys(known), n=3, cutoff=0.6)
    return " or ".join(f"`{word}`" for word in close)
