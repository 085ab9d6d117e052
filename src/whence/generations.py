"""Generation traces as document 4 speaks of them: answers, what they made, and how good it was.

What writes: `OpenAIClient`, the traces, `record_artifact`. What reads takes an open reader first:
`with whence.open() as store: get_trace(store, "problem-7")`.
"""

from whence.dialects.generations.artifacts import record_artifact
from whence.dialects.generations.client import OpenAIClient
from whence.dialects.generations.experiments import Difference, PromptComparison, compare_prompts
from whence.dialects.generations.figures import TraceGroup, TraceStats, trace_stats
from whence.dialects.generations.migration import (
    Applied,
    apply_migration,
    trace_column_migration,
)
from whence.dialects.generations.review import (
    Issue,
    State,
    add_note,
    approve,
    find_issues,
    reject,
    request_review,
)
from whence.dialects.generations.signals import (
    RULES,
    ReasoningReview,
    Rule,
    Signal,
    find_signals,
    review_reasoning,
)
from whence.dialects.generations.significance import Estimate
from whence.dialects.generations.storage import Archived, archive, iter_archive, trim
from whence.dialects.generations.stored import StoredTrace, get_trace, iter_traces
from whence.dialects.generations.traces import (
    QUALITY_STATUSES,
    ArtifactTrace,
    LLMResponse,
    ProblemGenerationTrace,
    SentenceGenerationTrace,
    UnitTrace,
)
from whence.dialects.generations.training import ExportReport, export_training
from whence.dialects.generations.trend import Slope, Trend, TrendPoint, token_trend
from whence.errors import GenerationError, IdentifierError

__all__ = [
    "QUALITY_STATUSES",
    "RULES",
    "Applied",
    "Archived",
    "ArtifactTrace",
    "Difference",
    "Estimate",
    "ExportReport",
    "GenerationError",
    "IdentifierError",
    "Issue",
    "LLMResponse",
    "OpenAIClient",
    "ProblemGenerationTrace",
    "PromptComparison",
    "ReasoningReview",
    "Rule",
    "SentenceGenerationTrace",
    "Signal",
    "Slope",
    "State",
    "StoredTrace",
    "TraceGroup",
    "TraceStats",
    "Trend",
    "TrendPoint",
    "UnitTrace",
    "add_note",
    "apply_migration",
    "approve",
    "archive",
    "compare_prompts",
    "export_training",
    "find_issues",
    "find_signals",
    "get_trace",
    "iter_archive",
    "iter_traces",
    "record_artifact",
    "reject",
    "request_review",
    "review_reasoning",
    "token_trend",
    "trace_column_migration",
    "trace_stats",
    "trim",
]
