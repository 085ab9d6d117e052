"""The figures of an image generation and what follows from them: document 1's rules."""

from __future__ import annotations

import asyncio

import pytest
from gemini import png
from hypothesis import given
from hypothesis import strategies as st

from whence import errors
from whence.dialects.images import metrics, prices
from whence.dialects.images.failures import Failure, classify
from whence.dialects.images.modelcall import Outcome
from whence.dialects.images.requests import mime_type_of, turns_of
from whence.images import (
    ConversationTurn,
    GenerationContext,
    GenerationRequest,
    GenerationResponse,
    ImageApiError,
    ImagePolicyError,
    ImageRateLimitError,
    ImageTimeoutError,
    MediaAssetInput,
)

CONTEXT = GenerationContext(job_id="job-1", user_id="u", execution_id="e", asset_type="thumbnail")
PRO = "gemini-3-pro-image-preview"


ANSWER = GenerationResponse(
    image_data=b"\xff\xd8\xff123", generation_id="g", seed=7, mime_type="image/jpeg"
)
DONE = Outcome(ANSWER, ANSWER.image_data, None, 1234, 0)


def measured(
    request: GenerationRequest, context=CONTEXT, outcome=DONE, price=prices.PRICES[0]
) -> metrics.GenerationMetrics:
    return metrics.measure(request, context, PRO, outcome, price)


def test_the_origins_example_costs_what_it_costs_there():
    """1,000 tokens, one image in and one out: 0.00125 + 0.00265 + 0.04 US dollars."""
    figures = measured(GenerationRequest("x" * 4000, 1280, 720, input_image=png()))

    assert figures.prompt_tokens_estimated == figures.estimated_input_tokens == 1000
    assert figures.estimated_output_tokens == 100
    assert figures.estimated_cost_usd == 0.0439
    assert figures.aspect_ratio == "16:9"


@pytest.mark.parametrize(
    ("model", "day", "taken", "cost"),
    [
        ("gemini-3-pro-image-preview", "2026-11-21", PRO, 0.04125),
        ("gemini-2.5-flash", "2026-11-21", "gemini-2.5-flash", 0.020075),
        ("models/gemini-2.5-flash", "2026-11-21", "gemini-2.5-flash", 0.020075),
        ("a model of next year", "2026-11-21", PRO, 0.04125),
        (PRO, "2025-01-01", PRO, 0.04125),
    ],
)
def test_a_price_is_found_for_every_model(model, day, taken, cost):
    """An unknown model has the price of the origin's fallback, and the price says whose it is."""
    price = prices.find_price(model, day)

    assert price is not None
    assert price.model == taken
    assert prices.estimate_cost_usd(price, input_tokens=1000, images_in=0) == cost


def test_the_price_is_the_one_that_held_on_the_day():
    """A later price holds from its first day on, and leaves the days before it alone."""
    old, new = (
        prices.ImagePrice(
            model="m",
            effective_date=date,
            input_usd_per_1k_tokens=0,
            output_usd_per_1k_tokens=0,
            usd_per_image_in=0,
            usd_per_image_out=usd,
        )
        for date, usd in (("2026-01-01", 0.04), ("2026-07-01", 0.03))
    )
    found = [
        prices.find_price("m", day, [new, old])
        for day in ("2025-12-31", "2026-06-30", "2026-07-01", "2027-01-01")
    ]

    assert found == [old, old, new, new]
    assert prices.find_price("other", "2026-07-01", [new, old]) is None


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_ratio_is_in_lowest_terms(width, height):
    """The two numbers have no common divisor, and their ratio is that of the sides."""
    across, down = map(int, metrics.aspect_ratio(width, height).split(":"))

    assert across * height == down * width
    assert metrics.aspect_ratio(across, down) == f"{across}:{down}"


@given(
    tokens=st.integers(0, 10**5),
    media=st.integers(0, 50),
    latency_ms=st.integers(0, 10**6),
    failed=st.booleans(),
)
def test_weights_add_up_and_every_factor_stays_in_its_range(tokens, media, latency_ms, failed):
    """Whatever the call: five factors, weights that sum to 1, values and confidence in 0 to 1."""
    figures = metrics.GenerationMetrics(
        model_name="m", prompt_tokens_estimated=tokens, media_assets_count=media
    )
    failure = Failure("timeout", "") if failed else None
    factors = metrics.factors_of(figures, latency_ms=latency_ms, failure=failure)

    assert sum(factor.weight for factor in factors) == pytest.approx(1.0)
    assert all(0 <= factor.normalized_value <= 1 for factor in factors)
    assert 0.15 <= metrics.confidence_of(factors) <= 1.0 + 1e-12


def test_factors_are_the_origins():
    """Half a full prompt, two of five assets, half the time that is too long, and success."""
    assets = [MediaAssetInput(png())] * 2
    figures = measured(GenerationRequest("x" * 4000, media_assets=assets))
    factors = metrics.factors_of(figures, latency_ms=15_000, failure=None)

    assert [(f.factor_name, f.normalized_value, f.weight) for f in factors] == [
        ("model_selection", 1.0, 0.15),
        ("prompt_complexity", 0.5, 0.20),
        ("media_context", 0.4, 0.15),
        ("generation_performance", 0.5, 0.25),
        ("generation_success", 1.0, 0.25),
    ]
    assert metrics.confidence_of(factors) == pytest.approx(0.15 + 0.1 + 0.06 + 0.125 + 0.25)


@pytest.mark.parametrize(
    ("tokens", "latency_ms", "size", "pace"),
    [
        (500, 4999, "simple", "excellent"),
        (501, 5000, "moderate", "good"),
        (1000, 14_999, "moderate", "good"),
        (1001, 15_000, "complex", "slow"),
    ],
)
def test_words_change_at_the_origins_thresholds(tokens, latency_ms, size, pace):
    """A prompt is complex above 1,000 tokens, a call excellent below five seconds."""
    figures = metrics.GenerationMetrics(model_name="m", prompt_tokens_estimated=tokens)
    factors = metrics.factors_of(figures, latency_ms=latency_ms, failure=None)

    assert size in factors[1].reasoning
    assert pace in factors[3].reasoning


def test_a_flawless_call_has_no_validation_errors():
    """30 seconds are not too slow and ten cents not too much; more is."""
    fine = metrics.GenerationMetrics(
        model_name="m", total_latency_ms=30_000, retry_count=0, estimated_cost_usd=0.10
    )
    poor = metrics.GenerationMetrics(
        model_name="m", total_latency_ms=30_001, retry_count=2, estimated_cost_usd=0.1001
    )

    assert metrics.validation_errors(fine, None) == []
    assert metrics.validation_errors(poor, Failure("api_error", "500")) == [
        "Generation error: api_error",
        "High latency: 30001ms",
        "Required 2 retries",
        "High cost: $0.1001",
    ]


def test_tags_say_what_queries_ask_for():
    """Asset, model, size, the circumstances, the failure, cost and latency, each once."""
    context = GenerationContext(
        job_id="j",
        user_id="u",
        execution_id="e",
        asset_type="twitch_emote",
        brand_kit_id="kit",
        is_refinement=True,
    )
    request = GenerationRequest(
        "x" * 40, 112, 112, input_image=png(), media_assets=[MediaAssetInput(png())]
    )
    figures = measured(request, context)

    assert metrics.tags_of(figures, context, Failure("timeout", "")) == [
        "twitch_emote",
        PRO,
        "112x112",
        "refinement",
        "with_media_assets",
        "image_to_image",
        "error_timeout",
        "branded",
        "cost_$0.0453",
        "latency_1234ms",
    ]


@pytest.mark.parametrize(
    ("asset_type", "refinement", "expected"),
    [
        ("image", False, "image_generation"),
        ("poster", False, "image_generation"),
        ("thumbnail", False, "thumbnail_generation"),
        ("youtube_thumbnail", False, "thumbnail_generation"),
        ("twitch_emote_112", False, "emote_generation"),
        ("tiktok_emote", False, "emote_generation"),
        ("twitch_overlay", False, "overlay_generation"),
        ("Twitch_Banner", False, "banner_generation"),
        ("profile_picture", False, "profile_generation"),
        ("streamer_logo", False, "profile_generation"),
        ("batch", False, "batch_generation"),
        ("thumbnail", True, "image_refinement"),
    ],
)
def test_every_image_has_a_type_of_insight(asset_type, refinement, expected):
    """The type follows from the asset, and a refinement is one whatever the asset."""
    context = GenerationContext(
        job_id="j", user_id="u", execution_id="e", asset_type=asset_type, is_refinement=refinement
    )

    assert metrics.insight_type_of(context) == expected


def test_what_nobody_said_is_not_zero():
    """A call without an answer has no size, no service time and no verdict of a policy."""
    late = Outcome(None, None, Failure("timeout", ""), 1234, 0)
    figures = measured(GenerationRequest("x"), outcome=late, price=None)

    assert figures.output_size_bytes is None
    assert figures.output_format is None
    assert figures.inference_time_ms is None
    assert figures.generation_seed is None
    assert figures.content_policy_passed is None
    assert figures.estimated_cost_usd is None


class RateLimitError(Exception):
    """As another client would raise it."""

    retry_after = 30


class ContentPolicyError(Exception):
    """As another client would raise it."""


class GenerationTimeoutError(Exception):
    """As another client would raise it."""

    timeout_seconds = 120


class ReadTimeout(type("TimeoutException", (Exception,), {})):
    """As an HTTP library would raise it."""


class TooManyError(Exception):
    """An error that only says its status."""

    status_code = 429


class MuteError(Exception):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ImageRateLimitError("429", retry_after_s=30), ("rate_limit", "Retry after 30s")),
        (ImageRateLimitError("429"), ("rate_limit", "Rate limited")),
        (ImagePolicyError("no: SAFETY"), ("content_policy", "no: SAFETY")),
        (ImageTimeoutError("slow", timeout_s=0.5), ("timeout", "Timeout after 0.5s")),
        (ImageApiError("500 fault"), ("api_error", "500 fault")),
        (TimeoutError(), ("timeout", "Timed out")),
        (RateLimitError("x"), ("rate_limit", "Retry after 30s")),
        (ContentPolicyError("nude"), ("content_policy", "ContentPolicyError: nude")),
        (GenerationTimeoutError(), ("timeout", "Timeout after 120s")),
        (ReadTimeout(), ("timeout", "Timed out")),
        (TooManyError(), ("rate_limit", "Rate limited")),
        (ZeroDivisionError("by zero"), ("unexpected", "ZeroDivisionError: by zero")),
        (KeyError(), ("unexpected", "KeyError")),
        (MuteError(), ("unexpected", "MuteError: its message cannot be shown")),
        (asyncio.CancelledError(), ("cancelled", "CancelledError")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_exception_is_one_sort_of_failure(error, failure):
    """Ours by class, another client's by what it says of itself, anything else is unexpected."""
    assert classify(error) == failure


def test_details_are_cut_at_five_hundred_characters():
    """A provider that answers with a page does not fill the record."""
    assert len(classify(ImageApiError("x" * 10_000)).details) == 500


@pytest.mark.parametrize("side", [0, -1, 1.5, "1280", None, True])
def test_a_side_is_a_whole_number_of_pixels(side):
    """Anything else is refused where it is written."""
    with pytest.raises(errors.ConfigError, match="width is"):
        GenerationRequest("x", width=side)


@pytest.mark.parametrize("turn", ["text", 3, {"role": "user", "image_data": "not base64!"}])
def test_a_turn_that_is_none_is_refused(turn):
    """Neither a turn nor a mapping with its keys."""
    with pytest.raises(errors.ConfigError, match="turn"):
        turns_of(GenerationRequest("x", conversation_history=[turn]))


@pytest.mark.parametrize(
    ("start", "mime_type"),
    [
        (png(), "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF0000WEBP", "image/webp"),
        (b"", "image/png"),
    ],
)
def test_an_image_is_known_by_its_first_bytes(start, mime_type):
    """Unless it is said what it is."""
    assert mime_type_of(start) == mime_type
    assert mime_type_of(start, "image/x") == "image/x"


def test_an_answer_becomes_a_turn_of_the_next_request():
    """It holds what a refinement has to send back."""
    answer = GenerationResponse(
        image_data=png(), generation_id="g", text="there", thought_signature=b"s"
    )

    assert answer.to_turn() == ConversationTurn("model", "there", png(), "image/png", b"s")
