"""Ask the library, then look at how it was answered: in files, in SQL, over all sessions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a folder, not as a module

import whence
from agents_library import agents, library
from whence.agents import ProvenanceQueries, ProvenanceTracker, index_sessions

QUESTIONS = (
    "What does `textwrap` offer?",
    "Which module does text wrapping and filling?",
    "Which module fills and wraps text?",
    "Where is a heap queue?",
    "What does `heapq` offer?",
    "What does `flux_capacitor` offer?",
    "Where are unicorns bred?",
    "Which module measures calendar dates?",
)


def main(arguments: list[str] | None = None) -> int:
    """Answer, print how it went, and return 0."""
    parser = argparse.ArgumentParser(
        prog="agents_library", description="Answer questions about Python's library, traced."
    )
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help="these instead")
    parser.add_argument("--home", type=Path, help="where to record; ./.whence if not given")
    parser.add_argument(
        "--folder", type=Path, default=Path(".claude/provenance"), help="where sessions are written"
    )
    parser.add_argument("--duckdb", type=Path, help="a database to bring the sessions into")
    given = parser.parse_args(arguments)
    whence.configure(given.home)
    tracker = ProvenanceTracker(given.folder)
    tracker.register_tool("word_index", "LibraryIndex")
    for question in given.questions or QUESTIONS:
        try:
            answer = agents.Librarian(tracker=tracker).execute(question)
            print(f"{question}\n    {answer['module']}: {answer['about'][:70]}")
        except LookupError as error:
            print(f"{question}\n    failed: {error}")
    report()
    indexed = index_sessions(given.folder)
    print(f"\n{indexed.sessions} sessions and {indexed.actions} actions in {indexed.folder}")
    if given.duckdb is not None:
        join(given.duckdb)
    return 0


def report() -> None:
    """Print how the agents did, what took the time, and what was asked twice."""
    with ProvenanceQueries() as queries:
        print("\nAgents of the last week:")
        for row in queries.agent_statistics():
            print(
                f"  {row['agent_type']:10} {row['executions']} times, {row['failed']} failed, "
                f"{row['avg_duration_ms']:.0f} ms on average"
            )
        for row in queries.bottlenecks(limit=1):
            print(f"Most time went on {row['name']}: {row['total_duration_ms']} ms.")
        for row in queries.repeated_queries()[:1]:
            print(f"Asked again and again: {row['query']} ({row['sessions']} sessions)")


def join(path: Path) -> None:
    """Bring the sessions into a database with a table of modules, and join the two."""
    import duckdb  # noqa: PLC0415 - an optional package, for this part alone

    from whence.exports.duckdb import fill  # noqa: PLC0415

    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS modules (name VARCHAR, size_bytes BIGINT)")
        connection.execute("DELETE FROM modules")
        rows = [(name, library.path_of(name).stat().st_size) for name in library.names()]
        connection.executemany("INSERT INTO modules VALUES (?, ?)", rows)
    with ProvenanceQueries() as queries:
        fill(queries.connection, path)
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute(
            "SELECT m.name, m.size_bytes, count(*) FROM provenance_entity_links l "
            "JOIN modules m ON m.name = l.entity_id WHERE l.entity_table = 'modules' "
            "GROUP BY ALL ORDER BY 3 DESC, 1 LIMIT 3"
        ).fetchall()
    print("Modules by how often they were touched:")
    for name, size, count in found:
        print(f"  {name} ({size:,} bytes) {count} times")


if __name__ == "__main__":
    sys.exit(main())
