"""The examples of document 1 (intelligence provenance) run, with only their imports changed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import documents
import pytest

from whence import insights
from whence.insights import ConfidenceLevel, InsightType, ProvenanceQuery, get_provenance_service

DOCUMENT = documents.find_document(1)
ORIGIN, OURS = "backend.services.provenance", "whence.insights"

SAME_SHAPE = """
from whence.insights import provenance_context, InsightType

async def generate_video_idea(game_key: str, execution_id: str):
    with provenance_context(
        worker_name="creator_intel_worker",
        execution_id=execution_id,
        insight_type=InsightType.VIDEO_IDEA,
        category_key=game_key,
    ) as prov:
        prov.add_data_source(
            source_type="youtube_cache",
            source_key=f"youtube:games:{game_key}",
            records_used=35,
            freshness_seconds=3600,
            quality_score=0.9,
        )
        prov.start_step("filter", "Filter videos by view count", "threshold_filter")
        filtered = [v for v in videos if v.views > 10000]
        prov.end_step(input_count=35, output_count=len(filtered))
        prov.add_decision_factor(
            factor_name="view_velocity",
            raw_value=1500,
            normalized_value=0.8,
            weight=0.3,
            reasoning="High velocity indicates trending content",
        )
        prov.set_insight(
            insight_id="idea_123",
            insight_summary="Create a Fortnite tips video",
            insight_value={"concept": "...", "hook": "..."},
        )
        prov.set_confidence(0.85)
        prov.set_quality(0.9)
"""


def of_the_document(word: str) -> str:
    """Return the Python block of the document that has a word in it, our import in its place."""
    (code,) = [code for code in documents.blocks(DOCUMENT, "python") if word in code]
    return code.replace(ORIGIN, OURS)


def capture_by(code: str):
    """Run the capturing example and return the record it left."""
    videos = [SimpleNamespace(views=views) for views in (500, 12_000, 90_000)]
    names = {"videos": videos}
    exec(compile(code, "document 1", "exec"), names)  # noqa: S102 - the example is the test
    asyncio.run(names["generate_video_idea"]("fortnite", "exec_9"))
    (record,), total = get_provenance_service().query(ProvenanceQuery())
    assert total == 1
    return record


def check_captured(record) -> None:
    assert (record.worker_name, record.execution_id) == ("creator_intel_worker", "exec_9")
    assert (record.insight_type, record.category_key) == (InsightType.VIDEO_IDEA, "fortnite")
    (source,) = record.data_sources
    assert (source.source_key, source.records_used) == ("youtube:games:fortnite", 35)
    assert (source.freshness_seconds, source.quality_score) == (3600, 0.9)
    (step,) = record.reasoning_chain
    assert (step.operation, step.algorithm) == ("filter", "threshold_filter")
    assert (step.input_count, step.output_count) == (35, 2)
    (factor,) = record.decision_factors
    assert factor.contribution == pytest.approx(0.24)
    assert (factor.factor_name, factor.reasoning[:4]) == ("view_velocity", "High")
    assert (record.insight_id, record.insight_value["concept"]) == ("idea_123", "...")
    assert record.insight_summary == "Create a Fortnite tips video"
    assert (record.confidence_score, record.confidence_level) == (0.85, ConfidenceLevel.HIGH)
    assert (record.quality_score, record.validation_passed, record.status) == (
        0.9,
        True,
        "complete",
    )


@pytest.mark.usefixtures("recording")
def test_a_worker_of_the_documents_shape_leaves_a_record():
    """All that the quick start says in its context is in the record."""
    check_captured(capture_by(SAME_SHAPE))


@pytest.mark.skipif(DOCUMENT is None, reason="the document is not here")
@pytest.mark.usefixtures("recording")
def test_the_quick_start_runs_as_it_is_written():
    """The document's own capturing example leaves that record, too."""
    check_captured(capture_by(of_the_document("provenance_context(")))


def record_image(insight_type: str, *tags: str) -> str:
    with insights.provenance_context("nano_banana", "gen_1", insight_type) as prov:
        prov.add_tags(*tags)
    return prov.provenance_id


@pytest.mark.skipif(DOCUMENT is None, reason="the document is not here")
@pytest.mark.usefixtures("recording")
def test_the_queries_for_generations_run_as_they_are_written(capsys):
    """By type, by tag of the error, and by tag of the cost."""
    cheap = record_image("image_generation", "cost_$0.0413", "latency_900ms")
    costly = record_image("thumbnail_generation", "cost_$0.1500")
    failed = record_image("emote_generation", "error_timeout")
    names = {}

    exec(compile(of_the_document("failed_records"), "document 1", "exec"), names)  # noqa: S102

    assert {record.provenance_id for record in names["records"]} == {cheap, costly}
    assert names["total"] == 2
    assert [record.provenance_id for record in names["failed_records"]] == [failed]
    assert capsys.readouterr().out == f"High cost generation: {costly}\n"


@pytest.mark.skipif(DOCUMENT is None, reason="the document is not here")
@pytest.mark.usefixtures("recording")
def test_the_documents_request_for_records_is_one_query():
    """The parameters that the document shows in a URL are read as they stand there."""
    with insights.provenance_context(
        "creator_intel_worker", "e", InsightType.TITLE_SUGGESTION, "valorant"
    ) as prov:
        prov.set_confidence(0.91)
    text = DOCUMENT.read_text("utf-8").split("GET /api/v1/provenance/records\n", 1)[1]
    lines = text.split("```", 1)[0].split()
    params = dict(line.lstrip("?&").split("=", 1) for line in lines)

    page = get_provenance_service().page(ProvenanceQuery.from_params(params))

    assert len(params) == 9
    assert page.to_dict() | {"records": []} == {
        "records": [],
        "total": 1,
        "page": 1,
        "page_size": 50,
        "total_pages": 1,
    }
    assert page.to_dict()["records"][0]["provenance_id"] == prov.provenance_id
