"""What an activity of a provenance graph was beside a step: a model call, a tool call, a decision.

Comes in: an activity that its format knows as one of these, with what it used and generated. Goes
out: the record of the call or decision, or None. Which prompt, model, answer and option there was
is told by the kinds of the entities and the roles in which they were used.

Source: PROV-AGENT, arXiv 2508.02866 (AIModelInvocation, AgentTool, Prompt, AIModel, ResponseData).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.ingest import loose, stated, usage
from whence.record.decision import Decision, Option
from whence.record.generation import Generation, ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.ingest.graph_order import Fields, Thing, Tie

GENERATION, TOOL, DECISION = "generation", "tool", "decision"
_MODELS = frozenset({"aimodel", "model", "languagemodel"})
_PROMPTS = frozenset({"prompt", "message"})
_REJECTED = "rejected"
_COUNTS = frozenset(name for names in usage.NAMES.values() for name in names)
_OPTIONS = frozenset({"considered", "chosen", "option", _REJECTED})


def call_of(
    thing: Thing,
    used: Sequence[tuple[Tie, Thing]],
    made: Sequence[Thing],
    fields: Fields,
) -> Generation | ToolCall | None:
    """Return the call that an activity was; None if it was none.

    Args:
        thing: The activity.
        used: What it used, each with its tie.
        made: What it generated.
        fields: Envelope, status and length of the record.
    """
    if thing.kind == TOOL:
        given = {one.name: _content(one) for _, one in used}
        answer = _contents(made)
        return ToolCall(**fields, tool_name=thing.name, input=given or None, output=answer)
    if thing.kind != GENERATION:
        return None
    prompts = [_content(one) for tie, one in used if _is_a(tie, one, _PROMPTS)]
    model = next((one.name for tie, one in used if _is_a(tie, one, _MODELS)), None)
    said = {_local(key): _number(value) for key, value in thing.attributes.items()}
    answer = _contents(made)
    return Generation(
        **fields,
        name=thing.name,
        model=model or loose.name(_plain(_said(thing, "model"))),
        provider=loose.name(_plain(_said(thing, "provider"))),
        messages=[{"role": "user", "content": text} for text in prompts] or None,
        output=None if answer is None else {"role": "assistant", "content": answer},
        usage=usage.of_stated(
            {key: n for key, n in said.items() if key in _COUNTS and n is not None}
        ),
        cost_usd=loose.amount(said.get("cost_usd")),
    )


def decision_of(
    thing: Thing,
    used: Sequence[tuple[Tie, Thing]],
    made: Sequence[Thing],
    fields: Fields,
) -> Decision | None:
    """Return the decision that an activity was; None if it was none.

    Args:
        thing: The activity.
        used: What it used, each with its tie: options by their role.
        made: What it generated: the outcome.
        fields: Envelope of the record.
    """
    if thing.kind != DECISION:
        return None
    outcome = made[0] if made else None
    options = [(tie, one) for tie, one in used if _part(tie) in _OPTIONS]
    return Decision(
        **fields,
        name=thing.name,
        what=None if outcome is None else _content(outcome),
        why=(outcome.said if outcome else "") or thing.said,
        confidence=thing.confidence if outcome is None else outcome.confidence,
        options=[_option(tie, one, outcome) for tie, one in options] or None,
    )


def _option(tie: Tie, one: Thing, outcome: Thing | None) -> Option:
    name = _content(one)
    is_outcome = outcome is not None and (one.id == outcome.id or name == _content(outcome))
    return Option(
        name=name if isinstance(name, str) else one.name,
        reason_rejected=one.said or None if _part(tie) == _REJECTED else None,
        chosen=_part(tie) == "chosen" or is_outcome,
    )


def _part(tie: Tie) -> str:
    return (tie.role or "").lower()


def _is_a(tie: Tie, one: Thing, names: frozenset[str]) -> bool:
    return one.kind.lower() in names or _part(tie) in names


def _content(one: Thing) -> Any:
    return one.name if one.value is None else one.value


def _contents(made: Sequence[Thing]) -> Any:
    found = [_content(one) for one in made]
    return found[0] if len(found) == 1 else found or None


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _said(thing: Thing, name: str) -> Any:
    return next((v for key, v in thing.attributes.items() if _local(key) == name), None)


def _plain(value: Any) -> Any:
    return loose.mapping(value).get("$") if isinstance(value, dict) else value


def _number(value: Any) -> int | float | None:
    found = stated.number(_plain(value))
    return int(found) if isinstance(found, float) and found.is_integer() else found
