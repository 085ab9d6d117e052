"""Runs of Who&When keep their agents, and the mistake at its step."""

from __future__ import annotations

import pytest
from trajectorydata import document, expected, of_kind, records_of, who_and_when

import whence
from whence.errors import IngestError
from whence.ingest.base import Source
from whence.ingest.importer import import_paths
from whence.ingest.who_and_when import detect
from whence.record.decision import Decision
from whence.record.event import Event
from whence.record.generation import Generation, ToolCall
from whence.record.run import RunStarted
from whence.record.score import Annotation, Score
from whence.record.span import SpanStarted


def read(folder, content):
    return records_of(document(folder / "1.json", content), "who-and-when")[0]


def magentic():
    """Return a run of Magentic-One, which names agents by their role."""
    return {
        "history": [
            {"content": "find the price", "role": "human"},
            {"content": "I plan.", "role": "Orchestrator (thought)"},
            {"content": "look it up", "role": "Orchestrator (-> WebSurfer)"},
            {"content": "it is 3", "role": "WebSurfer"},
            {"content": "exitcode: 0\n3", "role": "ComputerTerminal"},
        ],
        "question_ID": "q-2",
        "is_corrected": False,
        "groundtruth": "4",
        "mistake_agent": "WebSurfer",
        "mistake_step": 3,
        "mistake_reason": "it read the wrong row",
    }


def test_a_message_is_a_span_of_its_agent(tmp_path):
    """And a call, of a model nobody names; what nobody stated is unknown."""
    records = read(tmp_path, who_and_when())
    spans = of_kind(records, SpanStarted)

    assert [(span.span_kind, span.name, span.agent) for span in spans] == [
        ("agent", "Expert", "Expert"),
        ("tool", "Computer_terminal", None),
        ("agent", "Checker", "Checker"),
    ]
    calls = of_kind(records, Generation)
    assert [(call.name, call.output) for call in calls] == [
        ("Expert", who_and_when()["history"][0]["content"]),
        ("Checker", "it is 4"),
    ]
    assert {(call.model, call.usage, call.messages) for call in calls} == {(None, None, None)}


def test_what_the_terminal_answers_is_a_tool_call(tmp_path):
    """Its input is the code of the message before; its exit code tells whether it failed."""
    (call,) = of_kind(read(tmp_path, who_and_when()), ToolCall)

    assert call.input == [{"language": "python", "code": "print(4)\n"}]
    assert call.error == {"type": "exit code 1", "message": "NameError: x"}


def test_the_mistake_is_a_score_of_its_step_and_flags_it(home, tmp_path):
    """With the reason; the run is scored by itself."""
    import_paths(home, [document(tmp_path / "1.json", who_and_when())])

    with whence.open(home) as store:
        why = store.why("q-1")
        span = next(span for span in store.spans() if span.name == "Checker")
        correct, mistake = sorted(why.scores, key=lambda score: score.name, reverse=True)
        assert (correct.name, correct.passed, correct.feedback) == (
            "is_correct",
            False,
            "the right answer is 8",
        )
        assert (mistake.target, mistake.span, mistake.passed) == (span.id, span.id, False)
        assert mistake.feedback == "it did not run the code again"
        assert mistake.attributes == {"agent": "Checker", "step": "2"}
        assert [flag.target for flag in why.flags] == [span.id]
        assert "flagged for review: decisive mistake" in str(why)
        assert str(store.why(span.id)).startswith("# Why agent Checker")


def test_agents_may_be_named_by_their_role(tmp_path):
    """What stands in brackets is a thought, or the choice of who comes next."""
    records = read(tmp_path, magentic())
    (decision,) = of_kind(records, Decision)

    assert [span.name for span in of_kind(records, SpanStarted)] == [
        "human",
        "Orchestrator",
        "Orchestrator",
        "WebSurfer",
        "ComputerTerminal",
    ]
    assert [call.name for call in of_kind(records, Generation)] == [
        "Orchestrator (thought)",
        "Orchestrator",
        "WebSurfer",
    ]
    assert of_kind(records, Event)[0].message == "find the price"
    assert (decision.what, decision.made_by) == ("WebSurfer", "Orchestrator")
    assert [option.name for option in decision.options if option.chosen] == ["WebSurfer"]
    assert len(decision.options) == 3
    assert of_kind(records, Score)[0].feedback == "the right answer is 4"


@pytest.mark.parametrize("step", ["7", "-1", "x", None, 1e30, "9" * 40, [2]])
def test_a_step_that_is_not_there_is_kept_with_the_run(step, tmp_path):
    """The mistake is flagged all the same."""
    content = who_and_when() | {"mistake_step": step}
    records = read(tmp_path, content)
    mistake, flag = of_kind(records, Score)[-1], of_kind(records, Annotation)[0]

    assert mistake.target is None
    assert mistake.attributes["step"] == step
    assert flag.target == of_kind(records, RunStarted)[0].run


def test_a_long_history_may_stand_before_everything_else(tmp_path):
    """The file is recognized by its end then."""
    content = magentic()
    content["history"][0]["content"] = "x" * 100_000

    assert detect(Source(document(tmp_path / "1.json", content)))
    assert not detect(Source(document(tmp_path / "2.json", {"history": ["x" * 100_000]})))


def test_a_message_that_is_none_keeps_its_number(tmp_path):
    """So that the mistake is at the right step."""
    content = who_and_when()
    content["history"].insert(1, "oops")
    content["mistake_step"] = "3"
    records, skipped = records_of(document(tmp_path / "1.json", content), "who-and-when")
    target = of_kind(records, Score)[-1].target

    assert [s.name for s in of_kind(records, SpanStarted) if s.span == target] == ["Checker"]
    assert skipped[0].where.endswith("message 1")


def test_a_file_without_a_history_is_refused(tmp_path):
    """With the reason."""
    with pytest.raises(IngestError, match="no history"):
        read(tmp_path, {"mistake_agent": "x"})


def test_the_corpus_has_the_expected_totals(home):
    """Messages by agent, and the mistake at its step, in every run; twice without a change."""
    folder, figures = expected("who-and-when")
    totals = figures["totals"]

    report = import_paths(home, [folder])

    assert report.runs == totals["runs"]
    assert report.spans == totals["messages"]
    assert report.usage_stated.input is None
    assert report.cost_usd_declared is None
    with whence.open(home) as store:
        targets = [score for score in store.scores(limit=None) if score.target]
        assert len(targets) == totals["with_mistake_step"]
    for name, each in figures["runs"].items():
        records, _ = records_of(folder / "Algorithm-Generated" / name, "who-and-when")
        spans = of_kind(records, SpanStarted)
        names = [span.name for span in spans]
        said = [record.output for record in records if type(record) in {Generation, ToolCall}]
        correct, mistake = of_kind(records, Score)
        assert {agent: names.count(agent) for agent in names} == each["by_name"]
        assert sum(map(len, said)) == each["chars"]
        assert mistake.target == spans[int(each["mistake_step"])].span
        assert mistake.attributes["agent"] == each["mistake_agent"]
        assert correct.passed == each["is_correct"]
    again = import_paths(home, [folder])
    assert (again.new, again.already_there) == (0, report.new)
