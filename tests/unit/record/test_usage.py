"""Providers' token counts become buckets that can be added up, and stay as they were stated."""

from __future__ import annotations

import pytest

from whence.record.generation import Usage
from whence.record.usage import from_stated, input_tokens, output_tokens

CASES = {
    "OpenAI chat": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 30, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 20},
        },
        None,
        {"input_uncached": 70, "cache_read": 30, "output_visible": 30, "reasoning": 20},
    ),
    "OpenAI chat, two numbers": (
        {"prompt_tokens": 3, "completion_tokens": 5},
        None,
        {"input_uncached": 3, "output_visible": 5},
    ),
    "OpenAI chat, input and its details": (
        {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}},
        None,
        {"input_uncached": 6, "cache_read": 4},
    ),
    "OpenAI responses": (
        {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 40},
            "output_tokens": 60,
            "output_tokens_details": {"reasoning_tokens": 60},
            "total_tokens": 160,
        },
        "openai",
        {"input_uncached": 60, "cache_read": 40, "output_visible": 0, "reasoning": 60},
    ),
    "Anthropic": (
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 200,
            "cache_read_input_tokens": 300,
            "output_tokens": 7,
        },
        None,
        {"input_uncached": 10, "cache_read": 300, "cache_write": 200, "output_visible": 7},
    ),
    "Anthropic, no cache stated": (
        {"input_tokens": 10, "output_tokens": 7, "service_tier": "standard"},
        "Anthropic",
        {"input_uncached": 10, "output_visible": 7},
    ),
    "Gemini": (
        {
            "promptTokenCount": 50,
            "cachedContentTokenCount": 20,
            "candidatesTokenCount": 11,
            "thoughtsTokenCount": 9,
            "totalTokenCount": 70,
        },
        "google",
        {"input_uncached": 30, "cache_read": 20, "output_visible": 11, "reasoning": 9},
    ),
    "Gemini with tools": (
        {"prompt_token_count": 5, "tool_use_prompt_token_count": 6, "candidates_token_count": 1},
        None,
        {"input_uncached": 11, "output_visible": 1},
    ),
    "a form nobody knows": ({"tokens": 12}, None, {}),
    "hostile counts": (
        {"prompt_tokens": "12", "completion_tokens": float("nan"), "total_tokens": True},
        None,
        {},
    ),
}


def buckets(usage: Usage) -> dict[str, int]:
    names = ("input_uncached", "cache_read", "cache_write", "output_visible", "reasoning")
    return {name: count for name in names if (count := getattr(usage, name)) is not None}


@pytest.mark.parametrize(("stated", "provider", "expected"), CASES.values(), ids=list(CASES))
def test_a_stated_usage_becomes_disjoint_buckets(stated, provider, expected):
    """The buckets are those that follow from the statement, and the statement is kept."""
    usage = from_stated(stated, provider)

    assert buckets(usage) == expected
    assert usage.stated == stated


@pytest.mark.parametrize("name", ["OpenAI chat", "OpenAI responses", "Gemini"])
def test_the_buckets_add_up_to_the_stated_total(name):
    """Nothing is counted twice."""
    stated, provider, _ = CASES[name]
    usage = from_stated(stated, provider)
    total = stated.get("total_tokens") or stated["totalTokenCount"]

    assert input_tokens(usage) + output_tokens(usage) == total


def test_our_own_buckets_pass_through():
    """Buckets are taken as they are, with modalities, the statement and unknown keys."""
    usage = from_stated(
        {
            "input_uncached": 5,
            "reasoning": 2.0,
            "modalities": {"input_image": 3, "bad": "x"},
            "stated": {"prompt_tokens": 5},
            "tier": "flex",
        }
    )

    assert buckets(usage) == {"input_uncached": 5, "reasoning": 2}
    assert usage.modalities == {"input_image": 3}
    assert usage.stated == {"prompt_tokens": 5}
    assert usage.extra == {"tier": "flex"}


@pytest.mark.parametrize("stated", [None, 5, "12 tokens", [1, 2]])
def test_no_mapping_gives_no_buckets(stated):
    """What is no mapping is kept as a value."""
    usage = from_stated(stated)

    assert buckets(usage) == {}
    assert usage.stated == (None if stated is None else {"value": stated})


def test_unknown_stays_unknown():
    """Sums of nothing known are unknown, never 0."""
    assert input_tokens(None) is output_tokens(None) is None
    assert input_tokens(Usage(output_visible=1)) is None
