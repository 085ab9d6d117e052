"""Providers' token counts become buckets that can be added up, and stay as they were stated."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from whence.record.generation import Usage
from whence.record.usage import from_stated, input_tokens, output_tokens

CASES = {
    "xAI, whose reasoning is beside the output": (
        {
            "prompt_tokens": 10120,
            "completion_tokens": 3499,
            "total_tokens": 16428,
            "prompt_tokens_details": {"cached_tokens": 128},
            "completion_tokens_details": {"reasoning_tokens": 2809},
        },
        None,
        {"input_uncached": 9992, "cache_read": 128, "output_visible": 3499, "reasoning": 2809},
    ),
    "Perplexity, with more reasoning than output": (
        {
            "prompt_tokens": 33,
            "completion_tokens": 11395,
            "total_tokens": 11428,
            "reasoning_tokens": 193947,
        },
        None,
        {"input_uncached": 33, "output_visible": 11395, "reasoning": 193947},
    ),
    "Moonshot": (
        {"prompt_tokens": 19, "completion_tokens": 13, "total_tokens": 32, "cached_tokens": 12},
        None,
        {"input_uncached": 7, "cache_read": 12, "output_visible": 13},
    ),
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
    "OpenAI responses, written to the cache": (
        {
            "input_tokens": 8576,
            "input_tokens_details": {"cache_write_tokens": 4418, "cached_tokens": 100},
            "output_tokens": 52,
            "output_tokens_details": {"reasoning_tokens": 32},
            "total_tokens": 8628,
        },
        None,
        {
            "input_uncached": 4058,
            "cache_read": 100,
            "cache_write": 4418,
            "output_visible": 20,
            "reasoning": 32,
        },
    ),
    "Anthropic, thinking": (
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 353,
            "output_tokens_details": {"thinking_tokens": 80},
        },
        None,
        {
            "input_uncached": 10,
            "cache_read": 0,
            "cache_write": 0,
            "output_visible": 273,
            "reasoning": 80,
        },
    ),
    "LiteLLM, of Anthropic: the prompt includes the cache": (
        {
            "prompt_tokens": 1754,
            "completion_tokens": 30,
            "cache_read_input_tokens": 1733,
            "cache_creation_input_tokens": 0,
        },
        "anthropic",
        {"input_uncached": 21, "cache_read": 1733, "cache_write": 0, "output_visible": 30},
    ),
    "DeepSeek": (
        {"prompt_tokens": 20, "prompt_cache_hit_tokens": 5, "completion_tokens": 2},
        None,
        {"input_uncached": 15, "cache_read": 5, "output_visible": 2},
    ),
    "Bedrock": (
        {
            "inputTokens": 433,
            "outputTokens": 16,
            "cacheReadInputTokens": 0,
            "cacheWriteInputTokens": 2752,
            "totalTokens": 3201,
        },
        "bedrock.anthropic",
        {"input_uncached": 433, "cache_read": 0, "cache_write": 2752, "output_visible": 16},
    ),
    "Gemini interactions": (
        {
            "total_input_tokens": 10,
            "total_cached_tokens": 4,
            "total_output_tokens": 5,
            "total_thought_tokens": 3,
            "total_tool_use_tokens": 2,
        },
        None,
        {"input_uncached": 8, "cache_read": 4, "output_visible": 5, "reasoning": 3},
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


@pytest.mark.parametrize(
    "name",
    ["OpenAI chat", "OpenAI responses", "OpenAI responses, written to the cache", "Gemini"],
)
def test_the_buckets_add_up_to_the_stated_total(name):
    """Nothing is counted twice."""
    stated, provider, _ = CASES[name]
    usage = from_stated(stated, provider)
    total = stated.get("total_tokens") or stated["totalTokenCount"]

    assert input_tokens(usage) + output_tokens(usage) == total


MODALITIES = {
    "OpenAI": (
        {
            "prompt_tokens": 9,
            "prompt_tokens_details": {"audio_tokens": 3, "cached_tokens": 0, "text_tokens": 6},
            "completion_tokens": 5,
            "completion_tokens_details": {"audio_tokens": 5},
        },
        {"input_audio": 3, "input_text": 6, "output_audio": 5},
    ),
    "Gemini": (
        {
            "promptTokenCount": 9,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 2},
                {"modality": "IMAGE", "tokenCount": 7},
            ],
            "cacheTokensDetails": [{"modality": "IMAGE", "tokenCount": 1}],
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}, "odd"],
        },
        {"input_text": 2, "input_image": 7, "cache_read_image": 1, "output_audio": 4},
    ),
    "Anthropic": (
        {
            "input_tokens": 1,
            "cache_creation_input_tokens": 5,
            "cache_creation": {"ephemeral_1h_input_tokens": 3, "ephemeral_5m_input_tokens": 2},
        },
        {"cache_write_1h": 3},
    ),
    "none stated": ({"prompt_tokens": 9, "total_tokens": 9}, None),
}


@pytest.mark.parametrize(("stated", "expected"), MODALITIES.values(), ids=list(MODALITIES))
def test_counts_by_modality_are_a_second_view(stated, expected):
    """They are kept beside the buckets, under one name for all providers."""
    assert from_stated(stated).modalities == expected


class Listed(NamedTuple):
    prompt_tokens: int
    completion_tokens: int


class Slotted:
    __slots__ = ("completion_tokens", "prompt_tokens")

    def __init__(self) -> None:
        self.prompt_tokens, self.completion_tokens = 3, 5


class Computed:
    @property
    def prompt_tokens(self) -> int:
        return 3

    @property
    def completion_tokens(self) -> int:
        return 5


class Dumped:
    def model_dump(self) -> dict[str, int]:
        return {"prompt_tokens": 3, "completion_tokens": 5}


OBJECTS = [
    SimpleNamespace(prompt_tokens=3, completion_tokens=5),
    Listed(3, 5),
    Slotted(),
    Computed(),
    Dumped(),
]


@pytest.mark.parametrize("stated", OBJECTS, ids=lambda one: type(one).__name__)
def test_a_usage_object_with_attributes_is_understood(stated):
    """Whatever way it has its attributes, and with what is inside them."""
    assert buckets(from_stated(stated)) == {"input_uncached": 3, "output_visible": 5}


def test_what_is_inside_a_usage_object_is_understood():
    """The details are an object too."""
    details = SimpleNamespace(cached_tokens=1)
    usage = from_stated(SimpleNamespace(input_tokens=3, input_tokens_details=details))

    assert buckets(usage) == {"input_uncached": 2, "cache_read": 1}
    assert usage.stated == {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 1}}


def test_an_object_that_will_not_be_asked_gives_no_buckets():
    """It is kept as a value, and nothing raises."""

    class Hostile:
        def __getattribute__(self, name: str) -> object:
            raise RuntimeError(name)

    hostile = Hostile()

    assert from_stated(hostile).stated["value"] is hostile


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


@pytest.mark.parametrize(
    ("sent", "received"),
    [("input_tokens", "output_tokens"), ("prompt_tokens", "completion_tokens")],
)
@given(
    st.integers() | st.floats() | st.none() | st.booleans(),
    st.integers() | st.just(2**63),
    st.sampled_from([None, "openai", "anthropic"]),
)
def test_input_and_output_alone_mean_what_they_do_beside_other_counts(
    sent, received, first, second, provider
):
    """A count of nothing cached changes nothing but the statement."""
    alone = from_stated({sent: first, received: second}, provider)
    beside = from_stated({sent: first, received: second, "details": None}, provider)
    assert alone.stated == {sent: first, received: second} or first != first  # noqa: PLR0124
    assert structs.replace(alone, stated=None) == structs.replace(beside, stated=None)
