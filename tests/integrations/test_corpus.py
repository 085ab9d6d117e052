"""Recorded exchanges of real providers become the generations that they were.

The exchanges are those of a corpus kept beside the project; `expected.json` in it was computed by a
separate script. Without the corpus these tests are skipped; `test_openai.py` and its kin hold the
same behaviour with answers made by hand.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from loopback import provider
from replay import Clients

import whence

CORPUS = next(
    (
        folder / "shared" / "corpora" / "provider-http"
        for folder in Path(__file__).resolve().parents
        if (folder / "shared" / "corpora" / "provider-http").is_dir()
    ),
    None,
)
pytestmark = [
    pytest.mark.skipif(CORPUS is None, reason="the corpus is not here"),
    pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning"),
]
NOT_OURS = "/converse"
"""What none of the libraries sends."""
NAMES = {
    "input": ("prompt_tokens", "input_tokens", "promptTokenCount"),
    "output": ("completion_tokens", "output_tokens", "candidatesTokenCount"),
    "cached_input": ("cache_read_input_tokens", "cachedContentTokenCount", "cached_tokens"),
    "cache_write": ("cache_creation_input_tokens", "cache_write_tokens"),
    "reasoning": ("thoughtsTokenCount", "reasoning_tokens"),
    "total": ("total_tokens", "totalTokenCount"),
    "cost": ("cost",),
}
DETAILS = (
    "prompt_tokens_details",
    "input_tokens_details",
    "completion_tokens_details",
    "output_tokens_details",
)


def stated(usage: Any) -> dict[str, Any] | None:
    """Return a provider's own counts under the corpus' names."""
    if usage is None or usage.stated is None:
        return None
    own = dict(usage.stated)
    for name in DETAILS:
        own = {**(own.get(name) or {}), **own}
    return {
        name: next((own[key] for key in keys if own.get(key) is not None), None)
        for name, keys in NAMES.items()
    }


def facts_of(row: Any) -> dict[str, Any]:
    """Return what a recorded call says, in the corpus' words."""
    error = row.error or {}
    return {
        "usage": stated(row.usage),
        "finish": row.finish_reason,
        "response_id": row.response_id,
        "model": row.response_model,
        "error": {"message": error["message"], "type": error["type"]} if error else None,
        "failed": row.status != "ok",
        "stream": bool(row.attributes.get("stream")),
        "tool_calls": len(row.attributes.get("tool_calls") or []),
        "images": 0 if drew_with_code(row) else sum(m["direction"] == "out" for m in row.media),
    }


def drew_with_code(row: Any) -> bool:
    """Whether code drew the images of an answer: the corpus counts those of models alone."""
    return isinstance(row.output, list) and any(
        item.get("type") == "code_interpreter_call" for item in row.output
    )


def expected_of(call: dict[str, Any]) -> dict[str, Any]:
    """Return what the corpus says of a call."""
    said = {key: call[key] for key in FACTS}
    return {**said, "failed": call["status"] >= 400}


FACTS = (
    "usage",
    "finish",
    "response_id",
    "model",
    "error",
    "stream",
    "tool_calls",
    "images",
)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """Replay the whole corpus, each cassette in a run of its own, and return the calls by run."""
    home = tmp_path_factory.mktemp("corpus") / "home"
    exchanges: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(CORPUS.glob("*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            exchange = json.loads(line)
            if NOT_OURS not in exchange["request"]["url"]:
                exchanges.setdefault(exchange["cassette"], []).append(exchange)
    whence.configure(home)
    with provider() as place:
        clients = Clients(place)
        for cassette, listed in exchanges.items():
            with whence.run("replayed", external_id=cassette):
                for exchange in sorted(listed, key=lambda one: one["n"]):
                    clients.replay(exchange)
        asked = len(place.asked)
        clients.close()
    report = whence.flush()
    whence.configure(home, enabled=False)
    with whence.open(home) as store:
        runs = {run.id: run.external_id for run in store.runs(limit=None).items}
        made: dict[str, list[Any]] = {name: [] for name in exchanges}
        for row in store.generations(order="ts_ns", limit=None).items:
            made[runs[row.run]].append(row)
    assert asked == sum(map(len, exchanges.values()))
    assert report.lost == 0, report.why
    return made


@pytest.fixture(scope="module")
def expected():
    """The corpus' calls by cassette; a look at an earlier call is no call."""
    calls = json.loads((CORPUS / "expected.json").read_text("utf-8"))["calls"]
    made: dict[str, list[dict[str, Any]]] = {}
    for call in sorted(calls, key=lambda one: one["n"]):
        if not call["is_poll"] and not (call["provider"] == "bedrock" and call["status"] == 400):
            made.setdefault(call["cassette"], []).append(call)
    return made


def test_each_exchange_is_one_generation(replayed, expected):
    """Nothing is recorded twice or left out, and looking at a response again is no call."""
    counts = {cassette: len(rows) for cassette, rows in replayed.items() if rows}

    assert counts == {cassette: len(calls) for cassette, calls in expected.items()}


def test_each_generation_says_what_the_provider_said(replayed, expected):
    """Usage, finish reason, ids, model, errors, tool calls and images are as in the exchange."""
    differing = [
        (cassette, call["n"], name, wanted[name], got[name])
        for cassette, calls in expected.items()
        for call, row in zip(calls, replayed[cassette], strict=True)
        for wanted, got in [(expected_of(call), facts_of(row))]
        for name in wanted
        if wanted[name] != got[name]
    ]

    assert differing == []


def test_the_buckets_of_a_call_add_up_to_its_total(replayed, expected):
    """What a provider states as total is the sum of the buckets, where it states one."""
    wrong = []
    counted = Counter()
    for cassette, calls in expected.items():
        for call, row in zip(calls, replayed[cassette], strict=True):
            total = (call["usage"] or {}).get("total")
            # Gemini counts thoughts in the total alone where it copies OpenAI's form.
            if total is None:
                continue
            if call["provider"] == "google" and "prompt_tokens" in row.usage.stated:
                continue
            counted[call["provider"]] += 1
            if (row.input_tokens or 0) + (row.output_tokens or 0) != total:
                wrong.append((cassette, call["n"], row.usage))

    assert wrong == []
    assert counted["openai"] > 190
    assert counted["google"] > 40
