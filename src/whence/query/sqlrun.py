"""Run one read-only query in a process of its own and hand back its rows.

In come the query, the statements that build its views and the limits; out comes a `SqlResult`, or
an error that says at which limit the query was stopped. Every query gets a fresh child
(`whence.query.sqlchild`) that checks the text, since parsing hostile SQL is itself a risk, and runs
it. The child is killed at the time limit, when its result grows past the memory limit, and when
this call is interrupted; it is always waited for, so no zombie stays. This module never parses SQL,
never opens DuckDB and never runs Python in a forked copy of the caller.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from whence import _extras
from whence.errors import SqlError, SqlRefused
from whence.query import sqlwire
from whence.query.sqlresult import SqlResult

if TYPE_CHECKING:
    from collections.abc import Iterator

_BOOTSTRAP = (
    "import sys; sys.path.extend(sys.argv[1:]); from whence.query import sqlchild; sqlchild.main()"
)
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PATH", "SYSTEMROOT")
"""What an interpreter may need to start. Nothing else goes along, so keys in the environment are
not in the child."""

_STDERR_BYTES = 4096


def run_guarded(
    setup: sqlwire.SqlSetup,
    sql: str,
    *,
    timeout_s: float = 30.0,
    memory_limit_mb: int = 1024,
    max_rows: int = 100_000,
) -> SqlResult:
    """Return the rows of `sql` over the views that `setup` builds.

    Starting the child takes about a tenth of a second; the rest is the query.

    Args:
        setup: How the child builds the views, and which files it may read.
        sql: One read-only query, see `whence.query.guard`.
        timeout_s: Seconds of wall time, the child's start included.
        memory_limit_mb: Megabytes the query may use, and at most as many of result.
        max_rows: Rows to return; `truncated` says whether there were more.

    Raises:
        SqlRefused: The text is not one read-only query.
        SqlError: The query failed, or was stopped at a limit; the message says which.
    """
    request = sqlwire.Request(sql, setup, timeout_s, memory_limit_mb, max_rows)
    if importlib.util.find_spec("duckdb") is None:
        _extras.require("duckdb", "cli", "SQL over a store")
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
        [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, *_import_path()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
    )
    late = threading.Event()
    timer = threading.Timer(request.timeout_s, _stop, (process, late))
    timer.daemon = True
    try:
        timer.start()
        return _result(process, request, late)
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            _close(cast("BinaryIO", stream))


def _stop(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


def _close(stream: BinaryIO) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        # The child is gone and did not read its request to the end; the pipe is closed all the
        # same.
        return


def _import_path() -> list[str]:
    """Return where the child imports from: what this process uses, and where this package lies.

    The child starts isolated and without site, so that neither the working directory nor a variable
    decides what it imports; an editable install or PYTHONPATH is covered by the package's own
    folder.
    """
    home = str(Path(__file__).resolve().parents[2])
    known = [entry for entry in sys.path if entry and Path(entry).is_absolute()]
    return known if home in known else [*known, home]


def _result(
    process: subprocess.Popen[bytes], request: sqlwire.Request, late: threading.Event
) -> SqlResult:
    try:
        sqlwire.write_message(cast("BinaryIO", process.stdin), request)
    except UnicodeEncodeError:
        raise SqlRefused("not understood as SQL: it holds half of a surrogate pair") from None
    except BrokenPipeError:
        raise _ended(process, request, late) from None
    header = sqlwire.Header([], [])
    rows: list[tuple[Any, ...]] = []
    for frame in _frames(process, request):
        match frame:
            case sqlwire.Header():
                header = frame
            case sqlwire.Rows():
                rows.extend(frame.rows)
            case sqlwire.Done():
                return SqlResult(header.columns, header.types, rows, truncated=frame.truncated)
            case sqlwire.Failure():
                raise _failed(frame, request)
    raise _ended(process, request, late)


def _frames(process: subprocess.Popen[bytes], request: sqlwire.Request) -> Iterator[sqlwire.Frame]:
    stream = cast("BinaryIO", process.stdout)
    limit_mb = request.memory_limit_mb
    left_bytes = limit_mb * 1024 * 1024
    try:
        while (body := sqlwire.read_body(stream, left_bytes)) is not None:
            left_bytes -= len(body)
            yield sqlwire.decode_frame(body)
    except msgspec.MsgspecError as error:
        raise SqlError(f"the query process sent no readable answer: {error}") from error
    except ValueError:
        message = (
            f"the result is larger than the limit of {limit_mb} MB; "
            "select fewer columns or rows, or raise memory_limit_mb"
        )
        raise SqlError(message) from None


def _failed(failure: sqlwire.Failure, request: sqlwire.Request) -> SqlError:
    if failure.kind == "refused":
        return SqlRefused(failure.message)
    if failure.kind == "memory":
        return _out_of_memory(request, failure.message)
    if failure.kind == "file":
        return SqlError(
            f"a file of the store cannot be opened ({failure.message}); "
            "if the archive was compacted just now, run the query again"
        )
    return SqlError(failure.message)


def _out_of_memory(request: sqlwire.Request, detail: str) -> SqlError:
    return SqlError(
        f"the query needed more memory than its limit of {request.memory_limit_mb} MB "
        f"and was stopped; filter earlier or raise memory_limit_mb ({detail})"
    )


def _ended(
    process: subprocess.Popen[bytes], request: sqlwire.Request, late: threading.Event
) -> SqlError:
    code = process.wait()
    if late.is_set() or code == -getattr(signal, "SIGXCPU", 0):
        return SqlError(
            f"the query ran longer than its limit of {request.timeout_s:g} s and was stopped; "
            "narrow it (a time range, a LIMIT) or raise timeout_s"
        )
    said = cast("BinaryIO", process.stderr).read(_STDERR_BYTES).decode(errors="replace").strip()
    if code < 0:
        return _out_of_memory(request, f"the process ended by signal {-code}")
    return SqlError(
        f"the query process ended without an answer (exit {code}): {said or 'no message'}"
    )
