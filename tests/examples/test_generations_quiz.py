"""The quizzes of the example are what their traces say, and the comparison is of what was made."""

from __future__ import annotations

import asyncio
import json

import pytest
from generations_quiz import __main__ as program
from generations_quiz import errors, quiz, sentences, server
from hypothesis import given
from hypothesis import strategies as st

import whence
from whence.generations import OpenAIClient, compare_prompts, find_issues, get_trace, iter_traces


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A home with quizzes about six topics, by both versions of the prompt."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OPENAI_API_KEY", raising=False)
        assert program.main(["--topics", "6", "--home", str(home)]) == 0
    whence.configure(home, enabled=False)
    return home


def test_every_quiz_has_its_trace(made):
    """Two versions of each topic, with a sentence for each statement, prompts and reasoning."""
    with whence.open(made) as store:
        traces = list(iter_traces(store))

    assert len(traces) == 12
    for found in traces:
        units = found.units
        assert len(units) == quiz.STATEMENTS
        assert sum(unit["is_correct"] for unit in units) == 1
        assert all(unit["reasoning_content"] and unit["prompt_text"] for unit in units)
        assert found.trace["total_reasoning_tokens"] > 0
        total = found.trace["total_prompt_tokens"] + found.trace["total_completion_tokens"]
        assert found.trace["total_tokens"] == total


def test_statements_stem_from_the_reference(made):
    """The true one is a sentence of the topic, word for word, and a passed false one is not."""
    with whence.open(made) as store:
        for found in iter_traces(store):
            output = store.outputs(f'output_id = "{found.id}"').items[0]
            known = sentences.load(found.id.removeprefix("quiz-").rpartition("-")[0])
            for unit, text in zip(found.units, output.value, strict=True):
                if unit["is_correct"]:
                    assert text in known
                elif found.state.status == "approved":
                    assert text not in known


def test_reviews_follow_the_checks_and_the_reasoning(made):
    """What was rejected has an issue, and its reasoning says that it could not be done."""
    with whence.open(made) as store:
        rejected = find_issues(store, "rejected", limit=None)
        approved = find_issues(store, "approved", limit=None)
        assert len(rejected) + len(approved) == 12
        assert rejected
        for issue in rejected:
            found = get_trace(store, issue.id)
            assert issue.state.issues == ["false statement is still true"]
            assert any("I cannot satisfy" in u["reasoning_content"] for u in found.units)


def test_the_second_prompt_does_not_do_worse(made):
    """It may fall back to another kind of error; how much that is worth, the comparison says."""
    with whence.open(made) as store:
        share = compare_prompts(store, "1.0", "2.0").differences[0]

    assert share.figure == "approved_share"
    assert share.b >= share.a
    assert (share.of_a, share.of_b) == (6, 6)


@pytest.mark.parametrize("kind", errors.MEANINGS)
def test_an_error_changes_few_words(kind):
    """Over all sentences that the example may ask about."""
    changed = 0
    for topic in sentences.rich_topics(quiz.STATEMENTS):
        for sentence in sentences.load(topic):
            wrong = errors.make(sentence, kind)
            if wrong is not None:
                changed += 1
                assert wrong != sentence
                assert 0 < quiz._changed_words(sentence, wrong) <= quiz.MOST_CHANGED_WORDS
    assert changed > 20


@given(st.text(max_size=100))
def test_the_model_answers_any_prompt(prompt):
    """With the counts of what it read, thought and wrote."""
    answer = server.respond({"input": prompt})

    usage = answer["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_tokens_details"]["reasoning_tokens"] <= usage["output_tokens"]
    assert isinstance(json.loads(answer["output"][1]["content"][0]["text"]), dict)


@pytest.mark.usefixtures("made")  # nothing is recorded from then on
@pytest.mark.parametrize("content", ["no JSON", "[]", "null", '{"no": "statement"}'])
def test_an_answer_that_is_no_statement_is_an_issue(content):
    """A real model may answer anything."""
    with server.serving() as address:
        client = OpenAIClient("none", base_url=address)
        answer = asyncio.run(
            client.handle_request_with_metadata("> A sentence.", server.NAME, api="responses")
        )
    assert quiz.check(answer, "A sentence.", is_true=True).issue is None
    broken = type(answer)(content, "m", None, 1.0, None, None, None)
    assert quiz.check(broken, "A sentence.", is_true=True).issue == "no statement"
