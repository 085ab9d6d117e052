"""What the actions of one session add up to, kept while they come.

Comes in: actions one by one, in order. Goes out: the totals that a manifest and a summary state. It
holds counts and distinct names, never the actions, so a session of a million actions costs no more
than the files and tools it names.

Source: document 3 (hybrid sessions); which action counts where is that of its original writer.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whence.exports.actions import Action

KEY_DECISIONS = 5
SHOWN_ERRORS = 5
MOST_ERRORS = 100
"""How many errors a manifest lists; all are in the actions."""
TOTALS: dict[str, str] = {
    "reads": "read",
    "searches": "search",
    "modifications": "modify",
    "executions": "execute",
    "queries": "query",
    "decisions": "decision",
    "transformations": "analyze",
}
"""Name of a total in a manifest to the type of action it counts; `create` is counted in none."""
ENTITY_TABLES = ("genome_annotations", "pathway_models", "media_formulations", "ingredients")
"""Tables that every manifest names, whether the session touched them or not."""


class Tally:
    """Totals over the actions of one session."""

    def __init__(self) -> None:
        self.types: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.tools: Counter[str] = Counter()
        self.cache_hits = 0
        self.errors: list[str] = []
        self.usage: dict[str, dict[str, int]] = {}
        """Tool to calls, cache hits and failures of its queries."""
        self._files: dict[str, dict[str, None]] = {}
        self._said: dict[tuple[str, str], dict[str, None]] = {}

    def add(self, action: Action) -> None:
        """Take one action."""
        self.types[action.type] += 1
        self.statuses[action.status] += 1
        self.tools[action.tool] += 1
        hit = bool(action.details.get("cache_hit"))
        self.cache_hits += hit
        if action.error and len(self.errors) < MOST_ERRORS:
            self.errors.append(action.error["message"])
        if action.files:
            self._files.setdefault(action.type, {}).update(dict.fromkeys(action.files))
        if action.type == "query":
            tool = self.usage.setdefault(action.tool, {"calls": 0, "cache_hits": 0, "failures": 0})
            tool["calls"] += 1
            tool["cache_hits"] += hit
            tool["failures"] += action.status == "failure"
        key = _SAID.get(action.type)
        value = action.details.get(key) if key else None
        if key and value:
            self._said.setdefault((action.type, key), {}).setdefault(str(value))

    @property
    def total(self) -> int:
        """How many actions there were."""
        return self.types.total()

    def files(self, *kinds: str) -> list[str]:
        """Return the files that actions of these types touched, each once."""
        return list(dict.fromkeys(file for kind in kinds for file in self._files.get(kind, ())))

    def said(self, kind: str) -> list[str]:
        """Return what actions of a type say of themselves (commands, patterns, ...), each once."""
        return list(self._said.get((kind, _SAID[kind]), ()))

    def action_summary(self) -> dict[str, Any]:
        """Return the `action_summary` of a manifest."""
        lists: dict[str, tuple[str, list[str]]] = {
            "reads": ("files", self.files("read")),
            "searches": ("patterns", self.said("search")),
            "modifications": ("files", self.files("modify")),
            "executions": ("commands", self.said("execute")),
            "queries": ("apis", list(self.usage)),
            "decisions": ("key_decisions", self.said("decision")[:KEY_DECISIONS]),
            "transformations": ("transformation_types", self.said("analyze")),
        }
        return {
            name: {"total": self.types[kind], lists[name][0]: lists[name][1]}
            for name, kind in TOTALS.items()
        }

    def tool_usage(self, sub_agents: list[str] | None) -> dict[str, Any]:
        """Return the `tool_usage` of a manifest.

        Args:
            sub_agents: Types of the agents that were run inside; None if that is not known.
        """
        agents = None if sub_agents is None else list(dict.fromkeys(sub_agents))
        used: dict[str, Any] = {
            name: {
                "calls": self._used(tool, "calls"),
                "cache_hits": self._used(tool, "cache_hits"),
                "operations": [],
            }
            for name, tool in (("pubchem", "PubChemAPI"), ("pubmed", "PubMedAPI"))
        }
        used["duckdb"] = {"calls": self._used("DuckDB", "calls"), "queries": []}
        used["sub_agents"] = {
            "calls": None if sub_agents is None else len(sub_agents),
            "agent_types": agents,
        }
        return used | self.usage

    def _used(self, tool: str, figure: str) -> int:
        return self.usage.get(tool, {}).get(figure, 0)


_SAID = {
    "search": "pattern",
    "execute": "command",
    "decision": "decision_type",
    "analyze": "transformation_type",
}
"""Type of action to the key of its details that its total lists."""
