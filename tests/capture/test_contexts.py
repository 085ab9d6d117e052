"""Every record hangs under the run and span of the code that made it, task or thread."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import whence
from whence.exports.otlp.model import root_id


def test_tasks_keep_to_their_own_span(recorded):
    """Tasks of one loop, interleaved; a task begins in the span it was made in."""

    async def work(name):
        whence.current_span().event(f"{name} begins")
        with whence.span(name) as span:
            await asyncio.sleep(0.0001 * (hash(name) % 10))
            whence.current_span().event(name)
            assert whence.current_span() is span

    async def main():
        with whence.run("r"), whence.span("parent"):
            async with asyncio.TaskGroup() as group:
                for number in range(50):
                    group.create_task(work(f"t{number}"))

    asyncio.run(main())

    spans = {span.id: span for span in recorded.rows("spans")}
    parent = next(span.id for span in spans.values() if span.name == "parent")
    for event in recorded.rows("events"):
        if event.message.endswith("begins"):
            assert event.span == parent
        else:
            assert spans[event.span].name == event.message
            assert spans[event.span].parent == parent


def test_a_cancelled_task_group_ends_every_span(recorded):
    """One fails, the others are cancelled, the group raises."""

    async def work(number):
        with whence.span(f"t{number}"):
            await asyncio.sleep(0.01 if number == 0 else 30)
            raise ValueError

    async def main():
        with whence.run("r"):
            async with asyncio.TaskGroup() as group:
                for number in range(5):
                    group.create_task(work(number))

    with pytest.raises(ExceptionGroup):
        asyncio.run(main())

    statuses = Counter(span.status for span in recorded.rows("spans"))
    assert statuses == {"error": 1, "cancelled": 4}
    assert recorded.one("runs").status == "failed"


def test_a_timeout_is_a_cancellation_inside_and_an_error_outside(recorded):
    """`asyncio.timeout` cancels what is in it and raises TimeoutError."""

    async def main():
        with whence.run("r"), whence.span("outer"):
            async with asyncio.timeout(0.01):
                with whence.span("inner"):
                    await asyncio.sleep(30)

    with pytest.raises(TimeoutError):
        asyncio.run(main())

    assert {s.name: s.status for s in recorded.rows("spans")} == {
        "outer": "error",
        "inner": "cancelled",
    }


def test_a_thread_has_no_run_unless_it_is_bound(recorded):
    """A bare thread records a run of its own, a bound function in the span it was bound in."""

    def work(name):
        with whence.span(name):
            whence.current_span().event(name)

    with whence.run("r") as run:
        for function in (work, whence.bind(work)):
            thread = threading.Thread(target=function, args=(f"in {function is work}",))
            thread.start()
            thread.join()

    runs = {row.id: row.name for row in recorded.rows("runs")}
    where = {event.message: runs[event.run] for event in recorded.rows("events")}
    assert where == {"in True": "in True", "in False": "r"}
    assert run.id in runs


def test_a_pool_of_threads_records_in_the_span_that_submitted(recorded):
    """By `whence.bind` and `copy_context().run`; a pool's thread forgets it afterwards."""

    def work(_item):
        with whence.span("item") as span:
            span.event("m")

    with ThreadPoolExecutor(4) as pool:
        with whence.run("first"), whence.span("stage 1"):
            list(pool.map(whence.bind(work), range(20)))
        with whence.run("second"), whence.span("stage 2"):
            tasks = [pool.submit(whence.copy_context().run, work, number) for number in range(20)]
            assert [task.result() for task in tasks] == [None] * 20
        assert not any(pool.submit(whence.current_run).result() for _ in range(8))

    spans = recorded.rows("spans")
    stages = {span.id: span.name for span in spans if span.name != "item"}
    assert Counter(stages[s.parent] for s in spans if s.name == "item") == {
        "stage 1": 20,
        "stage 2": 20,
    }
    assert len(recorded.rows("runs")) == 2


@pytest.mark.usefixtures("recorded")
def test_an_asyncio_thread_keeps_its_span():
    """`asyncio.to_thread` copies the context."""

    async def main():
        with whence.run("r"), whence.span("s") as span:
            assert await asyncio.to_thread(whence.current_span) is span

    asyncio.run(main())


def test_32_threads_of_200_interleaved_tasks_do_not_mix(recorded):
    """6,400 runs at once: every record is under its own run and span, and none is missing."""
    threads, tasks = 32, 200

    async def work(name):
        with whence.run(name) as run:
            await asyncio.sleep(0)
            with whence.stage(f"stage of {name}") as span:
                assert whence.current_run() is run
                await asyncio.sleep(0)
                span.decide(name, "yes", options=["yes", "no"])
                whence.current_span().event(name)
                await asyncio.sleep(0)
                with whence.tool(f"tool of {name}", input=name) as tool:
                    await asyncio.sleep(0)
                    tool.set(output=name)

    async def main(thread):
        await asyncio.gather(*(work(f"{thread}/{task}") for task in range(tasks)))

    started = [threading.Thread(target=lambda t=t: asyncio.run(main(t))) for t in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    report = whence.flush()

    assert (report.written, report.lost) == (recorded.bytes_of_log().count(b"\n"), 0)
    runs = {row.id: row for row in recorded.rows("runs")}
    spans = {(row.run, row.id): row for row in recorded.rows("spans")}
    assert len(runs) == len({row.name for row in runs.values()}) == threads * tasks
    assert len(spans) == 2 * threads * tasks
    assert {row.status for row in runs.values()} == {"complete"}
    assert {row.records for row in runs.values()} == {report.written // len(runs)}
    for table in ("decisions", "events", "tool_calls"):
        rows = recorded.rows(table)
        assert len(rows) == threads * tasks
        for row in rows:
            name = runs[row.run].name
            said = {"decisions": "name", "events": "message", "tool_calls": "output"}[table]
            assert getattr(row, said) == name
            assert row.stage == f"stage of {name}"
            span = spans[row.run, row.span]
            assert span.name == f"{'tool' if table == 'tool_calls' else 'stage'} of {name}"
    for (run, _), span in spans.items():
        if span.kind == "tool":
            assert spans[run, span.parent].name == f"stage of {runs[run].name}"


SPAWN = """
import multiprocessing, os, sys, whence

def work(parent, number):
    with whence.resume(parent), whence.span(f"part {number}") as span:
        span.event(f"m{number}")

if __name__ == "__main__":
    method, home = sys.argv[1:]
    os.environ["WHENCE_HOME"] = home
    with whence.run("r"), whence.stage("spread"):
        context = multiprocessing.get_context(method)
        made = [context.Process(target=work, args=(whence.traceparent(), n)) for n in range(3)]
        for process in made:
            process.start()
        for process in made:
            process.join()
            assert process.exitcode == 0
"""


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_run_goes_on_in_other_processes(recorded, tmp_path, method):
    """A traceparent carries the run and span into workers; each writes its own segment."""
    program = tmp_path / "program.py"
    program.write_text(SPAWN)
    command = [sys.executable, str(program), method, str(recorded.home.root)]
    subprocess.run(command, check=True, timeout=60, env=os.environ.copy())

    spans = {span.name: span for span in recorded.rows("spans")}
    for number in range(3):
        part = spans[f"part {number}"]
        assert (part.run, part.parent) == (recorded.one("runs").id, spans["spread"].id)
        assert part.status == "ok"
    assert {(e.message, e.span) for e in recorded.rows("events")} == {
        (f"m{number}", spans[f"part {number}"].id) for number in range(3)
    }


def test_a_traceparent_is_one(recorded):
    """W3C form inside a run, nothing outside, and only that form is taken."""
    assert whence.traceparent() is None
    with whence.run("r") as run:
        assert whence.traceparent() == f"00-{run.id}-{root_id(run.id)}-01"
        with whence.span("s") as span:
            parent = whence.traceparent()
            assert parent == f"00-{run.id}-{span.id}-01"
    with whence.resume(parent) as again:
        assert again.id == run.id
        again.event("later")
    with whence.resume(None) as nothing:
        nothing.event("m")
    with pytest.raises(whence.ConfigError):
        whence.resume("00-nonsense")

    assert recorded.one("events").span == span.id


def test_a_traceparent_of_a_run_leads_back_to_the_run(recorded):
    """What the other process records stands at the run itself, in no span."""
    with whence.run("r"):
        parent = whence.traceparent()
    with whence.resume(parent) as again:
        again.event("later")

    assert recorded.one("events").span is None


def test_first_records_of_many_threads_go_to_one_writer(recorded):
    """However many threads record first at the same moment, the process has one writer."""
    barrier = threading.Barrier(16)

    def work():
        barrier.wait()
        with whence.run("r"):
            pass

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert whence.flush().written == 32
    assert len(list((recorded.home.root / "log").rglob("*.jsonl"))) == 1
