"""The arithmetic of prices: against the library whose table it is, and by hand."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence.prices import rates, table
from whence.record.generation import Usage

genai_prices = pytest.importorskip("genai_prices")
snapshot = pytest.importorskip("genai_prices.data_snapshot").get_snapshot()
NOW_NS = int(dt.datetime(2026, 11, 1, 12, 34, tzinfo=dt.UTC).timestamp()) * 1_000_000_000
MODELS = [
    (provider.id, model.id)
    for provider in snapshot.providers
    for model in provider.models
    if provider.find_model(model.id) is model
]
COUNT = st.integers(0, 400_000)
TOKENS = st.builds(
    Usage,
    input_uncached=COUNT,
    cache_read=COUNT,
    cache_write=COUNT,
    output_visible=COUNT,
    reasoning=COUNT,
)


def theirs(usage, listed, when_ns, context=()):
    """Return the cost that the library computes for a model."""
    counts = genai_prices.Usage(
        input_tokens=usage.input_uncached + usage.cache_read + usage.cache_write,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        cache_write_1h_tokens=(usage.modalities or {}).get("cache_write_1h", 0),
        output_tokens=usage.output_visible + usage.reasoning,
        output_reasoning_tokens=usage.reasoning,
    )
    made = genai_prices.calc_price(
        counts,
        listed.model,
        provider_id=listed.provider,
        genai_request_timestamp=dt.datetime.fromtimestamp(when_ns / 1e9, dt.UTC),
        price_context=dict(context) or None,
    )
    return float(made.total_price)


@given(model=st.sampled_from(MODELS), usage=TOKENS, when_ns=st.integers(NOW_NS - 2**56, NOW_NS))
def test_costs_are_those_of_the_library_whose_table_it_is(model, usage, when_ns):
    """For any model of the table, any tokens and any time."""
    listed = table.find(*model, when_ns)
    flat = rates.flat(listed.rates, usage.input_uncached + usage.cache_read + usage.cache_write)

    assert rates.cost_usd(flat, usage) == pytest.approx(
        theirs(usage, listed, when_ns), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize(
    ("provider", "model", "context"),
    [
        (provider.id, model.id, tuple(variant.when.items()))
        for provider in snapshot.providers
        for model in provider.models
        for variant in model.price_variants or ()
    ][::7],
)
def test_what_was_special_about_a_call_has_the_librarys_price(provider, model, context):
    """Batches, service tiers and fast modes, wherever the table knows them."""
    listed = table.find(provider, model, NOW_NS, context)
    if any(name in listed.left_out for name in ("audio_hours", "input_audio_hours")):
        pytest.skip("priced by the hour")
    usage = Usage(
        input_uncached=1000, cache_read=300, cache_write=0, output_visible=50, reasoning=7
    )
    flat = rates.flat(listed.rates, 1300)

    assert listed.fits
    assert rates.cost_usd(flat, usage) == pytest.approx(
        theirs(usage, listed, NOW_NS, context), rel=1e-9
    )


def test_cached_tokens_have_their_own_rates():
    """Read, written for minutes, written for an hour."""
    flat = {
        "input_mtok": 3.0,
        "cache_read_mtok": 0.3,
        "cache_write_mtok": 3.75,
        "cache_write_1h_mtok": 6.0,
        "output_mtok": 15.0,
    }
    usage = Usage(
        input_uncached=1_000_000,
        cache_read=2_000_000,
        cache_write=500_000,
        output_visible=100_000,
        reasoning=100_000,
        modalities={"cache_write_1h": 200_000},
    )

    assert rates.cost_usd(flat, usage) == pytest.approx(3 + 0.6 + 1.125 + 1.2 + 3)


def test_what_has_no_rate_of_its_own_is_charged_at_the_wider_one():
    """Cached input as input, reasoning as output, audio as text."""
    flat = {"input_mtok": 1.0, "output_mtok": 2.0}
    usage = Usage(
        input_uncached=10,
        cache_read=20,
        cache_write=30,
        output_visible=5,
        reasoning=6,
        modalities={"input_audio": 7, "output_audio": 3},
    )

    assert rates.cost_usd(flat, usage) == pytest.approx((60 + 22) / 1e6)


def test_modalities_have_their_own_rates():
    """Audio and images that go in and out, cached audio too; the rest is text."""
    flat = {
        "input_mtok": 1.0,
        "output_mtok": 2.0,
        "cache_read_mtok": 0.1,
        "input_audio_mtok": 10.0,
        "cache_audio_read_mtok": 1.0,
        "output_image_mtok": 40.0,
    }
    usage = Usage(
        input_uncached=1000,
        cache_read=400,
        output_visible=500,
        modalities={"input_audio": 300, "cache_read_audio": 100, "output_image": 450},
    )
    wanted = 800 * 1.0 + 200 * 10.0 + 300 * 0.1 + 100 * 1.0 + 50 * 2.0 + 450 * 40.0

    assert rates.cost_usd(flat, usage) == pytest.approx(wanted / 1e6)


@given(
    usage=st.builds(
        Usage,
        input_uncached=st.none() | COUNT,
        cache_read=st.none() | COUNT,
        cache_write=st.none() | COUNT,
        output_visible=st.none() | COUNT,
        reasoning=st.none() | COUNT,
        modalities=st.none()
        | st.dictionaries(
            st.sampled_from(
                ["input_audio", "cache_read_audio", "output_audio", "input_image", "cache_write_1h"]
            ),
            COUNT,
        ),
    )
)
def test_no_token_is_charged_twice_or_not_at_all(usage):
    """With one rate for everything a call costs its tokens, however modalities contradict them."""
    flat = dict.fromkeys(rates.NAMES - {"requests_kcount", "web_searches_kcount"}, 1.0)
    counts = (usage.input_uncached, usage.cache_read, usage.cache_write,
              usage.output_visible, usage.reasoning)  # fmt: skip
    total = sum(count or 0 for count in counts)

    assert rates.cost_usd(flat, usage) == pytest.approx(total / 1e6)


def test_calls_and_searches_can_have_a_price():
    """They are charged by the thousand."""
    flat = {"requests_kcount": 5.0, "web_searches_kcount": 10.0}

    assert rates.cost_usd(flat, Usage(input_uncached=10), searches=3) == pytest.approx(0.035)


@pytest.mark.parametrize(("tokens", "rate"), [(0, 1), (200_000, 1), (200_001, 2), (10**9, 4)])
def test_a_step_holds_for_all_tokens_of_a_call_beyond_it(tokens, rate):
    """The step is passed with the first token behind it."""
    steps = rates.Steps(1, [rates.Tier(200_000, 2), rates.Tier(1_000_000, 4)])

    assert rates.flat({"input_mtok": steps}, tokens) == {"input_mtok": rate}


def test_a_price_says_since_when_it_holds():
    """Of a model whose price changed, the price of the day is taken."""
    changed = [
        (provider.id, model)
        for provider in snapshot.providers
        for model in provider.models
        if isinstance(model.prices, list)
        and len(model.prices) == 2
        and model.prices[0].constraint is None
        and hasattr(model.prices[1].constraint, "start_date")
        and model.prices[0].prices.input_mtok != model.prices[1].prices.input_mtok
        and isinstance(model.prices[0].prices.input_mtok, Decimal)
        and isinstance(model.prices[1].prices.input_mtok, Decimal)
    ]
    provider, model = changed[0]
    day = model.prices[1].constraint.start_date
    noon = dt.datetime(day.year, day.month, day.day, 12, tzinfo=dt.UTC)
    before, after = noon - dt.timedelta(days=1), noon

    old = table.find(provider, model.id, int(before.timestamp() * 1e9))
    new = table.find(provider, model.id, int(after.timestamp() * 1e9))

    assert (old.since, new.since) == (None, day.isoformat())
    assert old.rates["input_mtok"] == float(model.prices[0].prices.input_mtok)
    assert new.rates["input_mtok"] == float(model.prices[1].prices.input_mtok)
