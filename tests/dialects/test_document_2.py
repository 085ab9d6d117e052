"""The examples of document 2 (token provenance) run, their Elixir maps written as Python dicts."""

from __future__ import annotations

import ast
import re

import documents
import pytest

from whence.tokens import TokenManager

DOCUMENT = documents.find_document(2)

EMIT = re.compile(r"emit_signal\((?P<name>\"\w+\"), (?P<payload>%\{.*?\n\})\)", re.DOTALL)
HANDLE = re.compile(
    r"\{:ok, (?P<result>\w+), _agent\} = "
    r"handle_signal\((?P<name>\"\w+\"), (?P<payload>%\{.*?\n\}), agent\)",
    re.DOTALL,
)

TRACKING = """
emit_signal("track_usage", %{
  "request_id" => "req_7",
  "provider" => "anthropic",
  "model" => "claude-3-haiku",
  "prompt_tokens" => 1000,
  "completion_tokens" => 200,
  "user_id" => "user_1",
  "project_id" => "proj_1",
  "metadata" => %{},
  "provenance" => %{
    "parent_request_id" => "req_6",
    "workflow_id" => "wf_7",
    "agent_id" => "agent_7",
    "agent_type" => "analysis",
    "signal_type" => "analyze",
    "task_type" => "analysis",
    "intent" => "explain",
    "input_hash" => "0123456789abcdef",
    "tags" => ["nightly"]
  }
})
"""
QUERYING = """
{:ok, result, _agent} = handle_signal("get_provenance", %{
  "request_id" => "req_7"
}, agent)

{:ok, lineage, _agent} = handle_signal("get_lineage", %{
  "request_id" => "req_7"
}, agent)

{:ok, usage, _agent} = handle_signal("get_workflow_usage", %{
  "workflow_id" => "wf_7"
}, agent)

{:ok, analysis, _agent} = handle_signal("analyze_task_costs", %{
  "task_type" => "analysis"
}, agent)
"""


def as_python(elixir: str) -> dict:
    """Return an Elixir map of literals as a dict."""
    return ast.literal_eval(elixir.replace("%{", "{").replace("=>", ":"))


def answers(tracking: str, querying: str) -> tuple[dict, dict[str, dict]]:
    """Track as the first example says and ask as the second does; return what came of it."""
    (emitted,) = EMIT.finditer(tracking)
    sent = as_python(emitted["payload"])
    manager = TokenManager()
    manager.handle_signal(as_python(emitted["name"]), sent)
    asked = {
        one["result"]: manager.handle_signal(as_python(one["name"]), as_python(one["payload"]))
        for one in HANDLE.finditer(querying)
    }
    return sent, asked


def check(sent: dict, asked: dict[str, dict]) -> None:
    assert list(asked) == ["result", "lineage", "usage", "analysis"]
    provenance = asked["result"]["provenance"]
    assert {name: provenance[name] for name in sent["provenance"]} == sent["provenance"]
    assert provenance["request_id"] == sent["request_id"]
    assert (provenance["depth"], asked["result"]["is_root"]) == (1, False)
    usage = asked["result"]["usage"]
    for name in ("provider", "model", "prompt_tokens", "completion_tokens", "user_id"):
        assert usage[name] == sent[name]
    parent = sent["provenance"]["parent_request_id"]
    assert asked["lineage"]["root_requests"] == asked["lineage"]["ancestors"] == [parent]
    assert asked["usage"]["request_ids"] == [sent["request_id"]]
    total = sent["prompt_tokens"] + sent["completion_tokens"]
    assert asked["usage"]["total_tokens"] == asked["analysis"]["total_tokens"] == total
    assert asked["analysis"]["total_requests"] == 1
    assert list(asked["analysis"]["by_model"]) == [sent["model"]]
    assert asked["usage"]["total_cost"] > 0


@pytest.mark.usefixtures("recording")
def test_examples_of_the_documents_shape_run():
    """Tracking with provenance, and the four questions."""
    check(*answers(TRACKING, QUERYING))


@pytest.mark.skipif(DOCUMENT is None, reason="the document is not here")
@pytest.mark.usefixtures("recording")
def test_the_examples_run_as_they_are_written():
    """The document's own blocks, both of them."""
    tracking, querying = documents.blocks(DOCUMENT, "elixir")

    check(*answers(tracking, querying))
