"""The column that keeps traces beside the things they are of, in a database of the user's own.

Comes in: the name of a table. Goes out: the SQL that adds one JSONB column and four indexes, which
may be run again without harm; or what applying it to a PostgreSQL changed. The column's keys are
those of `traces`. Source: document 4 (generation trace) and the migration of its origin.

A name becomes part of the SQL, so that only a plain identifier is let in. It stands in quotes only
where PostgreSQL demands them, since a migration is read by people.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from whence import _extras
from whence.errors import ConfigError, IdentifierError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMN = "generation_trace"
_CONNECT_S = 10
DIALECTS = ("postgresql",)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
_MAX_BYTES = 63
"""What PostgreSQL keeps of a name; the rest it drops without an error (`NAMEDATALEN`)."""

_RESERVED = """
all analyse analyze and any array as asc asymmetric authorization binary both case cast check
collate collation column concurrently constraint create cross current_catalog current_date
current_role current_schema current_time current_timestamp current_user default deferrable desc
distinct do else end except false fetch for foreign freeze from full grant group having ilike in
initially inner intersect into is isnull join lateral leading left like limit localtime
localtimestamp natural not notnull null offset on only or order outer overlaps placing primary
references returning right select session_user similar some symmetric system_user table tablesample
then to trailing true union unique user using variadic verbose when where window with
"""
RESERVED = frozenset(_RESERVED.split())
"""Words that PostgreSQL takes for a name in quotes only (its appendix of SQL key words)."""

_COMMENT = """How this row was generated:
{
  "model": "gpt-5-nano-2025-08-07",
  "prompt_version": "2.0",
  "total_generation_time_ms": 4500.25,
  "total_prompt_tokens": 1250,
  "total_completion_tokens": 312,
  "total_tokens": 1562,
  "total_reasoning_tokens": 2847,
  "sentences": [{"sentence_index": 0, "reasoning_content": "...", "prompt_text": "..."}],
  "quality_status": "approved | pending_review | rejected",
  "quality_issues": []
}
Of a row that one answer made, the totals have no total_ in front, and response_id,
reasoning_content and prompt_text stand beside them."""


class Applied(msgspec.Struct, frozen=True):
    """What a migration changed."""

    table: str
    """The table."""
    column_added: bool
    """Whether the column is new."""
    indexes_added: list[str]
    """The indexes that are new."""
    indexes_kept: list[str]
    """The indexes that were there already."""


def check_identifier(name: str, what: str = "table") -> str:
    """Return `name` if it is an identifier: ASCII letters, digits and `_`, at most 63 of them.

    Raises:
        IdentifierError: It is none; a `ValueError` too.
    """
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name) or len(name) > _MAX_BYTES:  # pyright: ignore[reportUnnecessaryIsInstance] - it becomes SQL
        raise IdentifierError(
            f"{name!r} is not the name of a {what}: write ASCII letters, digits and `_`, no digit "
            f"first, at most {_MAX_BYTES}; a schema goes apart from it"
        )
    return name


def quoted(name: str) -> str:
    """Return an identifier as SQL has to have it: in quotes if it is not plain."""
    if _PLAIN.fullmatch(name) and name not in RESERVED:
        return name
    return f'"{name}"'


def index_names(table: str) -> dict[str, str]:
    """Return the names of the four indexes, by what they are on.

    Names that PostgreSQL would cut, and so mistake for one another, are made short and distinct.
    """
    keys = ("model", "quality_status", "prompt_version")
    names = {key: f"idx_{table}_{COLUMN}_{key}" for key in keys}
    names["pending_review"] = f"idx_{table}_pending_review"
    if max(map(len, names.values())) <= _MAX_BYTES:
        return names
    digest = hashlib.sha256(table.encode()).hexdigest()[:8]
    return {key: f"idx_{table[:32]}_{digest}_{key}" for key in names}


def trace_column_migration(
    table: str, dialect: str = "postgresql", *, schema: str | None = None
) -> str:
    """Return the SQL that gives a table the column `generation_trace` and its four indexes.

    Args:
        table: The table, as the catalog of the database spells it.
        dialect: The database: `postgresql`.
        schema: The schema it is in; the search path says which if None.

    Raises:
        IdentifierError: A name is not an identifier; a `ValueError` too.
        ConfigError: The dialect is none that this version writes.
    """
    if dialect not in DIALECTS:
        raise ConfigError(
            f"no migration is known for {dialect!r}; there is one for {', '.join(DIALECTS)}"
        )
    names = index_names(check_identifier(table))
    whole = quoted(table)
    if schema is not None:
        whole = f"{quoted(check_identifier(schema, 'schema'))}.{whole}"
    indexes = "\n\n".join(
        f"CREATE INDEX IF NOT EXISTS {quoted(names[key])}\n  ON {whole} (({COLUMN}->>'{key}'));"
        for key in ("model", "quality_status", "prompt_version")
    )
    return f"""\
-- Keeps beside each row how it was generated: model, tokens, reasoning, prompts, quality.
-- It may be run again.

ALTER TABLE {whole} ADD COLUMN IF NOT EXISTS {COLUMN} JSONB;

COMMENT ON COLUMN {whole}.{COLUMN} IS '{_COMMENT}';

{indexes}

-- The queue of reviews is short and asked for often.
CREATE INDEX IF NOT EXISTS {quoted(names["pending_review"])}
  ON {whole} (({COLUMN}->>'quality_status'))
  WHERE {COLUMN}->>'quality_status' = 'pending_review';
"""


def apply_migration(table: str, url: str, *, schema: str | None = None) -> Applied:
    """Return what the migration changed in the PostgreSQL at `url`: all of it or nothing.

    Args:
        table: The table.
        url: The address of the database as libpq takes it; empty for what its own environment
            variables say.
        schema: The schema of the table.

    Raises:
        IdentifierError: A name is not an identifier; a `ValueError` too.
        StoreError: The database cannot be reached or refuses, or the column is there and holds
            something else than JSONB; nothing was changed.
        MissingExtraError: psycopg is not installed.
    """
    statement = trace_column_migration(table, schema=schema)
    psycopg = _extras.require("psycopg", "postgres", "changing a PostgreSQL")
    try:
        psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        # Neither the address nor the library's message about it: both may hold a password.
        raise StoreError(
            "the address of the database cannot be read; "
            "write postgresql://user@host:port/database, or key=value words as libpq takes them"
        ) from None
    try:
        with psycopg.connect(url, connect_timeout=_CONNECT_S) as connection:
            return _apply(connection.execute, statement, table, schema)
    except psycopg.Error as error:
        # The first line says it; the others quote the SQL.
        said = str(error).strip().partition("\n")[0]
        raise StoreError(f"the column was not added to {table}: {said}") from error


def _apply(execute: Callable[..., Any], statement: str, table: str, schema: str | None) -> Applied:
    before = _state(execute, table, schema)
    execute(statement)
    after = _state(execute, table, schema)
    if after.column_type != "jsonb":
        raise StoreError(
            f"{table} has a column {COLUMN} of type {after.column_type}, which was left as it is; "
            "rename it, or make it jsonb, and try again"
        )
    names = list(index_names(table).values())
    missing = [name for name in names if name not in after.indexes]
    if missing:
        raise StoreError(
            f"{missing[0]} is the name of something else than an index of {table}; "
            "rename that, and try again"
        )
    return Applied(
        table=table,
        column_added=before.column_type is None,
        indexes_added=[name for name in names if name not in before.indexes],
        indexes_kept=[name for name in names if name in before.indexes],
    )


class _State(NamedTuple):
    column_type: str | None
    indexes: frozenset[str]


def _state(execute: Callable[..., Any], table: str, schema: str | None) -> _State:
    """Return the type of the table's column, null if there is none, and the table's indexes."""
    whole = _whole(table, schema)
    column = execute(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attname = %s AND NOT attisdropped",
        (whole, COLUMN),
    ).fetchone()
    indexes = execute(
        "SELECT relname FROM pg_class JOIN pg_index ON indexrelid = oid "
        "WHERE indrelid = %s::regclass",
        (whole,),
    ).fetchall()
    return _State(None if column is None else column[0], frozenset(row[0] for row in indexes))


def _whole(table: str, schema: str | None) -> str:
    return f'"{table}"' if schema is None else f'"{schema}"."{table}"'
