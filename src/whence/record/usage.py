"""Turns a provider's own usage object into buckets that do not overlap, without inventing a number.

Comes in: what the provider stated, under its own names. Goes out: `Usage` with the buckets that
follow from it and the statement itself, verbatim. Providers disagree on what is inside what:

- OpenAI (Chat Completions, Responses, images and audio) and those that copy its form: tokens read
  from and written to the cache are inside the input, reasoning tokens inside the output. LiteLLM
  and gateways like it put Anthropic's cache counts beside such an input, which includes them. Of
  those that copy it, xAI and Perplexity state reasoning beside the output: the total tells, or that
  there is more of it than output.
- Anthropic: `input_tokens` excludes cached tokens, which are stated apart as read and written;
  thinking tokens are inside the output. Bedrock's `inputTokens` excludes them in the same way.
- Gemini: `thoughts_token_count` is outside `candidates_token_count`; `cached_content_token_count`
  is inside the prompt, `tool_use_prompt_token_count` beside it.

A form that is not known gives no buckets, only `stated`, and `note_on` says so. Source: the
providers' API references, and document 4 (generation trace).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from whence.record.generation import Usage

_BUCKETS = frozenset({"input_uncached", "cache_read", "cache_write", "output_visible", "reasoning"})
_GEMINI = frozenset(
    {
        "prompt_token_count",
        "promptTokenCount",
        "candidates_token_count",
        "candidatesTokenCount",
        "total_token_count",
        "totalTokenCount",
    }
)
_INTERACTION = frozenset({"total_input_tokens", "total_output_tokens"})
_ANTHROPIC = frozenset({"cache_read_input_tokens", "cache_creation_input_tokens"})
_BEDROCK = frozenset({"inputTokens", "outputTokens"})
_OPENAI = frozenset({"prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"})
_TOTALS = (("input_tokens", "output_tokens"), ("prompt_tokens", "completion_tokens"))
_LIMIT = 2**63
NOT_UNDERSTOOD = "the stated usage gives no tokens: its form is not known"
"""What is noted on a call whose usage was stated and kept, and says nothing."""
_NO_DETAILS: Mapping[str, Any] = {}
_MODALITY_PARTS = ("audio", "image", "video", "text", "document")


def from_stated(stated: Any, provider: str | None = None) -> Usage:
    """Return the buckets for a usage object.

    Args:
        stated: Mapping under the provider's names, or under ours; or an object with such
            attributes.
        provider: Who stated it; decides where two providers use one name differently.
    """
    if type(stated) is not dict:
        from whence.record.attributes import as_mapping  # noqa: PLC0415 - most usages are mappings, and importing whence has to be quick

        found = as_mapping(stated)
        if type(found) is not dict:
            return Usage(stated={"value": stated} if stated is not None else None)
        return from_stated(found, provider)
    given = cast("Mapping[str, Any]", stated)
    if len(given) == 2:  # noqa: PLR2004 - most state input and output alone, and all forms agree on what that means
        for sent_name, received_name in _TOTALS:
            sent, received = given.get(sent_name), given.get(received_name)
            if (
                type(sent) is int
                and type(received) is int
                and -_LIMIT < min(sent, received) <= max(sent, received) < _LIMIT
            ):
                return Usage(input_uncached=sent, output_visible=received, stated=dict(given))
    return _reading_of(given, provider)(given)


def _reading_of(
    given: Mapping[str, Any], provider: str | None
) -> Callable[[Mapping[str, Any]], Usage]:
    """Return the function that understands the form of a usage, told by the names in it."""
    for names, read in _FORMS:
        if not names.isdisjoint(given):
            return _anthropic if read is _openai and _is_anthropic(given, provider) else read
    return _unknown


def _is_anthropic(given: Mapping[str, Any], provider: str | None) -> bool:
    if "prompt_tokens" in given:
        return False
    if "cache_read_input_tokens" in given or "cache_creation_input_tokens" in given:
        return True
    return provider is not None and "anthropic" in provider.lower()


def _unknown(given: Mapping[str, Any]) -> Usage:
    return Usage(stated=dict(given))


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


def _openai(given: Mapping[str, Any]) -> Usage:
    sent = _first(given, "prompt_tokens", "input_tokens")
    received = _first(given, "completion_tokens", "output_tokens")
    cached = written = reasoning = modalities = None
    if len(given) > 2 or not given.keys() <= _OPENAI:  # noqa: PLR2004 - more is stated than input and output
        sent_details = _details(
            given, "prompt_tokens_details", "input_tokens_details", "input_token_details"
        )
        received_details = _details(given, "completion_tokens_details", "output_tokens_details")
        cached = _first(sent_details, "cached_tokens", "cache_read")
        if cached is None:
            cached = _first(given, "cache_read_input_tokens", "prompt_cache_hit_tokens")
        if cached is None:  # Moonshot, Together
            cached = _count(given.get("cached_tokens"))
        written = _first(sent_details, "cache_write_tokens", "cache_creation_tokens")
        if written is None:
            written = _count(given.get("cache_creation_input_tokens"))
        reasoning = _first(received_details, "reasoning_tokens", "reasoning")
        if reasoning is None:
            reasoning = _count(given.get("reasoning_tokens"))
        modalities = _by_kind(sent_details, received_details)
    return Usage(
        input_uncached=_minus(_minus(sent, cached), written),
        cache_read=cached,
        cache_write=written,
        output_visible=received
        if reasoning and _is_beside(reasoning, sent, received, given)
        else _minus(received, reasoning),
        reasoning=reasoning,
        modalities=modalities,
        stated=dict(given),
    )


def _is_beside(
    reasoning: int, sent: int | None, received: int | None, given: Mapping[str, Any]
) -> bool:
    """Whether reasoning is not in the output: it adds up to the total so, or is more than it."""
    if received is None or reasoning > received:
        return True
    return _count(given.get("total_tokens")) == (sent or 0) + received + reasoning


def _anthropic(given: Mapping[str, Any]) -> Usage:
    received = _first(given, "output_tokens", "completion_tokens")
    thinking = _count(_details(given, "output_tokens_details").get("thinking_tokens"))
    long_lived = _count(_details(given, "cache_creation").get("ephemeral_1h_input_tokens"))
    return Usage(
        input_uncached=_first(given, "input_tokens", "prompt_tokens"),
        cache_read=_count(given.get("cache_read_input_tokens")),
        cache_write=_count(given.get("cache_creation_input_tokens")),
        output_visible=_minus(received, thinking),
        reasoning=thinking,
        modalities={"cache_write_1h": long_lived} if long_lived else None,
        stated=dict(given),
    )


def _bedrock(given: Mapping[str, Any]) -> Usage:
    return Usage(
        input_uncached=_count(given.get("inputTokens")),
        cache_read=_count(given.get("cacheReadInputTokens")),
        cache_write=_count(given.get("cacheWriteInputTokens")),
        output_visible=_count(given.get("outputTokens")),
        stated=dict(given),
    )


def _gemini(given: Mapping[str, Any]) -> Usage:
    sent = _first(given, "prompt_token_count", "promptTokenCount")
    cached = _first(given, "cached_content_token_count", "cachedContentTokenCount")
    tools = _first(given, "tool_use_prompt_token_count", "toolUsePromptTokenCount")
    received = _first(given, "candidates_token_count", "candidatesTokenCount")
    if received is None:
        received = _first(given, "response_token_count", "responseTokenCount")
    return Usage(
        input_uncached=_sum(_minus(sent, cached), tools),
        cache_read=cached,
        output_visible=received,
        reasoning=_first(given, "thoughts_token_count", "thoughtsTokenCount"),
        modalities=_listed(
            given,
            ("input", ("prompt_tokens_details", "promptTokensDetails")),
            ("input", ("tool_use_prompt_tokens_details", "toolUsePromptTokensDetails")),
            ("cache_read", ("cache_tokens_details", "cacheTokensDetails")),
            ("output", ("candidates_tokens_details", "candidatesTokensDetails")),
            ("output", ("response_tokens_details", "responseTokensDetails")),
        ),
        stated=dict(given),
    )


def _interaction(given: Mapping[str, Any]) -> Usage:
    """Return the buckets of Gemini's Interactions API, which counts as `generateContent` does."""
    cached = _count(given.get("total_cached_tokens"))
    sent = _minus(_count(given.get("total_input_tokens")), cached)
    return Usage(
        input_uncached=_sum(sent, _count(given.get("total_tool_use_tokens"))),
        cache_read=cached,
        output_visible=_count(given.get("total_output_tokens")),
        reasoning=_count(given.get("total_thought_tokens")),
        modalities=_listed(
            given,
            ("input", ("input_tokens_by_modality",)),
            ("input", ("tool_use_tokens_by_modality",)),
            ("cache_read", ("cached_tokens_by_modality",)),
            ("output", ("output_tokens_by_modality",)),
        ),
        stated=dict(given),
    )


_FORMS: tuple[tuple[frozenset[str], Callable[[Mapping[str, Any]], Usage]], ...] = (
    (_BUCKETS, _ours),
    (_OPENAI | _ANTHROPIC, _openai),
    (_GEMINI, _gemini),
    (_BEDROCK, _bedrock),
    (_INTERACTION, _interaction),
)


def _by_kind(sent: Mapping[str, Any], received: Mapping[str, Any]) -> dict[str, int] | None:
    """Return OpenAI's counts by modality, which stand in the details as `audio_tokens`."""
    counts = {
        f"{side}_{part}": count
        for side, details in (("input", sent), ("output", received))
        if details
        for part in _MODALITY_PARTS
        if (count := _count(details.get(f"{part}_tokens")))
    }
    return counts or None


def _listed(given: Mapping[str, Any], *sides: tuple[str, tuple[str, ...]]) -> dict[str, int] | None:
    """Return Gemini's counts by modality, which stand in lists beside the totals."""
    counts: dict[str, int] = {}
    for side, names in sides:
        for name in names:
            for modality, count in _modality_counts(given.get(name)):
                key = f"{side}_{modality}"
                counts[key] = counts.get(key, 0) + count
    return counts or None


def _modality_counts(listed: Any) -> Iterator[tuple[str, int]]:
    if not isinstance(listed, list):
        return
    for item in cast("list[Any]", listed):
        if isinstance(item, Mapping):
            one = cast("Mapping[str, Any]", item)
            count = _first(one, "token_count", "tokenCount")
            count = _count(one.get("tokens")) if count is None else count
            if count and isinstance(one.get("modality"), str):
                yield one["modality"].lower(), count


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


def note_on(usage: Usage | None) -> str | None:
    """Return that a stated usage gives no tokens; None where it gives some, or states nothing."""
    if usage is None or not usage.stated:
        return None
    if any(getattr(usage, bucket) is not None for bucket in _BUCKETS):
        return None
    # A provider that names its counts and leaves all of them null has stated nothing.
    return None if all(value is None for value in usage.stated.values()) else NOT_UNDERSTOOD


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
        if inner is not None and (type(inner) is dict or isinstance(inner, Mapping)):
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
