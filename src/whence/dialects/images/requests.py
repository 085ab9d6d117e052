"""What is asked for and what comes back: the records that users of the image client meet.

Document 1 (Nano Banana provenance) fixes their names. They hold bytes and plain values, do nothing,
and know neither a provider nor the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from whence.errors import ConfigError

DEFAULT_MODEL = "gemini-3-pro-image-preview"
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


class MediaAssetInput(msgspec.Struct, frozen=True):
    """An image to be used in the one that is generated: a logo, a face."""

    image_data: bytes
    """The image."""
    mime_type: str | None = None
    """What it is; told by its first bytes if None."""
    asset_id: str = ""
    """Your own id of it."""
    display_name: str = ""
    """What people call it."""
    asset_type: str = "image"
    """What sort of thing it shows: `logo`, `face`, `character`."""


class ConversationTurn(msgspec.Struct, frozen=True):
    """One turn of the conversation that a refinement continues."""

    role: str
    """`user` or `model`."""
    text: str | None = None
    """What was said."""
    image_data: bytes | None = None
    """The image that was sent or answered."""
    image_mime_type: str | None = None
    """What the image is; told by its first bytes if None."""
    thought_signature: bytes | None = None
    """What the model gave with its image, to be sent back with it."""


class GenerationRequest(msgspec.Struct, frozen=True):
    """One image to be generated.

    Raises:
        ConfigError: A side is no whole number from 1.
    """

    prompt: str
    """What the image is to show. It is sent as it is."""
    width: int = 1024
    """Width in pixels. Models know ratios and sizes: the nearest is asked for."""
    height: int = 1024
    """Height in pixels."""
    model: str | None = None
    """The model; the client's own if None."""
    seed: int | None = None
    """Seed for the model; one is drawn, and told, if None."""
    input_image: bytes | None = None
    """An image to start from."""
    input_mime_type: str | None = None
    """What the input image is; told by its first bytes if None."""
    conversation_history: Sequence[ConversationTurn | Mapping[str, Any]] | None = None
    """The turns before, for a refinement; a mapping has the keys of `ConversationTurn`."""
    media_assets: Sequence[MediaAssetInput] | None = None
    """Images to be used in the one that is generated."""
    enable_grounding: bool = False
    """Whether the model may search the web."""

    def __post_init__(self) -> None:
        for side, pixels in (("width", self.width), ("height", self.height)):
            if type(pixels) is not int or pixels < 1:
                message = f"{side} is {pixels!r}; give a whole number of pixels from 1"
                raise ConfigError(message)


class GenerationContext(msgspec.Struct, frozen=True, kw_only=True):
    """For whom and for what an image is generated: what its provenance is found by."""

    job_id: str
    """Your id of the job."""
    user_id: str
    """Who asked."""
    execution_id: str
    """Your id of this execution."""
    asset_type: str = "image"
    """What the image is for: `thumbnail`, `twitch_emote`, `banner`."""
    brand_kit_id: str | None = None
    """The brand kit that was applied."""
    brand_kit_name: str = ""
    """What people call it."""
    is_refinement: bool = False
    """Whether an earlier image is refined."""
    asset_id: str | None = None
    """Your id of the asset the image becomes."""
    parent_image_id: str | None = None
    """The earlier image: its provenance id, its generation id, or any id that look-ups accept."""
    project: str | None = None
    """The project that the run belongs to."""


class GenerationResponse(msgspec.Struct, frozen=True, kw_only=True):
    """An image and what the model said of it."""

    image_data: bytes
    """The image; empty where the model answered without one."""
    generation_id: str
    """Id of the image, made where it was generated. `whence why` accepts it."""
    seed: int | None = None
    """The seed that was sent."""
    inference_time_ms: int | None = None
    """Time the service took, in milliseconds, as it states or else as it was waited for."""
    thought_signature: bytes | None = None
    """To be sent back with the image when it is refined."""
    mime_type: str = "image/png"
    """What the image is."""
    model_version: str | None = None
    """The model that answered."""
    response_id: str | None = None
    """The provider's id of the answer."""
    finish_reason: str | None = None
    """Why the model stopped."""
    usage: dict[str, Any] | None = None
    """The provider's own count of tokens, verbatim."""
    text: str | None = None
    """What the model wrote beside the image."""
    reasoning: str | None = None
    """What the model thought, where it says so."""
    safety_ratings: list[dict[str, Any]] | None = None
    """How the provider rates the content."""
    retry_count: int = 0
    """How many attempts failed before this one."""
    provenance_id: str | None = None
    """Id of the provenance record, when it was recorded."""

    def to_turn(self) -> ConversationTurn:
        """Return the answer as a turn, to be refined in the next request."""
        return ConversationTurn(
            "model", self.text, self.image_data, self.mime_type, self.thought_signature
        )


def turns_of(request: GenerationRequest) -> list[ConversationTurn]:
    """Return the turns before the request; the bytes of one given as a mapping may be Base64 text.

    Raises:
        ConfigError: One is neither a turn nor a mapping, or its bytes are no Base64.
    """
    return [_as_turn(turn) for turn in request.conversation_history or ()]


def _as_turn(given: ConversationTurn | Mapping[str, Any]) -> ConversationTurn:
    if isinstance(given, ConversationTurn):
        return given
    if not isinstance(cast("object", given), Mapping):
        message = f"a turn of the conversation is {given!r}; give a ConversationTurn or a mapping"
        raise ConfigError(message)
    text, mime_type = given.get("text"), given.get("image_mime_type")
    return ConversationTurn(
        str(given.get("role") or "user"),
        None if text is None else str(text),
        _as_bytes(given.get("image_data")),
        None if mime_type is None else str(mime_type),
        _as_bytes(given.get("thought_signature")),
    )


def _as_bytes(given: Any) -> bytes | None:
    if given is None or isinstance(given, bytes):
        return given
    import base64  # noqa: PLC0415 - only turns that were kept as JSON need it

    try:
        return base64.b64decode(given, validate=True)
    except (TypeError, ValueError) as error:
        message = f"the bytes of a turn are neither bytes nor Base64 text: {error}"
        raise ConfigError(message) from error


def mime_type_of(image: bytes, stated: str | None = None) -> str:
    """Return what an image is: as stated, else by its first bytes, else `image/png`."""
    known = (mime for start, mime in _SIGNATURES if image.startswith(start))
    return stated or next(known, "image/png")
