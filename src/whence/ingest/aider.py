"""Analytics of aider: a log of events, one a line, of all its launches on a machine.

Comes in: `{event, properties, user_id, time}`, the time in seconds. Goes out: a run for each launch
until its exit, with a model call for each `message_send`, and an event for whatever else happened.
A message that was begun and never sent back an answer is a span that was cancelled; where another
one follows at once, that is taken as a retry.

Several launches may write at the same time, and lines do not say whose they are. But each answer
states what its launch has cost so far, so that it belongs to the launch whose answers add up to the
difference, and so does the last message that was begun. What states no cost belongs to the launch
that was last heard of.

Source: Aider-AI/aider `aider/analytics.py`, and `message_send` in `aider/coders/base_coder.py`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

from whence.errors import IngestError
from whence.ingest import json_files, keys, loose, usage
from whence.ingest.base import Skipped
from whence.ingest.timeline import Timeline
from whence.record.event import Event
from whence.record.generation import Generation
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted, Update

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_SIGNS = frozenset({"event", "properties", "user_id", "time"})
_NEAR_USD = 1e-6
_ABOUT_RUN = frozenset({"cli session", "gui session", "repo", "no-repo", "auto_commits"})
"""Events whose properties are about the launch as a whole."""
_FAILURE = re.compile(r"unknown|fail|invalid|error|exception|missing|no api", re.IGNORECASE)
_CANCELLED = re.compile(r"keyboard interrupt", re.IGNORECASE)
_LOOKED_AT = 200
"""Among how many of the last launches that of a line is looked for."""
_FIGURES = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})


def detect(source: Source) -> bool:
    """Return whether a file begins with an event of aider."""
    begins = json_files.peek(source)
    return not begins.is_list and begins.keys >= _SIGNS


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a file."""
    del known
    log = _Log()
    seen: Counter[str] = Counter()
    for line in json_files.iter_objects(source):
        if isinstance(line, Skipped):
            yield line
            continue
        number, given = line
        where = f"{source.name}:{number}"
        event, at_ns = loose.text(given.get("event")), loose.time_ns(given.get("time"))
        if event is None or at_ns is None:
            yield Skipped(where, "it has no event or no time")
            continue
        try:
            key = json_files.fingerprint(given)
        except IngestError as error:
            yield Skipped(where, str(error))
            continue
        seen[key] += 1  # equal lines are told apart by their order
        yield from log.records_of(given, event, at_ns, f"{key}/{seen[key]}")
    yield from log.rest()


class _Launch:
    """One launch, while its lines are read."""

    def __init__(self, run: str) -> None:
        self.line = Timeline(run)
        self.cost_usd = 0.0
        """What its messages cost so far, as the last of them states."""
        self.unanswered: str | None = None
        """Id of the span of the last message, if it had no answer and nothing came since."""
        self.is_over = False
        self.begun: _Begun | None = None
        """The message that has no answer yet."""


class _Begun:
    """A message that has no answer yet."""

    def __init__(self, key: str, at_ns: int) -> None:
        self.key = key
        self.at_ns = at_ns

    def records(self, launch: _Launch) -> Iterator[Record]:
        """Yield its beginning, in the launch that it turned out to be of."""
        line, span = launch.line, launch.line.id("message", self.key)
        yield line.opened(span, "message", "generation", at_ns=self.at_ns)
        if launch.unanswered is not None:
            yield Link(
                **line.point("retry_of", self.key, span=span, at_ns=self.at_ns),
                link_kind="retry_of",
                source=launch.unanswered,
                target=span,
                inferred=True,
            )
        launch.unanswered = None


class _Log:
    """All launches of a log, while it is read."""

    def __init__(self) -> None:
        self._launches: list[_Launch] = []
        self._last: _Launch | None = None
        self._waiting: dict[_Launch, None] = {}
        """The launches with a message that has no answer yet, the one begun last at the end."""

    def records_of(self, given: Fields, event: str, at_ns: int, key: str) -> Iterator[Record]:
        """Yield the records of a line.

        Args:
            given: The line.
            event: What happened.
            at_ns: When, Unix time.
            key: What tells the line from all others.
        """
        stated = loose.mapping(given.get("properties"))
        launch = None if event == "launched" else self._launch_of(event, stated)
        if launch is None:
            launch = _Launch(keys.run_id("aider", key))
            self._launches.append(launch)
            before = {"launched": "before the log begins"}
            yield RunStarted(
                ts=launch.line.at(at_ns),
                run=launch.line.run,
                name="aider",
                run_kind="session",
                user=loose.name(given.get("user_id")),
                attributes=None if event == "launched" else before,
            )
        self._last = launch
        if event == "message_send":
            yield from self._answered(launch, stated, at_ns, key)
            return
        error = None
        if event == "message_send_exception":
            said = loose.text(stated.get("exception")) or "an exception"
            error = {"type": "exception", "message": said}
        yield from self._give_up(launch, at_ns, error)
        if event == "message_send_starting":
            launch.begun = _Begun(key, at_ns)
            self._waiting[launch] = None
        elif event == "exit":
            yield from _exited(launch, stated, at_ns)
        elif event != "launched":
            if error is None:
                launch.unanswered = None
            yield from _other(launch, event, stated, at_ns, key)

    def _launch_of(self, event: str, stated: Fields) -> _Launch | None:
        """Return the launch that a line belongs to; None if the log does not have its beginning."""
        total, cost = loose.number(stated.get("total_cost")), loose.number(stated.get("cost"))
        if event != "message_send" or total is None or cost is None:
            if self._last is not None and not self._last.is_over:
                return self._last
            recent = self._launches[: -_LOOKED_AT - 1 : -1]
            return next((one for one in recent if not one.is_over), self._last)
        before = total - cost
        fitting = [
            one
            for one in self._launches[-_LOOKED_AT:]
            if math.isclose(one.cost_usd, before, rel_tol=1e-9, abs_tol=_NEAR_USD)
        ]

        def likely(one: _Launch) -> tuple[bool, bool, bool]:
            return not one.is_over, one.begun is not None, one is self._last

        # The latest of those that fit best: `max` takes the first.
        return max(reversed(fitting), key=likely, default=None)

    def _answered(self, launch: _Launch, stated: Fields, at_ns: int, key: str) -> Iterator[Record]:
        line, total = launch.line, loose.number(stated.get("total_cost"))
        cost = loose.amount(stated.get("cost"))
        begun = self._taken(launch)
        span, length = None, None
        if begun is not None:
            span, length = line.id("message", begun.key), max(0, at_ns - begun.at_ns)
            yield from begun.records(launch)
        launch.cost_usd = launch.cost_usd + (cost or 0.0) if total is None else total
        launch.unanswered = None
        model = loose.text(stated.get("main_model"))
        others = {k: v for k, v in stated.items() if k not in _FIGURES | {"cost", "main_model"}}
        yield Generation(
            **line.point("answer", key, span=span, at_ns=at_ns),
            name="message",
            provider=model.partition("/")[0] if model and "/" in model else None,
            model=model,
            operation="chat",
            usage=usage.of_stated({k: v for k, v in stated.items() if k in _FIGURES}),
            duration_ns=length,
            cost_usd=cost,
            cost_source=None if cost is None else "declared",
            attributes=others or None,
        )

    def _taken(self, launch: _Launch) -> _Begun | None:
        """Take the beginning of an answered message: the launch's own, or else the last one."""
        if launch.begun is None:
            launch = next(reversed(self._waiting), launch)
        begun, launch.begun = launch.begun, None
        self._waiting.pop(launch, None)
        return begun

    def _give_up(self, launch: _Launch, at_ns: int, error: Fields | None) -> Iterator[Record]:
        """Yield the message of a launch that has no answer, now that it went on without."""
        begun = launch.begun
        if begun is None:
            return
        self._taken(launch)
        line, span = launch.line, launch.line.id("message", begun.key)
        yield from begun.records(launch)
        if error is None:
            yield Event(
                **line.point("no answer", begun.key, span=span, at_ns=at_ns),
                message="a message was sent and no answer was recorded",
                level="warning",
            )
            yield line.closed(span, at_ns=at_ns, status="cancelled")
        else:
            yield line.closed(span, at_ns=at_ns, status="error", error=error)
        launch.unanswered = span

    def rest(self) -> Iterator[Record]:
        """Yield the messages at the end of the log, which may still get their answer."""
        for launch in self._waiting:
            if launch.begun is not None:
                yield from launch.begun.records(launch)


def _exited(launch: _Launch, stated: Fields, at_ns: int) -> Iterator[Record]:
    line, reason = launch.line, loose.text(stated.get("reason")) or ""
    status, error = "complete", None
    if _CANCELLED.search(reason):
        status = "cancelled"
    elif _FAILURE.search(reason):
        status, error = "failed", {"type": "exit", "message": reason}
    yield Update(**line.point("exit", at_ns, at_ns=at_ns), attributes={"exit_reason": reason})
    yield RunEnded(ts=line.at(at_ns), run=line.run, status=status, error=error)
    launch.is_over, launch.unanswered = True, None


def _other(launch: _Launch, event: str, stated: Fields, at_ns: int, key: str) -> Iterator[Record]:
    line = launch.line
    if event in _ABOUT_RUN and stated:
        yield Update(**line.point("about", key, at_ns=at_ns), attributes=stated)
    level = "error" if "exception" in event else "warning" if "warning" in event else "info"
    point = line.point("event", key, at_ns=at_ns)
    yield Event(**point, message=event, level=level, data=stated or None)
