"""What models, tools and transformations did: one record a call.

Tokens are kept twice: in disjoint buckets that can be added up, and word for word as the provider
stated them, because providers disagree on whether reasoning or cached tokens are inside their
totals. Null means nobody said; it is never 0.
"""

from __future__ import annotations

from typing import Any

import msgspec

from whence.record.base import Record


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Tokens of one model call in buckets that do not overlap.

    Their sum is what the call consumed.
    """

    input_uncached: int | None = None
    """Input tokens read at full price."""
    cache_read: int | None = None
    """Input tokens served from the provider's prompt cache."""
    cache_write: int | None = None
    """Input tokens written into the provider's prompt cache."""
    output_visible: int | None = None
    """Output tokens that the caller can read."""
    reasoning: int | None = None
    """Output tokens spent on reasoning that is not part of the answer."""
    modalities: dict[str, int] | None = None
    """Tokens by modality, such as `input_image` or `output_audio`.

    A second view of the buckets, not to be added.
    """
    stated: dict[str, Any] | None = None
    """The provider's own usage object, verbatim."""
    extra: dict[str, Any] | None = msgspec.field(default=None, name="$extra")
    """Keys that a newer or foreign writer put on it."""


class Generation(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="generation"):
    """One call of a model."""

    name: str | None = None
    """What the call is for: `draft_report`."""
    provider: str | None = None
    """Who served it: `openai`."""
    model: str | None = None
    """The model that was asked for."""
    response_model: str | None = None
    """The model that answered, where the provider says so."""
    operation: str | None = None
    """`chat`, `embeddings`, `image`, `completion`."""
    response_id: str | None = None
    """The provider's id of the answer."""
    prompt_name: str | None = None
    """Name of the prompt used."""
    prompt_version: str | None = None
    """Version of the prompt used."""
    prompt_template: str | dict[str, Any] | None = None
    """The template before its variables were filled in.

    A reference where the segment holds it already.
    """
    messages: list[Any] | None = None
    """What was sent. A history that was sent before is written once and referred to."""
    output: Any = None
    """What came back."""
    parameters: dict[str, Any] | None = None
    """Temperature, top_p, tools and the like."""
    usage: Usage | None = None
    """Tokens, in buckets and as stated."""
    reasoning: Any = None
    """The reasoning text, where the provider gives it."""
    finish_reason: str | None = None
    """Why the model stopped."""
    attempt: int | None = None
    """Which attempt of the same call this was, from 1."""
    first_chunk_ns: int | None = None
    """Time from the request to the first streamed chunk, in nanoseconds."""
    duration_ns: int | None = None
    """Time from the request to the end of the answer, in nanoseconds."""
    cost_usd: float | None = None
    """What the call cost in US dollars; null when unknown, never 0 for unknown."""
    cost_source: str | None = None
    """`declared` by the caller or provider, or `computed` from a price."""
    price: dict[str, Any] | None = None
    """The price that `cost_usd` was computed with, and the date it took effect."""
    seed: int | None = None
    """Seed given to the model."""
    media: list[dict[str, Any]] | None = None
    """Images, audio and other files that went in or came out, each with a blob reference."""
    policy: dict[str, Any] | None = None
    """What a content policy said."""
    status: str = "ok"
    """`ok`, `error`, or `cancelled` where a stream was left early."""
    error: dict[str, Any] | None = None
    """What went wrong: `type`, `message`."""
    attributes: dict[str, Any] | None = None
    """Whatever else the user said about it."""


class ToolCall(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="tool_call"):
    """One call of a tool, an API or a database."""

    tool_name: str
    """Which tool."""
    tool_type: str | None = None
    """What sort of tool: `api`, `database`, `function`."""
    input: Any = None
    """What it was called with."""
    output: Any = None
    """What it answered."""
    cache_hit: bool | None = None
    """Whether the answer came from a cache."""
    cache_key: str | None = None
    """Key of the cached answer."""
    retry_count: int | None = None
    """How many retries it took."""
    rate_limit_delay_ms: float | None = None
    """Time spent waiting for a rate limit, in milliseconds."""
    duration_ns: int | None = None
    """Length of the call in nanoseconds."""
    status: str = "ok"
    """`ok`, `error`, or the tool's own word."""
    error: dict[str, Any] | None = None
    """What went wrong: `type`, `message`."""
    attributes: dict[str, Any] | None = None
    """Whatever else the user said about it."""


class Transformation(
    Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="transformation"
):
    """Data was changed from one shape into another."""

    name: str
    """What was done."""
    method: str | None = None
    """How it was done."""
    parameters: dict[str, Any] | None = None
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
    duration_ns: int | None = None
    """Length in nanoseconds."""
    attributes: dict[str, Any] | None = None
    """Whatever else the user said about it."""
