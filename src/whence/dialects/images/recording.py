"""Writes down one image generation: what goes in, what comes out, and what it is judged by.

Comes in: the open provenance of a call, and what is known before it (`begin`) and after it (`end`).
Goes out: records, through the provenance context of `whence.insights` and the verbs of its run.
Nothing that fails in here reaches the user's program.

Source: document 1 (Nano Banana provenance), "What Gets Captured", and its origin's data sources,
steps and factors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from whence import _clock, _ids
from whence.capture.api import current_span
from whence.capture.emit import never_raises
from whence.dialects.images import metrics, modelcall, prices
from whence.dialects.images.ancestry import IMAGES
from whence.errors import LinkError
from whence.log.blobs import digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.dialects.images.metrics import GenerationMetrics
    from whence.dialects.images.modelcall import Outcome, SentImage
    from whence.dialects.images.requests import GenerationContext, GenerationRequest
    from whence.dialects.insights.context import ProvenanceContext

_DATE_CHARS = 10
_CONVERSATION_AGE_S = 300


class Call(NamedTuple):
    """A call that is made: the provenance it is recorded in, and what is asked for whom."""

    prov: ProvenanceContext
    request: GenerationRequest
    context: GenerationContext
    model: str
    """What was asked; empty where nobody named it."""
    provider: str | None
    """Who serves it; None where that is not known."""
    prices: Sequence[prices.ImagePrice]

    @property
    def is_googles(self) -> bool:
        """Whether it is what document 1 is about."""
        return self.provider == modelcall.GOOGLE


@never_raises
def begin(call: Call) -> list[SentImage]:
    """Write what is known before the call and begin its step; return the images that go in."""
    prov, request = call.prov, call.request
    assets = list(request.media_assets or ())
    if assets:
        prov.add_data_source(
            "media_assets",
            "user_uploads",
            records_used=len(assets),
            freshness_seconds=0,
            quality_score=1.0,
            sample_ids=[asset.asset_id for asset in assets if asset.asset_id],
        )
    if request.conversation_history:
        prov.add_data_source(
            "conversation_history",
            "multi_turn_context",
            records_used=len(request.conversation_history),
            freshness_seconds=_CONVERSATION_AGE_S,
            quality_score=1.0,
        )
    prov.start_step(
        "prepare_request", "Build the request from prompt and images", "prompt_construction"
    )
    sent = modelcall.sent_images(request)
    has_input = request.input_image is not None
    prov.end_step(
        input_count=1 + len(assets) + has_input,
        output_count=1,
        parameters={
            "prompt_length": len(request.prompt),
            "media_assets": len(assets),
            "has_input_image": has_input,
            "is_refinement": call.context.is_refinement,
        },
    )
    _link_parents(call, sent)
    algorithm = "gemini_image_generation" if call.is_googles else "image_generation"
    prov.start_step("api_call", f"Call {call.model or 'the client'}", algorithm)
    return sent


@never_raises
def end(call: Call, outcome: Outcome, sent: Sequence[SentImage]) -> None:
    """Write what came of the call: the model call, steps, factors, the insight and its tags."""
    prov, failure = call.prov, outcome.failure
    today = _clock.format_ns(_clock.wall_ns())[:_DATE_CHARS]
    fallback = prices.FALLBACK_MODEL if call.is_googles else None
    price = prices.find_price(call.model, today, call.prices, fallback=fallback)
    figures = metrics.measure(call.request, call.context, call.model, outcome, price)
    fields = modelcall.fields_of(
        call.request,
        call.context,
        sent=sent,
        outcome=outcome,
        figures=figures,
        provider=call.provider,
        price=price,
    )
    current_span().record_generation(**fields)
    prov.end_step(
        input_count=1,
        output_count=0 if failure else 1,
        parameters={
            "model": call.model or None,
            "width": figures.width,
            "height": figures.height,
            "inference_time_ms": figures.inference_time_ms,
            "retries": outcome.retry_count,
        },
    )
    image_id = _image_id(outcome) if failure is None else f"failed_{call.context.job_id}"
    prov.add_data_source(
        *_api_of(call),
        records_used=1,
        freshness_seconds=0,
        quality_score=0.0 if failure else 1.0,
        sample_ids=None if failure else [image_id],
    )
    if failure is None:
        prov.start_step("process_response", "Take the image from the answer", "response_parsing")
        prov.end_step(
            input_count=1,
            output_count=1,
            parameters={
                "output_size_bytes": figures.output_size_bytes,
                "seed": figures.generation_seed,
            },
        )
        _link(call, "generated", image_id)
        if outcome.image is not None:
            IMAGES.remember(digest_of(outcome.image), image_id)
    _judge(call, outcome, figures)
    _set_insight(call, outcome, figures, image_id)


def _api_of(call: Call) -> tuple[str, str]:
    """Return type and name of the source that an image is from."""
    if call.is_googles:
        return "nano_banana_api", f"gemini:{call.model}"
    return "image_api", ":".join(part for part in (call.provider, call.model) if part) or "unknown"


def _image_id(outcome: Outcome) -> str:
    stated = getattr(outcome.answer, "generation_id", None)
    return str(stated) if stated else f"img_{_ids.new_run_id()}"


def _link_parents(call: Call, sent: Sequence[SentImage]) -> None:
    """Link what the image is made from: the parent that was named, else images made here before."""
    kind = "enhancement_of" if call.context.is_refinement else "derived_from"
    run_id = call.prov.run.id
    if call.context.parent_image_id:
        _link(call, kind, run_id, source=call.context.parent_image_id)
        return
    for parent in dict.fromkeys(IMAGES.find(image.sha256) for image in sent):
        if parent is not None:
            _link(call, kind, run_id, source=parent, inferred=True)


def _link(call: Call, kind: str, target: str, **more: Any) -> None:
    try:
        call.prov.run.link(kind, target, **more)
    except LinkError as error:  # the same id for two images would make one its own ancestor
        call.prov.run.event("a link between images was refused", level="warning", why=str(error))


def _judge(call: Call, outcome: Outcome, figures: GenerationMetrics) -> None:
    prov, failure = call.prov, outcome.failure
    factors = metrics.factors_of(figures, latency_ms=outcome.latency_ms, failure=failure)
    for factor in factors:
        prov.add_decision_factor(*factor)
    errors = metrics.validation_errors(figures, failure)
    prov.set_confidence(metrics.confidence_of(factors))
    prov.set_quality(0.0 if failure else 1.0)
    prov.set_validation(passed=not errors, errors=errors)
    prov.add_tags(metrics.tags_of(figures, call.context, failure))
    passed = figures.content_policy_passed
    if passed is not None:
        prov.run.score(
            "content_policy", float(passed), passed=passed, scale="0-1", by=call.provider
        )


def _set_insight(call: Call, outcome: Outcome, figures: GenerationMetrics, image_id: str) -> None:
    context, failure = call.context, outcome.failure
    size = f"{figures.width}x{figures.height}"
    value: dict[str, Any] = {
        "job_id": context.job_id,
        "asset_type": context.asset_type,
        "dimensions": size,
        "model": call.model or None,
        "inference_time_ms": figures.inference_time_ms,
        "total_latency_ms": outcome.latency_ms,
        "output_size_bytes": figures.output_size_bytes,
        "estimated_cost_usd": figures.estimated_cost_usd,
        "seed": figures.generation_seed,
        "success": failure is None,
        "error_type": None if failure is None else failure.error_type,
    }
    if outcome.image is not None:
        value["image"] = outcome.image
    made = f"Generated {context.asset_type} ({size}) in {outcome.latency_ms}ms"
    summary = made if failure is None else f"Generation failed: {failure.error_type}"
    call.prov.set_insight(image_id, summary, value)
    about = {
        "job_id": context.job_id,
        "asset_id": context.asset_id,
        "brand_kit_id": context.brand_kit_id,
        "brand_kit_name": context.brand_kit_name or None,
    }
    call.prov.set_metadata({name: said for name, said in about.items() if said is not None})
