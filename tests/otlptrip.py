"""Records runs of every sort, sends them through a trace, and tells what came back differently."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import whence
from whence.exports.otlp import files, model
from whence.exports.otlp.losses import SLACK_MS
from whence.ingest.importer import import_paths
from whence.query.restore import to_json

if TYPE_CHECKING:
    from pathlib import Path

_NOT_COMPARED = {
    "runs": {"records", "spans", "decisions", "generations", "tool_calls", "errors", "lost"}
    | {"input_tokens", "output_tokens", "cost_usd", "flagged", "error_type", "run", "id"},
    "spans": {"run", "id", "error_type"},
    "generations": {"run", "id", "error_type", "extra"}
    | {"input_tokens", "output_tokens", "reasoning_tokens", "cache_read_tokens", "usage"},
    "tool_calls": {"run", "id", "error_type", "extra"},
    "sources": {"run", "id", "span", "ts_ns", "extra"},
    "scores": {"run", "id", "span", "extra"},
    "events": {"run", "id", "span", "extra"},
    "links": {"run", "id", "span", "ts_ns", "extra"},
}
"""Totals that follow from the rest, and ids of records, which are attributes in a trace."""


def record(home: Path) -> None:
    """Record runs in which every verb is used, into a home."""
    whence.configure(home=home)
    record_here()


def record_here() -> None:
    """Record the runs where recording is configured to go."""
    with whence.run(
        "market report",
        project="cobot",
        kind="research",
        external_id="req_1",
        workflow="nightly",
        session="s1",
        conversation="c1",
        user="u1",
        tags=["a", "b"],
        topic="prices",
        nested={"list": [1, {"deep": None}], "n": 2.5},
    ) as run:
        with whence.stage("collect") as collect:
            collect.event("begun", pages=3)
            collect.source("web", "http://example.org/a", records_used=3, quality=0.5)
            with whence.retrieval("search", input="why", documents="local") as found:
                found.source("document", "d1", scores={"relevance": 0.9}, title="One", body="text")
                found.source("database", "d2", scores={"relevance": 1, "trust": 0.1})
                found.source("document", "d3", kept=False, reason="old")
            with whence.tool("fetch", input={"q": 1}, cache_hit=False) as fetch:
                fetch.set(output={"rows": [1, None]})
            with whence.step("given up") as given_up:
                given_up.set(status="cancelled")
            with whence.step("parse", input=[1, 2], input_count=2, algorithm="sax") as parse:
                parse.set(output="done")
                parse.tag("t1")
        with whence.agent("writer") as writer:
            _writes(writer)
        run.score("META-1", 2, threshold=1, scale="0-3", feedback="fine", by="rule")
        run.event("slow", level="warning", n=1, nested={"a": [1]})
        run.event("plain")
        run.event("plain")
        run.output("report-1", kind="report", summary="It rises.", value={"x": 1})
        run.flag("look at it")
        run.set(output={"verdict": "up"})
    _fails()


def _writes(writer: Any) -> None:
    writer.decide("tone", "calm", why="asked", confidence=0.7, options={"calm": 0.7, "loud": 0.3})
    writer.factor("length", 3, normalized_value=0.5, weight=0.2)
    with whence.generation("draft") as draft:
        draft.record_generation(
            provider="openai",
            model="gpt-5",
            response_model="gpt-5-2026",
            operation="chat",
            messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}],
            output="hello",
            usage={
                "prompt_tokens": 100,
                "completion_tokens": 30,
                "prompt_tokens_details": {"cached_tokens": 40},
                "completion_tokens_details": {"reasoning_tokens": 10},
            },
            cost_usd=0.01,
            reasoning="hmm",
            response_id="r1",
            finish_reason="stop",
            parameters={"temperature": 0.2, "tools": [{"name": "fetch"}]},
            seed=7,
        )
    writer.record_generation(
        provider="anthropic",
        model="claude",
        operation="chat",
        messages=[{"role": "user", "content": "x"}],
        output={"role": "assistant", "content": "y"},
        usage={"input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": 7},
        cost_usd=0.5,
    )
    writer.record_generation(model="tiny", usage={"output_visible": 3, "cache_read": 2})
    with whence.generation("picture") as picture:
        picture.record_generation(
            provider="google", model="banana", operation="image", prompt_name="p", attempt=2
        )
    with whence.generation("again") as again:
        again.link("retry_of", again.id, source=draft.id)
        again.record_generation(
            model="gpt-5", operation="chat", error={"type": "E", "message": "m"}
        )
    writer.score("STYLE", None, feedback="dull")


def _fails() -> None:
    with contextlib.suppress(KeyError), whence.run("failing", project="other"):
        with contextlib.suppress(ValueError), whence.tool("bad", input='{"not": json'):
            int("boom")
        with whence.step("last", input=5):
            {}["k"]
    whence.flush()


def trip(home: Path, folder: Path, options: model.Options, name: str = "out.jsonl") -> Any:
    """Export a home and import the file into another; return that home and the report."""
    with whence.open(home) as store:
        ids = [row.id for row in store.runs(order="started_ns", limit=None)]
        report = files.write(store, ids, folder / name, options)
    back = folder / "back"
    imported = import_paths(back, [folder / name])
    assert imported.skipped == []
    return back, report


def told(report: Any) -> Counter[str]:
    """Return how many rows of each table and field a report names."""
    found: Counter[str] = Counter()
    for one in report.left_out:
        found[one.what] += one.count
    return found


def differences(home: Path, back: Path) -> Counter[str]:
    """Return how many rows of each table, and of each field, came back differently."""
    first, second = _tables(home), _tables(back)
    found: Counter[str] = Counter()
    for table, ignored in _NOT_COMPARED.items():
        for key, row in first[table].items():
            other = second[table].get(key)
            if other is None:
                found[table] += 1
                continue
            for name in row.__struct_fields__:
                if name not in ignored and not _same(table, name, row, other):
                    found[f"{table}.{name}"] += 1
            if table == "generations":
                found += _differences_of_usage(row.usage, other.usage)
    for table in ("decisions", "factors", "transformations", "outputs", "annotations", "gaps"):
        found[table] = len(first[table]) - len(second[table])
    return +found


def _differences_of_usage(mine: Any, theirs: Any) -> Counter[str]:
    """Return which parts of a call's tokens differ."""
    found: Counter[str] = Counter()
    if mine is None or theirs is None:
        found["generations.usage"] += mine is not theirs
        return found
    for name in ("stated", "modalities"):
        found[f"generations.usage.{name}"] += getattr(mine, name) != getattr(theirs, name)
    buckets = ("input_uncached", "cache_read", "cache_write", "output_visible", "reasoning")
    found["generations.usage"] += any(getattr(mine, b) != getattr(theirs, b) for b in buckets)
    return found


def _tables(home: Path) -> dict[str, dict[Any, Any]]:
    with whence.open(home) as store:
        runs = [row.id for row in store.runs(limit=None)]
        trees = [store.run(one) for one in runs]
    tables: dict[str, dict[Any, Any]] = {}
    for tree in trees:
        spans = {node.row.id: node.row for node in tree.iter_spans()}
        for table, rows in tree.tables.items():
            here = tables.setdefault(table, {})
            for row in rows:
                here[_key(table, row, spans)] = row
    return tables


def _key(table: str, row: Any, spans: dict[str, Any]) -> Any:  # noqa: PLR0911 - one return a table
    """Return what tells a row from others both before the trip and after it."""
    if table in {"runs", "spans"}:
        return row.id
    if table in {"generations", "tool_calls"}:
        host = spans.get(row.span or "")
        own = host is not None and (
            host.kind == {"generations": "generation", "tool_calls": "tool"}[table]
        )
        return row.span if own else row.id
    if table == "sources":
        return (row.span, row.source_key)
    if table == "scores":
        return (row.name, row.ts_ns)
    if table == "events":
        return row.data.get("whence.event.id", row.id)
    if table == "links":
        return (row.source, row.target)
    return row.id


def _same(table: str, name: str, row: Any, other: Any) -> bool:
    mine, theirs = to_json(getattr(row, name)), to_json(getattr(other, name))
    if name == "parent" and mine is None:
        return theirs in {None, model.root_id(row.run)}
    if name in {"attributes", "data"}:
        if table in {"generations", "tool_calls", "sources"}:
            return mine in ({}, theirs)
        # A trace adds attributes of its own, and loses none.
        return all(key in theirs and theirs[key] == item for key, item in mine.items())
    if name in {"duration_ms", "first_chunk_ms"} and mine is not None and theirs is not None:
        return abs(mine - theirs) <= SLACK_MS
    return mine == theirs
