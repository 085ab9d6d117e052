"""What one answer of a model was, and what a thing made of several answers was made of.

Comes in: what a client learned from a provider. Goes out: the JSON that is kept beside the thing,
key by key as document 4 (generation trace) has it. `LLMResponse` is one answer, `UnitTrace` one
part of an artifact with the answer it stems from, `ArtifactTrace` the whole; sentences and problems
are the unit and the artifact of that document. Nothing here records or asks anything.

A count that nobody stated is None and stays so in sums; what was stated as 0 is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

DIALECT = "generations"
"""What runs and records of this dialect say they are."""

APPROVED, PENDING_REVIEW, REJECTED = "approved", "pending_review", "rejected"
QUALITY_STATUSES = (APPROVED, PENDING_REVIEW, REJECTED)
"""What the quality of an artifact may be held to be (document 4, generation trace)."""

DEFAULT_PROMPT_VERSION = "1.0"
"""The version of a prompt that nobody gave one."""

_MS_DIGITS = 2


@dataclass(frozen=True)
class LLMResponse:
    """One answer of a model with everything the provider said about it."""

    content: str
    """The answer, without a markdown fence around it."""
    model: str
    """The model that answered."""
    response_id: str | None
    """The provider's id of the answer."""
    duration_ms: float | None
    """Time from the request to the answer, in milliseconds; null where nobody measured it."""
    prompt_tokens: int | None
    """Input tokens as stated."""
    completion_tokens: int | None
    """Output tokens as stated; OpenAI counts reasoning into them, Gemini does not."""
    total_tokens: int | None
    """All tokens as stated."""
    reasoning_tokens: int | None = None
    """Tokens spent on reasoning, as stated."""
    reasoning_content: str | None = None
    """The text of the reasoning, where the provider gives it."""
    raw_content: str | None = None
    """The answer as it came."""
    prompt_text: str | None = None
    """The prompt that was sent."""
    finish_reason: str | None = None
    """Why the model stopped, in the provider's word."""
    generation_id: str | None = field(default=None, repr=False, compare=False)
    """Id of the record of this answer, where one was written."""

    def to_trace_dict(
        self, prompt_version: str = DEFAULT_PROMPT_VERSION, *, prompt_text: str | None = None
    ) -> dict[str, Any]:
        """Return the flat trace of a thing that one answer made, as JSON-ready data.

        Reasoning and prompt are left out where there are none; 0 reasoning tokens are kept.

        Args:
            prompt_version: Version of the prompt.
            prompt_text: The prompt, where it is another than the answer's own.
        """
        trace: dict[str, Any] = {
            "model": self.model,
            "prompt_version": prompt_version,
            "response_id": self.response_id,
            "generation_time_ms": _rounded(self.duration_ms),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "quality_status": APPROVED,
            "quality_issues": [],
        }
        optional = {
            "reasoning_tokens": self.reasoning_tokens,
            "reasoning_content": self.reasoning_content,
            "prompt_text": self.prompt_text if prompt_text is None else prompt_text,
        }
        return trace | {name: value for name, value in optional.items() if value is not None}


@dataclass(frozen=True)
class UnitTrace:
    """One part of an artifact and the answer it stems from.

    For units with a name of their own, derive a class and set `unit`.
    """

    unit: ClassVar[str] = "unit"
    """What a unit is called; its place is under the key `<unit>_index`."""

    index: int
    """Its place in the artifact, from 0."""
    llm_response: LLMResponse
    """The answer it stems from."""
    prompt_text: str | None = None
    """The prompt, where it is another than the answer's own."""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """What else is to be known of it, under keys of its own."""

    def to_dict(self) -> dict[str, Any]:
        """Return the unit as JSON-ready data; every key is there, also where its value is null."""
        answer = self.llm_response
        place = {f"{self.unit}_index": self.index}
        said = {
            "model": answer.model,
            "response_id": answer.response_id,
            "generation_time_ms": _rounded(answer.duration_ms),
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "total_tokens": answer.total_tokens,
            "reasoning_tokens": answer.reasoning_tokens,
            "reasoning_content": answer.reasoning_content,
            "prompt_text": answer.prompt_text if self.prompt_text is None else self.prompt_text,
        }
        own = {key: value for key, value in self.facts.items() if key not in said | place}
        return place | own | said


class SentenceGenerationTrace(UnitTrace):
    """One sentence of a problem and the answer it stems from (document 4, generation trace)."""

    unit = "sentence"

    def __init__(
        self,
        sentence_index: int,
        is_correct: bool | None,  # noqa: FBT001 - the order of arguments is the document's
        error_type: str | None,
        llm_response: LLMResponse,
        prompt_text: str | None = None,
    ) -> None:
        facts = {"is_correct": is_correct, "error_type": error_type}
        super().__init__(sentence_index, llm_response, prompt_text, facts)

    @property
    def sentence_index(self) -> int:
        """Its place in the problem, from 0."""
        return self.index

    @property
    def is_correct(self) -> bool | None:
        """Whether the sentence is meant to be correct."""
        return self.facts["is_correct"]

    @property
    def error_type(self) -> str | None:
        """Which error it is meant to have, such as `wrong_conjugation`."""
        return self.facts["error_type"]


@dataclass
class ArtifactTrace:
    """What a thing made of several answers was made of.

    It grows as the units are made, and its quality may be set until it is kept. For artifacts with
    a name of their own, derive a class and set `kind` and `units_key`.
    """

    kind: ClassVar[str] = "artifact"
    """What the artifact is called."""
    units_key: ClassVar[str] = "units"
    """The key its units are under."""

    model: str
    """The model that was asked."""
    prompt_version: str
    """Version of the prompts."""
    total_generation_time_ms: float | None
    """How long it took to make, in milliseconds; null where nobody measured it."""
    units: list[UnitTrace] = field(default_factory=list[UnitTrace])
    """Its parts, in order."""
    quality_status: str = APPROVED
    """One of `QUALITY_STATUSES`."""
    quality_issues: list[str] = field(default_factory=list[str])
    """What is wrong with it, in words of your own."""

    def add(self, unit: UnitTrace) -> None:
        """Append a unit."""
        self.units.append(unit)

    def to_dict(self) -> dict[str, Any]:
        """Return the nested trace as JSON-ready data.

        Sums are over the counts that were stated; where no unit states one, the sum is null. The
        total is prompt and completion; reasoning is not added again.
        """
        answers = [unit.llm_response for unit in self.units]
        sent = _sum([answer.prompt_tokens for answer in answers])
        received = _sum([answer.completion_tokens for answer in answers])
        return {
            "model": self.model,
            "prompt_version": self.prompt_version,
            "total_generation_time_ms": _rounded(self.total_generation_time_ms),
            "total_prompt_tokens": sent,
            "total_completion_tokens": received,
            "total_tokens": _sum([sent, received]),
            "total_reasoning_tokens": _sum([a.reasoning_tokens for a in answers]) or None,
            self.units_key: [unit.to_dict() for unit in self.units],
            "quality_status": self.quality_status,
            "quality_issues": list(self.quality_issues),
        }


class ProblemGenerationTrace(ArtifactTrace):
    """What a problem of several sentences was made of (document 4, generation trace)."""

    kind = "problem"
    units_key = "sentences"

    def __init__(  # noqa: PLR0917 - the order of arguments is the document's
        self,
        model: str,
        prompt_version: str,
        total_generation_time_ms: float | None,
        sentence_traces: Sequence[UnitTrace] | None = None,
        quality_status: str = APPROVED,
        quality_issues: Sequence[str] | None = None,
    ) -> None:
        super().__init__(
            model,
            prompt_version,
            total_generation_time_ms,
            list(sentence_traces or ()),
            quality_status,
            list(quality_issues or ()),
        )

    @property
    def sentence_traces(self) -> list[UnitTrace]:
        """Its sentences, in order."""
        return self.units

    @sentence_traces.setter
    def sentence_traces(self, traces: list[UnitTrace]) -> None:
        self.units = traces

    @property
    def sentence_count(self) -> int:
        """How many sentences there are."""
        return len(self.units)

    def add_sentence_trace(self, trace: SentenceGenerationTrace) -> None:
        """Append a sentence."""
        self.add(trace)


def _rounded(duration_ms: float | None) -> float | None:
    return None if duration_ms is None else round(duration_ms, _MS_DIGITS)


def _sum(counts: Sequence[int | None]) -> int | None:
    """Return the sum of the counts that are known.

    None if there are counts and none is known; nothing sums to 0.
    """
    known = [count for count in counts if count is not None]
    return sum(known) if known or not counts else None
