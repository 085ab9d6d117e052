"""One read-only query passes the guard; everything else is refused by name."""

import duckdb
import pytest

from whence.errors import SqlRefused
from whence.query import guard

TABLES = ("decisions", "runs")

ESCAPES = [
    ("COPY (SELECT 1) TO 'f'", "COPY"),
    ("COPY decisions FROM 'f'", "COPY"),
    ("WITH x AS (COPY (SELECT 1) TO 'f') SELECT * FROM x", "COPY"),
    ("SELECT * FROM (WITH x AS (COPY (SELECT 1) TO 'f') SELECT * FROM x)", "COPY"),
    ("SELECT (WITH x AS (COPY (SELECT 1) TO 'f') SELECT count(*) FROM x)", "COPY"),
    ("WITH x AS (INSERT INTO runs VALUES (1) RETURNING *) SELECT * FROM x", "INSERT"),
    ("WITH x AS (UPDATE runs SET a = 1 RETURNING *) SELECT * FROM x", "UPDATE"),
    ("WITH x AS (DELETE FROM runs RETURNING *) SELECT * FROM x", "DELETE"),
    ("WITH x AS (MERGE INTO runs USING decisions ON true WHEN MATCHED THEN DELETE) FROM x", ""),
    ("EXPLAIN SELECT 1", "EXPLAIN"),
    ("CONNECT 'x'", "allowed is one SELECT"),
    ("DISCONNECT", "allowed is one SELECT"),
    ("UPDATE EXTENSIONS", "allowed is one SELECT"),
    ("EXPLAIN ANALYZE COPY (SELECT 1) TO 'f'", "EXPLAIN"),
    ("SELECT * FROM read_csv_auto('/etc/passwd')", "read_csv_auto"),
    ("SELECT * FROM read_csv('/etc/passwd')", "read_csv"),
    ("SELECT * FROM main.read_csv('/etc/passwd')", "read_csv"),
    ("SELECT * FROM system.main.read_csv('/etc/passwd')", "read_csv"),
    ("SELECT * FROM \"READ_CSV\"('/etc/passwd')", "read_csv"),
    ("SELECT * FROM read_parquet('f')", "read_parquet"),
    ("SELECT * FROM parquet_scan('f')", "parquet_scan"),
    ("SELECT * FROM parquet_metadata('f')", "parquet_metadata"),
    ("SELECT * FROM parquet_kv_metadata('f')", "parquet_kv_metadata"),
    ("SELECT * FROM read_json('f')", "read_json"),
    ("SELECT * FROM read_ndjson_objects('f')", "read_ndjson_objects"),
    ("SELECT * FROM read_text('/etc/passwd')", "read_text"),
    ("SELECT * FROM read_blob('/etc/passwd')", "read_blob"),
    ("SELECT read_text('/etc/passwd')", "read_text"),
    ("SELECT * FROM read_duckdb('f')", "read_duckdb"),
    ("SELECT * FROM sniff_csv('/etc/passwd')", "sniff_csv"),
    ("SELECT * FROM glob('/**')", "glob"),
    ("SELECT * FROM query('SELECT 1')", "query"),
    ("SELECT * FROM query_table('runs')", "query_table"),
    ("SELECT * FROM histogram_values('/etc/passwd', x)", "histogram_values"),
    ("SELECT * FROM json_execute_serialized_sql('{}')", "json_execute_serialized_sql"),
    ("SELECT json_serialize_plan('SELECT * FROM read_csv(''f'')')", "json_serialize_plan"),
    ("SELECT * FROM duckdb_secrets()", "duckdb_secrets"),
    ("SELECT * FROM duckdb_settings()", "duckdb_settings"),
    ("SELECT * FROM duckdb_views()", "duckdb_views"),
    ("SELECT * FROM pragma_database_size()", "pragma_database_size"),
    ("SELECT * FROM sqlite_scan('f', 't')", "sqlite_scan"),
    ("SELECT * FROM postgres_scan('', '', '')", "postgres_scan"),
    ("SELECT * FROM arrow_scan(1, 2, 3)", "arrow_scan"),
    ("SELECT * FROM runs, LATERAL (SELECT * FROM read_text(runs.path))", "read_text"),
    ("SELECT 1 WHERE EXISTS (SELECT * FROM glob('*'))", "glob"),
    ("SELECT 1 UNION ALL SELECT content FROM read_text('f')", "read_text"),
    ("WITH RECURSIVE t AS (SELECT 1 UNION ALL FROM read_text('f')) FROM t", "read_text"),
    ("DESCRIBE SELECT * FROM read_csv('/etc/passwd')", "read_csv"),
    ("DESCRIBE '/etc/passwd'", "/etc/passwd"),
    ("SUMMARIZE 'part.parquet'", "part.parquet"),
    ("PIVOT 'part.parquet' ON a IN (1) USING sum(b)", "part.parquet"),
    ("FROM 'part.parquet'", "part.parquet"),
    ('SELECT * FROM "/etc/passwd"', "/etc/passwd"),
    ("SELECT * FROM 'https://example.org/x.csv'", "example.org"),
    ("SELECT * FROM runs, 'evidence://0.parquet'", "evidence"),
    ("TABLE '/etc/passwd'", ""),
    ("SELECT * FROM secrets", "secrets"),
    ("SELECT * FROM duckdb_settings", "duckdb_settings"),
    ("WITH sqlite_master AS (SELECT 1) SELECT * FROM sqlite_master", "sqlite_master"),
    ('WITH "/etc/passwd" AS (SELECT 1) SELECT * FROM "/etc/passwd"', "/etc/passwd"),
    ("SELECT * FROM information_schema.schemata", "schemata"),
    ("SELECT * FROM pg_catalog.pg_settings", "pg_settings"),
    ("SELECT * FROM other.main.runs", "other.main.runs"),
    ("SELECT getenv('HOME')", "getenv"),
    ("SELECT 'HOME'.getenv()", "getenv"),
    ("SELECT list_transform(['HOME'], lambda x: getenv(x))", "getenv"),
    ("SELECT GeTeNv('HOME')", "getenv"),
    ("SELECT count(*) FILTER (WHERE getenv('X') = '') FROM runs", "getenv"),
    ("SELECT sum(1) OVER (ORDER BY getenv('X')) FROM runs", "getenv"),
    ("SELECT 1 LIMIT length(getenv('X'))", "getenv"),
    ("SELECT getvariable('x')", "getvariable"),
    ("SELECT current_setting('home_directory')", "current_setting"),
    ("SELECT pg_get_viewdef(1)", "pg_get_viewdef"),
    ("SELECT write_log('x')", "write_log"),
    ("SELECT nextval('s')", "nextval"),
    ("SELECT __internal_compress_string_hugeint('x')", "__internal"),
    ("ATTACH 'f.db'", "ATTACH"),
    ("ATTACH ':memory:' AS m", "ATTACH"),
    ("DETACH m", "DETACH"),
    ("INSTALL httpfs", "LOAD"),
    ("LOAD '/tmp/x.duckdb_extension'", "LOAD"),
    ("SET threads = 8", "SET"),
    ("SET VARIABLE x = 1", "SET"),
    ("RESET threads", "SET"),
    ("PRAGMA database_list", "PRAGMA"),
    ("PRAGMA table_info('runs')", "PRAGMA"),
    ("CALL pragma_version()", "CALL"),
    ("CREATE TABLE x AS SELECT 1", "CREATE"),
    ("CREATE OR REPLACE VIEW runs AS SELECT 1", "CREATE"),
    ("CREATE MACRO f(x) AS x", "CREATE"),
    ("CREATE SECRET (TYPE s3)", "CREATE"),
    ("DROP VIEW runs", "DROP"),
    ("ALTER TABLE runs ADD COLUMN x INT", "ALTER"),
    ("INSERT INTO runs VALUES (1)", "INSERT"),
    ("UPDATE runs SET a = 1", "UPDATE"),
    ("DELETE FROM runs", "DELETE"),
    ("TRUNCATE runs", ""),
    ("EXPORT DATABASE 'd'", "EXPORT"),
    ("IMPORT DATABASE 'd'", ""),
    ("CHECKPOINT", ""),
    ("FORCE CHECKPOINT", ""),
    ("VACUUM", "VACUUM"),
    ("ANALYZE", ""),
    ("USE memory", "SET"),
    ("BEGIN", "TRANSACTION"),
    ("PREPARE q AS SELECT 1", "PREPARE"),
    ("EXECUTE q", "EXECUTE"),
    ("DEALLOCATE q", ""),
    ("SHOW databases", "databases"),
    ("SHOW ALL TABLES", "SHOW"),
    ("SELECT * FROM (SHOW databases)", "databases"),
    ("SELECT 1; SELECT 2", "2 statements"),
    ("SELECT 1; COPY (SELECT 1) TO 'f'", "2 statements"),
    ("SELECT 1;/**/\n--\nDROP VIEW runs", "2 statements"),
    ("SELECT '1' --'\n; DROP VIEW runs", "2 statements"),
    ("", "0 statements"),
    ("-- only a comment", "0 statements"),
    ("SELECT ?", "parameters"),
    ("SELECT $name", "parameters"),
    ("SELECT 1\0; DROP VIEW runs", "NUL"),
    ("\ufeffCOPY (SELECT 1) TO 'f'", ""),
    ("\u00a0COPY\u2003(SELECT 1) TO 'f'", ""),
    ("/* SELECT */ COPY (SELECT 1) TO 'f'", "COPY"),
    ("SELECT * FROM r\u0435ad_csv('f')", "r\u0435ad_csv"),
    ("SELECT * FROM U&\"\\0072ead_csv\"('f')", ""),
    ("SELECT \ud800", "not understood"),
    ("selec 1", "not understood"),
    ("SELECT " + "(" * 30_000 + "1" + ")" * 30_000, "not understood"),
    ("SELECT " + "[" * 900 + "]" * 900, "too deeply"),
    ("SELECT '" + "x" * 1_000_001 + "'", "1,000,000 bytes"),
]

QUERIES = [
    "SELECT 1;",
    "-- count\nSELECT count(*) /* all */ FROM runs;;",
    "SELECT * FROM runs ORDER BY ALL DESC NULLS LAST LIMIT 10% OFFSET 2",
    "SELECT DISTINCT ON (a) a, b FROM memory.main.runs USING SAMPLE 10%",
    "SELECT a, count(*) FROM runs GROUP BY ALL HAVING count(*) > 2",
    "SELECT a FROM runs GROUP BY GROUPING SETS ((a), (b), ()), CUBE (a, b)",
    "SELECT rank() OVER w, lag(a, 1) OVER w FROM runs WINDOW w AS (ORDER BY a) QUALIFY a > 1",
    "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 5) SELECT * FROM t",
    "WITH a AS MATERIALIZED (SELECT 1), b AS (FROM a) SELECT * FROM a, B",
    "SELECT unnest([1, 2]), unnest({'a': 1}, recursive := true)",
    "FROM unnest([1]) u(x), range(3), generate_series(1, 2), json_each('{}'), json_tree('[]')",
    "SELECT attributes->'$.a', attributes->>'b', json_extract(attributes, '$.c') FROM decisions",
    "SELECT list_transform([1], lambda x: x + 1), [x FOR x IN [1, 2] IF x > 1]",
    "SELECT {'a': 1}.a, map {'a': 1}['a'], [1, 2][1:2], (1, 2)",
    "FROM runs",
    "FROM runs SELECT a WHERE a > 1",
    "TABLE runs",
    "VALUES (1, 'a'), (2, 'b')",
    "SELECT * EXCLUDE (a) REPLACE (b AS c) FROM runs",
    "SELECT COLUMNS('a.*'), COLUMNS(c -> c LIKE 'x%') FROM runs",
    "SELECT CASE WHEN a THEN 1 END, TRY_CAST(a AS INT), a::STRUCT(x DECIMAL(4, 1))[] FROM runs",
    "SELECT a IN (SELECT 1), EXISTS (FROM runs), a = ANY([1]), a BETWEEN 1 AND 2 FROM runs",
    "SELECT * FROM runs JOIN decisions USING (id), LATERAL (SELECT runs.a)",
    "SELECT * FROM runs ASOF JOIN decisions d ON runs.t >= d.t POSITIONAL JOIN range(3)",
    "(SELECT 1 UNION SELECT 2 EXCEPT SELECT 3) INTERSECT ALL SELECT 4 ORDER BY 1",
    "PIVOT runs ON a IN (1, 2) USING sum(b) GROUP BY c",
    "UNPIVOT runs ON a, b INTO NAME n VALUE v",
    "DESCRIBE runs",
    "DESCRIBE SELECT 1",
    "SUMMARIZE runs",
    "SHOW TABLES",
    "SELECT table_name, column_name FROM information_schema.columns",
    "SELECT quantile_cont(a, [0.5, 0.9]), string_agg(a, ',' ORDER BY b), histogram(a) FROM runs",
    "SELECT * FROM runs WHERE a = (SELECT max(a) FROM runs) FETCH FIRST 3 ROWS ONLY",
    "SELECT now(), current_date, random(), uuid(), date_trunc('day', now()), INTERVAL 1 DAY",
    "SELECT a COLLATE nocase, a AT TIME ZONE 'UTC', extract(year FROM a) FROM runs",
    "SELECT 'COPY (SELECT 1) TO ''f''; DROP TABLE x -- /etc/passwd' AS \"a ; b\"",
    "SELECT 'read_csv(''/etc/passwd'')' AS read_csv",
    "SELECT $$dollar ; quoted$$, e'\\n', 0xff, 1_000",
]


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(config={"enable_external_access": "false", "threads": "1"}) as opened:
        yield opened


@pytest.mark.parametrize(("sql", "named"), ESCAPES, ids=lambda value: value[:60] if value else "-")
def test_escape_is_refused(connection, sql, named):
    """Whatever is not one read-only query is refused, and the message names what was found."""
    with pytest.raises(SqlRefused) as refused:
        guard.check_on(connection, sql, tables=TABLES)

    assert named in str(refused.value)


@pytest.mark.parametrize("sql", QUERIES)
def test_query_passes(connection, sql):
    """Every way to write a query over the views passes."""
    guard.check_on(connection, sql, tables=TABLES)


def test_check_opens_its_own_connection():
    """`check` needs nothing but the text, and then accepts any plain table name but no file
    name."""
    guard.check("SELECT * FROM anything")

    with pytest.raises(SqlRefused, match="plain names"):
        guard.check("SELECT * FROM 'anything.csv'")


def test_refusal_says_what_is_allowed(connection):
    """A refusal ends with what one can write instead."""
    with pytest.raises(SqlRefused, match=r"DROP statements are refused; allowed is one SELECT"):
        guard.check_on(connection, "DROP VIEW runs")
    with pytest.raises(SqlRefused, match=r"no view named 'run'; this store has decisions, runs"):
        guard.check_on(connection, "SELECT * FROM run", tables=TABLES)
    with pytest.raises(SqlRefused, match=r"list the values"):
        guard.check_on(connection, "PIVOT runs ON a USING sum(b)", tables=TABLES)


def test_each_function_that_is_not_pure_was_read():
    """A DuckDB with a new function that depends on more than its arguments fails here until
    somebody decides on it."""
    with duckdb.connect() as opened:
        found = opened.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() "
            "WHERE function_type IN ('scalar', 'aggregate') "
            "AND (stability <> 'CONSISTENT' OR has_side_effects)"
        ).fetchall()
    names = {name for (name,) in found}
    harmless = {
        "current_connection_id",
        "current_database",
        "current_date",
        "current_query",
        "current_query_id",
        "current_schema",
        "current_schemas",
        "current_transaction_id",
        "error",
        "gen_random_uuid",
        "get_current_time",
        "get_current_timestamp",
        "in_search_path",
        "now",
        "random",
        "sleep_ms",
        "today",
        "transaction_timestamp",
        "txid_current",
        "uuid",
        "uuidv4",
        "uuidv7",
        "vector_type",
    }

    assert names - harmless <= guard.REFUSED_FUNCTIONS
