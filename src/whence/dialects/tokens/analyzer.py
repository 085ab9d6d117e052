"""The provenance analyzer: what the requests say about waste, cost and agents.

A thin translation of `whence.analysis` into the words of document 2 (token provenance): patterns,
recommendations, cost attribution, agent performance, bottlenecks and the cost trend. It looks at
everything that was recorded, by any process and any dialect, not at a buffer, and it looks when it
is asked.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from whence.analysis import agents, costs, patterns, recommend
from whence.analysis.asking import open_facts
from whence.analysis.facts import FIELDS
from whence.analysis.patterns import DEFAULT, Thresholds
from whence.dialects.tokens import numbers
from whence.dialects.tokens.manager import TokenManager
from whence.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Generator

    from whence.analysis.facts import Call, Facts
    from whence.analysis.finding import Finding
    from whence.analysis.recommend import Recommendation
    from whence.query.reader import Reader

PATTERN_TYPES = (
    "duplicate_requests",
    "retry_storm",
    "deep_request_chain",
    "circular_dependency",
    "expensive_task_pattern",
)
RECOMMENDATION_TYPES = (
    "implement_caching",
    "optimize_model_selection",
    "flatten_workflow",
    "optimize_prompt_template",
)
DIMENSIONS = ("workflow", "agent_type", "task_type", "intent", "depth")
"""What costs are attributed by unless one field is asked for."""
_FIELDS = {
    "workflow_id": "workflow",
    "session_id": "session",
    "conversation_id": "conversation",
    "user_id": "user",
    "project_id": "project",
    "team": "team_id",
    "prompt_template_id": "prompt",
    "root_request_id": "root",
    "request_id": "request",
}
"""The document's words for fields of a call."""


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """One inefficiency."""

    type: str
    """One of `PATTERN_TYPES`."""
    severity: str
    """`critical`, `high` or `medium`."""
    description: str
    """What was found, in one sentence."""
    recommendation: str
    """What to do about it."""
    request_ids: list[str]
    """The requests it is about, at most a thousand of them."""
    wasted_cost: float | None
    """US dollars that were spent for nothing; None if that cannot be said."""
    pattern_details: dict[str, Any]
    """The figures behind it."""
    evidence: list[str]
    """Ids of the records it rests on."""
    query: str
    """SQL that shows them, for `whence sql`."""

    @property
    def affected_requests(self) -> list[str]:
        """The requests it is about, under the name that the document's system has for them."""
        return self.request_ids

    def to_dict(self) -> dict[str, Any]:
        """Return the pattern as JSON-ready data."""
        return msgspec.to_builtins(self)


class ProvenanceAnalyzer:
    """Answers questions about all recorded requests, each from the records as they are then.

    Args:
        manager_or_store: A token manager, whose home is asked, or its buffer where nothing is
            recorded; or an open reader, `whence.open(…)`.
        filter: Which generations count, in the filter language, when a reader is given.
        thresholds: From where on something counts; the document's numbers unless given.
    """

    def __init__(
        self,
        manager_or_store: TokenManager | Reader,
        *,
        filter: str = "",  # noqa: A002 - the word of the public API
        thresholds: Thresholds = DEFAULT,
    ) -> None:
        self._asked = manager_or_store
        self._filter = filter
        self._limits = thresholds

    @contextmanager
    def _facts(self, extra: str | None = None, *, hashes: bool = False) -> Generator[Facts]:
        if not isinstance(self._asked, TokenManager):
            with open_facts(self._asked, filter=self._filter, extra=extra, hashes=hashes) as facts:
                yield facts
            return
        if self._filter:
            raise StoreError("a filter needs a store: ProvenanceAnalyzer(whence.open(), filter=…)")
        with self._asked.source() as source, source.facts(None, extra, hashes=hashes) as facts:
            yield facts

    def patterns(self) -> list[Pattern]:
        """Return the inefficiencies, pattern by pattern, the worst of each first.

        Raises:
            StoreError: The store cannot be read.
            FilterError: The filter is wrong.
        """
        with self._facts(hashes=True) as facts:
            return [_pattern(found) for found in patterns.find_all(facts, self._limits)]

    def recommendations(self) -> list[Recommendation]:
        """Return what would save money, what saves most first.

        Raises:
            StoreError: The store cannot be read.
            FilterError: The filter is wrong.
        """
        with self._facts(hashes=True) as facts:
            return recommend.find_all(facts, self._limits)

    def cost_attribution(self, by: str | None = None) -> dict[Any, Any]:
        """Return costs by a field of the requests.

        Args:
            by: `workflow`, `agent_type`, `task_type`, `intent`, `depth`, `model`, `user_id`,
                `team_id` and so on, or any key of the attributes or metadata. If None, all of the
                document's dimensions, its ten dearest requests and the trend.

        Returns:
            For each value of the field `total_cost`, `total_tokens`, `request_count`, `avg_cost`,
            `avg_cost_per_request` and `unpriced`. Requests without a workflow are not in it when
            it is by workflow.

        Raises:
            StoreError: The store cannot be read.
            FilterError: The filter is wrong.
        """
        if by is None:
            with self._facts() as facts:
                report: dict[Any, Any] = {f"by_{name}": _shares(facts, name) for name in DIMENSIONS}
                report["top_cost_drivers"] = [_driver(call) for call in costs.top_drivers(facts)]
                report["cost_trends"] = _trend(costs.trend(facts))
                return report
        field = _FIELDS.get(by, by)
        if field in FIELDS - {"extra"}:
            with self._facts() as facts:
                return _shares(facts, field)
        with self._facts(extra=by) as facts:
            return _shares(facts, "extra")

    def agent_performance(self) -> dict[str | None, dict[str, Any]]:
        """Return figures by type of agent.

        Raises:
            StoreError: The store cannot be read.
            FilterError: The filter is wrong.
        """
        with self._facts() as facts:
            return {
                one.agent_type: {
                    "request_count": one.request_count,
                    "total_tokens": one.total_tokens,
                    "total_cost": one.total_cost_usd,
                    "avg_tokens_per_request": one.mean_tokens,
                    "avg_cost_per_request": one.mean_cost_usd,
                    "task_distribution": one.task_distribution,
                    "error_rate": one.error_rate,
                    "efficiency_score": one.efficiency_score,
                }
                for one in agents.performance(facts)
            }

    def workflow_bottlenecks(self, workflow_id: str | None = None) -> list[dict[str, Any]]:
        """Return requests that many others wait for, those with the most first.

        Args:
            workflow_id: Only requests of this workflow.

        Raises:
            StoreError: The store cannot be read.
            FilterError: The filter is wrong.
        """
        with self._facts() as facts:
            return [
                {
                    "request_id": one.request,
                    "blocked_requests": one.waiting,
                    "workflow_id": one.call.workflow if one.call else None,
                    "task_type": one.call.task_type if one.call else None,
                    "cost": one.call.cost_usd if one.call else None,
                    "tokens": one.call.tokens if one.call else None,
                }
                for one in costs.bottlenecks(facts, self._limits)
                if workflow_id is None or (one.call and one.call.workflow == workflow_id)
            ]

    def cost_trend(self) -> dict[str, Any]:
        """Return costs by hour and whether they rise, as JSON-ready data.

        Raises:
            StoreError: The store cannot be read.
            FilterError: The filter is wrong.
        """
        with self._facts() as facts:
            return _trend(costs.trend(facts))

    def duplicates_of(self, input_hash: str) -> list[str]:
        """Return the requests with an input hash that did not fail, the newest first.

        Raises:
            StoreError: The store cannot be read.
            FilterError: The filter is wrong.
        """
        with self._facts() as facts:
            calls = facts.members("input_hash", [input_hash], self._limits.named)[input_hash]
            return [call.request for call in reversed(calls) if not call.failed]


def _pattern(found: Finding) -> Pattern:
    return Pattern(
        type=found.kind,
        severity=found.severity,
        description=found.summary,
        recommendation=found.advice,
        request_ids=found.subjects,
        wasted_cost=found.recoverable_usd,
        pattern_details=found.figures,
        evidence=found.evidence,
        query=found.query,
    )


def _shares(facts: Facts, field: str) -> dict[Any, dict[str, Any]]:
    made: dict[Any, dict[str, Any]] = {}
    for share in costs.by(facts, field):
        if field == "workflow" and share.key is None:
            continue
        key = share.key
        if field == "hour":
            key = numbers.as_text(numbers.moment_of(key * costs.HOUR_NS))
        made[key] = {
            "total_cost": share.total_cost_usd,
            "total_tokens": share.total_tokens,
            "request_count": share.request_count,
            "avg_cost": share.mean_cost_usd,
            "avg_cost_per_request": share.mean_cost_usd,
            "unpriced": share.unpriced,
        }
    return made


def _driver(call: Call) -> dict[str, Any]:
    return {
        "request_id": call.request,
        "cost": call.cost_usd,
        "agent_type": call.agent_type,
        "task_type": call.task_type,
        "intent": call.intent,
        "workflow_id": call.workflow,
        "depth": call.depth,
    }


def _trend(found: costs.Trend) -> dict[str, Any]:
    return {
        "hourly": [(_hour(start_ns), cost) for start_ns, cost in found.hourly],
        "trend": found.direction,
        "peak_hour": None if found.peak_hour_ns is None else _hour(found.peak_hour_ns),
        "average_hourly_cost": found.mean_hourly_cost_usd,
    }


def _hour(unix_ns: int) -> str:
    return numbers.as_text(numbers.moment_of(unix_ns))
