"""Answers, sentences and problems for the tests of generation traces, and strategies for them."""

from __future__ import annotations

from hypothesis import strategies as st

from whence.generations import LLMResponse, ProblemGenerationTrace, SentenceGenerationTrace

COUNTS = st.none() | st.integers(0, 10**9)
TEXTS = st.text(max_size=30)
RESPONSES = st.builds(
    LLMResponse,
    content=TEXTS,
    model=TEXTS,
    response_id=st.none() | TEXTS,
    duration_ms=st.floats(0, 1e9),
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
    total_tokens=COUNTS,
    reasoning_tokens=COUNTS,
    reasoning_content=st.none() | TEXTS,
    prompt_text=st.none() | TEXTS,
)
SENTENCES = st.builds(
    SentenceGenerationTrace,
    st.integers(0, 9),
    st.booleans(),
    st.none() | TEXTS,
    RESPONSES,
    st.none() | TEXTS,
)
PROBLEMS = st.builds(
    ProblemGenerationTrace,
    TEXTS,
    TEXTS,
    st.floats(0, 1e9),
    st.lists(SENTENCES, max_size=4),
    st.sampled_from(["approved", "pending_review", "rejected"]),
    st.lists(TEXTS, max_size=2),
)


def answer(**changes) -> LLMResponse:
    """Return an answer; `changes` replaces what it says."""
    fields = {
        "content": "Oui.",
        "model": "gpt-5-nano",
        "response_id": "resp_1",
        "duration_ms": 1234.5678,
        "prompt_tokens": 150,
        "completion_tokens": 75,
        "total_tokens": 225,
    }
    return LLMResponse(**{**fields, **changes})


def problem(*responses: LLMResponse, version: str = "2.0", **fields) -> ProblemGenerationTrace:
    """Return a problem of one sentence for each answer, the first of which is correct."""
    made = ProblemGenerationTrace("gpt-5-nano", version, 1500.5, **fields)
    for place, response in enumerate(responses or (answer(),)):
        error = None if place == 0 else "wrong_auxiliary"
        made.add_sentence_trace(SentenceGenerationTrace(place, place == 0, error, response))
    return made
