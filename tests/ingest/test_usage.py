"""Buckets follow from what was stated, add up, and invent nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence.ingest import usage
from whence.ingest.usage import Figures
from whence.record.usage import input_tokens, output_tokens

COUNTS = st.integers(0, 10_000)


def buckets(**figures):
    made = usage.of_figures(Figures(**figures), {"said": "so"})
    assert made.stated == {"said": "so"}
    return (
        made.input_uncached,
        made.cache_read,
        made.cache_write,
        made.output_visible,
        made.reasoning,
    )


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        pytest.param(
            {"input": 1167, "output": 10, "cache_read": 1163, "total": 1177},
            (4, 1163, None, 10, None),
            id="cached tokens inside the input",
        ),
        pytest.param(
            {"input": 433, "output": 16, "cache_read": 2752, "cache_write": 0, "total": 3201},
            (433, 2752, 0, 16, None),
            id="cached tokens beside the input, as Bedrock counts",
        ),
        pytest.param(
            {"input": 4, "output": 9, "cache_read": 18131},
            (4, 18131, None, 9, None),
            id="more cached than sent can only be beside",
        ),
        pytest.param(
            {"input": 13, "output": 573, "reasoning": 554, "total": 1140},
            (13, None, None, 573, 554),
            id="thoughts beside the output, as Gemini counts",
        ),
        pytest.param(
            {"input": 13, "output": 1127, "reasoning": 554, "total": 1140},
            (13, None, None, 573, 554),
            id="thoughts inside the output",
        ),
        pytest.param(
            {"input": 10, "output": 1588, "total": 3752},
            (10, None, None, 1588, None),
            id="thoughts that nobody stated are not made up",
        ),
        pytest.param(
            {"input": 11, "output": 16, "reasoning": 232},
            (11, None, None, 16, 232),
            id="more reasoning than output can only be beside",
        ),
        pytest.param(
            {"input": 100, "output": 50, "cache_read": 40, "reasoning": 20},
            (60, 40, None, 30, 20),
            id="without a total the convention holds: parts are inside",
        ),
        pytest.param({}, (None, None, None, None, None), id="nothing stated"),
        pytest.param({"total": 9}, (None, None, None, None, None), id="a total alone says no more"),
        pytest.param(
            {"input": -3}, (None, None, None, None, None), id="a count below zero is none"
        ),
        pytest.param({"input": 12.0}, (12, None, None, None, None), id="a double"),
    ],
)
def test_buckets_follow_from_the_figures(figures, expected):
    """Each way of counting that providers have gives the same kind of buckets."""
    assert buckets(**figures) == expected


@given(
    counts=st.tuples(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS),
    cache_inside=st.booleans(),
    reasoning_inside=st.booleans(),
)
def test_a_stated_total_is_what_the_buckets_add_up_to(*, counts, cache_inside, reasoning_inside):
    """However a provider counts, buckets from figures with a total add up to that total."""
    uncached, read, write, visible, reasoning = counts
    figures = Figures(
        input=uncached + (read + write if cache_inside else 0),
        output=visible + (reasoning if reasoning_inside else 0),
        cache_read=read,
        cache_write=write,
        reasoning=reasoning,
        total=uncached + read + write + visible + reasoning,
    )

    made = usage.of_figures(figures, {})

    assert input_tokens(made) + output_tokens(made) == figures.total
    assert min(made.input_uncached, made.output_visible) >= 0


@given(figures=st.fixed_dictionaries({}, optional=dict.fromkeys(Figures.__struct_fields__, COUNTS)))
def test_a_bucket_is_known_only_where_something_was_stated(figures):
    """What nobody stated stays null, and what was stated as part stays that number."""
    made = usage.of_figures(Figures(**figures), {})

    assert (made.input_uncached is None) == ("input" not in figures)
    assert (made.output_visible is None) == ("output" not in figures)
    for name in ("cache_read", "cache_write", "reasoning"):
        assert getattr(made, name) == figures.get(name)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}, (9, 4, None, None, 13)),
        (
            {"input_tokens": 9, "output_tokens": 4, "cache_read_input_tokens": 5},
            (9, 4, 5, None, None),
        ),
        (
            {"promptTokenCount": 9, "thoughtsTokenCount": 3, "totalTokenCount": 12},
            (9, None, None, 3, 12),
        ),
        (
            {
                "input_tokens": 9,
                "input_tokens_details": {"cached_tokens": 2},
                "output_tokens": 7,
                "output_tokens_details": {"reasoning_tokens": 6},
            },
            (9, 7, 2, 6, None),
        ),
        ({"inputTokens": 9.0, "outputTokens": 1, "totalTokens": 10}, (9, 1, None, None, 10)),
        ({"prompt_tokens": "many", "completion_tokens": True}, (None, None, None, None, None)),
        (None, (None, None, None, None, None)),
    ],
)
def test_figures_are_found_under_the_names_of_every_provider(stated, expected):
    """Names differ, and the numbers are taken as they are."""
    found = usage.figures(stated)

    assert (found.input, found.output, found.cache_read, found.reasoning, found.total) == expected


def test_a_usage_object_keeps_its_words():
    """The statement stands beside the buckets, and parts the buckets know are not lost."""
    stated = {"prompt_tokens": 9, "completion_tokens": 4, "cache_read_tokens": 5}

    made = usage.of_stated(stated)

    assert made.stated == stated
    assert (made.input_uncached, made.cache_read) == (4, 5)
    assert usage.of_stated({}) is None


def test_a_part_that_is_larger_than_its_whole_stands_beside_it():
    """Gemini's reasoning as Inspect logs it, and Anthropic's cache as LiteLLM once stated it."""
    gemini = {"input_tokens": 13, "output_tokens": 10, "total_tokens": 577, "reasoning_tokens": 554}
    cached = {"prompt_tokens": 4, "completion_tokens": 9, "cache_creation_input_tokens": 3_482}

    read = usage.of_stated(gemini, "google")
    assert (read.input_uncached, read.output_visible, read.reasoning) == (13, 10, 554)
    read = usage.of_stated(cached)
    assert (read.input_uncached, read.cache_write, read.output_visible) == (4, 3_482, 9)


def test_the_total_decides_where_a_provider_is_read_in_another_way():
    """Reasoning may be smaller than the output, and beside it all the same."""
    stated = {"input_tokens": 5, "output_tokens": 60, "total_tokens": 85, "reasoning_tokens": 20}

    read = usage.of_stated(stated, "google")
    assert (read.output_visible, read.reasoning) == (60, 20)
