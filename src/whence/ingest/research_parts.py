"""The parts of a research trace and the fields of records they are kept in, both ways.

A research trace (document 5, pipeline observability) writes an option not taken as `name (0.60)`, a
piece of evidence as `{url, title, scores}`, a verdict as a list of principles in a stage's outputs.
Here each such part becomes the fields of a record, and each way back gives exactly the part: what
the fields cannot hold is kept beside them under `stated`. No record is made and nothing is read or
written: who records live, who imports files and who renders files share these functions, so that
all three agree.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

PASSES = 2.0
"""A principle that scores less is a gap."""
FULL = 3.0
"""A principle that scores this is a strength."""
SCALE = "0-3"
OVERALL = "overall"
"""Name of the score that judges a report as a whole."""
GATE = "quality_gate"
"""Name of the stage whose outputs are the verdict."""
MAX_ROUNDS = 1_000_000
"""A number of a round above this is none."""
ITERATION = "quality gate iteration"
"""Message of the event that holds a round of a retry loop."""
STATED = "stated"

_ALTERNATIVE = re.compile(r"(.*?)\s*\(([\d.]+)\)", re.DOTALL)
_SHOWN_CHARS = 200
_LIFTED = ("model", "token_usage", "cost_usd")
LIFTED_KEYS = frozenset(
    {*_LIFTED, "principle_scores", "overall_score", "passing", "threshold", "gaps"}
)
"""Keys that a stage may have beside its outputs, for what could stand in them."""


def decode(content: bytes) -> Any:
    """Return a document from its bytes; also one with the NaN that Python's `json` writes.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It nests too deep.
    """
    try:
        return msgspec.json.decode(content)
    except ValueError:
        return json.loads(content)


def option_of(alternative: Any) -> dict[str, Any]:
    """Return an alternative as the fields of an option: `name`, `probability`, `stated`.

    `exploring (0.10)` is the option `exploring` with the probability 0.1.
    """
    name, probability = _named(alternative)
    option: dict[str, Any] = {"name": name, "chosen": False}
    if probability is not None:
        option["probability"] = probability
    if alternative != _alternative(name, probability):
        option[STATED] = alternative
    return option


def _named(alternative: Any) -> tuple[str, float | None]:
    if not isinstance(alternative, str):
        return str(alternative)[:_SHOWN_CHARS], None
    match = _ALTERNATIVE.fullmatch(alternative)
    number = None if match is None else find_number(match[2])
    if match is None or number is None or not 0 <= number <= 1:
        return alternative, None
    return match[1], number


def _alternative(name: str, probability: float | None) -> str:
    return name if probability is None else f"{name} ({probability:.2f})"


def alternative_of(option: Mapping[str, Any]) -> Any:
    """Return the alternative that an option stands for: `name (0.60)`, or what was stated."""
    attributes: Mapping[str, Any] = option.get("attributes") or {}
    if STATED in attributes:
        return attributes[STATED]
    number = option.get("probability")
    return _alternative(option["name"], option.get("score") if number is None else number)


def evidence_items(evidence: Mapping[str, Any], name: str) -> list[Any] | None:
    """Return `kept` or `filtered_out` of an evidence; None if it is not a list of items."""
    items = evidence.get(name)
    return list(cast("Sequence[Any]", items)) if isinstance(items, (list, tuple)) else None


def source_of(item: Any, *, kept: bool) -> dict[str, Any]:
    """Return a piece of evidence as the fields of a source.

    Keys that a source has no field for are under `attributes`, as `item`, or as `stated` if the
    fields would not give the item back.
    """
    given: dict[str, Any] = dict(cast("Mapping[str, Any]", item)) if _is_mapping(item) else {}
    url, title = given.get("url"), given.get("title")
    scores, reason = given.get("scores"), given.get("reason")
    key = url if isinstance(url, str) else str(title or given.get("id") or item)[:_SHOWN_CHARS]
    named = given.get("source")
    fields: dict[str, Any] = {
        "source_type": named if isinstance(named, str) and named else _sort_of(key),
        "source_key": key,
        "title": title if isinstance(title, str) else None,
        "scores": dict(cast("Mapping[str, Any]", scores)) if _is_mapping(scores) else None,
        "reason": reason if isinstance(reason, str) else None,
        "kept": kept,
    }
    named_scores: Mapping[str, Any] = fields["scores"] or {}
    composite = find_number(named_scores.get("composite"))
    fields["quality"] = composite if composite is not None and 0 <= composite <= 1 else None
    others = {k: v for k, v in given.items() if k not in {"url", "title", "scores", "reason"}}
    fields["attributes"] = {"item": others} if others else {}
    if item != item_of(fields):
        fields["attributes"] = {STATED: item}
    return fields


def item_of(fields: Mapping[str, Any]) -> Any:
    """Return the piece of evidence that the fields of a source stand for."""
    attributes: Mapping[str, Any] = fields.get("attributes") or {}
    if STATED in attributes:
        return attributes[STATED]
    item: dict[str, Any] = {"url": fields["source_key"]}
    item |= {k: fields[k] for k in ("title", "reason", "scores") if fields.get(k)}
    others: Mapping[str, Any] = attributes.get("item") or {}
    return {**item, **others}


def _sort_of(key: str) -> str:
    return "web" if key.startswith(("http://", "https://")) else "evidence"


def principles_of(outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the verdict on each principle as mappings with at least `id` and `score`.

    They are stated as such a list or as `{id: score}`; an entry without an id is left out.
    """
    stated = outputs.get("principle_scores")
    if _is_mapping(stated):
        pairs = cast("Mapping[Any, Any]", stated).items()
        return [{"id": str(name), "score": score} for name, score in pairs]
    if not isinstance(stated, (list, tuple)):
        return []
    entries = cast("Sequence[Any]", stated)
    items = [dict(cast("Mapping[str, Any]", one)) for one in entries if _is_mapping(one)]
    return [item | {"score": item.get("score")} for item in items if item.get("id") is not None]


def gap_ids(outputs: Mapping[str, Any]) -> list[str]:
    """Return the ids of the principles that failed: those named so, else those below 2.

    They are named under `gap_principles` or `gaps`, as ids or as mappings with an `id`.
    """
    for name in ("gap_principles", "gaps"):
        stated = outputs.get(name)
        if isinstance(stated, (list, tuple)):
            ids = [_id_of(one) for one in cast("Sequence[Any]", stated)]
            return [one for one in ids if one]
    scored = [(str(one["id"]), find_number(one["score"])) for one in principles_of(outputs)]
    return [name for name, number in scored if number is not None and number < PASSES]


def strength_ids(outputs: Mapping[str, Any]) -> list[str]:
    """Return the ids of the principles with the full score."""
    return [str(one["id"]) for one in principles_of(outputs) if find_number(one["score"]) == FULL]


def scores_of(stage: str, outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the verdict in a stage's outputs as the fields of scores: each principle, the whole.

    A principle that is named a gap and has no score is a score without a value.
    """
    if not _has_verdict(stage, outputs):
        return []
    gaps = dict.fromkeys(gap_ids(outputs))
    made: list[dict[str, Any]] = []
    for one in principles_of(outputs):
        name, number = str(one["id"]), find_number(one["score"])
        failed = name in gaps
        gaps.pop(name, None)
        title, feedback = one.get("name"), one.get("feedback")
        made.append(
            {
                "name": name,
                "value": number,
                "threshold": PASSES,
                "scale": SCALE,
                "passed": not failed if number is not None or failed else None,
                "feedback": feedback if isinstance(feedback, str) else "",
                "title": title if isinstance(title, str) else None,
            }
        )
    made += [{"name": name, "value": None, "scale": SCALE, "passed": False} for name in gaps]
    overall = find_number(outputs.get("overall_score"))
    passed = outputs.get("passed", outputs.get("passing")) if stage == GATE else None
    if overall is not None or isinstance(passed, bool):
        made.append(
            {
                "name": OVERALL,
                "value": overall,
                "threshold": find_number(outputs.get("threshold")),
                "scale": SCALE,
                "passed": passed if isinstance(passed, bool) else None,
            }
        )
    return made


def _has_verdict(stage: str, outputs: Mapping[str, Any]) -> bool:
    """Whether outputs judge a report; those of other stages than the gate may have gaps of theirs.

    Returns:
        True for scores of principles or an overall score, and for any word of the gate.
    """
    if "overall_score" in outputs or principles_of(outputs):
        return True
    passed = outputs.get("passing", outputs.get("passed"))
    return stage == GATE and (isinstance(passed, bool) or bool(gap_ids(outputs)))


def failed_round(iteration: Mapping[str, Any]) -> bool:
    """Whether a round of a retry loop failed the gate.

    Returns:
        True if `passed` is false or, where that is not stated, `quality_gate_result` is `FAIL`.
    """
    if "passed" in iteration:
        return not iteration["passed"]
    return str(iteration.get("quality_gate_result", "")).upper() == "FAIL"


def round_number(stated: Any, counted: int) -> int:
    """Return the number of a round of a retry loop: as stated if that is one, else as counted."""
    number = find_number(stated)
    return counted if number is None or not 0 <= number <= MAX_ROUNDS else int(number)


def generation_of(
    stage: str, outputs: Mapping[str, Any], prompts: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the model call that a stage states as the fields of a generation; None if none is.

    A stage states one by its prompts, or by `model`, `token_usage` or `cost_usd` in its outputs.
    """
    roles = (("system", "system_prompt"), ("user", "user_message"))
    messages = [
        {"role": role, "content": prompts[name]} for role, name in roles if prompts.get(name)
    ]
    messages += [
        {"role": name, "content": text}
        for name, text in prompts.items()
        if text and name not in {"system_prompt", "user_message", "model"}
    ]
    model, usage = outputs.get("model") or prompts.get("model"), outputs.get("token_usage")
    cost_usd = find_number(outputs.get("cost_usd"))
    if not messages and not model and not usage and cost_usd is None:
        return None
    provider = outputs.get("provider")
    return {
        "name": stage,
        "provider": str(provider) if provider else None,
        "model": str(model) if model else None,
        "messages": messages or None,
        "usage": usage if _is_mapping(usage) else None,
        "cost_usd": cost_usd,
    }


def lifted(stage: str, outputs: Mapping[str, Any], prompts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a stage's outputs say of its model call and verdict, as keys of the stage.

    These are the keys that document 5 shows beside `outputs`: `model`, `token_usage`, `cost_usd`;
    `principle_scores`, `overall_score`, `passing`, `threshold`, `gaps`, `strengths`.
    """
    made = {name: outputs[name] for name in _LIFTED if name in outputs}
    if "model" not in made and prompts.get("model"):
        made["model"] = prompts["model"]
    if not _has_verdict(stage, outputs):
        return made
    passing = outputs.get("passing", outputs.get("passed"))
    principles = made["principle_scores"] = principles_of(outputs)
    made |= {name: outputs[name] for name in ("overall_score",) if name in outputs}
    if isinstance(passing, bool):
        made["passing"] = passing
    made |= {name: outputs[name] for name in ("threshold",) if name in outputs}
    made["gaps"] = _verdicts(principles, gap_ids(outputs))
    made["strengths"] = _verdicts(principles, strength_ids(outputs))
    return made


def _verdicts(principles: Sequence[Mapping[str, Any]], ids: Sequence[str]) -> list[dict[str, Any]]:
    known = {str(one["id"]): one for one in principles}
    return [
        {"id": name, **{k: v for k, v in known.get(name, {}).items() if k in {"score", "feedback"}}}
        for name in ids
    ]


def find_number(value: Any) -> float | None:
    """Return a finite number, also one written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _id_of(gap: Any) -> str:
    if _is_mapping(gap):
        gap = cast("Mapping[str, Any]", gap).get("id")
    return "" if gap is None else str(gap)
