"""The commands of `whence generations` and `whence migrate`, as a person types them."""

from __future__ import annotations

import gzip
import json
import re

import psycopg
import pytest
from click.testing import CliRunner
from generationtraces import answer, problem
from postgres import postgres, postgres_cluster

import whence
from whence.cli.app import cli
from whence.generations import record_artifact

__all__ = ["postgres", "postgres_cluster"]
HOSTILE = "\x1b[31mred\x1b]52;c;aGk=\x07\u202egnp.exe\n2026 fake line[bold]\x9b1m"
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture
def ask(recording):
    """Return a function that runs a command on the test's home and returns click's result."""

    def run(*arguments, code=0):
        done = CliRunner().invoke(cli, [*arguments, "--home", str(recording)])
        assert done.exit_code == code, (done.stdout, done.stderr)
        return done

    return run


@pytest.fixture
def ask_json(ask):
    """Return a function that runs a command with `--json` and returns what it printed."""
    return lambda *arguments: json.loads(ask(*arguments, "--json").stdout)


@pytest.fixture
def recorded(recording):
    """A good problem and one that waits for a review."""
    thought = answer(reasoning_tokens=500, reasoning_content="Wait, être.", prompt_text="Écris.")
    record_artifact("good", problem(thought, thought), title="passé composé")
    record_artifact(
        "odd", problem(version="1.0", quality_status="pending_review", quality_issues=["too long"])
    )
    return recording


@pytest.mark.usefixtures("recorded")
def test_a_trace_is_shown_with_what_is_asked_for(ask, ask_json):
    """Reasoning and prompts on demand; JSON has everything."""
    plain = ask("generations", "inspect", "good").stdout
    whole = ask("generations", "inspect", "good", "--show-reasoning", "--show-prompts").stdout

    assert "passé composé" in plain
    assert "total_tokens" in plain
    assert "wrong_auxiliary" in plain
    assert "Wait, être." not in plain
    assert whole.count("Wait, être.") == whole.count("Écris.") == 2
    found = ask_json("generations", "inspect", "good")
    assert found["trace"]["sentences"][1]["reasoning_content"] == "Wait, être."
    assert found["quality_status"] == "approved"


@pytest.mark.usefixtures("recorded")
def test_what_is_not_recorded_is_said_to_be_so(ask):
    """Rather than shown as empty."""
    shown = ask("generations", "inspect", "odd", "--show-reasoning").stdout

    assert "(none is recorded)" in shown
    assert "too long" in shown


@pytest.mark.usefixtures("recorded")
def test_statistics_are_shown(ask, ask_json):
    """By model and prompt version, with the statuses."""
    assert "2 artifacts: 1 approved, 1 pending_review" in ask("generations", "trace-stats").stdout
    found = ask_json("generations", "trace-stats", "--window", "1h")
    assert {group["prompt_version"] for group in found["groups"]} == {"1.0", "2.0"}


@pytest.mark.usefixtures("recorded")
def test_a_review_is_done_from_the_command_line(ask, ask_json):
    """List what waits, decide, and it is not listed any more; `--fail-on` says so to a script."""
    ask("generations", "find-issues", "--fail-on", "any", code=1)
    assert "too long" in ask("generations", "find-issues").stdout

    ask("generations", "approve", "odd", "--by", "anna", "--note", "It is fine.")
    ask("generations", "reject", "good", "--issue", "verb", "--issue", "tense", "--by", "ben")
    ask("generations", "note", "good", "See the ticket.", "--by", "ben")

    ask("generations", "find-issues", "--fail-on", "any")
    (rejected,) = ask_json("generations", "find-issues", "--quality-status", "rejected")["items"]
    assert (rejected["id"], rejected["state"]["issues"]) == ("good", ["verb", "tense"])
    ask("generations", "request-review", "good", "--issue", "again")
    shown = ask("generations", "inspect", "good").stdout
    assert "See the ticket." in shown
    assert "pending_review" in shown
    assert ask_json("generations", "find-issues", "--kind", "novel")["items"] == []


@pytest.mark.usefixtures("recorded")
def test_reasoning_is_looked_through(ask, ask_json):
    """What is found is shown; without reasoning nothing is said."""
    found = ask_json("generations", "self-review", "good", "odd", "--dry-run")["items"]

    assert [one["is_known"] for one in found] == [True, False]
    assert "no reasoning is recorded" in ask("generations", "self-review", "odd").stdout


@pytest.mark.usefixtures("recorded")
def test_prompts_are_compared_and_tokens_followed(ask, ask_json):
    """Two versions, and the days."""
    assert "p is corrected" in ask("generations", "compare-prompts", "1.0", "2.0").stdout
    rows = ask_json("generations", "compare-prompts", "1.0", "2.0")["differences"]
    assert [row["figure"] for row in rows][:2] == ["approved_share", "tokens"]
    assert "(so far)" in ask("generations", "trend", "--test").stdout
    assert (
        ask_json("generations", "trend", "--bucket", "hour", "--window", "3h")["bucket"] == "hour"
    )


@pytest.mark.usefixtures("recorded")
def test_what_was_judged_is_exported(ask, tmp_path):
    """And what was left out is said."""
    ask("generations", "approve", "good")
    path = tmp_path / "judge.jsonl"

    done = ask("generations", "export-training", "--into", str(path))

    assert "1 example: 1 good, 0 bad" in done.stdout
    assert "1 thing left out" in done.stderr
    assert json.loads(path.read_text("utf-8"))["label"] == "good"


def test_texts_are_archived_and_trimmed(ask, recorded, tmp_path):
    """Only when somebody says yes, and it says what it did."""
    whence.configure(recorded, enabled=False)
    path = tmp_path / "traces.gz"

    assert (
        "2 traces"
        in ask("generations", "archive", "--older-than", "0d", "--into", str(path)).stdout
    )
    assert b"tre." in gzip.decompress(path.read_bytes())
    how = ("generations", "trim", "--older-than", "0d", "--prompts", "drop", "--reasoning", "4")
    assert "would take content out of 2 records" in ask(*how, "--dry-run").stdout
    assert "say --yes" in ask(*how, code=2).stderr
    assert "took content out of 2 records" in ask(*how, "--yes").stdout
    assert "no model call of that age" in ask(*how, "--yes").stdout
    assert "Wait\n" in ask("generations", "inspect", "good", "--show-reasoning").stdout
    ask("generations", "trim", "--older-than", "0d", "--prompts", "lose", code=2)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_no_output_holds_what_a_terminal_obeys(ask, recording, monkeypatch, is_terminal):
    """Whatever a model or a reviewer wrote."""
    if is_terminal:
        monkeypatch.setattr("whence.cli.output.is_terminal", lambda: True)
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "100")
    said = answer(
        content=HOSTILE,
        model=HOSTILE,
        response_id=HOSTILE,
        prompt_text=HOSTILE,
        reasoning_content=f"Wait, {HOSTILE}. Wait, {HOSTILE}. Wait, {HOSTILE}",
    )
    made = problem(said, version=HOSTILE, quality_status="pending_review", quality_issues=[HOSTILE])
    record_artifact(HOSTILE, made, title=HOSTILE, kind=HOSTILE)
    commands = [
        ("inspect", HOSTILE, "--show-reasoning", "--show-prompts"),
        ("find-issues",),
        ("reject", HOSTILE, "--issue", HOSTILE, "--by", HOSTILE, "--note", HOSTILE),
        ("inspect", HOSTILE),
        ("trace-stats",),
        ("self-review", HOSTILE),
        ("compare-prompts", HOSTILE, HOSTILE),
        ("trend",),
    ]
    for command in commands:
        for more in ((), ("--json",)):
            done = ask("generations", *command, *more)
            assert OBEYED.findall(done.stdout) == [], command
            assert OBEYED.findall(done.stderr) == [], command
    assert recording.exists()


def test_an_unknown_id_is_one_sentence(ask, recorded):
    """With the next step."""
    assert recorded.exists()
    error = ask("generations", "inspect", "god", code=2).stderr

    assert error.startswith("whence: nothing has the id 'god'; did you mean 'good'")


def test_the_migration_is_printed_or_applied(ask, ask_json, postgres):
    """Without a database it is SQL to keep; with one, it says what it changed."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE TABLE problems (id int)")
        sql = ask("migrate", "trace-column", "--table", "problems").stdout
        first = ask("migrate", "trace-column", "--table", "problems", "--apply", "--url", postgres)
        again = ask_json(
            "migrate", "trace-column", "--table", "problems", "--apply", "--url", postgres
        )
        connection.execute(sql)

    assert "ALTER TABLE problems ADD COLUMN IF NOT EXISTS generation_trace JSONB" in sql
    assert first.stdout == ("problems.generation_trace added; 4 indexes added, 0 were there\n")
    assert (again["column_added"], len(again["indexes_kept"])) == (False, 4)
    assert ask_json("migrate", "trace-column", "--table", "problems")["sql"].strip() == sql.strip()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--table", "a;b"),
        ("--table", "a", "--apply"),
        ("--table", "a", "--url", "postgresql://x"),
        (),
        ("--table", "a", "--schema", "b.c"),
        ("--table", "a", "--apply", "--url", "postgresql://nobody@127.0.0.1:1/none"),
    ],
)
def test_a_migration_that_cannot_be_is_refused(ask, arguments):
    """In one sentence, without a traceback."""
    error = ask("migrate", "trace-column", *arguments, code=2).stderr

    assert "Traceback" not in error
    assert error
