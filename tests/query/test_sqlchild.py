"""Queries run in a process of their own: values come back exactly, and limits and walls hold."""

import datetime as dt
import decimal
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import duckdb
import pytest

from whence.errors import SqlError, SqlRefused
from whence.query import sqlrun, sqlwire
from whence.query.sqlwire import SqlFile, SqlSetup

NOTHING = SqlSetup()
UNGUARDED = (
    "import sys; sys.path.extend(sys.argv[1:]); from whence.query import guard, sqlchild; "
    "guard.check_on = lambda *given, **named: None; sqlchild.main()"
)


@pytest.fixture
def part(tmp_path):
    path = tmp_path / "part [0]*.parquet"
    with duckdb.connect() as connection:
        rows = connection.sql("SELECT i AS id, 'decision ' || i AS name FROM range(50_000) t(i)")
        rows.write_parquet(str(path), row_group_size=5000)
    return path


@pytest.fixture
def setup(part):
    return SqlSetup(
        statements=(
            f"CREATE VIEW decisions AS FROM read_parquet(['{sqlwire.file_url('0.parquet')}'])",
        ),
        files={"0.parquet": SqlFile(str(part))},
        tables=("decisions",),
    )


def value_of(sql, **limits):
    return sqlrun.run_guarded(NOTHING, f"SELECT {sql} AS x", **limits).rows[0][0]


def test_view_over_a_file_is_read_by_several_threads(setup):
    """A view over an archive file gives its rows, whatever characters its path has."""
    found = sqlrun.run_guarded(
        setup, "SELECT count(*) AS n, sum(id), max(name) FROM decisions WHERE id % 2 = 0; -- even"
    )

    assert found.columns[0] == "n"
    assert found.rows == [(25_000, sum(range(0, 50_000, 2)), "decision 9998")]
    assert not found.truncated


def test_file_that_grows_is_read_to_its_bound(tmp_path):
    """A log that is being appended to is shown up to the given byte, so a torn last line is not
    seen."""
    path = tmp_path / "hot.ndjson"
    whole = b"".join(json.dumps({"id": i, "name": f"n{i}"}).encode() + b"\n" for i in range(3))
    path.write_bytes(whole + b'{"id": 3, "na')
    read = f"FROM read_ndjson('{sqlwire.file_url('hot')}', columns = {{id: 'INT', name: 'TEXT'}})"
    setup = SqlSetup(
        statements=(f"CREATE TABLE hot AS {read}", f"CREATE VIEW live AS {read}"),
        files={"hot": SqlFile(str(path), bound_bytes=len(whole))},
    )

    rows = [(0, "n0"), (1, "n1"), (2, "n2")]
    assert sqlrun.run_guarded(setup, "FROM hot ORDER BY id").rows == rows
    assert sqlrun.run_guarded(setup, "FROM live ORDER BY id").rows == rows


VALUES = [
    ("170141183460469231731687303715884105727::HUGEINT", 2**127 - 1),
    ("(-170141183460469231731687303715884105728)::HUGEINT", -(2**127)),
    ("340282366920938463463374607431768211455::UHUGEINT", 2**128 - 1),
    ("18446744073709551615::UBIGINT", 2**64 - 1),
    ("(-9223372036854775808)::BIGINT", -(2**63)),
    ("1.10::DECIMAL(38, 2)", decimal.Decimal("1.10")),
    ("0.1::DOUBLE", 0.1),
    ("'-inf'::DOUBLE", -math.inf),
    ("TIMESTAMP '2024-01-02 03:04:05.123456'", dt.datetime(2024, 1, 2, 3, 4, 5, 123456)),  # noqa: DTZ001
    (
        "TIMESTAMPTZ '2024-01-02 03:04:05.123456+02'",
        dt.datetime(2024, 1, 2, 1, 4, 5, 123456, tzinfo=dt.UTC),
    ),
    (
        "[TIMESTAMPTZ '2024-07-02 03:04:05+00']",
        [dt.datetime(2024, 7, 2, 3, 4, 5, tzinfo=dt.UTC)],
    ),
    ("TIMESTAMP_NS '2024-01-02 03:04:05.123456789'", "2024-01-02 03:04:05.123456789"),
    ("TIMESTAMP '290000-01-01 00:00:00'", "290000-01-01 00:00:00"),
    ("DATE '2024-01-02'", dt.date(2024, 1, 2)),
    ("TIME '03:04:05.5'", dt.time(3, 4, 5, 500000)),
    ("INTERVAL '1 month 2 days'", "1 month 2 days"),
    ("[INTERVAL 1 DAY, NULL]", ["1 day", None]),
    (
        "{'at': TIMESTAMP_NS '2024-01-02 00:00:00.000000001', 'q\"x': map {1: INTERVAL 1 DAY}}",
        {"at": "2024-01-02 00:00:00.000000001", 'q"x': {1: "1 day"}},
    ),
    (
        "UUID '12345678-1234-5678-1234-567812345678'",
        uuid.UUID(int=0x12345678123456781234567812345678),
    ),
    ("'\\x00\\xFF'::BLOB", b"\x00\xff"),
    ("'a' || chr(0) || 'b\u2028\U0001f600'", "a\0b\u2028\U0001f600"),
    ("'\\ud800'", "\\ud800"),
    ("NULL", None),
    ("[]", []),
    ("'null'::JSON", "null"),
    (
        "{'a': 1, 'b': [{'c': 1.5::DECIMAL(4, 1)}, NULL]}",
        {"a": 1, "b": [{"c": decimal.Decimal("1.5")}, None]},
    ),
    (
        "map {1.5::DECIMAL(4, 1): DATE '2024-01-02'}",
        {decimal.Decimal("1.5"): dt.date(2024, 1, 2)},
    ),
    ("map {[1]: 2}", {"key": [[1]], "value": [2]}),
    ("[1, 2]::INTEGER[2]", [1, 2]),
    ("true", True),
]


def test_values_come_back_exactly():
    """Every value is the one DuckDB computed; what Python has no exact value for is DuckDB's
    text."""
    selected = ", ".join(f"{sql} AS c{place}" for place, (sql, _) in enumerate(VALUES))
    row = sqlrun.run_guarded(NOTHING, f"SELECT {selected}").rows[0]

    for (sql, expected), found in zip(VALUES, row, strict=True):
        assert (sql, found) == (sql, expected)
        assert type(found) is type(expected)


def test_not_a_number_comes_back():
    """NaN stays NaN, also inside a list."""
    assert math.isnan(value_of("'nan'::DOUBLE"))
    assert math.isnan(value_of("['nan'::FLOAT]")[0])


def test_order_is_kept_when_a_column_travels_as_text():
    """Rows keep the query's order also when a column is cast on the way out."""
    found = sqlrun.run_guarded(
        NOTHING,
        "SELECT i, to_days(i::INT) AS d, i AS i FROM range(2000) t(i) ORDER BY i % 7 DESC, i; --",
    )

    assert [row[0] for row in found.rows] == sorted(range(2000), key=lambda i: (-(i % 7), i))
    assert found.columns == ["i", "d", "i"]
    assert found.to_dicts()[0] == {"i": 6, "d": "6 days", "i_1": 6}


@pytest.mark.parametrize(("rows", "truncated"), [(1000, False), (1001, True), (5000, True)])
def test_more_rows_than_asked_for_are_cut(rows, truncated):
    """A result is cut at `max_rows` and says so."""
    found = sqlrun.run_guarded(NOTHING, f"FROM range({rows})", max_rows=1000)

    assert (len(found), found.truncated) == (1000, truncated)


def test_no_rows_keep_their_columns():
    """A result without rows still knows its columns and types."""
    found = sqlrun.run_guarded(NOTHING, "SELECT 1 AS a, [1.5] AS b WHERE false")

    assert (found.columns, found.types, found.rows) == (
        ["a", "b"],
        ["INTEGER", "DECIMAL(2,1)[]"],
        [],
    )
    assert found.to_arrow().schema.names == ["a", "b"]


def test_refusal_and_failure_reach_the_caller(setup):
    """A refused text is `SqlRefused`, a query that fails is `SqlError` with DuckDB's message."""
    with pytest.raises(SqlRefused, match="COPY statements are refused"):
        sqlrun.run_guarded(setup, "COPY decisions TO 'f'")
    with pytest.raises(SqlRefused, match="surrogate"):
        sqlrun.run_guarded(setup, "SELECT '\ud800'")
    with pytest.raises(SqlError, match='column "nope" not found') as failed:
        sqlrun.run_guarded(setup, "SELECT nope FROM decisions")

    assert not isinstance(failed.value, SqlRefused)


def test_file_that_is_gone_is_named(tmp_path):
    """A part that was merged away before the query started is named, with what to do."""
    setup = SqlSetup(files={"0": SqlFile(str(tmp_path / "gone.parquet"))})
    with pytest.raises(SqlError, match=r"gone\.parquet.* run the query again"):
        sqlrun.run_guarded(setup, "SELECT 1")


def test_failure_after_the_first_rows_gives_no_result():
    """A query that fails half way is an error and not a shorter result."""
    with pytest.raises(SqlError, match="boom"):
        sqlrun.run_guarded(
            NOTHING,
            "SELECT CASE WHEN i > 50000 THEN error('boom') ELSE i END FROM range(90000) t(i)",
        )


RUNAWAYS = [
    "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range + b.range = 7",
    "WITH RECURSIVE t AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM t) SELECT count(*) FROM t",
    "SELECT pg_sleep(60)",
]


@pytest.mark.parametrize("sql", RUNAWAYS)
def test_query_without_end_is_stopped_in_time(sql):
    """A query that does not end is killed at its time limit, and the error says how to raise it."""
    started = time.monotonic()
    with pytest.raises(SqlError, match=r"longer than its limit of 0\.7 s .* raise timeout_s"):
        # With less memory, a fast machine would meet that limit first.
        sqlrun.run_guarded(NOTHING, sql, timeout_s=0.7, memory_limit_mb=8192)

    assert time.monotonic() - started < 40


BOMBS = [
    "SELECT repeat('x', 3000000000)",
    "SELECT list(i) FROM range(500000000) t(i)",
    "SELECT printf('%2000000000d', 1)",
    "SELECT count(DISTINCT md5(i::VARCHAR)) FROM range(100000000) t(i)",
    "SELECT repeat('x', 1000000) FROM range(10000)",
]


@pytest.mark.parametrize("sql", BOMBS)
def test_query_that_needs_too_much_memory_is_stopped(sql):
    """A query over its memory limit ends with an error that says how to raise it."""
    with pytest.raises(SqlError, match=r"limit of 128 MB.* raise memory_limit_mb"):
        sqlrun.run_guarded(NOTHING, sql, timeout_s=300, memory_limit_mb=128)


def test_result_larger_than_the_limit_is_not_collected():
    """The calling process never holds more of a result than the limit."""
    with pytest.raises(SqlError, match=r"limit of 64 MB.* raise memory_limit_mb"):
        sqlrun.run_guarded(
            NOTHING, "SELECT repeat('x', 20000) FROM range(100000)", memory_limit_mb=64
        )


@pytest.fixture
def started(monkeypatch):
    """The processes that were started, while the test runs."""
    processes = []

    class Recorder(subprocess.Popen):
        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            processes.append((self.pid, named["env"]))

    monkeypatch.setattr(subprocess, "Popen", Recorder)
    return processes


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_no_process_is_left(started):
    """Neither a result nor an error leaves a child or a zombie."""
    sqlrun.run_guarded(NOTHING, "SELECT 1")
    with pytest.raises(SqlError):
        sqlrun.run_guarded(NOTHING, "SELECT pg_sleep(60)", timeout_s=0.3)

    assert [is_there(pid) for pid, _ in started] == [False, False]


def test_environment_stays_behind(monkeypatch, started):
    """The child has none of the caller's variables, so a query cannot read a key from them."""
    monkeypatch.setenv("SECRET_KEY", "s3cret")
    sqlrun.run_guarded(NOTHING, "SELECT 1")

    assert len(started) == 1
    assert set(started[0][1]) <= set(sqlrun._KEPT_VARIABLES)


CALLER = """
import subprocess, sys
sys.path.extend(sys.argv[1:])
from whence.query import sqlrun, sqlwire

class Telling(subprocess.Popen):
    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        print(self.pid, flush=True)

subprocess.Popen = Telling
sqlrun.run_guarded(sqlwire.SqlSetup(), "SELECT pg_sleep(60)")
"""


def is_running(pid):
    # A process whose parent died may stay a zombie where nothing adopts it, and then it is not
    # running.
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return is_there(pid) if not Path("/proc/self").exists() else False
    return state != "Z"


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_child_ends_with_its_parent(ending):
    """Ctrl-C in the caller, or its sudden death, ends the query."""
    with subprocess.Popen(
        [sys.executable, "-c", CALLER, *sqlrun._import_path()],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as caller:
        assert caller.stdout is not None
        child = int(caller.stdout.readline())
        time.sleep(0.3)
        was_running = is_running(child)
        caller.send_signal(ending)
        caller.wait(timeout=40)
        deadline = time.monotonic() + 40
        while is_running(child) and time.monotonic() < deadline:
            time.sleep(0.02)

    assert was_running
    assert not is_running(child)


def test_threads_may_run_queries_at_once():
    """Several threads of one program run queries side by side."""
    answers = []

    def ask(number):
        answers.append(sqlrun.run_guarded(NOTHING, f"SELECT {number}").rows[0][0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [0, 1, 2, 3]


def unguarded(setup, sql):
    """The answer of a child whose check of the syntax tree was taken out: the walls behind it."""
    request = sqlwire.Request(sql, setup, 10.0, 512, 1000)
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", UNGUARDED, *sqlrun._import_path()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        sqlwire.write_message(process.stdin, request)
        frames = []
        while (body := sqlwire.read_body(process.stdout, 2**26)) is not None:
            frames.append(sqlwire.decode_frame(body))
        process.stdin.close()
        said = process.stderr.read().decode()
    return frames, said


BYPASSES = [
    "COPY (SELECT 1) TO 'evidence://0.parquet'",
    "COPY (SELECT 1) TO 'evidence://0.parquet' (USE_TMP_FILE false)",
    "COPY (SELECT 1) TO 'evidence://new.parquet' (USE_TMP_FILE false)",
    "WITH x AS (COPY (SELECT 1) TO 'evidence://0.parquet' (USE_TMP_FILE false)) SELECT * FROM x",
    "COPY (SELECT 1) TO '{part}' (USE_TMP_FILE false)",
    "WITH x AS (COPY (SELECT 1) TO '{part}' (USE_TMP_FILE false)) SELECT * FROM x",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{part}' (USE_TMP_FILE false)",
    "COPY (SELECT 1) TO '{folder}/new.csv'",
    "EXPORT DATABASE '{folder}/dump'",
    "ATTACH '{folder}/new.db'",
    "ATTACH '{part}'",
    "SELECT * FROM read_text('{part}')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_text('https://example.org/')",
    "SET enable_external_access = true",
    "SET disabled_filesystems = ''",
    "SET allowed_paths = ['/etc/passwd']",
    "RESET disabled_filesystems",
    "SET memory_limit = '100GB'",
    "SET lock_configuration = false",
    "INSTALL httpfs",
    "LOAD '{folder}/x.duckdb_extension'",
    "SELECT * FROM rows_of_the_caller",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
]


@pytest.mark.parametrize("sql", BYPASSES)
def test_walls_hold_without_the_check(setup, part, tmp_path, sql):
    """With the check taken out, no statement reads another file, writes one, or changes a
    setting."""
    before, names = part.read_bytes(), sorted(tmp_path.iterdir())
    frames, said = unguarded(setup, sql.format(part=part, folder=tmp_path))

    assert part.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == names
    assert isinstance(frames[-1], sqlwire.Failure), (frames, said)
    assert frames[-1].kind == "failed"


def test_allowed_file_gives_its_bytes_and_nothing_more(setup, part):
    """Reading an allowed file by another function gives its bytes, and that is all there is to
    get."""
    before = part.read_bytes()
    frames, _ = unguarded(setup, "SELECT content FROM read_blob('evidence://0.parquet')")

    assert isinstance(frames[1], sqlwire.Rows)
    assert frames[1].rows[0][0] == before
