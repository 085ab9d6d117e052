"""How the sorts of agents do: what they ask for, what it costs, how often it fails.

Source: document 2 (token provenance), with its weights of how complex a type of task is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whence.analysis.facts import Facts

COMPLEXITY = {"simple_query": 1, "analysis": 2, "code_generation": 3, "complex_reasoning": 4}
"""How complex a type of task is held to be."""
OTHER_COMPLEXITY = 2
BEST = 100
_TOKENS = 1000


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one sort of agent."""

    agent_type: str | None
    """The sort of agent; None for calls that name none."""
    request_count: int
    """How many calls it made."""
    total_tokens: int | None
    """Sum of the tokens that are known."""
    total_cost_usd: float | None
    """Sum of the costs that are known."""
    mean_tokens: int | None
    """Tokens a call, rounded down."""
    mean_cost_usd: float | None
    """Cost a call, over the calls that have one."""
    task_distribution: dict[str, int]
    """Calls by type of task."""
    error_rate: float
    """Share of the calls that failed, 0 to 1."""
    efficiency_score: int | None
    """From 0 to 100; None if no number of tokens is known. See `efficiency`."""


def performance(facts: Facts) -> list[Performance]:
    """Return figures by sort of agent, those with the most calls first."""
    tasks: dict[str | None, dict[str | None, int]] = {}
    for group in facts.groups(("agent_type", "task_type")):
        agent_type, task_type = group.key
        tasks.setdefault(agent_type, {})[task_type] = group.calls
    return [
        Performance(
            agent_type=group.key[0],
            request_count=group.calls,
            total_tokens=group.tokens,
            total_cost_usd=group.cost_usd,
            mean_tokens=group.mean_tokens,
            mean_cost_usd=group.mean_cost_usd,
            task_distribution={
                name: count for name, count in tasks[group.key[0]].items() if name is not None
            },
            error_rate=group.failed / group.calls,
            efficiency_score=efficiency(group.mean_tokens, tasks[group.key[0]]),
        )
        for group in facts.groups(("agent_type",))
    ]


def efficiency(mean_tokens: int | None, tasks: Mapping[str | None, int]) -> int | None:
    """Return how few tokens the tasks took for how complex they are, 0 to 100.

    `min(100, round(1000 / (mean tokens / mean complexity)))`, halves rounded up.
    """
    if mean_tokens is None or not tasks:
        return None
    if mean_tokens == 0:
        return BEST
    weights = sum(COMPLEXITY.get(task or "", OTHER_COMPLEXITY) * n for task, n in tasks.items())
    score = _TOKENS * weights / sum(tasks.values()) / mean_tokens
    return min(BEST, math.floor(score + 0.5))
