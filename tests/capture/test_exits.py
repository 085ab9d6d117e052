"""However a block or call is left, its end is recorded and the exception goes on untouched."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys

import pytest

import whence

EXITS = {
    "returns": (None, "ok"),
    "raises": (ValueError("boom"), "error"),
    "cancelled": (asyncio.CancelledError("stop"), "cancelled"),
    "interrupted": (KeyboardInterrupt(), "cancelled"),
    "exits": (SystemExit(3), "error"),
    "a group": (ExceptionGroup("two", [ValueError(1), TypeError(2)]), "error"),
}


class Worker:
    def work(self, error):
        if error is not None:
            raise error
        return 42


def by_block(error):
    with whence.span("work"):
        return Worker().work(error)


def by_function(error):
    return whence.observe(name="work")(Worker().work)(error)


def by_method(error):
    class Observed(Worker):
        @whence.observe(name="work")
        def work(self, error):
            return super().work(error)

    return Observed().work(error)


def by_static_method(error):
    class Observed:
        @whence.observe(name="work")
        @staticmethod
        def work(error):
            return Worker().work(error)

    return Observed.work(error)


def by_async_block(error):
    async def main():
        async with whence.span("work"):
            return Worker().work(error)

    return run_async(main())


def by_async_function(error):
    @whence.observe(name="work")
    async def work(error):
        await asyncio.sleep(0)
        return Worker().work(error)

    return run_async(work(error))


def by_generator(error):
    @whence.observe(name="work")
    def work(error):
        yield 1
        return Worker().work(error)

    generator = work(error)
    assert next(generator) == 1
    try:
        next(generator)
    except StopIteration as stop:
        return stop.value
    raise AssertionError


def by_async_generator(error):
    @whence.observe(name="work")
    async def work(error):
        yield 1
        Worker().work(error)

    async def main():
        async for _ in work(error):
            pass
        return 42

    return run_async(main())


def run_async(coroutine):
    """Drive a coroutine by hand, because a loop would treat some exceptions in its own way."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as stop:
        return stop.value


FORMS = [
    by_block,
    by_function,
    by_method,
    by_static_method,
    by_async_block,
    by_async_function,
    by_generator,
    by_async_generator,
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("exit_by", EXITS)
def test_every_exit_of_every_form_is_recorded(recorded, form, exit_by):
    """The span says how it ended, and the caller gets the very same exception or value."""
    error, status = EXITS[exit_by]
    with whence.run("r"):
        if error is None:
            assert form(None) == 42
        else:
            with pytest.raises(type(error)) as caught:
                form(error)
            assert caught.value is error
        assert whence.current_span() is whence.current_run()

    span = recorded.one("spans")
    assert (span.name, span.status) == ("work", status)
    assert span.duration_ms is not None
    if status == "error":
        assert span.error_type.endswith(type(error).__name__)
        assert "stack" in span.error
    assert recorded.one("runs").status == "complete"


@pytest.mark.parametrize("exit_by", EXITS)
@pytest.mark.parametrize("is_async", [False, True])
def test_every_exit_of_a_run_is_recorded(recorded, exit_by, is_async):
    """`complete`, `failed` or `cancelled`, and the exception goes on."""
    error, status = EXITS[exit_by]

    async def in_async():
        async with whence.run("r") as run:
            Worker().work(error)
        return run

    def in_block():
        with whence.run("r") as run:
            Worker().work(error)
        return run

    call = (lambda: run_async(in_async())) if is_async else in_block
    if error is None:
        call()
    else:
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error

    expected = {"ok": "complete", "error": "failed"}.get(status, status)
    assert recorded.one("runs").status == expected
    assert not whence.current_run()


def test_a_program_that_exits_with_0_has_completed_its_run(recorded):
    """`sys.exit()` is how many scripts end."""
    with pytest.raises(SystemExit), whence.run("r"):
        sys.exit(0)

    assert recorded.one("runs").status == "complete"


@pytest.mark.parametrize("how", ["close", "drop"])
def test_a_generator_closed_early_ends_its_span(recorded, how):
    """At the close or when it is dropped; what it yielded is counted and its own clean-up runs."""
    cleaned = []

    @whence.observe
    def work():
        try:
            for number in range(10):
                whence.current_span().event(f"step {number}")
                yield number
        finally:
            cleaned.append(True)
            whence.current_span().event("cleaned")

    with whence.run("r") as run:
        generator = work()
        next(generator)
        next(generator)
        run.event("outside")
        if how == "close":
            generator.close()
        del generator
        gc.collect()
        assert whence.current_span() is run

    span = recorded.one("spans")
    assert cleaned == [True]
    assert span.status == "cancelled"
    assert [(e.message, e.span) for e in recorded.rows("events")] == [
        ("step 0", span.id),
        ("step 1", span.id),
        ("outside", None),
        ("cleaned", span.id),
    ]


def test_an_async_generator_left_early_ends_its_span(recorded):
    """When the loop finalizes it, in a context of its own, nobody else's current span changes."""

    @whence.observe
    async def work():
        for number in range(10):
            yield number

    async def main():
        with whence.run("r") as run:
            async for _ in work():
                break
            gc.collect()
            await asyncio.sleep(0)
            assert whence.current_span() is run
            with whence.span("after"):
                await asyncio.sleep(0)

    asyncio.run(main())

    spans = {span.name: span for span in recorded.rows("spans")}
    assert [span.status for span in spans.values() if span.name != "after"] == ["cancelled"]
    assert (spans["after"].status, spans["after"].parent) == ("ok", None)


def test_values_sent_and_exceptions_thrown_reach_an_observed_generator(recorded):
    """The wrapper is a generator like the one inside."""

    @whence.observe
    def echo():
        got = None
        while True:
            try:
                got = yield got
            except KeyError as error:
                got = error

    with whence.run("r"):
        generator = echo()
        next(generator)
        assert generator.send("a") == "a"
        thrown = KeyError("k")
        assert generator.throw(thrown) is thrown
        assert generator.send("b") == "b"
        generator.close()

    assert recorded.one("spans").status == "cancelled"


def test_an_abandoned_generator_that_outlives_its_run_leaves_nothing_current(recorded):
    """A span inside a plain generator that nobody finished does not swallow what comes later."""

    def work():
        with whence.span("inner"):
            yield 1

    with whence.run("first"):
        generator = work()
        next(generator)
    assert not whence.current_run()
    with whence.run("second") as second:
        second.event("m")
        assert whence.current_span() is second
    generator.close()
    assert not whence.current_run()

    runs = {run.name: run for run in recorded.rows("runs")}
    assert recorded.one("spans").status == "cancelled"
    assert recorded.one("events").run == runs["second"].id


def test_scopes_left_out_of_order_leave_nothing_current(recorded):
    """A span that outlives the one it was opened in does not bring that one back."""
    with whence.run("r") as run:
        outer, inner = whence.span("outer"), whence.span("inner")
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)
        inner.__exit__(None, None, None)
        assert whence.current_span() is run

    assert {span.status for span in recorded.rows("spans")} == {"ok"}


@pytest.mark.parametrize(
    ("how", "code", "run_status", "span_status"),
    [
        ("os._exit(7)", 7, "incomplete", "incomplete"),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9, "incomplete", "incomplete"),
        ("os.kill(os.getpid(), signal.SIGTERM)", -15, "incomplete", "incomplete"),
        ("sys.exit(7)", 7, "failed", "error"),
        ("os.abort()", -6, "incomplete", "incomplete"),
        ("raise KeyboardInterrupt", -2, "cancelled", "cancelled"),
    ],
)
def test_a_process_that_dies_leaves_what_it_said(recorded, how, code, run_status, span_status):
    """Every record whose call returned is there; what never ended is incomplete."""
    program = f"""
import os, signal, sys
import whence
with whence.run("r") as run:
    run.event("said in the run")
    with whence.tool("t", input={{"a": 1}}) as tool:
        tool.event("said in the span")
        {how}
"""
    environment = os.environ | {"WHENCE_HOME": str(recorded.home.root)}
    made = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        timeout=30,
        check=False,
    )

    assert made.returncode == code
    assert [e.message for e in recorded.rows("events")] == ["said in the run", "said in the span"]
    assert recorded.one("runs").status == run_status
    assert recorded.one("spans").status == span_status


def test_a_forked_child_that_leaves_the_block_does_not_end_it(recorded):
    """Run and span are the parent's to end."""
    program = """
import os, whence
with whence.run("r"):
    with whence.span("s") as span:
        pid = os.fork()
        span.event("child" if pid == 0 else "parent")
if pid:
    os.waitpid(pid, 0)
"""
    environment = os.environ | {"WHENCE_HOME": str(recorded.home.root)}
    subprocess.run([sys.executable, "-c", program], env=environment, timeout=30, check=True)

    log = recorded.bytes_of_log()
    assert sorted(e.message for e in recorded.rows("events")) == ["child", "parent"]
    assert log.count(b'"run_ended"') == log.count(b'"span_ended"') == 1
