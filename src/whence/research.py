"""Traces of research pipelines, in the API of document 5 (pipeline observability).

async with TraceContext.start(project_name="cobot", query="...") as trace:
    trace.start_stage("collection")
    trace.record("collection", "source_selection", {"what": "exa", "why": "..."})
    trace.end_stage("collection", outputs={"evidence_passed": 18})
"""

from __future__ import annotations

from whence.dialects.research.calibration import (
    Calibration,
    CalibrationDraft,
    capture_calibration,
)
from whence.dialects.research.component import TracingComponent, validate_component
from whence.dialects.research.context import TraceContext
from whence.dialects.research.flags import check_calibration_flags
from whence.dialects.research.frontmatter import add_frontmatter, read_frontmatter
from whence.dialects.research.query import TraceQuery, TraceResult
from whence.dialects.research.schema import MIGRATION
from whence.dialects.research.settings import configure
from whence.dialects.research.stages import Decision, StageTrace
from whence.dialects.research.trace import Trace

__all__ = [
    "MIGRATION",
    "Calibration",
    "CalibrationDraft",
    "Decision",
    "StageTrace",
    "Trace",
    "TraceContext",
    "TraceQuery",
    "TraceResult",
    "TracingComponent",
    "add_frontmatter",
    "capture_calibration",
    "check_calibration_flags",
    "configure",
    "read_frontmatter",
    "validate_component",
]
