"""Where the shell enters: without the packages of the command line it names their extra.

It imports nothing but what every installation has, so that it can always say something.
"""

from __future__ import annotations

import sys

from whence import _extras
from whence.errors import MissingExtraError


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    Args:
        arguments: What stands behind `whence`; the process's own arguments if not given.

    Raises:
        SystemExit: Always, with the exit code.
    """
    try:
        for package in ("click", "rich"):
            _extras.require(package, "cli", "the command line")
    except MissingExtraError as error:
        sys.stderr.write(f"whence: {error}\n")
        raise SystemExit(2) from None
    from whence.cli import app  # noqa: PLC0415 - it needs the packages that were just asked for

    app.cli.main(arguments, prog_name="whence")
