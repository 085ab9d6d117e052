"""The process that runs one person's query and can be killed.

It reads one `Request` from standard input, builds the views, locks the doors, checks the query,
runs it, writes frames to standard output (`whence.query.sqlwire`) and ends. It holds no credentials
(an almost empty environment), cannot write a file (no file system but `ReadOnlyFiles`, and a file
size limit of zero), cannot reach the network, change a setting or load an extension, and has limits
of memory and processor time set by the kernel where the platform has them. It ends by itself when
its parent goes away. It never trusts the check to have held.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from whence.query import sqlfiles
from whence.query.sqlwire import (
    SCHEME,
    Done,
    Failure,
    Header,
    Request,
    Rows,
    packers,
    read_body,
    write_message,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

MAX_REQUEST_BYTES = 64 * 1024 * 1024
ADDRESS_SLACK_MB = 512
"""Address space beyond the memory limit: thread stacks and the allocator's reservations, which are
not memory in use."""

_CHUNK_ROWS = 512
_MAX_THREADS = 4


def main() -> None:
    """Serve one request and end the process."""
    out = _private_stdout()
    body = read_body(sys.stdin.buffer, MAX_REQUEST_BYTES)
    if body is None:
        return
    request = msgspec.msgpack.decode(body, type=Request)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _serve(request, out)
    except MemoryError:
        write_message(out, Failure("memory", "out of memory"))
    # The interpreter's own end would destroy DuckDB's objects one by one; the rows are sent and
    # nothing else is worth keeping.
    os._exit(0)


def _private_stdout() -> BinaryIO:
    """Return the pipe to the parent.

    Whatever else prints goes to standard error and cannot break a frame.
    """
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def _end_with_parent() -> None:
    # The parent keeps its end open and sends nothing more, so this returns when the parent is gone.
    # It reads the descriptor and not `sys.stdin`, whose lock a thread must not hold while the
    # interpreter ends.
    os.read(0, 1)
    os._exit(3)


def _serve(request: Request, out: BinaryIO) -> None:
    _limit_process(request)
    sqlfiles.install_stand_ins()
    import duckdb  # noqa: PLC0415 - its import looks for the modules that were just stood in for

    try:
        connection = _locked_connection(request)
        _limit_memory(request)
        _answer(connection, request, out)
    except duckdb.OutOfMemoryException as error:
        # What follows the first line is advice about settings that are locked here.
        write_message(out, Failure("memory", str(error).partition("\n")[0]))
    except duckdb.Error as error:
        write_message(out, Failure("failed", str(error)))
    except OSError as error:
        write_message(out, Failure("file", str(error)))


def _locked_connection(request: Request) -> duckdb.DuckDBPyConnection:
    import duckdb  # noqa: PLC0415 - as in `_serve`

    setup = request.setup
    connection = duckdb.connect(
        config={
            "allow_community_extensions": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": f"{request.memory_limit_mb}MB",
            "python_enable_replacements": "false",
            "temp_directory": "",
            "threads": str(min(_MAX_THREADS, os.cpu_count() or 1)),
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    if setup.files:
        files = sqlfiles.ReadOnlyFiles(SCHEME, setup.files)
        cast("Any", connection).register_filesystem(files)
        urls = [files.unstrip_protocol(name) for name in setup.files]
        connection.execute("SET allowed_paths = $urls", {"urls": urls})
    for statement in setup.statements:
        connection.execute(statement)
    # The order matters: switching external access off still looks at the local file system.
    connection.execute("SET enable_external_access = false")
    connection.execute("SET disabled_filesystems = 'LocalFileSystem'")
    connection.execute("SET lock_configuration = true")
    return connection


def _limit_process(request: Request) -> None:
    try:
        import resource  # noqa: PLC0415 - absent on Windows
        import signal  # noqa: PLC0415 - only needed here
    except ImportError:
        return
    cpu_s = math.ceil(request.timeout_s * _MAX_THREADS) + 1
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_NOFILE, hard_files),
    ):
        # A platform may refuse a limit or the parent may already have a lower one, which then
        # holds.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))


def _limit_memory(request: Request) -> None:
    """Bound the address space to what is mapped now plus the query's limit.

    DuckDB's own limit comes first and gives the better message, but it is not a hard one.
    """
    try:
        import resource  # noqa: PLC0415 - absent on Windows

        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - pathlib is not needed otherwise
            mapped_bytes = int(statm.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return
    limit_bytes = mapped_bytes + (request.memory_limit_mb + ADDRESS_SLACK_MB) * 1024 * 1024
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))


def _answer(connection: duckdb.DuckDBPyConnection, request: Request, out: BinaryIO) -> None:
    from whence.errors import SqlRefused  # noqa: PLC0415 - after the stand-ins
    from whence.query import guard  # noqa: PLC0415 - imports duckdb

    try:
        guard.check_on(connection, request.sql, tables=request.setup.tables)
    except SqlRefused as error:
        write_message(out, Failure("refused", str(error)))
        return
    connection.execute(request.sql)
    described = connection.description or []
    types: list[Any] = [column[1] for column in described]
    names = [str(column[0]) for column in described]
    if any(_exact_type(kind) != str(kind) for kind in types):
        connection.execute(_with_texts(connection, request.sql, names, types))
    type_names = [str(kind) for kind in types]
    write_message(out, Header(names, type_names))
    _send_rows(connection, type_names, request.max_rows, out)


def _send_rows(
    connection: duckdb.DuckDBPyConnection, types: list[str], max_rows: int, out: BinaryIO
) -> None:
    plan = packers(types)
    left = max_rows
    while True:
        rows = connection.fetchmany(min(_CHUNK_ROWS, left + 1))
        if not rows:
            write_message(out, Done(truncated=False))
            return
        kept = rows[:left]
        if plan is not None:
            kept = [
                tuple(
                    cell if way is None else way(cell) for cell, way in zip(row, plan, strict=True)
                )
                for row in kept
            ]
        write_message(out, Rows(kept))
        if len(rows) > left:
            write_message(out, Done(truncated=True))
            return
        left -= len(rows)


_AS_TEXT = {"interval": "VARCHAR", "timestamp_ns": "VARCHAR", "time_ns": "VARCHAR"}
"""Types that Python's own have no exact room for (nanoseconds, months): they travel as DuckDB's
text."""


def _exact_type(kind: Any) -> str:
    """Return the SQL type to cast to so that every value survives, `kind` where none is lost."""
    name: str = kind.id
    if name in _AS_TEXT:
        return _AS_TEXT[name]
    if name not in {"list", "array", "struct", "map", "union"}:
        return str(kind)
    children: dict[str, Any] = dict(kind.children)
    size = children.pop("size", "") if name == "array" else ""
    exact = {key: _exact_type(child) for key, child in children.items()}
    if all(exact[key] == str(child) for key, child in children.items()):
        return str(kind)
    match name:
        case "list" | "array":
            found = f"{exact['child']}[{size}]"
        case "map":
            found = f"MAP({exact['key']}, {exact['value']})"
        case "struct":
            fields = ", ".join(f"{_quoted(key)} {item}" for key, item in exact.items())
            found = f"STRUCT({fields})"
        case _:
            found = "VARCHAR"
    return found


def _with_texts(
    connection: duckdb.DuckDBPyConnection, sql: str, names: Sequence[str], types: Sequence[Any]
) -> str:
    """Return `sql` with casts around the columns that need one."""
    # Rendered from the tree: the text may end in a semicolon or a comment and could not stand in
    # parentheses.
    row = connection.execute(
        "SELECT json_deserialize_sql(json_serialize_sql(?::VARCHAR))", [sql]
    ).fetchone()
    inner = str(row[0]) if row else sql
    columns = ", ".join(
        f"CAST(#{place} AS {_exact_type(kind)}) AS {_quoted(name)}"
        for place, (name, kind) in enumerate(zip(names, types, strict=True), start=1)
    )
    return f"SELECT {columns} FROM ({inner})"  # noqa: S608 - as the query, it was checked and is walled in


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
