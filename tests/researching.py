"""What tests of research traces share: a place to trace into, and a pipeline that is told of."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path

import pytest

from whence import research
from whence.dialects.research import live
from whence.research import TraceContext

CLOCK = frozenset(
    {"timestamp", "started_at", "completed_at", "duration_seconds", "tracing_overhead_ms"}
)
INTENT = {
    "what": "validating",
    "why": "User has a hypothesis",
    "confidence": 0.85,
    "alternatives_considered": ["exploring (0.10)", "executing (0.05)"],
    "inputs": {"query_text": "cobots?"},
}
PRINCIPLES = [
    {"id": "META-1", "name": "No Generics", "score": 3, "feedback": "specific"},
    {"id": "META-12", "name": "Source Attribution", "score": 1, "feedback": "no citations"},
]
VERDICT = {
    "principle_scores": PRINCIPLES,
    "overall_score": 2.4,
    "passed": True,
    "threshold": 2.0,
}
EVIDENCE = {
    "collected_count": 28,
    "by_source": {"exa": 22, "reddit": 6},
    "query_terms_used": ["cobot market"],
    "filtered_out": [
        {"url": "https://e.org/old", "reason": "published 2019", "scores": {"recency": 0.1}}
    ],
    "kept": [
        {
            "url": "https://ifr.org/r",
            "title": "IFR",
            "scores": {"relevance": 0.9, "composite": 0.93},
        }
    ],
}


@pytest.fixture(name="traced")
def traced_root(recording, tmp_path):
    """A home to record into, a root for files, and no trace from elsewhere."""
    token = live._current.set(None)
    research.configure(root=tmp_path / "brain")
    yield tmp_path / "brain"
    research.configure()
    live._current.reset(token)
    assert recording == tmp_path / "home"


def without_clock(value):
    """Return a document without what depends on when it was made."""
    if isinstance(value, dict):
        return {k: without_clock(v) for k, v in value.items() if k not in CLOCK}
    return [without_clock(one) for one in value] if isinstance(value, list) else value


def load(path):
    return json.loads(Path(path).read_text("utf-8"))


def finish(trace):
    return asyncio.run(TraceContext.finish(trace))


def run_pipeline(trace):
    """Tell a trace of one run through the five stages."""
    trace.start_stage("intake")
    trace.record("intake", "classified_intent", INTENT)
    trace.end_stage("intake", outputs={"intent": "validating"})
    trace.start_stage("collection")
    trace.record_evidence("collection", EVIDENCE)
    trace.end_stage("collection", outputs={"evidence_passed": 18, "evidence_filtered": 10})
    trace.start_stage("synthesis")
    trace.record_prompts("synthesis", {"system_prompt": "Be exact.", "user_message": "Cobots?"})
    trace.end_stage(
        "synthesis",
        outputs={
            "model": "claude-opus-4-6",
            "token_usage": {"input_tokens": 45000, "output_tokens": 3800, "total_tokens": 48800},
            "cost_usd": 0.32,
        },
    )
    trace.start_stage("quality_gate")
    trace.end_stage("quality_gate", outputs=copy.deepcopy(VERDICT))
    trace.set_outputs({"report_path": "reports/cobots.md", "evidence_paths": ["evidence/a.json"]})
