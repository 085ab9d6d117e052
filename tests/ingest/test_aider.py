"""aider's analytics are a run for each launch."""

from __future__ import annotations

import pytest
from trajectorydata import (
    aider_answer,
    aider_event,
    aider_log,
    expected,
    lines,
    of_kind,
    records_of,
)

import whence
from whence.ingest.importer import import_paths
from whence.record.event import Event
from whence.record.generation import Generation
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.span import SpanEnded, SpanStarted


def read(folder, *events):
    return records_of(lines(folder / "analytics.jsonl", list(events)), "aider")[0]


def test_an_answer_is_a_call_with_its_cost_and_length(tmp_path):
    """It ends the span that its message began."""
    records = read(tmp_path, *aider_log())
    first, second = of_kind(records, Generation)
    begun = {span.span: span.ts for span in of_kind(records, SpanStarted)}

    assert (first.model, first.provider) == ("anthropic/claude-x", "anthropic")
    assert (first.usage.input_uncached, first.usage.output_visible) == (100, 10)
    assert (first.cost_usd, first.cost_source, first.duration_ns) == (
        0.25,
        "declared",
        8_000_000_000,
    )
    assert begun[first.span].startswith("2024-12-16T20:26:42")
    assert first.attributes["edit_format"] == "diff"
    assert second.attributes["total_cost"] == 0.75


def test_a_message_without_an_answer_was_cancelled(tmp_path):
    """The next one, with nothing in between, is taken to be its retry."""
    records = read(tmp_path, *aider_log())
    (end,) = of_kind(records, SpanEnded)
    (link,) = of_kind(records, Link)
    answered = of_kind(records, Generation)[1]

    assert end.status == "cancelled"
    assert (link.source, link.target, link.inferred) == (end.span, answered.span, True)
    assert [event.level for event in of_kind(records, Event)][-1] == "warning"


def test_another_command_in_between_is_no_retry(tmp_path):
    """Nor is a message of the next launch."""
    log = [
        aider_event("launched", 0),
        aider_event("message_send_starting", 1),
        aider_event("command_undo", 2),
        aider_event("message_send_starting", 3),
        aider_event("exit", 4, reason="Control-C"),
        aider_event("launched", 5),
        aider_event("message_send_starting", 6),
        aider_answer(7, 0.1, 0.1),
    ]
    records = read(tmp_path, *log)

    assert of_kind(records, Link) == []
    assert [end.status for end in of_kind(records, SpanEnded)] == ["cancelled", "cancelled"]


def test_a_message_at_the_end_may_still_get_its_answer(home, tmp_path):
    """A log that grew gains it."""
    log = [aider_event("launched", 0), aider_event("message_send_starting", 1)]
    path = lines(tmp_path / "a.jsonl", log)
    first = import_paths(home, [path])
    lines(path, [*log, aider_answer(9, 0.1, 0.1), aider_event("exit", 10, reason="/exit")])

    second = import_paths(home, [path])

    assert (first.spans, first.generations) == (1, 0)
    assert (second.spans, second.generations, second.already_there) == (1, 1, first.new)
    with whence.open(home) as store:
        (span,) = store.spans()
        assert (span.status, span.duration_ms) == ("ok", 8000)


def test_answers_belong_to_the_launch_that_they_add_up_to(home, tmp_path):
    """Although two launches write at the same time and lines do not say whose they are."""
    log = [
        aider_event("launched", 0),
        aider_event("message_send_starting", 1),
        aider_answer(2, 0.1, 0.1),
        aider_event("message_send_starting", 3),
        aider_event("launched", 4),
        aider_answer(5, 0.2, 0.3),
        aider_event("launched", 6),
        aider_event("message_send_starting", 7),
        aider_answer(8, 0.05, 0.05),
        aider_answer(9, 0.3, 0.6),
        aider_event("exit", 10, reason="/exit"),
    ]
    report = import_paths(home, [lines(tmp_path / "a.jsonl", log)])

    assert (report.runs, report.generations, report.spans) == (3, 4, 3)
    with whence.open(home) as store:
        found = sorted((run.generations, run.cost_usd, run.status) for run in store.runs())
        assert found[1:] == [(1, 0.05, "incomplete"), (3, pytest.approx(0.6), "complete")]


def test_an_answer_of_a_launch_before_the_log_is_a_run_of_its_own(tmp_path):
    """A log that was cut at the front has answers of launches that it does not have."""
    records = read(
        tmp_path, aider_event("exit", 0), aider_answer(1, 0.1, 5.0), aider_answer(2, 0.1, 5.1)
    )
    runs = of_kind(records, RunStarted)

    assert len(runs) == 2
    assert [call.run for call in of_kind(records, Generation)] == [runs[1].run] * 2
    assert runs[1].attributes == {"launched": "before the log begins"}


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("/exit", "complete"),
        ("Control-C", "complete"),
        ("Completed --message", "complete"),
        ("Unknown edit format", "failed"),
        ("Keyboard interrupt during model warnings", "cancelled"),
        (None, "complete"),
    ],
)
def test_the_reason_of_an_exit_is_the_outcome(reason, status, tmp_path):
    """It is kept beside it."""
    records = read(tmp_path, aider_event("launched", 0), aider_event("exit", 1, reason=reason))
    (end,) = of_kind(records, RunEnded)

    assert end.status == status
    assert of_kind(records, Update)[-1].attributes == {"exit_reason": reason or ""}


def test_an_exception_is_an_error(tmp_path):
    """Of the message that was begun."""
    records = read(
        tmp_path,
        aider_event("launched", 0),
        aider_event("message_send_starting", 1),
        aider_event("message_send_exception", 2, exception="boom"),
    )
    (end,) = of_kind(records, SpanEnded)

    assert (end.status, end.error["message"]) == ("error", "boom")
    assert of_kind(records, Event)[-1].level == "error"


def test_equal_lines_are_told_apart(home, tmp_path):
    """Two of one second are two, on every import."""
    log = [aider_event("launched", 0), *[aider_event("command_add", 1)] * 3]
    path = lines(tmp_path / "a.jsonl", log)

    first, second = import_paths(home, [path]), import_paths(home, [path])

    assert (first.new, second.new) == (4, 0)
    with whence.open(home) as store:
        assert len(store.events(limit=None)) == 3


def test_what_a_session_is_told_stays_with_the_run(tmp_path):
    """Models, edit format and the size of the repository."""
    updates = of_kind(read(tmp_path, *aider_log()), Update)

    assert [update.attributes for update in updates] == [
        {"num_files": 408},
        {"main_model": "anthropic/claude-x", "edit_format": "diff"},
        {"exit_reason": "/exit"},
    ]


def test_a_line_that_is_no_event_is_named(tmp_path):
    """Without a time nothing has a place."""
    path = lines(tmp_path / "a.jsonl", [*aider_log(), {"event": "x"}, [1], aider_event("y", 99)])

    records, skipped = records_of(path, "aider")

    assert [one.where.rpartition(":")[2] for one in skipped] == ["11", "12"]
    assert of_kind(records, Event)[-1].message == "y"


def test_the_corpus_has_the_expected_totals(home):
    """Answers, tokens and costs of each file and model, twice in a row without a change."""
    folder, figures = expected("aider-analytics")
    for name, each in figures["files"].items():
        place = home / name
        report = import_paths(place, [folder / f"sample-analytics-{name}.jsonl"])
        assert report.generations == each["message_send"]
        assert report.spans == each["message_send_starting"]
        assert report.usage_stated.input == each["prompt_tokens"]
        assert report.usage_stated.output == each["completion_tokens"]
        assert report.usage_stated.total == each["total_tokens"]
        assert report.cost_usd_computed == pytest.approx(each["cost"], abs=1e-6)
        assert (report.errors, report.skipped) == (0, [])
        launched = each["by_event"]["launched"]
        assert launched <= report.runs <= launched + 2  # and those that began before the file
        with whence.open(place) as store:
            calls = store.generations(limit=None)
            for model, one in each["by_model"].items():
                mine = [call for call in calls if call.model == model]
                assert len(mine) == one["calls"]
                assert sum(call.input_tokens for call in mine) == one["prompt_tokens"]
                assert sum(call.cost_usd for call in mine) == pytest.approx(one["cost"], abs=1e-6)

    totals = figures["totals"]
    whole = import_paths(home / "all", [folder])
    assert whole.generations == totals["message_send"]
    assert whole.usage_stated.total == totals["total_tokens"]
    assert whole.cost_usd_computed == pytest.approx(totals["cost"], abs=1e-6)
    again = import_paths(home / "all", [folder])
    assert (again.new, again.already_there) == (0, whole.new)
