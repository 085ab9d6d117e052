"""Puts the words of the command line together into one filter expression.

Comes in: the filter a user wrote, and options such as `--project`. Goes out: text of the filter
language. The user's part is checked on its own first, so that an error points into what the user
wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from whence.cli.common import refuse
from whence.query.filters import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

F = TypeVar("F", bound="Callable[..., object]")


def argument_or_option(function: F) -> F:
    """Give a command `[FILTER]` and, since other commands have only that, `--filter FILTER`."""
    option = click.option(
        "--filter", "by_option", default="", metavar="FILTER", help="The same as FILTER alone."
    )
    return click.argument("written", required=False, default="", metavar="[FILTER]")(
        option(function)
    )


def given_once(written: str, by_option: str) -> str:
    """Return the filter, in whichever of the two ways it was given.

    Raises:
        UsageError: It was given in both.
    """
    if written and by_option:
        refuse("FILTER and --filter are the same; give one of them, joined with `and`")
    return written or by_option


def quote(value: str) -> str:
    """Return `value` as a text of the filter language."""
    escaped = "".join(
        f"\\{c}" if c in '"\\' else f"\\u{ord(c):04x}" if c < " " else c for c in value
    )
    return f'"{escaped}"'


def combined(table: str, written: str, parts: Iterable[str] = ()) -> str:
    """Return a filter that holds where the written one and all `parts` hold.

    Raises:
        FilterError: The written filter is wrong; the position is in it.
    """
    parse(written, table)
    whole = [f"({written})"] if written.strip() else []
    return " and ".join([*whole, *(f"({part})" for part in parts)])


def one_of(field: str, values: Iterable[str]) -> str:
    """Return a filter that holds where `field` is one of `values`."""
    return f"{field} in ({', '.join(map(quote, values))})"
