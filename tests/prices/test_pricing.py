"""A cost says by which price, or why there is none; nothing unknown is 0."""

from __future__ import annotations

import datetime as dt
import sys

import pytest

from whence.prices import pricing
from whence.prices.pricing import Asked, Prices
from whence.record.generation import Usage
from whence.record.usage import from_stated

genai_prices = pytest.importorskip("genai_prices")
NOW_NS = int(dt.datetime(2026, 10, 20, 12, tzinfo=dt.UTC).timestamp()) * 1_000_000_000
USAGE = Usage(input_uncached=1_000, cache_read=500, output_visible=100, reasoning=50)


def cost(model="gpt-4o", provider="openai", usage=USAGE, **more):
    return Prices().cost(Asked(usage, provider, (model,), NOW_NS, **more))


def test_a_known_model_costs_what_the_table_says():
    """The price, its table and version, and the model it was found under are told."""
    made = cost("gpt-4o-2024-08-06")

    assert made.cost_usd == pytest.approx((1000 * 2.5 + 500 * 1.25 + 150 * 10) / 1e6)
    assert made.price["input_mtok"] == 2.5
    assert made.price["model"] == "gpt-4o"
    assert made.price["table"] == f"genai-prices {genai_prices.__version__}"
    assert "effective_from" in made.price
    assert made.note is None


@pytest.mark.parametrize(
    ("asked", "note"),
    [
        ({"model": "my-own-model"}, "no price is known for the model my-own-model of openai"),
        ({"model": "my-own-model", "provider": None}, "no price is known for the model my-own"),
        ({"usage": None}, "no tokens are stated"),
        ({"usage": Usage(stated={"x": 1})}, "the stated usage gives no tokens"),
        ({"usage": Usage(input_uncached=5)}, "its output tokens are not stated"),
        ({"usage": Usage(output_visible=5)}, "its input tokens are not stated"),
    ],
)
def test_what_cannot_be_told_is_null_with_the_reason(asked, note):
    """Never 0."""
    made = cost(**asked)

    assert (made.cost_usd, made.price) == (None, None)
    assert made.note.startswith(note)


def test_a_call_without_a_model_has_no_cost():
    """Nobody can tell by which price."""
    assert Prices().cost(Asked(USAGE, "openai", (), NOW_NS)).note == "no model is named"


def test_embeddings_have_no_output():
    """They are priced by their input."""
    usage = Usage(input_uncached=1_000_000)
    made = cost("text-embedding-3-small", usage=usage, operation="embeddings")

    assert made.cost_usd == pytest.approx(0.02)


def test_zero_that_was_stated_costs_zero():
    """A stated 0 is a number: the model answered nothing."""
    usage = Usage(input_uncached=0, output_visible=0)

    assert cost(usage=usage).cost_usd == 0.0


def test_the_model_that_answered_is_priced_and_else_the_one_that_was_asked():
    """A deployment's or alias' name may be known to nobody."""
    asked = Asked(USAGE, "azure", ("my-deployment", "gpt-4o"), NOW_NS)

    assert Prices().cost(asked).price["model"] == "gpt-4o"


@pytest.mark.parametrize(
    ("provider", "model", "known"),
    [
        ("google-vertex", "gemini-2.5-flash", "google"),
        ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
        ("azure", "gpt-4o", "azure"),
        ("my-gateway", "claude-sonnet-4-5", "anthropic"),
        (None, "gpt-4o", "openai"),
    ],
)
def test_a_provider_is_found_by_the_name_that_records_use(provider, model, known):
    """A provider that has no prices of its own is told by the model."""
    made = cost(model, provider)

    assert made.price["provider"] == known
    assert made.cost_usd > 0


def test_batches_and_tiers_have_their_price():
    """The half price of a batch, the higher one of priority."""
    tiers = ("default", "batch", "priority")
    standard, batch, priority = (cost("gpt-5", tier=tier) for tier in tiers)

    assert batch.cost_usd < standard.cost_usd < priority.cost_usd
    assert batch.price["context"] == {"processing": "batch"}
    assert "context" not in standard.price


def test_a_tier_that_nobody_has_a_price_for_is_told():
    """The standard price stands in, and the note says so."""
    made = cost("gpt-4", tier="hyper")

    assert made.cost_usd == cost("gpt-4").cost_usd
    assert made.note == "no price is known for hyper; this is the standard price"


def test_searches_and_advisors_of_anthropic_are_seen():
    """Searches have a price; another model's tokens beside the call do not belong to it."""
    stated = {
        "input_tokens": 1_000,
        "output_tokens": 100,
        "server_tool_use": {"web_search_requests": 3},
        "iterations": [{"type": "advisor_message", "model": "claude-opus-4-8"}],
    }
    plain = from_stated({"input_tokens": 1_000, "output_tokens": 100}, "anthropic")
    made = cost("claude-sonnet-4-5", "anthropic", from_stated(stated, "anthropic"))

    expected = cost("claude-sonnet-4-5", "anthropic", plain).cost_usd + 0.03
    assert made.cost_usd == pytest.approx(expected)
    assert "advisor" in made.note


def test_without_the_table_the_reason_names_the_extra(monkeypatch):
    """A price book alone needs no package."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    pricing.table._model.cache_clear()

    assert "pip install 'whence[prices]'" in cost().note
    pricing.table._model.cache_clear()
