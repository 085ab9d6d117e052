"""Records runs of every sort, sends them through a trace, and tells what came back differently."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import whence
from whence.exports.otlp import files
from whence.ingest.importer import import_paths
from whence.log.home import Home
from whence.query.restore import to_json

if TYPE_CHECKING:
    from pathlib import Path

    from whence.exports.otlp import model

_NOT_COMPARED = {("runs", "records"), ("runs", "cost_usd")}
"""How many lines a run takes is not what it says, and a sum of floats depends on their order."""


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
        with whence.agent("writer", input="long " * 20_000) as writer:
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
    """Return how many rows of each table and field a report says do not come back."""
    found: Counter[str] = Counter()
    for one in report.left_out:
        if one.kept in {"form", "nothing"}:
            found[one.what] += one.count
    return found


def differences(home: Path, back: Path) -> Counter[str]:
    """Return how many rows of each table, and of each field, came back differently."""
    first, second = tables(home), tables(back)
    found: Counter[str] = Counter()
    there = {path.name for path in Home(back).blobs.rglob("*")}
    for rows in first.values():
        for row in rows.values():
            found["blobs"] += sum(one not in there for one in _blobs_of(to_json(row)))
    for table in first.keys() | second.keys():
        mine, theirs = first.get(table, {}), second.get(table, {})
        found[f"{table} added"] += len(theirs.keys() - mine.keys())
        for key, row in mine.items():
            other = theirs.get(key)
            if other is None:
                found[f"{table}.id"] += 1
                continue
            for name in row.__struct_fields__:
                if (table, name) not in _NOT_COMPARED:
                    same = to_json(getattr(row, name)) == to_json(getattr(other, name))
                    found[f"{table}.{name}"] += not same
    return +found


def _blobs_of(value: Any) -> list[str]:
    """Return the SHA-256 of every value that a row refers to."""
    if isinstance(value, list):
        return [one for item in value for one in _blobs_of(item)]
    if not isinstance(value, dict):
        return []
    own = [value["sha256"]] if value.get("$whence") == "blob" else []
    return own + [one for item in value.values() for one in _blobs_of(item)]


def tables(home: Path) -> dict[str, dict[Any, Any]]:
    """Return all rows of a home by table and id."""
    with whence.open(home) as store:
        trees = [store.run(row.id) for row in store.runs(limit=None)]
    made: dict[str, dict[Any, Any]] = {}
    for tree in trees:
        for table, rows in tree.tables.items():
            made.setdefault(table, {}).update({(row.run, row.id): row for row in rows})
    return made
