"""What analyzers ask of a home, and the small structs that answer.

A *call* is a model call with what its run says about it: who made it, for what, at what cost. An
*edge* is a link between requests. Analyzers see groups of calls, the edges that matter, and at most
a few thousand calls, never all of them, so that a home with a million is no trouble.

What a call belongs to is read from the standard records. Where a field has several homes the
nearest speaks: the call's own attribute, then the span's field, then the run's. So calls of any
dialect, and of none, are in it; what nobody said is None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from whence.record.link import LINK_KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

RELATIONS = LINK_KINDS[:8]
"""The kinds of link between requests, document 2 (token provenance)."""
PERSISTED_RELATIONS = (
    "derived_from",
    "triggered_by",
    "composed_from",
    "refined_from",
    "validated_by",
    "cached_from",
)
"""The second vocabulary of that document's system, used where it keeps relations in a database."""
REQUEST_LINKS = tuple(dict.fromkeys((*RELATIONS, *PERSISTED_RELATIONS)))
HOUR_NS = 3_600_000_000_000

ATTRIBUTES = (
    "input_hash",
    "agent_type",
    "agent_id",
    "signal_type",
    "task_type",
    "intent",
    "environment",
    "team_id",
    "feature",
    "depth",
    "root_request_id",
    "made_ns",
)
"""The attributes of a generation or its run that facts are made of."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One model call."""

    id: str
    """Id of its record."""
    run: str
    """Id of its run."""
    request: str
    """Id of the request: the run's external id, or its own; the record's if the run has several
    calls."""
    ts_ns: int
    """When it was made, as its program said, or else when it was recorded; Unix nanoseconds."""
    provider: str | None = None
    """Who served it."""
    model: str | None = None
    """The model that was asked for."""
    tokens: int | None = None
    """Input and output tokens."""
    cost_usd: float | None = None
    """What it cost."""
    duration_ms: float | None = None
    """How long it took."""
    failed: bool = False
    """Whether it ended in an error."""
    error_type: str | None = None
    """Class or code of the error."""
    input_hash: str | None = None
    """Stands for what was sent; as stated, or the first 16 hex digits of the SHA-256 of the
    messages where those were asked for."""
    prompt: str | None = None
    """Name of the prompt template."""
    prompt_version: str | None = None
    """Version of the prompt template."""
    workflow: str | None = None
    """The run's workflow."""
    session: str | None = None
    """The run's session."""
    conversation: str | None = None
    """The run's conversation."""
    user: str | None = None
    """Who the run was for."""
    project: str | None = None
    """The run's project."""
    agent_type: str | None = None
    """What sort of agent made it; the agent of its span, or of the span around that."""
    agent_id: str | None = None
    """Which agent made it."""
    signal_type: str | None = None
    """What set it off."""
    task_type: str | None = None
    """What sort of task it was for; the name of the call where no task was stated."""
    intent: str | None = None
    """What it was to achieve."""
    environment: str | None = None
    """Where it ran: `development`, `production`."""
    team_id: str | None = None
    """Which team it is for."""
    feature: str | None = None
    """Which feature of the product it is for."""
    depth: int | None = None
    """How many requests led to it, as stated."""
    root: str | None = None
    """The request at the beginning of its chain, as stated."""
    extra: str | None = None
    """The value of the attribute that was asked for by name."""

    @property
    def hour(self) -> int:
        """The hour it was made in, counted from 1970."""
        return self.ts_ns // HOUR_NS


class Edge(msgspec.Struct, frozen=True):
    """A link between two requests, both named as calls name them."""

    source: str
    """The earlier one."""
    target: str
    """The later one."""
    kind: str
    """One of `REQUEST_LINKS`, or another word."""
    id: str
    """Id of the link's record."""
    ts_ns: int = 0
    """When the link was recorded, Unix nanoseconds."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of some calls that have the same values in the fields of `key`."""

    key: tuple[Any, ...]
    """The values, in the order of the fields that were asked for."""
    calls: int
    """How many calls."""
    failed: int = 0
    """How many of them ended in an error."""
    counted: int = 0
    """How many have a number of tokens."""
    tokens: int | None = None
    """Sum of the tokens that are known."""
    priced: int = 0
    """How many have a cost."""
    cost_usd: float | None = None
    """Sum of the costs that are known."""
    timed: int = 0
    """How many have a duration."""
    duration_ms: float | None = None
    """Sum of the durations that are known."""
    first_ns: int = 0
    """Time of the first one, Unix nanoseconds."""
    last_ns: int = 0
    """Time of the last one, Unix nanoseconds."""
    min_depth: int | None = None
    """Least stated depth."""
    max_depth: int | None = None
    """Greatest stated depth."""

    @property
    def mean_tokens(self) -> int | None:
        """Tokens a call, rounded down; None if no call has a number of tokens."""
        return None if self.tokens is None else self.tokens // self.counted

    @property
    def mean_cost_usd(self) -> float | None:
        """US dollars a call, over the calls that have a cost; None if none has."""
        return None if self.cost_usd is None else self.cost_usd / self.priced


FIELDS = frozenset({*(field.name for field in msgspec.structs.fields(Call)), "hour"})
"""What calls can be grouped by."""


def check_fields(names: Sequence[str]) -> None:
    """Return if all of these are fields of a call, or `hour`.

    Raises:
        KeyError: One is none.
    """
    for name in names:
        if name not in FIELDS:
            raise KeyError(name)


class Facts(Protocol):
    """The questions. Fields are those of `Call`, and `hour`."""

    def groups(
        self, by: Sequence[str], *, min_calls: int = 1, deeper_than: int | None = None
    ) -> list[Group]:
        """Return figures by group, the largest groups first.

        Args:
            by: Fields of a call; none for one group of all.
            min_calls: Leave out groups of fewer calls.
            deeper_than: Only calls whose stated depth is greater.
        """
        ...

    def members(
        self, by: str, keys: Collection[Any], limit: int, *, deeper_than: int | None = None
    ) -> dict[Any, list[Call]]:
        """Return for each value of the field `by` the first `limit` calls that have it."""
        ...

    def costliest(self, limit: int) -> list[Call]:
        """Return the calls with the highest known cost, the highest first."""
        ...

    def named(self, requests: Collection[str]) -> dict[str, Call]:
        """Return the calls of requests by request, the latest of each."""
        ...

    def edges(self, kinds: Collection[str]) -> list[Edge]:
        """Return all edges of these kinds, in order of time."""
        ...

    def fan_out(self, kinds: Collection[str], more_than: int) -> dict[str, int]:
        """Return the sources of more than so many edges of these kinds, and of how many."""
        ...

    def knots(self) -> list[Edge]:
        """Return the edges of any kind that may be part of a ring: all that are, and few others."""
        ...

    def chains(self, longer_than: int) -> list[Edge]:
        """Return the edges that lead to calls without a stated depth over more than so many edges.

        Only edges between requests count. Each such call comes with all edges that lead to it.
        """
        ...


class Asked(msgspec.Struct, frozen=True):
    """Which calls, and what of them; see `whence.analysis.asking.open_facts`."""

    filter: str = ""
    only: dict[str, str] = {}
    extra: str | None = None
    hashes: bool = False

    @property
    def is_all(self) -> bool:
        """Whether every call counts."""
        return not self.filter.strip() and not self.only
