"""Each way in which keeping a trace can fail, made to fail: the research goes on, the rest is kept.

The rows of the table of failure modes in document 5 (pipeline observability), section 10.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pwd
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from postgres import postgres as postgres_database  # noqa: F401 - a fixture
from postgres import postgres_cluster  # noqa: F401 - a fixture
from researching import finish, load, traced_root  # noqa: F401 - a fixture

import whence
from whence import research
from whence.dialects.research import live
from whence.dialects.research.keeping import get_history
from whence.query.reader import open_store
from whence.research import TraceContext, TraceQuery

SOURCE = Path(whence.__file__).resolve().parents[1]
NOBODY_HOME = "postgresql://whence@/none?host=/nonexistent"


def run_trace(**fields):
    """Return what became of a small trace, and the trace."""
    trace = TraceContext.start(project_name="cobot", query="Q?", intent="validating", **fields)
    trace.record("intake", "classified_intent", {"what": "validating", "why": "it asks"})
    trace.mark_complete()
    return finish(trace), trace


def unprivileged():
    """Return as whom a program can be kept out of a folder: root cannot."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def test_a_read_only_folder_costs_the_file_alone(tmp_path, request):
    """The run goes on, an error is logged, the row has no path, and the trace is still whole."""
    if not os.access(sys.executable, os.X_OK):
        pytest.skip("there is no interpreter to run")
    root, home = tmp_path / "brain", tmp_path / "home"
    for folder in (root, home):
        folder.mkdir()
    user = unprivileged()
    if user:
        for folder in [home, *tmp_path.parents[:3], tmp_path]:
            folder.chmod(folder.stat().st_mode | 0o055)
        os.chown(home, user["user"], user["group"])
    root.chmod(0o555)
    request.addfinalizer(lambda: root.chmod(0o755))
    script = f"""
        import asyncio, json, logging, sys
        sys.path.insert(0, {str(SOURCE)!r})
        import whence
        from whence import research
        logging.basicConfig(level=logging.ERROR)
        whence.configure({str(home)!r})
        research.configure(root={str(root)!r})
        trace = research.TraceContext.start(project_name="cobot", intent="validating")
        trace.record("intake", "said", {{"what": 1}})
        trace.mark_complete()
        print(json.dumps(asyncio.run(research.TraceContext.finish(trace))))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path, **user,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert "PermissionError" in result["file_error"]
    assert "Failed to write trace file" in done.stderr
    assert result["supabase"] == "saved"
    whence.configure(home)
    research.configure(root=root)
    try:
        (row,) = asyncio.run(TraceQuery.by_intent("validating"))
        assert row.trace_file_path is None
        document = asyncio.run(TraceQuery.full_trace(row.trace_id))
        assert document["stages"]["intake"]["decisions"][0]["what"] == 1
    finally:
        research.configure()
        whence.configure(home, enabled=False)


def test_a_database_that_is_away_costs_the_row_alone(traced, caplog):
    """The file is written, an error is logged, and the run is in the log all the same."""
    research.configure(root=traced, postgres=NOBODY_HOME)
    with caplog.at_level(logging.ERROR, logger="whence.research"):
        result, trace = run_trace()
    assert "did not answer" in result["supabase_error"]
    assert "supabase" not in result
    assert "Failed to write trace metadata" in caplog.text
    assert load(result["file_path"])["trace_id"] == trace.trace_id
    research.configure(root=traced)
    assert [one.trace_id for one in asyncio.run(TraceQuery.by_intent("validating"))] == [
        trace.trace_id
    ]


def test_a_database_that_goes_away_is_found_again(request, traced):
    """A connection that was cut is opened anew for the next trace."""
    import psycopg  # noqa: PLC0415 - an optional package

    database = request.getfixturevalue("postgres_database")
    research.configure(root=traced, postgres=database)
    assert run_trace()[0]["supabase"] == "saved"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'whence'"
        )
    assert run_trace()[0]["supabase"] == "saved"
    assert len(asyncio.run(TraceQuery.by_project("cobot"))) == 2
    get_history().close()


def test_when_file_and_row_both_fail_a_warning_is_all(traced, caplog):
    """The run goes on; the result says both, and the log still has the run."""
    traced.parent.joinpath("file").write_text("not a folder")
    research.configure(root=traced.parent / "file", postgres=NOBODY_HOME)
    with caplog.at_level(logging.WARNING, logger="whence.research"):
        result, trace = run_trace()
    assert {"file_error", "supabase_error"} <= result.keys()
    warned = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert ["neither its file nor its row" in one.getMessage() for one in warned] == [True]
    research.configure(root=traced)
    assert asyncio.run(TraceQuery.full_trace(trace.trace_id))["run"]["query"] == "Q?"


def test_when_the_log_fails_the_file_is_written_from_memory(traced, tmp_path, caplog):
    """A home that cannot be written costs the row; the pipeline and its file do not notice."""
    (tmp_path / "blocked").write_text("not a folder")
    whence.configure(tmp_path / "blocked")
    with caplog.at_level(logging.ERROR, logger="whence.research"):
        result, trace = run_trace()
    assert "supabase_error" in result
    document = load(result["file_path"])
    assert document["stages"]["intake"]["decisions"][0]["what"] == "validating"
    assert (document["run"]["status"], document["trace_id"]) == ("complete", trace.trace_id)
    assert traced.exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_is_incomplete_and_tells_what_it_told(traced, recording, how):
    """Nothing after the kill is needed: the log has it, and the document can be rendered."""
    script = f"""
        import sys, time
        sys.path.insert(0, {str(SOURCE)!r})
        import whence
        from whence import research
        whence.configure({str(recording)!r})
        research.configure(root={str(traced)!r})
        trace = research.TraceContext.start(project_name="cobot", query="Q?")
        trace.start_stage("intake")
        trace.record("intake", "classified_intent", {{"what": "validating"}})
        trace.end_stage("intake", outputs={{"n": 1}})
        trace.start_stage("synthesis")
        trace.record_prompts("synthesis", {{"system_prompt": "Be exact."}})
        print(trace.trace_id, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    ) as process:
        trace_id = process.stdout.readline().strip()
        process.send_signal(how)
        process.wait()
    (row,) = asyncio.run(TraceQuery.by_project("cobot"))
    assert (row.trace_id, row.status, row.trace_file_path) == (trace_id, "incomplete", None)
    document = asyncio.run(TraceQuery.full_trace(trace_id))
    assert document["run"]["status"] == "incomplete"
    assert document["stages"]["intake"]["outputs"] == {"n": 1}
    assert document["stages"]["synthesis"]["prompts"] == {"system_prompt": "Be exact."}
    assert document["stages"]["synthesis"]["completed_at"] is None


def test_a_program_that_ends_without_finishing_leaves_an_incomplete_trace(traced, recording):
    """An exception that nobody catches, outside any block: the file is written at the end."""
    script = f"""
        import sys
        sys.path.insert(0, {str(SOURCE)!r})
        import whence
        from whence import research
        whence.configure({str(recording)!r})
        research.configure(root={str(traced)!r})
        trace = research.TraceContext.start(project_name="cobot")
        trace.record("intake", "said", {{"what": 1}})
        raise RuntimeError("the pipeline broke")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    (path,) = (traced / "projects" / "cobot" / "_traces").glob("*.json")
    document = load(path)
    assert document["run"]["status"] == "incomplete"
    assert document["stages"]["intake"]["decisions"][0]["what"] == 1


def test_a_forked_child_does_not_end_its_parents_traces(traced):
    """A worker that was forked inside a trace and ends leaves the trace to its parent."""
    trace = TraceContext.start(project_name="cobot")
    child = os.fork()
    if child == 0:
        os._exit(0 if list(live.iter_open()) == [] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert list(live.iter_open())[-1] is trace
    finish(trace)
    assert traced.exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 200_000])
@pytest.mark.usefixtures("traced")
def test_a_corrupted_file_is_none_and_its_row_still_answers(damage):
    """`full_trace` gives None; lists and comparisons do not need the file."""
    result, trace = run_trace()
    Path(result["file_path"]).write_bytes(damage)
    assert asyncio.run(TraceQuery.full_trace(trace.trace_id)) is None
    assert [one.trace_id for one in asyncio.run(TraceQuery.by_intent("validating"))] == [
        trace.trace_id
    ]


@pytest.mark.usefixtures("traced")
def test_a_deleted_file_is_rendered_from_the_log():
    """What was deleted is not lost: the run has it."""
    result, trace = run_trace()
    before = load(result["file_path"])
    Path(result["file_path"]).unlink()
    assert asyncio.run(TraceQuery.full_trace(trace.trace_id)) == before


@pytest.mark.parametrize("how", ["call", "project", "process"])
def test_disabled_tracing_does_nothing_at_all(traced, recording, how):
    """By the call, by project or altogether: the trace ignores everything, and so do its verbs."""
    if how == "project":
        whence.configure(recording, projects={"cobot": False})
    if how == "process":
        whence.configure(recording, enabled=False)
    trace = TraceContext.start(project_name="cobot", enabled=how != "call")
    assert (trace.trace_id, trace.status) == ("noop", "disabled")
    assert TraceContext.current() is trace
    trace.start_stage("s")
    trace.record("s", "d", {"what": 1})
    trace.record_evidence("s", {})
    trace.record_prompts("s", {})
    trace.record_iteration({})
    trace.end_stage("s", outputs={"a": 1}, error="x")
    trace.set_outputs({"report_path": "r"})
    trace.mark_complete()
    trace.mark_failed("x")
    trace.mark_incomplete()
    if how == "project":
        whence.current_run().decide("hidden", 1)  # a project that is off hides what is inside
    assert (trace.stages, trace.outputs, trace.iterations) == ({}, {}, [])
    assert finish(trace) == {"saved": False, "reason": "tracing_disabled"}
    assert TraceContext.current() is None
    assert not traced.exists()
    if recording.exists():
        with open_store(recording) as reader:
            assert reader.runs().items == []


@pytest.mark.usefixtures("traced")
def test_a_disabled_block_ends_like_any_other():
    """`async with` on a disabled trace passes exceptions on and leaves no trace current."""

    async def run():
        async with TraceContext.start(enabled=False):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        asyncio.run(run())
    assert TraceContext.current() is None


@pytest.mark.usefixtures("traced")
def test_recording_into_a_disabled_trace_does_nothing_with_what_it_is_given():
    """What it is given is not looked at, so it costs the call and no more."""

    class Untouched:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

    trace = TraceContext.start(enabled=False)
    trace.record("stage", "decision", Untouched())
    finish(trace)


@pytest.mark.usefixtures("traced")
def test_a_whole_run_tells_what_it_cost():
    """The document's target is 100 ms: part of the time that the whole took."""
    began_ns = time.perf_counter_ns()
    trace = TraceContext.start(project_name="cobot")
    for stage in ("intake", "rubric", "collection", "synthesis", "quality_gate"):
        trace.start_stage(stage)
        for number in range(5):
            trace.record(stage, "decided", {"what": number, "why": "because " * 20})
        trace.end_stage(stage, outputs={"n": 1})
    trace.mark_complete()
    overhead_ms = finish(trace)["tracing_overhead_ms"]
    assert 0 < overhead_ms <= (time.perf_counter_ns() - began_ns) / 1e6
