"""`whence export`: runs in the forms of others. One sub-command a form."""

from __future__ import annotations

from pathlib import Path

import click

from whence.cli import figures, filtering, output
from whence.cli.common import choices, command, open_reader, refuse, with_shared_options


@with_shared_options
@click.group("export")
def export() -> None:
    """Render runs in the forms of others."""


@command("sessions")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--to", "folder", required=True, metavar="DIR", help="The folder that gets `sessions/`."
)
@click.option(
    "--filter",
    "written",
    default="",
    metavar="FILTER",
    help="Runs that satisfy this, when no ID is given.",
)
def sessions(ids: tuple[str, ...], folder: str, written: str) -> None:
    """Write runs as session folders: manifest.yaml, actions.jsonl and summary.md.

    Without an ID every run is written, or those that --filter chooses. A run that is written again
    replaces its own folder; folders of others stay.
    """
    from whence.exports import sessions as form  # noqa: PLC0415 - help does not need it

    if ids and written:
        refuse("give either ids or --filter")
    made: list[dict[str, str]] = []
    with open_reader() as reader, output.progress("exporting", unit="runs") as advance:
        chosen = list(ids)
        if not chosen:
            whole = filtering.combined("runs", written)
            chosen = [row.id for row in reader.runs(whole, order="started_ns", limit=None)]
        for number, any_id in enumerate(chosen, start=1):
            tree = reader.run(any_id)
            made.append({"run": tree.run.id, "folder": str(form.write(tree, Path(folder)))})
            advance(number, len(chosen))
    if choices().json:
        output.print_json({"sessions": made})
        return
    if made:
        columns = [output.Column("run", whole=True), output.Column("folder")]
        output.print_table(columns, [[one["run"], one["folder"]] for one in made])
    output.note(f"wrote {figures.counted(len(made), 'session')} to {folder}")


export.add_command(sessions)
