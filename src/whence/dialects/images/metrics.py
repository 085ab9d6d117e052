"""What is known of one image generation in figures, and what follows from them by rule.

Comes in: a request, its context, and what came of it. Goes out: `GenerationMetrics`, the factors
with their weights, the confidence, the validation errors and the tags. Nothing is measured or
written here. Figures, weights and thresholds are those of document 1's origin (Nano Banana
provenance); where the origin writes 0 for what nobody said, this writes None.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from whence.dialects.images import prices
from whence.dialects.images.failures import CANCELLED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whence.dialects.images.failures import Failure
    from whence.dialects.images.modelcall import Outcome
    from whence.dialects.images.requests import GenerationContext, GenerationRequest

ESTIMATED_OUTPUT_TOKENS = 100
"""Image models write next to no text, so the origin takes this for every call."""
SLOW_MS = 30_000
"""From here on a call is too slow to pass."""
COSTLY_USD = 0.10
"""Above this a call is too costly to pass."""
_CHARS_PER_TOKEN = 4
_FULL_PROMPT_TOKENS, _COMPLEX_TOKENS, _MODERATE_TOKENS = 2000, 1000, 500
_FULL_MEDIA = 5
_EXCELLENT_MS, _GOOD_MS = 5000, 15_000
_ASSETS = {
    "emote": "emote_generation",
    "thumbnail": "thumbnail_generation",
    "overlay": "overlay_generation",
    "banner": "banner_generation",
    "profile": "profile_generation",
    "logo": "profile_generation",
    "batch": "batch_generation",
}
"""A word in an asset type, and the type of insight that such an image is."""


class GenerationMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one call of an image model."""

    model_name: str
    """The model that was asked for."""
    prompt_length: int | None = None
    """Length of the prompt in characters."""
    prompt_tokens_estimated: int | None = None
    """A quarter of that."""
    width: int | None = None
    """Width that was asked for, in pixels."""
    height: int | None = None
    """Height that was asked for, in pixels."""
    aspect_ratio: str | None = None
    """Their ratio in lowest terms: `16:9`."""
    is_refinement: bool | None = None
    """Whether an earlier image was refined."""
    is_multi_turn: bool | None = None
    """Whether a conversation was sent."""
    conversation_turns: int | None = None
    """How many turns it had."""
    has_input_image: bool | None = None
    """Whether an image to start from was sent."""
    media_assets_count: int | None = None
    """How many images to be used were sent."""
    inference_time_ms: int | None = None
    """Time the service took, in milliseconds; None if it gave no answer."""
    total_latency_ms: int | None = None
    """Time from end to end, retries included, in milliseconds."""
    retry_count: int | None = None
    """How many attempts failed before the last one."""
    output_size_bytes: int | None = None
    """Size of the image in bytes; None if there is none."""
    output_format: str | None = None
    """`png`, `jpeg`; None if there is no image."""
    estimated_input_tokens: int | None = None
    """Tokens of text that went in, estimated."""
    estimated_output_tokens: int | None = None
    """Tokens of text that came out, estimated: always 100."""
    estimated_cost_usd: float | None = None
    """What such a call costs by the price table, whether or not it succeeded."""
    content_policy_passed: bool | None = None
    """Whether prompt and image were let through; None if it did not come to that."""
    generation_seed: int | None = None
    """The seed that was sent."""


class FactorFigures(NamedTuple):
    """One weighted consideration, before it is recorded."""

    factor_name: str
    raw_value: Any
    normalized_value: float
    weight: float
    reasoning: str


def measure(
    request: GenerationRequest,
    context: GenerationContext,
    model: str,
    outcome: Outcome,
    price: prices.ImagePrice | None,
) -> GenerationMetrics:
    """Return the figures of a call that ended.

    The answer in `outcome` may be any client's: what it does not state is None.
    """
    tokens = estimate_tokens(request.prompt)
    media = len(request.media_assets or ())
    turns = len(request.conversation_history or ())
    answer, image = outcome.answer, outcome.image
    seed = getattr(answer, "seed", None)
    return GenerationMetrics(
        model_name=model,
        prompt_length=len(request.prompt),
        prompt_tokens_estimated=tokens,
        width=request.width,
        height=request.height,
        aspect_ratio=aspect_ratio(request.width, request.height),
        is_refinement=context.is_refinement,
        is_multi_turn=turns > 0,
        conversation_turns=turns,
        has_input_image=request.input_image is not None,
        media_assets_count=media,
        inference_time_ms=getattr(answer, "inference_time_ms", None),
        total_latency_ms=outcome.latency_ms,
        retry_count=outcome.retry_count,
        output_size_bytes=None if image is None else len(image),
        output_format=None if image is None else _format_of(answer),
        estimated_input_tokens=tokens,
        estimated_output_tokens=ESTIMATED_OUTPUT_TOKENS,
        estimated_cost_usd=None
        if price is None
        else prices.estimate_cost_usd(
            price, input_tokens=tokens, images_in=media + (request.input_image is not None)
        ),
        content_policy_passed=_policy_passed(outcome.failure),
        generation_seed=request.seed if seed is None else seed,
    )


def estimate_tokens(text: str) -> int:
    """Return the estimate of the origin: a token for every four characters."""
    return len(text) // _CHARS_PER_TOKEN


def aspect_ratio(width: int, height: int) -> str:
    """Return the ratio of two sides in lowest terms: `16:9`."""
    divisor = math.gcd(width, height)
    return f"{width // divisor}:{height // divisor}"


def _format_of(answer: Any) -> str:
    return str(getattr(answer, "mime_type", None) or "image/png").rpartition("/")[2]


def _policy_passed(failure: Failure | None) -> bool | None:
    if failure is None:
        return True
    return False if failure.error_type == "content_policy" else None


def insight_type_of(context: GenerationContext) -> str:
    """Return the type of insight of an image: a refinement, else by a word in its asset type."""
    if context.is_refinement:
        return "image_refinement"
    asset = context.asset_type.lower()
    return next((kind for word, kind in _ASSETS.items() if word in asset), "image_generation")


def factors_of(
    figures: GenerationMetrics, *, latency_ms: int, failure: Failure | None
) -> list[FactorFigures]:
    """Return the five factors, whose weights add up to 1."""
    tokens, media = figures.prompt_tokens_estimated or 0, figures.media_assets_count or 0
    size = _word(
        tokens > _COMPLEX_TOKENS, "complex", tokens > _MODERATE_TOKENS, "moderate", "simple"
    )
    pace = _word(latency_ms < _EXCELLENT_MS, "excellent", latency_ms < _GOOD_MS, "good", "slow")
    purpose = "refinement" if figures.is_refinement else "generation"
    return [
        FactorFigures(
            "model_selection",
            figures.model_name or None,
            1.0,
            0.15,
            f"{figures.model_name or 'a nameless model'} for {purpose}",
        ),
        FactorFigures(
            "prompt_complexity",
            tokens,
            min(1.0, tokens / _FULL_PROMPT_TOKENS),
            0.20,
            f"{tokens} estimated tokens: {size} prompt",
        ),
        FactorFigures(
            "media_context",
            media,
            min(1.0, media / _FULL_MEDIA),
            0.15,
            f"{media} media assets attached" if media else "no media assets",
        ),
        FactorFigures(
            "generation_performance",
            latency_ms,
            1.0 - min(1.0, latency_ms / SLOW_MS),
            0.25,
            f"{latency_ms} ms from end to end: {pace}",
        ),
        FactorFigures(
            "generation_success",
            failure is None,
            0.0 if failure else 1.0,
            0.25,
            f"failed: {failure.error_type}" if failure else "the image was generated",
        ),
    ]


def _word(first: bool, one: str, second: bool, other: str, rest: str) -> str:  # noqa: FBT001
    return one if first else other if second else rest


def confidence_of(factors: Iterable[FactorFigures]) -> float:
    """Return the sum of what the factors contribute: normalized value times weight."""
    return math.fsum(factor.normalized_value * factor.weight for factor in factors)


def validation_errors(figures: GenerationMetrics, failure: Failure | None) -> list[str]:
    """Return what is wrong with a call, a sentence each; none if nothing is."""
    errors: list[str] = []
    if failure is not None:
        errors.append(f"Generation error: {failure.error_type}")
    if (figures.total_latency_ms or 0) > SLOW_MS:
        errors.append(f"High latency: {figures.total_latency_ms}ms")
    if figures.retry_count:
        errors.append(f"Required {figures.retry_count} retries")
    if (figures.estimated_cost_usd or 0) > COSTLY_USD:
        errors.append(f"High cost: ${figures.estimated_cost_usd:.4f}")
    return errors


def tags_of(
    figures: GenerationMetrics, context: GenerationContext, failure: Failure | None
) -> list[str]:
    """Return the tags that queries are made by, each once."""
    tags = [context.asset_type, figures.model_name, f"{figures.width}x{figures.height}"]
    if context.is_refinement:
        tags.append("refinement")
    if figures.media_assets_count:
        tags.append("with_media_assets")
    if figures.has_input_image:
        tags.append("image_to_image")
    if failure is not None:
        given_up = failure.error_type == CANCELLED
        tags.append(CANCELLED if given_up else f"error_{failure.error_type}")
    if context.brand_kit_id:
        tags.append("branded")
    if figures.estimated_cost_usd is not None:
        tags.append(f"cost_${figures.estimated_cost_usd:.4f}")
    tags.append(f"latency_{figures.total_latency_ms}ms")
    return list(dict.fromkeys(filter(None, tags)))
