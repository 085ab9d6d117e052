"""`whence export otlp` on the command line."""

from __future__ import annotations

import json

from loopback import Answer, provider

import whence
from whence.ingest.importer import import_paths


def record(home):
    whence.configure(home=home)
    with whence.run("one", project="p") as run:
        run.decide("d", "x")
    with whence.run("two", project="q"):
        pass
    whence.flush()
    return run.id


def test_it_writes_the_runs_that_a_filter_chooses(ask_json, home, tmp_path):
    """The report counts them and names what no convention has a place for."""
    run = record(home)
    file = tmp_path / "out.jsonl"

    said = ask_json("export", "otlp", 'project = "p"', "--into", str(file))

    (line,) = file.read_text("utf-8").splitlines()
    (resource,) = json.loads(line)["resourceSpans"]
    (span,) = resource["scopeSpans"][0]["spans"]
    assert span["traceId"] == run
    assert said["runs"] == said["spans"] == 1
    assert {"what": "decisions", "count": 1, "kept": "event"} in said["left_out"]


def test_a_protobuf_file_is_imported_again(ask, home, tmp_path):
    """The name of the file decides; the table says what has no place."""
    record(home)
    result = ask("export", "otlp", "--into", str(tmp_path / "out.pb"))

    assert result.exit_code == 0, result.stderr
    assert "decisions" in result.stdout
    assert "2 runs as 2 spans" in result.stderr
    assert import_paths(tmp_path / "back", [tmp_path / "out.pb"]).runs == 2


def test_it_posts_with_headers(ask, home):
    """The receiver gets the key, and what it rejects is told."""
    record(home)
    with provider() as server:
        server.will_say(Answer({"partialSuccess": {"rejectedSpans": "1"}}))
        result = ask(
            "export", "otlp", "--to", server.url, "--header", "x-key=k=1", "--encoding", "json"
        )

    assert result.exit_code == 0, result.stderr
    assert server.asked[0].headers["x-key"] == "k=1"
    assert "1 spans rejected" in result.stderr


def test_a_receiver_that_refuses_is_an_error_in_one_sentence(ask, home):
    """Exit 2, and what it answered, with nothing a terminal would obey."""
    record(home)
    with provider() as server:
        server.will_say(Answer(b"\x1b[31mno", 400))
        result = ask("export", "otlp", "--to", server.url)

    assert result.exit_code == 2
    assert "400" in result.stderr
    assert "\x1b" not in result.stderr


def test_misuse_is_told(ask, home):
    """Both ways out, neither, a header for a file, a header that is none."""
    record(home)
    for arguments in (
        [],
        ["--into", "a", "--to", "http://x"],
        ["--into", "a", "--header", "k=v"],
        ["--to", "http://x", "--header", "nothing"],
        ["--into", "a", "--convention", "mine"],
        ["--to", "nowhere"],
    ):
        assert ask("export", "otlp", *arguments).exit_code == 2
