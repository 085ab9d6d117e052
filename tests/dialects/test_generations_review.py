"""Traces come back from the log as they went in, and remarks move where their review stands."""

from __future__ import annotations

import itertools

import pytest
from generationtraces import PROBLEMS, RESPONSES, TEXTS, answer, problem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import whence
from whence.errors import ConfigError, NotFoundError
from whence.generations import (
    ArtifactTrace,
    ProblemGenerationTrace,
    UnitTrace,
    add_note,
    approve,
    find_issues,
    find_signals,
    get_trace,
    iter_traces,
    record_artifact,
    reject,
    request_review,
    review_reasoning,
)

LAW = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = itertools.count()
IDS = TEXTS.map(lambda text: f"p{next(numbers)} {text}")
HM = "Hm. Wait, that is wrong. Wait, no. Hmm, I must reconsider. "


@pytest.fixture(params=["duckdb", "memory"])
def store(request, recording):
    """A reader of the home that is recorded into, of either store."""
    recording.mkdir()
    with whence.open(recording, memory=request.param == "memory") as reader:
        yield reader


def ids(issues):
    return [issue.id for issue in issues]


@LAW
@given(PROBLEMS, IDS)
def test_a_trace_comes_back_as_it_was(store, trace, artifact_id):
    """Whatever it holds: counts, reasoning, prompts, status, to the last key."""
    record_artifact(artifact_id, trace, title="t")

    assert get_trace(store, artifact_id).trace == trace.to_dict()


@LAW
@given(RESPONSES, TEXTS, IDS)
def test_a_flat_trace_comes_back_as_it_was(store, response, version, artifact_id):
    """A thing that one answer made has the flat form, with what is left out left out."""
    record_artifact(artifact_id, response, prompt_version=version, quality_status="rejected")

    expected = response.to_trace_dict(version) | {"quality_status": "rejected"}
    assert get_trace(store, artifact_id).trace == expected


def test_prompts_that_no_answer_was_recorded_with_come_back_too(store):
    """A unit's own prompt, beside an answer that has another."""
    made = ProblemGenerationTrace("m", "1", 1)
    made.add(UnitTrace(0, answer(prompt_text="its"), "own"))
    made.add(UnitTrace(1, answer(), "alone"))

    record_artifact("p", made)

    found = get_trace(store, "p")
    assert [unit["prompt_text"] for unit in found.units] == ["own", "alone"]
    assert found.trace == made.to_dict()


def test_units_of_other_names_come_back_under_them(store):
    """A kind of artifact of one's own keeps its words."""

    class Chapter(UnitTrace):
        unit = "chapter"

    class Novel(ArtifactTrace):
        kind = "novel"
        units_key = "chapters"

    novel = Novel("m", "1", 1, [Chapter(0, answer(), facts={"mood": "grim"})])
    record_artifact("n", novel)

    found = get_trace(store, "n")
    assert (found.kind, found.trace) == ("novel", novel.to_dict())


def test_a_thing_is_found_by_every_id_and_leads_to_its_answers(store):
    """Its output, its run, and the chain of `why` know each other."""
    with whence.run("make", external_id="job-7") as run:
        record_artifact("p", problem(answer(), answer()), title="passé composé")

    found = get_trace(store, "p")
    chain = store.why("p")
    assert (found.run, found.title, found.kind) == (run.id, "passé composé", "problem")
    assert len(chain.generations) == len(found.generations) == 2
    assert get_trace(store, "job-7").trace["total_tokens"] == 450
    assert {link.kind for link in store.links().items} == {"generated"}
    assert store.lineage("p", "ancestors").ancestors


def test_a_thing_that_was_not_recorded_here_has_the_trace_of_its_calls(store):
    """An output of the core, its run, and a single call, as far as they say anything."""
    with whence.run("core") as run:
        call = run.record_generation(
            model="claude",
            messages=[{"role": "user", "content": "Why?"}],
            output="Because.",
            usage={"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3},
            reasoning="Hm.",
        )
        run.record_generation(model="claude", output="Silent.")
        run.output("report-7", kind="report", summary="A report")

    found = get_trace(store, "report-7")
    assert (found.kind, found.title, found.state.status) == ("report", "A report", None)
    assert found.trace["model"] == "claude"
    assert (found.trace["total_prompt_tokens"], found.trace["total_completion_tokens"]) == (5, 2)
    assert [unit["prompt_text"] for unit in found.units] == ["Why?", None]
    assert [unit["prompt_tokens"] for unit in found.units] == [5, None]
    assert len(get_trace(store, run.id).units) == 2
    assert get_trace(store, call).units[0]["reasoning_content"] == "Hm."


def test_gemini_thoughts_are_beside_the_answer_and_openais_inside(store):
    """The stated total says which; the buckets of the record never overlap."""
    inside = answer(prompt_tokens=10, completion_tokens=20, total_tokens=30, reasoning_tokens=15)
    beside = answer(prompt_tokens=10, completion_tokens=20, total_tokens=45, reasoning_tokens=15)
    record_artifact("o", inside)
    record_artifact("g", beside)

    openai, gemini = store.generations(order="ts").items
    assert (openai.usage.output_visible, openai.usage.reasoning) == (5, 15)
    assert (gemini.usage.output_visible, gemini.usage.reasoning) == (20, 15)
    assert (openai.output_tokens, gemini.output_tokens) == (20, 35)


def test_an_unknown_id_is_an_error(store):
    """And nothing is made up."""
    record_artifact("p", problem())

    with pytest.raises(NotFoundError, match="nothing has the id"):
        get_trace(store, "q")


def test_what_waits_for_review_is_found_until_somebody_decides(store):
    """The recorded status counts first, the last remark afterwards."""
    record_artifact("good", problem())
    record_artifact("odd", problem(quality_status="pending_review", quality_issues=["odd"]))
    assert ids(find_issues(store)) == ["odd"]
    assert find_issues(store)[0].state.issues == ["odd"]

    approve(store, "odd", by="anna", note="It is fine.")
    reject(store, "good", issues=["wrong verb"], by="ben")

    assert find_issues(store) == []
    assert ids(find_issues(store, "approved")) == ["odd"]
    (rejected,) = find_issues(store, "rejected")
    assert (rejected.id, rejected.state.issues, rejected.state.by) == (
        "good",
        ["wrong verb"],
        "ben",
    )

    request_review(store, "good", issues=["look again"])
    assert ids(find_issues(store)) == ["good"]
    assert find_issues(store, "rejected") == []


def test_a_review_edits_nothing(store):
    """What was recorded stays, and every remark is there in order."""
    record_artifact("p", problem(quality_status="pending_review"))
    reject(store, "p", issues=["a"], by="anna")
    add_note(store, "p", "A second look is due.", by="ben")
    approve(store, "p", by="anna")

    found = get_trace(store, "p")
    assert found.trace["quality_status"] == "pending_review"
    assert [row.status for row in found.remarks] == ["rejected", None, "approved"]
    assert [row.note for row in found.remarks] == [None, "A second look is due.", None]
    assert (found.state.status, found.state.issues) == ("approved", [])


def test_a_note_leaves_where_the_review_stands(store):
    """Saying something is not deciding."""
    record_artifact("p", problem(quality_status="pending_review", quality_issues=["odd"]))
    add_note(store, "p", "Hm.")

    (found,) = find_issues(store)
    assert (found.state.issues, found.state.is_recorded) == (["odd"], True)


def test_a_flag_of_any_part_of_whence_asks_for_a_review(store):
    """`whence annotate --flag`, and `run.flag` on a run that made no artifact."""
    record_artifact("p", problem())
    store.annotate("p", flag="numbers look odd", by="cli")
    with whence.run("core") as run:
        run.flag("slow")

    found = find_issues(store)
    assert {(issue.id, issue.kind) for issue in found} == {("p", "problem"), (run.id, "run")}
    assert {tuple(issue.state.issues) for issue in found} == {("numbers look odd",), ("slow",)}

    approve(store, run.id)
    assert ids(find_issues(store)) == ["p"]
    assert ids(find_issues(store, kind="run")) == []


def test_a_thing_made_again_begins_its_review_anew(store):
    """Remarks on what was under the id before are not about what is there now."""
    record_artifact("p", problem(quality_status="pending_review"))
    reject(store, "p")
    record_artifact("p", problem())

    assert get_trace(store, "p").state.status == "approved"
    assert find_issues(store, "rejected") == []
    assert [found.id for found in iter_traces(store)] == ["p"]


def test_many_things_are_found_in_order_and_no_more_than_asked_for(store):
    """Those that came to their status last come first, over pages."""
    for number in range(450):
        status = "pending_review" if number % 2 else "approved"
        record_artifact(f"p{number}", answer(), quality_status=status)

    found = find_issues(store, limit=None)
    assert ids(found) == [f"p{n}" for n in range(449, 0, -2)]
    assert ids(find_issues(store, limit=3)) == ["p449", "p447", "p445"]


def test_a_status_that_is_none_is_refused(store):
    """In a search as in a remark."""
    record_artifact("p", problem())

    with pytest.raises(ConfigError, match="approved, pending_review, rejected"):
        find_issues(store, "aproved")
    with pytest.raises(NotFoundError):
        approve(store, "nowhere")


HOSTILE = {
    "generation_trace": {"sentences": [1, None, "x"], "quality_issues": "no list"},
    "units_key": "sentences",
    "generations": {"a": 1},
    "prompts": [1],
    "dialect": "generations",
}


@pytest.mark.parametrize("key", [None, *HOSTILE])
def test_attributes_of_any_form_are_read_without_an_error(store, key):
    """A foreign writer may have put anything there."""
    attributes = HOSTILE if key is None else {**HOSTILE, key: ["\x1b", {"$whence": "blob"}]}
    with whence.run("foreign") as run:
        run.output("p", **attributes)

    found = get_trace(store, "p")
    assert isinstance(found.to_dict(), dict)
    assert isinstance(list(iter_traces(store)), list)


@pytest.mark.parametrize(
    ("reasoning", "kinds"),
    [
        ("I cannot satisfy the rule about pronouns.", ["rule_given_up"]),
        ("This conflicts with the instructions.", ["rule_given_up"]),
        ("It's good enough, so I'll go on.", ["settled_for_less"]),
        ("I\u2019m guessing here.", ["doubt"]),
        (HM, ["correction"] * 4),
        ("The verb takes être. So: je suis allé.", []),
        ("I waited. The waiter certainly saw it.", []),
    ],
)
def test_reasoning_shows_its_doubts(reasoning, kinds):
    """Passages are found by rule, each with the words that were found."""
    signals = find_signals(reasoning)

    assert [signal.kind for signal in signals] == kinds
    normal = reasoning.replace("\u2019", "'")
    assert all(" ".join(signal.quote.split()) in " ".join(normal.split()) for signal in signals)


def test_enough_doubts_ask_for_a_review_once(store):
    """With the passages as a note; what somebody judged is left alone."""
    record_artifact("p", problem(answer(reasoning_content="Fine."), answer(reasoning_content=HM)))

    found = review_reasoning(store, "p")
    again = review_reasoning(store, "p")

    assert found.issues == again.issues == ["correction"]
    assert {signal.unit for signal in found.signals} == {1}
    (waiting,) = find_issues(store)
    assert (waiting.state.by, waiting.state.issues) == ("self-review", ["correction"])
    assert "that is wrong" in waiting.state.note
    assert len(get_trace(store, "p").remarks) == 1
    approve(store, "p", by="anna")
    review_reasoning(store, "p")
    assert find_issues(store) == []


def test_without_reasoning_nothing_is_said_about_it(store):
    """Unknown is not good."""
    record_artifact("p", problem())
    record_artifact("q", problem(answer(reasoning_content="Fine.")))

    assert review_reasoning(store, "p").quality_status is None
    assert review_reasoning(store, "q").quality_status == "approved"


@given(st.text(max_size=300))
def test_any_text_may_be_looked_through(text):
    """Every signal lies inside the text."""
    for signal in find_signals(text):
        assert 0 <= signal.offset < len(text)
