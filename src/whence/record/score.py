"""Judgements and results: what came out, how good it was, and what people said about it later."""

from __future__ import annotations

from typing import Any

from whence.record.base import Record


class Score(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="score"):
    """A judgement on a run, span, decision or output."""

    name: str
    """What was judged: `META-12`."""
    value: float | None = None
    """The result; null when a judge gave no number."""
    target: str | None = None
    """Id of what was judged; null for the span or run the record stands in."""
    scale: str | None = None
    """What the values mean: `0-3`."""
    threshold: float | None = None
    """From which value on it passes."""
    passed: bool | None = None
    """Whether it passed: `value >= threshold` unless the judge said otherwise."""
    feedback: str = ""
    """What the judge said."""
    by: str | None = None
    """Who judged: a rule, a model, a person."""
    iteration: int | None = None
    """Which round of a retry loop it belongs to, from 1."""
    attributes: dict[str, Any] | None = None
    """Whatever else the user said about it."""


class Output(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="output"):
    """Something the run produced: an insight, a report, an image, a file."""

    output_id: str
    """The user's id for it. `why` and every look-up accept it."""
    output_kind: str = "artifact"
    """What it is: `insight`, `report`, `image`, `file`, `entity`."""
    summary: str = ""
    """One sentence for people."""
    value: Any = None
    """The thing itself, or a reference to its blob."""
    path: str | None = None
    """Where it was written."""
    confidence: float | None = None
    """How sure the pipeline is of it, 0 to 1."""
    quality: float | None = None
    """How good it is held to be, 0 to 1."""
    validation: dict[str, Any] | None = None
    """`passed` and `errors` of a validation."""
    digest: str | None = None
    """SHA-256 of the content, hex."""
    attributes: dict[str, Any] | None = None
    """Whatever else the user said about it."""


class Annotation(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="annotation"):
    """A remark made on something, now or long after. It never edits what it annotates."""

    target: str
    """Id of the run, span, record or output."""
    flag: str | None = None
    """Why it should be reviewed."""
    status: str | None = None
    """Where the review stands: `pending_review`, `approved`, `rejected`."""
    note: str | None = None
    """Free text, markdown."""
    by: str | None = None
    """Who says so."""
    attributes: dict[str, Any] | None = None
    """Whatever else was said."""
