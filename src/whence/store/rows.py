"""The rows that questions are asked of: one frozen struct a table, the same in every store.

A row is what readers see; a record is what was written. Point records (decisions, scores, sources)
become one row each. A run or span is several records (started, updates, ended) and becomes one row.
Columns, filter fields, SQL tables and the documentation are all derived from these structs, so a
field exists everywhere or nowhere.

Times are Unix nanoseconds, durations milliseconds, money US dollars. Null means that nobody said.
"""

from __future__ import annotations

from typing import Any

import msgspec

from whence.record.generation import Usage


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every row has."""

    id: str
    """Id of the thing the row is about."""
    run: str
    """Id of its run."""

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON-ready data."""
        return msgspec.to_builtins(self)


class PointRow(Row, frozen=True, kw_only=True, omit_defaults=True):
    """A row that stems from exactly one record."""

    span: str | None = None
    """Id of the span it was recorded in."""
    stage: str | None = None
    """Name of the enclosing stage."""
    ts_ns: int
    """When it was recorded, Unix nanoseconds."""
    extra: dict[str, Any] | None = None
    """Keys of the record that this version does not know."""


class RunRow(Row, frozen=True, kw_only=True, omit_defaults=True):
    """One run with its totals."""

    name: str = ""
    """What the pipeline is called."""
    kind: str | None = None
    """What sort of run it is, in the user's words."""
    project: str | None = None
    """The project it belongs to."""
    status: str = "incomplete"
    """`running`, `complete`, `failed`, `incomplete` or `cancelled`."""
    started_ns: int
    """When it began, Unix nanoseconds; the first record's time if its start is missing."""
    ended_ns: int | None = None
    """When it ended, Unix nanoseconds."""
    duration_ms: float | None = None
    """Length in milliseconds, by a clock that does not jump."""
    external_id: str | None = None
    """The user's own id for it."""
    parent_run: str | None = None
    """Id of the run that started it."""
    workflow: str | None = None
    """A workflow that several runs share."""
    session: str | None = None
    """A user session that several runs share."""
    conversation: str | None = None
    """A conversation of which it is a turn."""
    user: str | None = None
    """Who it was run for."""
    tags: list[str] = []
    """Labels, in order of appearance, each once."""
    attributes: dict[str, Any] = {}
    """Whatever else the user said about it."""
    environment: dict[str, Any] | None = None
    """Where it ran."""
    output: Any = None
    """What the run as a whole gave back, when it was set."""
    error_type: str | None = None
    """Class of the exception that ended it."""
    error: dict[str, Any] | None = None
    """The exception that ended it: `type`, `message`, `stack`."""
    overhead_ms: float | None = None
    """Estimated time spent recording, in milliseconds."""
    records: int = 0
    """How many records it has."""
    spans: int = 0
    """How many spans."""
    decisions: int = 0
    """How many decisions."""
    generations: int = 0
    """How many model calls."""
    tool_calls: int = 0
    """How many tool calls."""
    errors: int = 0
    """How many generations and tool calls ended in error, and spans that hold no such call."""
    lost: int = 0
    """How many of its records are known to be lost."""
    input_tokens: int | None = None
    """Sum of all input buckets over its model calls."""
    output_tokens: int | None = None
    """Sum of all output buckets over its model calls."""
    cost_usd: float | None = None
    """Sum of the costs that its model calls were recorded with."""
    unpriced_calls: int = 0
    """How many of its model calls were recorded without a cost, and are not in that sum."""
    flagged: bool = False
    """Whether it was flagged for review."""


class SpanRow(Row, frozen=True, kw_only=True, omit_defaults=True):
    """One span."""

    parent: str | None = None
    """Id of the span around it."""
    stage: str | None = None
    """Name of the enclosing stage, its own if it is one."""
    name: str = ""
    """What the step is called."""
    kind: str = "custom"
    """`stage`, `step`, `agent`, `generation`, `tool`, `retrieval`, or the user's own word."""
    status: str = "incomplete"
    """`running`, `ok`, `error`, `cancelled` or `incomplete`; or the status the user set."""
    started_ns: int
    """When it began, Unix nanoseconds."""
    ended_ns: int | None = None
    """When it ended, Unix nanoseconds."""
    duration_ms: float | None = None
    """Length in milliseconds, by a clock that does not jump."""
    agent: str | None = None
    """The agent that acts in it."""
    algorithm: str | None = None
    """The method used."""
    input_count: int | None = None
    """How many items went in."""
    output_count: int | None = None
    """How many items came out."""
    tags: list[str] = []
    """Labels, in order of appearance, each once."""
    attributes: dict[str, Any] = {}
    """Whatever else the user said about it."""
    input: Any = None
    """What went in."""
    output: Any = None
    """What came out."""
    error_type: str | None = None
    """Class of the exception that ended it."""
    error: dict[str, Any] | None = None
    """The exception that ended it: `type`, `message`, `stack`."""


class DecisionRow(PointRow, frozen=True, kw_only=True, omit_defaults=True):
    """One choice."""

    name: str
    """The question that was decided."""
    what: Any = None
    """What was chosen."""
    why: str = ""
    """The reason, in markdown."""
    confidence: float | None = None
    """How sure the maker was, 0 to 1."""
    options: list[dict[str, Any]] = []
    """What could have been chosen: `name`, `probability`, `score`, `reason_rejected`, `chosen`."""
    factors: list[dict[str, Any]] = []
    """What weighed on it."""
    inputs: dict[str, Any] = {}
    """What the maker saw."""
    made_by: str | None = None
    """Who or what decided."""
    decision_point: str | None = None
    """Where in the code or workflow the choice sits."""


class FactorRow(PointRow, frozen=True, kw_only=True, omit_defaults=True):
    """One weighted consideration."""

    name: str
    """What was weighed."""
    raw_value: Any = None
    """The value as measured."""
    normalized_value: float | None = None
    """The value brought to 0..1."""
    weight: float | None = None
    """How much it counts."""
    contribution: float | None = None
    """What it added to the outcome."""
    reasoning: str = ""
    """Why it has this value or weight."""
    decision: str | None = None
    """Id of the decision it weighed on."""


class SourceRow(PointRow, frozen=True, kw_only=True, omit_defaults=True):
    """One data source or piece of evidence."""

    source_type: str
    """What sort of source."""
    source_key: str
    """Which one."""
    title: str | None = None
    """What a person would call it."""
    records_used: int | None = None
    """How many of its records were used."""
    freshness_s: float | None = None
    """Age of the data when used, in seconds."""
    quality: float | None = None
    """How good it was held to be, 0 to 1."""
    scores: dict[str, Any] = {}
    """Named scores."""
    kept: bool = True
    """Whether it was used."""
    reason: str | None = None
    """Why it was kept or dropped."""
    sample_ids: list[str] = []
    """Ids of some of the records used."""
    digest: str | None = None
    """SHA-256 of the content, hex."""
    locator: str | None = None
    """Where in the source."""
    attributes: dict[str, Any] = {}
    """Whatever else the user said about it."""


class GenerationRow(PointRow, frozen=True, kw_only=True, omit_defaults=True):
    """One model call."""

    name: str | None = None
    """What the call is for."""
    provider: str | None = None
    """Who served it."""
    model: str | None = None
    """The model that was asked for."""
    response_model: str | None = None
    """The model that answered."""
    operation: str | None = None
    """`chat`, `embeddings`, `image`, `completion`."""
    response_id: str | None = None
    """The provider's id of the answer."""
    prompt_name: str | None = None
    """Name of the prompt used."""
    prompt_version: str | None = None
    """Version of the prompt used."""
    prompt_template: str | None = None
    """The template before its variables were filled in."""
    status: str = "ok"
    """`ok`, `error`, or `cancelled` where a stream was left early."""
    finish_reason: str | None = None
    """Why the model stopped."""
    attempt: int | None = None
    """Which attempt of the same call, from 1."""
    duration_ms: float | None = None
    """Time to the end of the answer, in milliseconds."""
    first_chunk_ms: float | None = None
    """Time to the first streamed chunk, in milliseconds."""
    input_tokens: int | None = None
    """Sum of the input buckets."""
    output_tokens: int | None = None
    """Sum of the output buckets."""
    reasoning_tokens: int | None = None
    """The reasoning bucket."""
    cache_read_tokens: int | None = None
    """The cache-read bucket."""
    cost_usd: float | None = None
    """What the call cost; null when unknown."""
    cost_source: str | None = None
    """`declared` or `computed`."""
    price: dict[str, Any] | None = None
    """The price used and the date it took effect."""
    usage: Usage | None = None
    """Tokens in disjoint buckets, and as the provider stated them."""
    usage_note: str | None = None
    """Why a usage that was stated gives no tokens."""
    messages: list[Any] = []
    """What was sent."""
    output: Any = None
    """What came back."""
    reasoning: Any = None
    """The reasoning text."""
    parameters: dict[str, Any] = {}
    """Temperature, top_p, tools and the like."""
    seed: int | None = None
    """Seed given to the model."""
    media: list[dict[str, Any]] = []
    """Files that went in or came out."""
    policy: dict[str, Any] | None = None
    """What a content policy said."""
    error_type: str | None = None
    """Class or code of the error."""
    error: dict[str, Any] | None = None
    """What went wrong."""
    attributes: dict[str, Any] = {}
    """Whatever else the user said about it."""


class ToolCallRow(PointRow, frozen=True, kw_only=True, omit_defaults=True):
    """One call of a tool."""

    tool_name: str
    """Which tool."""
    tool_type: str | None = None
    """What sort of tool."""
    status: str = "ok"
    """`ok`, `error`, or the tool's own word."""
    duration_ms: float | None = None
    """Length in milliseconds."""
    cache_hit: bool | None = None
    """Whether the answer came from a cache."""
    cache_key: str | None = None
    """Key of the cached answer."""
    retry_count: int | None = None
    """How many retries it took."""
    rate_limit_delay_ms: float | None = None
    """Time spent waiting for a rate limit, in milliseconds."""
    input: Any = None
    """What it was called with."""
    output: Any = None
    """What it answered."""
    error_type: str | None = None
    """Class or code of the error."""
    error: dict[str, Any] | None = None
    """What went wrong."""
    attributes: dict[str, Any] = {}
    """Whatever else the user said about it."""


class TransformationRow(PointRow, frozen=True, kw_only=True, omit_defaults=True):
    """One change of data from one shape into another."""

    name: str
    """What was done."""
    method: str | None = None
    """How it was done."""
    parameters: dict[str, Any] = {}
    """With which settings."""
    input_schema: Any = None
    """Shape of what went in."""
    output_schema: Any = None
    """Shape of what came out."""
    input_sample: Any = None
    """Some of what went in."""
    output_sample: Any = None
    """Some of what came out."""
    input_size: int | None = None
    """How many items went in."""
    output_size: int | None = None
    """How many items came out."""
    duration_ms: float | None = None
    """Length in milliseconds."""
    attributes: dict[str, Any] = {}
    """Whatever else the user said about it."""


class ScoreRow(PointRow, frozen=True, kw_only=True, omit_defaults=True):
    """One judgement."""

    name: str
    """What was judged."""
    value: float | None = None
    """The result."""
    target: str | None = None
    """Id of what was judged; null for the span or run it stands in."""
    scale: str | None = None
    """What the values mean."""
    threshold: float | None = None
    """From which value on it passes."""
    passed: bool | None = None
    """Whether it passed."""
    feedback: str = ""
    """What the judge said."""
    by: str | None = None
    """Who judged."""
    iteration: int | None = None
    """Which round of a retry loop it belongs to."""
    attributes: dict[str, Any] = {}
    """Whatever else the user said about it."""


class OutputRow(PointRow, frozen=True, kw_only=True, omit_defaults=True):
    """One result."""

    output_id: str
    """The user's id for it."""
    kind: str = "artifact"
    """`insight`, `report`, `image`, `file`, `entity`, `artifact`."""
    summary: str = ""
    """One sentence for people."""
    value: Any = None
    """The thing itself, or a reference to its blob."""
    path: str | None = None
    """Where it was written."""
    confidence: float | None = None
    """How sure the pipeline is of it, 0 to 1."""
    quality: float | None = None
    """How good it is held to be, 0 to 1."""
    validation: dict[str, Any] | None = None
    """`passed` and `errors` of a validation."""
    digest: str | None = None
    """SHA-256 of the content, hex."""
    attributes: dict[str, Any] = {}
    """Whatever else the user said about it."""


class LinkRow(PointRow, frozen=True, kw_only=True, omit_defaults=True):
    """One edge from an earlier thing to a later one."""

    kind: str
    """`triggered_by`, `retry_of`, `used`, or the user's own word."""
    source: str
    """Id of the earlier thing."""
    target: str
    """Id of the later thing."""
    confidence: float | None = None
    """How sure the edge is, 0 to 1."""
    inferred: bool = False
    """Whether a program concluded it."""
    attributes: dict[str, Any] = {}
    """Whatever else the user said about it."""


class EventRow(PointRow, frozen=True, kw_only=True, omit_defaults=True):
    """One log line."""

    message: str
    """What happened."""
    level: str = "info"
    """`debug`, `info`, `warning`, `error`."""
    data: dict[str, Any] = {}
    """Details."""


class AnnotationRow(PointRow, frozen=True, kw_only=True, omit_defaults=True):
    """One remark made on something, now or later."""

    target: str
    """Id of what it is about."""
    flag: str | None = None
    """Why it should be reviewed."""
    status: str | None = None
    """Where the review stands."""
    note: str | None = None
    """Free text, markdown."""
    by: str | None = None
    """Who says so."""
    attributes: dict[str, Any] = {}
    """Whatever else was said."""


class GapRow(PointRow, frozen=True, kw_only=True, omit_defaults=True):
    """Records that could not be kept."""

    lost: int
    """How many."""
    reason: str
    """Why."""
    since_ns: int | None = None
    """When the first of them was lost, Unix nanoseconds."""


TABLES: dict[str, type[Row]] = {
    "runs": RunRow,
    "spans": SpanRow,
    "decisions": DecisionRow,
    "factors": FactorRow,
    "sources": SourceRow,
    "generations": GenerationRow,
    "tool_calls": ToolCallRow,
    "transformations": TransformationRow,
    "scores": ScoreRow,
    "outputs": OutputRow,
    "links": LinkRow,
    "events": EventRow,
    "annotations": AnnotationRow,
    "gaps": GapRow,
}
"""Table name to row type, in the order in which a person would read them."""

TIME_FIELD: dict[str, str] = {
    table: "started_ns" if table in {"runs", "spans"} else "ts_ns" for table in TABLES
}
"""The field that says when a row of the table came to be.

The default order is by it, latest first.
"""
