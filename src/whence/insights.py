"""The provenance of computed insights: the API of document 1 (intelligence provenance).

Write with `provenance_context`, read with `get_provenance_service()`.
"""

from whence.dialects.insights.context import ProvenanceContext, provenance_context
from whence.dialects.insights.figures import ProvenanceAggregation
from whence.dialects.insights.records import (
    DataSource,
    DecisionFactor,
    ProvenanceRecord,
    ReasoningStep,
)
from whence.dialects.insights.search import ProvenanceQuery
from whence.dialects.insights.service import (
    ProvenancePage,
    ProvenanceService,
    get_provenance_service,
)
from whence.dialects.insights.words import ConfidenceLevel, InsightType

__all__ = [
    "ConfidenceLevel",
    "DataSource",
    "DecisionFactor",
    "InsightType",
    "ProvenanceAggregation",
    "ProvenanceContext",
    "ProvenancePage",
    "ProvenanceQuery",
    "ProvenanceRecord",
    "ProvenanceService",
    "ReasoningStep",
    "get_provenance_service",
    "provenance_context",
]
