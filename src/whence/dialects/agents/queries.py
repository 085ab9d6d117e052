"""Questions about sessions: how agents and tools perform, and what they decide and touch.

Comes in: a home, folders of sessions of any project, or a database that has the six tables; the
same questions go to each. Goes out: a list of dicts an answer. Times are UTC, durations
milliseconds; a figure that no session states is None. It records nothing.

Source: document 3 (hybrid sessions): the statistics are those of its original; similar queries,
bottlenecks and entity usage those of its next steps.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from whence import _clock
from whence.dialects.agents import sessionsql
from whence.errors import ConfigError, NotFoundError
from whence.exports import sessiontables
from whence.ingest import session_folders
from whence.query.reader import Reader, open_store

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

Answer = list[dict[str, Any]]
DAYS = 7
"""How far statistics look back."""
SIMILAR = 0.6
"""From which similarity on two queries resemble each other."""
_MOST_QUERIES = 2_000
_MOST_DAYS = 100_000
_WORD = re.compile(r"\w+")
_COMMON = frozenset(
    _WORD.findall(
        "a an and are as at be by can do does for from has have how i in is it its me my of on or "
        "that the their this to was we what when where which who why will with you your"
    )
)
"""Words that say nothing about what a query asks."""


class SessionQueries:
    """An open set of sessions to ask about. Use it with `with`.

    Args:
        source: A reader, or a path: of a home, of a provenance folder or a project that has one, or
            of a DuckDB database with the six tables. None for the default home.
        folders: Several folders of sessions, together.

    Raises:
        StoreError: There is no such home or database.
        IngestError: There are no sessions in a folder.
        MissingExtraError: DuckDB, or for folders PyYAML, is not installed.
    """

    def __init__(
        self,
        source: Reader | str | os.PathLike[str] | None = None,
        *,
        folders: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        with ExitStack() as stack:
            self._connection = _connect(stack, source, folders)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up files and connections; closing twice is allowed."""
        self._stack.close()

    @property
    def connection(self) -> DuckDBPyConnection:
        """The connection in which the six tables can be asked with any SQL."""
        return self._connection

    def _ask(self, text: str, **parameters: Any) -> Answer:
        return sessiontables.ask(self._connection, text, parameters)

    def recent_sessions(self, agent_type: str | None = None, limit: int = 10) -> Answer:
        """Return the latest sessions: id, agent, query, times, duration, success and error."""
        return self._ask(sessionsql.RECENT, agent=agent_type, limit=limit)

    def agent_statistics(self, agent_type: str | None = None, days: float | None = DAYS) -> Answer:
        """Return executions, durations, and successes and failures of each type of agent.

        Args:
            agent_type: One type of agent only.
            days: How far to look back; None for all time.
        """
        return self._ask(sessionsql.AGENTS, agent=agent_type, since=_since(days))

    def tool_statistics(self, days: float | None = DAYS) -> Answer:
        """Return calls, durations, cache hits and failures of each tool."""
        return self._ask(sessionsql.TOOLS, since=_since(days))

    def decision_patterns(self, agent_type: str | None = None, days: float | None = DAYS) -> Answer:
        """Return how often each type of agent took each branch of each type of decision."""
        return self._ask(sessionsql.DECISIONS, agent=agent_type, since=_since(days))

    def entity_sessions(self, entity_table: str, entity_id: str) -> Answer:
        """Return the sessions that touched an entity, the latest first."""
        return self._ask(sessionsql.ENTITY_SESSIONS, table=entity_table, entity=entity_id)

    def entity_usage(self, days: float | None = None, limit: int = 20) -> Answer:
        """Return the entities that most sessions touched, and what these did with them."""
        return self._ask(sessionsql.ENTITIES, since=_since(days), limit=limit)

    def bottlenecks(self, days: float | None = None, limit: int = 10) -> Answer:
        """Return the tools and transformations on which most time went, the worst first.

        `share` is the part of the time of the sessions that used it, and may exceed 1 where calls
        ran beside each other.
        """
        return self._ask(sessionsql.BOTTLENECKS, since=_since(days), limit=limit)

    def slowest_sessions(self, days: float | None = None, limit: int = 5) -> Answer:
        """Return the sessions that took longest."""
        return self._ask(sessionsql.SLOWEST, since=_since(days), limit=limit)

    def performance_over_time(self, days: float | None = None) -> Answer:
        """Return executions, failures and durations of each type of agent, day by day (UTC)."""
        return self._ask(sessionsql.OVER_TIME, since=_since(days))

    def failures(self, days: float | None = None, limit: int = 10) -> Answer:
        """Return the error messages with which sessions ended, the most frequent first."""
        return self._ask(sessionsql.FAILURES, since=_since(days), limit=limit)

    def similar_queries(
        self, query: str, *, least: float = SIMILAR, limit: int = 10, days: float | None = None
    ) -> Answer:
        """Return sessions whose query resembles one, the most alike first, with `similarity`.

        Looks at the latest 2000 different queries. What alike means, `similarity` says.
        """
        words = words_of(query)
        scored = [(similarity(words, words_of(row["query"])), row) for row in self._queries(days)]
        found: Answer = []
        for alike, row in sorted(scored, key=lambda one: -one[0]):
            if alike < least or len(found) >= limit:
                break
            left = limit - len(found)
            asked = self._ask(sessionsql.ASKED, query=row["query"], limit=left)
            found += [{"similarity": alike, **session} for session in asked]
        return found

    def repeated_queries(self, *, least: float = SIMILAR, days: float | None = None) -> Answer:
        """Return groups of queries that resemble each other, the most frequent group first.

        A query joins the first group whose first query it resembles. Looks at the latest 2000
        different queries; groups of one session are left out.
        """
        groups: list[tuple[frozenset[str], Answer]] = []
        for row in self._queries(days):
            words = words_of(row["query"])
            for first, rows in groups:
                if similarity(words, first) >= least:
                    rows.append(row)
                    break
            else:
                groups.append((words, [row]))
        made = [_group(rows) for _, rows in groups]
        return sorted(
            (group for group in made if group["sessions"] > 1), key=lambda one: -one["sessions"]
        )

    def _queries(self, days: float | None) -> Answer:
        return self._ask(sessionsql.QUERIES, since=_since(days), limit=_MOST_QUERIES)

    def session_trace(self, session_id: str) -> dict[str, Any]:
        """Return everything about a session: `session`, and a list for each other table.

        Raises:
            NotFoundError: There is no such session.
        """
        found = self._ask(sessionsql.SESSION, session=session_id)
        if not found:
            raise NotFoundError(f"there is no session {session_id!r}; `whence sessions` lists them")
        others = {
            name: self._ask(text, session=session_id)
            for name, text in sessionsql.OF_SESSION.items()
        }
        return {"session": found[0], **others}

    def session_hierarchy(self, session_id: str) -> Answer:
        """Return a session and all sessions inside it, with `level` 0 for itself."""
        return self._ask(sessionsql.HIERARCHY, session=session_id)

    def totals(self) -> dict[str, int]:
        """Return how many rows each of the six tables has."""
        return {
            table: self._ask(f"SELECT count(*) AS n FROM {table}")[0]["n"]
            for table in sessiontables.TABLES
        }


def _group(rows: Answer) -> dict[str, Any]:
    return {
        "query": rows[0]["query"],
        "variants": len(rows),
        "sessions": sum(row["sessions"] for row in rows),
        "failed": sum(row["failed"] for row in rows),
        "agent_types": sorted({kind for row in rows for kind in row["agents"] if kind}),
        "queries": [row["query"] for row in rows],
    }


def _since(days: float | None) -> datetime | None:
    """Return the beginning of a window, UTC without an offset; None for all time.

    Raises:
        ConfigError: It is no number of days.
    """
    if days is None:
        return None
    if not 0 <= days <= _MOST_DAYS:
        raise ConfigError(f"days is {days!r}; give a number from 0, or None for all time")
    now = datetime.fromtimestamp(_clock.wall_ns() / 1e9, UTC).replace(tzinfo=None)
    return now - timedelta(days=days)


def similarity(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the share of words that two queries have in common, 0 to 1.

    It is the number of common words by the number of all (Jaccard's index).
    """
    union = len(a | b)
    return len(a & b) / union if union else 0.0


def words_of(query: str) -> frozenset[str]:
    """Return the words of a query that say what it asks; all of them if none does."""
    words = _WORD.findall(query.lower())
    return frozenset(word for word in words if word not in _COMMON) or frozenset(words)


def _connect(
    stack: ExitStack,
    source: Reader | str | os.PathLike[str] | None,
    folders: Sequence[str | os.PathLike[str]],
) -> DuckDBPyConnection:
    if isinstance(source, Reader):
        return stack.enter_context(sessiontables.of_home(source.store))
    paths = [Path(folder) for folder in folders]
    if source is not None:
        path = Path(source)
        if path.is_file() and not paths:
            return stack.enter_context(sessiontables.of_database(path))
        if session_folders.find_sessions(path) is not None:
            paths.append(path)
    if paths:
        sessions = (one for path in paths for one in session_folders.iter_sessions(path))
        return stack.enter_context(sessiontables.of_sessions(sessions))
    reader = stack.enter_context(open_store(source))
    return stack.enter_context(sessiontables.of_home(reader.store))
