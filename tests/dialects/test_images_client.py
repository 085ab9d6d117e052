"""The provenance of image generations: what is recorded of each, and how it is found again.

The Gemini API is a server on loopback; other clients are written here, as a user would.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from gemini import (
    blocked_reply,
    error_reply,
    image_reply,
    png,
    rate_limit_reply,
    refusal_reply,
    serving,
)
from loopback import Answer

import whence
from whence import images, insights
from whence.images import (
    ConversationTurn,
    GenerationContext,
    GenerationRequest,
    GenerationResponse,
    MediaAssetInput,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whence.query.reader import Reader

IMAGE = png(16, 9)
PRO = "gemini-3-pro-image-preview"


@pytest.fixture(autouse=True)
def recorded(home: Path) -> Iterator[Path]:
    """A home of the test's own, in which this process records."""
    whence.configure(home)
    yield home
    whence.configure(home, enabled=False)


@pytest.fixture
def store(recorded: Path) -> Iterator[Reader]:
    """The home, open for reading; what is written later is seen too."""
    recorded.mkdir(exist_ok=True)
    with whence.open(recorded) as opened:
        yield opened


def context(**more: Any) -> GenerationContext:
    given = {
        "job_id": "job-7",
        "user_id": "ada",
        "execution_id": "gen_7",
        "asset_type": "thumbnail",
    }
    return GenerationContext(**(given | more))


def ask(*replies: Answer, request: GenerationRequest | None = None, **more: Any) -> Any:
    """Return what the client answers when the server says `replies`."""

    async def generate(url: str) -> GenerationResponse:
        client = images.get_provenance_nano_banana_client(
            api_key="key", base_url=url, retry_wait_s=0.001, timeout_s=more.pop("timeout_s", 30)
        )
        async with client:
            return await client.generate_with_provenance(
                request=request or GenerationRequest("a red cat", 1280, 720, seed=42),
                context=context(**more),
            )

    with serving(*(replies or (image_reply(IMAGE),))) as server:
        return asyncio.run(generate(server.url))


def call_with(client: Any, request: GenerationRequest | None = None, **more: Any) -> Any:
    """Return what a client of one's own answers."""
    wrapped = images.ProvenanceImageClient(client)
    return asyncio.run(
        wrapped.generate_with_provenance(request or GenerationRequest("x"), context(**more))
    )


class Answering:
    """A client of one's own that answers with what it was given, or raises it."""

    model = "own-model"

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.closed = False

    async def generate(self, _request: GenerationRequest) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        self.closed = True


def test_the_caller_gets_the_image_and_the_id_of_its_provenance(store):
    """The response is that of the model; its provenance id finds the run, and so does its own."""
    response = ask()

    assert response.image_data == IMAGE
    assert store.run(response.provenance_id).external_id == response.provenance_id
    assert store.run(response.generation_id).external_id == response.provenance_id


def test_the_request_is_recorded(store):
    """Group 1: model and version, prompt, dimensions, media, conversation."""
    request = GenerationRequest(
        "make it blue " * 10,
        1280,
        720,
        media_assets=[MediaAssetInput(png(3, 3), asset_id="logo-1")],
        conversation_history=[
            ConversationTurn("user", "a cat"),
            ConversationTurn("model", None, png(4, 4)),
        ],
    )
    response = ask(request=request, is_refinement=True)

    (call,) = store.run(response.provenance_id).generations
    figures = images.get_generation_provenance(response.provenance_id).generation_metrics
    assert (call.provider, call.operation, call.name) == ("google", "image", "thumbnail")
    assert (call.model, call.response_model) == (PRO, f"{PRO}-11-2025")
    assert (figures.prompt_length, figures.prompt_tokens_estimated) == (130, 32)
    assert (figures.width, figures.height, figures.aspect_ratio) == (1280, 720, "16:9")
    assert (figures.media_assets_count, figures.has_input_image) == (1, False)
    assert (figures.is_refinement, figures.is_multi_turn, figures.conversation_turns) == (
        True,
        True,
        2,
    )
    assert [message["role"] for message in call.messages] == ["user", "model", "user"]
    assert call.messages[0]["content"] == "a cat"
    assert call.messages[1]["content"][0]["sha256"] == hashlib.sha256(png(4, 4)).hexdigest()
    assert call.messages[2]["content"][-1] == {"type": "text", "text": request.prompt}


def test_performance_and_cost_are_recorded(store):
    """Groups 2 and 3: times, retries, size; estimates, and the price with its date."""
    slow = image_reply(IMAGE)._replace(headers=(("Server-Timing", "gfet4t7; dur=8115"),))
    response = ask(error_reply(503, "UNAVAILABLE", "busy"), slow)

    (call,) = store.run(response.provenance_id).generations
    figures = images.get_generation_provenance(response.provenance_id).generation_metrics
    assert figures.inference_time_ms == 8115
    assert figures.total_latency_ms == round(call.duration_ms) > 0
    assert (figures.retry_count, call.attempt) == (1, 2)
    assert (figures.output_size_bytes, figures.output_format) == (len(IMAGE), "png")
    assert (figures.estimated_input_tokens, figures.estimated_output_tokens) == (2, 100)
    assert figures.estimated_cost_usd == call.cost_usd == 0.040003
    assert call.cost_source == "computed"
    assert (call.price["model"], call.price["effective_date"]) == (PRO, "2026-01-01")


def test_each_attempt_that_failed_is_told(store):
    """What was tried again, and why, stands in the step of the call."""
    response = ask(
        error_reply(500, "INTERNAL", "fault"), rate_limit_reply("0.001s"), image_reply(IMAGE)
    )

    run = store.run(response.provenance_id)
    assert [event.data["attempt"] for event in run.events] == [1, 2]
    assert "500 INTERNAL: fault" in run.events[0].data["error"]
    assert {event.span for event in run.events} == {run.find("api_call").id}


def test_quality_signals_are_recorded(store):
    """Group 4: the policy's verdict, the seed, and that it succeeded."""
    response = ask()

    run = store.run(response.provenance_id)
    (call,) = run.generations
    (score,) = [one for one in run.scores if one.name == "content_policy"]
    assert call.policy == {"passed": True}
    assert (score.value, score.passed) == (1.0, True)
    assert call.seed == response.seed == 42
    assert (call.status, run.status) == ("ok", "complete")


def test_tokens_are_kept_as_stated_and_in_buckets(store):
    """The provider's own words are kept, and tokens of images are told from those of text."""
    response = ask()

    usage = store.run(response.provenance_id).generations[0].usage
    assert usage.stated == image_reply(IMAGE).body["usageMetadata"]
    assert (usage.input_uncached, usage.output_visible) == (9, 1290)
    assert usage.modalities == {"input_text": 9, "output_image": 1290}


def test_the_image_is_kept_byte_for_byte(store, recorded):
    """It is one blob, whoever names it, and comes back as it was."""
    response = ask()

    digest = hashlib.sha256(IMAGE).hexdigest()
    (output,) = store.run(response.provenance_id).outputs
    assert images.get_image(response.generation_id) == IMAGE
    assert output.value["image"]["sha256"] == digest
    assert [path.name for path in recorded.glob("blobs/*/*")] == [digest]


def test_images_that_go_in_are_kept_too(store):
    """A reader can see what the model was shown."""
    request = GenerationRequest(
        "x", input_image=png(2, 2), media_assets=[MediaAssetInput(png(3, 3), asset_id="logo-1")]
    )
    response = ask(request=request)

    media = store.run(response.provenance_id).generations[0].media
    assert [(one["direction"], one["role"]) for one in media] == [
        ("in", "media_asset"),
        ("in", "input_image"),
        ("out", "image"),
    ]
    assert media[0]["asset_id"] == "logo-1"
    kept = [store.blob(one["content"]["sha256"]) for one in media]
    assert kept == [png(3, 3), png(2, 2), IMAGE]


def test_the_record_has_the_sources_steps_and_factors_of_the_origin():
    """Where data came from, what was done, what weighed on it, and what is thought of it."""
    request = GenerationRequest(
        "x" * 4000,
        media_assets=[MediaAssetInput(png(), asset_id="logo-1")],
        conversation_history=[{"role": "user", "text": "before"}],
    )
    response = ask(request=request, brand_kit_id="kit", brand_kit_name="Kit", asset_id="asset-1")

    record = images.get_generation_provenance(response.provenance_id)
    assert {(s.source_type, s.source_key, s.freshness_seconds) for s in record.data_sources} == {
        ("nano_banana_api", f"gemini:{PRO}", 0),
        ("media_assets", "user_uploads", 0),
        ("conversation_history", "multi_turn_context", 300),
    }
    assert all(source.quality_score == 1 for source in record.data_sources)
    assert [(s.step_number, s.operation, s.algorithm) for s in record.reasoning_chain] == [
        (1, "prepare_request", "prompt_construction"),
        (2, "api_call", "gemini_image_generation"),
        (3, "process_response", "response_parsing"),
    ]
    assert [(f.factor_name, f.weight) for f in record.decision_factors] == [
        ("model_selection", 0.15),
        ("prompt_complexity", 0.20),
        ("media_context", 0.15),
        ("generation_performance", 0.25),
        ("generation_success", 0.25),
    ]
    assert record.confidence_score == pytest.approx(
        sum(factor.contribution for factor in record.decision_factors)
    )
    assert record.quality_score == 1
    assert (record.validation_passed, record.validation_errors) == (True, [])
    assert record.worker_name == "generation_worker"
    assert (record.execution_id, record.category_key) == ("gen_7", "thumbnail")
    assert record.insight_type is insights.InsightType.THUMBNAIL_GENERATION
    assert record.insight_id == response.generation_id
    assert (record.job_id, record.asset_id, record.user_id) == ("job-7", "asset-1", "ada")
    assert (record.brand_kit_id, record.brand_kit_name) == ("kit", "Kit")
    assert record.prompt_hash == hashlib.sha256(b"x" * 4000).hexdigest()[:16]
    assert record.prompt_preview == "x" * 200
    assert (record.error_type, record.error_details) == (None, None)
    assert {"thumbnail", PRO, "1024x1024", "with_media_assets", "branded"} <= set(record.tags)
    assert "cost_$0.0439" in record.tags
    assert record.to_dict()["generation_metrics"]["generation_seed"] == response.seed


FAILURES = [
    pytest.param((refusal_reply(),), "content_policy", "IMAGE_SAFETY", id="refused"),
    pytest.param((blocked_reply(),), "content_policy", "PROHIBITED_CONTENT", id="blocked"),
    pytest.param((rate_limit_reply("900s"),), "rate_limit", "Retry after 900s", id="rate limit"),
    pytest.param((error_reply(400, "INVALID", "bad"),), "api_error", "400 INVALID: bad", id="400"),
    pytest.param((error_reply(500, "INTERNAL", "x"),), "api_error", "500 INTERNAL: x", id="500"),
    pytest.param(
        (Answer("<html>", kind="application/json"),),
        "api_error",
        "did not answer with JSON",
        id="no json",
    ),
    pytest.param(
        (image_reply(IMAGE)._replace(delay_s=0.6),), "timeout", "Timeout after 0.2s", id="timeout"
    ),
]


@pytest.mark.parametrize(("replies", "error_type", "details"), FAILURES)
def test_a_failure_leaves_provenance_too(replies, error_type, details, store):
    """Group 5: the type of error and its details, in a record that queries find."""
    # Only what is to be late has little time: the machine may be busy.
    with pytest.raises(images.ImageError):
        ask(*replies, timeout_s=0.2 if error_type == "timeout" else 30)

    (record,), total = insights.get_provenance_service().query(
        insights.ProvenanceQuery(tags=[f"error_{error_type}"])
    )
    assert total == 1
    found = images.get_generation_provenance(record.provenance_id)
    assert found.error_type == error_type
    assert details in found.error_details
    assert found.insight_id == "failed_job-7"
    assert found.status == "failed"
    assert not found.validation_passed
    assert f"Generation error: {error_type}" in found.validation_errors
    assert found.quality_score == 0
    assert [s.operation for s in found.reasoning_chain] == ["prepare_request", "api_call"]
    assert [s.quality_score for s in found.data_sources] == [0]
    assert found.generation_metrics.content_policy_passed is (
        False if error_type == "content_policy" else None
    )
    (call,) = store.generations().items
    assert (call.status, call.error_type, call.cost_usd) == ("error", error_type, None)
    assert call.seed == 42


def test_an_unexpected_error_passes_untouched_and_is_recorded():
    """The very exception reaches the caller."""
    error = ZeroDivisionError("in the user's client")

    with pytest.raises(ZeroDivisionError) as raised:
        call_with(Answering(error))

    found = images.get_generation_provenance("failed_job-7")
    assert raised.value is error
    assert found.error_type == "unexpected"
    assert found.error_details == "ZeroDivisionError: in the user's client"
    assert found.generation_metrics.model_name == "own-model"
    assert found.tags.count("error_unexpected") == 1


def test_a_call_that_is_cancelled_is_no_error(store):
    """The cancellation goes on; the record says that it was given up."""

    async def cancel(url: str) -> None:
        client = images.get_provenance_nano_banana_client(api_key="key", base_url=url)
        async with client, asyncio.timeout(0.2):
            await client.generate_with_provenance(GenerationRequest("x"), context())

    with serving(image_reply(IMAGE)._replace(delay_s=0.6)) as server, pytest.raises(TimeoutError):
        asyncio.run(cancel(server.url))

    (run,) = store.runs().items
    (call,) = store.generations().items
    assert (run.status, call.status, call.error_type) == ("cancelled", "cancelled", None)
    assert "cancelled" in run.tags
    assert not any(tag.startswith("error_") for tag in run.tags)
    assert images.image_metrics().errors == {}


def test_a_refinement_is_linked_to_the_image_it_refines(store):
    """An image that was made here is known again by its bytes."""
    first = ask(image_reply(png(5, 5)))
    request = GenerationRequest(
        "now blue", conversation_history=[ConversationTurn("user", "a cat"), first.to_turn()]
    )
    second = ask(image_reply(png(6, 6)), request=request, is_refinement=True)

    lineage = store.lineage(second.generation_id, "ancestors")
    edges = {edge.kind: edge for edge in lineage.edges if edge.kind != "generated"}
    assert first.generation_id in {node.id for node in lineage.ancestors}
    assert edges["enhancement_of"].source == first.generation_id
    assert edges["enhancement_of"].inferred
    assert store.run(second.provenance_id).attributes["insight_type"] == "image_refinement"


@pytest.mark.parametrize("named_by", ["provenance_id", "generation_id"])
def test_a_parent_may_be_named(named_by, store):
    """An image of another process, which is not known here, is linked by either of its ids."""
    first = ask(image_reply(png(5, 5)))
    parent = getattr(first, named_by)
    second = ask(image_reply(png(6, 6)), is_refinement=True, parent_image_id=parent)
    third = ask(image_reply(png(7, 7)), is_refinement=True, parent_image_id=second.generation_id)

    ancestors = {node.id for node in store.lineage(third.generation_id, "ancestors").ancestors}
    (link,) = [one for one in store.run(second.provenance_id).links if one.kind != "generated"]
    assert (link.kind, link.source, link.inferred) == ("enhancement_of", parent, False)
    assert store.run(first.provenance_id).id in ancestors


def test_an_image_made_from_another_is_derived_from_it(store):
    """Without being a refinement it is a new image all the same."""
    first = ask(image_reply(png(5, 5)))
    second = ask(image_reply(png(6, 6)), request=GenerationRequest("x", input_image=png(5, 5)))

    (link,) = [one for one in store.run(second.provenance_id).links if one.kind != "generated"]
    assert (link.kind, link.source) == ("derived_from", first.generation_id)


def test_images_of_another_home_are_not_its_ancestors(tmp_path):
    """The same bytes recorded elsewhere say nothing here."""
    ask(image_reply(png(5, 5)))
    whence.configure(tmp_path / "other")
    second = ask(image_reply(png(6, 6)), request=GenerationRequest("x", input_image=png(5, 5)))

    with whence.open(tmp_path / "other") as other:
        kinds = [link.kind for link in other.run(second.provenance_id).links]
    assert kinds == ["generated"]


def test_a_client_that_repeats_its_ids_breaks_nothing(store):
    """A link that would make an image its own ancestor is told as an event, never raised."""
    same = GenerationResponse(image_data=IMAGE, generation_id="gen-1", seed=1)
    call_with(Answering(same))
    call_with(Answering(same), parent_image_id="gen-1", is_refinement=True)

    runs = [store.run(row.id) for row in store.runs().items]
    assert [len(run.outputs) for run in runs] == [1, 1]
    assert [event.message for event in runs[0].events] == ["a link between images was refused"]


class Picture:
    """An answer of another library."""

    def __init__(self, image_data: Any) -> None:
        self.image_data = image_data
        self.usage = object()
        self.safety_ratings = {1, 2}
        self.inference_time_ms = "fast"
        self.retry_count = "none"


@pytest.mark.parametrize("answer", [Picture(IMAGE), Picture([1, 2]), IMAGE, bytearray(IMAGE)])
def test_any_client_can_be_wrapped(answer, store):
    """Its answer comes back as it is, and what it states is recorded as far as it can be."""
    assert call_with(Answering(answer)) is answer

    (run,) = store.runs().items
    (call,) = store.generations().items
    assert (run.status, run.lost, call.status) == ("complete", 0, "ok")
    assert call.model == "own-model"


def test_a_client_of_ones_own_is_not_google(store):
    """Its model is recorded, and neither a provider nor a price that nobody stated."""
    call_with(Answering(IMAGE))

    (call,) = store.generations().items
    assert (call.model, call.provider, call.cost_usd, call.price) == ("own-model", None, None, None)
    assert call.attributes["cost_note"] == "no price is known for own-model"
    (run,) = store.runs().items
    assert not [tag for tag in run.tags if tag.startswith("cost_")]
    sources = [(source.source_type, source.source_key) for source in store.sources().items]
    assert sources == [("image_api", "own-model")]


def test_a_client_without_a_model_has_none(store):
    """Nothing is made up where neither the request nor the client names one."""

    class Nameless:
        provider = "studio"

        def generate(self, _request: GenerationRequest) -> bytes:
            return IMAGE

    call_with(Nameless())

    (call,) = store.generations().items
    assert (call.model, call.provider, call.cost_usd) == (None, "studio", None)
    (run,) = store.runs().items
    assert (run.lost, run.status) == (0, "complete")
    assert [source.source_key for source in store.sources().items] == ["studio"]


def test_a_model_of_googles_is_priced_whoever_asks_it(store):
    """A client of one's own may lead there too, by the request or by its own model."""
    call_with(Answering(IMAGE), GenerationRequest("x", model=f"models/{PRO}"))

    (call,) = store.generations().items
    assert (call.provider, call.price["model"], call.cost_usd) == ("google", PRO, 0.04)


def test_a_price_of_ones_own_holds_for_a_client_of_ones_own(store):
    """The table is asked by the name of the model."""
    mine = msgspec.structs.replace(images.PRICES[0], model="own-model", usd_per_image_out=0.5)
    client = images.ProvenanceImageClient(Answering(IMAGE), prices=[mine])
    asyncio.run(client.generate_with_provenance(GenerationRequest("x"), context()))

    (call,) = store.generations().items
    assert (call.provider, call.cost_usd, call.cost_source) == (None, 0.5, "computed")


@pytest.mark.parametrize("answer", [None, b"", Picture(b""), Picture(None)])
def test_an_answer_without_an_image_is_a_failure(answer):
    """The answer comes back as it is, and the record says that there is no image."""
    assert call_with(Answering(answer)) is answer

    found = images.get_generation_provenance("failed_job-7")
    assert found.error_type == "api_error"
    with pytest.raises(whence.NotFoundError, match="no image was kept"):
        images.get_image("failed_job-7")


def test_a_client_that_is_not_async_does_not_block_the_loop():
    """It works in a thread, and what it records belongs to the call."""

    class Blocking:
        def generate(self, _request: GenerationRequest) -> bytes:
            whence.current_span().event("at work")
            return IMAGE

    assert call_with(Blocking()) == IMAGE
    with whence.open(whence.capture.state.current.settings.home) as opened:
        (event,) = opened.events().items
        assert opened.spans(f'id = "{event.span}"').items[0].name == "api_call"


def test_a_client_of_google_genai_can_be_wrapped():
    """It needs nothing but the client."""
    from google import genai  # noqa: PLC0415 - an optional package

    with serving(image_reply(IMAGE)) as server:
        own = genai.Client(api_key="mine", http_options={"base_url": server.url})
        response = call_with(own)

    assert response.image_data == IMAGE
    assert images.get_image(response.provenance_id) == IMAGE


def test_what_cannot_generate_is_refused():
    """The message says what is needed."""
    with pytest.raises(whence.ConfigError, match=r"generate\(request\)"):
        images.ProvenanceImageClient(object())


def test_closing_closes_the_client_that_is_wrapped():
    """Leaving the block gives up what the client holds."""
    wrapped = Answering(IMAGE)

    async def use() -> None:
        async with images.ProvenanceImageClient(wrapped):
            pass

    asyncio.run(use())
    assert wrapped.closed


def test_calls_side_by_side_are_records_of_their_own():
    """Each has its own user, image and steps, however they overlap."""

    async def generate(url: str) -> list[GenerationResponse]:
        client = images.get_provenance_nano_banana_client(api_key="key", base_url=url)
        calls = [
            client.generate_with_provenance(
                GenerationRequest(f"picture {number}"),
                context(job_id=f"job-{number}", user_id=f"user-{number}"),
            )
            for number in range(8)
        ]
        async with client:
            return await asyncio.gather(*calls)

    with serving(*(image_reply(png(n + 1, 1))._replace(delay_s=0.02) for n in range(8))) as server:
        responses = asyncio.run(generate(server.url))

    for number, response in enumerate(responses):
        found = images.get_generation_provenance(response.provenance_id)
        assert (found.user_id, found.job_id) == (f"user-{number}", f"job-{number}")
        assert found.prompt_preview == f"picture {number}"
        assert images.get_image(response.provenance_id) == response.image_data
        assert len(found.reasoning_chain) == 3


def test_a_batch_is_a_record_of_its_own_with_its_images_inside(store):
    """Generations inside a context of type batch are runs that it started."""

    async def generate() -> str:
        client = images.ProvenanceImageClient(Answering(IMAGE))
        with insights.provenance_context(
            "batch_worker", "batch-1", insights.InsightType.BATCH_GENERATION, "thumbnail"
        ) as batch:
            for number in range(3):
                await client.generate_with_provenance(
                    GenerationRequest("x"), context(job_id=f"job-{number}")
                )
        return batch.run.id

    batch_id = asyncio.run(generate())

    inside = store.runs(f'parent_run = "{batch_id}"').items
    assert len(inside) == 3
    assert {run.attributes["insight_type"] for run in inside} == {"thumbnail_generation"}


def test_prices_of_ones_own_hold(store):
    """The record says which price was used, and since when it holds."""
    mine = images.ImagePrice(
        model=PRO,
        effective_date="2026-02-01",
        input_usd_per_1k_tokens=0,
        output_usd_per_1k_tokens=0,
        usd_per_image_in=0,
        usd_per_image_out=0.25,
    )
    client = images.ProvenanceImageClient(Answering(IMAGE), prices=[*images.PRICES, mine])
    asyncio.run(client.generate_with_provenance(GenerationRequest("x", model=PRO), context()))

    (call,) = store.generations().items
    assert (call.cost_usd, call.price["effective_date"]) == (0.25, "2026-02-01")
    (run,) = store.runs().items
    assert "cost_$0.2500" in run.tags
    found = images.get_generation_provenance(run.id)
    assert found.validation_errors == ["High cost: $0.2500"]
    assert not found.validation_passed


def test_nothing_is_recorded_when_recording_is_off(home):
    """The image is made all the same, and the answer has no provenance."""
    whence.configure(home, enabled=False)
    response = ask()

    assert response.image_data == IMAGE
    assert response.provenance_id is None
    assert not home.exists()


def test_a_project_may_be_left_out(home, store):
    """Runs of a project that is switched off are not recorded, the others are."""
    whence.configure(home, projects={"secret": False})
    ask(project="secret")
    ask(project="open")

    assert [run.project for run in store.runs().items] == ["open"]


def test_content_can_be_kept_out(home):
    """Neither prompt nor image reaches the disk; figures do."""
    whence.configure(home, capture_content=False)
    prompt = "a very confidential prompt"
    response = ask(request=GenerationRequest(prompt, input_image=png(2, 2)))

    on_disk = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    found = images.get_generation_provenance(response.provenance_id)
    assert prompt.encode() not in on_disk
    assert IMAGE not in on_disk
    assert found.prompt_preview is None
    assert found.generation_metrics.prompt_length == len(prompt)


def test_texts_are_redacted_before_they_are_written(home):
    """A secret in a prompt, and in what the provider says of it, is not written."""
    whence.configure(home, redact=lambda text: text.replace("hunter2", "***"))
    with pytest.raises(images.ImageError):
        ask(
            error_reply(400, "INVALID", "hunter2 is no prompt"),
            request=GenerationRequest("hunter2"),
        )

    on_disk = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"hunter2" not in on_disk


def test_odd_values_of_the_caller_are_recorded_as_they_can_be(store):
    """Ids that are no text, and text that UTF-8 cannot hold, lose nothing."""
    answer = call_with(
        Answering(IMAGE),
        GenerationRequest("lone \ud800 surrogate"),
        job_id=7,
        user_id=None,
        execution_id="'; DROP TABLE runs; --",
        asset_type="<script>",
        brand_kit_id="\0",
    )

    (run,) = store.runs().items
    assert answer == IMAGE
    assert (run.lost, run.workflow) == (0, "'; DROP TABLE runs; --")
    found = images.get_generation_provenance(run.id)
    assert found.prompt_preview == "lone \ud800 surrogate"
    assert found.category_key == "<script>"


def test_a_run_without_an_image_model_has_no_such_provenance():
    """The message says so."""
    with whence.run("chat", external_id="chat-1") as run:
        run.record_generation(model="gpt", operation="chat")

    with pytest.raises(whence.NotFoundError, match="called no image model"):
        images.get_generation_provenance("chat-1")


def test_an_image_that_core_verbs_recorded_can_be_read():
    """What nobody stated is None; what was stated is there."""
    with whence.run("by hand", external_id="hand-1", user="eve") as run:
        run.record_generation(
            model="dall-e", operation="image", duration_ms=1500, cost_usd=0.08, seed=3
        )

    found = images.get_generation_provenance("hand-1")
    figures = found.generation_metrics
    assert (figures.model_name, figures.total_latency_ms) == ("dall-e", 1500)
    assert (figures.generation_seed, figures.retry_count, figures.width) == (3, None, None)
    assert (found.user_id, found.prompt_preview, found.job_id) == ("eve", None, None)


def test_a_home_that_cannot_be_written_costs_no_image(tmp_path, capfd):
    """The image comes back, and the loss is told once on standard error."""
    (tmp_path / "file").write_text("no folder")
    whence.configure(tmp_path / "file" / "home")

    assert call_with(Answering(IMAGE)) == IMAGE
    with pytest.raises(ZeroDivisionError):
        call_with(Answering(ZeroDivisionError()))
    assert whence.flush().lost > 0
    whence.configure(tmp_path / "other", enabled=False)
    assert "records could not be kept" in capfd.readouterr().err
