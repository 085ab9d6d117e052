"""`python -m whence` as a shell starts it: exit codes, pipes, signals, missing packages, and what
it costs to say help.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import whence

SOURCE = str(Path(whence.__file__).resolve().parents[1])
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "WHENCE_HOME"},
    "PYTHONPATH": os.pathsep.join(filter(None, (SOURCE, os.environ.get("PYTHONPATH")))),
}
BLOCKED = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))
from whence.cli.main import main
main(sys.argv[2:])
"""


def start(*arguments, **settings):
    return subprocess.Popen(
        [sys.executable, "-m", "whence", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        **settings,
    )


def run(*arguments, **settings):
    process = start(*arguments, **settings)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def without(packages, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, packages, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_success_is_zero_and_stdout_is_the_answer(recorded):
    """A list goes to standard output without an escape or a box, and nothing to standard error."""
    code, out, err = run("runs", "--home", recorded.home)

    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("id ")
    assert "\x1b" not in out
    assert out.isascii()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "No such command"),
        (["runs", "--limit", "0"], "--limit"),
        (["runs", "statis = 1"], "statis = 1\n  ^"),
        (["show", "nothing"], "nothing has the id 'nothing'"),
        (["sql", "DROP TABLE runs"], "SELECT"),
        (["annotate", "x"], "says nothing"),
        (["show"], "ID"),
    ],
)
def test_misuse_is_two_with_a_sentence_on_stderr(recorded, arguments, said):
    """Nothing is printed as an answer, and what is wrong is said without a traceback."""
    code, out, err = run(*arguments, "--home", recorded.home)

    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_a_home_that_does_not_exist_is_named(tmp_path):
    """The message says where it looked and what to do next."""
    code, _, err = run("runs", "--home", tmp_path / "nowhere")

    assert code == 2
    assert str(tmp_path / "nowhere") in err
    assert "whence demo" in err
    assert not (tmp_path / "nowhere").exists()


def test_shared_options_may_stand_before_the_command(recorded):
    """`whence --home H --json runs` is `whence runs --home H --json`."""
    before = run("--home", recorded.home, "--json", "runs")
    behind = run("runs", "--home", recorded.home, "--json")

    assert before == behind
    assert len(json.loads(before[1])["items"]) == 3


def test_a_reader_that_goes_away_is_no_failure(recorded):
    """`whence ... | head -1` ends quietly."""
    process = start(
        "sql", "SELECT * FROM range(200000)", "--max-rows", "200000", "--home", recorded.home
    )
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()

    assert process.wait(60) == 0
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_tail_follows_other_processes_and_ends_quietly(recorded):
    """A record of another process appears while tail runs; Ctrl-C ends it with 0 and no noise."""
    process = start("tail", "-n", "1", "--json", "--home", recorded.home)
    try:
        first = json.loads(process.stdout.readline())
        whence.configure(home=recorded.home)
        with whence.run("live") as run:
            run.event("look here")
        kinds = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()

    assert first["kind"] == "run_ended"
    assert [record["kind"] for record in kinds] == ["run_started", "event", "run_ended"]
    assert kinds[1]["message"] == "look here"
    assert (process.returncode, err) == (0, "")


def test_an_unexpected_error_names_its_type_and_debug_shows_where(recorded):
    """A defect is said to be one; --debug gives the traceback to report."""
    broken = (
        "import whence.query.reader as r; r.open_store = None\n"
        "from whence.cli.main import main; main({})"
    )

    def call(*arguments):
        return subprocess.run(
            [
                sys.executable,
                "-c",
                broken.format(["runs", "--home", str(recorded.home), *arguments]),
            ],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            check=False,
        )

    plain, debug = call(), call("--debug")

    assert plain.returncode == 2
    assert "unexpected TypeError" in plain.stderr
    assert "--debug" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr


@pytest.mark.parametrize("packages", ["click", "rich", "click,rich"])
def test_without_its_packages_it_names_the_extra(packages):
    """One sentence, exit code 2, no traceback."""
    code, out, err = without(packages, "runs")

    assert (code, out) == (2, "")
    assert "pip install 'whence[cli]'" in err
    assert len(err.splitlines()) == 1


def test_without_duckdb_small_homes_still_answer(recorded):
    """The memory store reads the log; what needs DuckDB names the extra."""
    code, out, _ = without("duckdb", "runs", "--home", recorded.home)
    assert code == 0
    assert recorded.calm in out

    code, _, err = without("duckdb", "sql", "SELECT 1", "--home", recorded.home)
    assert code == 2
    assert "whence[cli]" in err


def test_help_imports_no_store():
    """`whence --help` loads neither DuckDB nor YAML nor rich tables nor a store."""
    heavy = ("duckdb", "yaml", "whence.query.reader", "whence.store.memory", "rich.table")
    code = (
        "import sys; from whence.cli.main import main\n"
        "try: main(['--help'])\n"
        f"except SystemExit: print(sorted(sys.modules.keys() & {set(heavy)}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_a_terminal_gets_colours_and_short_ids(recorded):
    """On a terminal the same list has colours; it is still free of what was recorded as an
    escape.
    """
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "whence", "runs", "--home", str(recorded.home)],
        stdout=secondary,
        stderr=subprocess.DEVNULL,
        env={**ENVIRONMENT, "TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(secondary)
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            block = os.read(primary, 65_536)
        except OSError:  # the other side is closed
            break
        if not block:
            break
        seen += block
    process.wait(60)
    os.close(primary)

    assert b"\x1b[" in seen
    assert recorded.calm[:16].encode() in seen
    assert recorded.calm.encode() not in seen
