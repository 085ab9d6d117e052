"""Each command answers about a real home: as text without a trace of markup, and as one JSON
document.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
from contextlib import contextmanager

import pytest

import whence
from whence.cli.app import COMMANDS
from whence.cli.commands.retain import Days
from whence.log import blobs, segment
from whence.log.home import Home
from whence.log.segment import SegmentName
from whence.record import codec
from whence.record.event import Event
from whence.record.run import RunEnded, RunStarted


def test_runs_lists_the_latest_first_and_filters(ask, ask_json, recorded):
    """The filter, --project and --status narrow the list; ids are whole in a pipe."""
    everything = ask_json("runs")["items"]
    assert [run["id"] for run in everything] == [recorded.failed, recorded.bold, recorded.calm]

    chosen = ask_json(
        "runs", "decision.confidence > 0.5", "--project", "sky", "--status", "complete"
    )
    assert [run["id"] for run in chosen["items"]] == [recorded.bold]

    assert recorded.calm in ask("runs").stdout


def test_runs_are_paged(ask, ask_json, recorded):
    """`next` continues behind the page before, and a cursor of another question is refused."""
    first = ask_json("runs", "--limit", "2")
    second = ask_json("runs", "--limit", "2", "--after", first["next"])

    assert [run["id"] for run in second["items"]] == [recorded.calm]
    assert second["next"] is None
    assert f"--after {first['next']}" in ask("runs", "--limit", "2").stderr
    assert ask("runs", "--order", "name", "--after", first["next"]).exit_code == 2


def test_runs_say_how_many_calls_are_not_in_a_cost(ask, ask_json, home):
    """A column of its own for people, a field in JSON; all of them where there is no cost."""
    whence.configure(home)
    for name, costs in (("half", (0.25, None)), ("none", (None,) * 7)):
        with whence.run(name) as run:
            for cost in costs:
                run.record_generation(model="m", cost_usd=cost)
    whence.configure(home, enabled=False)

    shown = ask("runs")
    head, none, half = shown.stdout.splitlines()
    assert "unpriced" in head
    assert half.endswith("$0.2500    1 of 2")
    assert none.endswith("-    7 of 7")
    assert "`whence costs --home" in shown.stderr
    assert [run["unpriced_calls"] for run in ask_json("runs")["items"]] == [7, 1]


def test_costing_again_says_how_far_it_is(ask, home, monkeypatch):
    """The progress counts calls, out of those that are looked at."""
    whence.configure(home)
    for name in ("a", "b"):
        with whence.run(name) as run:
            run.record_generation(model="gpt-4o", usage={"prompt_tokens": 8})
    whence.configure(home, enabled=False)
    told = []

    @contextmanager
    def progress(label, unit):
        yield lambda done, total: told.append((label, unit, done, total))

    monkeypatch.setattr("whence.cli.output.progress", progress)

    assert ask("costs", "--reprice").exit_code == 0
    assert ask("costs", "--reprice", "--filter", 'run.name = "a"').exit_code == 0
    assert told == [("costing", "calls", done, total) for done, total in ((1, 2), (2, 2), (1, 1))]


def test_runs_in_an_order(ask_json, recorded):
    """--order takes a field of runs, with `-` for the largest first."""
    items = ask_json("runs", "--order", "started_ns")["items"]

    assert [run["id"] for run in items] == [recorded.calm, recorded.bold, recorded.failed]


@pytest.mark.parametrize(
    "command",
    [("runs",), ("tail", "--no-follow"), ("export", "otlp", "--into", "/dev/stdout")],
    ids=lambda command: command[0],
)
def test_a_filter_stands_alone_or_behind_its_option(ask, recorded, command):
    """Both say the same, and giving both is refused."""
    alone = ask(*command, 'name = "weather" and status = "failed"')
    behind = ask(*command, "--filter", 'name = "weather" and status = "failed"')

    assert (alone.exit_code, alone.stdout) == (0, behind.stdout)
    assert recorded.calm not in alone.stdout
    assert ask(*command, "flagged", "--filter", "flagged").exit_code == 2


@pytest.mark.parametrize("named", ["calm", "external", "output", "prefix"])
def test_show_takes_any_id(ask, recorded, named):
    """A run is shown by its id, its external id, the id of its output, or its first digits."""
    names = {
        "calm": recorded.calm,
        "external": "trc_0",
        "output": "forecast-0",
        "prefix": recorded.calm[:20],
    }

    result = ask("show", names[named])

    assert result.exit_code == 0
    assert all(word in result.stdout for word in ("weather", "collect", "judge", "mood"))


def test_show_leaves_out_what_is_deep_or_long_and_says_how_to_see_it(ask, ask_json, home):
    """A span of the last level counts what it holds; standard error names the option to use."""
    whence.configure(home)
    with whence.run("x", external_id="deep") as run:
        for number in range(3):
            with whence.stage(f"stage {number}") as stage, whence.step("a"), whence.step("b"):
                pass
            stage.event("seen")
    whence.configure(home, enabled=False)

    shallow = ask("show", "deep", "--depth", "1")
    assert shallow.stdout.count("(+ 2 spans)") == 3
    assert shallow.stdout.count("seen") == 3
    assert "step" not in shallow.stdout
    assert shallow.stderr == "6 deeper spans with what is in them: --depth 2 shows a level more\n"
    assert ask("show", "deep", "--depth", "2").stdout.count("step a") == 3
    assert ask("show", "deep", "--depth", "3").stderr == ""

    short = ask("show", "deep", "--limit", "3")
    assert len(short.stdout.splitlines()) == 3
    assert short.stderr == "10 more lines: --limit 0 shows all\n"
    assert len(ask("show", "deep", "--limit", "0").stdout.splitlines()) == 13
    assert len(ask_json("show", run.id, "--limit", "1", "--depth", "1")["spans"]) == 3


def test_a_pipe_gets_every_cell_whole(ask, home, monkeypatch):
    """However narrow the terminal is said to be, a name in a pipe is all of it, on one line."""
    monkeypatch.setenv("COLUMNS", "40")
    long = {name: name * 60 for name in ("name", "project", "external_id")}
    whence.configure(home)
    with whence.run(**long):
        pass
    whence.configure(home, enabled=False)

    _, line = ask("runs").stdout.splitlines()
    assert all(value in line for value in long.values())


def test_show_as_json_is_the_whole_tree(ask_json, recorded):
    """The document holds the run and everything below it."""
    tree = ask_json("show", recorded.calm)

    assert tree["run"]["id"] == recorded.calm
    assert "forecast-0" in json.dumps(tree)


def test_what_is_long_is_whole_in_a_pipe_and_with_full(ask, home, monkeypatch):
    """A terminal cuts texts, a pipe does not; --full shows every item of a list too."""
    reason = "it takes far longer than anyone would wait " * 8
    whence.configure(home)
    with whence.run("x", external_id="x") as run:
        for number in range(20):
            options = [{"name": "b", "reason_rejected": reason}]
            run.decide(f"d{number}", "a", why=reason, options=options)
    whence.configure(home, enabled=False)

    assert ask("why", "x").stdout.count(f"not b  {reason.strip()}") == 12
    assert ask("why", "x", "--full").stdout.count(f"not b  {reason.strip()}") == 20
    assert ask("show", "x").stdout.count(f"because {reason.strip()}") == 20
    monkeypatch.setattr("whence.cli.output.is_terminal", lambda: True)
    assert reason.strip() not in ask("why", "x").stdout
    assert "…" in ask("show", "x").stdout
    assert "…" not in ask("show", "x", "--full").stdout


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_an_id_that_several_runs_have_is_told(ask, home, form):
    """The latest is meant, and standard error says how to list the others."""
    whence.configure(home)
    for _ in range(3):
        with whence.run("x", external_id="job '1'") as run:
            run.output("answer-1")
            run.output("answer-1")
    with whence.run("y", external_id="alone") as run:
        run.output("once")
    whence.configure(home, enabled=False)

    for command in ("why", "show"):
        said = ask(command, "job '1'", *form).stderr
        assert said.startswith("2 other runs have this external id too, this is the latest: ")
        listed = ask(*shlex.split(said.partition("whence ")[2])[:2])
        assert listed.stdout.count("job '1'") == 3
        said = ask(command, "answer-1", *form).stderr
        assert said.startswith("2 other runs have an output of this id too")
        listed = ask(*shlex.split(said.partition("whence ")[2])[:2])
        assert listed.stdout.count("job '1'") == 3
        for alone in ("alone", "once", run.id):
            assert ask(command, alone, *form).stderr == ""


@pytest.mark.usefixtures("recorded")
def test_why_tells_what_was_decided_and_what_was_not(ask, ask_json):
    """The chosen option, the reason, and the dropped source are in the answer."""
    said = ask("why", "forecast-0").stdout

    assert all(word in said for word in ("mood", "calm", "The wind says so.", "other"))
    assert "mood" in json.dumps(ask_json("why", "forecast-0"))


def test_compare_says_where_two_runs_part(ask, ask_json, recorded):
    """The first divergence is the decision that differs."""
    result = ask("compare", recorded.calm, recorded.bold)

    assert result.exit_code == 0
    assert "mood" in result.stdout
    assert "calm" in json.dumps(ask_json("compare", recorded.calm, recorded.bold))


@pytest.mark.usefixtures("recorded")
def test_stats_groups(ask, ask_json):
    """Rows of a table are counted by the fields that are named."""
    answer = ask_json("stats", "--table", "decisions", "--by", "name", "--window", "all")

    assert "mood" in json.dumps(answer)
    assert (
        "mood" in ask("stats", "--table", "decisions", "--by", "name", "--by", "run.project").stdout
    )


@pytest.mark.usefixtures("recorded")
def test_graph_is_a_list_or_dot(ask, ask_json):
    """Lineage is edges for people, DOT for Graphviz, and JSON for programs."""
    assert "forecast-0" in ask("graph", "forecast-0").stdout
    dot = ask("graph", "forecast-0", "--dot").stdout
    assert dot.startswith("digraph")
    assert '"north" -> "forecast-0"' in dot
    assert "north" in json.dumps(ask_json("graph", "forecast-0"))


@pytest.mark.usefixtures("recorded")
def test_sql_prints_a_table_csv_or_json(ask, ask_json):
    """One SELECT gives rows in three forms, and says when there are more."""
    query = "SELECT name, confidence FROM decisions ORDER BY confidence"

    table = ask("sql", query)
    assert table.stdout.splitlines()[0].split() == ["name", "confidence"]
    assert "(2 rows)" in table.stderr
    rows = list(csv.reader(io.StringIO(ask("sql", query, "--csv").stdout)))
    assert rows == [["name", "confidence"], ["mood", "0.4"], ["mood", "0.65"]]
    answer = ask_json("sql", query, "--max-rows", "1")
    assert answer["rows"] == [{"name": "mood", "confidence": 0.4}]
    assert answer["truncated"]
    assert "more than these 1 rows" in ask("sql", query, "--max-rows", "1").stderr


@pytest.mark.usefixtures("recorded")
def test_sql_reads_standard_input_and_refuses_writes(ask):
    """`-` is the query on standard input; anything but one SELECT is refused with exit code 2."""
    assert "3" in ask("sql", "-", text="SELECT count(*) AS n FROM runs").stdout
    refused = ask("sql", "DELETE FROM runs")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("whence: ")


@pytest.mark.usefixtures("recorded")
def test_csv_cells_are_no_formulas(ask):
    """A text that a spreadsheet would run gets an apostrophe; a negative number stays a number."""
    result = ask("sql", "SELECT '=HYPERLINK(1)' AS a, -1 AS b, '+1' AS c", "--csv")

    assert result.stdout.splitlines()[1] == "'=HYPERLINK(1),-1,'+1"


def test_annotate_adds_a_remark(ask, ask_json, recorded):
    """The remark is a record of its own and shows as a flag on its run."""
    remark = ask_json(
        "annotate", recorded.calm, "--flag", "odd", "--note", "look again", "--by", "ann"
    )

    assert remark["target"] == recorded.calm
    [run] = ask_json("runs", "flagged")["items"]
    assert run["id"] == recorded.calm
    assert ask("annotate", recorded.calm).exit_code == 2


def test_annotate_refuses_a_status_that_no_review_has(ask, ask_json, recorded):
    """A slip of the pen is told before it is on the record, with the words there are."""
    wrong = ask("annotate", recorded.calm, "--status", "aproved")

    assert wrong.exit_code == 2
    assert all(word in wrong.stderr for word in ("approved", "pending_review", "rejected"))
    assert ask_json("sql", "SELECT * FROM annotations")["rows"] == []
    assert ask("annotate", recorded.calm, "--status", "approved").exit_code == 0


@pytest.mark.usefixtures("recorded")
def test_tail_shows_the_last_records_in_order(ask):
    """-n takes the newest of all segments, oldest of them first."""
    lines = ask("tail", "--no-follow", "-n", "3").stdout.splitlines()

    assert len(lines) == 3
    assert "run_ended" in lines[-1]
    assert "failed" in lines[-1]


def test_tail_narrows_by_run_kind_and_filter(ask, recorded):
    """A filter is about the table of --kind, and about runs without it."""

    def tail(*arguments):
        result = ask("tail", "--no-follow", "-n", "100", "--json", *arguments)
        assert result.exit_code == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]

    decisions = tail("--kind", "decisions")
    assert {record["kind"] for record in decisions} == {"decision"}
    assert [r["what"] for r in tail("--kind", "decision", "confidence > 0.5")] == ["bold"]
    assert {r["run"] for r in tail("--run", "trc_0")} == {recorded.calm}
    assert {r["run"] for r in tail('status = "failed"')} == {recorded.failed}
    assert [r["kind"] for r in tail("--kind", "run_started")] == ["run_started"] * 3


@pytest.mark.usefixtures("recorded")
def test_tail_knows_its_kinds(ask):
    """A kind that does not exist is refused with the list of those that do."""
    result = ask("tail", "--no-follow", "--kind", "thought")

    assert result.exit_code == 2
    assert "decision" in result.stderr


@pytest.mark.usefixtures("recorded")
def test_compact_rebuild_and_doctor_look_after_the_home(ask, ask_json):
    """Nothing changes in the answers, whatever is done to the archive."""
    before = ask_json("runs")

    assert ask("doctor", "--fail-on", "note").exit_code == 0
    assert "compact" in ask("compact").stdout
    assert ask("rebuild").exit_code == 0
    assert ask_json("runs") == before
    assert ask_json("doctor")["records"]["run_started"] == 3


def test_doctor_exits_with_one_when_asked_to(ask, ask_json, recorded):
    """A foreign line is a warning: --fail-on warning and note fail, error does not."""
    segment = next(recorded.home.glob("log/*/*.jsonl"))
    with segment.open("ab") as file:
        file.write(b"printed by mistake\n")

    assert ask("doctor").exit_code == 0
    assert ask("doctor", "--fail-on", "error").exit_code == 0
    assert ask("doctor", "--fail-on", "warning").exit_code == 1
    assert ask("doctor", "--fail-on", "note").exit_code == 1
    assert ask_json("doctor")["findings"][0]["kind"] == "foreign_lines"


@pytest.mark.parametrize(("said", "days"), [("30", 30), ("30d", 30), ("4w", 28), ("1 week", 7)])
def test_ages_are_days_or_weeks(said, days):
    """`30d` and `4w` are numbers of days."""
    assert Days().convert(said, None, None) == days


@pytest.mark.usefixtures("recorded")
def test_retain_has_nothing_to_do_on_a_young_home(ask, ask_json):
    """Everything is of today, so nothing goes, and a wrong age is refused."""
    assert ask_json("retain", "--keep", "1d", "--dry-run")["segments"] == 0
    assert "nothing is older" in ask("retain", "--keep", "1d", "--yes").stdout
    assert ask("retain", "--keep", "soon").exit_code == 2
    assert ask("retain", "--keep", "0").exit_code == 2
    assert ask("retain").exit_code == 2


def test_retain_removes_old_days_everywhere_and_says_so(ask, ask_json, recorded):
    """Neither log, archive nor blobs hold the old day afterwards, and the young one is whole."""
    name = SegmentName("2026-01-01", "old-1-ab", 1)
    place = Home(recorded.home)
    os.close(segment.create(place, name))
    marker = blobs.put(place, b"x" * 50_000, "text")
    old = "0" * 31 + "7"
    lines = [
        RunStarted(v=1, seq=1, ts="2026-01-01T08:00:00Z", run=old, name="long ago"),
        Event(v=1, seq=2, ts="2026-01-01T08:00:01Z", run=old, message="m", data={"big": marker}),
        RunEnded(v=1, seq=3, ts="2026-01-01T08:00:02Z", run=old, status="complete"),
    ]
    name.path_in(place).write_bytes(b"".join(codec.encode(line) + b"\n" for line in lines))

    kept = ask("retain", "--keep", "1d", "--dry-run")
    assert "2026-01-01 stays: 1 of its segments are not archived" in kept.stderr
    assert "nothing goes: what is older than" in kept.stdout
    assert ask("compact").exit_code == 0
    assert old in [run["id"] for run in ask_json("runs")["items"]]
    assert ask("retain", "--keep", "1d").exit_code == 2  # nobody is there to say yes
    assert ask_json("retain", "--keep", "1d", "--dry-run")["blob_bytes"] == 50_000
    report = ask_json("retain", "--keep", "1d", "--yes")

    assert (report["segments"], report["blobs"], report["recorded"]) == (1, 1, True)
    assert [d["day"] for d in report["days"]] == ["2026-01-01"]
    left = [run["id"] for run in ask_json("runs")["items"]]
    assert left == [recorded.failed, recorded.bold, recorded.calm]
    assert ask_json("doctor")["findings"] == []
    [said] = ask_json("sql", "SELECT message FROM events WHERE level = 'warning'")["rows"]
    assert said["message"].startswith("retention removed 1 segments of 1 days and 1 blobs")


@pytest.mark.usefixtures("ask", "recorded")
def test_export_writes_session_folders(ask_json, tmp_path):
    """Each run becomes a folder with its three files; two of one minute get names of their own."""
    result = ask_json("export", "sessions", "--to", str(tmp_path / "out"))

    assert len(result["sessions"]) == 3
    folders = sorted((tmp_path / "out" / "sessions").iterdir())
    assert len(folders) == 3
    assert {file.name for file in folders[0].iterdir()} == {
        "manifest.yaml",
        "actions.jsonl",
        "summary.md",
    }


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(ask, shell):
    """The script mentions the program, and no home is needed."""
    result = ask("completion", shell, home=None)

    assert result.exit_code == 0
    assert "_WHENCE_COMPLETE" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(ask, name):
    """Help says what the command does in a sentence and names the shared options."""
    result = ask(name, "--help", home=None)

    assert result.exit_code == 0
    assert "--home" in result.stdout or name == "export"
    assert len(result.stdout.splitlines()[2].strip()) > 20
