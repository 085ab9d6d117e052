"""The shapes of a trace: which keys there are, what is left out, and how sums come about."""

from __future__ import annotations

import json

import pytest
from generationtraces import SENTENCES, answer
from hypothesis import given
from hypothesis import strategies as st

from whence.generations import (
    ArtifactTrace,
    ProblemGenerationTrace,
    SentenceGenerationTrace,
    UnitTrace,
)

FLAT = {
    "model": "gpt-5-nano",
    "prompt_version": "1.0",
    "response_id": "resp_1",
    "generation_time_ms": 1234.57,
    "prompt_tokens": 150,
    "completion_tokens": 75,
    "total_tokens": 225,
    "quality_status": "approved",
    "quality_issues": [],
}


def test_a_flat_trace_leaves_out_what_there_is_not():
    """Without reasoning and prompt, their keys are absent; the time has two decimals."""
    assert answer().to_trace_dict() == FLAT


def test_a_flat_trace_keeps_zero_reasoning_tokens():
    """Nothing spent is something that was said; reasoning and prompt come with it."""
    said = answer(reasoning_tokens=0, reasoning_content="", prompt_text="Écris.")

    assert said.to_trace_dict(prompt_version="2.0") == FLAT | {
        "prompt_version": "2.0",
        "reasoning_tokens": 0,
        "reasoning_content": "",
        "prompt_text": "Écris.",
    }


def test_a_prompt_may_be_given_with_the_trace():
    """One that is given goes before the answer's own."""
    said = answer(prompt_text="short")

    assert said.to_trace_dict(prompt_text="whole")["prompt_text"] == "whole"


def test_a_sentence_has_every_key():
    """Also those whose value is null."""
    sentence = SentenceGenerationTrace(
        2, is_correct=False, error_type="wrong_auxiliary", llm_response=answer()
    )

    assert sentence.to_dict() == {
        "sentence_index": 2,
        "is_correct": False,
        "error_type": "wrong_auxiliary",
        "model": "gpt-5-nano",
        "response_id": "resp_1",
        "generation_time_ms": 1234.57,
        "prompt_tokens": 150,
        "completion_tokens": 75,
        "total_tokens": 225,
        "reasoning_tokens": None,
        "reasoning_content": None,
        "prompt_text": None,
    }
    assert list(sentence.to_dict())[:3] == ["sentence_index", "is_correct", "error_type"]


def test_a_problem_adds_up_its_sentences():
    """Reasoning is inside the output of OpenAI's models, and is not added to the total again."""
    problem = ProblemGenerationTrace("gpt-5-nano", "2.0", 4500.256)
    for place in range(4):
        response = answer(reasoning_tokens=50 * place)
        problem.add_sentence_trace(SentenceGenerationTrace(place, place == 0, None, response))
    plain = problem.to_dict()

    sentences = plain.pop("sentences")
    assert plain == {
        "model": "gpt-5-nano",
        "prompt_version": "2.0",
        "total_generation_time_ms": 4500.26,
        "total_prompt_tokens": 600,
        "total_completion_tokens": 300,
        "total_tokens": 900,
        "total_reasoning_tokens": 300,
        "quality_status": "approved",
        "quality_issues": [],
    }
    assert len(sentences) == problem.sentence_count == 4


def test_no_reasoning_at_all_is_null():
    """A sum of zero says that there was no reasoning model."""
    problem = ProblemGenerationTrace(
        "gpt-4o",
        "2.0",
        1,
        [
            SentenceGenerationTrace(
                0, is_correct=True, error_type=None, llm_response=answer(reasoning_tokens=0)
            )
        ],
    )

    assert problem.to_dict()["total_reasoning_tokens"] is None


def test_what_nobody_stated_is_null_and_not_zero():
    """Unknown counts are left out of sums, and a sum of unknown ones is unknown."""
    silent = answer(prompt_tokens=None, completion_tokens=None, total_tokens=None)
    alone = ProblemGenerationTrace(
        "m",
        "1",
        1,
        [SentenceGenerationTrace(0, is_correct=True, error_type=None, llm_response=silent)],
    )
    beside = ProblemGenerationTrace(
        "m",
        "1",
        1,
        [
            SentenceGenerationTrace(n, is_correct=True, error_type=None, llm_response=r)
            for n, r in enumerate((silent, answer()))
        ],
    )

    assert alone.to_dict()["total_prompt_tokens"] is None
    assert alone.to_dict()["total_tokens"] is None
    assert beside.to_dict()["total_tokens"] == 225
    assert silent.to_trace_dict()["prompt_tokens"] is None


def test_a_problem_without_sentences_took_nothing():
    """Nothing was asked, so nothing was spent."""
    plain = ProblemGenerationTrace("m", "1", 0).to_dict()

    assert plain["total_tokens"] == plain["total_prompt_tokens"] == 0
    assert plain["sentences"] == []


def test_the_quality_may_be_set_by_the_caller():
    """Status and issues are the caller's until the trace is kept."""
    problem = ProblemGenerationTrace("m", "1", 0, quality_issues=["too long"])
    problem.quality_status = "pending_review"
    plain = problem.to_dict()
    plain["quality_issues"].append("not the trace's own")

    assert problem.to_dict()["quality_status"] == "pending_review"
    assert problem.to_dict()["quality_issues"] == ["too long"]


def test_the_documents_classes_are_the_general_ones_under_their_names():
    """A sentence is a unit, a problem an artifact; others name theirs by deriving."""

    class Chapter(UnitTrace):
        unit = "chapter"

    class Novel(ArtifactTrace):
        kind = "novel"
        units_key = "chapters"

    novel = Novel("m", "1", 1)
    novel.add(Chapter(0, answer(), facts={"mood": "grim", "model": "not this"}))
    plain = novel.to_dict()

    assert issubclass(SentenceGenerationTrace, UnitTrace)
    assert issubclass(ProblemGenerationTrace, ArtifactTrace)
    assert plain["chapters"][0]["chapter_index"] == 0
    assert plain["chapters"][0]["mood"] == "grim"
    assert plain["chapters"][0]["model"] == "gpt-5-nano"


@pytest.mark.parametrize("given_", ["sentence_traces", "assigned"])
def test_sentences_may_be_given_at_once(given_):
    """As an argument, or by assignment."""
    sentences = [
        SentenceGenerationTrace(0, is_correct=True, error_type=None, llm_response=answer())
    ]
    problem = ProblemGenerationTrace("m", "1", 0)
    if given_ == "assigned":
        problem.sentence_traces = sentences
    else:
        problem = ProblemGenerationTrace("m", "1", 0, sentence_traces=sentences)

    assert problem.sentence_count == 1


@given(st.lists(SENTENCES, max_size=5))
def test_a_total_is_the_sum_of_what_is_known(sentences):
    """For any sentences, whatever they leave unsaid; and the whole is JSON."""
    plain = ProblemGenerationTrace("m", "1", 1.0, sentences).to_dict()

    def total(name):
        known = [s.llm_response.__dict__[name] for s in sentences]
        known = [count for count in known if count is not None]
        return sum(known) if known or not sentences else None

    assert plain["total_prompt_tokens"] == total("prompt_tokens")
    assert plain["total_completion_tokens"] == total("completion_tokens")
    assert plain["total_reasoning_tokens"] == (total("reasoning_tokens") or None)
    parts = [n for n in (total("prompt_tokens"), total("completion_tokens")) if n is not None]
    assert plain["total_tokens"] == (sum(parts) if parts else None)
    assert json.loads(json.dumps(plain)) == plain
