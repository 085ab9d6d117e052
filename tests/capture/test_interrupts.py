"""A signal handler that raises stops the program where it is, and nothing else."""

from __future__ import annotations

import functools
import json
import random
import signal
import sys
import time
from contextlib import contextmanager

import pytest

import whence
from whence import _clock
from whence.capture import guard, verbs
from whence.capture.context import current_scope
from whence.capture.state import current
from whence.log import segment

KINDS = [KeyboardInterrupt, TimeoutError, ValueError, RuntimeError, RecursionError]
INTERRUPTS = 150
LONGEST_S = 20


class Name(str):
    """Text that is not plain, so that the Python half writes it."""

    __slots__ = ()


class Timer:
    """Raises from a signal handler, some time after each `set`."""

    def __init__(self, kind):
        self._kind = kind
        self._rng = random.Random(5)  # noqa: S311 - no secret
        self.raised = 0

    def __call__(self, _signal, frame):
        if (
            "/hypothesis/" in frame.f_code.co_filename
        ):  # its hook of the collector, where it is lost
            return
        self.raised += 1
        raise self._kind

    def set(self, longest_s):
        signal.setitimer(signal.ITIMER_REAL, self._rng.uniform(1e-6, longest_s))


@contextmanager
def handling(handler):
    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_reaches_the_program_and_costs_no_other_record(recorded, kind, monkeypatch):
    """Whatever it raises and wherever it strikes: what was acknowledged is there, and once.

    In a finalizer the interpreter keeps it to itself: of a file, say, whose opening it cut short.
    """
    timer = Timer(kind)
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: unraisable.append(it.exc_type))
    acknowledged, caught, number = [], 0, 0
    until = time.monotonic() + LONGEST_S
    with whence.run("r") as run, handling(timer):
        run.event("opens the segment")
        while caught < INTERRUPTS and time.monotonic() < until:
            try:
                timer.set(0.0004)
                for _ in range(100):
                    number += 1
                    text = str(number)
                    record_id = run.event(text) if number % 2 else run.event(Name(text), n=Name())
                    acknowledged.append((text, record_id))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except kind:
                caught += 1
        assert not current.writer._busy

    assert caught > 0
    assert timer.raised == caught + unraisable.count(kind)
    report = whence.flush()
    assert (report.lost, report.why) == (0, None)
    assert guard._told == set()
    rows = recorded.rows("events")
    found = {row.message: row.id for row in rows}
    assert len(found) == len({row.id for row in rows}) == len(rows)
    assert all(found[text] == record_id for text, record_id in acknowledged)
    for name in segment.iter_all(recorded.home):
        lines = name.path_in(recorded.home).read_bytes().splitlines()
        assert [json.loads(line)["seq"] for line in lines] == list(range(1, len(lines) + 1))


class Stops:
    """A value that takes so long to show that an alarm goes off meanwhile."""

    def __repr__(self):
        signal.raise_signal(signal.SIGALRM)
        return "shown"


class AlarmError(Exception):
    """What the handlers below raise."""


def stop(_signal, _frame):
    raise AlarmError


def stop_with(kind, *_given):
    raise kind


class Stopper:
    def stop(self, _signal, _frame):
        raise AlarmError


HANDLERS = {
    "function": stop,
    "partial": functools.partial(stop_with, AlarmError),
    "method": Stopper().stop,
    "object": Timer(AlarmError),
}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=list(HANDLERS))
def test_an_alarm_in_a_value_of_the_program_is_not_taken_for_its_failure(recorded, handler):
    """However the handler is made; without one the value is shown, and its own failures too."""
    with whence.run("r") as run:
        with handling(handler):
            with pytest.raises(AlarmError):
                run.decide("d", Stops())
            with pytest.raises(AlarmError):
                run.event(Stops())
            with pytest.raises(AlarmError):
                run.set(status=Stops(), a=[Stops()])
        with handling(signal.SIG_IGN):
            run.decide("shown", Stops())

    assert whence.flush().lost == 0
    assert recorded.one("decisions").what["repr"] == "shown"


def test_an_interrupt_at_the_turn_of_a_second_leaves_no_wrong_time(recorded, monkeypatch):
    """The text of the second and its number change together or not at all."""
    now_ns = _clock.wall_ns() // 1_000_000_000 * 1_000_000_000
    monkeypatch.setattr(verbs, "_wall", lambda: now_ns)
    with whence.run("r") as run:
        run.event("before")
        now_ns += 5_000_000_007

        def interrupted(_unix_ns):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(_clock, "format_ns", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run.event("interrupted")
        run.event("after")

    assert [row.ts_ns for row in recorded.rows("events")][1:] == [now_ns]


def test_what_was_not_entered_is_not_current(recorded):
    """An interrupt while a span opens leaves the program where it was, outside of any run."""
    with handling(stop), pytest.raises(AlarmError), whence.step("s", value=Stops()):
        pass  # pragma: no cover - never reached

    assert current_scope.get() is None
    with whence.run("r") as run:
        with handling(stop), pytest.raises(AlarmError), whence.step("s", value=Stops()):
            pass  # pragma: no cover - never reached
        assert current_scope.get() is run
    assert recorded.rows("runs")
