"""The base class of agents: `run` is the user's, `execute` is `run` in a session.

An agent may be sync, async, a generator or an async generator. What it raises is recorded with
type, message and stack, and goes on untouched. An agent that is executed inside another is a
session inside the outer one's; in a thread that the outer one starts, `whence.bind` says so.

Source: document 3 (hybrid sessions).
"""

from __future__ import annotations

import inspect
import logging
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.dialects.agents.streams import SessionAsyncGenerator, SessionGenerator
from whence.dialects.agents.tracker import ProvenanceTracker, get_tracker

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable

    from whence.dialects.agents.session import Session

PARENT = "_parent_session_id"
"""The argument of `execute` that names the session around the new one; `run` does not get it."""


class BaseAgent(ABC):
    """An agent whose executions are recorded. Write `run`, call `execute`.

    Args:
        db_path: The application's database; it is noted with every session.
        enable_provenance: False makes `execute` call `run` and nothing else.
        tracker: What records; the tracker of this process for `.claude/provenance` if None.
    """

    enable_provenance: bool = True
    agent_version: str | None = None
    """The agent's version, to be recorded with its sessions."""
    db_path: Path | None = None
    _tracker: ProvenanceTracker | None = None

    def __init__(
        self,
        db_path: str | os.PathLike[str] | None = None,
        enable_provenance: bool = True,  # noqa: FBT001, FBT002 - the original's signature
        *,
        tracker: ProvenanceTracker | None = None,
    ) -> None:
        self.db_path = None if db_path is None else Path(db_path)
        self.enable_provenance = enable_provenance
        self.results: dict[str, Any] = {}
        self._tracker = tracker

    @property
    def tracker(self) -> ProvenanceTracker:
        """What records the agent's sessions."""
        if self._tracker is None:
            self._tracker = get_tracker(db_path=self.db_path)
        return self._tracker

    @abstractmethod
    def run(self, query: str, **kwargs: Any) -> Any:
        """Do the agent's work. A subclass says how.

        Args:
            query: What is asked.
            **kwargs: What else the agent takes.
        """

    def execute(self, query: str, **kwargs: Any) -> Any:
        """Return what `run` returns, which is run in a session of its own.

        Args:
            query: What is asked.
            **kwargs: Further arguments of `run`.

        Returns:
            What `run` returns: a coroutine of an async agent, a generator of one that yields; the
            session ends with it.
        """
        parent = kwargs.pop(PARENT, None)
        if not self.enable_provenance:
            return self.run(query, **kwargs)
        if inspect.iscoroutinefunction(self.run):
            return self._execute_async(query, kwargs, parent)
        session = self._open(query, kwargs, parent)
        try:
            with session.current():
                result: Any = self.run(query, **kwargs)
        except BaseException as error:
            self.tracker.close_session(session, error=error)
            raise
        if inspect.isgenerator(result):
            return SessionGenerator(session, result, self._ender(session))
        if inspect.isasyncgen(result):
            return SessionAsyncGenerator(session, result, self._ender(session))
        if inspect.isawaitable(result):
            return self._awaited(session, lambda: result)
        self.tracker.close_session(session, result=result)
        return result

    def _open(self, query: str, kwargs: dict[str, Any], parent: str | None) -> Session:
        return self.tracker.open_session(
            type(self).__name__, query, kwargs, parent, agent_version=self.agent_version
        )

    async def _execute_async(self, query: str, kwargs: dict[str, Any], parent: str | None) -> Any:
        # The session starts with the first step: a coroutine that is never awaited has none.
        return await self._awaited(
            self._open(query, kwargs, parent), lambda: self.run(query, **kwargs)
        )

    async def _awaited(self, session: Session, work: Callable[[], Awaitable[Any]]) -> Any:
        try:
            with session.current():
                result: Any = await work()
        except BaseException as error:
            self.tracker.close_session(session, error=error)
            raise
        self.tracker.close_session(session, result=result)
        return result

    def _ender(self, session: Session) -> Any:
        def end(result: Any, error: BaseException | None) -> None:
            self.tracker.close_session(session, result=result, error=error)

        return end

    def log(self, message: str, level: str = "INFO", **data: Any) -> None:
        """Say something: to the log of the program, and in the session that is going on.

        Args:
            message: What is to be said.
            level: `DEBUG`, `INFO`, `WARNING` or `ERROR`.
            **data: Details.
        """
        name = type(self).__name__
        number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        logging.getLogger(f"whence.agents.{name}").log(number, "%s", message)
        if self.enable_provenance:
            said = {**data, "message": message, "level": level}
            self.tracker.record_event("log", f"log_{level.lower()}", said)
