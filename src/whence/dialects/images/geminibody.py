"""The Gemini API's documents: a request becomes what the API takes, its answer becomes ours.

Comes in: a `GenerationRequest`, or the JSON that came back. Goes out: contents and configuration
for `generateContent`, or a `GenerationResponse`. An answer without an image is an error that says
why and carries what the provider said. Nothing is sent anywhere from here.

Source: the Gemini API's reference of `models.generateContent` (Content, ImageConfig, Candidate,
PromptFeedback). Words that the API adds later are kept as they are.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from whence.dialects.images.requests import GenerationResponse, mime_type_of, turns_of
from whence.errors import ImageApiError, ImagePolicyError

if TYPE_CHECKING:
    from whence.dialects.images.requests import GenerationRequest

RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
"""The aspect ratios that image models know."""
REFUSALS = frozenset(
    {
        "SAFETY",
        "IMAGE_SAFETY",
        "PROHIBITED_CONTENT",
        "IMAGE_PROHIBITED_CONTENT",
        "BLOCKLIST",
        "SPII",
        "RECITATION",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "ESCALATION",
    }
)
"""The reasons to stop that are a content policy's. A prompt that is blocked has its own field."""
_1K_PIXELS, _2K_PIXELS = 1536, 3072
_SHOWN_CHARS = 300
_NOTHING: Mapping[str, Any] = {}


def contents_of(request: GenerationRequest) -> list[dict[str, Any]]:
    """Return the conversation to send: the turns before, then images and prompt."""
    contents: list[dict[str, Any]] = []
    for turn in turns_of(request):
        parts: list[dict[str, Any]] = [{"text": turn.text}] if turn.text else []
        if turn.image_data:
            image = _image_part(turn.image_data, turn.image_mime_type)
            if turn.thought_signature:
                image["thoughtSignature"] = turn.thought_signature
            parts.append(image)
        if parts:
            contents.append({"role": "user" if turn.role == "user" else "model", "parts": parts})
    given = [_image_part(one.image_data, one.mime_type) for one in request.media_assets or ()]
    if request.input_image is not None:
        given.append(_image_part(request.input_image, request.input_mime_type))
    contents.append({"role": "user", "parts": [*given, {"text": request.prompt}]})
    return contents


def _image_part(image: bytes, mime_type: str | None) -> dict[str, Any]:
    return {"inlineData": {"data": image, "mimeType": mime_type_of(image, mime_type)}}


def config_of(request: GenerationRequest, model: str, seed: int) -> dict[str, Any]:
    """Return the settings to send: both modalities, the nearest ratio and size, the seed."""
    image: dict[str, Any] = {"aspect_ratio": nearest_ratio(request.width, request.height)}
    longest = max(request.width, request.height)
    # Only the third generation takes a size; the others refuse the field.
    if longest > _1K_PIXELS and model.rpartition("/")[2].startswith("gemini-3"):
        image["image_size"] = "2K" if longest <= _2K_PIXELS else "4K"
    config: dict[str, Any] = {
        "response_modalities": ["TEXT", "IMAGE"],
        "image_config": image,
        "seed": seed,
        "automatic_function_calling": {"disable": True},
    }
    if request.enable_grounding:
        config["tools"] = [{"google_search": {}}]
    return config


def nearest_ratio(width: int, height: int) -> str:
    """Return the ratio in `RATIOS` that needs the least stretching."""

    def stretch(ratio: str) -> float:
        across, _, down = ratio.partition(":")
        return abs(math.log(width / height * int(down) / int(across)))

    return min(RATIOS, key=stretch)


def read_answer(
    body: Any, *, generation_id: str, seed: int, inference_time_ms: int | None
) -> GenerationResponse:
    """Return the image in the API's answer and what was said of it.

    Raises:
        ImagePolicyError: A content policy blocked the prompt or the image.
        ImageApiError: There is no image, or the answer is not of the API's shape.
    """
    whole = _mapping(body)
    candidates = [_mapping(one) for one in _list(whole.get("candidates"))]
    chosen = next((one for one in candidates if _find_image(one)), None)
    candidate = chosen if chosen is not None else next(iter(candidates), _NOTHING)
    feedback = _mapping(whole.get("promptFeedback"))
    part = _find_image(candidate) or _NOTHING
    inline = _mapping(part.get("inlineData"))
    image = _decoded(inline.get("data"), "image")
    ratings = [*_list(candidate.get("safetyRatings")), *_list(feedback.get("safetyRatings"))]
    answer = GenerationResponse(
        image_data=image or b"",
        generation_id=generation_id,
        seed=seed,
        inference_time_ms=inference_time_ms,
        thought_signature=_decoded(part.get("thoughtSignature"), "thought signature"),
        mime_type=mime_type_of(image or b"", _text(inline.get("mimeType"))),
        model_version=_text(whole.get("modelVersion")),
        response_id=_text(whole.get("responseId")),
        finish_reason=_text(candidate.get("finishReason")),
        usage=dict(_mapping(whole.get("usageMetadata"))) or None,
        text=_joined(candidate, thought=False),
        reasoning=_joined(candidate, thought=True),
        safety_ratings=[dict(_mapping(one)) for one in ratings] or None,
    )
    if not image:
        error = _why_no_image(answer, candidate, feedback)
        error.answer = answer
        raise error
    return answer


def _why_no_image(
    answer: GenerationResponse, candidate: Mapping[str, Any], feedback: Mapping[str, Any]
) -> ImagePolicyError | ImageApiError:
    blocked = _text(feedback.get("blockReason"))
    reason = blocked or answer.finish_reason
    said = feedback.get("blockReasonMessage") or candidate.get("finishMessage") or answer.text
    more = f": {str(said)[:_SHOWN_CHARS]}" if said else ""
    if blocked:
        return ImagePolicyError(f"the prompt was blocked, {blocked}{more}", reason=blocked)
    if reason in REFUSALS:
        return ImagePolicyError(f"the image was refused, {reason}{more}", reason=reason)
    return ImageApiError(
        f"the model answered without an image, {reason or 'and gave no reason'}{more}"
    )


def _find_image(candidate: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the last part with an image; images of the model's thinking are drafts."""
    parts = [_mapping(part) for part in _list(_mapping(candidate.get("content")).get("parts"))]
    images = [
        part for part in parts if _mapping(part.get("inlineData")) and not part.get("thought")
    ]
    return images[-1] if images else None


def _joined(candidate: Mapping[str, Any], *, thought: bool) -> str | None:
    parts = [_mapping(part) for part in _list(_mapping(candidate.get("content")).get("parts"))]
    texts = [
        text
        for part in parts
        if bool(part.get("thought")) is thought and (text := _text(part.get("text")))
    ]
    return "\n\n".join(texts) or None


def _decoded(given: Any, what: str) -> bytes | None:
    text = _text(given)
    if text is None:
        return None
    try:
        return base64.b64decode(text.translate({45: 43, 95: 47}), validate=True)
    except ValueError as error:
        message = f"the {what} of the answer is no Base64: {error}"
        raise ImageApiError(message) from error


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else _NOTHING


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
