"""`whence export`: runs in the forms of others. One sub-command a form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from whence.cli import figures, filtering, output
from whence.cli.common import choices, command, open_reader, refuse, with_shared_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.query.reader import Reader
    from whence.query.tree import RunTree


@with_shared_options
@click.group("export")
def export() -> None:
    """Render runs in the forms of others."""


_ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
_filter_option = click.option(
    "--filter",
    "written",
    default="",
    metavar="FILTER",
    help="Runs that satisfy this, when no ID is given.",
)


def _chosen(reader: Reader, written: str) -> list[str]:
    """Return the ids of the runs that satisfy a filter, the earliest first."""
    whole = filtering.combined("runs", written)
    return [row.id for row in reader.runs(whole, order="started_ns", limit=None)]


def _written(
    ids: tuple[str, ...], written: str, write: Callable[[Reader, RunTree], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Write the runs that were named, else those that satisfy the filter.

    Returns:
        Of each run its id, and what is to be said about it.

    Args:
        ids: What was named.
        written: The filter.
        write: Writes one run and returns what is to be said about it.
    """
    if ids and written:
        refuse("give either ids or --filter")
    made: list[dict[str, Any]] = []
    with open_reader() as reader, output.progress("exporting", unit="runs") as advance:
        chosen = list(ids) or _chosen(reader, written)
        for number, any_id in enumerate(chosen, start=1):
            tree = reader.run(any_id)
            made.append({"run": tree.run.id, **write(reader, tree)})
            advance(number, len(chosen))
    return made


def _list(made: list[dict[str, Any]], where: str) -> None:
    """Print where each run was written."""
    if made:
        columns = [output.Column("run", whole=True), output.Column(where)]
        output.print_table(columns, [[one["run"], one[where]] for one in made])


@command("sessions")
@_ids_argument
@click.option(
    "--to", "folder", required=True, metavar="DIR", help="The folder that gets `sessions/`."
)
@_filter_option
def sessions(ids: tuple[str, ...], folder: str, written: str) -> None:
    """Write runs as session folders: manifest.yaml, actions.jsonl and summary.md.

    Without an ID every run is written, or those that --filter chooses. A run that is written again
    replaces its own folder; folders of others stay.
    """
    from whence.exports import sessions as form  # noqa: PLC0415 - help does not need it

    def write(_reader: Reader, tree: RunTree) -> dict[str, Any]:
        return {"folder": str(form.write(tree, Path(folder)))}

    made = _written(ids, written, write)
    if choices().json:
        output.print_json({"sessions": made})
        return
    _list(made, "folder")
    output.note(f"wrote {figures.counted(len(made), 'session')} to {folder}")


@command("duckdb")
@click.option("--into", "file", required=True, metavar="FILE", help="The DuckDB database.")
@click.option(
    "--filter", "written", default="", metavar="FILTER", help="Runs that satisfy this; else all."
)
@click.option(
    "--folder",
    "folders",
    multiple=True,
    metavar="DIR",
    help="Sessions of this provenance folder or project, not of the home; may be given again.",
)
def duckdb(file: str, *, written: str, folders: tuple[str, ...]) -> None:
    """Bring runs into the session tables of a DuckDB database.

    The six tables and indexes are made where they are missing, and so are the file and its folder;
    other tables stay as they are. What is there already is not written again.
    """
    from whence.exports import duckdb as form  # noqa: PLC0415 - help does not need it
    from whence.exports import sessiontables  # noqa: PLC0415

    if folders:
        if written:
            refuse("give either --folder or --filter")
        from whence.ingest import session_folders  # noqa: PLC0415

        read = (one for path in folders for one in session_folders.iter_sessions(Path(path)))
        with sessiontables.of_sessions(read) as source:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            filled = form.fill(source, file)
    else:
        with open_reader() as reader, sessiontables.of_home(reader.store) as source:
            chosen = None
            if written:
                chosen = _chosen(reader, written)
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            filled = form.fill(source, file, chosen)
    if choices().json:
        output.print_json(filled)
        return
    facts = [[table, f"{count:,}"] for table, count in filled.rows.items()]
    output.print_facts([["rows written to", ""], *facts])
    output.note(
        f"{figures.counted(filled.sessions_new, 'session')} new, "
        f"{filled.sessions_changed:,} changed, {filled.sessions_unchanged:,} as before in {file}"
    )


@command("traces")
@_ids_argument
@click.option("--to", "folder", required=True, metavar="DIR", help="The folder of `projects/`.")
@_filter_option
def traces(ids: tuple[str, ...], folder: str, written: str) -> None:
    """Write runs as research traces: a JSON document and a summary each.

    They go to DIR/projects/PROJECT/_traces/. Without an ID every run is written, or those that
    --filter chooses. A run that is written again replaces its own files.
    """
    from whence.dialects.research import files  # noqa: PLC0415 - help does not need it
    from whence.exports import research_trace as form  # noqa: PLC0415

    def write(reader: Reader, tree: RunTree) -> dict[str, Any]:
        document = form.render(tree, reader.value)
        path = files.path_of(document["project_name"], document["trace_id"], Path(folder))
        files.write_trace(document, path)
        files.write_summary(document, path)
        return {"file": str(path), "left_out": form.left_out(tree)}

    made = _written(ids, written, write)
    if choices().json:
        output.print_json({"traces": made})
        return
    _list(made, "file")
    left = sum(bool(one["left_out"]) for one in made)
    more = f"; {left:,} with records that the form has no place for (--json says which)"
    output.note(f"wrote {figures.counted(len(made), 'trace')} to {folder}{more if left else ''}")


@command("otlp")
@filtering.argument_or_option
@click.option(
    "--into",
    "file",
    metavar="FILE",
    help="The file: a request a line, or protobuf if it is called .pb or .otlp.",
)
@click.option("--to", "url", metavar="URL", help="The receiver, such as http://127.0.0.1:4318.")
@click.option(
    "--convention",
    type=click.Choice(["genai", "openinference", "both"]),
    default="both",
    show_default=True,
    help="Whose names attributes get.",
)
@click.option("--encoding", type=click.Choice(["json", "protobuf"]), help="How spans are written.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME=VALUE",
    help="Sent with every request, such as a key; may be given again.",
)
@click.option("--no-content", is_flag=True, help="Leave out prompts, answers, inputs and outputs.")
def otlp(
    written: str,
    *,
    by_option: str,
    file: str | None,
    url: str | None,
    convention: Any,
    encoding: Any,
    headers: tuple[str, ...],
    no_content: bool,
) -> None:
    """Export runs as OpenTelemetry traces, into a file or to a receiver.

    All runs, or those that satisfy FILTER. A run that is still going on is left out. What no
    convention has a place for is kept under names of whence's own, and reported.
    """
    from whence.exports.otlp import files as form  # noqa: PLC0415 - help does not need it
    from whence.exports.otlp import send  # noqa: PLC0415
    from whence.exports.otlp.model import Options  # noqa: PLC0415

    if (file is None) == (url is None):
        refuse("give either --into FILE or --to URL")
    if file is not None and headers:
        refuse("--header goes with --to")
    options = Options(convention, content=not no_content)
    with open_reader() as reader, output.progress("exporting", unit="runs") as advance:
        chosen = _chosen(reader, filtering.given_once(written, by_option))

        def done(count: int) -> None:
            advance(count, len(chosen))

        if file is not None:
            made = form.write(reader, chosen, Path(file), options, encoding=encoding, advance=done)
            where = f"into {file}"
        else:
            given = dict(_header(one) for one in headers)
            target = send.target_of(url or "", given, encoding=encoding or "protobuf")
            made = form.post(reader, chosen, target, options, advance=done)
            where = f"to {target.shown}"
    if choices().json:
        output.print_json(made)
        return
    if made.left_out:
        columns = [output.Column("no place for", whole=True), output.Column("rows", right=True)]
        columns.append(output.Column("kept"))
        output.print_table(columns, [[o.what, f"{o.count:,}", o.kept] for o in made.left_out])
    more = f"; {figures.counted(len(made.running), 'run')} still going on" if made.running else ""
    more += f"; {made.rejected:,} spans rejected by the receiver" if made.rejected else ""
    output.note(
        f"{figures.counted(made.runs, 'run')} as {figures.counted(made.spans, 'span')} "
        f"{where}{more}"
    )


def _header(given: str) -> tuple[str, str]:
    name, sign, value = given.partition("=")
    if not sign:
        refuse("a header has the form NAME=VALUE")
    return name.strip(), value.strip()


export.add_command(sessions)
export.add_command(traces)
export.add_command(duckdb)
export.add_command(otlp)
