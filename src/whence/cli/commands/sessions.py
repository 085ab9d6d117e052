"""`whence sessions` and `whence index-sessions`: the sessions of a home or of folders."""

from __future__ import annotations

import datetime as dt
from typing import Any

import click

from whence.cli import figures, output
from whence.cli.common import choices, command, open_reader

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - DuckDB's times are UTC and say nothing of it


@command("sessions")
@click.option("--agent", "agent_type", metavar="TYPE", help="Sessions of this type of agent.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Most sessions to show.",
)
@click.option(
    "--folder",
    "folders",
    multiple=True,
    metavar="DIR",
    help="Sessions of this provenance folder or project, not of the home; may be given again.",
)
def sessions(agent_type: str | None, limit: int, folders: tuple[str, ...]) -> None:
    """List sessions of agents, latest first.

    Every run of the home is a session. With --folder the sessions of session folders are listed, of
    any project, where they are.
    """
    from whence.dialects.agents.queries import SessionQueries  # noqa: PLC0415 - help does not need it
    from whence.dialects.agents.report import plain  # noqa: PLC0415

    if folders:
        with SessionQueries(folders=folders) as asked:
            rows = asked.recent_sessions(agent_type, limit)
    else:
        with open_reader() as reader, SessionQueries(reader) as asked:
            rows = asked.recent_sessions(agent_type, limit)
    if choices().json:
        output.print_json({"items": plain(rows)})
        return
    if rows:
        _print(rows)
    else:
        output.note("no sessions")


def _print(rows: list[dict[str, Any]]) -> None:
    zone, started = figures.times([_unix_ns(row["start_time"]) for row in rows])
    columns = [
        output.Column("session", whole=True),
        output.Column("agent", cut=True),
        output.Column("query", cut=True),
        output.Column(f"started ({zone})" if zone else "started", whole=True),
        output.Column("took", right=True),
        output.Column("status", state=True),
        output.Column("depth", right=True),
        output.Column("error", cut=True),
    ]
    words = {True: "complete", False: "failed", None: None}
    table: list[list[Any]] = [
        [
            row["session_id"],
            row["agent_type"],
            row["query"],
            when,
            None if row["duration_ms"] is None else output.text.duration(row["duration_ms"]),
            words[row["success"]],
            row["depth"],
            row["error_message"],
        ]
        for row, when in zip(rows, started, strict=True)
    ]
    output.print_table(columns, table)


def _unix_ns(moment: dt.datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // dt.timedelta(microseconds=1) * 1_000


@command("index-sessions")
@click.argument("folder", required=False, default=".claude/provenance", metavar="[DIR]")
def index_sessions(folder: str) -> None:
    """Write the indices of a provenance folder: totals over all its sessions.

    DIR is .claude/provenance if not given. `indices/` gets sessions.jsonl, totals.json, tools.json,
    files.json, decisions.json, entities.json and errors.json; what was there is replaced.
    """
    from whence.dialects.agents import indexing  # noqa: PLC0415 - help does not need it

    found = indexing.index_sessions(folder)
    if choices().json:
        output.print_json(found)
        return
    for problem in found.problems:
        output.print_item("warning", problem)
    counted = figures.counted(found.sessions, "session")
    actions = figures.counted(found.actions, "action")
    output.note(f"indexed {counted} with {actions} in {found.folder}")
