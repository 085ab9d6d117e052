"""What a source stated about the tokens of a model call, and the buckets that follow from it.

Comes in: the numbers under the source's own names, whether a provider's usage object or attributes
of a span. Goes out: `Figures`, the same numbers under one set of names and otherwise as stated; and
`Usage`, buckets that do not overlap, with the statement itself beside them.

Sources use one name for different things: cached tokens are inside the input of one and beside it
in another, and so are reasoning tokens and the output. Where a total is stated, the arithmetic
decides: the reading under which the parts add up to the total is the right one. Where none is
stated, parts are inside, unless they are larger than the whole. Rules and examples:
docs/explanation/usage.md.
Source: OpenTelemetry GenAI semantic conventions (cached tokens inside input, reasoning inside
output), and requirement document 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from whence.record import usage as by_provider
from whence.record.generation import Usage

Number = int | float

NAMES: dict[str, tuple[str, ...]] = {
    "input": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
        "llm.usage.prompt_tokens",
        "ai.usage.promptTokens",
        "ai.usage.inputTokens",
        "ai.usage.tokens",
        "gen_ai.response.prompt_tokens",
        "input_tokens",
        "prompt_tokens",
        "promptTokenCount",
        "prompt_token_count",
        "inputTokens",
        "tokens_sent",
    ),
    "output": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "llm.usage.completion_tokens",
        "ai.usage.completionTokens",
        "ai.usage.outputTokens",
        "gen_ai.response.completion_tokens",
        "output_tokens",
        "completion_tokens",
        "candidatesTokenCount",
        "candidates_token_count",
        "outputTokens",
        "tokens_received",
    ),
    "cache_read": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.cache_read_tokens",
        "gen_ai.usage.cached_input_tokens",
        "gen_ai.usage.prompt_tokens_details.cached_tokens",
        "gen_ai.usage.details.cache_read_tokens",
        "gen_ai.usage.details.cache_read_input_tokens",
        "gen_ai.usage.details.cached_tokens",
        "gen_ai.usage.details.cached_content_tokens",
        "llm.token_count.prompt_details.cache_read",
        "llm.usage.cache_read_input_tokens",
        "ai.usage.inputTokenDetails.cacheReadTokens",
        "ai.usage.cachedInputTokens",
        "cache_read_input_tokens",
        "cache_read_tokens",
        "input_tokens_cache_read",
        "cacheReadInputTokens",
        "cachedContentTokenCount",
        "cached_content_token_count",
        "prompt_tokens_details.cached_tokens",
        "input_tokens_details.cached_tokens",
        "input_token_details.cache_read",
        "prompt_cache_hit_tokens",
        "cached_tokens",
    ),
    "cache_write": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_tokens",
        "gen_ai.usage.cache_write_input_tokens",
        "gen_ai.usage.prompt_tokens_details.cache_creation_tokens",
        "gen_ai.usage.details.cache_write_tokens",
        "gen_ai.usage.details.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
        "llm.usage.cache_creation_input_tokens",
        "ai.usage.inputTokenDetails.cacheWriteTokens",
        "cache_creation_input_tokens",
        "cache_write_tokens",
        "input_tokens_cache_write",
        "cacheWriteInputTokens",
        "input_token_details.cache_creation",
    ),
    "reasoning": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.reasoning_output_tokens",
        "gen_ai.usage.thoughts_tokens",
        "gen_ai.usage.completion_tokens_details.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
        "gen_ai.usage.details.thoughts_tokens",
        "llm.token_count.completion_details.reasoning",
        "llm.token_count.reasoning_tokens",
        "llm.usage.reasoning_tokens",
        "llm.usage.thinking_tokens",
        "ai.usage.outputTokenDetails.reasoningTokens",
        "ai.usage.reasoningTokens",
        "reasoning_tokens",
        "thoughtsTokenCount",
        "thoughts_token_count",
        "completion_tokens_details.reasoning_tokens",
        "output_tokens_details.reasoning_tokens",
        "output_token_details.reasoning",
    ),
    "total": (
        "gen_ai.usage.total_tokens",
        "llm.usage.total_tokens",
        "llm.token_count.total",
        "ai.usage.totalTokens",
        "total_tokens",
        "totalTokenCount",
        "total_token_count",
        "totalTokens",
    ),
}
"""Figure to the names under which sources state it; the first that is stated counts."""

_FIGURE_OF = {name: figure for figure, names in NAMES.items() for name in names}
_RANK = {name: rank for names in NAMES.values() for rank, name in enumerate(names)}
_LIMIT = 2**63
_READINGS = ((True, True), (False, True), (True, False), (False, False))
"""Whether cached tokens are inside the input, and reasoning tokens inside the output."""


class Figures(msgspec.Struct, frozen=True):
    """The numbers of one call as stated; None where nobody stated one."""

    input: Number | None = None
    """Input tokens, whatever the source counts as such."""
    output: Number | None = None
    """Output tokens, whatever the source counts as such."""
    cache_read: Number | None = None
    """Input tokens read from a cache."""
    cache_write: Number | None = None
    """Input tokens written to a cache."""
    reasoning: Number | None = None
    """Output tokens spent on reasoning."""
    total: Number | None = None
    """The total as stated, never computed."""


NOTHING = Figures()


def figures(stated: Mapping[str, Any] | None) -> Figures:
    """Return the figures in a usage object or among attributes, one level of nesting included."""
    if not stated:
        return NOTHING
    found: dict[str, tuple[int, Number]] = {}
    for name, value in stated.items():
        figure = _FIGURE_OF.get(name)
        if figure is not None:
            _note(found, figure, name, value)
        elif isinstance(value, Mapping):
            for inner, part in cast("Mapping[str, Any]", value).items():
                path = f"{name}.{inner}"
                figure = _FIGURE_OF.get(path)
                if figure is not None:
                    _note(found, figure, path, part)
    if not found:
        return NOTHING
    return Figures(**{figure: number for figure, (_, number) in found.items()})


def _note(found: dict[str, tuple[int, Number]], figure: str, name: str, value: Any) -> None:
    number = _number(value)
    if number is None:
        return
    rank = _RANK[name]
    known = found.get(figure)
    if known is None or rank < known[0]:
        found[figure] = (rank, number)


def is_figure(name: str) -> bool:
    """Whether sources state a figure under this name."""
    return name in _FIGURE_OF


def of_stated(stated: Mapping[str, Any] | None, provider: str | None = None) -> Usage | None:
    """Return the usage that a source stated; None if it stated nothing.

    Args:
        stated: The numbers under the source's own names.
        provider: Who served the call; decides where two providers use one name differently.
    """
    if not stated:
        return None
    usage, known = by_provider.from_stated(stated, provider), figures(stated)
    buckets = (usage.cache_read, usage.cache_write, usage.reasoning)
    parts = (known.cache_read, known.cache_write, known.reasoning)
    understood = usage.input_uncached is not None or usage.output_visible is not None
    if understood and all(b is not None or p is None for b, p in zip(buckets, parts, strict=True)):
        read = of_figures(known, dict(stated))
        is_better = _adds_up(read, known.total) and not _adds_up(usage, known.total)
        return read if is_better or _loses_a_part(usage, known) else usage
    return of_figures(known, dict(stated))


def _adds_up(usage: Usage, total: Number | None) -> bool:
    """Whether buckets are together what was stated as the total."""
    counts = (
        usage.input_uncached,
        usage.cache_read,
        usage.cache_write,
        usage.output_visible,
        usage.reasoning,
    )
    return total is not None and sum(count or 0 for count in counts) == total


def _loses_a_part(usage: Usage, stated: Figures) -> bool:
    """Whether a part was taken from a whole that is smaller: it stands beside it."""
    sent = (usage.input_uncached, usage.cache_read, usage.cache_write)
    return _is_taken(sent, stated.input) or _is_taken(
        (usage.output_visible, usage.reasoning), stated.output
    )


def _is_taken(buckets: tuple[int | None, ...], stated: Number | None) -> bool:
    """Whether the first bucket is empty because the others take more than was stated."""
    return buckets[0] == 0 and stated is not None and 0 < stated < sum(b or 0 for b in buckets)


def of_figures(stated: Figures, words: dict[str, Any]) -> Usage:
    """Return the buckets that follow from figures.

    Args:
        stated: The figures.
        words: The statement they were taken from, which is kept verbatim.
    """
    cached = (stated.cache_read or 0) + (stated.cache_write or 0)
    cache_inside, reasoning_inside = _reading(stated, cached)
    sent, received = _count(stated.input), _count(stated.output)
    reasoning = _count(stated.reasoning)
    if sent is not None and cache_inside:
        sent = max(0, sent - int(cached))
    if received is not None and reasoning is not None and reasoning_inside:
        received = max(0, received - reasoning)
    return Usage(
        input_uncached=sent,
        cache_read=_count(stated.cache_read),
        cache_write=_count(stated.cache_write),
        output_visible=received,
        reasoning=reasoning,
        stated=words,
    )


def _reading(stated: Figures, cached: Number) -> tuple[bool, bool]:
    """Return the reading of the figures that adds up to the total, or else the usual one."""
    if not cached and not stated.reasoning:
        return True, True
    sent, received, reasoning = stated.input or 0, stated.output or 0, stated.reasoning or 0
    fitting = [
        (cache_inside, reasoning_inside)
        for cache_inside, reasoning_inside in _READINGS
        if (not cache_inside or cached <= sent) and (not reasoning_inside or reasoning <= received)
    ]
    for cache_inside, reasoning_inside in fitting:
        beside = (0 if cache_inside else cached) + (0 if reasoning_inside else reasoning)
        if stated.total == sent + received + beside:
            return cache_inside, reasoning_inside
    return fitting[0]  # (False, False) always fits


def _count(value: Number | None) -> int | None:
    return None if value is None or value < 0 else int(value)


def _number(value: Any) -> Number | None:
    if type(value) is int:
        return value if -_LIMIT <= value < _LIMIT else None
    if type(value) is float and value - value == 0 and abs(value) < _LIMIT:
        return value
    return None
