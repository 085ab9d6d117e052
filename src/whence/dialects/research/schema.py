"""The table `traces` in PostgreSQL, with its indexes, trigger and views: document 5 section 3.2.

One script that may be run any number of times, also on a database that has these tables from
elsewhere: what is there stays. It adds one column to that section's, `project_name`, for traces of
projects that the table `projects` does not know; and it makes what that section takes for granted,
the table `projects` and the function behind the trigger, where they are not there.
"""

from __future__ import annotations

LOCK = 5_023
"""Number of the advisory lock that keeps two processes from making the tables at once."""

MIGRATION = """
CREATE TABLE IF NOT EXISTS projects (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name TEXT
);

CREATE TABLE IF NOT EXISTS traces (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    trace_id VARCHAR(100) UNIQUE NOT NULL,
    project_id UUID REFERENCES projects(id) ON DELETE SET NULL,
    query TEXT,
    intent VARCHAR(50),
    domain VARCHAR(100),
    report_type VARCHAR(100),
    research_type VARCHAR(100),
    status VARCHAR(20) NOT NULL DEFAULT 'in_progress',
    quality_gate_passed BOOLEAN,
    overall_quality_score FLOAT,
    started_at TIMESTAMPTZ NOT NULL,
    completed_at TIMESTAMPTZ,
    duration_seconds FLOAT,
    intake_duration FLOAT,
    rubric_duration FLOAT,
    collection_duration FLOAT,
    synthesis_duration FLOAT,
    quality_gate_duration FLOAT,
    evidence_collected INT,
    evidence_passed INT,
    evidence_filtered INT,
    synthesis_model VARCHAR(100),
    synthesis_input_tokens INT,
    synthesis_output_tokens INT,
    synthesis_cost_usd FLOAT,
    principle_scores JSONB DEFAULT '{}',
    gap_principles TEXT[],
    strength_principles TEXT[],
    iteration_count INT DEFAULT 1,
    quality_gate_failures INT DEFAULT 0,
    trace_file_path VARCHAR(500),
    report_file_path VARCHAR(500),
    output_file_paths TEXT[],
    flagged_for_review BOOLEAN DEFAULT FALSE,
    review_notes TEXT,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW()
);
ALTER TABLE traces ADD COLUMN IF NOT EXISTS project_name TEXT;

CREATE INDEX IF NOT EXISTS idx_traces_intent ON traces(intent);
CREATE INDEX IF NOT EXISTS idx_traces_domain ON traces(domain);
CREATE INDEX IF NOT EXISTS idx_traces_report_type ON traces(report_type);
CREATE INDEX IF NOT EXISTS idx_traces_status ON traces(status);
CREATE INDEX IF NOT EXISTS idx_traces_quality_gate ON traces(quality_gate_passed);
CREATE INDEX IF NOT EXISTS idx_traces_project ON traces(project_id);
CREATE INDEX IF NOT EXISTS idx_traces_started ON traces(started_at DESC);
CREATE INDEX IF NOT EXISTS idx_traces_overall_score ON traces(overall_quality_score);
CREATE INDEX IF NOT EXISTS idx_traces_flagged ON traces(flagged_for_review)
    WHERE flagged_for_review = TRUE;
CREATE INDEX IF NOT EXISTS idx_traces_principle_scores ON traces USING GIN (principle_scores);

DO $$ BEGIN
    IF to_regprocedure('update_updated_at_column()') IS NULL THEN
        CREATE FUNCTION update_updated_at_column() RETURNS TRIGGER AS
            'BEGIN NEW.updated_at = NOW(); RETURN NEW; END' LANGUAGE plpgsql;
    END IF;
    IF to_regclass('trace_quality_gaps') IS NULL THEN
        CREATE VIEW trace_quality_gaps AS
        SELECT t.trace_id, t.project_id, t.intent, t.domain, t.report_type,
            t.overall_quality_score, t.quality_gate_passed, t.gap_principles, t.principle_scores,
            t.started_at, coalesce(p.name, t.project_name) AS project_name
        FROM traces t LEFT JOIN projects p ON p.id = t.project_id
        WHERE t.status = 'complete' AND array_length(t.gap_principles, 1) > 0
        ORDER BY t.started_at DESC;
    END IF;
    IF to_regclass('trace_intent_summary') IS NULL THEN
        CREATE VIEW trace_intent_summary AS
        SELECT intent, COUNT(*) AS total_runs,
            COUNT(*) FILTER (WHERE quality_gate_passed = TRUE) AS passed,
            COUNT(*) FILTER (WHERE quality_gate_passed = FALSE) AS failed,
            AVG(overall_quality_score) AS avg_quality, AVG(duration_seconds) AS avg_duration,
            AVG(synthesis_cost_usd) AS avg_cost
        FROM traces WHERE status = 'complete' GROUP BY intent ORDER BY total_runs DESC;
    END IF;
END $$;

DROP TRIGGER IF EXISTS update_traces_updated_at ON traces;
CREATE TRIGGER update_traces_updated_at BEFORE UPDATE ON traces
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
"""
