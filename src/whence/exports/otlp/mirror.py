"""Sends the runs of this process on as they end, without the program noticing.

Comes in: the writer of this process, whose segments a thread of its own follows. Goes out: spans.
The program never waits for it, and no failure of it reaches the program. The log is its queue:
while a receiver is away nothing is read ahead, and what could not be sent by the end of the process
is counted and said, and is in the log all the same.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

import msgspec

from whence import _clock
from whence.exports.otlp import send, targets
from whence.exports.otlp.gather import Gathering
from whence.log.follow import Follower
from whence.log.reader import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.exports.otlp.model import SpanOut
    from whence.log.writer import Writer

    Tell = Callable[[str, str], None]

POLL_S = 0.25
"""How often the log is looked at."""
DRAIN_S = 5.0
"""How long a flush, or the end of the process, waits for a receiver."""
_LAST_S = 0.5
_READ_RECORDS = 2_000
_SEND_SPANS = 500
_SECOND_NS = 1_000_000_000


class Standing(msgspec.Struct, frozen=True):
    """How a mirror stands."""

    sent: int
    """Spans that were handed over."""
    lost: int
    """Spans and records that were not, and will not be."""
    why: str | None
    """Why the last of them was not."""


class Mirror:
    """The mirror of one process; made by `open_mirror`, safe to use from any thread.

    Args:
        wanted: Where to, and how.
        tell: Gets a key and a sentence about what is lost.
    """

    def __init__(self, wanted: targets.Wanted, tell: Tell) -> None:
        self._wanted = wanted
        self._tell = tell
        self._reset()
        # Made now, so that it runs before the end of an SDK that was set up before.
        atexit.register(self._at_exit)

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._follower: Follower | None = None
        self._gathering: Gathering | None = None
        self._waiting: list[SpanOut] = []
        self._tries = 0
        self._next_try_ns = 0
        self._sent = self._lost = 0
        self._why: str | None = None
        self._told_lost = 0
        self._drained = False

    def follow(self, writer: Writer) -> None:
        """Follow a writer, from its first record on."""
        if self._pid != os.getpid():  # a forked child: what waits is the parent's to send
            self._reset()
        with self._lock:
            self._follower = Follower(writer.home, writer.name)
            self._gathering = Gathering(writer.home, self._wanted.options)
            if self._thread is None or not self._thread.is_alive():
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="whence-mirror", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads: a flush and the end of the process send it all
            return
        self._thread = thread

    def _work(self) -> None:
        while not self._stopping.wait(POLL_S):
            with self._lock:
                self._guarded(now=False)

    def standing(self) -> Standing:
        """Return how the mirror stands."""
        return Standing(self._sent, self._lost, self._why)

    def drain(self, timeout_s: float | None = None) -> Standing:
        """Send what is finished.

        Args:
            timeout_s: How long to wait for the receiver; `DRAIN_S` if None.

        Returns:
            How the mirror stands then.
        """
        if self._pid != os.getpid():
            return Standing(0, 0, None)
        limit_s = DRAIN_S if timeout_s is None else timeout_s
        deadline_ns = _clock.mono_ns() + round(limit_s * _SECOND_NS)
        if self._lock.acquire(timeout=max(0.0, limit_s)):
            try:
                self._next_try_ns = 0
                self._guarded(now=True)
                while self._waiting and _clock.mono_ns() < deadline_ns:
                    left_s = (deadline_ns - _clock.mono_ns()) / _SECOND_NS
                    next_s = (self._next_try_ns - _clock.mono_ns()) / _SECOND_NS
                    self._stopping.wait(max(0.0, min(left_s, next_s)))
                    self._guarded(now=True)
            finally:
                self._lock.release()
        return self.standing()

    def stop(self, timeout_s: float = DRAIN_S) -> Standing:
        """Send what is finished, count what is not sent then, and end the thread."""
        if self._pid != os.getpid() or self._follower is None:
            return self.standing()
        self.drain(_LAST_S if self._drained else timeout_s)  # the process waits once
        self._stopping.set()
        if self._lock.acquire(timeout=timeout_s):
            try:
                self._give_up()
            finally:
                self._lock.release()
        self._say()
        atexit.unregister(self._at_exit)
        return self.standing()

    def _at_exit(self) -> None:
        if self._pid == os.getpid():
            self.drain()
            self._drained = True

    def _guarded(self, *, now: bool) -> None:
        try:
            self._step(now=now)
        except Exception as error:  # noqa: BLE001 - the program must not learn of it, only its owner
            self._lose(max(1, len(self._waiting)), f"{type(error).__name__}: {error}"[:300])
            self._waiting = []
        self._say()

    def _step(self, *, now: bool) -> None:
        """Read and send until nothing is left, or the receiver wants to be left alone."""
        while True:
            if self._waiting and not self._send():
                return
            if not self._read(now=now) and not self._waiting:
                if now:
                    self._wanted.target.flush()
                return

    def _read(self, *, now: bool) -> bool:
        """Read some of what was written.

        Returns:
            Whether there may be more.
        """
        follower, gathering = self._follower, self._gathering
        if follower is None or gathering is None:
            return False
        count = 0
        for found in follower.iter_records():
            if not isinstance(found, Problem):
                gathering.add(found[2], found[0], found[1])
            count += 1
            if count >= _READ_RECORDS:
                break
        self._waiting += gathering.finished(now=now and count < _READ_RECORDS)
        if gathering.lost:
            self._lose(gathering.lost, "it came after its run had been sent, or too much was held")
            gathering.lost = 0
        return count >= _READ_RECORDS

    def _send(self) -> bool:
        """Send what waits.

        Returns:
            False if the receiver is to be left alone for now.
        """
        while self._waiting:
            if _clock.mono_ns() < self._next_try_ns:
                return False
            part = self._waiting[:_SEND_SPANS]
            outcome = self._wanted.target.send(part)
            if not outcome.taken and outcome.again:
                self._tries += 1
                wait_s = send.pause_s(self._tries, outcome.after_s)
                self._next_try_ns = _clock.mono_ns() + round(wait_s * _SECOND_NS)
                self._why = outcome.why
                return False
            self._tries = self._next_try_ns = 0
            del self._waiting[:_SEND_SPANS]
            if outcome.taken:
                self._sent += len(part) - outcome.rejected
                if outcome.rejected:
                    self._lose(outcome.rejected, "the receiver rejected them")
            else:
                self._lose(len(part), outcome.why)
        return True

    def _give_up(self) -> None:
        """Count what is left, for there will be no more time to send it."""
        why = self._why or "there was no time left"
        try:
            while self._read(now=True):
                self._lose(len(self._waiting), why)
                self._waiting = []
        except OSError as error:
            why = f"{error.strerror or error}"
        self._lose(len(self._waiting), why)
        self._waiting = []

    def _lose(self, count: int, why: str) -> None:
        if count:
            self._lost += count
            self._why = why

    def _say(self) -> None:
        if self._lost > self._told_lost:
            first = not self._told_lost
            self._told_lost = self._lost
            if first or self._stopping.is_set():
                self._tell(
                    f"mirror {self._wanted.target.shown} {self._stopping.is_set()}",
                    f"{self._lost} spans or records did not reach {self._wanted.target.shown}: "
                    f"{self._why}. The log has them: `whence export otlp` sends them.",
                )


def open_mirror(otel: object, tell: Tell) -> Mirror:
    """Return the mirror that `configure(otel=...)` asks for.

    Args:
        otel: An address, an exporter, a provider, or a mapping with one of them under `to`.
        tell: Gets a key and a sentence about what is lost.

    Raises:
        ConfigError: It is nothing that spans can be sent to.
    """
    return Mirror(targets.wanted(otel), tell)
