"""The table `traces` of document 5 (pipeline observability) and its two views, as SELECTs.

Comes in: the tables of `whence.store.rows`, in DuckDB's SQL. Goes out: one row a run in the columns
of that document's section 3.2, whoever recorded the run, and the two views over these rows. Nothing
is stored: what the research dialect states in attributes and outputs comes first, what other runs
have follows from their spans, sources, generations and scores, and the rest is null.

A principle is a gap when its last score did not pass or, where nobody said, is below 2; it is a
strength when it has the full score of the scale 0 to 3. Durations and tokens count all passes
through a stage.
"""

from __future__ import annotations

TRACE_COLUMNS = (
    "id", "trace_id", "project_id", "project_name", "query", "intent", "domain", "report_type",
    "research_type", "status", "quality_gate_passed", "overall_quality_score", "started_at",
    "completed_at", "duration_seconds", "intake_duration", "rubric_duration",
    "collection_duration", "synthesis_duration", "quality_gate_duration", "evidence_collected",
    "evidence_passed", "evidence_filtered", "synthesis_model", "synthesis_input_tokens",
    "synthesis_output_tokens", "synthesis_cost_usd", "principle_scores", "gap_principles",
    "strength_principles", "iteration_count", "quality_gate_failures", "trace_file_path",
    "report_file_path", "output_file_paths", "flagged_for_review", "review_notes", "created_at",
    "updated_at",
)  # fmt: skip
"""The columns of `traces`, in order."""

LAST_SCORES = """
    SELECT run, name, max_by({'value': value, 'passed': passed, 'scale': scale}, ts_ns) AS last,
        max(iteration) AS iteration
    FROM scores{of} GROUP BY run, name"""
"""The last verdict on each principle of each run; `{of}` limits the runs."""

GAP = "coalesce(NOT last.passed, last.value < 2, false)"
"""Whether a last verdict is a gap."""

_TRACES = """
WITH stage AS (
    SELECT run,
        sum(seconds) FILTER (WHERE name = 'intake') AS intake,
        sum(seconds) FILTER (WHERE name = 'rubric') AS rubric,
        sum(seconds) FILTER (WHERE name = 'collection') AS collection,
        sum(seconds) FILTER (WHERE name = 'synthesis') AS synthesis,
        sum(seconds) FILTER (WHERE name = 'quality_gate') AS quality_gate,
        max_by(evidence, started_ns) FILTER (WHERE name = 'collection') AS evidence,
        max_by(output, started_ns) FILTER (WHERE name = 'collection') AS collected
    FROM (
        SELECT run, name, started_ns, output, attributes->'$.evidence.stated' AS evidence,
            CASE WHEN attributes->>'$.unstarted' = 'true'
                THEN TRY_CAST(attributes->>'$.duration_seconds' AS DOUBLE)
                ELSE duration_ms / 1000 END AS seconds
        FROM spans WHERE kind = 'stage'{and_of}
    ) GROUP BY run
), evidence AS (
    SELECT run, count(*) AS collected, count(*) FILTER (WHERE kept) AS passed
    FROM sources{of} GROUP BY run
), model AS (
    SELECT run, max_by(coalesce(response_model, model), ts_ns) AS model,
        CAST(sum(input_tokens) AS BIGINT) AS input_tokens,
        CAST(sum(output_tokens) AS BIGINT) AS output_tokens, sum(cost_usd) AS cost_usd
    FROM generations WHERE stage = 'synthesis'{and_of} GROUP BY run
), verdict AS ({last_scores}
), gate AS (
    SELECT run,
        any_value(last.value) FILTER (WHERE name = 'overall') AS overall,
        any_value(last.passed) FILTER (WHERE name = 'overall') AS passed,
        list(name ORDER BY name) FILTER (WHERE name <> 'overall' AND {gap}) AS gaps,
        list(name ORDER BY name) FILTER (
            WHERE name <> 'overall' AND last.value = 3 AND coalesce(last.scale, '0-3') = '0-3'
        ) AS strengths,
        max(iteration) AS iterations
    FROM verdict GROUP BY run
), principle AS (
    SELECT run, json_group_object(name, last.value) AS scores
    FROM verdict WHERE name <> 'overall' AND last.value IS NOT NULL GROUP BY run
), failure AS (
    SELECT run, count(DISTINCT coalesce(iteration, 0)) AS failures
    FROM scores WHERE name = 'overall' AND NOT passed{and_of} GROUP BY run
), report AS (
    SELECT run, list(path ORDER BY first_ns, path) AS paths,
        max_by(path, last_ns) FILTER (WHERE NOT is_aside) AS path
    FROM (
        SELECT run, path, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns,
            bool_and(kind IN ('evidence', 'knowledge')) AS is_aside
        FROM outputs WHERE path IS NOT NULL{and_of} GROUP BY run, path
    ) GROUP BY run
), remark AS (
    SELECT run, max_by(coalesce(note, flag), ts_ns) AS notes
    FROM annotations WHERE target = run AND coalesce(note, flag) IS NOT NULL{and_of} GROUP BY run
), known AS (
    SELECT *, attributes->>'$.dialect' = 'research' AS stated FROM {runs}
)
SELECT r.id AS id,
    coalesce(r.external_id, r.id) AS trace_id,
    coalesce(r.attributes->>'$.project_id', r.project) AS project_id,
    coalesce(r.attributes->>'$.project_name', r.project) AS project_name,
    coalesce(r.attributes->>'$.query', r.attributes->>'$.question') AS query,
    r.attributes->>'$.intent' AS intent,
    r.attributes->>'$.domain' AS domain,
    coalesce(r.attributes->>'$.report_type', nullif(r.kind, 'research')) AS report_type,
    r.attributes->>'$.research_type' AS research_type,
    CASE r.status WHEN 'running' THEN 'in_progress' WHEN 'cancelled' THEN 'incomplete'
        ELSE r.status END AS status,
    g.passed AS quality_gate_passed,
    g.overall AS overall_quality_score,
    make_timestamp(r.started_ns // 1000) AS started_at,
    make_timestamp(r.ended_ns // 1000) AS completed_at,
    coalesce(
        TRY_CAST(r.attributes->>'$.duration_seconds' AS DOUBLE), r.duration_ms / 1000
    ) AS duration_seconds,
    t.intake AS intake_duration,
    t.rubric AS rubric_duration,
    t.collection AS collection_duration,
    t.synthesis AS synthesis_duration,
    t.quality_gate AS quality_gate_duration,
    coalesce(TRY_CAST(t.evidence->>'$.collected_count' AS BIGINT), e.collected)
        AS evidence_collected,
    coalesce(TRY_CAST(t.collected->>'$.evidence_passed' AS BIGINT), e.passed) AS evidence_passed,
    coalesce(TRY_CAST(t.collected->>'$.evidence_filtered' AS BIGINT), e.collected - e.passed)
        AS evidence_filtered,
    m.model AS synthesis_model,
    m.input_tokens AS synthesis_input_tokens,
    m.output_tokens AS synthesis_output_tokens,
    m.cost_usd AS synthesis_cost_usd,
    coalesce(s.scores, CAST('{}' AS JSON)) AS principle_scores,
    coalesce(g.gaps, CAST([] AS VARCHAR[])) AS gap_principles,
    coalesce(g.strengths, CAST([] AS VARCHAR[])) AS strength_principles,
    coalesce(
        TRY_CAST(r.attributes->>'$.iteration_count' AS BIGINT),
        CASE WHEN NOT coalesce(r.stated, false) THEN g.iterations END, 1
    ) AS iteration_count,
    coalesce(
        TRY_CAST(r.attributes->>'$.quality_gate_failures' AS BIGINT),
        CASE WHEN NOT coalesce(r.stated, false) THEN f.failures END, 0
    ) AS quality_gate_failures,
    r.attributes->>'$.trace_file_path' AS trace_file_path,
    coalesce(r.output->>'$.report_path', p.path) AS report_file_path,
    p.paths AS output_file_paths,
    r.flagged AS flagged_for_review,
    a.notes AS review_notes,
    make_timestamp(r.started_ns // 1000) AS created_at,
    make_timestamp(coalesce(r.ended_ns, r.started_ns) // 1000) AS updated_at
FROM known r
LEFT JOIN stage t ON t.run = r.id
LEFT JOIN evidence e ON e.run = r.id
LEFT JOIN model m ON m.run = r.id
LEFT JOIN gate g ON g.run = r.id
LEFT JOIN principle s ON s.run = r.id
LEFT JOIN failure f ON f.run = r.id
LEFT JOIN report p ON p.run = r.id
LEFT JOIN remark a ON a.run = r.id"""


def traces(*, chosen: bool = False) -> str:
    """Return the SELECT of `traces`.

    Args:
        chosen: Of the runs in the table or expression `chosen` alone, which has the columns of
            `runs`: a few runs of many are found without looking at what the others recorded.
    """
    of = " WHERE run IN (SELECT id FROM chosen)" if chosen else ""
    replaced = {
        "{last_scores}": LAST_SCORES,
        "{gap}": GAP,
        "{and_of}": of.replace("WHERE", "AND"),
        "{of}": of,
        "{runs}": "chosen" if chosen else "runs",
    }
    text = _TRACES
    for name, part in replaced.items():
        text = text.replace(name, part)
    return text


TRACE_VIEWS: dict[str, str] = {
    "traces": traces(),
    "trace_quality_gaps": """
SELECT trace_id, project_id, intent, domain, report_type, overall_quality_score,
    quality_gate_passed, gap_principles, principle_scores, started_at, project_name
FROM traces WHERE status = 'complete' AND len(gap_principles) > 0 ORDER BY started_at DESC""",
    "trace_intent_summary": """
SELECT intent, count(*) AS total_runs, count(*) FILTER (WHERE quality_gate_passed) AS passed,
    count(*) FILTER (WHERE NOT quality_gate_passed) AS failed,
    avg(overall_quality_score) AS avg_quality, avg(duration_seconds) AS avg_duration,
    avg(synthesis_cost_usd) AS avg_cost
FROM traces WHERE status = 'complete' GROUP BY intent ORDER BY total_runs DESC""",
}
"""View name to its SELECT."""
