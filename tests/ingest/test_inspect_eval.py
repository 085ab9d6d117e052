"""Logs of Inspect are a run for the evaluation and one for each sample."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from trajectorydata import (
    archive,
    document,
    expected,
    inspect_archive,
    inspect_header,
    inspect_log,
    inspect_sample,
    of_kind,
    packed,
    records_of,
)

import whence
from whence.errors import IngestError
from whence.ingest.importer import import_paths
from whence.record.decision import Decision
from whence.record.event import Event
from whence.record.generation import Generation, ToolCall
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.score import Output, Score
from whence.record.span import SpanEnded, SpanStarted


def read(folder, sample=None, **header):
    log = inspect_header() | header | {"samples": [inspect_sample() if sample is None else sample]}
    return records_of(document(folder / "log.json", log), "inspect")[0]


def with_events(*events):
    sample = inspect_sample()
    sample["events"] = [{"timestamp": "2025-05-12T20:28:14Z", **event} for event in events]
    return sample


def test_a_sample_is_a_run_under_that_of_its_evaluation(tmp_path):
    """Each epoch by itself; what identifies a sample is its log's own id for it."""
    log = inspect_header() | {"samples": [inspect_sample(1, 1), inspect_sample(1, 2)]}
    records, _ = records_of(document(tmp_path / "log.json", log), "inspect")
    whole, first, second = of_kind(records, RunStarted)

    assert (whole.name, whole.external_id, whole.workflow) == ("popularity", "eval-1", "run-1")
    assert whole.environment == {"packages": {"inspect_ai": "0.3.95"}}
    assert first.parent_run == second.parent_run == whole.run
    assert [first.external_id, second.external_id] == ["uuid-1-1", "uuid-1-2"]
    assert len({whole.run, first.run, second.run}) == 3


def test_a_model_event_is_a_call_with_its_usage(tmp_path):
    """It ends when its answer came; texts that stand elsewhere are put back."""
    (call,) = of_kind(read(tmp_path), Generation)

    assert call.messages == [{"role": "user", "content": "Are you popular?"}]
    assert (call.provider, call.model, call.response_model) == (
        "openai",
        "openai/gpt-4o-mini",
        "gpt-4o-mini-2024",
    )
    assert (call.usage.input_uncached, call.usage.output_visible) == (30, 5)
    assert (call.response_id, call.finish_reason) == ("chatcmpl-1", "stop")
    assert (call.ts, call.duration_ns) == ("2025-05-13T00:28:14.350000000Z", 250_000_000)
    assert call.parameters["temperature"] == 0.5
    assert call.stage == "generate"


def test_a_tool_call_is_in_the_span_that_the_log_has_for_it(tmp_path):
    """Which it ends; its error is kept."""
    records = read(tmp_path)
    (call,) = of_kind(records, ToolCall)
    spans = {span.span: span for span in of_kind(records, SpanStarted)}

    assert (call.tool_name, call.input, call.status) == ("bash", {"cmd": "ls"}, "error")
    assert call.error == {"type": "permission", "message": "not allowed"}
    assert call.duration_ns == 100_000_000
    assert (spans[call.span].name, spans[call.span].span_kind) == ("bash", "tool")
    assert spans[spans[call.span].parent].name == "generate"
    assert call.span not in {end.span for end in of_kind(records, SpanEnded)}


def test_a_tool_call_without_a_span_gets_one(tmp_path):
    """As in logs of before there were spans."""
    events = inspect_sample()["events"]
    records = read(tmp_path, with_events(events[3]))
    (call,) = of_kind(records, ToolCall)

    assert [span.span for span in of_kind(records, SpanStarted)] == [call.span]


@pytest.mark.parametrize(
    ("value", "number", "passed"),
    [
        ("C", 1.0, True),
        ("I", 0.0, False),
        ("P", 0.5, None),
        ("N", 0.0, False),
        (0.25, 0.25, None),
        (True, 1.0, True),
        ("fine", None, None),
        ({"a": 1}, None, None),
    ],
)
def test_scores_have_the_numbers_that_inspect_gives_their_words(value, number, passed, tmp_path):
    """The word itself is kept, with the answer and the explanation."""
    sample = inspect_sample()
    sample["scores"]["match"]["value"] = value
    records = read(tmp_path, sample)
    score = of_kind(records, Score)[-1]
    spans = {span.span: span.name for span in of_kind(records, SpanStarted)}

    assert (score.value, score.passed, score.feedback) == (number, passed, "as expected")
    assert score.attributes == {"value": value, "answer": "Yes"}
    assert spans[score.span] == "match"


def test_metrics_are_scores_of_the_evaluation_and_its_totals_are_declared(home, tmp_path):
    """Whether or not the log has samples."""
    path = document(tmp_path / "log.json", inspect_header("cancelled"))

    report = import_paths(home, [path])

    assert (report.runs, report.generations, report.scores) == (1, 0, 1)
    with whence.open(home) as store:
        tree = store.run("eval-1")
        assert tree.run.status == "cancelled"
        assert tree.run.duration_ms == 10_000
        assert tree.run.attributes["declared"]["total_tokens"] == 35
        assert [(score.name, score.value) for score in tree.scores] == [("match accuracy", 1.0)]


def test_a_log_that_goes_on_gains_its_end(home, tmp_path):
    """An evaluation that was started only has no end; imported later, it has all."""
    started = {k: v for k, v in inspect_header("started").items() if k in {"version", "eval"}}
    log = tmp_path / "log.eval"
    first = import_paths(home, [archive(log, {"_journal/start.json": started})])
    log.unlink()

    second = import_paths(home, [archive(log, inspect_archive())])

    assert (first.new, second.already_there) == (1, 1)
    with whence.open(home) as store:
        assert store.run("eval-1").run.status == "complete"
        assert len(store.runs()) == 3


def test_an_archive_and_its_samples_in_json_are_the_same_runs(home, tmp_path):
    """If they say the same of what was evaluated."""
    import_paths(home, [archive(tmp_path / "a.eval", inspect_archive())])

    assert import_paths(home, [document(tmp_path / "a.json", inspect_log())]).new == 0


def test_a_sample_that_failed_is_a_failed_run(tmp_path):
    """Its limit and the attempts before it are told; its answer is what came out of it."""
    sample = inspect_sample() | {
        "error": {"message": "ValueError('no such file')", "traceback": "Traceback"},
        "error_retries": [{"message": "timeout", "traceback": ""}],
        "limit": {"type": "token", "limit": 100},
    }
    records = read(tmp_path, sample)
    run, end = of_kind(records, RunStarted)[1], of_kind(records, RunEnded)[1]

    assert end.status == "failed"
    assert end.error == {"type": "ValueError", "message": "no such file", "stack": "Traceback"}
    assert run.attributes["limit"]["type"] == "token"
    assert of_kind(records, Event)[-1].message == "attempt 1 failed: timeout"
    assert of_kind(records, Output)[0].value == "Yes"


def test_a_failed_call_says_so(tmp_path):
    """And how often it was tried."""
    event = inspect_sample()["events"][1] | {"error": "rate limit", "retries": 2, "output": {}}
    (call,) = of_kind(read(tmp_path, with_events(event)), Generation)

    assert (call.status, call.error["message"], call.attempt) == ("error", "rate limit", 3)
    assert call.usage is None


def test_steps_nest_as_they_begin_and_end(tmp_path):
    """As logs of 2024 have them; one that does not end ends with the one around it."""
    steps = [
        {"event": "step", "action": action, "type": "solver", "name": name}
        for action, name in (
            ("begin", "outer"),
            ("begin", "inner"),
            ("begin", "lost"),
            ("end", "inner"),
            ("end", "outer"),
        )
    ]
    records = read(tmp_path, with_events(*steps))
    spans = of_kind(records, SpanStarted)

    assert [(span.name, span.parent) for span in spans] == [
        ("outer", None),
        ("inner", spans[0].span),
        ("lost", spans[1].span),
    ]
    assert [end.span for end in of_kind(records, SpanEnded)] == [
        spans[2].span,
        spans[1].span,
        spans[0].span,
    ]


def test_events_inside_of_events_are_read(tmp_path):
    """As logs of 2024 have those of tools, in a transcript with its own texts."""
    inner = inspect_sample()["events"][1] | {"timestamp": "2024-10-15T12:00:00Z"}
    inner["input"] = [{"role": "user", "content": "tc://abc"}]
    tool = {"event": "tool", "function": "ask", "timestamp": "2024-10-15T12:00:00Z"}
    sample = inspect_sample()
    del sample["events"], sample["attachments"]
    sample["transcript"] = {
        "content": {"abc": "Who?"},
        "events": [tool | {"events": [inner]}],
    }
    (call,) = of_kind(read(tmp_path, sample), Generation)

    assert call.messages == [{"role": "user", "content": "Who?"}]


@pytest.mark.parametrize("newer", [False, True])
def test_messages_of_a_pool_are_put_back(newer, tmp_path):
    """By ranges; a range that has no end and one that is none are passed over."""
    pool = [{"role": "user", "content": str(n)} for n in range(5)]
    event = inspect_sample()["events"][1]
    event |= {"input": [], "input_refs": [[0, 2], [3, 2**40], [1], "x", [None, 4]]}
    sample = with_events(event)
    sample |= {"events_data": {"messages": pool}} if newer else {"message_pool": pool}
    (call,) = of_kind(read(tmp_path, sample), Generation)

    assert [message["content"] for message in call.messages] == ["0", "1", "3", "4"]


def test_a_small_log_cannot_stand_for_a_huge_one(tmp_path):
    """Texts and messages that are repeated too often are left as references, which is said."""
    text = "x" * (1 << 20)
    event = inspect_sample()["events"][1]
    whole = {"role": "user", "content": text}
    event |= {"input": [], "input_refs": [[0, 1]] * 600}
    again = event | {"input": [{"role": "user", "content": "attachment://abc"}] * 500}
    sample = with_events(event, again) | {
        "message_pool": [whole],
        "attachments": {"abc": text},
    }
    log = inspect_header() | {"samples": [sample]}
    records, skipped = records_of(document(tmp_path / "log.json", log), "inspect")
    pooled, attached = of_kind(records, Generation)

    assert pooled.messages == [whole] * 600
    assert attached.messages[0] == whole
    assert attached.messages[-1]["content"] == "attachment://abc"
    assert "repeated too often" in skipped[0].why


def test_an_approval_is_a_decision(tmp_path):
    """What was asked, what was decided, and by whom."""
    event = {
        "event": "approval",
        "message": "run ls",
        "call": {"function": "bash"},
        "approver": "human",
        "decision": "reject",
        "explanation": "too risky",
    }
    (decision,) = of_kind(read(tmp_path, with_events(event)), Decision)

    assert (decision.what, decision.why, decision.made_by) == ("reject", "too risky", "human")
    assert "approve" in [option.name for option in decision.options]


def test_other_events_are_events(tmp_path):
    """With what they say and how serious it is; changes of the state are not."""
    records = read(
        tmp_path,
        with_events(
            {"event": "logger", "message": {"level": "warning", "message": "slow"}},
            {"event": "error", "error": {"message": "boom"}},
            {"event": "sandbox", "action": "exec", "cmd": "ls", "result": 0},
            {"event": "sample_limit", "type": "time", "message": "too long"},
            {"event": "store", "changes": []},
            {"event": "state", "changes": []},
            {"event": "something new", "name": "x"},
        ),
    )

    assert [(event.level, event.message) for event in of_kind(records, Event)] == [
        ("warning", "logger: slow"),
        ("error", "error: boom"),
        ("info", "sandbox: exec ls"),
        ("warning", "sample_limit: too long"),
        ("debug", "store"),
        ("info", "something new: x"),
    ]


def test_intermediate_scores_are_rounds(tmp_path):
    """Those of the end come from the sample."""
    score = {"event": "score", "score": {"value": 0.5}, "intermediate": True}
    scores = of_kind(read(tmp_path, with_events(score, score)), Score)

    assert [(one.name, one.iteration) for one in scores[1:]] == [
        ("score", 1),
        ("score", 2),
        ("match", None),
    ]


def test_a_sample_without_events_makes_up_no_calls(tmp_path):
    """What was said in it is events."""
    sample = inspect_sample() | {"events": [], "messages": [{"role": "user", "content": "hi"}]}
    records = read(tmp_path, sample)

    assert of_kind(records, Generation) == []
    assert of_kind(records, Event)[0].message == "user: hi"


def test_a_log_without_a_header_is_refused(tmp_path):
    """Whether it is an archive or not."""
    for path in (
        archive(tmp_path / "a.eval", {"samples/1_epoch_1.json": inspect_sample()}),
        document(tmp_path / "a.json", {"version": 2, "status": "success"}),
    ):
        with pytest.raises(IngestError, match="no header"):
            records_of(path, "inspect")


def test_an_archive_whose_end_is_missing_gives_what_is_before(tmp_path):
    """Its directory is at the end, and with it the better header."""
    content = packed(inspect_archive())
    path = tmp_path / "a.eval"
    path.write_bytes(content[: content.index(b"summaries.json")])
    records, skipped = records_of(path, "inspect")

    assert len(of_kind(records, Generation)) == 2
    assert of_kind(records, Update) == []
    assert "directory is damaged" in skipped[0].why


def test_a_bomb_is_not_unpacked(tmp_path):
    """A file that unpacks to more than is believable is left out, the others come in."""
    held = io.BytesIO(packed(inspect_archive()))
    with zipfile.ZipFile(held, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("samples/3_epoch_1.json", b" " * (40 << 20))
    path = tmp_path / "a.eval"
    path.write_bytes(held.getvalue())

    records, skipped = records_of(path, "inspect")

    assert len(of_kind(records, Generation)) == 2
    assert [(one.where.rpartition(", ")[2], one.why) for one in skipped] == [
        ("samples/3_epoch_1.json", "it unpacks to more than is believable")
    ]


def test_names_that_lead_elsewhere_are_never_followed(home, tmp_path):
    """Nothing is written but the home, and a sample is only what lies among the samples."""
    outside = tmp_path / "outside.json"
    contents = inspect_archive() | {
        "../outside.json": inspect_sample(3),
        "samples/../../outside.json": inspect_sample(4),
        str(outside): inspect_sample(5),
    }
    report = import_paths(home, [archive(tmp_path / "a.eval", contents)])

    assert report.generations == 2
    assert not outside.exists()


def test_a_sample_that_cannot_be_read_is_named(tmp_path):
    """One that is no JSON, one that is no sample; a name that stands twice counts once."""
    held = io.BytesIO(packed(inspect_archive()))
    with zipfile.ZipFile(held, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("samples/3_epoch_1.json", "{")
        file.writestr("samples/4_epoch_1.json", "[]")
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("samples/1_epoch_1.json", json.dumps(inspect_sample(1)))
    path = tmp_path / "a.eval"
    path.write_bytes(held.getvalue())

    records, skipped = records_of(path, "inspect")

    assert len(of_kind(records, Generation)) == 2
    assert [one.where.rpartition("/")[2] for one in skipped] == [
        "3_epoch_1.json",
        "4_epoch_1.json",
    ]


def test_the_corpus_has_the_expected_totals(home):
    """Calls, tools, tokens, samples, scores and statuses of each log, twice without a change."""
    folder, figures = expected("inspect-eval-logs")
    declared = 0
    for name, each in figures["evals"].items():
        place = home / name.replace("/", "_")
        report = import_paths(place, [folder / name])
        assert report.skipped == []
        assert report.runs == each["samples"] + 1
        assert report.generations == each["model_events"]
        assert report.tool_calls == each["tool_events"]
        assert report.tool_errors == each["tool_errors"]
        with whence.open(place) as store:
            runs = store.runs(limit=None)
            (whole,) = [run for run in runs if run.parent_run is None]
            samples = {run.id for run in runs if run is not whole}
            stated = whole.attributes.get("declared", {})
            known = {"success": "complete", "cancelled": "cancelled"}
            assert whole.status == known[each["status"]]
            assert whole.name == each["task"]
            assert stated.get("model_usage", {}) == each["header_model_usage"]
            declared += stated.get("total_tokens", 0)
            names = sorted(s.name for s in store.scores(limit=None) if s.run in samples)
            assert names == sorted(name for scores in each["scores"] for name in scores)
            # Where a log has its calls, they add up to what its header declares.
            if each["model_events"]:
                assert (report.usage_stated.total or 0) == stated.get("total_tokens", 0)

    totals = figures["totals"]
    report = import_paths(home / "all", [folder])
    assert declared == totals["total_tokens_header"]
    assert report.runs == totals["evals"] + totals["samples"]
    assert report.generations == totals["model_events"]
    assert report.tool_calls == totals["tool_events"]
    again = import_paths(home / "all", [folder])
    assert (again.new, again.already_there) == (0, report.new)


def test_a_sample_is_found_whatever_its_id(tmp_path):
    """Ids stand in the names of an archive as they are, and have slashes: `HumanEval/0`."""
    contents = inspect_archive() | {
        "samples/HumanEval/0_epoch_1.json": inspect_sample("HumanEval/0", 1),
        "samples/a b?c\n_epoch_1.json": inspect_sample("a b?c\n", 1),
    }
    records, skipped = records_of(archive(tmp_path / "a.eval", contents), "inspect")

    assert "uuid-HumanEval/0-1" in {run.external_id for run in of_kind(records, RunStarted)}
    assert len(of_kind(records, Generation)) == 4
    assert skipped == []


def test_an_answer_from_the_cache_used_nothing(tmp_path):
    """It repeats what the call that filled the cache took; Inspect does not count it either."""
    event = inspect_sample()["events"][1] | {"cache": "read"}
    (call,) = of_kind(read(tmp_path, with_events(event)), Generation)

    assert (call.usage, call.duration_ns) == (None, None)
    assert call.attributes["cached_usage"] == event["output"]["usage"]


def test_an_attempt_that_failed_is_a_span_with_its_calls(tmp_path):
    """What it used counts, and it is linked to the attempt after it, the last to the run."""
    model = inspect_sample()["events"][1] | {"timestamp": "2025-05-12T20:28:10Z"}
    failed = {"message": "ValueError('no')", "traceback": "", "events": [model]}
    sample = inspect_sample() | {"error_retries": [failed, failed]}
    records = read(tmp_path, sample)
    spans = [one for one in of_kind(records, SpanStarted) if one.name.startswith("attempt")]
    ends = {one.span: one for one in of_kind(records, SpanEnded)}
    links = [(one.source, one.target) for one in of_kind(records, Link)]

    assert [one.name for one in spans] == ["attempt 1", "attempt 2"]
    assert [ends[one.span].error["type"] for one in spans] == ["ValueError"] * 2
    assert links == [(spans[0].span, spans[1].span), (spans[1].span, spans[0].run)]
    assert [call.span for call in of_kind(records, Generation)][:2] == [s.span for s in spans]
    assert len(of_kind(records, Generation)) == 3
