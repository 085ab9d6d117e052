"""`whence sessions` and `whence index-sessions`: the sessions of a home or of folders."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from whence.cli import figures, filtering, output
from whence.cli.commands.runs import SHORT_ID
from whence.cli.common import choices, command, open_reader

if TYPE_CHECKING:
    from whence.query.reader import Reader

_IDS_AT_ONCE = 200
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

    statuses: dict[str, str] | None = None
    if folders:
        with SessionQueries(folders=folders) as asked:
            rows = asked.recent_sessions(agent_type, limit)
    else:
        with open_reader() as reader, SessionQueries(reader) as asked:
            rows = asked.recent_sessions(agent_type, limit)
            statuses = _statuses(reader, [r["session_id"] for r in rows if r["success"] is False])
    if choices().json:
        output.print_json({"items": plain(rows)})
        return
    if rows:
        _print(rows, statuses)
    else:
        output.note("no sessions")


def _statuses(reader: Reader, ids: list[str]) -> dict[str, str]:
    """Return id to status of runs; asked for in parts, since a filter has a greatest length."""
    found: dict[str, str] = {}
    for begin in range(0, len(ids), _IDS_AT_ONCE):
        these = filtering.one_of("id", ids[begin : begin + _IDS_AT_ONCE])
        found |= {run.id: run.status for run in reader.runs(these, limit=None).items}
    return found


def _print(rows: list[dict[str, Any]], statuses: dict[str, str] | None) -> None:
    """Print sessions as a table.

    Args:
        rows: The sessions.
        statuses: Id to status of those that did not succeed; None if sessions are no runs.
    """
    zone, started = figures.times([_unix_ns(row["start_time"]) for row in rows])
    columns = [
        output.Column("session", whole=True),
        output.Column("agent", cut=True, leaves=4),
        output.Column("query", cut=True, leaves=1),
        output.Column(f"started ({zone})" if zone else "started", whole=True, leaves=2),
        output.Column("took", right=True, leaves=5),
        output.Column("status", state=True),
        output.Column("depth", right=True, leaves=6),
        output.Column("error", cut=True, leaves=3),
    ]
    short = statuses is not None and output.is_terminal()
    table: list[list[Any]] = [
        [
            row["session_id"][:SHORT_ID] if short else row["session_id"],
            row["agent_type"],
            row["query"],
            when,
            None if row["duration_ms"] is None else output.text.duration(row["duration_ms"]),
            _status(row, (statuses or {}).get(row["session_id"])),
            row["depth"],
            row["error_message"],
        ]
        for row, when in zip(rows, started, strict=True)
    ]
    output.print_table(columns, table)


def _status(row: dict[str, Any], of_run: str | None) -> str | None:
    """Return how a session went: `success` is false too for a run that was cancelled or cut off."""
    if row["success"] is None:
        return None
    if row["success"]:
        return "complete"
    return of_run if of_run not in {None, "complete"} else "failed"


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
