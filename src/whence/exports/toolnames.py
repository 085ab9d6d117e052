"""What the tools of session folders are called, and which sort of action an event is.

Comes in: the name of an event, such as `api.kegg_lookup`. Goes out: the tool's name as session
folders spell it in every project, such as `KEGGPathwayAPI`, so that one `jq` line counts it across
projects. A program adds names of its own; its runs carry them, so that they are rendered alike by
whoever renders them later. A name that no pattern fits is the tool's name.

Source: document 3 (hybrid sessions); patterns and their order are those of its original tracker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

ActionType = Literal[
    "read", "search", "analyze", "modify", "create", "execute", "query", "decision"
]

TYPE_OF_TOOL: dict[str, ActionType] = {
    "Read": "read",
    "Glob": "search",
    "Grep": "search",
    "Task": "analyze",
    "Edit": "modify",
    "NotebookEdit": "modify",
    "Write": "create",
    "Bash": "execute",
    "WebFetch": "query",
    "WebSearch": "query",
    "AskUserQuestion": "decision",
    "TodoWrite": "decision",
    "EnterPlanMode": "decision",
    "ExitPlanMode": "decision",
}
"""Tool to type of action; a tool that is not here is a `query`."""

TYPE_OF_EVENT: dict[str, ActionType] = {
    "lifecycle": "execute",
    "tool_call": "query",
    "decision": "decision",
    "transformation": "analyze",
    "log": "read",
    "cache_hit": "query",
    "validation": "execute",
    "database_query": "query",
}
"""Type of event to type of action; an event that is not here is an `execute`."""

READ_ONLY_EVENTS = frozenset({"lifecycle", "log", "cache_hit"})
"""Types of events that change nothing."""

PATTERNS: tuple[tuple[str, str], ...] = (
    ("kegg", "KEGGPathwayAPI"),
    ("biocyc", "BioCycAPI"),
    ("ncbi", "NCBIGenomeAPI"),
    ("genome", "NCBIGenomeAPI"),
    ("chebi", "ChEBIAPI"),
    ("equilibrator", "EquilibratorAPI"),
    ("media+optimization", "MediaOptimizationAgent"),
    ("media+formulation", "MediaFormulationAgent"),
    ("growth+prediction", "GrowthPredictionAgent"),
    ("pathway", "PathwayAnalysisAgent"),
    ("literature", "LiteratureAgent"),
    ("evidence", "LiteratureAgent"),
    ("pubchem", "PubChemAPI"),
    ("pubmed", "PubMedAPI"),
    ("duckdb", "DuckDB"),
    ("database", "DuckDB"),
    ("chemistry", "ChemistryAgent"),
    ("sql", "SQLAgent"),
    ("media", "MediaAgent"),
    ("agent_start", "AgentExecution"),
    ("agent_end", "AgentExecution"),
    ("calculation", "ChemicalCalculation"),
    ("bcf", "ChemicalCalculation"),
    ("aggregate", "DataAggregation"),
    ("transform", "DataAggregation"),
    ("decision", "AgentRouter"),
    ("route", "AgentRouter"),
    ("template", "SQLTemplateMatch"),
)
"""Pattern and tool, the first that fits wins. A pattern is one text or several joined by `+`, all
of which have to stand in the name, in capitals or not.
"""


class ToolNames:
    """Gives events the names of their tools.

    Args:
        own: Pattern to tool, which go before the known ones; of two that fit the later one wins.
        mapped: False leaves every name as it is.
    """

    def __init__(self, own: Mapping[str, str] | None = None, *, mapped: bool = True) -> None:
        self.own = dict(own or {})
        self.mapped = mapped
        self._patterns = [
            (pattern.lower().split("+"), tool)
            for pattern, tool in (*reversed(self.own.items()), *PATTERNS)
        ]
        self._known: dict[str, str] = {}

    def tool_of(self, event: str) -> str:
        """Return the name of the tool behind an event."""
        if not self.mapped:
            return event
        known = self._known.get(event)
        if known is None:
            known = self._find(event.lower()) or event
            if len(self._known) < _REMEMBERED:
                self._known[event] = known
        return known

    def _find(self, event: str) -> str | None:
        for words, tool in self._patterns:
            if all(word in event for word in words):
                return tool
        return None

    def tool_of_call(self, tool_type: str | None, tool_name: str) -> str:
        """Return the name of a tool that was called; one of `TYPE_OF_TOOL` is its own name."""
        if not self.mapped or tool_name in TYPE_OF_TOOL:
            return tool_name
        return self.tool_of(f"{tool_type}.{tool_name}" if tool_type else tool_name)


_REMEMBERED = 1_000
_AS_THEY_ARE = ToolNames(mapped=False)


def names_of(attributes: Mapping[str, Any]) -> ToolNames:
    """Return the names that hold for a run with these attributes.

    Only runs of agents call their tools by event; in any other a tool is called what it was called
    when it was recorded.
    """
    if attributes.get("dialect") != "agents":
        return _AS_THEY_ARE
    own: Any = attributes.get("tool_names")
    if not isinstance(own, dict):
        return ToolNames()
    given = cast("dict[Any, Any]", own)
    return ToolNames(
        {p: t for p, t in given.items() if isinstance(p, str) and p and isinstance(t, str)}
    )
