"""Turns a provider's own usage object into buckets that do not overlap, without inventing a number.

Comes in: what the provider stated, under its own names. Goes out: `Usage` with the buckets that
follow from it and the statement itself, verbatim. Providers disagree on what is inside what:

- OpenAI (Chat Completions and Responses): cached tokens are inside the input, reasoning tokens
  inside the output.
- Anthropic: `input_tokens` excludes cached tokens, which are stated apart as read and written.
- Gemini: `thoughts_token_count` is outside `candidates_token_count`; `cached_content_token_count`
  is inside the prompt, `tool_use_prompt_token_count` beside it.

A form that is not known gives no buckets, only `stated`. Source: the providers' API references, and
requirement document 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from whence.record.generation import Usage

_BUCKETS = frozenset({"input_uncached", "cache_read", "cache_write", "output_visible", "reasoning"})
_GEMINI = frozenset(
    {"prompt_token_count", "promptTokenCount", "candidates_token_count", "candidatesTokenCount"}
)
_ANTHROPIC = frozenset({"cache_read_input_tokens", "cache_creation_input_tokens"})
_OPENAI = frozenset({"prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"})
_LIMIT = 2**63
_NO_DETAILS: Mapping[str, Any] = {}


def from_stated(stated: Any, provider: str | None = None) -> Usage:
    """Return the buckets for a usage object.

    Args:
        stated: JSON-ready mapping under the provider's names, or under ours.
        provider: Who stated it; decides where two providers use one name differently.
    """
    if not isinstance(stated, Mapping):
        return Usage(stated={"value": stated} if stated is not None else None)
    given = cast("Mapping[str, Any]", stated)
    verbatim = dict(given)
    if not _BUCKETS.isdisjoint(given):
        return _ours(given)
    if not _GEMINI.isdisjoint(given):
        return _gemini(given, verbatim)
    if not _ANTHROPIC.isdisjoint(given) or (
        provider is not None and "anthropic" in provider.lower()
    ):
        return _anthropic(given, verbatim)
    if not _OPENAI.isdisjoint(given):
        return _openai(given, verbatim)
    return Usage(stated=verbatim)


def _ours(given: Mapping[str, Any]) -> Usage:
    inner, modalities = given.get("stated"), given.get("modalities")
    counts: dict[str, int] = {}
    if isinstance(modalities, Mapping):
        stated_counts = cast("Mapping[str, Any]", modalities).items()
        counts = {key: n for key, value in stated_counts if (n := _count(value)) is not None}
    others = {
        k: v for k, v in given.items() if k not in _BUCKETS and k not in {"stated", "modalities"}
    }
    return Usage(
        **{key: _count(given.get(key)) for key in _BUCKETS},
        modalities=counts or None,
        stated=dict(cast("Mapping[str, Any]", inner)) if isinstance(inner, Mapping) else None,
        extra=others or None,
    )


def _openai(given: Mapping[str, Any], verbatim: dict[str, Any]) -> Usage:
    sent = _first(given, "prompt_tokens", "input_tokens")
    received = _first(given, "completion_tokens", "output_tokens")
    cached = reasoning = None
    if len(given) > 2 or not given.keys() <= _OPENAI:  # noqa: PLR2004 - more is stated than input and output
        sent_details = _details(given, "prompt_tokens_details", "input_tokens_details")
        received_details = _details(given, "completion_tokens_details", "output_tokens_details")
        cached = _first(sent_details, "cached_tokens", "cache_read")
        reasoning = _first(received_details, "reasoning_tokens", "reasoning")
        if reasoning is None:
            reasoning = _count(given.get("reasoning_tokens"))
    return Usage(
        input_uncached=_minus(sent, cached),
        cache_read=cached,
        output_visible=_minus(received, reasoning),
        reasoning=reasoning,
        stated=verbatim,
    )


def _anthropic(given: Mapping[str, Any], verbatim: dict[str, Any]) -> Usage:
    return Usage(
        input_uncached=_first(given, "input_tokens", "prompt_tokens"),
        cache_read=_count(given.get("cache_read_input_tokens")),
        cache_write=_count(given.get("cache_creation_input_tokens")),
        output_visible=_first(given, "output_tokens", "completion_tokens"),
        stated=verbatim,
    )


def _gemini(given: Mapping[str, Any], verbatim: dict[str, Any]) -> Usage:
    sent = _first(given, "prompt_token_count", "promptTokenCount")
    cached = _first(given, "cached_content_token_count", "cachedContentTokenCount")
    tools = _first(given, "tool_use_prompt_token_count", "toolUsePromptTokenCount")
    return Usage(
        input_uncached=_sum(_minus(sent, cached), tools),
        cache_read=cached,
        output_visible=_first(given, "candidates_token_count", "candidatesTokenCount"),
        reasoning=_first(given, "thoughts_token_count", "thoughtsTokenCount"),
        stated=verbatim,
    )


def input_tokens(usage: Usage | None) -> int | None:
    """Return the sum of the input buckets; None if none is known."""
    if usage is None:
        return None
    return _sum(usage.input_uncached, usage.cache_read, usage.cache_write)


def output_tokens(usage: Usage | None) -> int | None:
    """Return the sum of the output buckets; None if none is known."""
    if usage is None:
        return None
    return _sum(usage.output_visible, usage.reasoning)


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _first(given: Mapping[str, Any], name: str, other: str) -> int | None:
    value = given.get(name)
    if value is None:
        value = given.get(other)
    return value if type(value) is int and -_LIMIT < value < _LIMIT else _count(value)


def _details(given: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        inner = given.get(name)
        if isinstance(inner, Mapping):
            return cast("Mapping[str, Any]", inner)
    return _NO_DETAILS


def _minus(whole: int | None, part: int | None) -> int | None:
    if whole is None or part is None:
        return whole
    return max(0, whole - part)


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124
        return None
    return int(value) if abs(value) < _LIMIT else None
