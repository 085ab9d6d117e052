"""`whence run`: a program whose model calls are recorded without a change to its code.

The command replaces itself by the process that runs the program, so that nothing of the command
line stands between the program and its terminal.
"""

from __future__ import annotations

import os
import sys

import click

from whence.cli.common import choices, home_option, home_path, refuse, with_shared_options


@with_shared_options
@click.command("run", context_settings={"allow_interspersed_args": False})
@click.option(
    "--name", metavar="NAME", help="What to call the run; the program's name if not given."
)
@click.option("--project", metavar="NAME", help="The project it belongs to.")
@click.option("--external-id", metavar="ID", help="Your own id for the run.")
@click.option("--quiet", is_flag=True, help="Do not say where the run was recorded.")
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    name: str | None,
    project: str | None,
    external_id: str | None,
    program: tuple[str, ...],
    *,
    quiet: bool,
) -> None:
    """Run a program and record the model calls it makes.

    Its code is not changed: the clients of OpenAI, Anthropic and Google are observed in it and in
    every Python it starts. The exit code is the program's.

    \b
    whence run -- python app.py
    whence run --project cobot -- pytest tests
    """  # noqa: D301 - click reads the character
    if not program:
        refuse("there is no program to run; write it behind --")
    told = "nothing" if quiet else "json" if choices().json else "text"
    options = {"--name": name, "--project": project, "--external-id": external_id}
    given = [part for key, value in options.items() if value is not None for part in (key, value)]
    given += ["--tell", told, f"--home-option={home_option()}"]
    command = [sys.executable, "-m", "whence.integrations.program", *given, "--"]
    environment = os.environ | {"WHENCE_HOME": str(home_path())}
    sys.stdout.flush()
    os.execve(sys.executable, [*command, *program], environment)  # noqa: S606 - as the module says
