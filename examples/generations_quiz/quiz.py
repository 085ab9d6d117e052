"""Makes one quiz: three statements about a topic, one of them true, each asked of the model.

This is the file to read: it is the pipeline, and everything that whence is told about it. A quiz
whose statements do not pass its own checks waits for a review and says what is wrong.
"""

from __future__ import annotations

import difflib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import whence
from generations_quiz import errors, sentences
from whence.generations import ProblemGenerationTrace, SentenceGenerationTrace, record_artifact

if TYPE_CHECKING:
    from whence.generations import LLMResponse, OpenAIClient

STATEMENTS = 3
MOST_CHANGED_WORDS = 4
TRUE_PROMPT = """You write quizzes about Python. This is a sentence of its language reference:

> {sentence}

Repeat it word for word as a true statement. Answer with JSON and nothing else:
{{"statement": "...", "error_type": ""}}"""
FALSE_PROMPT = """You write quizzes about Python. This is a sentence of its language reference:

> {sentence}

Make it wrong by exactly one error of the kind {kind}: {meaning}.{fallback} Answer with JSON and
nothing else: {{"statement": "...", "error_type": "{kind}"}}"""
FALLBACKS = {
    "1.0": "",
    "2.0": (
        " If no word of it allows that, use another kind of: " + ", ".join(errors.MEANINGS) + "."
    ),
}
"""What each version of the prompt says about sentences that a kind does not apply to."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a quiz."""

    text: str
    is_true: bool
    error_type: str | None
    issue: str | None
    """What the check found; null if it passed."""


@dataclass(frozen=True, slots=True)
class Quiz:
    """Three statements, one of them true."""

    id: str
    topic: str
    statements: tuple[Statement, ...]

    @property
    def issues(self) -> list[str]:
        """What is wrong with it."""
        return [statement.issue for statement in self.statements if statement.issue]


async def make(client: OpenAIClient, model: str, topic: str, version: str) -> Quiz:
    """Return a quiz about a topic; its trace is recorded under its id."""
    trace = ProblemGenerationTrace(model, version, 0.0)
    quiz_id = f"quiz-{topic}-{version}"
    started_ns = time.perf_counter_ns()
    known = sentences.load(topic)
    true_place = len(topic) % STATEMENTS
    kinds = list(errors.MEANINGS)
    statements = list[Statement]()
    async with whence.run("make a quiz", project="generations_quiz", tags=[f"prompt {version}"]):
        for place in range(STATEMENTS):
            sentence, kind = known[place], kinds[(place + len(topic)) % len(kinds)]
            is_true = place == true_place
            prompt = (
                TRUE_PROMPT.format(sentence=sentence)
                if is_true
                else FALSE_PROMPT.format(
                    sentence=sentence,
                    kind=kind,
                    meaning=errors.MEANINGS[kind],
                    fallback=FALLBACKS[version],
                )
            )
            answer = await client.handle_request_with_metadata(
                prompt, model, "statement", api="responses", prompt_version=version
            )
            statement = check(answer, sentence, is_true=is_true)
            statements.append(statement)
            trace.add_sentence_trace(
                SentenceGenerationTrace(place, is_true, statement.error_type, answer, prompt)
            )
        trace.total_generation_time_ms = (time.perf_counter_ns() - started_ns) / 1e6
        quiz = Quiz(quiz_id, topic, tuple(statements))
        if quiz.issues:
            trace.quality_status, trace.quality_issues = "pending_review", quiz.issues
        record_artifact(
            quiz_id,
            trace,
            title=f"a quiz about {topic}",
            value=[statement.text for statement in statements],
            kind="quiz",
        )
    return quiz


def check(answer: LLMResponse, sentence: str, *, is_true: bool) -> Statement:
    """Return the statement that an answer gives, with what is wrong with it."""
    try:
        said = json.loads(answer.content)
        text, kind = str(said["statement"]), str(said.get("error_type") or "") or None
    except (ValueError, LookupError, TypeError, AttributeError):
        return Statement("", is_true, None, "no statement")
    changed = _changed_words(sentence, text)
    issue = None
    if is_true and changed:
        issue = "true statement was changed"
    elif not is_true and not changed:
        issue = "false statement is still true"
    elif changed > MOST_CHANGED_WORDS:
        issue = "more than one error"
    return Statement(text, is_true, kind, issue)


def _changed_words(before: str, after: str) -> int:
    """Return how many words were put in, taken out or replaced."""
    matcher = difflib.SequenceMatcher(None, before.split(), after.split(), autojunk=False)
    return sum(
        max(a1 - a0, b1 - b0) for tag, a0, a1, b0, b1 in matcher.get_opcodes() if tag != "equal"
    )
