"""Queries give the records that a look at each of them would, in every store, page by page."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import os
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whence
from whence.capture.context import current_scope
from whence.errors import ConfigError, WhenceError
from whence.insights import (
    ConfidenceLevel,
    ProvenanceQuery,
    ProvenanceService,
    get_provenance_service,
    provenance_context,
)

WORKERS = ("creator", "trends", "od\"d, 'name")
TYPES = ("video_idea", "trend_detection", "my_own")
CATEGORIES = ("fortnite", "VALORANT", "Éclair", "", None)
SUMMARIES = ("Create a Fortnite video", "éclair recipes", "100% sure_", "")
TAGS = ("eu", "nightly", "error_timeout")
SCORES = (None, 0.0, 0.1, 0.25, 0.5, 0.74, 0.75, 0.9, 1.0)
SORTS = (
    "computed_at",
    "confidence_score",
    "quality_score",
    "computation_duration_ms",
    "total_records_analyzed",
)
RECORDS = 70


def record_one(rng: random.Random) -> None:
    """Record an insight of which much may be unsaid; some fail, and some were found wrong."""
    prov = provenance_context(
        rng.choice(WORKERS), f"exec{rng.randrange(3)}", rng.choice(TYPES), rng.choice(CATEGORIES)
    )
    failing = rng.random() < 0.2
    with contextlib.suppress(ValueError), prov:
        for _ in range(rng.randrange(3)):
            prov.add_data_source("cache", "key", rng.choice((None, 0, 5, 40)), rng.random())
        prov.add_tags(*rng.sample(TAGS, rng.randrange(3)))
        confidence, quality = rng.choice(SCORES), rng.choice(SCORES)
        if confidence is not None:
            prov.set_confidence(confidence)
        if quality is not None:
            prov.set_quality(quality)
        if rng.random() < 0.4:
            prov.set_validation(passed=rng.random() < 0.5)
        if rng.random() < 0.7:
            prov.set_insight("idea", rng.choice(SUMMARIES))
        if failing:
            raise ValueError


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Record once for all questions; runs that are no insights stand between."""
    home = tmp_path_factory.mktemp("insights") / "home"
    token = current_scope.set(None)
    whence.configure(home)
    rng = random.Random(7)  # noqa: S311 - no secret
    for number in range(RECORDS):
        record_one(rng)
        if number % 5 == 0:
            with whence.run(rng.choice(WORKERS), insight_type="video_idea") as run:
                run.output("other", kind="insight", summary="Fortnite", confidence=0.9)
                run.source("a", "b", records_used=1000)
    whence.configure(home, enabled=False)
    current_scope.reset(token)
    return home


@pytest.fixture(scope="module", params=["memory", "duckdb"])
def service(recorded, request):
    """Ask the home with each store."""
    with whence.open(recorded, memory=request.param == "memory") as reader:
        yield ProvenanceService(reader)


@pytest.fixture(scope="module")
def everything(recorded):
    """Return all records, read one by one."""
    with whence.open(recorded, memory=True) as reader:
        ids = [run.id for run in reader.runs('kind = "insight"', limit=None)]
        found = [ProvenanceService(reader).get(one) for one in ids]
    assert len(found) == RECORDS
    return found


def picks(values):
    return st.none() | st.lists(st.sampled_from(values), max_size=2)


QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "worker_names": picks(WORKERS),
        "insight_types": picks(TYPES),
        "category_keys": picks([one for one in CATEGORIES if one is not None]),
        "confidence_levels": picks(list(ConfidenceLevel)),
        "tags": picks([*TAGS, "none such"]),
        "statuses": picks(["complete", "failed"]),
        "min_confidence": st.none() | st.sampled_from(SCORES),
        "min_quality": st.none() | st.sampled_from(SCORES),
        "validation_passed_only": st.booleans(),
        "search": st.sampled_from([None, "", "FORT", "éclair", "ÉCLAIR", "%", "_", "a v", "t"]),
        "sort_by": st.sampled_from(SORTS),
        "sort_desc": st.booleans(),
        "window": st.none() | st.tuples(*[st.integers(0, RECORDS - 1)] * 2),
    },
)


def matches(record, query: ProvenanceQuery) -> bool:
    """Whether a record satisfies a query, said in the words of document 1."""
    text = (query.search or "").lower()
    lists = (
        (query.worker_names, record.worker_name),
        (query.insight_types, record.insight_type),
        (query.category_keys, record.category_key),
        (query.confidence_levels, record.confidence_level),
        (query.statuses, record.status),
    )
    least = (
        (query.min_confidence, record.confidence_score),
        (query.min_quality, record.quality_score),
    )
    return (
        all(wanted is None or has in wanted for wanted, has in lists)
        and (query.tags is None or not set(query.tags).isdisjoint(record.tags))
        and all(one is None or (has is not None and has >= one) for one, has in least)
        and (record.validation_passed or not query.validation_passed_only)
        and (query.start_time is None or record.computed_at >= query.start_time)
        and (query.end_time is None or record.computed_at <= query.end_time)
        and (text in record.insight_summary.lower() or text in (record.category_key or "").lower())
    )


def made(fields: dict, everything) -> ProvenanceQuery:
    """Return the query, its window from records' own times, so that its ends count."""
    window = fields.pop("window", None)
    if window is not None:
        start, end = sorted(everything[place].computed_at for place in window)
        fields |= {"start_time": start, "end_time": end}
    return ProvenanceQuery(**fields, page_size=RECORDS)


@given(fields=QUERIES)
def test_a_query_gives_what_a_look_at_each_record_gives(service, everything, fields):
    """Filters, order and total are those of a plain loop over all records."""
    query = made(dict(fields), everything)
    expected = [record for record in everything if matches(record, query)]

    records, total = service.query(query)

    assert total == len(records) == len(expected)
    assert {one.provenance_id for one in records} == {one.provenance_id for one in expected}
    values = [getattr(one, query.sort_by) for one in records]
    stated = [value for value in values if value is not None]
    assert values == stated + [None] * (len(values) - len(stated))
    assert stated == sorted(stated, reverse=query.sort_desc)


@given(fields=QUERIES, page_size=st.integers(1, 30))
def test_pages_put_together_are_the_whole_answer(service, everything, fields, page_size):
    """No record is on two pages or on none, whatever the order; a page behind the last is empty."""
    query = made(dict(fields), everything)
    whole, total = service.query(query)
    parts = []
    for number in range(1, total // page_size + 3):
        query.page, query.page_size = number, page_size
        page = service.page(query)
        assert page.total == total
        parts += page.records

    assert page.records == []
    assert page.total_pages == math.ceil(total / page_size)
    assert parts == whole


def test_no_query_is_the_latest_fifty(service, everything):
    """Without a query the latest records come first."""
    records, total = service.query()

    assert (len(records), total) == (50, RECORDS)
    assert [one.provenance_id for one in records] == [
        one.provenance_id for one in sorted(everything, key=lambda r: r.computed_at, reverse=True)
    ][:50]


def test_single_words_and_enums_are_lists_of_one(service):
    """A word where a list is asked for is not taken letter by letter."""
    one = service.query(ProvenanceQuery(worker_names="creator", confidence_levels="medium"))
    other = service.query(
        ProvenanceQuery(worker_names=["creator"], confidence_levels=[ConfidenceLevel.MEDIUM])
    )

    assert one == other
    assert one[1] > 0


def test_the_parameters_of_a_url_are_the_query():
    """Lists are comma-separated, empty and unknown parameters are passed over."""
    query = ProvenanceQuery.from_params(
        {
            "worker_names": "a, b",
            "tags": "x",
            "min_confidence": "0.7",
            "validation_passed_only": "True",
            "sort_by": "quality_score",
            "sort_desc": "false",
            "page": "2",
            "page_size": "10",
            "search": " odd, text ",
            "start_time": "2026-11-01T10:00:00+02:00",
            "end_time": "",
            "cursor": "x",
        }
    )

    assert query == ProvenanceQuery(
        worker_names=["a", "b"],
        tags=["x"],
        min_confidence=0.7,
        validation_passed_only=True,
        sort_by="quality_score",
        sort_desc=False,
        page=2,
        page_size=10,
        search="odd, text",
        start_time="2026-11-01T10:00:00+02:00",
    )


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"sort_by": "name"}, "sort_by"),
        ({"page": 0}, "page"),
        ({"page_size": 0}, "page_size"),
        ({"page_size": True}, "page_size"),
        ({"confidence_levels": ["sure"]}, "sure"),
        ({"start_time": "yesterday"}, "yesterday"),
        ({"end_time": "2026-13-01"}, "2026-13-01"),
    ],
)
def test_a_query_that_cannot_be_asked_says_why(fields, word):
    """It is refused where it is made, with the value in the message."""
    with pytest.raises(ConfigError, match=word):
        ProvenanceQuery(**fields)


@pytest.mark.parametrize(
    "params",
    [
        {"page": "two"},
        {"min_quality": "good"},
        {"sort_desc": "down"},
        {"page": "-1"},
        {"confidence_levels": "high,sure"},
        {"start_time": "0000-00-00"},
    ],
)
def test_parameters_that_cannot_be_read_say_why(params):
    """Texts of a URL are refused with the name of the parameter or the value."""
    (name, value), *_ = params.items()
    with pytest.raises(ConfigError, match=f"{name}|{value.split(',')[-1]}"):
        ProvenanceQuery.from_params(params)


def test_a_query_that_was_changed_is_checked_when_it_is_asked(service):
    """Fields may be set one by one, as code written for the document does."""
    query = ProvenanceQuery()
    query.page = -3

    with pytest.raises(ConfigError, match="page is -3"):
        service.query(query)


@given(text=st.text(max_size=20))
def test_hostile_words_are_words(service, text):
    """Any text may be asked for; it is never more than a text."""
    query = ProvenanceQuery(worker_names=[text], search=text or None)

    assert service.query(query)[1] <= RECORDS
    assert service.get(text) is None
    assert service.factor(text)["occurrences"] == 0


@pytest.mark.usefixtures("recording")
def test_an_insight_in_the_making_is_no_record_yet():
    """It is found by its id, and by queries when it has ended."""
    service = get_provenance_service()
    with provenance_context("worker", "exec", "video_idea") as prov:
        prov.add_data_source("a", "b", 3)
        assert service.query()[1] == 0
        assert service.get(prov.provenance_id).status == "running"

    assert service.query()[1] == 1


def test_a_page_is_ready_for_json(service):
    """Every field of every record is there, times and levels as texts."""
    plain = service.page(ProvenanceQuery(page_size=RECORDS)).to_dict()

    assert json.loads(json.dumps(plain)) == plain
    assert all(
        dt.datetime.fromisoformat(one["computed_at"]).tzinfo is not None for one in plain["records"]
    )
    assert {"data_sources", "reasoning_chain", "primary_factor"} <= plain["records"][0].keys()


def test_errors_are_of_the_one_tree():
    """`except WhenceError` is enough."""
    with pytest.raises(WhenceError):
        ProvenanceQuery(page=0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_asks_with_a_reader_of_its_own(recorded):
    """Parent and child both get answers, and both end."""
    program = """
import os, sys, whence
from whence.insights import get_provenance_service
whence.configure(sys.argv[1], enabled=False)
ask = lambda: get_provenance_service().query()[1]
before = ask()
child = os.fork()
if child == 0:
    sys.exit(0 if ask() == before > 0 else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), ask() == before)
"""
    made = subprocess.run(
        [sys.executable, "-c", program, str(recorded)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert made.stdout == "0 True\n"
