"""DuckDB and plain Python give the same facts of the same home, and both read the records right."""

from __future__ import annotations

import random

import homes
import msgspec
import pytest

import whence
from whence.analysis import agents, costs, patterns, recommend
from whence.analysis.asking import open_facts
from whence.analysis.facts import HOUR_NS, REQUEST_LINKS, Call, Facts
from whence.analysis.memoryfacts import MemoryFacts
from whence.analysis.sqlfacts import SqlFacts
from whence.log.home import Home
from whence.query.reader import open_store
from whence.store import compactor

FIELDS = [*(field.name for field in msgspec.structs.fields(Call) if field.name != "extra"), "hour"]
TASK = {"task_type": "draft", "agent_type": "writer", "input_hash": "h1"}


@pytest.fixture(params=["memory", "duckdb"])
def ask(recording, request):
    """Return a function that opens the facts of the home that the test records into."""

    def opened(**asked):
        recording.mkdir(exist_ok=True)
        reader = open_store(recording, memory=request.param == "memory")
        return open_facts(reader, **asked)

    return opened


def request_of(external_id: str, run=None, **attributes):
    """Record a run with one call."""
    fields = {"workflow": "wf", "user": "ann", "project": "p"} if run is None else run
    with whence.run("request", external_id=external_id, **fields, **attributes) as opened:
        opened.record_generation(
            provider="openai",
            model="gpt-4",
            usage={"prompt_tokens": 7, "completion_tokens": 3},
            cost_usd=0.5,
            duration_ms=20,
            prompt_name="summary",
            prompt_version="2",
        )
    return opened


def everything(facts: Facts) -> dict:
    """Return what facts say to a great many questions."""
    said = {f"by {name}": facts.groups((name,)) for name in FIELDS}
    said["none"] = facts.groups(())
    said["pairs"] = facts.groups(("task_type", "model"), min_calls=2)
    said["deep"] = facts.groups(("root", "depth"), deeper_than=1)
    for name in ("task_type", "model", "depth"):
        keys = [group.key[0] for group in said[f"by {name}"]]
        said[f"members {name}"] = facts.members(name, keys, 3)
        said[f"deep members {name}"] = facts.members(name, keys, 3, deeper_than=1)
    said["costliest"] = facts.costliest(5)
    said["named"] = facts.named([group.key[0] for group in said["by request"]])
    said["edges"] = facts.edges(REQUEST_LINKS)
    said["fan out"] = facts.fan_out(REQUEST_LINKS, 1)
    return said


@pytest.mark.parametrize("seed", range(6))
def test_both_ways_give_the_same_facts_of_odd_homes(home, seed):
    """Whatever lawful records hold, hot and archived, DuckDB says what plain Python says."""
    place = Home(home)
    for writer in homes.fill(place, seed, runs=25):
        writer.close()
    answers = []
    for memory in (True, False):
        with open_store(home, memory=memory) as reader, open_facts(reader, hashes=True) as facts:
            assert isinstance(facts, MemoryFacts if memory else SqlFacts)
            answers.append((everything(facts), patterns.find_all(facts), recommend.find_all(facts)))
    compactor.compact(place)
    with open_store(home) as reader, open_facts(reader, hashes=True) as facts:
        answers.append((everything(facts), patterns.find_all(facts), recommend.find_all(facts)))

    for said, found, advised in answers[1:]:
        for question, answer in answers[0][0].items():
            assert said[question] == answer, question
        assert found == answers[0][1]
        assert advised == answers[0][2]


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize("seed", range(4))
def test_both_ways_give_the_same_facts_of_requests(home, seed):
    """The same for requests with all that analyzers look at, linked in every way."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    ids = [f"req_{n}" for n in range(60)]
    for number, request in enumerate(ids):
        run = whence.run(
            "request",
            external_id=request,
            workflow=rng.choice([None, "wf_1", "wf_2"]),
            agent_type=rng.choice([None, "writer", "", 7]),
            task_type=rng.choice([None, "draft", "analysis"]),
            input_hash=rng.choice([None, "h1", "h2", "h3", "h4"]),
            depth=rng.choice([None, None, 0, 3, 8]),
            root_request_id=rng.choice([None, "req_0", "req_1"]),
            made_ns=rng.choice([None, rng.randrange(40) * HOUR_NS]),
        ).start()
        run.record_generation(
            model=rng.choice(["gpt-4", "small", None]),
            usage=rng.choice([None, {"prompt_tokens": rng.randrange(900), "completion_tokens": 3}]),
            cost_usd=rng.choice([None, 0.1, 0.2, 3.3]),
            duration_ms=rng.choice([None, 10.5]),
            prompt_name=rng.choice([None, "p"]),
            error=rng.choice([None, None, "broken"]),
        )
        for earlier in rng.sample(ids[:number], min(number, rng.randrange(3))):
            run.link(rng.choice(REQUEST_LINKS), request, source=earlier)
        for kind in ("retry_of", "triggered_by"):
            if number and rng.random() < 0.6:
                run.link(kind, run.id, source=ids[number - 1])
        run.finish()
    for memory in (True, False):
        with open_store(home, memory=memory) as reader, open_facts(reader, hashes=True) as facts:
            said = (
                everything(facts),
                patterns.find_all(facts),
                recommend.find_all(facts),
                agents.performance(facts),
                costs.bottlenecks(facts),
                costs.trend(facts),
                costs.by(facts, "user"),
            )
        if memory:
            expected = said
    assert said == expected
    assert {one.kind for one in said[1]} >= {"duplicate_requests", "retry_storm"}


def test_a_call_says_what_its_run_says(ask):
    """Attributes of the run belong to its call, and the run's external id names the request."""
    run = request_of("req_1", depth=2, root_request_id="req_0", intent="sum up", **TASK)

    with ask() as facts:
        (call,) = facts.named(["req_1"]).values()

    assert (call.run, call.request, call.workflow, call.user) == (run.id, "req_1", "wf", "ann")
    assert (call.task_type, call.agent_type, call.input_hash) == ("draft", "writer", "h1")
    assert (call.depth, call.root, call.intent) == (2, "req_0", "sum up")
    assert (call.tokens, call.cost_usd, call.duration_ms) == (10, 0.5, 20.0)
    assert (call.prompt, call.prompt_version, call.failed) == ("summary", "2", False)


def test_the_nearest_word_counts(ask):
    """A call's own attribute is heard before its span's agent, and that before the run's."""
    with (
        whence.run("r", agent_type="of the run", task_type="of the run") as run,
        whence.agent("of the span"),
        whence.generation("draft") as span,
    ):
        span.record_generation(model="m", agent_type="its own")
        span.record_generation(model="m", task_type="its own")
        run.record_generation(model="m")

    with ask() as facts:
        agents = {group.key for group in facts.groups(("agent_type", "task_type"))}

    assert agents == {
        ("its own", "of the run"),
        ("of the span", "its own"),
        ("of the run", "of the run"),
    }


def test_runs_of_no_dialect_have_facts_too(ask):
    """A plain run's calls are named by what they are for, and their requests by their records."""
    with whence.run("report", project="p") as run:
        first = run.record_generation(name="draft", model="m", messages=["hi"])
        second = run.record_generation(name="draft", model="m", messages=["hi"])

    with ask(hashes=True) as facts:
        calls = facts.named([first, second])
        (group,) = facts.groups(("input_hash", "task_type", "agent_type"))

    assert sorted(calls) == sorted([first, second])
    assert group.calls == 2
    assert group.key[1:] == ("draft", None)
    assert len(group.key[0]) == 16


def test_messages_are_hashed_only_when_asked_for(ask):
    """Reading all messages of a home takes time, so it is done for patterns alone."""
    with whence.run("report") as run:
        run.record_generation(model="m", messages=["hi"])

    with ask() as facts:
        assert facts.groups(("input_hash",))[0].key == (None,)


def test_links_name_requests_however_they_were_written(ask):
    """A run's id, a span's and a call's own id all mean the request that is counted."""
    first, second = request_of("req_1"), request_of("req_2")
    with whence.run("both") as both:
        with whence.generation("draft") as span:
            call = span.record_generation(model="m")
        both.record_generation(model="m")
        both.link("retry_of", second.id, source=first.id)
        both.link("retry_of", span.id, source="req_2")
        both.link("part_of", call, source="a ticket of mine")

    with ask() as facts:
        edges = [(edge.source, edge.target) for edge in facts.edges(("retry_of",))]
        others = [(edge.source, edge.target) for edge in facts.edges(("part_of",))]

    assert edges == [("req_1", "req_2"), ("req_2", call)]
    assert others == [("a ticket of mine", call)]


def test_only_some_calls_may_count(ask):
    """By filter and by value, and then only edges to them count."""
    request_of("req_1", task_type="draft")
    request_of("req_2", task_type="check")
    with whence.run("links") as run:
        run.link("triggered_by", "req_2", source="req_1")
        run.link("triggered_by", "req_3", source="req_1")

    with ask(only={"task_type": "check"}) as facts:
        assert [group.key for group in facts.groups(("request",))] == [("req_2",)]
        assert [edge.target for edge in facts.edges(REQUEST_LINKS)] == ["req_2"]
    with ask(filter='run.external_id = "req_1"') as facts:
        assert [group.key for group in facts.groups(("request",))] == [("req_1",)]
        assert facts.edges(REQUEST_LINKS) == []


def test_any_attribute_may_be_asked_for(ask):
    """By its name, whatever it is called; the call's comes before the run's and its metadata's."""
    odd = "it's/a ~key\"; DROP"
    request_of("req_1", **{odd: "x"}, metadata={odd: "y", "only there": 3})
    request_of("req_2", metadata={odd: "y"})

    with ask(extra=odd) as facts:
        assert {g.key[0]: g.calls for g in facts.groups(("extra",))} == {"x": 1, "y": 1}
    with ask(extra="only there") as facts:
        assert {g.key[0]: g.calls for g in facts.groups(("extra",))} == {"3": 1, None: 1}


def test_numbers_of_attributes_have_to_be_numbers(ask):
    """What is no whole number is as good as absent, and nothing breaks on it."""
    for number, depth in enumerate(
        [3, "4", "many", -1, 1.5, 10**30, 2**63, True, None, [1], "0x1"]
    ):
        request_of(f"req_{number}", depth=depth)

    with ask() as facts:
        depths = {group.key[0]: group.calls for group in facts.groups(("depth",))}

    assert depths == {3: 1, 4: 1, -1: 1, None: 8}


def test_the_time_a_program_states_counts(ask):
    """A call that was recorded later is counted to the hour in which it was made."""
    request_of("req_1", made_ns=490_000 * HOUR_NS + 7)

    with ask() as facts:
        (group,) = facts.groups(("hour",))

    assert group.key == (490_000,)
    assert group.first_ns == 490_000 * HOUR_NS + 7


def test_facts_stand_still_while_they_are_asked(ask):
    """What is recorded meanwhile is not in them, and is in the next ones."""
    request_of("req_1")
    with ask() as facts:
        request_of("req_2")
        assert facts.groups(())[0].calls == 1
    with ask() as facts:
        assert facts.groups(())[0].calls == 2


def test_an_empty_home_has_no_facts(ask):
    """Nothing recorded, nothing found, and no error."""
    with ask() as facts:
        assert facts.groups(()) == []
        assert patterns.find_all(facts) == []
        assert recommend.find_all(facts) == []


def test_unknown_fields_are_refused(ask):
    """A field that there is not is the caller's mistake, and never part of a statement."""
    with ask() as facts:
        for question in (
            lambda: facts.groups(("no such field",)),
            lambda: facts.members('"; DROP', ["x"], 1),
        ):
            with pytest.raises(KeyError):
                question()
