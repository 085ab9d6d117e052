"""The keyword worker computes what it says, and its provenance says what it computed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from insights_keywords import __main__ as program
from insights_keywords import pages, worker

import whence
from whence.capture.context import current_scope
from whence.insights import ProvenanceQuery, get_provenance_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def recording(home: Path) -> Iterator[Path]:
    """Record into a home of the test's own; nothing is recorded afterwards."""
    token = current_scope.set(None)
    yield home
    current_scope.reset(token)
    whence.configure(home, enabled=False)


def rank_all(home: Path, *names: str) -> list:
    assert program.main([*names, "--home", str(home)]) == 0
    return get_provenance_service().query(ProvenanceQuery(page_size=1000))[0]


def test_every_page_leaves_a_record_and_its_figures_are_printed(recording, capsys):
    """Pages that are too short have a failed one; the program goes on and tells the figures."""
    records = rank_all(recording)
    index = pages.load()
    short = {n for n, page in index.pages.items() if len(page.words) < worker.LEAST_WORDS}

    assert {one.category_key for one in records} == set(index.pages)
    assert {one.category_key for one in records if one.status == "failed"} == short
    printed = capsys.readouterr().out
    assert printed.count("failed: ") == len(short)
    passed = sum(one.validation_passed for one in records) / len(records)
    assert f"{len(records)} records in the last hour, {passed:.0%} of them passed" in printed


def test_a_record_says_what_was_computed(recording):
    """Its confidence is the sum of its factors, and its keywords are the best words of the page."""
    (record,) = rank_all(recording, "with")
    index = pages.load()
    page = index.pages["with"]

    assert record.total_records_analyzed == len(page.words)
    assert record.data_freshness_avg_seconds == pytest.approx(pages.age_s(), abs=60)
    assert [step.operation for step in record.reasoning_chain] == ["count", "score", "select"]
    contributions = sum(factor.contribution for factor in record.decision_factors)
    assert record.confidence_score == pytest.approx(contributions)
    best = worker.score_words(index, page, index.counts["with"])[: worker.KEYWORDS]
    assert list(record.insight_value) == [one.word for one in best]
    assert all(page.words.count(word) > 1 for word in record.insight_value)


def test_the_quality_is_the_place_that_the_search_gives(recording):
    """What is not found first by its own keywords did not pass, and says what came before it."""
    records = rank_all(recording)
    index = pages.load()
    judged = [one for one in records if one.status == "complete"]

    for record in judged[:20]:
        place = index.search(list(record.insight_value)).index(record.category_key) + 1
        assert record.quality_score == pytest.approx(1 / place)
        assert record.validation_passed == (place == 1)


def test_an_unknown_page_is_a_misuse(recording, capsys):
    """The program says which page there is not, and nothing is recorded."""
    with pytest.raises(SystemExit):
        program.main(["no-such-page", "--home", str(recording)])

    assert "no-such-page" in capsys.readouterr().err
    assert not recording.exists()


def test_the_example_needs_whence_and_python_alone():
    """What it imports is the standard library, whence, and itself."""
    tops = {
        name.partition(".")[0]
        for module in (program, pages, worker)
        for name in (getattr(value, "__module__", None) for value in vars(module).values())
        if name
    }

    assert tops <= {*sys.stdlib_module_names, "whence", "insights_keywords"}
