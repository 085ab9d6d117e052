"""Runs and generations read as token requests, whoever recorded them.

Comes in: rows. Goes out: the 27 fields of a provenance and the fields of a usage, as JSON-ready
dicts. What a request of this dialect said comes back as it was said; of any other run the fields
follow from the standard records where they can, and are None where nobody said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.dialects.shared import asking
from whence.dialects.shared.plain import as_dict, as_text, as_texts
from whence.dialects.tokens import numbers
from whence.dialects.tokens.provenance import FIELDS
from whence.query import find, restore
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Collection

    from whence.query.reader import Reader

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_DEFAULT_LISTS = ("signal_trail", "code_references", "document_references")


class Request(msgspec.Struct, frozen=True):
    """One request as it was recorded."""

    run: r.RunRow
    """Its run."""
    generation: r.GenerationRow | None
    """Its model call; None if it has none, or if only the run was asked for."""

    @property
    def id(self) -> str:
        """The request's own id, that of the run if it has none."""
        return self.run.external_id or self.run.id

    def provenance(self) -> dict[str, Any]:
        """Return the 27 fields of its provenance."""
        run, own = self.run, self.run.attributes
        made: dict[str, Any] = {name: own.get(name) for name in FIELDS}
        agent = as_text(own.get("agent"))
        made |= {
            "id": own.get("provenance_id") or run.id,
            "usage_id": own.get("usage_id") or (self.generation.id if self.generation else None),
            "request_id": self.id,
            "timestamp": numbers.as_text(numbers.moment_of(self._made_ns())),
            "workflow_id": run.workflow,
            "session_id": run.session,
            "conversation_id": run.conversation,
            "agent_type": made["agent_type"] or agent,
            "task_type": made["task_type"] or run.name or None,
            "tags": list(run.tags),
            "metadata": as_dict(own.get("metadata")),
        }
        for name in _DEFAULT_LISTS:
            made[name] = as_texts(own.get(name))
        if self.generation is not None:
            made["prompt_template_id"] = self.generation.prompt_name
            made["prompt_version"] = self.generation.prompt_version
        return made

    def usage(self) -> dict[str, Any] | None:
        """Return the fields of its usage; None if it has no model call."""
        call = self.generation
        if call is None:
            return None
        stated = as_dict(call.usage.stated) if call.usage is not None else {}
        sent = _count(stated, "prompt_tokens", call.input_tokens)
        received = _count(stated, "completion_tokens", call.output_tokens)
        foreign = as_text(call.attributes.get("currency"))
        cost = numbers.as_money(call.attributes.get("cost")) if foreign else None
        return {
            "id": call.attributes.get("usage_id") or call.id,
            "timestamp": numbers.as_text(numbers.moment_of(self._made_ns())),
            "provider": call.provider,
            "model": call.model,
            "prompt_tokens": sent,
            "completion_tokens": received,
            "total_tokens": _count(stated, "total_tokens", _sum(sent, received)),
            "cost": (None if cost is None else float(cost)) if foreign else call.cost_usd,
            "currency": foreign or "USD",
            "user_id": self.run.user,
            "project_id": self.run.project,
            "team_id": call.attributes.get("team_id"),
            "feature": call.attributes.get("feature"),
            "request_id": self.id,
            "metadata": as_dict(call.attributes.get("metadata")),
        }

    def _made_ns(self) -> int:
        stated = self.run.attributes.get("made_ns")
        if type(stated) is int:
            return stated
        return self.generation.ts_ns if self.generation is not None else self.run.started_ns

    @property
    def lineage(self) -> tuple[str, int]:
        """Its root and depth, as stated; itself and 0 where nothing is."""
        own = self.run.attributes
        root, depth = own.get("root_request_id"), own.get("depth")
        return as_text(root) or self.id, depth if type(depth) is int else 0


def _count(stated: dict[str, Any], name: str, otherwise: int | None) -> int | None:
    value = stated.get(name)
    return value if type(value) is int else otherwise


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None and b is None else (a or 0) + (b or 0)


def find_request(reader: Reader, any_id: str) -> Request | None:
    """Return the request of an id, its run's or anything's in it; the latest, None if none has it.

    Raises:
        StoreError: The store cannot be read.
    """
    store = reader.store
    run_id = store.find_run(any_id)
    if run_id is None:
        return None
    rows = store.run_rows(run_id)
    if not rows.get("runs"):
        return None
    found = find.thing(any_id, run_id, rows)
    run = cast("r.RunRow", restore.restored(rows["runs"][0], reader.blob))
    calls = rows["generations"]
    mine = [row for row in calls if row is found.row] or calls
    call = cast("r.GenerationRow", restore.restored(mine[-1], reader.blob)) if mine else None
    return Request(run, call)


def requests_of(reader: Reader, ids: Collection[str]) -> dict[str, Request]:
    """Return the requests with these ids, by id, without their model calls; the latest of each."""
    found: dict[str, Request] = {}
    own = [one for one in ids if _RUN_ID.fullmatch(one)]
    for field, wanted in (("id", own), ("external_id", ids)):
        for run in reversed(asking.rows_with(reader, "runs", field, wanted)):
            request = Request(cast("r.RunRow", run), None)
            found[cast("str", getattr(run, field))] = request
            found[request.id] = request
    return found


def relationship(source: str, target: str, link: r.LinkRow) -> dict[str, Any]:
    """Return a link as the fields of a relationship."""
    return {
        "id": link.attributes.get("relationship_id") or link.id,
        "source_request_id": source,
        "target_request_id": target,
        "relationship_type": link.kind,
        "metadata": as_dict(link.attributes.get("metadata")),
        "created_at": numbers.as_text(numbers.moment_of(link.ts_ns)),
    }
