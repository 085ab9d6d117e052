"""Traces as training data for a judge: what was asked and answered, and what people held of it.

Comes in: an open reader and a file. Goes out: one JSON object a line for each artifact that was
judged, and an `ExportReport` of what was left out and why. Only a review makes a label: what a
pipeline said of its own work when it was recorded is no judgement, unless it is asked for. The
split into training and test data follows from the artifact's id alone, so that a later export never
moves an example from one to the other.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from whence.dialects.generations import stored
from whence.dialects.generations.traces import APPROVED, REJECTED
from whence.errors import ConfigError
from whence.log.replacing import writing
from whence.query import restore, tables

if TYPE_CHECKING:
    import os

    from whence.dialects.generations.review import State
    from whence.dialects.generations.stored import StoredTrace
    from whence.query.reader import Reader

Form = Literal["plain", "chat"]
FORMS: tuple[Form, ...] = ("plain", "chat")
LABELS = {APPROVED: "good", REJECTED: "bad"}
"""Quality status to what a judge is to say."""
JUDGE_PROMPT = (
    "You judge what a language model made. You are given the prompts it got, its reasoning where "
    "it is known, and its answers. Answer with one JSON object: `verdict` is good or bad, `issues` "
    "is a list of what is wrong."
)
_BUCKETS = 10_000


class ExportReport(msgspec.Struct, frozen=True):
    """What was written, and what was not."""

    path: str
    """The file."""
    examples: int
    """How many lines it has."""
    good: int
    """How many of them are approved."""
    bad: int
    """How many are rejected."""
    train: int
    """How many are for training."""
    test: int
    """How many are held out."""
    unjudged: int
    """Artifacts that nobody judged, or that wait for it."""
    without_answer: int
    """Artifacts whose model calls are gone, or had no text."""


def export_training(
    reader: Reader,
    path: str | os.PathLike[str],
    *,
    form: Form = "plain",
    filter: str = "",  # noqa: A002 - the word of the public API
    holdout: float = 0.2,
    recorded_labels: bool = False,
) -> ExportReport:
    """Return what became of every artifact, after writing what was judged as JSON Lines.

    Args:
        reader: An open reader.
        path: The file; one that exists is replaced when all is written.
        form: `plain`: one object with everything by name. `chat`: `messages` as the fine-tuning of
            chat models takes them, the last of which is the verdict.
        filter: Which artifacts, in the filter language of outputs.
        holdout: Share of the examples that are held out for testing, 0 to 1.
        recorded_labels: Take the status that an artifact was recorded with where nobody reviewed
            it.

    Raises:
        ConfigError: The form is none, or the share is not between 0 and 1.
        FilterError: The filter is wrong.
        OSError: The file cannot be written.
    """
    if form not in FORMS:
        raise ConfigError(f"form is {form!r}; it has to be one of {', '.join(FORMS)}")
    if not 0 <= holdout <= 1:
        raise ConfigError(f"holdout is {holdout!r}; it has to be between 0 and 1")
    where = tables.predicate("outputs", filter)
    counts: dict[str, int] = dict.fromkeys(
        ("good", "bad", "train", "test", "unjudged", "without_answer"), 0
    )
    whole = Path(path)
    with writing(whole) as file:
        for found in stored.iter_traces(reader, where):
            label = _label(found.state, recorded_labels=recorded_labels)
            if label is None:
                counts["unjudged"] += 1
                continue
            example = _example(found, label)
            if not any(unit["response"] for unit in example["units"]):
                counts["without_answer"] += 1
                continue
            split = "test" if is_held_out(found.id, holdout) else "train"
            counts[split] += 1
            counts[label] += 1
            line = {**example, "split": split}
            written = line if form == "plain" else _chat(line)
            file.write(msgspec.json.encode(restore.to_json(written)) + b"\n")
    return ExportReport(path=str(whole), examples=counts["good"] + counts["bad"], **counts)


def is_held_out(artifact_id: str, share: float) -> bool:
    """Whether an artifact belongs to the share that is held out: a matter of its id alone.

    Returns:
        True for about that share of all ids.
    """
    digest = hashlib.sha256(artifact_id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) % _BUCKETS < share * _BUCKETS


def _label(state: State, *, recorded_labels: bool) -> str | None:
    return LABELS.get(state.status or "") if recorded_labels or not state.is_recorded else None


def _example(found: StoredTrace, label: str) -> dict[str, Any]:
    said = [None if call is None else stored.response_of(call) for call in found.generations]
    return {
        "id": found.id,
        "kind": found.kind,
        "model": found.trace.get("model"),
        "prompt_version": found.trace.get("prompt_version"),
        "label": label,
        "issues": found.state.issues,
        "notes": [remark.note for remark in found.remarks if remark.note],
        "judged_by": found.state.by,
        "units": [
            {
                "prompt": unit.get("prompt_text"),
                "reasoning": unit.get("reasoning_content"),
                "response": None if answer is None else answer.content or None,
                "error_type": unit.get("error_type"),
            }
            for unit, answer in zip(found.units, said, strict=False)
        ],
    }


def _chat(example: dict[str, Any]) -> dict[str, Any]:
    parts = [
        f"## {title}\n{unit[title]}"
        for unit in example["units"]
        for title in ("prompt", "reasoning", "response")
        if unit[title]
    ]
    verdict = {"verdict": example["label"], "issues": example["issues"]}
    return {
        "messages": [
            {"role": "system", "content": JUDGE_PROMPT},
            {"role": "user", "content": "\n\n".join(parts)},
            {"role": "assistant", "content": msgspec.json.encode(verdict).decode()},
        ],
        "metadata": {"id": example["id"], "split": example["split"]},
    }
