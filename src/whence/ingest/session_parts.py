"""What a session folder says, as frozen structs: a session and everything that was found of it.

They hold what the files state and nothing that was concluded, but for `Computed`, which counts the
lines of `actions.jsonl` and stands beside what the manifest declares. A number that no file states
is None; keys that no reader knows are in `extra`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

_STEP_MS = 600
"""A hundredth of a minute, in which the YAML of trackers states how long a session took."""
_FLOAT_ERROR_MS = 1e-3


class FolderAction(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `actions.jsonl`."""

    line: int
    """Number of the line in its file, from 1."""
    number: int | None = None
    """Its `action_id`: sequential in its session, from 1."""
    ts_ns: int | None = None
    """When, Unix nanoseconds."""
    type: str = ""
    """What sort of action."""
    tool: str = ""
    """What did it."""
    status: str = ""
    """`success`, `failure`, `partial` or `skipped`."""
    duration_ms: float | None = None
    """How long it took, in milliseconds."""
    details: dict[str, Any] = {}
    """What else is known."""
    files: list[str] = []
    """Files it touched."""
    read_only: bool | None = None
    """Whether it changed nothing."""
    error: dict[str, Any] | None = None
    """`message`, `code` and `stack`."""
    context: dict[str, Any] = {}
    """Working directory, branch and commit."""
    event_id: str | None = None
    """Id of the event in the database."""
    entity_links: list[dict[str, Any]] = []
    """The last entities that were linked by then."""
    extra: dict[str, Any] = {}
    """Keys that are none of these."""


class FolderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a JSON manifest."""

    id: str | None = None
    """Id of the event."""
    event_type: str = ""
    """`lifecycle`, `tool_call`, `decision`, `transformation`, `log` or another word."""
    event_name: str = ""
    """What happened."""
    ts_ns: int | None = None
    """When, Unix nanoseconds."""
    number: int | None = None
    """Its place in the session, from 1."""
    details: dict[str, Any] = {}
    """What else is known."""


class FolderDecision(msgspec.Struct, frozen=True, kw_only=True):
    """One choice."""

    name: str
    """What was decided, or the type of the decision."""
    chosen: Any = None
    """What was taken; null if nobody said."""
    alternatives: list[Any] = []
    """What could have been taken, what was taken included where it was listed."""
    why: str = ""
    """The reason."""
    point: str | None = None
    """Where in the code or workflow the choice sits."""
    inputs: dict[str, Any] = {}
    """What the maker saw."""
    ts_ns: int | None = None
    """When, Unix nanoseconds."""
    id: str | None = None
    """Its id in the database."""
    origin: str = ""
    """Where it was found: `manifest.json`, `actions.jsonl`, `design_decisions`, `key_decisions` or
    `summary.md`."""
    extra: dict[str, Any] = {}
    """What else was said: `user_input`, `cost`, `note`, ..."""


class FolderToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a tool."""

    tool_name: str
    """Which tool."""
    tool_type: str | None = None
    """What sort of tool."""
    id: str | None = None
    """Its id in the database."""
    event_id: str | None = None
    """Id of its event in the database."""
    ts_ns: int | None = None
    """When, Unix nanoseconds."""
    input: Any = None
    """What it was called with."""
    output: Any = None
    """What it answered, as far as it was kept."""
    duration_ms: float | None = None
    """How long it took, in milliseconds."""
    cache_hit: bool | None = None
    """Whether the answer came from a cache."""
    success: bool | None = None
    """Whether it worked."""
    error: str | None = None
    """What went wrong."""
    extra: dict[str, Any] = {}
    """What else was said."""


class FolderModelCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a model, as whence writes it."""

    model: str | None = None
    """The model that was asked."""
    response_model: str | None = None
    """The model that answered, where it is another."""
    provider: str | None = None
    """Who served it."""
    operation: str | None = None
    """What was asked of it: `chat`, `image`."""
    id: str | None = None
    """Id of the record it stands for."""
    ts_ns: int | None = None
    """When, Unix nanoseconds."""
    duration_ms: float | None = None
    """How long it took, in milliseconds."""
    usage: dict[str, Any] = {}
    """Tokens, in buckets and as stated."""
    cost_usd: float | None = None
    """What it cost; null where nobody said."""
    cost_source: str | None = None
    """`declared` or `computed`."""
    finish_reason: str | None = None
    """Why the model stopped."""
    status: str = ""
    """`success`, `failure`, `partial` or `skipped`."""
    error: dict[str, Any] | None = None
    """`message`, `code` and `stack`."""


class FolderTransformation(msgspec.Struct, frozen=True, kw_only=True):
    """One change of data from one shape into another."""

    name: str
    """What was done."""
    transformation_type: str | None = None
    """What sort of change."""
    id: str | None = None
    """Its id in the database."""
    method: str | None = None
    """How it was done."""
    parameters: dict[str, Any] = {}
    """With which settings."""
    input_schema: Any = None
    """Shape of what went in."""
    input_sample: Any = None
    """Some of what went in."""
    output_schema: Any = None
    """Shape of what came out."""
    output_sample: Any = None
    """Some of what came out."""
    ts_ns: int | None = None
    """When, Unix nanoseconds."""
    duration_ms: float | None = None
    """How long it took, in milliseconds."""
    extra: dict[str, Any] = {}
    """What else was said."""


class FolderLink(msgspec.Struct, frozen=True, kw_only=True):
    """One entity that the session is linked to."""

    entity_table: str
    """The table it is in."""
    entity_id: str
    """Its id there."""
    link_type: str | None = None
    """What the session did with it."""
    ts_ns: int | None = None
    """When, Unix nanoseconds."""


class FolderError(msgspec.Struct, frozen=True, kw_only=True):
    """One error that a manifest lists."""

    message: str
    """What went wrong."""
    resolution: str | None = None
    """How it was resolved."""
    timestamp: str | None = None
    """When, as it was written."""
    structured: bool = False
    """Whether it was an object; else it was a text."""
    extra: dict[str, Any] = {}
    """What else was said."""


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """The counts that a manifest states of its session. They need not agree with anything."""

    actions: int | None = None
    """`results.actions_performed`."""
    action_count: int | None = None
    """`session.action_count` of a JSON manifest, which was taken before the last event."""
    totals: dict[str, int] = {}
    """Name to `total` in `action_summary`."""
    files_analyzed: int | None = None
    """`results.files_analyzed`."""
    files_created: int | None = None
    """`results.files_created`."""
    files_modified: int | None = None
    """`results.files_modified`."""
    api_calls: int | None = None
    """`results.api_calls_made`."""
    cache_hits: int | None = None
    """`results.cache_hits`."""
    duration_ms: float | None = None
    """The session's length, in milliseconds."""


class Computed(msgspec.Struct, frozen=True, kw_only=True):
    """The counts over the lines of `actions.jsonl`."""

    actions: int
    """How many lines."""
    totals: dict[str, int]
    """What the totals of `action_summary` are over these lines."""
    types: dict[str, int]
    """Type to number of actions."""
    statuses: dict[str, int]
    """Status to number of actions."""
    tools: dict[str, int]
    """Tool to number of actions."""
    cache_hits: int
    """Actions that a cache answered."""
    duration_ms: float
    """Sum of the durations that are stated, in milliseconds."""


class FolderSession(msgspec.Struct, frozen=True, kw_only=True):
    """One session with everything that was found of it."""

    id: str
    """What its manifest calls it; else its id in the database, or after its folder."""
    where: str
    """The folder or file it was found in."""
    form: Literal["claude", "agent", "json", "actions"]
    """Who wrote it: `claude` a person or Claude by hand, `agent` a tracker; `json` has a JSON
    manifest alone, `actions` has lines without a manifest."""
    folder: str | None = None
    """Name of its folder; null if it has none."""
    database_session_id: str | None = None
    """Its id in the database."""
    session_type: str | None = None
    """`development`, `agent_execution`, ...: an open list."""
    agent_type: str | None = None
    """What the agent is called."""
    model: str | None = None
    """The model, as declared."""
    user: str | None = None
    """For whom, as declared."""
    query: str | None = None
    """What the agent was asked."""
    kwargs: dict[str, Any] = {}
    """Further arguments of the agent."""
    parent_session_id: str | None = None
    """Id of the session that started it."""
    depth: int | None = None
    """How many sessions are around it."""
    started_ns: int | None = None
    """When it began, Unix nanoseconds."""
    ended_ns: int | None = None
    """When it ended, Unix nanoseconds."""
    success: bool | None = None
    """Whether it reached its goal; null if nobody said, or if it is `partial`."""
    outcome: str | None = None
    """What was said of its success where that was neither true nor false, such as `partial`."""
    error_message: str | None = None
    """What ended it."""
    result_summary: Any = None
    """What it gave back, in short."""
    goals: list[str] = []
    """What was to be reached."""
    key_findings: list[Any] = []
    """What was found."""
    recommendations: list[Any] = []
    """What should be done next."""
    errors: list[FolderError] = []
    """What went wrong."""
    warnings: list[Any] = []
    """What was warned of."""
    notes: str = ""
    """`results.notes`."""
    user_context: dict[str, Any] = {}
    """Working directory, branch, commits, versions, as declared."""
    environment: dict[str, Any] = {}
    """Python, platform, host and dependencies of a JSON manifest."""
    declared: Declared = Declared()
    """What the manifest counts."""
    computed: Computed | None = None
    """What the lines of `actions.jsonl` add up to; null if there are none."""
    actions: list[FolderAction] = []
    """The lines of `actions.jsonl`, in their order."""
    events: list[FolderEvent] = []
    """The events of its JSON manifest, in order."""
    decisions: list[FolderDecision] = []
    """Every choice, from the most complete place each."""
    tool_calls: list[FolderToolCall] = []
    """Calls of tools: of the JSON manifest, which alone knows what failed; else of the lines."""
    model_calls: list[FolderModelCall] = []
    """Calls of models, of the lines that tell them apart from those of tools: whence's own."""
    transformations: list[FolderTransformation] = []
    """Changes of data, as `tool_calls`."""
    entity_links: list[FolderLink] = []
    """Entities it is linked to, each once."""
    summary: str = ""
    """`summary.md`."""
    metadata: dict[str, Any] = {}
    """Who wrote the manifest, with which schema."""
    top_level_keys: list[str] = []
    """The keys of the manifest, as they stand."""
    extra: dict[str, Any] = {}
    """Keys of the manifest that are none of these: `critical_corrections`, `files_created`, ..."""
    files: list[str] = []
    """The files it was read from."""
    problems: list[str] = []
    """What could not be read, in a sentence each."""

    @property
    def run_id(self) -> str | None:
        """The run of whence's that it was made of, where its manifest names one."""
        found = self.metadata.get("run_id")
        return found if isinstance(found, str) else None

    @property
    def duration_ms(self) -> float | None:
        """How long it took, in milliseconds.

        Where a manifest states whole hundredths of a minute, and its times agree with that, they
        say it exactly. Anything else that is declared holds.
        """
        declared_ms = self.declared.duration_ms
        if self.started_ns is None or self.ended_ns is None or self.ended_ns < self.started_ns:
            return declared_ms
        exact_ms = (self.ended_ns - self.started_ns) / 1e6
        if declared_ms is None:
            return exact_ms
        is_rounded = abs(declared_ms - _STEP_MS * round(declared_ms / _STEP_MS)) < _FLOAT_ERROR_MS
        is_agreed = abs(declared_ms - exact_ms) <= _STEP_MS / 2 + 1
        return exact_ms if is_rounded and is_agreed else declared_ms
