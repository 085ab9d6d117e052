"""Each pattern is found from its threshold on, with what it rests on, and not before.

Source of the rules: document 2 (token provenance).
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whence
from whence.analysis import graph, patterns
from whence.analysis.asking import open_facts
from whence.analysis.facts import Call, Edge
from whence.analysis.memoryfacts import MemoryFacts
from whence.analysis.patterns import Thresholds
from whence.query.reader import open_store


def chain(names: str, kind: str = "retry_of") -> list[tuple[str, str, str]]:
    return [(a, b, kind) for a, b in pairwise(names)]


def test_two_calls_with_one_input_hash_are_duplicates(facts):
    """Half of what two of them cost was for nothing, and a third kept would be two thirds."""
    same = {"input_hash": "h", "cost_usd": 0.3, "duration_ms": 600, "agent_type": "a"}
    (pair,) = patterns.duplicates(facts([same, same, {"input_hash": "other", "cost_usd": 9}]))
    (triple,) = patterns.duplicates(facts([same, same, {**same, "agent_type": "b"}]))

    assert (pair.kind, pair.severity) == ("duplicate_requests", "high")
    assert pair.subjects == ["r0", "r1"]
    assert pair.evidence == ["rec_0", "rec_1"]
    assert pair.recoverable_usd == pytest.approx(0.3)
    assert triple.recoverable_usd == pytest.approx(0.6)
    assert triple.recoverable_s == pytest.approx(1.2)
    assert triple.figures["agent_types"] == ["a", "b"]


def test_calls_without_an_input_hash_are_no_duplicates(facts):
    """Unknown is not the same as equal."""
    assert patterns.duplicates(facts([{"cost_usd": 1}, {"cost_usd": 1}])) == []


def test_the_waste_of_unknown_costs_is_unknown(facts):
    """Absent is not zero: what nobody priced is not said to cost nothing."""
    (found,) = patterns.duplicates(facts([{"input_hash": "h"}, {"input_hash": "h"}]))

    assert found.recoverable_usd is None
    assert found.recoverable_s is None


def test_the_costliest_duplicates_come_first(facts):
    """And no more of them than asked for."""
    calls = [{"input_hash": f"h{n}", "cost_usd": n} for n in (1, 5, 3) for _ in range(2)]

    found = patterns.duplicates(facts(calls), Thresholds(findings=2))

    assert [one.figures["input_hash"] for one in found] == ["h5", "h3"]


def test_a_finding_names_some_and_counts_all(facts):
    """A thousand ids are enough to look at; the figures are of all."""
    (found,) = patterns.duplicates(facts([{"input_hash": "h"}] * 9), Thresholds(named=4))

    assert found.subjects == ["r0", "r1", "r2", "r3"]
    assert found.figures["requests"] == 9


def test_three_retries_are_a_storm_and_two_are_not(facts):
    """More than two, whether of the original or of one another."""
    assert patterns.retry_storms(facts(edges=chain("abc"))) == []
    (storm,) = patterns.retry_storms(facts(edges=chain("abcd")))
    (star,) = patterns.retry_storms(facts(edges=[("a", x, "retry_of") for x in "bcd"]))

    assert (storm.kind, storm.severity) == ("retry_storm", "high")
    assert storm.subjects == star.subjects == ["a", "b", "c", "d"]
    assert storm.evidence == ["link_0", "link_1", "link_2"]
    assert storm.figures["retries"] == 3


def test_a_long_chain_of_retries_is_a_storm_for_each_beginning(facts):
    """From a to e there are two: one of a with four retries and one of b with three."""
    found = patterns.retry_storms(facts(edges=chain("abcde")))

    assert [(one.subjects[0], one.figures["retries"]) for one in found] == [("a", 4), ("b", 3)]


def test_only_retries_make_a_storm(facts):
    """Edges of other kinds between the same requests count for nothing here."""
    assert patterns.retry_storms(facts(edges=chain("abcdef", "triggered_by"))) == []


def test_a_retry_reached_twice_counts_once(facts):
    """Also where edges meet again, and where they form a ring."""
    diamond = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]
    ring = [("a", "b"), ("b", "c"), ("c", "a")]

    (found,) = patterns.retry_storms(facts(edges=[(*edge, "retry_of") for edge in diamond]))

    assert found.figures["retries"] == 3
    assert patterns.retry_storms(facts(edges=[(*edge, "retry_of") for edge in ring])) == []


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=18))
def test_retries_are_counted_as_a_walk_would(pairs):
    """Whatever the edges: trees, meetings and rings give the number of distinct retries."""
    edges = [Edge(str(a), str(b), "retry_of", f"{n}") for n, (a, b) in enumerate(pairs) if a != b]
    later, _ = graph.adjacency((edge.source, edge.target) for edge in edges)
    expected = {node: len(graph.reachable(later, node)) for node in later}

    found = patterns.retry_storms(MemoryFacts([], edges))

    counted = {one.figures["original_request"]: one.figures["retries"] for one in found}
    assert counted == {node: count for node, count in expected.items() if count > 2}


def test_a_storm_says_who_retried_and_why_it_failed(facts):
    """Intervals, agents, errors and cost of the retries that were recorded."""
    calls = [
        {"request": name, "ts_ns": n * 2_000_000_000, "agent_type": "a", "cost_usd": 0.1}
        | ({"error_type": "timeout"} if name != "d" else {})
        for n, name in enumerate("abcd")
    ]

    (storm,) = patterns.retry_storms(facts(calls, chain("abcd")))

    assert storm.figures["intervals_s"] == [2.0, 2.0]
    assert storm.figures["error_types"] == {"timeout": 2}
    assert storm.figures["agent_types"] == ["a"]
    assert storm.figures["retries_cost_usd"] == pytest.approx(0.3)


def test_depth_six_is_deep_and_five_is_not(facts):
    """Chains are told apart by their roots."""
    calls = [{"depth": depth, "root": root} for root in ("x", "y") for depth in range(8)]
    calls += [{"depth": 5, "root": "z"}]

    found = patterns.deep_chains(facts(calls))

    assert [one.figures["root_request"] for one in found] == ["x", "y"]
    assert found[0].kind == "deep_request_chain"
    assert found[0].severity == "medium"
    assert found[0].subjects == ["r6", "r7"]
    assert found[0].figures["max_depth"] == 7
    assert found[0].figures["depth_distribution"] == {6: 1, 7: 1}


def test_links_say_how_deep_a_call_is_that_states_no_depth(facts):
    """The longest way counts, as with a stated depth."""
    calls = [{"request": name} for name in "abcdefgh"]
    edges = [*chain("abcdefgh", "triggered_by"), ("a", "h", "part_of")]

    (found,) = patterns.deep_chains(facts(calls, edges))

    assert found.subjects == ["g", "h"]
    assert found.figures["root_request"] == "a"
    assert found.figures["depth_distribution"] == {6: 1, 7: 1}


def test_a_stated_depth_is_believed(facts):
    """Links do not make a call deep that says that it is not."""
    calls = [{"request": name, "depth": 1} for name in "abcdefgh"]

    assert patterns.deep_chains(facts(calls, chain("abcdefgh", "triggered_by"))) == []


def test_a_request_that_leads_to_itself_is_a_ring(facts):
    """Found once for a knot of requests, with the links that close it."""
    edges = [*chain("abca", "triggered_by"), *chain("xyx", "derived_from"), ("a", "z", "part_of")]

    found = patterns.rings(facts(edges=edges))

    assert [one.subjects for one in found] == [["a", "b", "c"], ["x", "y"]]
    assert {(one.kind, one.severity) for one in found} == {("circular_dependency", "critical")}
    assert found[0].figures["cycle_path"] == ["a", "b", "c", "a"]
    assert found[0].evidence == ["link_0", "link_1", "link_2"]


def test_an_average_above_a_dollar_is_expensive(facts):
    """A dollar is not; calls without a cost do not make the others cheaper."""
    dear = [{"task_type": "dear", "cost_usd": cost, "model": "m"} for cost in (1.0, 1.02, None)]
    fair = [{"task_type": "fair", "cost_usd": 1.0}]

    (found,) = patterns.expensive_tasks(facts([*dear, *fair]))

    assert (found.kind, found.severity) == ("expensive_task_pattern", "medium")
    assert found.subjects == ["r0", "r1", "r2"]
    assert found.figures["mean_cost_usd"] == pytest.approx(1.01)
    assert found.figures["models"] == ["m"]


def test_every_finding_shows_its_evidence_again(recording):
    """The SQL of a finding gives the records that it cites, hostile values and all."""
    hostile = "it's; DROP TABLE runs --\n☃"
    ids = [f"req '{n}'" for n in range(9)]
    for number, request in enumerate(ids):
        with whence.run("r", external_id=request) as run:
            run.record_generation(
                model="gpt-4",
                cost_usd=2,
                task_type=hostile,
                input_hash=hostile,
                root_request_id=hostile,
                depth=number,
            )
            if number:
                run.link("retry_of", request, source=ids[number - 1])
    with open_store(recording) as reader:
        with open_facts(reader) as facts:
            found = patterns.find_all(facts)
        assert {one.kind for one in found} == {
            "duplicate_requests",
            "retry_storm",
            "deep_request_chain",
            "expensive_task_pattern",
        }
        for one in found:
            shown = reader.sql(one.query).to_dicts()
            assert [row["id"] for row in shown] == one.evidence, one.kind


def test_values_that_sql_cannot_say_are_shown_by_their_records(facts):
    """A NUL is refused by the guard of SQL, so the query names the records."""
    (found,) = patterns.duplicates(facts([{"input_hash": "a\0b"}] * 2))

    assert "\0" not in found.query
    assert "'rec_0', 'rec_1'" in found.query


def test_thresholds_may_be_changed(facts):
    """Every number of the document is a default."""
    calls = [{"input_hash": "h", "depth": 3, "root": "x", "cost_usd": 0.5, "task_type": "t"}] * 2
    strict = Thresholds(duplicates=3, retries=1, depth=2, mean_cost_usd=0.4)

    found = patterns.find_all(facts(calls, chain("abc")), strict)

    assert [one.kind for one in found] == [
        "retry_storm",
        "deep_request_chain",
        "expensive_task_pattern",
    ]


@given(st.lists(st.sampled_from("xyz"), max_size=12), st.data())
def test_what_duplicates_waste_is_never_more_than_what_they_cost(hashes, data):
    """And it is what all but one cost when they cost the same."""
    cost = data.draw(st.floats(0.01, 10))
    calls = [
        Call(id=str(n), run="", request=str(n), ts_ns=n, input_hash=digest, cost_usd=cost)
        for n, digest in enumerate(hashes)
    ]

    for found in patterns.duplicates(MemoryFacts(calls, [])):
        count = found.figures["requests"]
        assert found.recoverable_usd == pytest.approx(cost * (count - 1))
        assert found.recoverable_usd <= found.figures["total_cost_usd"]
