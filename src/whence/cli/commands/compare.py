"""`whence compare`: two runs side by side, and where they first part."""

from __future__ import annotations

import click

from whence.cli import output
from whence.cli.common import choices, command, open_reader


@command("compare")
@click.argument("a")
@click.argument("b")
def compare(a: str, b: str) -> None:
    """Show how two runs differ and where they first part.

    The steps of run B are held against those of run A; differences are B - A. Each is a run id or
    its first digits, or an external id.
    """
    with open_reader() as reader:
        comparison = reader.compare(a, b)
    if choices().json:
        output.print_json(comparison.to_dict())
    else:
        output.print_text(comparison.to_text())
