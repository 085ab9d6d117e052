"""The Gemini transport: what it sends, what it makes of each answer, and when it tries again.

Everything goes over real HTTP on loopback, through google-genai.
"""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gemini import (
    blocked_reply,
    error_reply,
    image_reply,
    png,
    rate_limit_reply,
    refusal_reply,
    sent_images,
    serving,
)
from loopback import Answer

from whence import errors, images
from whence.dialects.images.gemini import GeminiImageClient
from whence.images import (
    ConversationTurn,
    GenerationRequest,
    GenerationResponse,
    MediaAssetInput,
)

if TYPE_CHECKING:
    from loopback import Repeating

CORPUS = Path("corpora") / "provider-http" / "google-vertex.jsonl"
IMAGE = png(16, 9)
REQUEST = GenerationRequest("a red rectangle", 1280, 720)


def ask(server: Repeating, request: GenerationRequest = REQUEST, **settings) -> GenerationResponse:
    """Return what a client of that server answers, in an event loop of its own."""

    async def generate() -> GenerationResponse:
        settings.setdefault("retry_wait_s", 0.001)
        async with GeminiImageClient("secret-key", base_url=server.url, **settings) as client:
            return await client.generate(request)

    return asyncio.run(generate())


def test_the_image_comes_back_with_all_that_was_said_of_it():
    """Bytes, model, ids, reason to stop and usage are those of the answer, word for word."""
    reply = image_reply(IMAGE)
    with serving(reply) as server:
        answer = ask(server)

    assert answer.image_data == IMAGE
    assert answer.mime_type == "image/png"
    assert answer.model_version == "gemini-3-pro-image-preview-11-2025"
    assert answer.response_id == "k0lDaayLFJLF8eEP"
    assert answer.finish_reason == "STOP"
    assert answer.usage == reply.body["usageMetadata"]
    assert answer.inference_time_ms is not None
    assert answer.retry_count == 0


def test_a_prompt_is_sent_as_it_is_with_the_nearest_ratio_and_a_seed():
    """The API is asked for both modalities; the seed that was drawn is the one that is told."""
    with serving(image_reply(IMAGE)) as server:
        answer = ask(server)

    (asked,) = server.asked
    assert asked.path == "/v1beta/models/gemini-3-pro-image-preview:generateContent"
    assert asked.headers["x-goog-api-key"] == "secret-key"
    assert asked.body["contents"] == [{"role": "user", "parts": [{"text": "a red rectangle"}]}]
    config = asked.body["generationConfig"]
    assert config["responseModalities"] == ["TEXT", "IMAGE"]
    assert config["imageConfig"] == {"aspectRatio": "16:9"}
    assert config["seed"] == answer.seed


def test_a_seed_of_zero_is_a_seed():
    """A request's own seed is sent, 0 too."""
    with serving(image_reply(IMAGE)) as server:
        answer = ask(server, GenerationRequest("x", seed=0))

    assert server.asked[0].body["generationConfig"]["seed"] == 0
    assert answer.seed == 0


@pytest.mark.parametrize(
    ("width", "height", "config"),
    [
        (512, 512, {"aspectRatio": "1:1"}),
        (1080, 1920, {"aspectRatio": "9:16", "imageSize": "2K"}),
        (2560, 1080, {"aspectRatio": "21:9", "imageSize": "2K"}),
        (3840, 2160, {"aspectRatio": "16:9", "imageSize": "4K"}),
        (1_000_000, 1, {"aspectRatio": "21:9", "imageSize": "4K"}),
    ],
)
def test_pixels_become_a_ratio_and_a_size_that_models_know(width, height, config):
    """The nearest ratio is asked for, and a size above the smallest of a model that has sizes."""
    with serving(image_reply(IMAGE)) as server:
        ask(server, GenerationRequest("x", width, height))

    assert server.asked[0].body["generationConfig"]["imageConfig"] == config


def test_a_model_without_sizes_is_not_asked_for_one():
    """Older models refuse the field, so they do not get it."""
    with serving(image_reply(IMAGE)) as server:
        ask(server, GenerationRequest("x", 4096, 4096, model="gemini-2.5-flash-image"))

    config = server.asked[0].body["generationConfig"]["imageConfig"]
    assert config == {"aspectRatio": "1:1"}


def test_images_and_the_conversation_go_along():
    """History first, an image of the model's with its signature, then assets, image and prompt."""
    history = [
        ConversationTurn("user", "a cat"),
        ConversationTurn("model", None, png(2, 2), None, b"\xff\xfe signed"),
    ]
    request = GenerationRequest(
        "now blue",
        conversation_history=history,
        media_assets=[MediaAssetInput(png(3, 3), asset_id="logo-1")],
        input_image=png(4, 4),
        enable_grounding=True,
    )
    with serving(image_reply(IMAGE)) as server:
        ask(server, request)

    body = server.asked[0].body
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    assert sent_images(server.asked[0]) == [png(2, 2), png(3, 3), png(4, 4)]
    signature = body["contents"][1]["parts"][0]["thoughtSignature"]
    assert base64.urlsafe_b64decode(signature) == b"\xff\xfe signed"
    assert body["contents"][2]["parts"][-1] == {"text": "now blue"}
    assert body["tools"] == [{"googleSearch": {}}]


def test_a_turn_may_be_a_mapping_with_base64():
    """A conversation that was kept as JSON is sent as the same one of turns."""
    kept = {"role": "model", "text": "here", "image_data": base64.b64encode(IMAGE).decode()}
    with serving(image_reply(IMAGE)) as server:
        ask(server, GenerationRequest("again", conversation_history=[kept]))

    assert sent_images(server.asked[0]) == [IMAGE]
    assert server.asked[0].body["contents"][0]["parts"][0] == {"text": "here"}


def test_drafts_of_the_models_thinking_are_not_the_image():
    """Of several images the last one that is no thought is taken, and thoughts are reasoning."""
    draft, final = (base64.b64encode(png(n, n)).decode() for n in (2, 5))
    parts = [
        {"text": "a composition first", "thought": True},
        {"inlineData": {"mimeType": "image/png", "data": draft}, "thought": True},
        {"text": "There you are."},
        {"inlineData": {"mimeType": "image/png", "data": final}, "thoughtSignature": "c2ln"},
    ]
    candidates = [{"content": {"parts": parts}, "finishReason": "STOP"}]
    with serving(image_reply(IMAGE, candidates=candidates)) as server:
        answer = ask(server)

    assert answer.image_data == png(5, 5)
    assert answer.reasoning == "a composition first"
    assert answer.text == "There you are."
    assert answer.thought_signature == b"sig"


def test_the_service_is_believed_about_its_own_time():
    """`Server-Timing` says how long the service took; the wait over the network is not counted."""
    with serving(
        image_reply(IMAGE)._replace(headers=(("Server-Timing", "gfet4t7; dur=8115"),))
    ) as s:
        answer = ask(s)

    assert answer.inference_time_ms == 8115


def test_faults_that_may_pass_are_tried_again():
    """After a fault of the server and a rate limit the third attempt brings the image."""
    replies = (
        error_reply(503, "UNAVAILABLE", "overloaded"),
        rate_limit_reply("0.01s"),
        image_reply(IMAGE),
    )
    with serving(*replies) as server:
        answer = ask(server)

    assert answer.image_data == IMAGE
    assert answer.retry_count == 2
    assert len(server.asked) == 3


def test_attempts_end():
    """When every attempt fails the last error is raised, and says how many went before."""
    with (
        serving(error_reply(500, "INTERNAL", "fault")) as server,
        pytest.raises(images.ImageApiError, match="500 INTERNAL: fault") as raised,
    ):
        ask(server, max_retries=1)

    assert raised.value.retry_count == 1
    assert raised.value.code == 500
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "reply",
    [
        error_reply(400, "INVALID_ARGUMENT", "no such ratio"),
        error_reply(404, "NOT_FOUND", "no such model"),
        refusal_reply(),
        blocked_reply(),
        Answer({"candidates": [{"finishReason": "NO_IMAGE"}]}),
        error_reply(504, "DEADLINE_EXCEEDED", "too slow"),
    ],
)
def test_what_will_not_pass_is_asked_once(reply):
    """A wrong request, a refusal and an answer without an image are not repeated."""
    with serving(reply) as server, pytest.raises(images.ImageError):
        ask(server)

    assert len(server.asked) == 1


def test_a_rate_limit_says_when_to_come_back():
    """A wait that is too long is not waited, but told."""
    with (
        serving(rate_limit_reply("3600s")) as server,
        pytest.raises(images.ImageRateLimitError) as raised,
    ):
        ask(server)

    assert raised.value.retry_after_s == 3600
    assert len(server.asked) == 1


def test_a_rate_limit_may_say_it_in_a_header():
    """`Retry-After` counts where the body has no `RetryInfo`."""
    with (
        serving(rate_limit_reply()._replace(headers=(("Retry-After", "120"),))) as server,
        pytest.raises(images.ImageRateLimitError) as raised,
    ):
        ask(server)

    assert raised.value.retry_after_s == 120


@pytest.mark.parametrize("reason", ["SAFETY", "IMAGE_SAFETY", "IMAGE_RECITATION", "SPII"])
def test_a_refused_image_is_an_error_with_the_providers_word(reason):
    """What the provider said instead goes along: usage, ratings, id."""
    with (
        serving(refusal_reply(reason)) as server,
        pytest.raises(images.ImagePolicyError, match="what it must not") as raised,
    ):
        ask(server)

    answer = raised.value.answer
    assert raised.value.reason == reason
    assert isinstance(answer, GenerationResponse)
    assert answer.usage == {"promptTokenCount": 9, "totalTokenCount": 9}
    assert answer.safety_ratings[0]["probability"] == "HIGH"
    assert answer.image_data == b""


def test_a_blocked_prompt_is_an_error_with_the_providers_word():
    """A prompt that was not let in gives no candidate at all."""
    with (
        serving(blocked_reply("MODEL_ARMOR")) as server,
        pytest.raises(images.ImagePolicyError, match="prompt was blocked") as raised,
    ):
        ask(server)

    assert raised.value.reason == "MODEL_ARMOR"


def test_an_answer_that_drips_is_given_up_in_time():
    """The limit holds for the whole attempt, and is no retry."""
    with (
        serving(image_reply(IMAGE)._replace(delay_s=1.0)) as server,
        pytest.raises(images.ImageTimeoutError, match=r"0\.2 s") as raised,
    ):
        ask(server, timeout_s=0.2)

    assert raised.value.timeout_s == 0.2
    assert isinstance(raised.value, TimeoutError)
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_is_an_api_error():
    """No connection is a failure of the service, not of the program."""
    with serving(image_reply(IMAGE)) as server:
        pass  # its port is closed again

    with pytest.raises(images.ImageApiError, match="could not be reached"):
        ask(server, max_retries=0)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no json",
        "[]",
        "null",
        '{"candidates": 3}',
        '{"candidates": [[], null, {"content": 1}]}',
        '{"candidates": [{"content": {"parts": [{"inlineData": {"data": "%%%"}}]}}]}',
        '{"candidates": [{"content": {"parts": [{"inlineData": {"data": ["x"]}}]}}]}',
        '{"candidates": [{"finishReason": "A_REASON_OF_NEXT_YEAR"}], "usageMetadata": "none"}',
        '{"candidates": [{"content": {"parts": [{"inlineData": {"data": "\\u00e9"}}]}}]}',
        '{"promptFeedback": []}',
    ],
)
def test_an_answer_of_any_other_shape_is_an_api_error(body):
    """Nothing that a server sends makes anything but an error of ours."""
    with serving(Answer(body)) as server, pytest.raises(images.ImageApiError):
        ask(server, max_retries=0)


def test_a_client_works_in_one_event_loop_after_another():
    """Connections are not kept, so no loop holds what belongs to a closed one."""
    with serving(image_reply(IMAGE)) as server:
        client = GeminiImageClient("key", base_url=server.url)
        answers = [asyncio.run(client.generate(REQUEST)) for _ in range(2)]

    assert [answer.image_data for answer in answers] == [IMAGE, IMAGE]


def test_a_client_of_google_genai_can_be_given():
    """Its key and address are its own business."""
    from google import genai  # noqa: PLC0415 - an optional package

    with serving(image_reply(IMAGE)) as server:
        own = genai.Client(
            api_key="mine", http_options={"base_url": server.url, "api_version": "v9"}
        )
        client = GeminiImageClient(client=own)
        answer = asyncio.run(client.generate(REQUEST))

    assert answer.image_data == IMAGE
    assert server.asked[0].path.startswith("/v9/")
    assert server.asked[0].headers["x-goog-api-key"] == "mine"


def test_vertex_is_asked_in_its_own_way(monkeypatch):
    """Where google-genai is set to Vertex AI, version and path are Vertex AI's."""
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    with serving(image_reply(IMAGE)) as server:
        answer = ask(server)

    path = server.asked[0].path
    assert answer.image_data == IMAGE
    assert path.startswith("/v1beta1/")
    assert path.endswith("/publishers/google/models/gemini-3-pro-image-preview:generateContent")


def test_credentials_that_cannot_be_renewed_are_an_api_error():
    """The service cannot be reached without them; the reason is told."""
    import google.auth.credentials  # noqa: PLC0415 - an optional package
    from google import genai  # noqa: PLC0415 - as above
    from google.auth.exceptions import RefreshError  # noqa: PLC0415 - as above

    class Expired(google.auth.credentials.Credentials):
        def refresh(self, _request):
            raise RefreshError("the session has ended")

    own = genai.Client(vertexai=True, project="p", location="l", credentials=Expired())
    client = GeminiImageClient(client=own, max_retries=0)
    with pytest.raises(images.ImageApiError, match="the session has ended"):
        asyncio.run(client.generate(REQUEST))


def test_a_missing_key_is_said_at_once(monkeypatch):
    """Without a key no client is made, and the message says what to do."""
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(errors.ConfigError, match="GEMINI_API_KEY"):
        GeminiImageClient()


def recorded_exchanges() -> list[dict]:
    """Return the recorded exchanges of Gemini in the collection beside the project, if any."""
    for folder in Path(__file__).resolve().parents:
        path = folder / "shared" / CORPUS
        if path.is_file():
            lines = path.read_text("utf-8").splitlines()
            return [json.loads(line) for line in lines]
    return []


@pytest.mark.skipif(not recorded_exchanges(), reason="the recorded exchanges are not here")
def test_a_recorded_answer_of_the_real_service_is_understood():
    """The image that Google once sent comes out byte for byte, with what was said of it."""
    (exchange,) = [e for e in recorded_exchanges() if "image_generation" in e["cassette"]]
    stated = exchange["response"]["body"]
    with serving(Answer(stated)) as server:
        answer = ask(server, GenerationRequest("Generate an image of an axolotl.", 1024, 1024))

    part = stated["candidates"][0]["content"]["parts"][0]["inlineData"]
    assert answer.image_data == base64.b64decode(part["data"])
    assert answer.image_data.startswith(b"\xff\xd8\xff")
    assert answer.mime_type == part["mimeType"] == "image/jpeg"
    assert answer.usage == stated["usageMetadata"]
    assert answer.response_id == stated["responseId"]


@pytest.mark.skipif(not recorded_exchanges(), reason="the recorded exchanges are not here")
def test_recorded_refusals_of_the_real_service_are_understood():
    """Both of the refusals, of a prompt and of an answer, are refusals here."""
    refused = [e for e in recorded_exchanges() if "armor" in e["cassette"]]
    reasons = []
    for exchange in refused:
        with (
            serving(Answer(exchange["response"]["body"])) as server,
            pytest.raises(images.ImagePolicyError, match=r"violated") as raised,
        ):
            ask(server)
        reasons.append(raised.value.reason)

    assert reasons == ["MODEL_ARMOR", "MODEL_ARMOR"]
