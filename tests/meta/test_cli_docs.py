"""The page on the command line knows every command and every option."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from whence.cli.app import COMMANDS, cli

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md").read_text("utf-8")
SHARED = {"--home", "--json", "--debug", "--help"}


def commands():
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", one) for inner, one in command.commands.items())


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=str)
def test_every_command_and_option_is_documented(name, command):
    """Each command has a section with its usage, and its options stand in it."""
    section = PAGE.split(f"\n## whence {name.split()[0]}\n", 1)[1].split("\n## ", 1)[0]
    options = {
        option
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }

    missing = [
        option for option in options - SHARED if f"{option}" not in section and option != "--follow"
    ]

    assert missing == []
    assert f"whence {name}" in section


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=str)
def test_every_command_and_option_has_help(name, command):
    """Help says what each command and each option does."""
    silent = [
        parameter.name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]

    assert silent == []
    assert command.help, name


def test_the_page_documents_no_command_that_does_not_exist():
    """Every section named after a command is one of the commands."""
    assert re.findall(r"^## whence ([\w-]+)$", PAGE, re.MULTILINE) == list(COMMANDS)


def test_each_module_of_commands_is_reachable():
    """The table of commands leads to a click command of that name."""
    for name in COMMANDS:
        found = cli.get_command(click.Context(cli), name)

        assert isinstance(found, click.Command)
        assert found.name == name
