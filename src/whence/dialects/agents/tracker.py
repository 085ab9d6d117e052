"""The tracker: sessions of agents, and what happens in them, as document 3 speaks of it.

A session is a run of the log, and at the same time a folder that people read with `jq`. Every
method may be called from any thread. A method that records finds its session by itself: the one
that is current in the context, else that of the current run (`whence.bind` carries it into
threads), else the only outermost session that is open. Where none is, nothing is recorded.

Source: document 3 (hybrid sessions).
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.capture import guard
from whence.capture.context import current_scope
from whence.capture.noop import NoOp
from whence.dialects.agents import detail
from whence.dialects.agents.recording import Recording
from whence.dialects.agents.session import Opening, Session, current_session
from whence.exports import sessionfolders
from whence.exports.toolnames import ToolNames

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_DEPTHS = 10_000


class ProvenanceTracker(Recording):
    """Records sessions of agents, from any number of threads.

    Args:
        folder: The provenance folder; a relative one is below the working directory at the time a
            session starts.
        detail_level: How much of answers and data is kept: `minimal` their type, `standard` a
            sample, `full` all.
        tools: Pattern in the name of an event to the name of its tool, see `register_tool`.
        project: The project of the sessions.
        db_path: The application's own database, to be noted with every session; `whence export
            duckdb --into` brings the sessions there.
        enable_file_based: False records in the log alone and writes no folder.

    Raises:
        ConfigError: The detail level is none.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] = sessionfolders.DEFAULT,
        *,
        detail_level: str = "standard",
        tools: Mapping[str, str] | None = None,
        project: str | None = None,
        db_path: str | os.PathLike[str] | None = None,
        enable_file_based: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.detail_level: detail.DetailLevel = detail.check_level(detail_level)
        self.project = project
        self.db_path = None if db_path is None else os.fspath(db_path)
        self.enable_file_based = enable_file_based
        self._names = ToolNames(tools)
        self._open: dict[str, Session] = {}
        self._depths: dict[str, int] = {}
        self._lock = threading.Lock()

    def register_tool(self, pattern: str, tool: str) -> None:
        """Name the tool behind events, in the sessions that start from now on.

        Args:
            pattern: A text that stands in the names of its events, in capitals or not; several
                texts joined by `+` have to stand there all.
            tool: What the tool is called. A later pattern goes before earlier ones.
        """
        with self._lock:
            own = {known: name for known, name in self._names.own.items() if known != pattern}
            self._names = ToolNames(own | {pattern: tool})

    @property
    def current_session(self) -> Session | None:
        """The session that the code at hand is in."""
        return self._find(None)

    def start_session(
        self,
        agent_type: str,
        query: Any,
        kwargs: Mapping[str, Any] | None = None,
        parent_session_id: str | None = None,
        *,
        agent_version: str | None = None,
    ) -> str:
        """Start a session, make it current here, and return its id.

        It is inside the current session, or the one that is named.

        Returns:
            The session's id, which is the id of its run.
        """
        session = self._opened(agent_type, query, kwargs, parent_session_id, agent_version)
        session.start(current=True)
        return session.id

    def end_session(
        self,
        success: bool = True,  # noqa: FBT001, FBT002 - the original's signature
        result: Any = None,
        error: BaseException | str | None = None,
        *,
        session_id: str | None = None,
    ) -> None:
        """End a session, the current one if none is named; without one it does nothing.

        Args:
            success: Whether it reached its goal.
            result: What the agent returned; a summary of it is kept.
            error: What ended it: an exception, or its message.
            session_id: Which session.
        """
        session = self._find(session_id)
        if session is not None:
            session.end(success=success and error is None, result=result, error=error)
            self._forget(session)

    def open_session(
        self,
        agent_type: str,
        query: Any,
        kwargs: Mapping[str, Any] | None = None,
        parent_session_id: str | None = None,
        *,
        agent_version: str | None = None,
    ) -> Session:
        """Return a session that has started and is current nowhere; `close_session` ends it."""
        session = self._opened(agent_type, query, kwargs, parent_session_id, agent_version)
        session.start(current=False)
        return session

    def close_session(
        self, session: Session, *, result: Any = None, error: BaseException | None = None
    ) -> None:
        """End a session of `open_session`."""
        session.end(success=error is None, result=result, error=error)
        self._forget(session)

    def _opened(
        self,
        agent_type: str,
        query: Any,
        kwargs: Mapping[str, Any] | None,
        parent_session_id: str | None,
        agent_version: str | None,
    ) -> Session:
        outer = self._outer(parent_session_id)
        scope = current_scope.get()
        parent = parent_session_id or ("" if scope is None else scope.run_id)
        opening = Opening(
            agent_type=agent_type,
            agent_version=agent_version,
            query=query,
            kwargs=dict(kwargs or {}),
            parent=parent or None,
            depth=self._depth(parent_session_id, outer),
            project=self.project,
            db_path=self.db_path,
            detail_level=self.detail_level,
        )
        folder = self.folder.absolute() if self.enable_file_based else None
        session = Session(self, opening, self._names, outer, folder)
        self._open[session.id] = session
        return session

    def _outer(self, parent_session_id: str | None) -> Session | None:
        """Return the session around a new one, of this tracker or another."""
        if parent_session_id is not None:
            return self._open.get(parent_session_id)
        outer = current_session.get()
        while outer is not None and not outer.is_open:
            outer = outer.outer
        scope = current_scope.get()
        if outer is None and scope is not None:
            return self._open.get(scope.run_id)
        # Not the only one that is open, as for records: agents that run beside each other in
        # threads of their own are the rule, and none of them is inside another.
        return outer

    def _depth(self, parent_session_id: str | None, outer: Session | None) -> int:
        if outer is not None:
            return outer.depth + 1
        if parent_session_id is None:
            scope = current_scope.get()
            return 0 if scope is None or isinstance(scope, NoOp) else 1
        return self._depths.get(parent_session_id, 0) + 1

    def _forget(self, session: Session) -> None:
        self._open.pop(session.id, None)
        if len(self._depths) >= _MOST_DEPTHS:
            self._depths.clear()
        self._depths[session.id] = session.depth

    def _find(self, session_id: str | None) -> Session | None:
        """Return the session that is named, else the one that the code at hand is in."""
        if session_id is not None:
            return self._open.get(session_id)
        session = current_session.get()
        if session is not None:
            while session is not None and not (session.owner is self and session.is_open):
                session = session.outer
            return session
        scope = current_scope.get()
        if scope is not None:
            return self._open.get(scope.run_id)
        outermost = [one for one in tuple(self._open.values()) if one.outer is None]
        if len(outermost) > 1:
            guard.tell_once(
                "agents: which session",
                "several sessions are open and this thread is in none of them, so what it records "
                "belongs to none; start it with whence.bind, or name the session_id",
            )
        return outermost[0] if len(outermost) == 1 else None


_trackers: dict[tuple[str, str, str | None], ProvenanceTracker] = {}
_making = threading.Lock()


def get_tracker(
    folder: str | os.PathLike[str] = sessionfolders.DEFAULT,
    *,
    detail_level: str = "standard",
    db_path: str | os.PathLike[str] | None = None,
) -> ProvenanceTracker:
    """Return the tracker of this process for a folder, the same for the same arguments.

    Raises:
        ConfigError: The detail level is none.
    """
    database = None if db_path is None else os.fspath(db_path)
    key = (os.fspath(folder), detail_level, database)
    with _making:
        known = _trackers.get(key)
        if known is None:
            known = ProvenanceTracker(folder, detail_level=detail_level, db_path=database)
            _trackers[key] = known
        return known
