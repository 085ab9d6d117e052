"""What every command takes and needs: its home, its form of output, and a reader over the store.

`--home`, `--json` and `--debug` may stand before or behind the name of the command; behind wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import click

from whence import config
from whence.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from whence.log.home import Home
    from whence.query.reader import Reader

C = TypeVar("C", bound=click.Command)

_KEY = "whence"


class Choices:
    """What was said by the options that every command has."""

    def __init__(self) -> None:
        self.home: str | None = None
        self.json = False


def choices() -> Choices:
    """Return what the shared options of the running command say."""
    meta = click.get_current_context().meta
    return cast("Choices", meta.setdefault(_KEY, Choices()))


def with_shared_options(made: C) -> C:
    """Return a command with `--home`, `--json` and `--debug` behind its own options."""
    made.params += [
        click.Option(
            ["--home"],
            metavar="PATH",
            expose_value=False,
            is_eager=True,
            callback=_note_home,
            help="The home folder; else WHENCE_HOME, else ./.whence.",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_note_json,
            help="Print one JSON document.",
        ),
        click.Option(
            ["--debug"], is_flag=True, expose_value=False, help="Show the traceback of an error."
        ),
    ]
    return made


def _note_home(_context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        choices().home = value


def _note_json(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click calls it so
    if value:
        choices().json = True


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Return a decorator that makes a function a command with the shared options."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        return with_shared_options(click.command(name)(function))

    return decorate


def refuse(message: str) -> NoReturn:
    """Stop the command because it was called in a way that makes no sense.

    Raises:
        UsageError: Always.
    """
    raise click.UsageError(message)


def home_path() -> Path:
    """Return the path of the chosen home, whether it exists or not."""
    return config.home_path(choices().home)


def existing_home() -> Home:
    """Return the chosen home.

    Raises:
        StoreError: There is no such folder.
    """
    from whence.log.home import Home  # noqa: PLC0415 - help does not need it

    path = home_path()
    if not path.is_dir():
        message = (
            f"there is no home at {path}: nothing was recorded there yet; "
            "name another with --home or WHENCE_HOME, or run `whence demo`"
        )
        raise StoreError(message)
    return Home(path)


def open_reader() -> Reader:
    """Return a reader over the chosen home or database, to be used in a `with`.

    Raises:
        StoreError: There is no such home.
    """
    from whence.query.reader import open_store  # noqa: PLC0415 - help does not need it

    chosen = choices().home
    if chosen and "://" in chosen:
        return open_store(chosen)
    return open_store(existing_home().root)


def home_option() -> str:
    """Return ` --home PATH` as the user gave it, for the commands that are proposed."""
    chosen = choices().home
    if chosen is None:
        return ""
    import shlex  # noqa: PLC0415 - help does not need it

    return f" --home {shlex.quote(chosen)}"
