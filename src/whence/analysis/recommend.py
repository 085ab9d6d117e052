"""Four ways to spend less on model calls, each with what it would save.

Caching, a smaller model for simple tasks, a flatter workflow, a shorter prompt template. When each
is advised and what it is held to save is document 2's (token provenance), its numbers being in
`patterns.Thresholds`; what is saved is a share of the costs that are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from whence.analysis.patterns import DEFAULT, Thresholds, repeated, spare
from whence.query import text

if TYPE_CHECKING:
    from whence.analysis.facts import Facts

Priority = Literal["high", "medium", "low"]


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to change."""

    type: str
    """`implement_caching`, `optimize_model_selection`, `flatten_workflow`,
    `optimize_prompt_template`."""
    priority: Priority
    """How much it matters."""
    description: str
    """What to do, in one sentence."""
    potential_savings: float | None = None
    """US dollars it would have saved, None if no cost is known; for `flatten_workflow` the
    document's constant, which is no sum of money."""
    affected: dict[str, Any] = {}
    """What it is about, with figures."""

    def to_dict(self) -> dict[str, Any]:
        """Return the recommendation as JSON-ready data."""
        return msgspec.to_builtins(self)


def find_all(facts: Facts, limits: Thresholds = DEFAULT) -> list[Recommendation]:
    """Return what is advised, what saves most first, what saves an unknown sum last."""
    found = [
        *caching(facts, limits),
        *model_selection(facts, limits),
        *flattening(facts, limits),
        *prompt_templates(facts, limits),
    ]
    return sorted(found, key=_order)


def _order(one: Recommendation) -> tuple[bool, float]:
    return (one.potential_savings is None, -(one.potential_savings or 0.0))


def caching(facts: Facts, limits: Thresholds = DEFAULT) -> list[Recommendation]:
    """Return inputs that were sent often enough to keep their answers."""
    return [
        Recommendation(
            type="implement_caching",
            priority="high",
            description=f"keep the answer to the input {text.printable(group.key[0], 40)}, "
            f"which was sent {group.calls:,} times",
            potential_savings=spare(group, group.cost_usd),
            affected={"input_hash": group.key[0], "occurrence_count": group.calls},
        )
        for group in repeated(facts, limits.cached_duplicates)[: limits.findings]
    ]


def model_selection(facts: Facts, limits: Thresholds = DEFAULT) -> list[Recommendation]:
    """Return simple types of task for which an expensive model is used."""
    models: dict[Any, dict[str, int]] = {}
    for group in facts.groups(("task_type", "model")):
        task_type, model = group.key
        if model is not None:
            models.setdefault(task_type, {})[model] = group.calls
    found: list[Recommendation] = []
    for group in facts.groups(("task_type",)):
        used = models.get(group.key[0], {})
        is_simple = group.mean_tokens is not None and group.mean_tokens < limits.small_tokens
        if not is_simple or used.keys().isdisjoint(limits.expensive_models):
            continue
        found.append(
            Recommendation(
                type="optimize_model_selection",
                priority="medium",
                description=f"use a smaller model for {_shown(group.key[0])}",
                potential_savings=_share(group.cost_usd, limits.model_share),
                affected={
                    "task_type": group.key[0],
                    "current_models": used,
                    "avg_tokens": group.mean_tokens,
                    "request_count": group.calls,
                },
            )
        )
    return sorted(found, key=_order)[: limits.findings]


def flattening(facts: Facts, limits: Thresholds = DEFAULT) -> list[Recommendation]:
    """Return workflows with requests that are too deep."""
    deep = facts.groups(("workflow",), deeper_than=limits.depth)
    found = sorted(
        (group for group in deep if group.key[0] is not None),
        key=lambda group: (-(group.max_depth or 0), group.key[0]),
    )[: limits.findings]
    return [
        Recommendation(
            type="flatten_workflow",
            priority="medium",
            description=f"the workflow {text.printable(group.key[0], 80)} is {group.max_depth} "
            "requests deep; do several of them in one",
            potential_savings=limits.flat_savings,
            affected={
                "workflow_id": group.key[0],
                "max_depth": group.max_depth,
                "deep_requests": group.calls,
            },
        )
        for group in found
    ]


def prompt_templates(facts: Facts, limits: Thresholds = DEFAULT) -> list[Recommendation]:
    """Return prompt templates whose calls take many tokens."""
    found = [
        Recommendation(
            type="optimize_prompt_template",
            priority="low",
            description=f"shorten the prompt template {text.printable(group.key[0], 80)}",
            potential_savings=_share(group.cost_usd, limits.prompt_share),
            affected={
                "template_id": group.key[0],
                "current_avg_tokens": group.mean_tokens,
                "usage_count": group.calls,
            },
        )
        for group in facts.groups(("prompt",))
        if group.key[0] is not None and (group.mean_tokens or 0) > limits.prompt_tokens
    ]
    return sorted(found, key=_order)[: limits.findings]


def _shown(task_type: str | None) -> str:
    return "calls without a type of task" if task_type is None else text.printable(task_type, 80)


def _share(total: float | None, share: float) -> float | None:
    return None if total is None else total * share
