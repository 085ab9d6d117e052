"""A tracked request becomes a run with one generation, and its parent a link.

Comes in: checked records. Goes out: records of the log, through the verbs that everybody uses. The
run carries the request's id as its external id, so every look-up accepts it; what the core has a
field for goes there, the rest of the provenance into attributes of the run, the rest of the usage
into attributes of the generation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from whence.capture import api
from whence.capture.context import current_scope
from whence.capture.noop import NoOp
from whence.capture.remote import resume
from whence.dialects.tokens import numbers
from whence.dialects.tokens.usage import USD

if TYPE_CHECKING:
    from whence.dialects.tokens.relationships import ProvenanceRelationship
    from whence.dialects.tokens.signals import Tracked
    from whence.dialects.tokens.usage import TokenUsage

DIALECT = "tokens"
RUN_KIND = "request"
_RUN_FIELDS = {
    "request_id": "external_id",
    "workflow_id": "workflow",
    "session_id": "session",
    "conversation_id": "conversation",
    "tags": "tags",
}
"""Fields of a provenance that a run has a field for."""
_OF_GENERATION = frozenset({"prompt_template_id", "prompt_version"})
_NAMES = {"id": "provenance_id"}
"""Fields of a provenance that are called otherwise among attributes."""
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_NO_SPAN = "0" * 15 + "1"


def record(tracked: Tracked) -> str:
    """Record a request that was made.

    Nothing is recorded inside a run that is not recorded either, whatever the request's project.

    Returns:
        The id of its run; empty where nothing is recorded.
    """
    if isinstance(current_scope.get(), NoOp):
        return ""
    usage, provenance = tracked.usage, tracked.provenance
    run = api.run(
        provenance.task_type,
        kind=RUN_KIND,
        project=usage.project_id,
        user=usage.user_id,
        **{name: getattr(provenance, field) or None for field, name in _RUN_FIELDS.items()},
        **_run_attributes(tracked),
    ).start()
    if isinstance(run, NoOp):
        return ""
    error = error_of(tracked)
    run.record_generation(
        provider=usage.provider,
        model=usage.model,
        usage={
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        },
        cost_usd=usage.cost_usd,
        cost_source=None if usage.cost_usd is None else "computed" if tracked.price else "declared",
        price=_price(tracked),
        prompt_name=provenance.prompt_template_id,
        prompt_version=provenance.prompt_version,
        duration_ms=tracked.duration_ms,
        error=error,
        **_generation_attributes(usage),
    )
    if error is not None:
        run.set(status="failed")
    run.finish()
    return run.id


def _run_attributes(tracked: Tracked) -> dict[str, Any]:
    provenance = tracked.provenance
    made: dict[str, Any] = {"dialect": DIALECT}
    for field in provenance.__struct_fields__:
        value = getattr(provenance, field)
        if field in _RUN_FIELDS or field in _OF_GENERATION or field == "timestamp":
            continue
        if value is not None and value not in ([], {}):
            made[_NAMES.get(field, field)] = value
    made["made_ns"] = numbers.unix_ns(provenance.timestamp)
    return made


def _generation_attributes(usage: TokenUsage) -> dict[str, Any]:
    made: dict[str, Any] = {
        "usage_id": usage.id,
        "team_id": usage.team_id,
        "feature": usage.feature,
        "metadata": usage.metadata or None,
    }
    if usage.currency != USD:
        made |= {
            "currency": usage.currency,
            "cost": None if usage.cost is None else str(usage.cost),
        }
    return made


def _price(tracked: Tracked) -> dict[str, Any] | None:
    price = tracked.price
    if price is None:
        return None
    return {
        "unit": "1000 tokens",
        "prompt_usd": float(price.prompt),
        "completion_usd": float(price.completion),
    }


def error_of(tracked: Tracked) -> dict[str, Any] | None:
    """Return the error that the metadata tell of: a true `error`, or an `error_code`."""
    for metadata in (tracked.provenance.metadata, tracked.usage.metadata):
        error, code = metadata.get("error"), metadata.get("error_code")
        if error or code:
            kind = metadata.get("error_type") or code or "error"
            message = metadata.get("error_message") or error
            return {"type": str(kind), "message": "" if message is True else str(message or "")}
    return None


def link(relationship: ProvenanceRelationship, run_id: str) -> str:
    """Record a relationship in a run, which may have ended.

    Args:
        relationship: The relationship.
        run_id: The run of its later request; if empty, the current run, or one of its own.

    Returns:
        The link's id.

    Raises:
        LinkError: The links of this process would form a ring.
    """
    kind, target = relationship.relationship_type, relationship.target_request_id
    fields: dict[str, Any] = {
        "source": relationship.source_request_id,
        "relationship_id": relationship.id,
    }
    if relationship.metadata:
        fields["metadata"] = relationship.metadata
    if _RUN_ID.fullmatch(run_id):
        scope = resume(f"00-{run_id}-{_NO_SPAN}-01")
    else:
        scope = api.current_span()
    if scope.recording or isinstance(current_scope.get(), NoOp):
        return scope.link(kind, target, **fields)
    with api.run("relationship", kind="relationship", dialect=DIALECT) as own:
        return own.link(kind, target, **fields)
