"""The commands by name, and the one place where a failure becomes a sentence and an exit code.

A command is imported when it is named.

    0     it worked
    1     a finding, where `--fail-on` asked for this
    2     misuse, a refusal or an error: one plain sentence on standard error
    130   interrupted from the keyboard

A reader that goes away (`whence runs | head`) is no failure.
"""

from __future__ import annotations

import importlib
import keyword
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from whence._version import __version__
from whence.cli.common import with_shared_options
from whence.errors import WhenceError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: dict[str, str] = {
    "demo": "demo",
    "init": "init",
    "run": "run_",
    "runs": "runs",
    "show": "show",
    "why": "why",
    "tail": "tail",
    "sql": "sql",
    "stats": "stats",
    "costs": "costs",
    "compare": "compare",
    "graph": "graph",
    "annotate": "annotate",
    "generations": "generations",
    "migrate": "migrate",
    "import": "import_",
    "serve": "serve",
    "export": "export",
    "sessions": "sessions",
    "report": "report",
    "index-sessions": "sessions",
    "compact": "archive",
    "rebuild": "archive",
    "retain": "retain",
    "doctor": "doctor",
    "completion": "completion",
}
"""Command to the module in `whence.cli.commands` that has a function of that name, in the order in
which help shows them. A name that Python keeps for itself has an underscore behind it.
"""

INTERRUPTED = 130
FAILED = 2


class Whence(click.Group):
    """The group of all commands, each imported when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of help."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None if there is none of that name."""
        del ctx
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        function = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name.replace("-", "_")
        return getattr(importlib.import_module(f"whence.cli.commands.{module}"), function)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's own signature
        **extra: Any,
    ) -> Any:
        """Run a command and leave with its exit code; see the table above.

        Raises:
            SystemExit: Always, with the exit code.
        """
        del standalone_mode
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
        except BrokenPipeError:
            _silence_stdout()
            code = 0
        except (click.Abort, KeyboardInterrupt):
            code = INTERRUPTED
        except click.ClickException as error:
            error.show()
            code = FAILED
        except Exception as error:
            if "--debug" in arguments:
                raise
            code = _tell(error)
        raise SystemExit(code if isinstance(code, int) else 0)


def _tell(error: Exception) -> int:
    """Say in one sentence what went wrong."""
    from whence.cli.output import safe_lines  # noqa: PLC0415 - the sad path alone needs it

    if isinstance(error, WhenceError):
        message = str(error)
    elif isinstance(error, OSError) and error.strerror:
        about = f" {error.filename}" if error.filename else ""
        message = f"cannot use{about}: {error.strerror}" if about else error.strerror
    else:
        message = (
            f"unexpected {type(error).__name__}: {error}\n"
            "This is a defect of whence: report what the same command prints with --debug."
        )
    click.echo(f"whence: {safe_lines(message)}", err=True)
    return FAILED


def _silence_stdout() -> None:
    """Point standard output nowhere, so that the flush at exit does not complain again."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # not a file: nothing will be flushed to it
        return


def _show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click calls it
    if not wanted or context.resilient_parsing:
        return
    from whence.log.lines import COMPILED  # noqa: PLC0415 - other commands do not need it

    click.echo(f"whence {__version__} (capture {'compiled' if COMPILED else 'in Python'})")
    context.exit()


@with_shared_options
@click.group(
    cls=Whence,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`whence COMMAND --help` says more. Start with `whence demo`.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version, and how records are written, and exit.",
)
def cli() -> None:
    """Know why your AI said that: ask what was recorded, and look after it."""
