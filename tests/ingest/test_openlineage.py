"""OpenLineage: jobs are stages with sources and outputs, and runs meet in their datasets."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from otlpdata import find_corpus
from platformdata import LOAD, REPORT, lineage_dataset, lineage_event, lineage_events
from trajectorydata import document, expected, lines, of_kind, records_of

import whence
from whence.ingest.importer import import_paths
from whence.record.event import Event
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output, Score
from whence.record.source import Source
from whence.record.span import SpanEnded, SpanStarted

ORDERS = "postgres://db:5432/orders"


@pytest.fixture
def records(tmp_path):
    """The records of two runs, the second inside the first."""
    found, skipped = records_of(lines(tmp_path / "events.jsonl", lineage_events()), "openlineage")
    assert skipped == []
    return found


def test_a_run_has_one_job_as_its_stage(records):
    """With the times of its events, and the run that started it."""
    load, report = of_kind(records, RunStarted)
    spans = {span.run: span for span in of_kind(records, SpanStarted)}

    assert (load.name, load.external_id, load.project) == ("load", LOAD, "shop")
    assert (report.parent_run, report.external_id) == (load.run, REPORT)
    assert load.environment == {"processing_engine": {"name": "dbt"}}
    assert (spans[report.run].span_kind, spans[report.run].input) == ("stage", "SELECT x")
    assert [one.duration_ns for one in of_kind(records, SpanEnded)] == [5 * 10**9, 10**9]


def test_what_ends_a_job_decides_how_it_went(records):
    """A failure has the message of its facet."""
    load, report = of_kind(records, RunEnded)

    assert (load.status, load.error) == ("complete", None)
    assert (report.status, report.error) == (
        "failed",
        {"type": "FAIL", "message": "no such column", "stack": "at 1"},
    )


def test_a_dataset_is_told_of_once_with_all_its_facets(records):
    """Although every event of the job names it anew."""
    inputs, outputs = of_kind(records, Source), of_kind(records, Output)

    assert [one.source_key for one in inputs] == ["postgres://db:5432/raw", ORDERS]
    (orders,) = outputs
    assert (orders.output_id, orders.output_kind, orders.summary) == (
        ORDERS,
        "dataset",
        "2,000 rows",
    )
    assert orders.attributes["facets"] == {"outputStatistics": {"rowCount": 2000}}


def test_assertions_are_scores(records):
    """Of the job that checked them, with the dataset and the column."""
    (score,) = of_kind(records, Score)

    assert (score.name, score.passed, score.value) == ("not_null of id", False, None)
    assert score.attributes["dataset"] == ORDERS


def test_every_event_is_kept_as_it_was(records):
    """Also what no field was found for."""
    events = of_kind(records, Event)

    assert [event.data for event in events] == lineage_events()
    assert events[3].message == "FAIL report"


def test_why_leads_over_a_dataset_to_the_run_that_made_it(home, tmp_path):
    """The order of the events makes no difference."""
    import_paths(home, [lines(tmp_path / "events.jsonl", lineage_events()[::-1])])

    with whence.open(home) as store:
        said = str(store.why(REPORT))
        assert "sources: kept 1 of 1" in said
        assert f"stage report used dataset {ORDERS}" in said
        assert "stage load used" in said
        assert store.run(ORDERS).run.external_id == LOAD


def test_events_without_ids_are_one_run_in_which_jobs_are_nested(home, tmp_path):
    """As the templates of tests are, whose ids are still to be filled in."""
    events = lineage_events()
    for event in events:
        event["run"]["runId"] = "{{ any(result) }}"
    events[2]["run"]["facets"]["parent"]["run"]["runId"] = "{{ any(result) }}"

    report = import_paths(home, [document(tmp_path / "events.json", events)])

    assert (report.runs, report.spans, report.errors) == (1, 2, 1)
    with whence.open(home) as store:
        (run,) = store.runs(limit=None)
        assert (run.external_id, run.status) == (None, "complete")
        (load,) = store.run(run.id).spans
        assert [job.name for job in load.children] == ["report"]


def test_what_belongs_to_no_run_is_named(tmp_path):
    """Events about datasets and jobs as such."""
    about = {"eventTime": "2026-01-01T00:00:00Z", "schemaURL": "x", "producer": "x"}
    events = [
        {**about, "dataset": lineage_dataset("a")},
        {**about, "job": {"namespace": "n", "name": "j"}},
        {**about},
    ]

    records, skipped = records_of(lines(tmp_path / "e.jsonl", events), "openlineage")

    assert records == []
    assert [one.why for one in skipped] == [
        "it is about a dataset and belongs to no run",
        "it is about a job and belongs to no run",
        "it is no event of OpenLineage",
    ]


def test_a_run_that_has_no_end_is_open(home, tmp_path):
    """Until a later file has its end."""
    path = tmp_path / "events.jsonl"
    import_paths(home, [lines(path, lineage_events()[:1])])
    with whence.open(home) as store:
        assert store.run(LOAD).run.status == "incomplete"

    import_paths(home, [lines(path, lineage_events())])

    with whence.open(home) as store:
        run = store.run(LOAD).run
        assert (run.status, run.duration_ms) == ("complete", 5000.0)


def test_an_aborted_job_is_cancelled(home, tmp_path):
    """Which is neither done nor failed."""
    events = [lineage_event("START", 0, LOAD, "a"), lineage_event("ABORT", 1, LOAD, "a")]
    import_paths(home, [lines(tmp_path / "e.jsonl", events)])

    with whence.open(home) as store:
        assert store.run(LOAD).run.status == "cancelled"


def test_the_corpus_has_exactly_its_events(home):
    """By type, by file and by job; a second import changes nothing."""
    folder, want = expected("openlineage")

    report = import_paths(home, [folder / "events"])
    again = import_paths(home, [folder / "events"])

    totals = want["totals"]
    assert report.runs == totals["files_with_events"] == len(want["files"])
    assert report.spans == sum(file["jobs"] for file in want["files"].values())
    assert report.errors == totals["by_type"]["FAIL"]
    assert (again.new, again.already_there) == (0, report.new)
    with whence.open(home) as store:
        kinds = Counter(event.data["eventType"] for event in store.events(limit=None))
        parents = sum(
            "parent" in event.data.get("run", {}).get("facets", {})
            for event in store.events(limit=None)
        )
    assert kinds == totals["by_type"]
    assert sum(kinds.values()) == totals["events"]
    assert parents == sum(file["with_parent"] for file in want["files"].values())


CORPUS = find_corpus("openlineage")
FILES = (
    [] if CORPUS is None else sorted(json.loads((CORPUS / "expected.json").read_text())["files"])
)


@pytest.mark.parametrize("name", [name for name in FILES if "dbt" in name])
def test_a_file_of_the_corpus_has_its_jobs_and_datasets(name, home):
    """Each run and job once, and each dataset once for each job that reads or writes it."""
    folder, want = expected("openlineage")
    events = json.loads((folder / "events" / name).read_text())

    report = import_paths(home, [folder / "events" / name])

    assert (report.runs, report.spans) == (want["files"][name]["runs"], want["files"][name]["jobs"])
    with whence.open(home) as store:
        for role, rows in (("inputs", store.sources), ("outputs", store.outputs)):
            named = [
                (event["job"]["name"], dataset["namespace"], dataset["name"])
                for event in events
                for dataset in event.get(role) or ()
            ]
            assert len(named) == want["files"][name][role]
            assert len(list(rows(limit=None))) == len(set(named))
