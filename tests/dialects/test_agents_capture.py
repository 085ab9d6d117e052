"""Agents and trackers record what happens, whoever runs them and however they end."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import whence
from whence.agents import BaseAgent, ProvenanceTracker, get_tracker
from whence.errors import ConfigError


@pytest.fixture
def tracker(recording, tmp_path):
    """A tracker with a folder of the test's own."""
    del recording
    return ProvenanceTracker(tmp_path / "provenance")


def runs(home):
    whence.flush()
    with whence.open(home) as store:
        return {run.name: run for run in store.runs(order="started_ns", limit=None)}


def tree(home, name):
    whence.flush()
    with whence.open(home) as store:
        (run,) = store.runs(f'name = "{name}"').items
        return store.run(run.id)


class Plain(BaseAgent):
    def run(self, query, **kwargs):
        self.log("began")
        if kwargs.get("fail"):
            raise ValueError(query)
        return {"answer": query, "rest": kwargs}


class Async(BaseAgent):
    def __init__(self, tracker, *, wait=0.0):
        super().__init__(tracker=tracker)
        self.wait = wait

    async def run(self, query, **kwargs):
        await asyncio.sleep(self.wait)
        self.log("awaited")
        if kwargs.get("fail"):
            raise KeyError(query)
        return query.upper()


class Pieces(BaseAgent):
    def run(self, query, **kwargs):
        del kwargs
        for word in query.split():
            self.log(word)
            if word == "fail":
                raise RuntimeError(word)
            yield word
        return "all"


class AsyncPieces(BaseAgent):
    async def run(self, query, **kwargs):
        del kwargs
        for word in query.split():
            await asyncio.sleep(0)
            self.log(word)
            yield word


def test_execute_runs_in_a_session_and_returns_the_result(tracker, recording):
    """The run has agent, query and arguments; the result is the agent's own."""
    agent = Plain(tracker=tracker)

    assert agent.execute("where?", depth_of_search=2) == {
        "answer": "where?",
        "rest": {"depth_of_search": 2},
    }

    run = runs(recording)["Plain"]
    assert (run.kind, run.status) == ("agent", "complete")
    assert run.attributes["query"] == "where?"
    assert run.attributes["kwargs"] == {"depth_of_search": 2}
    assert (run.attributes["agent_type"], run.attributes["depth"]) == ("Plain", 0)
    assert run.output == {"answer": "where?", "rest": {"depth_of_search": 2}}
    assert [e.message for e in tree(recording, "Plain").tables["events"]] == ["began"]


def test_a_failure_is_recorded_with_type_message_and_stack_and_goes_on(tracker, recording):
    """The exception that comes out is the one that went in."""
    with pytest.raises(ValueError, match="no way"):
        Plain(tracker=tracker).execute("no way", fail=True)

    run = runs(recording)["Plain"]
    assert (run.status, run.error_type, run.error["message"]) == ("failed", "ValueError", "no way")
    assert "raise ValueError(query)" in run.error["stack"]


def test_without_provenance_nothing_is_recorded(tracker, recording):
    """`enable_provenance=False` makes `execute` call `run`, and `log` still speaks."""
    agent = Plain(enable_provenance=False, tracker=tracker)

    assert agent.execute("q")["answer"] == agent.run("q")["answer"] == "q"
    assert not recording.exists()
    assert not tracker.folder.exists()


def test_run_outside_execute_is_no_session(tracker, recording):
    """Calling `run` itself records nothing, and raises nothing."""
    assert Plain(tracker=tracker).run("q")["answer"] == "q"
    assert not recording.exists()


@pytest.mark.parametrize("fail", [False, True])
def test_an_async_agent_is_a_session_until_it_is_done(tracker, recording, fail):
    """What it logs after an await is in its session; a failure goes on."""
    agent = Async(tracker)

    async def main():
        return await agent.execute("where", fail=fail)

    if fail:
        with pytest.raises(KeyError):
            asyncio.run(main())
    else:
        assert asyncio.run(main()) == "WHERE"
    run = runs(recording)["Async"]
    assert run.status == ("failed" if fail else "complete")
    assert [e.message for e in tree(recording, "Async").tables["events"]] == ["awaited"]


def test_a_cancelled_agent_is_cancelled_and_not_failed(tracker, recording):
    """Cancellation ends the session and passes on untouched."""

    async def main():
        task = asyncio.create_task(Async(tracker, wait=60).execute("q"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert runs(recording)["Async"].status == "cancelled"


def test_async_agents_beside_each_other_do_not_mix(tracker, recording):
    """Each of twenty concurrent executions has its own log line."""

    async def main():
        agents = [Async(tracker, wait=0.001 * (n % 3)) for n in range(20)]
        return await asyncio.gather(*(a.execute(f"q{n}") for n, a in enumerate(agents)))

    assert asyncio.run(main()) == [f"Q{n}" for n in range(20)]
    whence.flush()
    with whence.open(recording) as store:
        found = store.runs(limit=None).items
        assert len(found) == 20
        assert all(len(store.run(run.id).tables["events"]) == 1 for run in found)


def test_an_agent_that_yields_is_a_session_until_its_last_piece(tracker, recording):
    """Between the pieces the consumer is outside the session."""
    pieces = Pieces(tracker=tracker).execute("one two")
    seen = [(piece, bool(whence.current_run())) for piece in pieces]

    assert seen == [("one", False), ("two", False)]
    assert runs(recording)["Pieces"].status == "complete"
    tables = tree(recording, "Pieces").tables
    assert [event.message for event in tables["events"]] == ["one", "two"]


def test_a_stream_that_fails_or_is_closed_ends_its_session(tracker, recording):
    """A failure is a failure, an early close a cancellation."""
    with pytest.raises(RuntimeError):
        list(Pieces(tracker=tracker).execute("one fail"))
    stream = Pieces(tracker=tracker).execute("one two")
    next(stream)
    stream.close()

    whence.flush()
    with whence.open(recording) as store:
        assert {run.status for run in store.runs()} == {"failed", "cancelled"}


def test_an_async_stream_is_a_session_too(tracker, recording):
    """To the end, or until it is closed."""

    async def main():
        whole = [piece async for piece in AsyncPieces(tracker=tracker).execute("a b c")]
        part = AsyncPieces(tracker=tracker).execute("a b c")
        await anext(part)
        await part.aclose()
        return whole

    assert asyncio.run(main()) == ["a", "b", "c"]
    whence.flush()
    with whence.open(recording) as store:
        assert sorted(run.status for run in store.runs()) == ["cancelled", "complete"]


class Outer(BaseAgent):
    def run(self, query, **kwargs):
        inner = Plain(tracker=self.tracker)
        if kwargs.get("threads"):
            with ThreadPoolExecutor(4) as pool:
                calls = [pool.submit(whence.bind(inner.execute), f"{query}{n}") for n in range(4)]
                return [call.result() for call in calls]
        return inner.execute(query)


@pytest.mark.parametrize("threads", [False, True])
def test_a_nested_agent_has_a_parent_and_a_depth(tracker, recording, threads):
    """Also in threads that the outer agent starts with `whence.bind`."""
    Outer(tracker=tracker).execute("q", threads=threads)

    whence.flush()
    with whence.open(recording) as store:
        (outer,) = store.runs('name = "Outer"').items
        inner = store.runs('name = "Plain"').items
    assert len(inner) == (4 if threads else 1)
    assert {run.parent_run for run in inner} == {outer.id}
    assert {run.attributes["depth"] for run in inner} == {1}


def test_a_parent_can_be_named(tracker, recording):
    """Known or not; an unknown one counts as outermost."""
    first = tracker.start_session("A", "q")
    tracker.end_session()
    Plain(tracker=tracker).execute("q", _parent_session_id=first)
    Plain(tracker=tracker).execute("q", _parent_session_id="of another process")
    tracker.start_session("B", "q", {}, "of another process")
    tracker.end_session()

    whence.flush()
    with whence.open(recording) as store:
        parents = [
            (run.name, run.parent_run, run.attributes["depth"])
            for run in store.runs(order="started_ns")
        ]
    assert parents == [
        ("A", None, 0),
        ("Plain", first, 1),
        ("Plain", "of another process", 1),
        ("B", "of another process", 1),
    ]


def test_an_agent_inside_a_run_of_whence_is_its_child(tracker, recording):
    """And what code inside the agent records by whence itself is in the session."""

    class Mixed(BaseAgent):
        def run(self, query, **kwargs):
            del kwargs
            with whence.stage("search"):
                self.tracker.record_decision("route", "where", {}, "left", ["left", "right"], query)
                whence.current_run().source("file", "a.txt")
            return 1

    with whence.run("pipeline") as pipeline:
        Mixed(tracker=tracker).execute("because")
        assert whence.current_run().id == pipeline.id

    found = tree(recording, "Mixed")
    assert (found.run.parent_run, found.run.attributes["depth"]) == (pipeline.id, 1)
    (decision,) = found.decisions
    assert (decision.stage, decision.name, decision.what) == ("search", "route", "left")
    assert (decision.why, decision.decision_point) == ("because", "where")
    assert [option["name"] for option in decision.options] == ["left", "right"]
    assert [source.source_key for source in found.sources] == ["a.txt"]


def test_a_tracker_records_every_kind_of_thing(tracker, recording):
    """Each is a record of its kind with its own fields, in order of time."""
    session_id = tracker.start_session("Test", "q", {"test": True}, agent_version="2.1")
    tracker.record_event("lifecycle", "agent_start", {"message": "started"})
    tracker.record_event("log", "log_warning", {"message": "hot", "level": "WARNING", "at": 3})
    call = tracker.record_tool_call(
        "api",
        "kegg_lookup",
        {"id": 7},
        {"a": 1},
        12.5,
        cache_hit=True,
        cache_key="k",
        cache_source="disk",
        retry_count=2,
        rate_limit_delay_ms=40,
    )
    failed = tracker.record_tool_call("database", "sql", error=TimeoutError("late"))
    tracker.record_transformation(
        "aggregation", "sum up", [1, 2, 3, 4], {"n": 10}, "sum", {"by": 1}
    )
    link = tracker.link_entity("ingredients", "CHEBI:17234", "read")
    tracker.end_session(result={"ok": True})

    found = tree(recording, "Test")
    assert found.run.id == session_id
    assert found.run.attributes["agent_version"] == "2.1"
    lifecycle, log = found.tables["events"]
    assert lifecycle.data == {"event_type": "lifecycle", "details": {"message": "started"}}
    assert (log.message, log.level, log.data) == ("hot", "warning", {"at": 3})
    good, bad = found.tool_calls
    assert (good.id, good.tool_type, good.tool_name) == (call, "api", "kegg_lookup")
    assert (good.input, good.output, good.duration_ms) == ({"id": 7}, {"a": 1}, 12.5)
    assert (good.cache_hit, good.cache_key, good.retry_count) == (True, "k", 2)
    assert (good.rate_limit_delay_ms, good.attributes) == (40, {"cache_source": "disk"})
    assert (bad.id, bad.status, bad.error_type) == (failed, "error", "TimeoutError")
    assert bad.cache_hit is None
    (change,) = found.tables["transformations"]
    assert (change.name, change.method, change.parameters) == ("sum up", "sum", {"by": 1})
    assert (change.input_size, change.input_sample) == (4, [1, 2, 3])
    assert change.input_schema == {"type": "list", "element_type": "int", "count": 4}
    assert change.output_schema == {"n": "int"}
    (edge,) = found.tables["links"]
    assert (edge.id, edge.kind, edge.source) == (link, "entity", session_id)
    assert edge.attributes == {"entity_table": "ingredients", "link_type": "read"}


@pytest.mark.parametrize(
    ("level", "output", "result"),
    [
        ("minimal", {"type": "list"}, {"type": "dict"}),
        ("standard", [1, 2, 3], {"k": "x" * 100}),
        ("full", [1, 2, 3, 4, 5], {"k": "x" * 200}),
    ],
)
def test_a_detail_level_says_how_much_is_kept(recording, tmp_path, level, output, result):
    """The type, a sample, or all of it."""
    tracker = ProvenanceTracker(tmp_path / "p", detail_level=level)
    tracker.start_session("Level", "q")
    tracker.record_tool_call("t", "n", {}, [1, 2, 3, 4, 5])
    tracker.end_session(result={"k": "x" * 200})

    found = tree(recording, "Level")
    assert found.tool_calls[0].output == output
    assert found.run.output == result


def test_a_result_that_is_no_mapping_is_summed_up(tracker, recording):
    """Its type, and the first 200 characters of its text."""
    tracker.start_session("Text", "q")
    tracker.end_session(result="y" * 300)

    assert runs(recording)["Text"].output == {"type": "str", "repr": "y" * 200}


def test_an_unknown_detail_level_is_refused(tmp_path):
    """The message names those there are."""
    with pytest.raises(ConfigError, match="minimal, standard, full"):
        ProvenanceTracker(tmp_path, detail_level="much")


@pytest.mark.parametrize(
    ("said", "status", "message"),
    [
        ({}, "complete", None),
        ({"success": False}, "failed", None),
        ({"success": False, "error": "not found"}, "failed", "not found"),
        ({"success": True, "error": OSError("gone")}, "failed", "gone"),
    ],
)
def test_a_session_ends_as_it_is_said(tracker, recording, said, status, message):
    """With or without a reason; a message alone will do; a second end does nothing."""
    tracker.start_session("End", "q")
    tracker.end_session(**said)
    tracker.end_session(success=status == "failed")

    run = runs(recording)["End"]
    assert run.status == status
    assert (run.error or {}).get("message") == message


def test_sessions_inside_each_other_are_taken_up_again(tracker, recording):
    """After the inner one has ended, records belong to the outer one."""
    tracker.start_session("Outer", "q")
    tracker.start_session("Inner", "q")
    tracker.record_event("log", "log_info", {"message": "inner"})
    tracker.end_session()
    tracker.record_event("log", "log_info", {"message": "outer"})
    tracker.end_session()
    assert tracker.record_event("log", "log_info", {"message": "nobody's"}) == ""

    for name in ("Outer", "Inner"):
        assert [e.message for e in tree(recording, name).tables["events"]] == [name.lower()]


def test_thirty_two_threads_share_a_session_without_a_loss(tracker, recording):
    """Every record of every thread is in the session, and the folder numbers them through."""
    session_id = tracker.start_session("Shared", "q")
    path = tracker.current_session.path
    ready = threading.Barrier(32)

    def work(thread):
        ready.wait()
        for n in range(25):
            tracker.record_tool_call("t", f"tool{thread}", {"n": n}, duration_ms=1)
            tracker.record_decision("d", "p", {}, n, [n], "")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tracker.end_session()

    lines = [json.loads(line) for line in (path / "actions.jsonl").read_text().splitlines()]
    assert [line["action_id"] for line in lines] == list(range(1, 32 * 50 + 3))
    times = [line["timestamp"] for line in lines]
    assert times == sorted(times)
    whence.flush()
    with whence.open(recording) as store:
        run = store.run(session_id).run
        assert (run.tool_calls, run.decisions, run.lost) == (800, 800, 0)


def test_thirty_two_threads_with_a_session_each_do_not_mix(tracker, recording):
    """Each session has its own records and its own folder, all in one minute or two."""
    agents = [Plain(tracker=tracker) for _ in range(32)]

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda n: agents[n].execute(f"q{n}"), range(32)))

    folders = list((tracker.folder / "sessions").iterdir())
    assert len(folders) == 32
    queries = set()
    for folder in folders:
        lines = [json.loads(line) for line in (folder / "actions.jsonl").read_text().splitlines()]
        assert [line["action_id"] for line in lines] == [1, 2, 3]
        queries.add(lines[0]["details"]["query"])
    assert queries == {f"q{n}" for n in range(32)}
    whence.flush()
    with whence.open(recording) as store:
        assert store.count("runs") == store.count("events") == 32
        assert {run.parent_run for run in store.runs(limit=None)} == {None}
        assert {run.attributes["depth"] for run in store.runs(limit=None)} == {0}


def test_a_thread_in_no_session_of_several_records_nothing(tracker, recording, capsys):
    """Which of two it belongs to nobody can say, but it can: by bind or by the session's id."""
    first = tracker.open_session("First", "q")
    second = tracker.open_session("Second", "q")
    said = []

    def work():
        said.append(tracker.record_event("log", "log_info", {"message": "lost"}))
        said.append(
            tracker.record_event("log", "log_info", {"message": "named"}, session_id=first.id)
        )

    def bound():
        said.append(tracker.record_event("log", "log_info", {"message": "bound"}))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with second.current():
        thread = threading.Thread(target=whence.bind(bound))
    thread.start()
    thread.join()
    for session in (first, second):
        tracker.close_session(session)

    assert said[0] == ""
    assert [e.message for e in tree(recording, "First").tables["events"]] == ["named"]
    assert [e.message for e in tree(recording, "Second").tables["events"]] == ["bound"]
    assert "session_id" in capsys.readouterr().err


def test_a_call_is_timed_and_its_failure_kept(tracker, recording):
    """`track_tool_call` records the block, and lets its exception pass."""
    tracker.start_session("Calls", "q")
    with tracker.track_tool_call("api", "fetch", {"url": "u"}) as call:
        call.output = "page"
    with pytest.raises(OSError, match="refused"), tracker.track_tool_call("api", "fetch"):
        raise OSError("refused")
    tracker.end_session()

    good, bad = tree(recording, "Calls").tool_calls
    assert (good.output, good.status, bad.status, bad.error["message"]) == (
        "page",
        "ok",
        "error",
        "refused",
    )
    assert good.duration_ms >= 0


class Odd:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


def test_no_value_can_make_a_tracker_raise(tracker, recording):
    """Objects that will not be shown, rings, bytes, odd keys, and names that are no text."""
    ring = {}
    ring["me"] = ring
    odd = [Odd(), ring, b"\x00\xff", float("nan"), {1: 2, None: Odd()}, "\ud800", 10**30]
    tracker.start_session(Odd(), Odd(), {"k": odd})
    for value in odd:
        tracker.record_event("custom", "name", {"value": value, "duration_ms": value})
        tracker.record_event(value, value, {"level": value, "message": value})
        tracker.record_tool_call(value, value, value, value, value, value, value, None)
        tracker.record_decision(value, value, {"v": value}, value, [value], value)
        tracker.record_transformation(value, value, value, value, value, {"v": value})
        tracker.link_entity(value, value, value)
    path = tracker.current_session.path
    tracker.end_session(result=odd)

    whence.flush()
    with whence.open(recording) as store:
        (run,) = store.runs().items
        assert (run.tool_calls, run.decisions, run.lost) == (7, 7, 0)
    assert len((path / "actions.jsonl").read_text().splitlines()) == 7 * 5 + 2


def test_where_recording_is_off_everything_works_and_nothing_is_written(home, tmp_path):
    """Agents, sessions and verbs; not even a folder is made."""
    whence.configure(home, enabled=False)
    tracker = ProvenanceTracker(tmp_path / "p")

    session_id = tracker.start_session("A", "q")
    assert session_id
    assert tracker.record_tool_call("t", "n") == tracker.link_entity("t", "1") == ""
    tracker.end_session()
    assert Plain(tracker=tracker).execute("q")["answer"] == "q"

    assert not home.exists()
    assert not (tmp_path / "p").exists()


def test_a_project_that_is_left_out_leaves_nothing(home, tmp_path):
    """What happens inside a session that is not recorded is not the outer session's."""
    whence.configure(home, projects={"secret": False})
    try:
        open_one = ProvenanceTracker(tmp_path / "open")
        secret = ProvenanceTracker(tmp_path / "secret", project="secret")
        open_one.start_session("Open", "q")
        Plain(tracker=secret).execute("hidden")
        outer = whence.current_run()
        secret.start_session("Secret", "q")
        assert secret.record_event("log", "log_info", {"message": "hidden"}) == ""
        assert not whence.current_run()
        secret.end_session()
        assert whence.current_run() is outer
        open_one.end_session()

        found = tree(home, "Open")
        assert found.run.records == 2
        assert not (tmp_path / "secret").exists()
    finally:
        whence.configure(home, enabled=False)


def test_the_tracker_of_a_folder_is_one_a_process(tmp_path):
    """The same arguments give the same tracker, the default folder included."""
    assert get_tracker() is get_tracker()
    assert get_tracker(tmp_path) is get_tracker(tmp_path)
    assert get_tracker(tmp_path) is not get_tracker(tmp_path, detail_level="full")
    assert str(get_tracker().folder) == ".claude/provenance"


def test_a_session_that_nobody_ends_reads_as_running(tracker, recording):
    """And its folder has what was done so far, in a manifest without an end."""
    tracker.start_session("Open", "q")
    path = tracker.current_session.path

    assert runs(recording)["Open"].status == "running"
    assert "date_ended: null" in (path / "manifest.yaml").read_text()
    assert len((path / "actions.jsonl").read_text().splitlines()) == 1
    tracker.end_session()
