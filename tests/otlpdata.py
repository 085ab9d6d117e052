"""Makes OTLP requests, finds the corpora, and tells what a home holds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import whence
from whence.ingest.importer import import_paths

START_NS = 1_790_000_000_000_000_000
MS = 1_000_000


def hex_id(name: str, size: int) -> str:
    """Return the same id for the same name: `size` bytes as hex."""
    return hashlib.blake2b(name.encode(), digest_size=size).hexdigest()


def value(given: Any) -> dict[str, Any]:
    """Return a value as OTLP/JSON writes it."""
    if isinstance(given, bool):
        return {"boolValue": given}
    if isinstance(given, int):
        return {"intValue": str(given)}
    if isinstance(given, float):
        return {"doubleValue": given}
    if isinstance(given, list):
        return {"arrayValue": {"values": [value(item) for item in given]}}
    if isinstance(given, dict):
        return {"kvlistValue": {"values": attributes(given)}}
    return {"stringValue": given}


def attributes(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP/JSON writes them."""
    return [{"key": key, "value": value(item)} for key, item in given.items()]


def span(
    name: str,
    parent: str | None = None,
    given: dict[str, Any] | None = None,
    *,
    trace: str = "t",
    at: tuple[int, int] = (0, 10),
    **more: Any,
) -> dict[str, Any]:
    """Return a span; ids follow from the names of trace, span and parent, times are in ms."""
    made = {
        "traceId": hex_id(trace, 16),
        "spanId": hex_id(f"{trace}/{name}", 8),
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(START_NS + at[0] * MS),
        "endTimeUnixNano": str(START_NS + at[1] * MS),
        "attributes": attributes(given or {}),
        "status": {},
    }
    if parent is not None:
        made["parentSpanId"] = hex_id(f"{trace}/{parent}", 8)
    return made | more


def request(*spans: dict[str, Any], service: str = "shop", scope: str = "test") -> dict[str, Any]:
    """Return a request for traces."""
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": attributes({"service.name": service})},
                "scopeSpans": [{"scope": {"name": scope, "version": "1"}, "spans": list(spans)}],
            }
        ]
    }


def log_request(*records: dict[str, Any]) -> dict[str, Any]:
    """Return a request for logs."""
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": list(records)}]}]}


def write_lines(path: Path, *requests: dict[str, Any]) -> Path:
    """Write one request a line, and return the path."""
    path.write_text("".join(json.dumps(one) + "\n" for one in requests), "utf-8")
    return path


def imported(home: Path, folder: Path, *requests: dict[str, Any], name: str = "in.jsonl") -> Any:
    """Import requests, one a line, and return the report."""
    return import_paths(home, [write_lines(folder / name, *requests)])


def contents(home: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return what a home holds: for each table its ids with the rows' JSON, in order."""
    held: dict[str, list[tuple[Any, ...]]] = {}
    with whence.open(home) as store:
        for table in ("runs", "spans", "generations", "tool_calls", "sources", "scores", "events"):
            rows = getattr(store, table)(limit=None)
            held[table] = sorted(
                (row.id, json.dumps(row.to_dict(), sort_keys=True, default=str)) for row in rows
            )
    return held


def find_corpus(name: str) -> Path | None:
    """Return a corpus kept beside the project; None if it is not here."""
    for folder in Path(__file__).resolve().parents:
        found = folder / "shared" / "corpora" / name
        if found.is_dir():
            return found
    return None


CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-5",
}
"""The least that a model call says."""


def chat(tokens: tuple[int, int] | None = None, **more: Any) -> dict[str, Any]:
    """Return the attributes of a model call with input and output tokens."""
    given: dict[str, Any] = dict(CHAT)
    if tokens is not None:
        given["gen_ai.usage.input_tokens"], given["gen_ai.usage.output_tokens"] = tokens
    return given | {key.replace("__", "."): item for key, item in more.items()}
