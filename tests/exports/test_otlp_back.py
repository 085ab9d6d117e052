"""Exported runs answer in another home as in their own, and made-up ones do no harm there."""

from __future__ import annotations

import copy
import json
from typing import Any

import otlptrip
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from otlpdata import attributes, imported, request, span, write_lines
from receiver import started

import whence
from whence.exports.otlp import convert, encode, files
from whence.exports.otlp.model import Options
from whence.ingest import otlp_json
from whence.ingest.importer import import_paths
from whence.ingest.sink import Sink
from whence.ingest.traces import Traces
from whence.log import doctor, reader, segment
from whence.log.home import Home
from whence.query.restore import to_json
from whence.store import rows

ODD_VALUES = [
    {},
    {"stringValue": ""},
    {"stringValue": "null"},
    {"stringValue": "{"},
    {"stringValue": '{"$whence": "blob", "sha256": "0"}'},
    {"stringValue": "[" * 900 + "]" * 900},
    {"stringValue": "0" * 15 + "1"},
    {"stringValue": "../../etc/passwd"},
    {"intValue": "99999999999999999999"},
    {"intValue": "-1"},
    {"doubleValue": "NaN"},
    {"doubleValue": 1e300},
    {"boolValue": True},
    {"arrayValue": {"values": [{}, {"stringValue": "x"}, {"intValue": "1"}]}},
    {"kvlistValue": {"values": [{"key": "$whence", "value": {"stringValue": "pairs"}}]}},
    {"bytesValue": "AAE="},
]
CHANGES = st.lists(
    st.tuples(st.integers(0, 2**16), st.integers(0, len(ODD_VALUES) - 1)), min_size=1, max_size=40
)


def exported(home, **options) -> list[Any]:
    with whence.open(home) as store:
        ids = [row.id for row in store.runs(order="started_ns", limit=None)]
        return [s for one in ids for s in convert.spans_of(store.run(one), Options(**options))]


@pytest.mark.parametrize("way", ["file", "mirror"])
def test_questions_have_the_same_answers_in_the_other_home(home, tmp_path, way):
    """Why, the tree, a comparison and filters say what they said, however the run came there."""
    back = tmp_path / "there"
    if way == "mirror":
        with started(back) as server:
            whence.configure(home=home, otel=f"http://{server.address}")
            otlptrip.record_here()
            assert whence.flush(30).unmirrored == 0
            whence.configure(home=home, enabled=False, otel=None)
    else:
        otlptrip.record(home)
        back, _ = otlptrip.trip(home, tmp_path, Options())

    with whence.open(home) as mine, whence.open(back) as theirs:
        for ask in (
            lambda store: store.why("report-1").to_dict(),
            lambda store: str(store.compare(*(r.id for r in store.runs(order="started_ns")))),
            lambda store: store.run("req_1").run.name,
            lambda store: [d.to_dict() for d in store.decisions()],
            lambda store: [s.to_dict() for s in store.scores(order="name")],
            lambda store: [r.name for r in store.runs('project = "cobot"')],
            lambda store: [r.flagged for r in store.runs()],
        ):
            assert _answer(ask(theirs)) == _answer(ask(mine))


def _answer(given: Any) -> Any:
    """Return an answer but for how many lines the log took for it."""
    if isinstance(given, dict):
        given.get("run", {}).pop("records", None)
    return to_json(given)


def test_a_run_that_came_back_can_leave_again(home, tmp_path):
    """The second trip loses no more than the first, which loses what is in a blob."""
    otlptrip.record(home)
    back, _ = otlptrip.trip(home, tmp_path, Options())
    (tmp_path / "more").mkdir()
    again, _ = otlptrip.trip(back, tmp_path / "more", Options())

    assert otlptrip.differences(back, again) == {"blobs": 1}


def test_importing_it_twice_changes_nothing(home, tmp_path):
    """Every record is known by its id."""
    otlptrip.record(home)
    back, _ = otlptrip.trip(home, tmp_path, Options())

    assert import_paths(back, [tmp_path / "out.jsonl"]).new == 0


def test_a_root_that_comes_after_the_end_of_an_import_counts(home, tmp_path):
    """A run that was named by what was inside it gets its own name, start, project and status."""
    otlptrip.record(home)
    spans = exported(home)
    roots = [one for one in spans if not one.parent]
    others = [one for one in spans if one.parent]
    back = tmp_path / "back"
    for number, part in enumerate((others, roots)):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(encode.to_json(part))
        import_paths(back, [path])
        with whence.open(back) as store:
            assert ("market report" in [row.name for row in store.runs()]) == (number == 1)

    assert otlptrip.differences(home, back) == {"blobs": 1}
    assert import_paths(back, [tmp_path / "1.jsonl"]).new == 0


def test_a_silent_run_of_whence_waits_for_its_root(home):
    """A minute of silence does not end a run whose exporter sends the root last."""
    otlptrip.record(home)
    children = [one for one in exported(home) if one.parent]
    with Sink(Home(home.parent / "back")) as sink:
        traces = Traces(sink)
        with sink.batch():
            for record in traces.records_of(otlp_json.of_json(encode.to_json(children)).spans):
                sink.take(record)

        assert list(traces.settle(1)) == []
        assert {type(one).__name__ for one in traces.settle()} == {"RunStarted", "RunEnded"}


def test_what_stands_between_may_add_attributes(home, tmp_path):
    """A collector's own attributes are kept; the export's own words are not attributes."""
    otlptrip.record(home)
    spans = exported(home)
    for one in spans:
        one.attributes["deployment"] = "blue"
    (tmp_path / "in.jsonl").write_bytes(encode.to_json(spans))
    import_paths(tmp_path / "back", [tmp_path / "in.jsonl"])

    with whence.open(tmp_path / "back") as store:
        (row,) = store.spans('name = "parse"')
        assert row.attributes == {"deployment": "blue"}


def test_a_users_own_words_that_look_like_the_exports_come_back(home, tmp_path):
    """Attributes, log lines and their data keep names that conventions or whence use."""
    odd = {
        "input.value": 1,
        "session.id": "mine",
        "gen_ai.request.model": "m",
        "whence.span.kind": "no",
        "otel.scope.name": "s",
        "llm.provider": None,
        "big": 2**70,
        "text": "null",
    }
    whence.configure(home=home)
    with whence.run("r", **odd) as run:
        with whence.step("s", input="x") as step:
            step.set(**odd)
            step.event("gen_ai.evaluation.result", **odd)
            step.event("whence.decision", **{"whence.event.id": "x", "whence.span": 5})
        with whence.generation("g") as call:
            call.set(**odd)
            call.event("gen_ai.user.message", content="not sent")
            call.record_generation(model="m", operation="chat", output="y")
        run.event("exception", **odd)
    whence.flush()

    back, report = otlptrip.trip(home, tmp_path, Options())

    assert otlptrip.differences(home, back) == otlptrip.told(report) == {}


def test_a_foreign_span_below_the_run_is_in_the_run(home, tmp_path):
    """Its parent is the run's own span, of which the home makes no span."""
    whence.configure(home=home)
    with whence.run("market report"):
        _, run, parent, _ = whence.traceparent().split("-")
    whence.flush()
    foreign = span("theirs", None) | {"traceId": run, "parentSpanId": parent}
    (tmp_path / "in.jsonl").write_bytes(encode.to_json(exported(home)))
    import_paths(tmp_path / "back", [tmp_path / "in.jsonl"])
    imported(tmp_path / "back", tmp_path, request(foreign), name="more.jsonl")

    with whence.open(tmp_path / "back") as store:
        tree = store.run(run)
        assert tree.run.name == "market report"
        assert [node.row.parent for node in tree.spans if node.row.name == "theirs"] == [None]


def test_a_made_up_decision_that_is_none_stays_an_event(home, tmp_path):
    """Without what a decision needs, or with more than one has, it is what it was sent as."""
    good = {"whence.decision.id": "a" * 16, "whence.decision.name": "d"}
    events = [
        {"whence.decision.id": "a" * 16},
        good | {"whence.decision.id": "x"},
        good | {"whence.decision.confidence": "high"},
        good | {"whence.decision.options": "[1]"},
        good | {"whence.decision.options": '[{"name": "a", "score": 1e999}]'},
        good | {"more": 1},
        good | {"whence.span": "not an id"},
        good,
    ]
    sent = [
        {"name": "whence.decision", "timeUnixNano": "5", "attributes": attributes(one)}
        for one in events
    ]
    imported(home, tmp_path, request(span("s", "p", {"whence.span.kind": "step"}, events=sent)))

    with whence.open(home) as store:
        assert [row.name for row in store.decisions()] == ["d"]
        assert {row.message for row in store.events()} == {"whence.decision"}
        assert len(store.events().items) == len(events) - 1


def _slots(sent: dict[str, Any]) -> list[tuple[list[Any], int]]:
    """Return every attribute of whence's own in a request, as list and index."""
    found: list[tuple[list[Any], int]] = []
    for of_resource in sent["resourceSpans"]:
        lists = [of_resource["resource"]["attributes"]]
        for of_scope in of_resource["scopeSpans"]:
            for one in of_scope["spans"]:
                lists.append(one["attributes"])
                lists += [e["attributes"] for e in one.get("events", [])]
                lists += [x["attributes"] for x in one.get("links", [])]
        for pairs in lists:
            found += [(pairs, n) for n, p in enumerate(pairs) if p["key"].startswith("whence.")]
    return found


@pytest.fixture(scope="module")
def request_of_export(tmp_path_factory):
    home = tmp_path_factory.mktemp("export") / "home"
    otlptrip.record(home)
    whence.configure(enabled=False)
    return json.loads(encode.to_json(exported(home)))


@given(changes=CHANGES)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_said_in_our_words_breaks_nothing(request_of_export, tmp_path_factory, changes):
    """Any of our attributes may say anything: all spans are taken, into their own runs alone."""
    sent = copy.deepcopy(request_of_export)
    slots = _slots(sent)
    for number, said in changes:
        pairs, index = slots[number % len(slots)]
        pairs[index]["value"] = ODD_VALUES[said]
    folder = tmp_path_factory.mktemp("odd")
    report = import_paths(folder / "home", [write_lines(folder / "in.jsonl", sent)])

    assert report.skipped == []
    home = Home(folder / "home")
    examined = doctor.examine(home, deep=True)
    assert [found for found in examined.findings if found.severity != "note"] == []
    spans = [s for r in sent["resourceSpans"] for g in r["scopeSpans"] for s in g["spans"]]
    runs = {
        record.run
        for name in segment.iter_all(home)
        for _, record in reader.iter_records(name.path_in(home), str(name))
    }
    assert runs == {one["traceId"] for one in spans}
    with whence.open(folder / "home") as store:
        for run in runs:
            store.run(run).to_dict()


def test_what_comes_back_to_where_it_was_recorded_is_there_already(tmp_path):
    """A home that gets its own export, or mirrors into itself, does not hold things twice."""
    home = tmp_path / "home"
    otlptrip.record(home)
    with whence.open(home) as store:
        ids = [row.id for row in store.runs(limit=None)]
        files.write(store, ids, tmp_path / "out.jsonl", Options())
        before = {table: store.count(table) for table in rows.TABLES}
    found = otlptrip.tables(home)
    for _ in range(2):
        report = import_paths(home, [tmp_path / "out.jsonl"])
        assert (report.new, report.skipped) == (0, [])
        assert report.already_there > 30
    assert otlptrip.tables(home) == found
    with whence.open(home) as store:
        assert {table: store.count(table) for table in rows.TABLES} == before


def test_what_only_other_homes_recorded_of_a_run_is_taken(tmp_path):
    """A process that took a run up, or somebody who remarked on it, recorded no more than that."""
    whence.configure(home=tmp_path / "first")
    with whence.run("whole", external_id="e1") as run:
        run.decide("depth", "deep")
        with whence.step("inside"):
            parent = whence.traceparent()
    whence.configure(home=tmp_path / "second")
    with whence.resume(parent):
        whence.current_span().event("told elsewhere")
    whence.flush()
    with whence.open(tmp_path / "first") as store:
        files.write(store, [run.id], tmp_path / "first.jsonl", Options())
    report = import_paths(tmp_path / "second", [tmp_path / "first.jsonl"])
    assert report.already_there == 0
    with whence.open(tmp_path / "second") as store:
        assert (store.run("e1").status, store.count("decisions"), store.count("events")) == (
            "complete",
            1,
            1,
        )
        files.write(store, [run.id], tmp_path / "second.jsonl", Options())
    assert import_paths(tmp_path / "second", [tmp_path / "second.jsonl"]).new == 0


def test_spans_of_others_in_a_run_that_was_recorded_are_taken(tmp_path):
    """A trace that capture and OpenTelemetry share: only what capture recorded is left out."""
    home = tmp_path / "home"
    whence.configure(home=home)
    with whence.run("mine") as run, whence.step("own"):
        pass
    whence.flush()
    theirs = {**span("theirs"), "traceId": run.id}
    write_lines(tmp_path / "theirs.jsonl", request(theirs))
    with whence.open(home) as store:
        files.write(store, [run.id], tmp_path / "mine.jsonl", Options())
    assert import_paths(home, [tmp_path / "theirs.jsonl", tmp_path / "mine.jsonl"]).new > 0
    with whence.open(home) as store:
        assert sorted(row.name for row in store.spans(limit=None)) == ["own", "theirs"]
