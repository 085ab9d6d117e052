"""Sessions of agents, as document 3 (hybrid sessions) speaks of them."""

from whence.dialects.agents.asking import ProvenanceQueries
from whence.dialects.agents.base import BaseAgent
from whence.dialects.agents.indexing import index_sessions
from whence.dialects.agents.report import report
from whence.dialects.agents.tracker import ProvenanceTracker, get_tracker
from whence.ingest.session_folders import iter_sessions

__all__ = [
    "BaseAgent",
    "ProvenanceQueries",
    "ProvenanceTracker",
    "get_tracker",
    "index_sessions",
    "iter_sessions",
    "report",
]
