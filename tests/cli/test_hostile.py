"""Whatever was recorded, a terminal is never told to do anything by it."""

from __future__ import annotations

import json
import re

import pytest

from whence.query import text

COMMANDS = [
    ("runs",),
    ("show", "{run}"),
    ("why", "{run}"),
    ("tail", "--no-follow", "-n", "100"),
    ("stats", "--table", "decisions", "--by", "name", "--window", "all"),
    ("compare", "{run}", "{run}"),
    ("graph", "{run}"),
    ("graph", "{run}", "--dot"),
    ("sql", "SELECT name, project FROM runs"),
    ("doctor",),
]
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture(params=[False, True], ids=["pipe", "terminal"])
def terminal(request, monkeypatch):
    """Whether output is printed as on a terminal, whose own colours are left out."""
    if request.param:
        monkeypatch.setattr("whence.cli.output.is_terminal", lambda: True)
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "100")
    return request.param


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.usefixtures("terminal")
def test_no_output_holds_what_a_terminal_obeys(ask, hostile, arguments):
    """Escapes, reversed text, C1 controls and line separators are shown, not sent."""
    result = ask(*(part.format(run=hostile) for part in arguments))

    assert result.exit_code == 0, result.stderr
    assert OBEYED.findall(result.stdout) == []
    assert OBEYED.findall(result.stderr) == []


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_json_holds_what_a_terminal_obeys(ask, hostile, arguments):
    """JSON escapes the same, and gives it back whole when it is read."""
    if "--dot" in arguments:
        pytest.skip("DOT and JSON exclude each other")

    result = ask(*(part.format(run=hostile) for part in arguments), "--json")

    assert result.exit_code == 0, result.stderr
    assert OBEYED.findall(result.stdout) == []
    for line in result.stdout.splitlines() if "tail" in arguments else [result.stdout]:
        json.loads(line)


@pytest.mark.usefixtures("hostile")
def test_json_gives_the_recorded_text_back(ask_json):
    """What was recorded comes out of JSON as it went in."""
    [run] = ask_json("runs")["items"]

    assert run["name"].startswith("\x1b[31mred")
    assert "\u202e" in run["name"]


@pytest.mark.usefixtures("hostile", "terminal")
def test_rich_markup_stays_text(ask, monkeypatch):
    """`[bold]` in a name is shown with its brackets."""
    monkeypatch.setenv("COLUMNS", "500")

    assert "[bold]" in ask("runs").stdout


@pytest.mark.usefixtures("hostile")
def test_a_recorded_line_break_makes_no_line(ask):
    """One run is one line, whatever its name holds."""
    assert len(ask("runs").stdout.splitlines()) == 2


@pytest.mark.usefixtures("recorded")
def test_errors_are_neutral_too(ask):
    """An id that is out to get the terminal is shown in the message, not obeyed."""
    result = ask("show", "\x1b]52;c;aGk=\x07\u202e")

    assert result.exit_code == 2
    assert OBEYED.findall(result.stderr) == []
    assert text.printable("\x1b") in result.stderr
