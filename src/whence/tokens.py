"""Token usage with its provenance, as document 2 (token provenance) speaks of it."""

from whence.analysis.patterns import Thresholds
from whence.dialects.tokens.analyzer import (
    PATTERN_TYPES,
    RECOMMENDATION_TYPES,
    Pattern,
    ProvenanceAnalyzer,
)
from whence.dialects.tokens.budget import Budget
from whence.dialects.tokens.manager import TokenManager
from whence.dialects.tokens.provenance import TokenProvenance
from whence.dialects.tokens.relationships import (
    PERSISTED_RELATIONSHIP_TYPES,
    RELATIONSHIP_TYPES,
    ProvenanceRelationship,
    RelationshipGraph,
)
from whence.dialects.tokens.usage import PRICES, Price, TokenUsage
from whence.errors import SignalError, SignalLinkError

__all__ = [
    "PATTERN_TYPES",
    "PERSISTED_RELATIONSHIP_TYPES",
    "PRICES",
    "RECOMMENDATION_TYPES",
    "RELATIONSHIP_TYPES",
    "Budget",
    "Pattern",
    "Price",
    "ProvenanceAnalyzer",
    "ProvenanceRelationship",
    "RelationshipGraph",
    "SignalError",
    "SignalLinkError",
    "Thresholds",
    "TokenManager",
    "TokenProvenance",
    "TokenUsage",
]
