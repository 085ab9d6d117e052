"""Spans come late, twice, in pieces, without parents and without ends."""

from __future__ import annotations

import base64
import json

import pytest
from otlpdata import START_NS, chat, hex_id, imported, request, span, write_lines

import whence
from whence.ingest.importer import import_paths
from whence.record.values import restore


def rows(home, table="spans"):
    with whence.open(home) as store:
        return getattr(store, table)(limit=None).items


def test_a_span_sent_twice_is_there_once(home, tmp_path):
    """Within a request, in a later request and in a later import."""
    one = span("call", None, chat((5, 1)))

    report = imported(home, tmp_path, request(one, one), request(one))
    again = imported(home, tmp_path, request(one), name="again.jsonl")

    assert (report.spans, report.generations, report.usage_stated.input) == (1, 1, 5)
    assert again.new == 0
    (run,) = rows(home, "runs")
    assert (run.spans, run.generations, run.input_tokens) == (1, 1, 5)


def test_a_trace_spread_over_files_is_one_run(home, tmp_path):
    """The root in a second import completes what the first one began."""
    root, child = span("root", None, at=(0, 90)), span("child", "root", at=(1, 5))

    imported(home, tmp_path, request(child))
    imported(home, tmp_path, request(root), name="root.jsonl")

    (run,) = rows(home, "runs")
    assert (run.spans, run.status) == (2, "complete")
    assert run.duration_ms == 90.0


def test_orphans_make_a_run_that_says_what_is_missing(home, tmp_path):
    """Without its root a run is named by what is topmost, and complete."""
    orphans = [span("second", "gone", at=(5, 9)), span("first", "gone", at=(1, 3))]

    report = imported(home, tmp_path, request(*orphans))

    (run,) = rows(home, "runs")
    assert (run.name, run.status, run.duration_ms) == ("first", "complete", 8.0)
    assert run.attributes["otel.missing_parent"] == hex_id("t/gone", 8)
    assert report.runs == 1


def test_a_failed_orphan_makes_a_failed_run(home, tmp_path):
    """What is topmost decides, as a root would."""
    imported(home, tmp_path, request(span("a", "gone", status={"code": 2, "message": "no"})))

    (run,) = rows(home, "runs")
    assert (run.status, run.error) == ("failed", {"type": "error", "message": "no"})


def test_parents_in_a_ring_end_nowhere_and_hurt_nobody(home, tmp_path):
    """Two spans that are each other's parents are imported as they are."""
    report = imported(
        home,
        tmp_path,
        request(span("a", "b", chat((1, 1))), span("b", "a", chat((1, 1))), span("c", "c")),
    )

    assert report.spans == 3
    assert len(rows(home)) == 3


def test_a_span_that_is_running_is_shown_and_later_ended(home, tmp_path):
    """A span without an end is open; its end completes it, with what it learned meanwhile."""
    running = span("step", None, {"a": 1}) | {"endTimeUnixNano": "0"}
    done = span("step", None, {"a": 1, "b": 2}, at=(0, 7))

    imported(home, tmp_path, request(running))
    (before,) = rows(home)
    imported(home, tmp_path, request(done), name="done.jsonl")
    (after,) = rows(home)

    assert (before.status, before.ended_ns) == ("incomplete", None)
    assert (after.status, after.duration_ms) == ("ok", 7.0)
    assert after.attributes["b"] == 2


def test_counts_may_be_doubles_and_texts(home, tmp_path):
    """12.0 tokens are 12, and 64-bit integers that stand in quotes are numbers."""
    given = span("call", None, {})
    given["attributes"] = [
        {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
        {"key": "gen_ai.usage.input_tokens", "value": {"doubleValue": 12.0}},
        {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "9007199254740993"}},
    ]

    report = imported(home, tmp_path, request(given))

    assert report.usage_stated.input == 12
    assert report.usage_stated.output == report.usage.output_visible == 2**53 + 1


def test_absent_counts_are_null_and_not_zero(home, tmp_path):
    """A call without usage adds nothing to any sum."""
    report = imported(home, tmp_path, request(span("call", None, chat())))

    assert report.generations == 1
    assert report.usage_stated.input is report.usage.input_uncached is None
    assert report.cost_usd_declared is report.retries is None


def test_times_that_cannot_be_true_have_no_duration(home, tmp_path):
    """A span that ended before it began has times and no length."""
    imported(home, tmp_path, request(span("odd", None, at=(9, 3))))

    (row,) = rows(home)
    assert row.duration_ms is None
    assert row.started_ns == START_NS + 9_000_000


@pytest.mark.parametrize("field", ["traceId", "spanId"])
def test_a_span_without_a_valid_id_is_left_out_and_named(field, home, tmp_path):
    """Zeros, other lengths and other letters are no ids; the rest of the request comes in."""
    good = span("good", None)
    bad = [good | {field: text} for text in ("", "0" * len(good[field]), "xyz", "ab")]

    report = imported(home, tmp_path, request(good, *bad))

    assert report.spans == 1
    assert "4 spans left out" in report.skipped[0].why


def test_ids_in_capitals_and_base64_are_the_same_ids(home, tmp_path):
    """Exporters that write ids in other ways mean the same span."""
    good = span("good", None)
    shouted = good | {"traceId": good["traceId"].upper(), "spanId": good["spanId"].upper()}
    coded = good | {
        key: base64.b64encode(bytes.fromhex(good[key])).decode() for key in ("traceId", "spanId")
    }

    report = imported(home, tmp_path, request(good), request(shouted), request(coded))

    assert (report.spans, report.skipped) == (1, [])


def test_keys_in_snake_case_are_read(home, tmp_path):
    """The JSON that some exporters write from protobuf's own names comes in too."""
    given = {
        "resource_spans": [
            {
                "scope_spans": [
                    {
                        "spans": [
                            {
                                "trace_id": hex_id("t", 16),
                                "span_id": hex_id("s", 8),
                                "name": "snake",
                                "start_time_unix_nano": START_NS,
                                "end_time_unix_nano": START_NS + 1,
                                "attributes": [{"key": "a", "value": {"string_value": "b"}}],
                            }
                        ]
                    }
                ]
            }
        ]
    }

    report = imported(home, tmp_path, given)

    assert report.spans == 1
    assert rows(home)[0].attributes["a"] == "b"


def test_a_line_that_is_no_request_is_left_out_and_the_others_come_in(home, tmp_path):
    """The report says which line and why."""
    path = write_lines(tmp_path / "in.jsonl", request(span("a", None)), request(span("b", None)))
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join([lines[0], '{"resourceSpans": [', lines[1], '{"resourceMetrics": [{}]}'])
    )

    report = import_paths(home, [path])

    assert report.spans == 2
    assert [skipped.where.rpartition(":")[2] for skipped in report.skipped] == ["2", "4"]


@pytest.mark.parametrize("first", ["garbage", '{"resourceSpans": [', '{"x": 1}', "5"])
@pytest.mark.parametrize("format_name", [None, "otlp"])
def test_a_bad_first_line_costs_only_itself(first, format_name, home, tmp_path):
    """It is named as any other line is, and the file is recognized by one of its next lines."""
    path = write_lines(tmp_path / "in.jsonl", request(span("a", None)), request(span("b", None)))
    good = path.read_text().splitlines()
    path.write_text("\n".join([first, good[0], '{"x": 1}', good[1]]))

    report = import_paths(home, [path], format_name=format_name)

    assert report.spans == 2
    assert [skipped.where.rpartition(":")[2] for skipped in report.skipped] == ["1", "3"]


@pytest.mark.parametrize(
    "content", ["no request\n" * 2_000, '{"x": 1}', '{\n "resourceSpans": [\n']
)
def test_a_file_without_any_request_is_named_once(content, home, tmp_path):
    """Not each of its lines."""
    path = tmp_path / "in.json"
    path.write_text(content)

    report = import_paths(home, [path], format_name="otlp")

    assert (report.spans, [skipped.where for skipped in report.skipped]) == (0, [str(path)])


@pytest.mark.parametrize("key", ["resourceSpans", "resource_spans"])
def test_a_text_that_was_cut_in_a_character_is_kept(key, home, tmp_path):
    """Half surrogates and bytes that are no UTF-8 come back, and cost nothing around them."""
    given = request(span("a", None, {"cut \ud83d": ["cut \ud83d"], "bytes": "XX"}))
    text = json.dumps(given).replace("resourceSpans", key).replace('"a"', r'"a\ud83d"')
    path = tmp_path / "in.jsonl"
    path.write_bytes(text.encode().replace(b"XX", b"\xff"))

    report = import_paths(home, [path])

    assert (report.spans, report.skipped) == (1, [])
    with whence.open(home) as store:
        (row,) = store.spans().items
    assert row.name == r"a\ud83d"
    attributes = restore(row.attributes)
    assert attributes["cut \ud83d"] == ["cut \ud83d"]
    assert attributes["bytes"] == "\udcff"


def test_one_request_over_many_lines_is_read(home, tmp_path):
    """A file that a person formatted is one request."""
    path = tmp_path / "pretty.json"
    path.write_text(json.dumps(request(span("a", None), span("b", "a")), indent=2))

    assert import_paths(home, [path]).spans == 2
