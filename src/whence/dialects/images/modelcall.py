"""The record of one call of an image model: which of its fields hold what.

Comes in: a request and its context, the images that go in, and what came of it. Goes out: the
keywords of `record_generation`, and back again: `figures_of` gives the figures of a record that was
read, whoever wrote it. Nothing is written here. Figures that the record has fields for stand there,
the others are its attributes, under the names of `GenerationMetrics`. Images are named by their
SHA-256 in the conversation and held once, under `media`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from whence.dialects.images.failures import CANCELLED, Failure
from whence.dialects.images.metrics import GenerationMetrics
from whence.dialects.images.requests import mime_type_of, turns_of
from whence.log.blobs import digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.dialects.images.prices import ImagePrice
    from whence.dialects.images.requests import GenerationContext, GenerationRequest
    from whence.store.rows import GenerationRow

GOOGLE = "google"
OPERATION = "image"
_IN_FIELDS = frozenset(
    {
        "model_name",  # model
        "width",  # parameters.width
        "height",  # parameters.height
        "total_latency_ms",  # duration_ns
        "retry_count",  # attempt, from 1
        "content_policy_passed",  # policy.passed
        "generation_seed",  # seed
    }
)
"""Figures that the record has a field for."""
_HASH_CHARS = 16


class SentImage(NamedTuple):
    """An image that goes in."""

    role: str
    """`conversation`, `media_asset` or `input_image`."""
    content: bytes
    mime_type: str
    sha256: str
    asset_id: str | None


class Outcome(NamedTuple):
    """What came of a call."""

    answer: Any
    """What the client gave, with or without an image; None if nothing."""
    image: bytes | None
    """The image; None if there is none, or none in bytes."""
    failure: Failure | None
    """Why there is no image; None if there is one."""
    latency_ms: int
    """Time from end to end, in milliseconds."""
    retry_count: int
    """How many attempts failed before the last one."""


def sent_images(request: GenerationRequest) -> list[SentImage]:
    """Return the images that go in, in the order in which they are sent."""
    given: list[tuple[str, bytes, str | None, str]] = [
        ("conversation", turn.image_data, turn.image_mime_type, "")
        for turn in turns_of(request)
        if turn.image_data
    ]
    given += [
        ("media_asset", asset.image_data, asset.mime_type, asset.asset_id)
        for asset in request.media_assets or ()
    ]
    if request.input_image is not None:
        given.append(("input_image", request.input_image, request.input_mime_type, ""))
    return [
        SentImage(role, image, mime_type_of(image, mime_type), digest_of(image), asset_id or None)
        for role, image, mime_type, asset_id in given
    ]


def fields_of(
    request: GenerationRequest,
    context: GenerationContext,
    *,
    sent: Sequence[SentImage],
    outcome: Outcome,
    figures: GenerationMetrics,
    provider: str | None,
    price: ImagePrice | None,
) -> dict[str, Any]:
    """Return the keywords of `record_generation` for one call."""
    answer, failure = outcome.answer, outcome.failure
    others = {
        name: value
        for name, value in msgspec.structs.asdict(figures).items()
        if name not in _IN_FIELDS
    }
    return {
        "name": context.asset_type,
        "provider": provider,
        "operation": OPERATION,
        "model": figures.model_name or None,
        "response_model": getattr(answer, "model_version", None),
        "response_id": getattr(answer, "response_id", None),
        "messages": _messages(request, sent),
        "output": getattr(answer, "text", None),
        "reasoning": getattr(answer, "reasoning", None),
        "finish_reason": getattr(answer, "finish_reason", None),
        "parameters": {
            "width": figures.width,
            "height": figures.height,
            "enable_grounding": request.enable_grounding,
        },
        "usage": getattr(answer, "usage", None),
        "attempt": outcome.retry_count + 1,
        "duration_ms": outcome.latency_ms,
        "seed": figures.generation_seed,
        "media": _media(sent, outcome, figures),
        "policy": _policy(answer, figures, failure),
        "status": _status(failure),
        "error": _error(failure),
        **_cost(figures, price, failure),
        "prompt_hash": digest_of(request.prompt.encode("utf-8", "surrogatepass"))[:_HASH_CHARS],
        **others,
    }


def figures_of(row: GenerationRow) -> GenerationMetrics:
    """Return the figures of a model call that was recorded; what it does not state is None."""
    known = dict.fromkeys(GenerationMetrics.__struct_fields__)
    known |= {name: value for name, value in row.attributes.items() if name in known}
    known |= {
        "model_name": row.model or row.response_model or "",
        "width": row.parameters.get("width"),
        "height": row.parameters.get("height"),
        "total_latency_ms": None if row.duration_ms is None else round(row.duration_ms),
        "retry_count": None if row.attempt is None else row.attempt - 1,
        "content_policy_passed": (row.policy or {}).get("passed"),
        "generation_seed": row.seed,
    }
    return GenerationMetrics(**cast("dict[str, Any]", known))


def _messages(request: GenerationRequest, sent: Sequence[SentImage]) -> list[dict[str, Any]]:
    named = [
        {"type": "image", "sha256": image.sha256, "mime_type": image.mime_type} for image in sent
    ]
    messages: list[dict[str, Any]] = []
    for turn in turns_of(request):
        said = [{"type": "text", "text": turn.text}] if turn.text else []
        content = [*said, named.pop(0)] if turn.image_data else turn.text
        messages.append({"role": turn.role, "content": content})
    prompt = {"type": "text", "text": request.prompt}
    return [*messages, {"role": "user", "content": [*named, prompt] if named else request.prompt}]


def _media(
    sent: Sequence[SentImage], outcome: Outcome, figures: GenerationMetrics
) -> list[dict[str, Any]] | None:
    media: list[dict[str, Any]] = [{"direction": "in", **image._asdict()} for image in sent]
    if outcome.image is not None:
        made = SentImage(
            "image",
            outcome.image,
            f"image/{figures.output_format}",
            digest_of(outcome.image),
            None,
        )
        media.append({"direction": "out", **made._asdict()})
    return media or None


def _cost(
    figures: GenerationMetrics, price: ImagePrice | None, failure: Failure | None
) -> dict[str, Any]:
    """Return cost and price, or a note where no price is known.

    Nothing for a call that failed: whether it is charged, and for what, nobody knows.
    """
    if failure is not None:
        return {}
    if price is None:
        return {"cost_note": f"no price is known for {figures.model_name or 'a nameless model'}"}
    return {
        "cost_usd": figures.estimated_cost_usd,
        "cost_source": "computed",
        "price": msgspec.structs.asdict(price),
    }


def _policy(
    answer: Any, figures: GenerationMetrics, failure: Failure | None
) -> dict[str, Any] | None:
    if figures.content_policy_passed is None:
        return None
    ratings = getattr(answer, "safety_ratings", None)
    return {
        "passed": figures.content_policy_passed,
        **({} if failure is None else {"reason": failure.details}),
        **({} if ratings is None else {"ratings": ratings}),
    }


def _status(failure: Failure | None) -> str:
    if failure is None:
        return "ok"
    return CANCELLED if failure.error_type == CANCELLED else "error"


def _error(failure: Failure | None) -> dict[str, str] | None:
    if failure is None or failure.error_type == CANCELLED:
        return None
    return {"type": failure.error_type, "message": failure.details}
