"""SQL that shows a finding's evidence again, for people to run with `whence sql`.

It asks the tables that people see, with the same rule of where a field is to be found as `facts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLUMNS = "g.id, g.run, r.external_id, g.ts_ns, g.model, g.cost_usd"
_EXPRESSIONS = {
    "input_hash": "coalesce(g.attributes->>'input_hash', r.attributes->>'input_hash', "
    "substr(sha256(CAST(g.messages AS VARCHAR)), 1, 16))",
    "task_type": "coalesce(g.attributes->>'task_type', r.attributes->>'task_type', g.name)",
    "root": "coalesce(g.attributes->>'root_request_id', r.attributes->>'root_request_id')",
    "prompt": "g.prompt_name",
    "workflow": "r.workflow",
}
"""Field of a call to its expression over `generations g` and `runs r`."""
_DEPTH = "TRY_CAST(coalesce(g.attributes->>'depth', r.attributes->>'depth') AS BIGINT)"
_LISTED = 500


def calls_with(
    field: str, value: str, evidence: Sequence[str], *, deeper_than: int | None = None
) -> str:
    """Return a SELECT of the calls whose `field` has this value.

    By the ids of the evidence where SQL has no way to write the value.
    """
    if not _is_plain(value):
        return calls_of(evidence)
    test = f"{_EXPRESSIONS[field]} = {_quoted(value)}"
    if deeper_than is not None:
        test += f" AND {_DEPTH} > {deeper_than}"
    return _calls(test)


def calls_of(evidence: Sequence[str]) -> str:
    """Return a SELECT of calls by their record ids."""
    return _calls(f"g.id IN ({_list(evidence)})")


def links_of(evidence: Sequence[str]) -> str:
    """Return a SELECT of links by their record ids."""
    return (
        "SELECT id, run, kind, source, target, ts_ns FROM links "
        f"WHERE id IN ({_list(evidence)}) ORDER BY ts_ns"
    )


def _calls(test: str) -> str:
    return (
        f"SELECT {_COLUMNS} FROM generations g LEFT JOIN runs r ON r.id = g.run "
        f"WHERE {test} ORDER BY g.ts_ns"
    )


def _list(ids: Sequence[str]) -> str:
    return ", ".join(_quoted(one) for one in ids[:_LISTED] if _is_plain(one)) or "NULL"


def _is_plain(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
