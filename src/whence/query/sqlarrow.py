"""Rows of Python values into an Arrow table, by the DuckDB type of each column.

In come names, type texts as DuckDB writes them and rows; out comes a pyarrow table. A column
holding a value that its Arrow type has no room for (DuckDB's text for a date in the year 200000)
becomes text as a whole. Nothing is read from a store here.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from whence import _extras

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_SIMPLE: dict[str, Callable[[Any], Any]] = {
    '"NULL"': lambda pa: pa.null(),
    "BOOLEAN": lambda pa: pa.bool_(),
    "TINYINT": lambda pa: pa.int8(),
    "SMALLINT": lambda pa: pa.int16(),
    "INTEGER": lambda pa: pa.int32(),
    "BIGINT": lambda pa: pa.int64(),
    "UTINYINT": lambda pa: pa.uint8(),
    "USMALLINT": lambda pa: pa.uint16(),
    "UINTEGER": lambda pa: pa.uint32(),
    "UBIGINT": lambda pa: pa.uint64(),
    "HUGEINT": lambda pa: pa.int64(),
    "UHUGEINT": lambda pa: pa.int64(),
    "FLOAT": lambda pa: pa.float32(),
    "DOUBLE": lambda pa: pa.float64(),
    "DATE": lambda pa: pa.date32(),
    "TIME": lambda pa: pa.time64("us"),
    "TIMESTAMP": lambda pa: pa.timestamp("us"),
    "TIMESTAMP_S": lambda pa: pa.timestamp("s"),
    "TIMESTAMP_MS": lambda pa: pa.timestamp("ms"),
    "TIMESTAMP WITH TIME ZONE": lambda pa: pa.timestamp("us", "UTC"),
    "BLOB": lambda pa: pa.binary(),
    "GEOMETRY": lambda pa: pa.binary(),
}
_TOKEN = re.compile(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'|[()\[\],]|[^\s()\[\],"\']+')


def table(columns: Sequence[str], types: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Any:
    """Return the rows as a pyarrow table.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa: Any = _extras.require("pyarrow", "", "an Arrow table")
    arrays = [
        _array(pa, [row[place] for row in rows], arrow_type(pa, kind))
        for place, kind in enumerate(types)
    ]
    return pa.table(arrays, names=list(columns))


def arrow_type(pa: Any, name: str) -> Any:
    """Return the Arrow type for a DuckDB type text; text for types without a counterpart."""
    tokens = _TOKEN.findall(name)
    kind, rest = _parse(pa, tokens)
    return kind if not rest else pa.string()


def _array(pa: Any, values: list[Any], kind: Any) -> Any:
    # A sum is a HUGEINT and nearly always fits 64 bits, with which every tool computes; Arrow has
    # no integer beyond that.
    kinds = [kind, pa.decimal128(38, 0)] if kind == pa.int64() else [kind]
    for candidate in kinds:
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError):
            return pa.array(_keyed(pa, values, candidate), type=candidate)
    return pa.array([None if value is None else str(value) for value in values], type=pa.string())


def _keyed(pa: Any, values: list[Any], kind: Any) -> list[Any]:
    """Return the values as pyarrow takes them: maps as pairs, also inside lists and structs."""
    return (
        [_keyed_value(pa, value, kind) for value in values] if pa.types.is_nested(kind) else values
    )


def _keyed_value(pa: Any, value: Any, kind: Any) -> Any:
    if value is None or not pa.types.is_nested(kind):
        return value
    if pa.types.is_map(kind):
        pairs: Any = value.items()
        if list(value) == ["key", "value"] and isinstance(value["key"], list):
            # DuckDB's form for keys that cannot be keys of a dict.
            pairs = zip(value["key"], value["value"], strict=True)
        return [
            (_keyed_value(pa, key, kind.key_type), _keyed_value(pa, item, kind.item_type))
            for key, item in pairs
        ]
    if pa.types.is_struct(kind):
        return {field.name: _keyed_value(pa, value.get(field.name), field.type) for field in kind}
    return [_keyed_value(pa, item, kind.value_type) for item in value]


def _parse(pa: Any, tokens: list[str]) -> tuple[Any, list[str]]:
    head, rest = tokens[0], tokens[1:]
    if head == "STRUCT":
        kind, rest = _struct(pa, rest)
    elif head == "MAP":
        key, rest = _parse(pa, rest[1:])
        value, rest = _parse(pa, rest[1:])
        kind, rest = pa.map_(key, value), rest[1:]
    elif head == "DECIMAL" and rest[:1] == ["("]:
        kind, rest = pa.decimal128(int(rest[1]), int(rest[3])), rest[5:]
    else:
        words = [head]
        while rest and rest[0].isalpha():
            words.append(rest.pop(0))
        kind = _SIMPLE.get(" ".join(words), lambda pa: pa.string())(pa)
        if rest[:1] == ["("]:
            kind, rest = pa.string(), rest[_closing(rest) :]
    while rest[:1] == ["["]:
        size = rest[1] if rest[1] != "]" else ""
        kind = pa.list_(kind, int(size)) if size else pa.list_(kind)
        rest = rest[3:] if size else rest[2:]
    return kind, rest


def _struct(pa: Any, rest: list[str]) -> tuple[Any, list[str]]:
    fields: list[Any] = []
    while rest[0] != ")":
        name = rest[1]
        plain = name[1:-1].replace('""', '"') if name.startswith('"') else name
        kind, rest = _parse(pa, rest[2:])
        fields.append(pa.field(plain, kind))
    return pa.struct(fields), rest[1:]


def _closing(tokens: list[str]) -> int:
    depth = 0
    for place, mark in enumerate(tokens):
        depth += (mark == "(") - (mark == ")")
        if depth == 0:
            return place + 1
    return len(tokens)
