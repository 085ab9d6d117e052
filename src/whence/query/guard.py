"""Decide whether a text is one read-only query, from DuckDB's own syntax tree.

In comes SQL written by a person, out comes nothing or `SqlRefused` naming what was found. The text
is parsed by DuckDB (`extract_statements` for the number of statements, `json_serialize_sql` for the
tree) and the whole tree is walked; nothing is decided from the text itself. What may appear is
listed, what is not listed is refused, so a construct that a later DuckDB adds stays refused until
somebody has read about it. The exception is scalar functions: they compute on their arguments and
are refused by name. This module never runs the query; `whence.query.sqlrun` does, behind walls that
hold without this one.

Source: docs/adr/0005-guarded-sql.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import duckdb
import msgspec

from whence.errors import SqlRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MAX_SQL_BYTES = 1_000_000
"""Longest accepted text, in UTF-8 bytes."""

QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
STRUCTURE = QUERY_NODES | {
    "EMPTY",
    "SUBQUERY",
    "JOIN",
    "EXPRESSION_LIST",
    "PIVOT",
    "ORDER_MODIFIER",
    "DISTINCT_MODIFIER",
    "LIMIT_MODIFIER",
    "LIMIT_PERCENT_MODIFIER",
    "ORDER_DEFAULT",
    "ASCENDING",
    "DESCENDING",
}
"""What a query is built of besides expressions and the references checked one by one."""

EXPRESSION_CLASSES = frozenset(
    {
        "BETWEEN",
        "CASE",
        "CAST",
        "COLLATE",
        "COLUMN_REF",
        "COMPARISON",
        "CONJUNCTION",
        "CONSTANT",
        "DEFAULT",
        "FUNCTION",
        "LAMBDA",
        "LAMBDA_REF",
        "OPERATOR",
        "POSITIONAL_REFERENCE",
        "STAR",
        "SUBQUERY",
        "TYPE",
        "WINDOW",
    }
)
TABLE_FUNCTIONS = frozenset(
    {
        "generate_series",
        "json_each",
        "json_tree",
        "range",
        "repeat",
        "unnest",
    }
)
INFORMATION_VIEWS = frozenset({"columns", "tables"})

REFUSED_FUNCTIONS = frozenset(
    {
        "current_setting",
        "currval",
        "format_type",
        "get_block_size",
        "getenv",
        "getvariable",
        "glob",
        "index_key",
        "json_deserialize_sql",
        "json_execute_serialized_sql",
        "json_serialize_plan",
        "json_serialize_sql",
        "nextval",
        "query",
        "query_table",
        "setseed",
        "setval",
        "stats",
        "which_secret",
        "write_log",
    }
)
"""Scalar functions that read settings, secrets or the catalog, change state, or plan a second
query."""

REFUSED_PREFIXES = (
    "__internal_",
    "copy_",
    "disable_",
    "duckdb_",
    "enable_",
    "http_",
    "iceberg_",
    "parquet_",
    "parse_duckdb_",
    "pg_get_",
    "postgres_",
    "pragma_",
    "read_",
    "sniff_",
    "sqlite_",
)
_BUILT_IN_VIEWS = ("duckdb_", "pg_", "pragma_", "sqlite_")
_PLAIN_NAME = re.compile(r"[^\W\d]\w*\Z")
_ALLOWED = (
    "allowed is one SELECT (or WITH, FROM, VALUES, PIVOT, UNPIVOT, DESCRIBE, SUMMARIZE, "
    "SHOW TABLES) over the views of this store"
)


def check(sql: str, *, tables: Collection[str] | None = None) -> None:
    """Return nothing when `sql` is exactly one read-only query.

    Args:
        sql: The text as a person wrote it.
        tables: Names that FROM may use besides the query's own CTEs; None accepts any plain
            identifier, which can never be a file name.

    Raises:
        SqlRefused: It is not SQL, not one statement, not a query, or uses something that is not
            allowed; the message names it.
    """
    with duckdb.connect(
        config={"enable_external_access": "false", "lock_configuration": "true", "threads": "1"}
    ) as connection:
        check_on(connection, sql, tables=tables)


def check_on(
    connection: duckdb.DuckDBPyConnection, sql: str, *, tables: Collection[str] | None = None
) -> None:
    """As `check`, parsing on a connection that is already locked down.

    Raises:
        SqlRefused: As `check`.
    """
    if "\0" in sql:
        # An engine in C++ may stop reading at a NUL where another part of it does not.
        raise SqlRefused("the SQL contains a NUL character; remove it")
    if not sql.isascii() and any("\ud800" <= letter <= "\udfff" for letter in sql):
        raise SqlRefused("not understood as SQL: it holds half of a surrogate pair; remove it")
    if len(sql.encode()) > MAX_SQL_BYTES:
        raise SqlRefused(f"the SQL is longer than {MAX_SQL_BYTES:,} bytes; shorten it")
    _check_kind(connection, sql)
    tree = _tree(connection, sql)
    nodes = list(_walk(tree))
    names = None if tables is None else {name.casefold() for name in tables}
    ctes = {str(node["key"]).casefold() for node in nodes if _is_cte(node)}
    for node in nodes:
        _check_node(node, names, ctes)


def _check_kind(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = connection.extract_statements(sql)
    except (duckdb.Error, UnicodeError) as error:
        raise SqlRefused(f"not understood as SQL: {error}") from error
    if len(statements) != 1:
        raise SqlRefused(f"the text holds {len(statements)} statements; {_ALLOWED}")
    try:
        kind = statements[0].type
    except ValueError:  # DuckDB's parser knows kinds of statements that its Python enum does not
        raise SqlRefused(f"statements of this kind are refused; {_ALLOWED}") from None
    if kind.name == "MULTI":
        raise SqlRefused(
            "PIVOT without its values runs several statements; list the values: "
            "PIVOT t ON c IN ('a', 'b') USING ..."
        )
    if kind != duckdb.StatementType.SELECT:
        raise SqlRefused(f"{kind.name} statements are refused; {_ALLOWED}")


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
    row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
    try:
        answer = cast("dict[str, Any]", msgspec.json.decode(cast("tuple[str]", row)[0]))
    except RecursionError:
        raise SqlRefused("the SQL is nested too deeply; split it with WITH") from None
    if answer.get("error"):
        raise SqlRefused(f"{answer.get('error_message', 'not serializable')}; {_ALLOWED}")
    statements = cast("list[Any]", answer["statements"])
    if len(statements) != 1:
        raise SqlRefused(f"the text holds {len(statements)} statements; {_ALLOWED}")
    return statements


def _walk(tree: list[Any]) -> Iterator[dict[str, Any]]:
    pending: list[Any] = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield cast("dict[str, Any]", item)
            pending.extend(cast("dict[str, Any]", item).values())
        elif isinstance(item, list):
            pending.extend(cast("list[Any]", item))


def _is_cte(node: dict[str, Any]) -> bool:
    value = node.get("value")
    return isinstance(value, dict) and "query_node" in value and "key" in node


def _check_node(node: dict[str, Any], tables: set[str] | None, ctes: set[str]) -> None:
    kind = node.get("type")
    if "function_name" in node:
        _check_function(str(node["function_name"]))
    if not isinstance(kind, str):
        return
    if "class" in node:
        _check_expression(str(node["class"]))
    elif kind == "BASE_TABLE":
        _check_table(node, tables, ctes)
    elif kind == "TABLE_FUNCTION":
        _check_table_function(node)
    elif kind == "SHOW_REF":
        _check_show(node)
    elif kind not in STRUCTURE and not kind.endswith("_TYPE_INFO"):
        name = kind.removesuffix("_QUERY_NODE").removesuffix("_NODE").replace("_", " ")
        raise SqlRefused(f"{name} is refused inside a query; {_ALLOWED}")


def _check_expression(kind: str) -> None:
    if kind == "PARAMETER":
        raise SqlRefused("parameters (?, $1, $name) are refused; write the value")
    if kind not in EXPRESSION_CLASSES:
        raise SqlRefused(f"{kind} expressions are refused; {_ALLOWED}")


def _check_function(name: str) -> None:
    folded = name.casefold()
    if folded in REFUSED_FUNCTIONS or folded.startswith(REFUSED_PREFIXES):
        raise SqlRefused(
            f"the function {name}() is refused: it reaches outside the store's rows; "
            "functions that compute on their arguments are allowed"
        )


def _check_table_function(node: dict[str, Any]) -> None:
    function = cast("dict[str, Any]", node.get("function") or {})
    name = str(function.get("function_name", "?"))
    if name.casefold() not in TABLE_FUNCTIONS:
        raise SqlRefused(
            f"the table function {name}() is refused; "
            f"allowed are {', '.join(sorted(TABLE_FUNCTIONS))}"
        )


def _check_show(node: dict[str, Any]) -> None:
    shown = node.get("show_type")
    if node.get("query") is not None and shown in {"DESCRIBE", "SUMMARY"}:
        return
    name = str(node.get("table_name", "")).strip('"')
    if node.get("query") is None and name.casefold() == "tables":
        return
    raise SqlRefused(
        f"SHOW {name or shown} is refused; allowed are SHOW TABLES, DESCRIBE and SUMMARIZE"
    )


def _check_table(node: dict[str, Any], tables: set[str] | None, ctes: set[str]) -> None:
    path = [str(part) for part in cast("dict[str, Any]", node["qualified_name"])["path"]]
    shown = ".".join(path)
    folded = [part.casefold() for part in path]
    if not all(_PLAIN_NAME.match(part) for part in path):
        raise SqlRefused(
            f"the table name {shown!r} is refused: tables are plain names, files are not read"
        )
    if folded[:-1] == ["information_schema"]:
        if folded[-1] in INFORMATION_VIEWS:
            return
        raise SqlRefused(
            f"the view {shown} is refused; "
            "allowed are information_schema.columns and information_schema.tables"
        )
    if folded[:-1] not in ([], ["main"], ["memory"], ["memory", "main"]):
        raise SqlRefused(f"the schema of {shown} is refused; write the view's name alone")
    if folded[-1].startswith(_BUILT_IN_VIEWS) and folded[-1] not in (tables or set()):
        raise SqlRefused(f"the view {shown} is refused: it is DuckDB's own, not the store's")
    if tables is not None and folded[-1] not in tables | (ctes if len(path) == 1 else set()):
        raise SqlRefused(
            f"no view named {shown!r}; this store has {', '.join(sorted(tables)) or 'none'}"
        )
