"""Transcripts of Claude Code are a run for each session."""

from __future__ import annotations

from trajectorydata import (
    claude_answer,
    claude_entry,
    claude_result,
    claude_session,
    expected,
    lines,
    of_kind,
    records_of,
)

import whence
from whence.ingest import registry
from whence.ingest.base import Source
from whence.ingest.importer import import_paths
from whence.record.decision import Decision
from whence.record.event import Event
from whence.record.generation import Generation, ToolCall
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.span import SpanStarted


def read(folder, *entries):
    return records_of(lines(folder / "s.jsonl", list(entries)), "claude-code")[0]


def user(uuid, second, content, **more):
    return claude_entry("user", uuid, second, {"role": "user", "content": content}, **more)


def text(said):
    return {"type": "text", "text": said}


def test_an_answer_is_one_call_although_it_has_a_line_for_each_block(tmp_path):
    """Its usage counts once, and it is the last one, since a streamed answer counts up."""
    first, second = of_kind(read(tmp_path, *claude_session()), Generation)

    assert [block["type"] for block in first.output] == ["thinking", "text", "tool_use"]
    assert (first.response_id, first.reasoning, first.provider) == ("msg_1", "hm", "anthropic")
    usage = first.usage
    assert (usage.input_uncached, usage.cache_read, usage.cache_write) == (10, 3000, 200)
    assert (usage.output_visible, second.usage.output_visible) == (25, 5)
    assert first.ts.startswith("2025-06-14T10:00:03")


def test_a_call_got_what_its_ancestors_said(tmp_path):
    """Not what is beside them, nor its own blocks."""
    session = claude_session()
    beside = user("b1", 7, "something else", parentUuid=None)
    later = claude_answer("b2", 8, "msg_3", text("yes"), 1, parentUuid="b1")
    calls = of_kind(read(tmp_path, *session, beside, later), Generation)

    assert [len(call.messages) for call in calls] == [1, 5, 1]
    assert calls[1].messages[0] == {"role": "user", "content": "look around"}
    assert calls[2].messages == [{"role": "user", "content": "something else"}]


def test_without_ancestors_a_call_got_what_was_said_before(tmp_path):
    """As in transcripts that state no parents."""
    entries = [{k: v for k, v in entry.items() if k != "parentUuid"} for entry in claude_session()]

    assert [len(call.messages) for call in of_kind(read(tmp_path, *entries), Generation)] == [1, 5]


def test_a_tool_call_is_joined_with_its_result(tmp_path):
    """Its error is kept; what was said with it is the reason for it."""
    records = read(tmp_path, *claude_session())
    (call,), (decision,) = of_kind(records, ToolCall), of_kind(records, Decision)

    assert (call.tool_name, call.input, call.output) == ("Bash", {"command": "ls"}, "denied")
    assert (call.status, call.error) == ("error", {"type": "error", "message": "denied"})
    assert call.duration_ns == 2_000_000_000
    assert (decision.what, decision.why) == ("Bash: ls", "I look.")


def test_what_the_user_asks_begins_a_turn(home, tmp_path):
    """Which ends with the last word of the model, or goes on."""
    entries = [*claude_session(), user("u9", 9, "go on", parentUuid="a4")]
    import_paths(home, [lines(tmp_path / "s.jsonl", entries)])

    with whence.open(home) as store:
        tree = store.run("session-1")
        assert [(span.row.name, span.row.status) for span in tree.spans] == [
            ("turn 1", "ok"),
            ("turn 2", "incomplete"),
        ]
        assert tree.spans[0].row.input == "look around"
        assert tree.spans[0].row.output == [{"type": "text", "text": "No."}]
        assert tree.run.status == "incomplete"
        assert tree.run.attributes["summary"] == "looked around"
        assert tree.run.attributes["cwd"] == "/repo"


def test_a_session_that_goes_on_gains_what_is_new(home, tmp_path):
    """Cut after any line and imported again, it is what it would have been at once."""
    entries = [
        *claude_session(),
        user("u9", 9, "go on", parentUuid="a4"),
        claude_answer("a9", 10, "msg_9", text("done"), 3, parentUuid="u9"),
    ]
    path = tmp_path / "s.jsonl"
    whole = import_paths(home / "whole", [lines(path, entries)])
    for end in (2, 6, 7, 8):
        import_paths(home / "grown", [lines(path, entries[:end])])

    grown = import_paths(home / "grown", [lines(path, entries)])

    assert (grown.generations, grown.tool_calls) == (whole.generations, whole.tool_calls)
    assert grown.usage_stated == whole.usage_stated
    with whence.open(home / "grown") as store, whence.open(home / "whole") as other:
        tree, same = store.run("session-1"), other.run("session-1")
        assert tree.run.status == same.run.status == "complete"
        assert tree.run.ended_ns == same.run.ended_ns
        assert [span.row.status for span in tree.iter_spans()] == ["ok", "error", "ok"]


def test_sessions_of_one_file_are_runs_of_their_own(tmp_path):
    """Their lines may alternate."""
    other = user("x1", 1, "hi") | {"sessionId": "session-2"}
    records = read(tmp_path, other, *claude_session(), other | {"uuid": "x2"})

    assert [run.external_id for run in of_kind(records, RunStarted)] == ["session-2", "session-1"]
    assert len(of_kind(records, RunEnded)) == 2


def test_a_sub_agent_is_inside_the_call_that_started_it(tmp_path):
    """What it was asked is what the call says."""
    task = {"type": "tool_use", "id": "t1", "name": "Task", "input": {"prompt": "count files"}}
    side = {"isSidechain": True, "agentId": "ag1"}
    records = read(
        tmp_path,
        user("u1", 0, "how many?", parentUuid=None),
        claude_answer("a1", 1, "m1", task, 1, parentUuid="u1"),
        user("s1", 2, "count files", parentUuid=None, **side),
        claude_answer("s2", 3, "m2", text("three"), 1, parentUuid="s1", **side),
        claude_result("u2", 4, "t1", "three") | {"parentUuid": "a1"},
    )
    agent = next(s for s in of_kind(records, SpanStarted) if s.span_kind == "agent")
    (call,) = of_kind(records, ToolCall)
    inner = of_kind(records, Generation)[1]

    assert (agent.agent, agent.parent) == ("ag1", call.span)
    assert inner.messages == [{"role": "user", "content": "count files"}]
    turn = next(s for s in of_kind(records, SpanStarted) if s.span == inner.span)
    assert turn.parent == agent.span


def test_a_sub_agent_without_an_id_is_told_by_its_first_entry(tmp_path):
    """As older transcripts write it."""
    records = read(
        tmp_path,
        user("s1", 2, "a", parentUuid=None, isSidechain=True),
        user("s2", 3, "b", parentUuid=None, isSidechain=True),
        claude_answer("s3", 4, "m2", text("c"), 1, parentUuid="s1", isSidechain=True),
    )
    agents = [span.agent for span in of_kind(records, SpanStarted) if span.span_kind == "agent"]

    assert agents == ["s1", "s2"]


def test_what_claude_code_says_itself_is_no_call(tmp_path):
    """An error of the API is an event; so is what is of no known type."""
    notice = claude_answer("n1", 1, "x", text("API Error: 529"), 0)
    notice["message"]["model"] = "<synthetic>"
    records = read(
        tmp_path,
        user("u1", 0, "hi", parentUuid=None),
        notice,
        {"type": "system", "subtype": "compact_boundary", "content": "Compacted"}
        | {"sessionId": "session-1", "level": "warning"},
        {"type": "file-history-snapshot", "messageId": "m", "snapshot": {}},
        user("u2", 3, "the story so far", isCompactSummary=True),
        user("u3", 4, "a reminder", isMeta=True),
    )

    assert of_kind(records, Generation) == []
    assert [(event.level, event.message) for event in of_kind(records, Event)] == [
        ("error", "API Error: 529"),
        ("warning", "compact_boundary: Compacted"),
        ("debug", "file-history-snapshot"),
        ("debug", "compacted"),
        ("debug", "context"),
    ]
    assert len([s for s in of_kind(records, SpanStarted) if s.span_kind == "step"]) == 1


def test_calls_and_results_that_do_not_fit_are_kept(tmp_path):
    """A result without a call is a call; a call without a result has begun."""
    use = {"type": "tool_use", "id": "t2", "name": "Read", "input": {"file_path": "a.py"}}
    records = read(
        tmp_path,
        claude_result("u1", 0, "t1", [text("found")], is_error=True),
        claude_answer("a1", 1, "m1", use, 1),
    )
    (call,) = of_kind(records, ToolCall)

    assert (call.tool_name, call.error["message"]) == ("a tool", "found")
    assert [span.name for span in of_kind(records, SpanStarted)] == ["a tool", "Read"]
    assert of_kind(records, RunEnded)[0].status == "incomplete"


def test_a_ring_of_entries_is_no_trap(tmp_path):
    """Parents that lead back are followed once."""
    records = read(
        tmp_path,
        user("u1", 0, "hi", parentUuid="a1"),
        claude_answer("a1", 1, "m1", text("hello"), 1, parentUuid="u1"),
        claude_answer("a2", 2, "m2", text("again"), 1, parentUuid="a2"),
    )

    assert [len(call.messages) for call in of_kind(records, Generation)] == [1, 0]


def test_a_summary_alone_belongs_to_no_session(tmp_path):
    """It is named."""
    path = lines(tmp_path / "s.jsonl", claude_session()[:1])

    records, skipped = records_of(path, "claude-code")

    assert records == []
    assert "not here" in skipped[0].why


def test_lines_that_are_no_entries_are_named(tmp_path):
    """A line that was cut at the end of the file says so; the others come in."""
    path = lines(tmp_path / "s.jsonl", claude_session())
    path.write_text(path.read_text() + '\x00\n{"type": 3}\n{"type": "user", "sess')

    records, skipped = records_of(path, "claude-code")

    assert len(of_kind(records, Generation)) == 2
    assert [one.where.rpartition(":")[2] for one in skipped] == ["8", "9", "10"]
    assert "ends in the middle" in skipped[2].why


def test_a_cost_that_is_stated_is_declared(tmp_path):
    """As transcripts of early 2025 state it."""
    session = claude_session()
    session[-1]["costUSD"] = 0.5

    assert [call.cost_usd for call in of_kind(read(tmp_path, *session), Generation)] == [None, 0.5]
    assert of_kind(read(tmp_path, *session), Update)[0].attributes == {"summary": "looked around"}


def test_the_corpus_has_the_expected_totals(home):
    """Answers, blocks and tokens of each file, twice in a row without a change."""
    folder, figures = expected("claude-code-jsonl")
    for name, each in figures.items():
        report = import_paths(home / name, [folder / name])
        assert report.generations == each["types"]["assistant"]
        assert report.tool_calls == each["blocks"]["tool_use"] == each["blocks"]["tool_result"]
        assert report.tool_errors == each["tool_result_errors"]
        assert len(report.skipped) == each["malformed_lines"] == 0
        assert (report.usage_stated.input or 0) == each["input_tokens"]
        assert (report.usage_stated.output or 0) == each["output_tokens"]
        assert (report.usage_stated.cache_read or 0) == each["cache_read"]
        assert (report.usage_stated.cache_write or 0) == each["cache_creation"]
        with whence.open(home / name) as store:
            assert [run.external_id for run in store.runs()] == each["sessions"]
        again = import_paths(home / name, [folder / name])
        assert (again.new, again.already_there) == (0, report.new)


def test_an_answer_goes_on_behind_what_a_tool_said(tmp_path):
    """Tools answer while a model still writes; the last line of the answer has the whole usage."""
    first, second = (
        {"type": "tool_use", "id": key, "name": "Bash", "input": {"command": "ls"}}
        for key in ("t1", "t2")
    )
    records = read(
        tmp_path,
        user("u1", 0, "look", parentUuid=None),
        claude_answer("a1", 1, "m1", first, 1, parentUuid="u1"),
        claude_result("r1", 2, "t1", "files"),
        claude_answer("a2", 3, "m1", second, 120, parentUuid="a1"),
        claude_result("r2", 4, "t2", "more"),
        claude_answer("a3", 5, "m2", text("done"), 30, parentUuid="r2"),
    )
    calls, tools = of_kind(records, Generation), of_kind(records, ToolCall)

    assert [call.usage.output_visible for call in calls] == [120, 30]
    assert [block["id"] for block in calls[0].output] == ["t1", "t2"]
    assert [(tool.output, tool.duration_ns) for tool in tools] == [
        ("files", 1_000_000_000),
        ("more", 1_000_000_000),
    ]


def test_an_earlier_state_of_an_answer_takes_nothing_back(tmp_path):
    """A line may be written again, as it was when the answer began."""
    records = read(
        tmp_path,
        user("u1", 0, "look", parentUuid=None),
        claude_answer("a1", 1, "m1", text("all of it"), 25, parentUuid="u1"),
        claude_answer("a2", 2, "m1", text("al"), 1, parentUuid="u1"),
    )

    assert of_kind(records, Generation)[0].usage.output_visible == 25


def test_a_session_begins_with_the_first_time_that_is_stated(tmp_path):
    """What stands before it, with no time or no session, waits for it."""
    snapshot = {"type": "file-history-snapshot", "messageId": "m", "snapshot": {}}
    mode = {"type": "permission-mode", "permissionMode": "default", "sessionId": "session-1"}
    records = read(tmp_path, snapshot, mode, *claude_session())

    assert of_kind(records, RunStarted)[0].ts.startswith("2025-06-14T10:00:0")
    assert [event.message for event in of_kind(records, Event)][:2] == [
        "file-history-snapshot",
        "permission-mode",
    ]


def test_a_copied_beginning_counts_in_the_session_that_was_first(home, tmp_path):
    """A fork repeats calls and tools under another session id; a link says what it continues."""
    new = [
        user("u9", 9, "go on", parentUuid="a4"),
        claude_answer("a9", 10, "msg_9", text("done"), 3, parentUuid="u9"),
    ]
    fork = [entry | {"sessionId": "session-2"} for entry in [*claude_session()[:-1], *new]]
    alone = import_paths(home / "alone", [lines(tmp_path / "a.jsonl", claude_session())])
    both = import_paths(
        home / "both", [lines(tmp_path / "a.jsonl", claude_session()), lines(tmp_path / "b", fork)]
    )

    assert both.generations == alone.generations + 1
    assert both.tool_calls == alone.tool_calls
    assert both.usage_stated.output == alone.usage_stated.output + 3
    assert import_paths(home / "both", [tmp_path]).new == 0
    with whence.open(home / "both") as store:
        (link,) = [one for one in store.links() if one.kind == "continuation_of"]
        assert store.run(link.source).run.external_id == "session-1"
        assert store.run(link.target).run.external_id == "session-2"


def test_a_sub_agent_in_a_file_of_its_own_is_inside_its_call(home, tmp_path):
    """The session's file, read first, says which call that was and when the session began."""
    task = {"type": "tool_use", "id": "t1", "name": "Task", "input": {"prompt": "count them"}}
    result = claude_result("u2", 6, "t1", "three") | {"toolUseResult": {"agentId": "ag1"}}
    side = {"isSidechain": True, "agentId": "ag1"}
    main = [
        user("u1", 0, "how many?", parentUuid=None),
        claude_answer("a1", 1, "m1", task, 1, parentUuid="u1"),
        result,
    ]
    folder = tmp_path / "p" / "session-1" / "subagents"
    folder.mkdir(parents=True)
    lines(tmp_path / "p" / "session-1.jsonl", main)
    lines(
        folder / "agent-ag1.jsonl",
        [
            user("s1", 2, "count", parentUuid=None, **side),
            claude_answer("s2", 3, "m2", text("three"), 1, parentUuid="s1", **side),
        ],
    )
    import_paths(home, [tmp_path / "p"])

    with whence.open(home) as store:
        tree = store.run("session-1")
        spans = {span.row.name: span.row for span in tree.iter_spans()}
        assert spans["agent ag1"].parent == spans["Task"].id
        assert tree.run.started_ns < spans["Task"].started_ns


def test_a_call_that_failed_for_good_is_an_error(tmp_path):
    """Claude Code writes the answer itself; it states no tokens, and they are not 0."""
    notice = claude_answer("n1", 1, "x", text("API Error: 529"), 0, parentUuid="u1")
    notice["message"]["model"] = "<synthetic>"
    notice |= {"isApiErrorMessage": True, "error": "overloaded"}
    (call,) = of_kind(read(tmp_path, user("u1", 0, "hi", parentUuid=None), notice), Generation)

    assert (call.status, call.usage) == ("error", None)
    assert call.error == {"type": "overloaded", "message": "API Error: 529"}
    assert call.messages == [{"role": "user", "content": "hi"}]


def test_a_long_first_entry_is_recognized(tmp_path):
    """Newer entries state their session behind the message."""
    entry = {"parentUuid": None, "isSidechain": False, "type": "user"}
    entry |= user("u1", 0, "x" * 100_000, parentUuid=None)
    path = lines(tmp_path / "s.jsonl", [entry])

    assert registry.find_format(Source(path)).name == "claude-code"
