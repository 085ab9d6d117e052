"""A model call that capture recorded is not counted again when spans of it arrive."""

from __future__ import annotations

import json

import pytest
from otlpdata import MS, START_NS, chat, hex_id, imported, request, span, write_lines

import whence
from whence import _clock
from whence.exports.otlp import files
from whence.exports.otlp.model import Options
from whence.ingest.importer import import_paths
from whence.log import segment
from whence.log.home import Home

IDS = {"otel_trace_id": hex_id("t", 16), "otel_span_id": hex_id("t/call", 8)}


def now_ms():
    """Return the time as the made-up spans count it."""
    return (_clock.wall_ns() - START_NS) // MS


def captured(home, **more):
    """Record a call as the wrapper of a client does, and return its run and span."""
    whence.configure(home=home)
    with whence.run("mine") as run, whence.generation("draft") as draft:
        draft.record_generation(
            model="gpt-5",
            usage={"input_tokens": 10, "output_tokens": 5},
            duration_ms=1_000,
            **(more or IDS),
        )
    whence.flush()
    return run.id, draft.id


def counted(home):
    with whence.open(home) as store:
        return len(store.generations(limit=None).items), sum(
            row.input_tokens or 0 for row in store.runs(limit=None)
        )


def steps(home):
    with whence.open(home) as store:
        return {
            row.name: (
                row.kind,
                row.attributes.get("same_call_run"),
                row.attributes["same_call_as"],
            )
            for row in store.spans(limit=None)
            if "same_call_as" in row.attributes
        }


def trace(**more):
    """Return a trace of an application: a root, a framework's model span, the client's own."""
    now = now_ms()
    at = (now - 60_000, now + 60_000)
    return request(
        span("root", None, at=at),
        span("around", "root", chat((10, 5)), at=at),
        span("call", "around", chat((10, 5), **more), at=(now - 50_000, now + 50_000)),
        span("other", "root", chat((7, 1)), at=at),
    )


def test_spans_of_a_captured_call_are_steps(home, tmp_path):
    """The span that was current, and the one around it, name the call; another call counts."""
    run, draft = captured(home)

    imported(home, tmp_path, trace())

    assert steps(home) == {"call": ("step", run, draft), "around": ("step", run, draft)}
    assert counted(home) == (2, 17)


def test_the_id_of_the_answer_tells_a_call_at_its_time(home, tmp_path):
    """Without ids of spans the answer's id does, if both happened at one time."""
    run, draft = captured(home, response_id="r1")
    later = (now_ms() + 100_000, now_ms() + 100_001)
    again = request(span("replayed", None, chat((1, 1), gen_ai__response__id="r1"), at=later))

    imported(home, tmp_path, trace(gen_ai__response__id="r1"), again)

    assert steps(home) == {"call": ("step", run, draft), "around": ("step", run, draft)}
    assert counted(home) == (3, 18)


def test_what_was_decided_holds(home, tmp_path):
    """A span that came before its call was recorded counts, also when it comes again."""
    sent = trace()
    imported(home, tmp_path, sent)
    captured(home)

    assert imported(home, tmp_path, sent, name="again.jsonl").new == 0
    assert steps(home).keys() == {"around"}


def test_spans_that_come_while_capture_goes_on_are_told(home, tmp_path):
    """What a living process writes after the first look is read as well."""
    imported(
        home,
        tmp_path,
        request(span("first", None, chat((1, 1)), trace="x", at=(now_ms(), now_ms()))),
    )
    run, draft = captured(home)

    imported(home, tmp_path, trace(), name="then.jsonl")

    assert steps(home)["call"] == ("step", run, draft)


@pytest.mark.parametrize("together", [True, False])
def test_a_call_that_came_as_a_trace_is_known_too(home, tmp_path, together):
    """Whence's own export and the application's own spans in a third home: the call counts once."""
    run, draft = captured(home)
    with whence.open(home) as store:
        files.write(store, [run], tmp_path / "1-own.jsonl", Options())
    write_lines(tmp_path / "2-theirs.jsonl", trace())
    there = tmp_path / "there"

    paths = [tmp_path / "1-own.jsonl", tmp_path / "2-theirs.jsonl"]
    for part in [paths] if together else [[path] for path in paths]:
        import_paths(there, part)

    assert steps(there) == {"call": ("step", run, draft), "around": ("step", run, draft)}
    assert counted(there) == (2, 17)


def test_a_damaged_line_of_the_log_stops_no_import(home, tmp_path):
    """What cannot be read tells of no call, and of no error."""
    captured(home)
    (path,) = home.rglob("*.jsonl")
    name = segment.parse_name(f"{path.parent.name}/host-1-0badcafe.1")
    (home / "hot" / name.marker).touch()
    name.path_in(Home(home)).write_bytes(
        b'{"kind":"generation","ts":"x","run":5}\n{"kind":"generation","ts":"x","run":"r"}\n'
        b"\xff generation\n" + json.dumps({"kind": "generation", "ts": "1"}).encode()
    )

    report = imported(home, tmp_path, trace())

    assert report.skipped == []
    assert steps(home).keys() == {"call", "around"}
