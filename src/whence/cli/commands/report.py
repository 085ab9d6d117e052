"""`whence report`: how agents and tools perform over all sessions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from whence.cli import output
from whence.cli.common import choices, command, open_reader
from whence.log.replacing import writing

if TYPE_CHECKING:
    from whence.dialects.agents.queries import SessionQueries
    from whence.dialects.agents.report import Report


@command("report")
@click.option(
    "--days", type=click.FloatRange(min=0), metavar="N", help="The last N days; else all time."
)
@click.option(
    "--folder",
    "folders",
    multiple=True,
    metavar="DIR",
    help="Sessions of this provenance folder or project, not of the home; may be given again.",
)
@click.option(
    "--similar", metavar="TEXT", help="Show the sessions that were asked something alike."
)
@click.option(
    "--entity",
    nargs=2,
    metavar="TABLE ID",
    help="Show the sessions that touched this entity.",
)
@click.option("--to", "file", metavar="FILE", help="Write the report there, as markdown.")
def report(
    *,
    days: float | None,
    folders: tuple[str, ...],
    similar: str | None,
    entity: tuple[str, str] | None,
    file: str | None,
) -> None:
    """Report how agents perform, over all sessions.

    Executions, durations and failures of agents and tools, decision patterns, where the time goes,
    what fails, what is asked again, and which entities were touched; as markdown.

    \b
    whence report --days 7
    whence report --folder .claude/provenance --folder ../other-project
    whence report --similar 'change my flight'
    whence report --entity ingredients CHEBI:17234
    """  # noqa: D301 - click reads the character
    from whence.dialects.agents.queries import SessionQueries  # noqa: PLC0415 - help does not need it

    if folders:
        with SessionQueries(folders=folders) as queries:
            found = _answer(queries, days, similar, entity)
    else:
        with open_reader() as reader, SessionQueries(reader) as queries:
            found = _answer(queries, days, similar, entity)
    if file is not None:
        with writing(Path(file)) as written:
            written.write(found.to_markdown().encode("utf-8", "backslashreplace"))
        output.note(f"wrote {file}")
    if choices().json:
        output.print_json(found.to_dict())
    elif file is None:
        output.print_text(found.to_markdown())


def _answer(
    queries: SessionQueries,
    days: float | None,
    similar: str | None,
    entity: tuple[str, str] | None,
) -> Report:
    from whence.dialects.agents.report import Report, Section, report  # noqa: PLC0415

    if similar is not None:
        rows = queries.similar_queries(similar, days=days)
        return Report(days, {}, [Section("similar_queries", "Asked alike", rows)])
    if entity is not None:
        rows = queries.entity_sessions(*entity)
        return Report(days, {}, [Section("entity_sessions", "Sessions of the entity", rows)])
    return report(queries, days)
