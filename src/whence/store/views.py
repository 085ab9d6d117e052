"""The tables and views that people's SQL may name, and how a separate process gets them.

Besides the tables of `whence.store.rows` there are the views that the requirement documents name:
the six of the session database (document 3) and `traces` with its two summaries (document 5). They
are derived from the tables and hold nothing of their own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from whence.store import columns
from whence.store.rows import TABLES
from whence.store.traceviews import TRACE_VIEWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from duckdb import DuckDBPyConnection


def _time(column: str) -> str:
    return f"make_timestamp({column} // 1000)"


REQUIREMENT_VIEWS: dict[str, str] = {
    "provenance_sessions": f"""
        SELECT r.id AS session_id, coalesce(r.attributes->>'$.agent_type', r.kind, r.name) AS agent_type,
            r.attributes->>'$.agent_version' AS agent_version, coalesce(r.attributes->>'$.query', r.name) AS query,
            coalesce(r.attributes->'$.kwargs', r.attributes) AS kwargs,
            json_object('user', r.user, 'project', r.project) AS user_context,
            {_time("r.started_ns")} AS start_time, {_time("r.ended_ns")} AS end_time, CAST(r.duration_ms AS BIGINT) AS duration_ms,
            CASE WHEN r.status <> 'running' THEN r.status = 'complete' END AS success,
            r.output AS result_summary, r.error->>'$.message' AS error_message,
            r.environment->>'$.python' AS python_version, r.environment->'$.libraries' AS dependencies,
            r.attributes->>'$.db_path' AS db_path, r.parent_run AS parent_session_id,
            coalesce(TRY_CAST(r.attributes->>'$.depth' AS INTEGER), CASE WHEN r.parent_run IS NULL THEN 0 ELSE 1 END) AS depth,
            {_time("r.started_ns")} AS created_at, r.status AS status, r.project AS project, r.external_id AS external_id
        FROM runs r""",
    "provenance_events": f"""
        WITH happened AS (
            SELECT id, run, 0 AS place, started_ns AS ts_ns, 'lifecycle' AS event_type, 'agent_start' AS event_name,
                json_object('agent_type', coalesce(attributes->>'$.agent_type', kind, name),
                    'query', coalesce(attributes->>'$.query', name)) AS details,
                CAST(NULL AS DOUBLE) AS duration_ms, CAST(NULL AS VARCHAR) AS span
            FROM runs
            UNION ALL
            SELECT id || '-end', run, 2, ended_ns, 'lifecycle', 'agent_end',
                json_object('success', status = 'complete', 'run_status', status, 'duration_ms', CAST(duration_ms AS BIGINT)), duration_ms, NULL
            FROM runs WHERE ended_ns IS NOT NULL
            UNION ALL
            SELECT id, run, 1, ts_ns, 'tool_call', CASE WHEN tool_type IS NULL THEN tool_name ELSE tool_type || '.' || tool_name END,
                json_object('call_id', id, 'cache_hit', cache_hit, 'duration_ms', CAST(duration_ms AS BIGINT), 'status', status), duration_ms, span
            FROM tool_calls
            UNION ALL
            SELECT id, run, 1, ts_ns, 'generation', coalesce(model, provider, 'model'),
                json_object('provider', provider, 'model', coalesce(response_model, model), 'input_tokens', input_tokens,
                    'output_tokens', output_tokens, 'cost_usd', cost_usd, 'status', status), duration_ms, span
            FROM generations
            UNION ALL
            SELECT id, run, 1, ts_ns, 'decision', coalesce(decision_point, name),
                json_object('decision_type', name, 'branch_taken', what, 'reason', why), NULL, span
            FROM decisions
            UNION ALL
            SELECT id, run, 1, ts_ns, 'transformation', name,
                json_object('method', method, 'duration_ms', CAST(duration_ms AS BIGINT)), duration_ms, span
            FROM transformations
            UNION ALL
            SELECT id, run, 1, ts_ns, 'validation', name,
                json_object('value', value, 'threshold', threshold, 'passed', passed, 'feedback', feedback), NULL, span
            FROM scores
            UNION ALL
            SELECT id, run, 1, ts_ns, 'source', source_type,
                json_object('source_key', source_key, 'records_used', records_used, 'kept', kept, 'reason', reason), NULL, span
            FROM sources
            UNION ALL
            SELECT id, run, 1, ts_ns, 'output', output_id, json_object('kind', kind, 'summary', summary, 'path', path), NULL, span
            FROM outputs
            UNION ALL
            SELECT id, run, 1, ts_ns, coalesce(data->>'$.event_type', 'log'),
                CASE WHEN coalesce(data->>'$.event_type', 'log') = 'log' THEN 'log_' || level ELSE message END,
                CASE WHEN coalesce(data->>'$.event_type', 'log') = 'log' THEN
                        json_merge_patch(json_object('message', message, 'level', upper(level)),
                            CASE WHEN CAST(data AS VARCHAR) = '{{}}' THEN json_object() ELSE json_object('data', data) END)
                    ELSE coalesce(data->'$.details', json_object()) END,
                TRY_CAST(data->>'$.details.duration_ms' AS DOUBLE), span
            FROM events
        )
        SELECT h.id AS event_id, h.run AS session_id, h.event_type, h.event_name, {_time("h.ts_ns")} AS timestamp,
            row_number() OVER (PARTITION BY h.run ORDER BY h.place, h.ts_ns, h.id) AS sequence_number, h.details,
            TRY_CAST(h.duration_ms AS BIGINT) AS duration_ms, h.span AS related_event_id
        FROM happened h""",
    "provenance_tool_calls": f"""
        SELECT t.id AS call_id, t.run AS session_id, t.id AS event_id, t.tool_type, t.tool_name, t.input AS input_params,
            t.output AS output_data, strlen(CAST(t.output AS VARCHAR)) AS output_size_bytes, {_time("t.ts_ns")} AS call_time,
            CAST(t.duration_ms AS BIGINT) AS duration_ms, coalesce(t.cache_hit, false) AS cache_hit, t.cache_key,
            t.attributes->>'$.cache_source' AS cache_source, t.rate_limit_delay_ms, coalesce(t.retry_count, 0) AS retry_count,
            t.status = 'ok' AS success, t.error_type, t.error->>'$.message' AS error_message
        FROM tool_calls t""",
    "provenance_decisions": f"""
        SELECT d.id AS decision_id, d.run AS session_id, d.id AS event_id, d.name AS decision_type, d.decision_point,
            d.inputs AS input_values, CAST(NULL AS VARCHAR) AS condition_evaluated, d.what->>'$' AS branch_taken,
            CAST(list_transform(CAST(d.options AS JSON[]), lambda o: o->>'$.name') AS JSON) AS branches_available,
            d.why AS reason, {_time("d.ts_ns")} AS timestamp, d.confidence AS confidence
        FROM decisions d""",
    "provenance_transformations": f"""
        SELECT t.id AS transformation_id, t.run AS session_id, t.id AS event_id,
            coalesce(t.attributes->>'$.transformation_type', t.method) AS transformation_type, t.name AS transformation_name, t.input_schema, t.input_sample, t.input_size, t.output_schema, t.output_sample,
            t.output_size, t.method, t.parameters, {_time("t.ts_ns")} AS timestamp, CAST(t.duration_ms AS BIGINT) AS duration_ms
        FROM transformations t""",
    "provenance_entity_links": f"""
        SELECT row_number() OVER (ORDER BY l.ts_ns, l.id) AS link_id, l.run AS session_id, l.span AS event_id,
            coalesce(l.attributes->>'$.entity_table', l.kind) AS entity_table, l.target AS entity_id,
            coalesce(l.attributes->>'$.link_type', l.kind) AS link_type, {_time("l.ts_ns")} AS timestamp
        FROM links l WHERE l.kind = 'entity'""",
    **TRACE_VIEWS,
}
"""View name to its SELECT, over the tables of this package."""


class SqlTables:
    """Files that hold a home's rows for another process, and the SQL that makes tables of them.

    Close it to remove the hot files.
    """

    def __init__(
        self,
        folder: tempfile.TemporaryDirectory[str],
        files: dict[str, str],
        sources: dict[str, str],
    ) -> None:
        self._folder = folder
        self.files = files
        """Short name to path of each Parquet file."""
        self.sources = sources
        """Table name to its SELECT; `{name}` stands for the URL of a file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        self._folder.cleanup()


def export_tables(
    connection: DuckDBPyConnection,
    archive: Mapping[str, Sequence[str]],
    *,
    split_runs: bool,
    split_spans: bool,
) -> SqlTables:
    """Write the hot rows to files and return how each table is read from files alone."""
    folder = tempfile.TemporaryDirectory(prefix="whence-sql-")
    files: dict[str, str] = {}
    sources: dict[str, str] = {}

    def copied(select: str, name: str) -> str:
        path = str(Path(folder.name) / f"{name}.parquet")
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
        files[name] = path
        return f"'{{{name}}}'"

    for split, wanted in (("split_runs", split_runs), ("split_spans", split_spans)):
        if wanted:
            copied(f"SELECT * FROM {split}", split)
    for table in TABLES:
        names = columns.column_list(table)
        selects: list[str] = []
        listed: list[str] = []
        for index, path in enumerate(archive[table]):
            files[f"{table}_{index}"] = path
            listed.append(f"'{{{table}_{index}}}'")
        if listed:
            select = f"SELECT {names} FROM read_parquet([{', '.join(listed)}])"
            if table == "runs" and split_runs:
                select += " WHERE id NOT IN (SELECT id FROM read_parquet('{split_runs}'))"
            elif table == "spans" and split_spans:
                select += " a WHERE NOT EXISTS (SELECT 1 FROM read_parquet('{split_spans}') s WHERE s.run = a.run AND s.id = a.id)"
            selects.append(select)
        count = connection.execute(f"SELECT count(*) FROM hot_{table}").fetchone()
        if not listed or (count is not None and count[0]):
            hot = copied(f"SELECT {names} FROM hot_{table}", f"hot_{table}")
            selects.append(f"SELECT {names} FROM read_parquet({hot})")
        sources[table] = " UNION ALL ".join(selects)
    return SqlTables(folder, files, sources)
