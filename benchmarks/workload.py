"""The workload: one research run of 33 records, seeded, from the standard library alone.

`gen_run(i)` gives the i-th run as a plain tree: 1 run, 5 stages, 4 decisions in each, 6 tool calls
of 500 bytes in and 2 KB out, and 1 model call with a system prompt of 4 KB (one of 4 versions), a
user message of 8 KB and an answer of 2 KB. Its text is a Markov chain of first order over the
Python reference that every CPython ships, with random jumps, so that it compresses like prose and
no long stretch comes twice. `load` gives another module with the same two functions in its place.
"""


# ruff: noqa: S311 - what is measured is no secret

from __future__ import annotations

import functools
import importlib.util
import itertools
import random
import sys
from pydoc_data import topics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

RECORDS_PER_RUN = 33
JUMPS = 0.35
"""Share of words that do not follow from the one before.

Text then compresses with zstd-3 as prose does, about 2.6 times.
"""
LONGEST_WORD = 23
"""Longer ones are rules and paths."""
SYSTEM_CHARS, USER_CHARS, ANSWER_CHARS = 4_096, 8_192, 2_048
FAILING = 0.03
"""Share of tool calls that fail."""
TOOL_INPUT_CHARS, TOOL_OUTPUT_CHARS = 500, 2_048
STAGES: dict[str, tuple[str, ...]] = {
    "intake": ("scope", "intent", "language", "audience"),
    "rubric": ("principles", "weights", "threshold", "tie_break"),
    "collection": ("sources", "time_range", "duplicates", "stop_rule"),
    "synthesis": ("outline", "model", "citations", "claims"),
    "quality_gate": ("grounding", "coverage", "safety", "release"),
}
TOOLS = ("web_search", "vector_search", "fetch_page", "sql_query", "read_pdf", "rerank")
MODELS = ("model-small", "model-large", "model-fast", "model-open")
FACTORS = ("relevance", "recency", "authority", "cost", "risk", "novelty")


@functools.cache
def _chain() -> tuple[list[str], dict[str, list[str]]]:
    """Return all words of the reference, and for each word those that follow it."""
    words = " ".join(topics.topics[name] for name in sorted(topics.topics)).split()
    words = [
        word
        for word in words
        if word.isascii() and len(word) <= LONGEST_WORD and word.strip("-=*~^.")
    ]
    following: dict[str, list[str]] = {}
    for first, second in itertools.pairwise(words):
        following.setdefault(first, []).append(second)
    return words, following


def text(rng: random.Random, chars: int) -> str:
    """Return exactly `chars` ASCII characters of prose."""
    words, following = _chain()
    made: list[str] = []
    size = 0
    word = rng.choice(words)
    draw = rng.random
    while size <= chars:
        made.append(word)
        size += len(word) + 1
        after = words if draw() < JUMPS else following.get(word, words)
        word = after[int(draw() * len(after))]
    return " ".join(made)[:chars]


@functools.cache
def _system_prompt(version: int) -> str:
    head = f"You are a careful research analyst (version {version}). "
    return (head + text(random.Random(7_000 + version), SYSTEM_CHARS))[:SYSTEM_CHARS]


def gen_run(i: int, seed: int = 0) -> dict[str, Any]:
    """Return the i-th run. Each is made from its number and the seed alone."""
    rng = random.Random(f"{seed}/{i}")
    return {
        "run_id": f"{rng.getrandbits(128):032x}",
        "index": i,
        "name": "research_pipeline",
        "inputs": {
            "topic": text(rng, 80),
            "requester": f"user-{rng.randrange(5_000):04d}",
            "max_sources": rng.randrange(5, 40),
        },
        "tenant": f"tenant-{rng.randrange(20):02d}",
        "release": f"2026.{rng.randrange(1, 13)}.{rng.randrange(30)}",
        "outcome": rng.choices(("released", "rejected", "needs_review"), (80, 8, 12))[0],
        "factors": [
            {
                "name": name,
                "weight": round(rng.random(), 3),
                "value": round(rng.uniform(0, 10), 2),
                "note": text(rng, 60),
            }
            for name in FACTORS
        ],
        "stages": [_stage(rng, name) for name in STAGES],
    }


def _stage(rng: random.Random, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "attempt": rng.choice((1, 1, 1, 2)),
        "status": rng.choices(("ok", "degraded"), (95, 5))[0],
        "decisions": [_decision(rng, decision) for decision in STAGES[name]],
        "tools": [_tool(rng, tool) for tool in TOOLS] if name == "collection" else [],
        "llm": _generation(rng) if name == "synthesis" else None,
    }


def _decision(rng: random.Random, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "what": "choose " + text(rng, 50),
        "why": text(rng, 120),
        "confidence": round(rng.uniform(0.4, 0.99), 3),
        "alternatives": [{"name": text(rng, 24), "reason": text(rng, 60)} for _ in range(2)],
        "inputs": {
            "candidates": rng.randrange(2, 50),
            "evidence": text(rng, 40),
            "source_id": f"{rng.getrandbits(64):016x}",
        },
    }


def _tool(rng: random.Random, name: str) -> dict[str, Any]:
    given = f'{{"k": {rng.randrange(3, 20)}, "query": "'
    place = f"https://example.org/{rng.getrandbits(64):016x}"
    got = f'[{{"url": "{place}", "score": {rng.random():.4f}, "text": "'
    return {
        "name": name,
        "kind": "retriever" if "search" in name or name == "rerank" else "tool",
        "input": (given + text(rng, TOOL_INPUT_CHARS))[: TOOL_INPUT_CHARS - 2] + '"}',
        "output": (got + text(rng, TOOL_OUTPUT_CHARS))[: TOOL_OUTPUT_CHARS - 3] + '"}]',
        "status": "ok" if rng.random() > FAILING else "error",
    }


def _generation(rng: random.Random) -> dict[str, Any]:
    prompt_tokens, completion_tokens = rng.randrange(2_800, 3_400), rng.randrange(420, 560)
    return {
        "name": "draft_report",
        "model": rng.choice(MODELS),
        "temperature": round(rng.random(), 2),
        "system": _system_prompt(rng.randrange(4)),
        "user": text(rng, USER_CHARS),
        "completion": text(rng, ANSWER_CHARS),
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "cost": round(prompt_tokens * 2.5e-6 + completion_tokens * 1e-5, 6),
    }


def flat_records(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the run as the 33 flat mappings that a logging library would write."""
    records: list[dict[str, Any]] = []

    def add(kind: str, parent: int | None, **fields: Any) -> int:
        number = len(records)
        ts = 1_760_000_000.0 + run["index"] + number * 1e-3
        envelope = {
            "run_id": run["run_id"],
            "seq": number,
            "parent": parent,
            "kind": kind,
            "ts": ts,
        }
        records.append({**envelope, **fields})
        return number

    head = ("name", "inputs", "tenant", "release", "outcome", "factors")
    root = add("run", None, **{key: run[key] for key in head})
    for stage in run["stages"]:
        at = add("stage", root, **{key: stage[key] for key in ("name", "attempt", "status")})
        for decision in stage["decisions"]:
            add("decision", at, **decision)
        for tool in stage["tools"]:
            add("tool", at, **{"tool_kind" if key == "kind" else key: tool[key] for key in tool})
        if stage["llm"]:
            add("llm", at, **stage["llm"])
    return records


def load(path: str | None) -> ModuleType:
    """Return this module, or the `workload.py` of a folder if one is given."""
    if not path:
        return sys.modules[__name__]
    spec = importlib.util.spec_from_file_location("given_workload", f"{path}/workload.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"there is no workload.py in {path}; give a folder that holds one")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
