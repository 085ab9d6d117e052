"""Writes what a thing was made of into the log: an output, and a link from each answer to it.

Comes in: the trace of an artifact, or the answer that made it, and the user's own id. Goes out: one
output record whose attributes are the trace without its long texts, which stay with the model calls
they belong to. Answers that no client of ours recorded get their generation record here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.capture.api import current_span, run
from whence.capture.context import current_scope
from whence.capture.verbs import Verbs
from whence.dialects.generations.traces import (
    APPROVED,
    DEFAULT_PROMPT_VERSION,
    DIALECT,
    ArtifactTrace,
    LLMResponse,
    UnitTrace,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.capture.noop import NoOp
    from whence.capture.scopes import Scope

TEXTS = ("reasoning_content", "prompt_text")
"""Keys of a trace whose values are kept with the model call and nowhere else."""
FLAT_KIND = "artifact"


def record_artifact(
    artifact_id: str,
    trace: ArtifactTrace | LLMResponse,
    *,
    title: str = "",
    value: Any = None,
    kind: str | None = None,
    project: str | None = None,
    prompt_version: str = DEFAULT_PROMPT_VERSION,
    quality_status: str = APPROVED,
    quality_issues: Sequence[str] = (),
) -> str:
    """Record what a thing was made of, and return the id of the record.

    It is recorded in the current run or span, outside any in a run of its own. Every look-up of
    whence accepts `artifact_id` from then on.

    Args:
        artifact_id: Your own id of the thing.
        trace: What it was made of; one answer, if that made it alone.
        title: What a person would call it, on one line.
        value: The thing itself.
        kind: What sort of thing it is; the trace's own word if None.
        project: The project of a run of its own.
        prompt_version: Version of the prompt of a single answer; a trace says its own.
        quality_status: How good the thing is held to be, of a single answer; a trace says its own.
        quality_issues: What is wrong with it, of a single answer; a trace says its own.

    Returns:
        The id of the output record; empty where nothing is recorded.
    """
    word = kind or (trace.kind if isinstance(trace, ArtifactTrace) else FLAT_KIND)

    def write(scope: Scope | NoOp) -> str:
        if not scope.recording:
            return ""
        attributes: dict[str, Any]
        if isinstance(trace, ArtifactTrace):
            attributes = _nested(scope, trace)
        else:
            attributes = {
                "generation_trace": without_texts(trace.to_trace_dict(prompt_version))
                | {"quality_status": quality_status, "quality_issues": list(quality_issues)},
                "generations": [_answer_id(scope, trace, prompt_version)],
            }
        record = scope.output(
            artifact_id, kind=word, summary=title, value=value, dialect=DIALECT, **attributes
        )
        for answer in filter(None, dict.fromkeys(attributes["generations"])):
            scope.link("generated", artifact_id, source=answer)
        return record

    if current_scope.get() is not None:
        return write(current_span())
    with run(word, kind=word, project=project, dialect=DIALECT) as own:
        return write(own)


def _nested(scope: Scope | NoOp, trace: ArtifactTrace) -> dict[str, Any]:
    """Return the attributes of the output; `prompts` are those that no answer was recorded with."""
    plain = trace.to_dict()
    plain[trace.units_key] = [without_texts(unit) for unit in plain[trace.units_key]]
    attributes: dict[str, Any] = {
        "generation_trace": plain,
        "units_key": trace.units_key,
        "generations": [_unit_answer_id(scope, unit, trace.prompt_version) for unit in trace.units],
    }
    prompts = {
        str(place): unit.prompt_text
        for place, unit in enumerate(trace.units)
        if unit.prompt_text is not None
        and unit.prompt_text != unit.llm_response.prompt_text
        and not _is_written_with_prompt(unit)
    }
    return {**attributes, "prompts": prompts} if prompts else attributes


def without_texts(said: dict[str, Any]) -> dict[str, Any]:
    """Return a trace with null in place of its long texts."""
    return {key: None if key in TEXTS else value for key, value in said.items()}


def _is_written_with_prompt(unit: UnitTrace) -> bool:
    """Whether the record of the unit's answer is written with the unit's prompt, having no own."""
    response = unit.llm_response
    return response.prompt_text is None and response.generation_id is None


def _unit_answer_id(scope: Scope | NoOp, unit: UnitTrace, prompt_version: str) -> str:
    own = unit.prompt_text if _is_written_with_prompt(unit) else None
    return _answer_id(scope, unit.llm_response, prompt_version, own)


def _answer_id(
    scope: Scope | NoOp,
    response: LLMResponse,
    prompt_version: str,
    prompt_text: str | None = None,
) -> str:
    """Return the id of the answer's record, which is written now if there is none."""
    if response.generation_id:
        return response.generation_id
    prompt = response.prompt_text if prompt_text is None else prompt_text
    fields: dict[str, Any] = {
        "model": response.model,
        "response_model": response.model,
        "operation": "chat",
        "response_id": response.response_id,
        "prompt_version": prompt_version,
        "messages": None if prompt is None else [{"role": "user", "content": prompt}],
        "output": response.content if response.raw_content is None else response.raw_content,
        "usage": usage_of(response),
        "reasoning": response.reasoning_content,
        "finish_reason": response.finish_reason,
        "duration_ms": response.duration_ms,
        "dialect": DIALECT,
    }
    # Not the method of a span, which would take the answer for the call that the span stands for.
    return Verbs.record_generation(scope, **fields) if isinstance(scope, Verbs) else ""


def usage_of(response: LLMResponse) -> dict[str, Any] | None:
    """Return the usage of an answer in buckets, with what was stated; None where nothing was.

    OpenAI counts reasoning into the output tokens, Gemini beside them: the total says which, where
    one is stated (document 4, generation trace).
    """
    stated = {
        "prompt_tokens": response.prompt_tokens,
        "completion_tokens": response.completion_tokens,
        "total_tokens": response.total_tokens,
        "reasoning_tokens": response.reasoning_tokens,
    }
    stated = {name: count for name, count in stated.items() if count is not None}
    if not stated:
        return None
    sent, received = response.prompt_tokens, response.completion_tokens
    total, reasoning = response.total_tokens, response.reasoning_tokens
    is_beside = (
        None not in {sent, received, total, reasoning}
        and reasoning
        and total == (sent or 0) + (received or 0) + reasoning
    )
    visible = received
    if received is not None and reasoning is not None and not is_beside:
        visible = max(0, received - reasoning)
    buckets = {"input_uncached": sent, "output_visible": visible, "reasoning": reasoning}
    return {**buckets, "stated": stated}
