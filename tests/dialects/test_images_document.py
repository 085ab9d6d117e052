"""The examples of document 1's Nano Banana part run as they stand, but for their import paths.

The same is tested without the document, by code of the same shape.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from documents import blocks, find_document
from gemini import image_reply, png, rate_limit_reply, refusal_reply, serving

import whence
from whence import images, insights
from whence.images import GenerationContext, GenerationRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopback import Answer

DOCUMENT = find_document(1)
IMAGE = png(16, 9)
PATHS = {
    "backend.services.nano_banana_provenance": "whence.images",
    "backend.services.nano_banana_client": "whence.images",
    "backend.services.provenance": "whence.insights",
}


@pytest.fixture(autouse=True)
def recorded(home: Path) -> Iterator[Path]:
    """A home of the test's own, in which this process records."""
    whence.configure(home)
    yield home
    whence.configure(home, enabled=False)


@pytest.fixture
def environment(monkeypatch) -> Any:
    """What names the server to google-genai, as a deployment would."""

    def name(url: str) -> None:
        monkeypatch.setenv("GOOGLE_API_KEY", "key-of-the-environment")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)

    return name


def example_with(word: str) -> str:
    """Return the example of the document in which `word` stands, its imports led to whence."""
    assert DOCUMENT is not None
    (code,) = [code for code in blocks(DOCUMENT, "python") if word in code]
    for theirs, ours in PATHS.items():
        code = code.replace(theirs, ours)
    return code


def run_example(word: str) -> dict[str, Any]:
    """Run the example and return its names."""
    names: dict[str, Any] = {}
    exec(compile(example_with(word), f"example with {word}", "exec"), names)  # noqa: S102 - the document's own example
    return names


def generate(
    *replies: Answer, prices: tuple[images.ImagePrice, ...] = images.PRICES, timeout_s: float = 30
) -> list[str]:
    """Ask once for each reply; return the types of the errors that were raised."""

    async def ask(url: str) -> list[str]:
        errors = list[str]()
        client = images.get_provenance_nano_banana_client(
            api_key="key", base_url=url, max_retries=0, timeout_s=timeout_s, prices=prices
        )
        for number, _ in enumerate(replies):
            try:
                await client.generate_with_provenance(
                    GenerationRequest("x", 1280, 720),
                    GenerationContext(
                        job_id=f"job-{number}",
                        user_id="ada",
                        execution_id="e",
                        asset_type="thumbnail",
                    ),
                )
            except images.ImageError as error:
                errors.append(type(error).__name__)
        return errors

    with serving(*replies) as server:
        return asyncio.run(ask(server.url))


@pytest.mark.skipif(DOCUMENT is None, reason="the document is not here")
def test_the_usage_example_of_the_document_runs(environment):
    """`generate_with_tracking` gives the image, and its provenance is found by what it says."""
    names = run_example("generate_with_tracking")
    with serving(image_reply(IMAGE)) as server:
        environment(server.url)
        image = asyncio.run(
            names["generate_with_tracking"]("0123456789abcdef", "user-1", "a thumbnail")
        )

    records, total = insights.get_provenance_service().query(
        insights.ProvenanceQuery(insight_types=[insights.InsightType.THUMBNAIL_GENERATION])
    )
    assert image == IMAGE
    assert total == 1
    assert records[0].execution_id == "gen_01234567"
    found = images.get_generation_provenance(records[0].provenance_id)
    assert (found.job_id, found.user_id) == ("0123456789abcdef", "user-1")
    assert found.brand_kit_id == "optional-brand-kit-id"
    assert "branded" in found.tags
    assert server.asked[0].headers["x-goog-api-key"] == "key-of-the-environment"


@pytest.mark.skipif(DOCUMENT is None, reason="the document is not here")
def test_the_query_example_of_the_document_runs(capsys):
    """It finds the generations, the failed ones, and those that cost much."""
    costly = images.ImagePrice(
        model=images.PRICES[0].model,
        effective_date="2026-01-01",
        input_usd_per_1k_tokens=0,
        output_usd_per_1k_tokens=0,
        usd_per_image_in=0,
        usd_per_image_out=0.25,
    )
    generate(image_reply(IMAGE), refusal_reply(), rate_limit_reply())
    generate(image_reply(IMAGE), prices=(costly,))
    names = run_example("failed_records")

    assert names["total"] == 4
    assert len(names["failed_records"]) == 2
    (high,) = [one for one in names["records"] if "cost_$0.2500" in one.tags]
    assert capsys.readouterr().out == f"High cost generation: {high.provenance_id}\n"


def test_usage_of_the_same_shape_runs(environment):
    """Without arguments the client takes key and address from the environment."""

    async def track(job_id: str) -> bytes:
        client = images.get_provenance_nano_banana_client()
        response = await client.generate_with_provenance(
            request=GenerationRequest(prompt="a banner", width=1280, height=720),
            context=GenerationContext(
                job_id=job_id,
                user_id="user-1",
                execution_id=f"gen_{job_id[:8]}",
                asset_type="thumbnail",
                brand_kit_id="kit",
                is_refinement=False,
            ),
        )
        return response.image_data

    with serving(image_reply(IMAGE)) as server:
        environment(server.url)
        assert asyncio.run(track("0123456789")) == IMAGE

    (record,), _ = insights.get_provenance_service().query(insights.ProvenanceQuery())
    assert record.execution_id == "gen_01234567"


def test_failed_generations_are_found_by_their_tags():
    """Any of the tags will do, and what succeeded is left out."""
    errors = generate(image_reply(IMAGE), refusal_reply(), rate_limit_reply())
    errors += generate(image_reply(IMAGE)._replace(delay_s=0.6), timeout_s=0.2)

    failed, total = insights.get_provenance_service().query(
        insights.ProvenanceQuery(tags=["error_content_policy", "error_rate_limit", "error_timeout"])
    )
    assert errors == ["ImagePolicyError", "ImageRateLimitError", "ImageTimeoutError"]
    assert total == 3
    assert {images.get_generation_provenance(one.provenance_id).error_type for one in failed} == {
        "content_policy",
        "rate_limit",
        "timeout",
    }


def test_costly_generations_are_found_by_their_tags():
    """The loop of the document tells ten cents and more from less."""
    costly = images.ImagePrice(
        model=images.PRICES[0].model,
        effective_date="2026-01-01",
        input_usd_per_1k_tokens=0,
        output_usd_per_1k_tokens=0,
        usd_per_image_in=0,
        usd_per_image_out=0.10,
    )
    generate(image_reply(IMAGE))
    generate(image_reply(IMAGE), prices=(costly,))

    records, _ = insights.get_provenance_service().query(
        insights.ProvenanceQuery(
            insight_types=[
                insights.InsightType.IMAGE_GENERATION,
                insights.InsightType.THUMBNAIL_GENERATION,
            ],
            page_size=100,
        )
    )
    high = [
        record
        for record in records
        if any("cost_$0.0" not in tag for tag in record.tags if tag.startswith("cost_"))
    ]
    assert len(records) == 2
    assert [record.insight_value["estimated_cost_usd"] for record in high] == [0.10]
