"""The token manager: what signals track is in the log, and what they ask is answered from there.

Source of the rules: document 2 (token provenance).
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import whence
from whence.capture.links import edges
from whence.record import codec
from whence.record.link import Link
from whence.tokens import Budget, ProvenanceRelationship, SignalError, SignalLinkError, TokenManager

pytestmark = pytest.mark.usefixtures("recording")
WHO = {
    "agent_id": "agent_1",
    "agent_type": "provider",
    "task_type": "code_generation",
    "intent": "implement_feature",
}


def payload(request_id: str, parent: str | None = None, provenance=None, **fields) -> dict:
    return {
        "request_id": request_id,
        "provider": "openai",
        "model": "gpt-4",
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "provenance": {**WHO, "parent_request_id": parent, **(provenance or {})},
        **fields,
    }


def track(manager: TokenManager, *arguments, **fields) -> dict:
    return manager.handle_signal("track_usage", payload(*arguments, **fields))


def in_another_process(home, code: str) -> str:
    """Run code in a new interpreter that records into the same home; return what it printed."""
    head = f"import whence\nfrom whence.tokens import *\nwhence.configure({str(home)!r})\n"
    helper = f"payload = {payload('x')!r}\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", head + helper + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FULL = {
    **WHO,
    "parent_request_id": "req_0",
    "root_request_id": "req_root",
    "depth": 4,
    "workflow_id": "wf_1",
    "session_id": "ses_1",
    "conversation_id": "con_1",
    "signal_type": "generate_response",
    "signal_trail": ["plan", "generate_response"],
    "purpose": "to have it done",
    "prompt_template_id": "tpl_1",
    "prompt_version": "3",
    "input_hash": "abc123",
    "output_hash": "def456",
    "code_references": ["a.py:1"],
    "document_references": ["spec.md"],
    "system_version": "1.2",
    "environment": "production",
    "tags": ["feature", "backend"],
    "metadata": {"error": False, "nested": {"a": [1, None]}},
}


def test_all_27_fields_come_back(recording):
    """From the log, by another manager and by another process, exactly as they were tracked."""
    tracked = track(TokenManager(), "req_1", provenance=FULL)["provenance"]

    found = TokenManager().handle_signal("get_provenance", {"request_id": "req_1"})
    elsewhere = in_another_process(
        recording,
        """
        import json
        answer = TokenManager().handle_signal("get_provenance", {"request_id": "req_1"})
        print(json.dumps(answer["provenance"]))
        """,
    )

    assert {name: tracked[name] for name in FULL} == FULL
    assert len(tracked) == 27
    assert found["provenance"] == tracked
    assert json.loads(elsewhere) == tracked
    assert (found["lineage_depth"], found["is_root"]) == (4, False)


def test_usage_comes_back_too():
    """With its tokens as stated, its cost, and whom it is charged to."""
    tracked = track(
        TokenManager(),
        "req_1",
        cost="0.125",
        user_id="ann",
        project_id="p",
        metadata={"team_id": "blue", "feature": "chat", "other": 1},
    )["usage"]

    found = TokenManager().handle_signal("get_provenance", {"request_id": "req_1"})["usage"]

    assert found == tracked
    assert (found["cost"], found["total_tokens"], found["currency"]) == (0.125, 150, "USD")
    assert (found["team_id"], found["feature"], found["user_id"]) == ("blue", "chat", "ann")
    assert found["metadata"] == {"team_id": "blue", "feature": "chat", "other": 1}


def test_a_request_is_a_run_with_its_call_and_link(recording):
    """So everything that asks about runs, calls and links knows it, by its own id."""
    tracked = track(TokenManager(), "req_1", provenance=FULL, project_id="p", user_id="ann")

    with whence.open(recording) as store:
        (run,) = store.runs('workflow = "wf_1" and tag = "backend" and user = "ann"')
        (call,) = store.generations('run.external_id = "req_1"')
        (link,) = store.links()
        tree = store.run("req_1")
        lineage = store.lineage("req_1")
        why = str(store.why("req_1"))
    assert run.id == tracked["run_id"] == tree.id
    assert (run.external_id, run.kind, run.project, run.status) == (
        "req_1",
        "request",
        "p",
        "complete",
    )
    assert (run.session, run.conversation) == ("ses_1", "con_1")
    assert run.attributes["dialect"] == "tokens"
    assert (call.provider, call.model, call.input_tokens, call.output_tokens) == (
        "openai",
        "gpt-4",
        100,
        50,
    )
    assert call.usage.stated["total_tokens"] == 150
    assert (call.prompt_name, call.prompt_version) == ("tpl_1", "3")
    assert (link.kind, link.source, link.target) == ("triggered_by", "req_0", "req_1")
    assert link.attributes["metadata"] == {"signal_type": "generate_response"}
    assert [node.id for node in lineage.ancestors] == ["req_0"]
    assert "gpt-4" in why


def test_provenance_is_required():
    """A usage without it is refused, with a reason, and nothing is tracked."""
    manager = TokenManager()
    data = payload("req_1")
    for missing in (None, {}, "agent"):
        with pytest.raises(SignalError, match="provenance is required") as caught:
            manager.handle_signal("track_usage", {**data, "provenance": missing})
        assert "provenance is required" in caught.value.errors
        assert caught.value.signal == "track_usage"
    del data["provenance"]
    with pytest.raises(whence.WhenceError, match="provenance is required"):
        manager.handle_signal("track_usage", data)

    assert manager.provenance_buffer == []
    with pytest.raises(SignalError, match="nobody tracked"):
        manager.handle_signal("get_provenance", {"request_id": "req_1"})


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"request_id": ""}, "request_id is required"),
        ({"request_id": 7}, "request_id must be a text"),
        ({"request_id": "x" * 1001}, "request_id is longer than 1,000 characters"),
        ({"request_id": "\ud800"}, "request_id holds half of a surrogate pair"),
        ({"provider": None}, "provider is required"),
        ({"model": ["gpt-4"]}, "model must be a text"),
        ({"prompt_tokens": None}, "prompt_tokens is required"),
        ({"prompt_tokens": -1}, "prompt_tokens must be non-negative"),
        ({"completion_tokens": 1.5}, "completion_tokens must be a whole number"),
        ({"completion_tokens": True}, "completion_tokens must be a whole number"),
        ({"prompt_tokens": 10**30}, "prompt_tokens must be a whole number"),
        ({"total_tokens": 151}, "total_tokens mismatch"),
        ({"cost": -1}, "cost must be non-negative"),
        ({"cost": "much"}, "cost must be an amount of money"),
        ({"cost": float("nan")}, "cost must be an amount of money"),
        ({"metadata": [1]}, "metadata must be a mapping"),
        ({"user_id": 3}, "user_id must be a text"),
        ({"timestamp": "soon"}, "timestamp must be a time, or its RFC 3339 text"),
    ],
)
def test_wrong_usage_is_refused_with_a_reason(change, error):
    """Each fault is named."""
    with pytest.raises(SignalError) as caught:
        TokenManager().handle_signal("track_usage", {**payload("req_1"), **change})

    assert error in caught.value.errors
    assert error in caught.value.reason


@pytest.mark.parametrize(
    ("change", "error"),
    [
        *(({name: None}, f"{name} is required") for name in WHO),
        *(({name: ""}, f"{name} is required") for name in WHO),
        ({"depth": 2}, "depth must be 0 for root requests"),
        ({"depth": -1}, "depth must be a whole number from 0"),
        ({"depth": "2"}, "depth must be a whole number from 0"),
        ({"tags": "feature"}, "tags must be a list of texts"),
        ({"tags": [1]}, "tags must be a list of texts"),
        ({"workflow_id": 1}, "workflow_id must be a text"),
        ({"intent": ["a"]}, "intent must be a text"),
        ({"metadata": "x"}, "metadata must be a mapping"),
        ({"parent_request_id": "x" * 1001}, "parent_request_id is longer than 1,000 characters"),
    ],
)
def test_wrong_provenance_is_refused_with_a_reason(change, error):
    """As the document's validation says, and where a value has no sense."""
    with pytest.raises(SignalError) as caught:
        track(TokenManager(), "req_1", provenance=change)

    assert error in caught.value.errors


def test_all_faults_are_named_at_once():
    """So that nobody has to mend them one by one."""
    with pytest.raises(SignalError) as caught:
        TokenManager().handle_signal("track_usage", {"provenance": {"agent_id": "a"}})

    assert set(caught.value.errors) >= {
        "request_id is required",
        "provider is required",
        "completion_tokens is required",
        "agent_type is required",
        "intent is required",
    }


def test_unknown_signals_and_payloads_are_refused():
    """Whatever is called, with whatever."""
    manager = TokenManager()

    with pytest.raises(SignalError, match="get_lineage"):
        manager.handle_signal("fly", {})
    for name in ("track_usage", "get_provenance"):
        with pytest.raises(SignalError, match="mapping"):
            manager.handle_signal(name, ["x"])
    for name, key in [
        ("get_provenance", "request_id"),
        ("get_lineage", "request_id"),
        ("get_workflow_usage", "workflow_id"),
        ("analyze_task_costs", "task_type"),
    ]:
        with pytest.raises(SignalError, match=f"{key} is required"):
            manager.handle_signal(name, {key: 3})
    with pytest.raises(SignalError, match="whole number"):
        manager.handle_signal("get_lineage", {"request_id": "x", "max_depth": -1})


def test_keys_that_are_not_known_are_kept():
    """Among the metadata of what they were said of."""
    track(TokenManager(), "req_1", provenance={"cached": True}, latency_class="fast")

    found = TokenManager().handle_signal("get_provenance", {"request_id": "req_1"})

    assert found["provenance"]["metadata"] == {"cached": True}
    assert found["usage"]["metadata"] == {"latency_class": "fast"}


def test_depth_and_root_follow_the_parent():
    """A child of a known parent is one deeper and has its root."""
    manager = TokenManager()
    found = [
        track(manager, child, parent)["provenance"]
        for parent, child in pairwise([None, "a", "b", "c"])
    ]

    assert [one["depth"] for one in found] == [0, 1, 2]
    assert [one["root_request_id"] for one in found] == ["a", "a", "a"]


def test_an_unknown_parent_is_the_root():
    """And its child is at depth 1."""
    found = track(TokenManager(), "req_1", "never tracked")["provenance"]

    assert (found["root_request_id"], found["depth"]) == ("never tracked", 1)


def test_a_parent_that_left_the_buffer_is_still_known():
    """The buffer is a cache of the log, not the memory of the system."""
    manager = TokenManager(buffer_size=2)
    names = [f"req_{n}" for n in range(12)]
    for parent, child in pairwise([None, *names]):
        track(manager, child, parent)

    deepest = manager.handle_signal("get_provenance", {"request_id": "req_11"})["provenance"]
    oldest = manager.handle_signal("get_provenance", {"request_id": "req_0"})["provenance"]

    assert [one.request_id for one in manager.provenance_buffer] == ["req_11", "req_10"]
    assert [one.request_id for one in manager.usage_buffer] == ["req_11", "req_10"]
    assert (deepest["depth"], deepest["root_request_id"]) == (11, "req_0")
    assert oldest["depth"] == 0


def test_a_parent_of_another_process_is_known(recording):
    """Depth and root go on across processes."""
    in_another_process(
        recording,
        """
        manager = TokenManager()
        for parent, child in ((None, "a"), ("a", "b")):
            provenance = {**payload["provenance"], "parent_request_id": parent}
            data = {**payload, "request_id": child, "provenance": provenance}
            manager.handle_signal("track_usage", data)
        """,
    )

    found = track(TokenManager(), "c", "b")["provenance"]
    unasked = track(TokenManager(look_up_parents=False), "d", "b")["provenance"]

    assert (found["depth"], found["root_request_id"]) == (2, "a")
    assert (unasked["depth"], unasked["root_request_id"]) == (1, "b")


def test_a_stated_lineage_is_taken_as_it_is():
    """Who knows depth and root need not have them looked up."""
    stated = {"depth": 7, "root_request_id": "r"}

    found = track(TokenManager(), "req_1", "p", provenance=stated)["provenance"]

    assert (found["depth"], found["root_request_id"]) == (7, "r")


@pytest.mark.parametrize("others", [[], ["b"], ["b", "c"]])
def test_a_parent_that_came_later_is_refused(recording, others):
    """Itself, its child, its grandchild: nothing of the request is tracked."""
    manager = TokenManager()
    track(manager, "unrelated")
    chain = ["a", *others]
    for parent, child in pairwise(chain):
        track(manager, child, parent)

    with pytest.raises(SignalLinkError) as caught:
        track(manager, "a", chain[-1])

    assert isinstance(caught.value, whence.LinkError)
    with whence.open(recording) as store:
        assert store.count("runs") == 1 + len(others)
        assert store.count("links") == len(others)
    assert manager.graph.cycles() == []


def test_rings_that_processes_made_together_are_found(recording):
    """No process could refuse them; the lineage ends all the same and names them."""
    for source, target in (("a", "b"), ("b", "c"), ("c", "a")):
        in_another_process(
            recording,
            f"""
            manager = TokenManager()
            manager.relate(ProvenanceRelationship(
                source_request_id={source!r}, target_request_id={target!r}
            ))
            """,
        )
    track(TokenManager(), "d", "c")

    found = TokenManager().handle_signal("get_lineage", {"request_id": "d"})

    assert found["cycles"] == [["a", "b", "c"]]
    assert found["ancestors"] == ["c", "b", "a"]
    assert found["root_requests"] == ["d"]
    json.dumps(found)


def test_relationships_of_every_type_can_be_declared(recording):
    """By the type of the edge from the parent, or between any two requests afterwards."""
    manager = TokenManager()
    track(manager, "first")
    track(manager, "again", "first", provenance={"relationship_type": "retry_of"})
    track(manager, "check")
    manager.relate(
        ProvenanceRelationship(
            source_request_id="again",
            target_request_id="check",
            relationship_type="validation_of",
            metadata={"by": "rule"},
        )
    )

    with whence.open(recording) as store:
        links = {(one.kind, one.source, one.target): one for one in store.links()}
        check = store.run("check").id
    assert set(links) == {
        ("retry_of", "first", "again"),
        ("validation_of", "again", "check"),
    }
    assert links["validation_of", "again", "check"].run == check
    found = TokenManager().handle_signal("get_provenance", {"request_id": "again"})
    assert [one["relationship_type"] for one in found["relationships"]] == [
        "retry_of",
        "validation_of",
    ]
    assert found["relationships"][1]["metadata"] == {"by": "rule"}
    with pytest.raises(SignalLinkError, match="invalid relationship type"):
        track(manager, "x", "first", provenance={"relationship_type": "cousin_of"})
    with pytest.raises(whence.LinkError):
        manager.graph.add("check", "first")


def test_a_lineage_is_a_tree_and_lists():
    """What led to a request, what it led to, each with its type and its provenance."""
    manager = TokenManager()
    track(manager, "root")
    track(manager, "mid", "root")
    track(manager, "leaf", "mid", provenance={"relationship_type": "enhancement_of"})

    found = TokenManager().handle_signal("get_lineage", {"request_id": "mid"})

    assert found["lineage_tree"] == {
        "id": "mid",
        "ancestors": [{"id": "root", "relationship": "triggered_by", "ancestors": []}],
        "descendants": [{"id": "leaf", "relationship": "enhancement_of", "descendants": []}],
    }
    assert (found["ancestors"], found["descendants"]) == (["root"], ["leaf"])
    assert (found["root_requests"], found["total_descendants"], found["depth"]) == (["root"], 1, 1)
    assert {name: one["depth"] for name, one in found["provenances"].items()} == {
        "root": 0,
        "mid": 1,
        "leaf": 2,
    }
    assert found["complete"]


def test_a_lineage_with_many_ways_stays_small():
    """Twenty diamonds in a row have a million ways; each request is expanded once."""
    manager = TokenManager()
    names = ["n0"]
    for level in range(20):
        for side in "ab":
            track(manager, f"{side}{level}", names[-1])
        names.append(f"n{level + 1}")
        track(manager, names[-1], f"a{level}")
        manager.graph.add(f"b{level}", names[-1], "derived_from")

    found = manager.handle_signal("get_lineage", {"request_id": "n0"})

    assert found["total_descendants"] == 60
    assert len(json.dumps(found["lineage_tree"])) < 20_000
    assert '"repeated": true' in json.dumps(found["lineage_tree"])
    assert manager.handle_signal("get_lineage", {"request_id": "n20"})["depth"] == 40


def test_a_lineage_may_be_limited():
    """By depth and by the number of requests; it says that there is more."""
    manager = TokenManager()
    for parent, child in pairwise([None, *"abcdef"]):
        track(manager, child, parent)

    near = manager.handle_signal("get_lineage", {"request_id": "c", "max_depth": 1})
    few = manager.handle_signal("get_lineage", {"request_id": "a", "limit": 2})

    assert (near["ancestors"], near["descendants"], near["complete"]) == (["b"], ["d"], False)
    assert len(few["descendants"]) < 5
    assert not few["complete"]


def test_links_by_run_ids_belong_to_the_lineage():
    """A link of the core names runs; the requests are the same ones."""
    manager = TokenManager()
    first, second = (track(manager, name)["run_id"] for name in ("req_1", "req_2"))
    with whence.run("elsewhere") as run:
        run.link("derived_from", second, source=first)

    found = manager.handle_signal("get_lineage", {"request_id": "req_1"})

    assert found["descendants"] == ["req_2"]
    by_run = manager.handle_signal("get_lineage", {"request_id": first})
    assert (by_run["request_id"], by_run["descendants"]) == ("req_1", ["req_2"])


def test_an_unknown_request_has_no_lineage():
    """Neither a request nor a link has that id."""
    with pytest.raises(SignalError, match="nobody tracked") as caught:
        TokenManager().handle_signal("get_lineage", {"request_id": "no\nsuch"})

    assert "\n" not in caught.value.reason


def test_a_workflow_knows_what_it_used(recording):
    """Over all processes and however many requests, by task, agent and model."""
    manager = TokenManager(buffer_size=1)
    flow = {"workflow_id": "wf_1"}
    track(manager, "a", provenance=flow, cost=1)
    track(manager, "b", "a", provenance={**flow, "task_type": "analysis"}, cost=0.5)
    track(manager, "c", provenance={"workflow_id": "wf_2"}, cost=7)
    in_another_process(
        recording,
        """
        provenance = {**payload["provenance"], "workflow_id": "wf_1"}
        data = {**payload, "request_id": "d", "provenance": provenance, "cost": 0.25}
        TokenManager().handle_signal("track_usage", data)
        """,
    )

    found = manager.handle_signal("get_workflow_usage", {"workflow_id": "wf_1"})

    assert (found["total_requests"], found["total_tokens"], found["total_cost"]) == (3, 450, 1.75)
    assert found["request_ids"] == ["a", "b", "d"]
    assert found["by_task_type"]["code_generation"]["count"] == 2
    assert found["by_task_type"]["analysis"]["cost"] == 0.5
    assert found["by_agent_type"]["provider"]["tokens"] == 450
    assert (found["min_depth"], found["max_depth"]) == (0, 1)
    json.dumps(found)


def test_an_unknown_workflow_used_nothing():
    """No requests, and no sum of what nobody spent."""
    found = TokenManager().handle_signal("get_workflow_usage", {"workflow_id": "wf"})

    assert (found["total_requests"], found["total_cost"], found["request_ids"]) == (0, None, [])


def test_a_task_knows_what_it_costs():
    """By model and intent, on average, and which inputs were repeated."""
    manager = TokenManager()
    for number, (model, digest) in enumerate([("gpt-4", "h"), ("small", "h"), ("small", None)]):
        data = {"input_hash": digest, "intent": f"i{number % 2}"}
        track(manager, f"req_{number}", provenance=data, model=model, cost=number)
    track(manager, "other", provenance={"task_type": "analysis"}, cost=9)

    found = manager.handle_signal("analyze_task_costs", {"task_type": "code_generation"})

    assert (found["total_requests"], found["total_cost"]) == (3, 3)
    assert (found["avg_tokens_per_request"], found["avg_cost_per_request"]) == (150, 1)
    assert found["by_model"]["small"]["count"] == 2
    assert found["by_intent"]["i0"]["cost"] == 2
    (pattern,) = found["duplicate_patterns"]
    assert (pattern["input_hash"], pattern["duplicate_count"]) == ("h", 2)
    assert pattern["request_ids"] == ["req_0", "req_1"]
    json.dumps(found)


def test_costs_are_stated_computed_or_unknown(recording):
    """By the caller, from a price, or not at all, and never zero for unknown."""
    manager = TokenManager()
    stated = track(manager, "stated", cost=0.5)["usage"]["cost"]
    computed = track(manager, "computed")["usage"]["cost"]
    unknown = track(manager, "unknown", model="new-model")["usage"]["cost"]
    foreign = track(manager, "foreign", cost=2, currency="EUR")["usage"]

    with whence.open(recording) as store:
        calls = {store.run(one.run).external_id: one for one in store.generations()}
    assert (stated, computed, unknown) == (0.5, 0.006, None)
    assert calls["stated"].cost_source == "declared"
    assert (calls["computed"].cost_usd, calls["computed"].cost_source) == (0.006, "computed")
    assert calls["computed"].price["prompt_usd"] == 0.03
    assert (calls["unknown"].cost_usd, calls["unknown"].cost_source) == (None, None)
    assert (foreign["cost"], foreign["currency"]) == (2.0, "EUR")
    assert calls["foreign"].cost_usd is None
    again = TokenManager().handle_signal("get_provenance", {"request_id": "foreign"})["usage"]
    assert (again["cost"], again["currency"]) == (2.0, "EUR")


@pytest.mark.parametrize(
    "metadata",
    [
        {"error": True, "error_type": "timeout"},
        {"error": "it broke", "error_type": "timeout"},
        {"error_code": "timeout", "error_message": "it broke"},
    ],
)
def test_a_failed_request_is_a_failed_run(recording, metadata):
    """The metadata say so; the error is the call's, so error rates know it."""
    track(TokenManager(), "req_1", provenance={"metadata": metadata})

    with whence.open(recording) as store:
        run = store.run("req_1")
        (call,) = store.generations('status = "error"')
    assert (run.status, call.error_type) == ("failed", "timeout")


def test_a_request_inside_a_run_is_its_child(recording):
    """Tracking inside a traced pipeline shows what the pipeline's request was for."""
    with whence.run("report") as outer:
        track(TokenManager(), "req_1")
        assert whence.current_run().id == outer.id

    with whence.open(recording) as store:
        assert store.run("req_1").parent_run == outer.id


def test_signals_are_emitted_to_the_listener():
    """One for every request with its lineage, and the usage of every full buffer."""
    heard = []
    manager = TokenManager(2, lambda name, data: heard.append((name, data)))
    for parent, child in pairwise([None, "a", "b", "c"]):
        track(manager, child, parent, cost=1)

    assert [name for name, _ in heard] == [
        "token.usage.tracked",
        "token.usage.tracked",
        "token.usage.flush",
        "token.usage.tracked",
    ]
    assert heard[1][1]["lineage"] == {"parent": "a", "root": "a", "depth": 1}
    assert (heard[1][1]["total_tokens"], heard[1][1]["cost"]) == (150, 1.0)
    assert [one["request_id"] for one in heard[2][1]["usage_records"]] == ["a", "b"]
    assert manager.flush() == 1
    assert heard[-1][1]["count"] == 1
    assert manager.flush() == 0
    json.dumps(heard)


def test_a_broken_listener_breaks_nothing(capsys):
    """What was tracked stays tracked; the failure is told once."""

    def listen(_name, _data):
        raise ValueError("a broken listener of the manager's test")

    manager = TokenManager(on_signal=listen)
    for name in ("a", "b"):
        track(manager, name)

    assert len(manager.provenance_buffer) == 2
    assert capsys.readouterr().err.count("a broken listener of the manager's test") == 1


def test_budgets_are_charged_after_the_fact():
    """Those that apply, whatever their limit."""
    mine, all_of_it = Budget(1, type="user", entity_id="ann"), Budget(1)
    manager = TokenManager(budgets=[mine, all_of_it])

    track(manager, "a", user_id="ann", cost=2)
    track(manager, "b", user_id="bob", cost=3)
    track(manager, "c", model="unpriced")

    assert (mine.spent, all_of_it.spent) == (2, 5)
    assert all_of_it.exceeded


def test_without_recording_the_buffer_answers(home):
    """The whole API works on what is in memory, and nothing is written."""
    whence.configure(home, enabled=False)
    manager = TokenManager(buffer_size=3)
    for parent, child in pairwise([None, *"abcd"]):
        track(manager, child, parent, provenance={"workflow_id": "w", "input_hash": "h"}, cost=1)

    assert manager.handle_signal("get_provenance", {"request_id": "d"})["lineage_depth"] == 3
    lineage = manager.handle_signal("get_lineage", {"request_id": "d"})
    assert lineage["ancestors"] == ["c", "b", "a"]
    usage = manager.handle_signal("get_workflow_usage", {"workflow_id": "w"})
    assert (usage["total_requests"], usage["request_ids"]) == (3, ["b", "c", "d"])
    costs = manager.handle_signal("analyze_task_costs", {"task_type": "code_generation"})
    assert costs["duplicate_patterns"][0]["duplicate_count"] == 3
    with pytest.raises(SignalLinkError):
        track(manager, "a", "d")
    with pytest.raises(SignalError):
        manager.handle_signal("get_provenance", {"request_id": "a"})
    assert not home.exists()


def test_a_project_that_is_off_is_not_recorded(recording):
    """Neither by its own name nor inside a run of it; the buffer still knows."""
    whence.configure(recording, projects={"secret": False})
    manager = TokenManager()
    track(manager, "a", project_id="secret")
    with whence.run("hidden", project="secret"):
        track(manager, "b")
        manager.handle_signal("get_provenance", {"request_id": "b"})
    track(manager, "c", project_id="open")

    assert manager.handle_signal("get_provenance", {"request_id": "a"})["run_id"] is None
    assert manager.handle_signal("get_lineage", {"request_id": "b"})["ancestors"] == []
    with whence.open(recording) as store:
        assert [run.external_id for run in store.runs()] == ["c"]


def test_runs_of_no_dialect_have_provenance():
    """What the standard records say is told, and the rest is unknown."""
    with whence.run("summarize", external_id="job_7", workflow="wf", tags=["x"]) as run:
        run.record_generation(
            provider="openai", model="m", usage={"prompt_tokens": 3, "completion_tokens": 1}
        )

    found = TokenManager().handle_signal("get_provenance", {"request_id": "job_7"})
    by_run = TokenManager().handle_signal("get_provenance", {"request_id": run.id})

    told = found["provenance"]
    assert (told["request_id"], told["task_type"], told["workflow_id"]) == (
        "job_7",
        "summarize",
        "wf",
    )
    assert (told["agent_id"], told["depth"], told["tags"]) == (None, None, ["x"])
    assert (found["usage"]["total_tokens"], found["usage"]["cost"]) == (4, None)
    assert by_run == found


def test_runs_without_a_call_have_provenance_too():
    """Then nothing is said of usage."""
    with whence.run("plan", external_id="job_8"):
        pass

    found = TokenManager().handle_signal("get_provenance", {"request_id": "job_8"})

    assert found["usage"] is None


def test_a_request_tracked_again_is_the_later_one():
    """The latest word on a request id counts."""
    manager = TokenManager()
    track(manager, "a", cost=1)
    track(manager, "a", cost=2)

    assert len(manager.usage_buffer) == 1
    found = TokenManager().handle_signal("get_provenance", {"request_id": "a"})
    assert found["usage"]["cost"] == 2


def test_threads_may_share_a_manager(recording):
    """Every request of every thread is tracked once, with its own parent."""
    manager = TokenManager()

    def work(thread: int) -> None:
        for parent, child in pairwise([None, *(f"{thread}.{n}" for n in range(20))]):
            track(manager, child, parent)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    with whence.open(recording) as store:
        assert store.count("runs") == 80
        assert store.count("links") == 76
    found = TokenManager().handle_signal("get_provenance", {"request_id": "3.19"})
    assert (found["lineage_depth"], found["provenance"]["root_request_id"]) == (19, "3.0")


def test_damaged_parents_do_not_stop_tracking(recording, capsys):
    """Tracking goes on where the past cannot be read, and says so."""
    track(TokenManager(), "a")
    (recording / "archive").mkdir(exist_ok=True)
    (recording / "archive" / "CATALOG.json").write_text("no catalog", "utf-8")

    found = track(TokenManager(), "b", "a")["provenance"]

    assert (found["depth"], found["root_request_id"]) == (1, "a")
    assert "parents cannot be looked up" in capsys.readouterr().err


@pytest.mark.parametrize("size", [-1, 1.5, "ten", True])
def test_a_buffer_has_a_size(size):
    """A whole number from 0."""
    with pytest.raises(whence.ConfigError):
        TokenManager(buffer_size=size)
    assert TokenManager(buffer_size=0).provenance_buffer == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(st.data())
def test_any_data_is_tracked_or_refused(data):
    """Nothing but `SignalError` comes of data, whatever it is, and what is tracked can be found."""
    sent = payload("req_1")
    of_provenance = data.draw(st.booleans())
    part = sent["provenance"] if of_provenance else sent
    for name in data.draw(st.lists(st.sampled_from([*part, "depth", "tags", "cost", "odd"]))):
        part[name] = data.draw(JSON)
    edges._later.clear()

    try:
        tracked = TokenManager().handle_signal("track_usage", sent)
    except SignalError as error:
        assert error.reason  # noqa: PT017 - the alternative is success
    else:
        found = TokenManager().handle_signal(
            "get_provenance", {"request_id": tracked["usage"]["request_id"]}
        )
        assert found["provenance"]["id"] == tracked["provenance"]["id"]
        assert found["usage"]["prompt_tokens"] == tracked["usage"]["prompt_tokens"]


def test_links_in_the_log_are_from_the_earlier_to_the_later(recording):
    """Anybody who reads the log with other tools finds them so."""
    manager = TokenManager()
    track(manager, "first")
    track(manager, "retry", "first", provenance={"relationship_type": "retry_of"})

    lines = [
        line for path in recording.glob("log/*/*.jsonl") for line in path.read_bytes().splitlines()
    ]

    (link,) = [one for one in map(codec.decode, lines) if isinstance(one, Link)]
    assert (link.link_kind, link.source, link.target) == ("retry_of", "first", "retry")
