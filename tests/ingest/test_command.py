"""`whence import` and `whence serve` at the command line."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from otlpdata import chat, request, span, write_lines

from whence.cli.app import cli

KEYS = [
    "format",
    "runs",
    "spans",
    "generations",
    "tool_calls",
    "tool_errors",
    "retrievals",
    "decisions",
    "scores",
    "retries",
    "errors",
    "usage_stated",
    "usage",
    "cost_usd_declared",
    "cost_usd_computed",
    "skipped",
    "new",
    "already_there",
]


@pytest.fixture
def ask(home):
    def run(*arguments):
        return CliRunner().invoke(cli, [*map(str, arguments), "--home", str(home)])

    return run


@pytest.fixture
def source(tmp_path):
    given = chat((1234, 5)) | {"gen_ai.usage.cost": 0.25}
    return write_lines(tmp_path / "in.jsonl", request(span("a", None, given)))


def test_the_report_has_exactly_the_promised_form(ask, source):
    """Names, order and nesting are those of the public API."""
    report = json.loads(ask("import", source, "--json").stdout)

    assert list(report) == KEYS
    assert list(report["usage_stated"]) == [
        "input",
        "output",
        "cache_read",
        "cache_write",
        "reasoning",
        "total",
    ]
    assert list(report["usage"]) == [
        "input_uncached",
        "cache_read",
        "cache_write",
        "output_visible",
        "reasoning",
    ]
    assert (report["generations"], report["usage_stated"]["input"]) == (1, 1234)


def test_a_person_is_told_the_same(ask, source):
    """Tokens, cost and what was new are readable."""
    shown = ask("import", source).stdout

    assert "input 1,234" in shown
    assert "$0.25 declared, and the calls add up to it" in shown
    assert "4 records written" in shown


@pytest.mark.usefixtures("source")
def test_what_was_left_out_can_fail_the_command(ask, tmp_path):
    """`--fail-on skipped` exits with 1, and the reason is shown."""
    (tmp_path / "notes.txt").write_text("\x1b[31mhello")

    result = ask("import", tmp_path, "--fail-on", "skipped")

    assert result.exit_code == 1
    assert "notes.txt" in result.stdout
    assert "\x1b" not in result.stdout


def test_nothing_to_import_is_misuse(ask, tmp_path):
    """A file of no format, no file, an unknown format, no path: exit code 2 and a reason."""
    (tmp_path / "notes.txt").write_text("hello")

    for arguments in (
        [tmp_path / "notes.txt"],
        [tmp_path / "gone"],
        [tmp_path, "--as", "what"],
        [],
    ):
        result = ask("import", *arguments)
        assert result.exit_code == 2
        assert result.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.com", "::", ""])  # noqa: S104 - it is refused
def test_a_server_that_others_could_reach_does_not_start(ask, host):
    """Anything but a loopback address is refused with the reason."""
    result = ask("serve", "--host", host, "--port", "0")

    assert result.exit_code == 2
    assert "loopback" in result.stderr
