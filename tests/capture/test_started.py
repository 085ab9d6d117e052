"""Runs and spans that are opened and ended by calls, for code that has no block."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

import whence

if TYPE_CHECKING:
    from pathlib import Path


def test_a_started_run_is_not_current_and_takes_verbs_from_any_thread(tmp_path: Path) -> None:
    """`start` opens a run beside the current one, and a thread may say things of it."""
    whence.configure(tmp_path)
    run = whence.run("handled", external_id="own-1").start()
    assert whence.current_run().id == ""
    span = whence.span("work", "step").start(within=run)
    thread = threading.Thread(target=lambda: span.decide("which", "this one"))
    thread.start()
    thread.join()
    span.finish()
    run.finish()
    with whence.open(tmp_path) as store:
        found = store.run("own-1")
        assert (found.run.status, [s.name for s in store.spans().items]) == ("complete", ["work"])
        decision = store.decisions().items[0]
        assert (decision.run, decision.span) == (run.id, span.id)


def test_finish_says_which_exception_ended_it_and_counts_once(tmp_path: Path) -> None:
    """A run ended twice has the first end's status."""
    whence.configure(tmp_path)
    run = whence.run("handled").start()
    run.finish(ValueError("no such thing"))
    run.finish()
    with whence.open(tmp_path) as store:
        row = store.runs().items[0]
        assert row.status == "failed"
        assert row.error is not None
        assert row.error["message"] == "no such thing"


def test_finish_takes_a_message_where_there_is_no_exception(tmp_path: Path) -> None:
    """A failure that is only told has its message, and no stack of ours."""
    whence.configure(tmp_path)
    run = whence.run("handled").start()
    whence.span("work").start(within=run).finish("the tool said no")
    run.finish("the tool said no")
    with whence.open(tmp_path) as store:
        told = {"type": "error", "message": "the tool said no"}
        assert [store.runs().items[0].error, store.spans().items[0].error] == [told, told]
        assert store.runs().items[0].status == "failed"


@pytest.mark.parametrize("enabled", [True, False])
def test_a_started_span_of_nothing_records_nothing(tmp_path: Path, enabled: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Inside a no-op object everything is a no-op object."""
    whence.configure(tmp_path, enabled=enabled)
    span = whence.span("work").start(within=whence.current_run())
    span.event("x")
    span.finish()
    assert not span
    with whence.open(tmp_path) as store:
        assert not store.spans().items


def test_a_scope_says_what_it_is(tmp_path: Path) -> None:
    """A run, a span and the no-op object name themselves in a debugger."""
    whence.configure(tmp_path)
    with whence.run("report") as run, whence.stage("collect") as stage:
        assert repr(run) == f"<whence run 'report' {run.id} running>"
        assert repr(stage) == f"<whence span 'collect' {stage.id} running>"
    assert repr(whence.current_run()) == "<whence: nothing is recorded here>"
