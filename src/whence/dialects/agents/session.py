"""One session of an agent: a run in the log, and its folder beside it.

Comes in: what a tracker was told. Goes out: records of the run, in the span that is current if it
is one of the run's, and the same as actions in the session's folder. Which session the code at hand
is in goes with the context, like the run itself: tasks have their creator's, threads their own.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock, _ids
from whence.capture import details, environment, failures, values
from whence.capture.api import run as open_run
from whence.capture.context import current_scope
from whence.capture.noop import NoOp
from whence.capture.scopes import Scope
from whence.dialects.agents import detail
from whence.dialects.agents.detail import DetailLevel
from whence.dialects.agents.livefolder import LiveFolder
from whence.dialects.shared import redaction
from whence.exports import actions
from whence.exports.sessionfiles import Told
from whence.record.values import MARK
from whence.store.rows import RunRow

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from whence.capture.scopes import Run
    from whence.exports.toolnames import ToolNames

_MOST_WARNINGS = 100
_MOST_LINKS = 10_000
_SHOWN_LINKS = 5

current_session: ContextVar[Session | None] = ContextVar("whence_agent_session", default=None)


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What a session begins with."""

    agent_type: str
    """What the agent is called."""
    agent_version: str | None = None
    """Its version."""
    query: Any = None
    """What it is asked."""
    kwargs: dict[str, Any] = {}
    """Further arguments."""
    parent: str | None = None
    """Id of the session or run that starts it."""
    depth: int = 0
    """How many sessions are around it."""
    project: str | None = None
    """The project it belongs to."""
    db_path: str | None = None
    """The database of the application."""
    detail_level: DetailLevel = "standard"
    """How much of values is kept."""


class Session:
    """One session, from `start` to `end`. Its methods may be called from any thread.

    Args:
        owner: The tracker it belongs to.
        opening: What it begins with.
        names: What its tools are called.
        outer: The session around it.
        folder: Where its folder is made; None for none.
    """

    def __init__(
        self,
        owner: object,
        opening: Opening,
        names: ToolNames,
        outer: Session | None,
        folder: Path | None,
    ) -> None:
        self.owner = owner
        self.agent_type = values.text(opening.agent_type)
        self.level: DetailLevel = opening.detail_level
        self.depth = opening.depth
        self.outer = outer
        self.names = names
        self.is_open = True
        attributes = _attributes(opening, names)
        self.run: Run | NoOp = open_run(
            self.agent_type,
            kind="agent",
            project=opening.project,
            parent=opening.parent,
            **attributes,
        )
        self.id = self.run.id or _ids.new_run_id()
        self.recording = not isinstance(self.run, NoOp)
        self._folder = folder
        self._row = RunRow(
            id=self.id,
            run=self.id,
            name=self.agent_type,
            kind="agent",
            project=opening.project,
            status="running",
            started_ns=_clock.wall_ns(),
            parent_run=opening.parent,
            attributes=details.mapping(attributes, no_blob),
            environment=environment.describe(os.getpid()).found if self.recording else None,
        )
        self._live: LiveFolder | None = None
        self._scope_before: Scope | NoOp | None = None
        self._started_mono_ns = _clock.mono_ns()
        self._lock = threading.Lock()
        self._links: dict[tuple[str, ...], dict[str, str]] = {}
        self._last_links: deque[dict[str, str]] = deque(maxlen=_SHOWN_LINKS)
        self._warnings: list[str] = []
        self._sub_agents: list[str] = []

    def start(self, *, current: bool) -> None:
        """Write its start, and make it current where it is started."""
        if current:
            current_session.set(self)
        if not self.recording:
            if current:  # hides an outer run, as long as it lasts
                self._scope_before = current_scope.get()
                current_scope.set(self.run)
            return
        if current:
            self.run.__enter__()
        else:
            self.run.start()
        if self.outer is not None:
            self.outer.note_sub_agent(self.agent_type)
        if self._folder is not None:
            self._row = redaction.guarded(self._row)
            self._live = LiveFolder(self._folder, self._row)
            self._live.append(actions.started(self._row))

    @property
    def path(self) -> Path | None:
        """The session's own folder, if it has one."""
        return None if self._live is None else self._live.path

    @contextmanager
    def current(self) -> Generator[None]:
        """Make the session current inside the block."""
        session, scope = current_session.set(self), current_scope.set(self.run)
        try:
            yield
        finally:
            current_scope.reset(scope)
            current_session.reset(session)

    def scope(self) -> Scope | NoOp:
        """Return where to record: the current span if it is in this session, else the run."""
        scope = current_scope.get()
        if isinstance(scope, Scope) and scope.run_id == self.id and scope.status == "running":
            return scope
        return self.run

    def show(self, table: str, row: Any) -> None:
        """Append a row that was just recorded to the session's folder."""
        if self._live is not None:
            self._append(self._live, actions.MAKERS[table](redaction.guarded(row), self.names))

    def _append(self, live: LiveFolder, action: actions.Action) -> None:
        if self._last_links:
            links = list(self._last_links)
            action = msgspec.structs.replace(action, entity_links=links)
        live.append(action)

    def note_link(self, link: dict[str, str]) -> None:
        """Keep a linked entity for the manifest and for the next actions."""
        shown: dict[str, str] = redaction.redacted(link, "attributes")
        with self._lock:
            self._last_links.append(shown)
            if len(self._links) < _MOST_LINKS:
                self._links.setdefault(tuple(shown.values()), shown)

    def note_warning(self, message: str) -> None:
        """Keep a warning for the manifest."""
        if len(self._warnings) < _MOST_WARNINGS:
            self._warnings.append(redaction.redacted(message, "message"))

    def note_sub_agent(self, agent_type: str) -> None:
        """Keep the type of an agent that was run inside."""
        self._sub_agents.append(agent_type)

    def end(
        self,
        *,
        success: bool = True,
        result: Any = None,
        error: BaseException | str | None = None,
    ) -> None:
        """Write how the session ended; a second time does nothing."""
        with self._lock:
            if not self.is_open:
                return
            self.is_open = False
        summary = detail.result_summary(result, self.level)
        if summary is not None:
            self.run.set(output=summary)
        problem = SessionFailedError(error) if isinstance(error, str) else error
        if not success and problem is None:
            self.run.set(status="failed")
        self.run.finish(problem)
        if self._live is not None:
            self._close(self._live, problem)
        self._leave()

    def _close(self, live: LiveFolder, problem: BaseException | None) -> None:
        status = self.run.status
        failed = problem is not None and status not in {"complete", "cancelled"}
        ended = msgspec.structs.replace(
            self._row,
            status=status,
            ended_ns=_clock.wall_ns(),
            duration_ms=(_clock.mono_ns() - self._started_mono_ns) / 1e6,
            error=failures.describe(problem) if problem is not None and failed else None,
        )
        ended = msgspec.structs.replace(ended, error=redaction.redacted(ended.error, "error"))
        self._append(live, actions.ended(ended))
        told = Told(
            warnings=tuple(self._warnings),
            links=tuple(self._links.values()),
            sub_agents=list(self._sub_agents),
        )
        live.close(ended, told)

    def _leave(self) -> None:
        """Make the session around it current, where this one is."""
        if not self.recording and current_scope.get() is self.run:
            current_scope.set(self._scope_before)
        if current_session.get() is self:
            outer = self.outer
            while outer is not None and not outer.is_open:
                outer = outer.outer
            current_session.set(outer)


class SessionFailedError(Exception):
    """What ended a session of which only a message is known."""


def _attributes(opening: Opening, names: ToolNames) -> dict[str, Any]:
    given: dict[str, Any] = {
        "agent_type": opening.agent_type,
        "agent_version": opening.agent_version,
        "query": opening.query,
        "kwargs": opening.kwargs,
        "depth": opening.depth,
        "detail_level": opening.detail_level,
        "db_path": opening.db_path,
        "tool_names": names.own or None,
        "working_directory": _working_directory(),
    }
    return {"dialect": "agents"} | {k: value for k, value in given.items() if value is not None}


def _working_directory() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - a text is what is wanted
    except OSError:  # it was removed
        return None


def no_blob(content: bytes, encoding: str, preview: str) -> dict[str, Any]:
    """Return what stands for bytes in a session's folder, which has no place for them."""
    return {MARK: "blob", "encoding": encoding, "size_bytes": len(content), "preview": preview}
