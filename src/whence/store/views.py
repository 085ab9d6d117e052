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
            r.attributes AS kwargs, json_object('user', r.user, 'project', r.project) AS user_context,
            {_time("r.started_ns")} AS start_time, {_time("r.ended_ns")} AS end_time, CAST(r.duration_ms AS BIGINT) AS duration_ms,
            r.status = 'complete' AS success, r.output AS result_summary, r.error->>'$.message' AS error_message,
            r.environment->>'$.python' AS python_version, r.environment->'$.libraries' AS dependencies,
            CAST(NULL AS VARCHAR) AS db_path, r.parent_run AS parent_session_id,
            CAST(coalesce(r.attributes->>'$.depth', '0') AS INTEGER) AS depth, {_time("r.started_ns")} AS created_at,
            r.status AS status, r.project AS project, r.external_id AS external_id
        FROM runs r""",
    "provenance_events": f"""
        SELECT e.id AS event_id, e.run AS session_id, e.level AS event_type, e.message AS event_name, {_time("e.ts_ns")} AS timestamp,
            row_number() OVER (PARTITION BY e.run ORDER BY e.ts_ns, e.id) AS sequence_number, e.data AS details,
            CAST(NULL AS BIGINT) AS duration_ms, e.span AS related_event_id
        FROM events e""",
    "provenance_tool_calls": f"""
        SELECT t.id AS call_id, t.run AS session_id, t.span AS event_id, t.tool_type, t.tool_name, t.input AS input_params,
            t.output AS output_data, length(CAST(t.output AS VARCHAR)) AS output_size_bytes, {_time("t.ts_ns")} AS call_time,
            CAST(t.duration_ms AS BIGINT) AS duration_ms, coalesce(t.cache_hit, false) AS cache_hit, t.cache_key,
            CAST(NULL AS VARCHAR) AS cache_source, t.rate_limit_delay_ms, coalesce(t.retry_count, 0) AS retry_count,
            t.status = 'ok' AS success, t.error_type, t.error->>'$.message' AS error_message
        FROM tool_calls t""",
    "provenance_decisions": f"""
        SELECT d.id AS decision_id, d.run AS session_id, d.span AS event_id, d.name AS decision_type, d.decision_point,
            d.inputs AS input_values, CAST(NULL AS VARCHAR) AS condition_evaluated, CAST(d.what AS VARCHAR) AS branch_taken,
            CAST(list_transform(CAST(d.options AS JSON[]), lambda o: o->>'$.name') AS JSON) AS branches_available,
            d.why AS reason, {_time("d.ts_ns")} AS timestamp, d.confidence AS confidence
        FROM decisions d""",
    "provenance_transformations": f"""
        SELECT t.id AS transformation_id, t.run AS session_id, t.span AS event_id, t.method AS transformation_type,
            t.name AS transformation_name, t.input_schema, t.input_sample, t.input_size, t.output_schema, t.output_sample,
            t.output_size, t.method, t.parameters, {_time("t.ts_ns")} AS timestamp, CAST(t.duration_ms AS BIGINT) AS duration_ms
        FROM transformations t""",
    "provenance_entity_links": f"""
        SELECT row_number() OVER (ORDER BY l.ts_ns, l.id) AS link_id, l.run AS session_id, l.span AS event_id,
            coalesce(l.attributes->>'$.entity_table', l.kind) AS entity_table, l.target AS entity_id,
            coalesce(l.attributes->>'$.link_type', l.kind) AS link_type, {_time("l.ts_ns")} AS timestamp
        FROM links l WHERE l.kind = 'entity'""",
    "traces": f"""
        WITH stage AS (
            SELECT run, name, sum(duration_ms) / 1000 AS seconds FROM spans WHERE kind = 'stage' GROUP BY run, name
        ), evidence AS (
            SELECT run, count(*) AS collected, count(*) FILTER (WHERE kept) AS passed FROM sources GROUP BY run
        ), model AS (
            SELECT run, max(model) AS model, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
                sum(cost_usd) AS cost_usd
            FROM generations WHERE stage = 'synthesis' GROUP BY run
        ), last_score AS (
            SELECT run, name, max_by(value, ts_ns) AS value, max_by(passed, ts_ns) AS passed, max(iteration) AS iteration
            FROM scores GROUP BY run, name
        ), gate AS (
            SELECT run, avg(value) FILTER (WHERE name <> 'overall') AS mean_score,
                max(value) FILTER (WHERE name = 'overall') AS overall,
                bool_and(passed) FILTER (WHERE name = 'overall') AS overall_passed,
                list(name ORDER BY name) FILTER (WHERE name <> 'overall' AND value < 2) AS gaps,
                list(name ORDER BY name) FILTER (WHERE name <> 'overall' AND value >= 2) AS strengths,
                max(iteration) AS iterations
            FROM last_score GROUP BY run
        ), principle AS (
            SELECT run, json_group_object(name, value) AS scores FROM last_score WHERE name <> 'overall' GROUP BY run
        ), failures AS (
            SELECT run, count(*) AS failures FROM scores WHERE name = 'overall' AND NOT passed GROUP BY run
        ), report AS (
            SELECT run, max_by(path, ts_ns) AS path, list(path ORDER BY ts_ns) FILTER (WHERE path IS NOT NULL) AS paths
            FROM outputs GROUP BY run
        )
        SELECT r.id AS id, coalesce(r.external_id, r.id) AS trace_id, r.project AS project_id, r.project AS project_name,
            coalesce(r.attributes->>'$.query', r.name) AS query, r.attributes->>'$.intent' AS intent,
            r.attributes->>'$.domain' AS domain, coalesce(r.attributes->>'$.report_type', r.kind) AS report_type,
            r.attributes->>'$.research_type' AS research_type,
            CASE WHEN r.status = 'running' THEN 'in_progress' ELSE r.status END AS status,
            g.overall_passed AS quality_gate_passed, coalesce(g.overall, g.mean_score) AS overall_quality_score,
            {_time("r.started_ns")} AS started_at, {_time("r.ended_ns")} AS completed_at, r.duration_ms / 1000 AS duration_seconds,
            (SELECT seconds FROM stage s WHERE s.run = r.id AND s.name = 'intake') AS intake_duration,
            (SELECT seconds FROM stage s WHERE s.run = r.id AND s.name = 'rubric') AS rubric_duration,
            (SELECT seconds FROM stage s WHERE s.run = r.id AND s.name = 'collection') AS collection_duration,
            (SELECT seconds FROM stage s WHERE s.run = r.id AND s.name = 'synthesis') AS synthesis_duration,
            (SELECT seconds FROM stage s WHERE s.run = r.id AND s.name = 'quality_gate') AS quality_gate_duration,
            e.collected AS evidence_collected, e.passed AS evidence_passed, e.collected - e.passed AS evidence_filtered,
            m.model AS synthesis_model, m.input_tokens AS synthesis_input_tokens, m.output_tokens AS synthesis_output_tokens,
            m.cost_usd AS synthesis_cost_usd, coalesce(s.scores, CAST('{{}}' AS JSON)) AS principle_scores,
            coalesce(g.gaps, CAST([] AS VARCHAR[])) AS gap_principles,
            coalesce(g.strengths, CAST([] AS VARCHAR[])) AS strength_principles, coalesce(g.iterations, 1) AS iteration_count,
            coalesce(f.failures, 0) AS quality_gate_failures, p.path AS report_file_path, p.paths AS output_file_paths,
            r.flagged AS flagged_for_review, {_time("r.started_ns")} AS created_at, {_time("coalesce(r.ended_ns, r.started_ns)")} AS updated_at
        FROM runs r LEFT JOIN evidence e ON e.run = r.id LEFT JOIN model m ON m.run = r.id LEFT JOIN gate g ON g.run = r.id
            LEFT JOIN principle s ON s.run = r.id LEFT JOIN failures f ON f.run = r.id LEFT JOIN report p ON p.run = r.id""",
    "trace_quality_gaps": """
        SELECT trace_id, project_id, intent, domain, report_type, overall_quality_score, quality_gate_passed, gap_principles,
            principle_scores, started_at, project_name
        FROM traces WHERE status = 'complete' AND len(gap_principles) > 0 ORDER BY started_at DESC""",
    "trace_intent_summary": """
        SELECT intent, count(*) AS total_runs, count(*) FILTER (WHERE quality_gate_passed) AS passed,
            count(*) FILTER (WHERE NOT quality_gate_passed) AS failed, avg(overall_quality_score) AS avg_quality,
            avg(duration_seconds) AS avg_duration, avg(synthesis_cost_usd) AS avg_cost
        FROM traces WHERE status = 'complete' GROUP BY intent ORDER BY total_runs DESC""",
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
