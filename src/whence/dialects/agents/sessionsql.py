"""The SQL of the questions about sessions, over the six tables.

Each text names its parameters: `$agent` is a type of agent and `$since` a time, and null stands for
all of either; `$limit` is a number of rows. Nothing here runs.
"""

from __future__ import annotations

_AGENT = "($agent IS NULL OR s.agent_type = $agent)"
_STARTED = "($since IS NULL OR s.start_time >= CAST($since AS TIMESTAMP))"

RECENT = f"""
    SELECT session_id, agent_type, query, start_time, end_time, duration_ms, success, error_message,
        parent_session_id, depth
    FROM provenance_sessions s WHERE {_AGENT}
    ORDER BY start_time DESC NULLS LAST, session_id DESC LIMIT $limit"""

AGENTS = f"""
    SELECT agent_type, count(*) AS executions, avg(duration_ms) AS avg_duration_ms,
        min(duration_ms) AS min_duration_ms, max(duration_ms) AS max_duration_ms,
        quantile_cont(duration_ms, 0.95) AS p95_duration_ms,
        count(*) FILTER (WHERE success) AS successful, count(*) FILTER (WHERE NOT success) AS failed
    FROM provenance_sessions s WHERE {_AGENT} AND {_STARTED}
    GROUP BY agent_type ORDER BY executions DESC, agent_type"""

TOOLS = """
    SELECT tool_type, tool_name, count(*) AS call_count, avg(duration_ms) AS avg_duration_ms,
        sum(duration_ms) AS total_duration_ms, quantile_cont(duration_ms, 0.95) AS p95_duration_ms,
        count(*) FILTER (WHERE cache_hit) AS cache_hits,
        count(*) FILTER (WHERE NOT cache_hit) AS cache_misses,
        count(*) FILTER (WHERE success) AS successful, count(*) FILTER (WHERE NOT success) AS failed
    FROM provenance_tool_calls
    WHERE ($since IS NULL OR call_time >= CAST($since AS TIMESTAMP))
    GROUP BY tool_type, tool_name ORDER BY call_count DESC, tool_name, tool_type"""

DECISIONS = f"""
    SELECT s.agent_type, d.decision_type, d.branch_taken, count(*) AS count
    FROM provenance_decisions d JOIN provenance_sessions s USING (session_id)
    WHERE {_AGENT} AND ($since IS NULL OR d.timestamp >= CAST($since AS TIMESTAMP))
    GROUP BY ALL ORDER BY count DESC, s.agent_type, d.decision_type, d.branch_taken"""

ENTITY_SESSIONS = """
    SELECT s.session_id, s.agent_type, s.query, s.start_time, s.duration_ms, s.success, l.link_type,
        l.timestamp
    FROM provenance_entity_links l JOIN provenance_sessions s USING (session_id)
    WHERE l.entity_table = $table AND l.entity_id = $entity
    ORDER BY l.timestamp DESC NULLS LAST, s.session_id"""

ENTITIES = """
    SELECT entity_table, entity_id, count(DISTINCT session_id) AS sessions, count(*) AS links,
        list(DISTINCT link_type ORDER BY link_type) AS link_types,
        min(timestamp) AS first, max(timestamp) AS last
    FROM provenance_entity_links
    WHERE ($since IS NULL OR timestamp >= CAST($since AS TIMESTAMP))
    GROUP BY entity_table, entity_id
    ORDER BY sessions DESC, links DESC, entity_table, entity_id LIMIT $limit"""

BOTTLENECKS = """
    WITH work AS (
        SELECT 'tool' AS kind, coalesce(tool_type || '.', '') || tool_name AS name, session_id,
            duration_ms, call_time AS began
        FROM provenance_tool_calls
        UNION ALL
        SELECT 'transformation', transformation_name, session_id, duration_ms, timestamp
        FROM provenance_transformations
    ), slow AS (
        SELECT kind, name, session_id, duration_ms FROM work
        WHERE duration_ms IS NOT NULL AND ($since IS NULL OR began >= CAST($since AS TIMESTAMP))
    ), around AS (
        SELECT kind, name, sum(s.duration_ms) AS session_ms
        FROM (SELECT DISTINCT kind, name, session_id FROM slow) JOIN provenance_sessions s
            USING (session_id)
        GROUP BY kind, name
    )
    SELECT kind, name, count(*) AS calls, sum(duration_ms) AS total_duration_ms,
        avg(duration_ms) AS avg_duration_ms, max(duration_ms) AS max_duration_ms,
        arg_max(session_id, duration_ms) AS slowest_session,
        sum(duration_ms) / nullif(any_value(session_ms), 0) AS share
    FROM slow JOIN around USING (kind, name)
    GROUP BY kind, name ORDER BY total_duration_ms DESC, kind, name LIMIT $limit"""

SLOWEST = f"""
    SELECT session_id, agent_type, query, duration_ms, success FROM provenance_sessions s
    WHERE duration_ms IS NOT NULL AND {_STARTED}
    ORDER BY duration_ms DESC, session_id LIMIT $limit"""

OVER_TIME = f"""
    SELECT CAST(start_time AS DATE) AS day, agent_type, count(*) AS executions,
        count(*) FILTER (WHERE NOT success) AS failed, avg(duration_ms) AS avg_duration_ms
    FROM provenance_sessions s WHERE start_time IS NOT NULL AND {_STARTED}
    GROUP BY ALL ORDER BY day, agent_type"""

FAILURES = f"""
    SELECT agent_type, error_message, count(*) AS sessions, max(start_time) AS last
    FROM provenance_sessions s WHERE error_message IS NOT NULL AND {_STARTED}
    GROUP BY agent_type, error_message ORDER BY sessions DESC, last DESC LIMIT $limit"""

QUERIES = f"""
    SELECT query, count(*) AS sessions, count(*) FILTER (WHERE NOT success) AS failed,
        list(DISTINCT agent_type) AS agents, max(start_time) AS last
    FROM provenance_sessions s WHERE query IS NOT NULL AND {_STARTED}
    GROUP BY query ORDER BY last DESC NULLS LAST, query LIMIT $limit"""

ASKED = """
    SELECT session_id, agent_type, query, start_time, duration_ms, success
    FROM provenance_sessions WHERE query = $query
    ORDER BY start_time DESC NULLS LAST, session_id LIMIT $limit"""

HIERARCHY = """
    WITH RECURSIVE tree AS (
        SELECT session_id, agent_type, query, parent_session_id, depth, duration_ms, success,
            0 AS level
        FROM provenance_sessions WHERE session_id = $session
        UNION
        SELECT s.session_id, s.agent_type, s.query, s.parent_session_id, s.depth, s.duration_ms,
            s.success, t.level + 1
        FROM provenance_sessions s JOIN tree t ON s.parent_session_id = t.session_id
        WHERE t.level < 100
    )
    SELECT * FROM tree ORDER BY level, session_id"""

SESSION = "SELECT * FROM provenance_sessions WHERE session_id = $session"

OF_SESSION = {
    "events": """
        SELECT * FROM provenance_events WHERE session_id = $session ORDER BY sequence_number""",
    "tool_calls": """
        SELECT * FROM provenance_tool_calls WHERE session_id = $session
        ORDER BY call_time, call_id""",
    "decisions": """
        SELECT * FROM provenance_decisions WHERE session_id = $session
        ORDER BY timestamp, decision_id""",
    "transformations": """
        SELECT * FROM provenance_transformations WHERE session_id = $session
        ORDER BY timestamp, transformation_id""",
    "entity_links": """
        SELECT * FROM provenance_entity_links WHERE session_id = $session ORDER BY link_id""",
}
"""What else is known of a session, by kind."""
