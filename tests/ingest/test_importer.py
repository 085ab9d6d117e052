"""Files and folders are found, recognized, and reported."""

from __future__ import annotations

import base64
import gzip
import json
import os

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlpdata import chat, hex_id, imported, log_request, request, span, write_lines
from sessionfolders import write_by_hand

from whence.errors import ConfigError, IngestError
from whence.ingest import otlp_wire, registry
from whence.ingest.base import Source
from whence.ingest.importer import import_paths
from whence.ingest.report import Tally, decimal
from whence.record.generation import Generation, ToolCall
from whence.record.link import Link
from whence.record.run import RunStarted

TS = "2026-01-01T00:00:00.000000000Z"


def protobuf(**message):
    """Return a request as protobuf, whose own JSON has ids in base64."""
    kind = ExportTraceServiceRequest if "resourceSpans" in message else ExportLogsServiceRequest
    text = json.dumps(message)
    for hexed in (hex_id("t", 16), hex_id("t/a", 8)):
        text = text.replace(hexed, base64.b64encode(bytes.fromhex(hexed)).decode())
    return json_format.Parse(text, kind()).SerializeToString()


def test_a_folder_is_walked_and_what_is_unknown_is_named(home, tmp_path):
    """Sub-folders are entered in order; a file of no format is reported, links are not followed."""
    folder = tmp_path / "in"
    (folder / "deep" / ".git").mkdir(parents=True)
    write_lines(folder / "deep" / "a.jsonl", request(span("a", None)))
    write_lines(folder / "deep" / ".git" / "b.jsonl", request(span("b", None)))
    (folder / "readme.txt").write_text("hello")
    (folder / "away").symlink_to("/etc")
    os.mkfifo(folder / "pipe")

    report = import_paths(home, [folder])

    assert report.spans == 1
    assert {skipped.where.rpartition("/")[2] for skipped in report.skipped} == {
        "readme.txt",
        "pipe",
    }


def test_what_lies_beside_sessions_is_read_too(home, tmp_path):
    """A folder of a known format holds its own files, and others that are looked at one by one."""
    folder, told = tmp_path / "in", []
    session = write_by_hand(folder)
    write_by_hand(folder / "more")
    write_lines(folder / "x.jsonl", request(span("a", None)))
    write_lines(folder / "sessions" / "y.jsonl", request(span("b", None)))
    write_lines(session / "deep.jsonl", request(span("c", None)))
    (session / "notes.txt").write_text("hello")
    (folder / "README.md").write_text("what this folder is")

    report = import_paths(home, [folder], progress=lambda done, total: told.append((done, total)))

    assert (report.format, report.spans, report.runs) == ("otlp, sessions", 3, 2)
    assert [skipped.where for skipped in report.skipped] == [str(session / "notes.txt")]
    assert told[-1][0] == told[-1][1]
    assert import_paths(home, [folder]).new == 0


def test_a_packed_file_is_unpacked(home, tmp_path):
    """Whatever its name says."""
    path = tmp_path / "traces.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(request(span("a", None))).encode()))

    assert import_paths(home, [path]).spans == 1


def test_a_packed_file_that_ends_in_the_middle_gives_what_it_has(home, tmp_path):
    """The lines that could be read are there, and the report says what happened."""
    lines = "".join(json.dumps(request(span(str(n), None))) + "\n" for n in range(3000))
    path = tmp_path / "torn.jsonl.gz"
    path.write_bytes(gzip.compress(lines.encode())[:-500])

    report = import_paths(home, [path])

    assert 0 < report.spans < 3000
    assert len(report.skipped) == 1


@pytest.mark.parametrize("packed", [False, True])
def test_protobuf_files_are_read(packed, home, tmp_path):
    """Traces and logs in protobuf, told apart by what is in them."""
    traces = protobuf(**request(span("a", None, chat((3, 2)), trace="t")))
    logs = protobuf(
        **log_request({"timeUnixNano": "5", "body": {"stringValue": "x"}, "eventName": "hello"})
    )
    for name, content in (("traces.pb", traces), ("logs.binpb", logs)):
        (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)

    report = import_paths(home, [tmp_path / "traces.pb", tmp_path / "logs.binpb"])

    assert (report.spans, report.usage_stated.input, report.skipped) == (1, 3, [])


def test_protobuf_and_json_give_the_same_records(home, tmp_path):
    """Imported in one form, a request is there already in the other."""
    one = request(span("a", None, chat((3, 2)), trace="t"))
    imported(home, tmp_path, one)
    path = tmp_path / "same.pb"
    path.write_bytes(protobuf(**one))

    assert import_paths(home, [path]).new == 0


def test_a_format_can_be_forced(home, tmp_path):
    """`format_name` reads a file that nobody recognized, and its errors are reported."""
    path = tmp_path / "what.txt"
    path.write_text("not json at all")

    report = import_paths(home, [path], format_name="otlp")

    assert (report.spans, len(report.skipped), report.format) == (0, 1, "otlp")


def test_unknown_formats_and_missing_files_are_refused(home, tmp_path):
    """The message names what is known."""
    with pytest.raises(ConfigError, match="known are otlp"):
        import_paths(home, [tmp_path], format_name="nonsense")
    with pytest.raises(ConfigError, match="nothing to import at"):
        import_paths(home, [tmp_path / "gone"])
    assert not home.exists()


def test_a_home_inside_the_folder_is_not_imported_into_itself(tmp_path):
    """The home that is being written is passed over."""
    home = tmp_path / "in" / ".whence"
    path = tmp_path / "in" / "a.jsonl"
    path.parent.mkdir()
    write_lines(path, request(span("a", None)))
    import_paths(home, [path])

    report = import_paths(home, [path.parent])

    assert (report.new, report.skipped) == (0, [])


def test_progress_ends_at_the_whole_size(home, tmp_path):
    """It is told in bytes, never beyond the total."""
    told = []
    paths = [write_lines(tmp_path / f"{n}.jsonl", request(span("a", None))) for n in range(3)]

    import_paths(home, paths, progress=lambda done, total: told.append((done, total)))

    total = sum(path.stat().st_size for path in paths)
    assert told[-1] == (total, total)
    assert all(done <= whole == total for done, whole in told)


def test_every_format_is_found_by_its_name():
    """Names are unique, and each module has what a format needs."""
    names = [known.name for known in registry.FORMATS]

    assert len(set(names)) == len(names)
    for known in registry.FORMATS:
        assert registry.get_format(known.name) is known
        assert callable(known.reader.detect)
        assert callable(known.reader.read)
        assert not known.is_folder or callable(known.reader.files_of)


def test_no_format_recognizes_what_is_none(tmp_path):
    """Text, empty files, other JSON and binary files are nobody's."""
    for number, content in enumerate((b"", b"{}", b"[]", b"hello", b"\x89PNG\r\n", b"\x0a\x0b")):
        path = tmp_path / f"file{number}"
        path.write_bytes(content)
        assert registry.find_format(Source(path)) is None


def test_an_archive_bomb_is_refused():
    """Ten kilobytes that unpack to ten megabytes are not unpacked beyond the limit."""
    bomb = gzip.compress(bytes(10 << 20))

    with pytest.raises(otlp_wire.TooLargeError):
        otlp_wire.unpacked(bomb, 1 << 20)
    assert otlp_wire.unpacked(bomb, 10 << 20) == bytes(10 << 20)
    with pytest.raises(IngestError):
        otlp_wire.unpacked(bomb[:-9], 20 << 20)


def test_several_packed_members_are_one_body():
    """As gzip files may be concatenated."""
    body = gzip.compress(b"one ") + gzip.compress(b"two")

    assert otlp_wire.unpacked(body, 100) == b"one two"
    with pytest.raises(otlp_wire.TooLargeError):
        otlp_wire.unpacked(body, 6)


def tallied(*records):
    tally = Tally()
    for record in records:
        tally.add(record, new=True)
    return tally.report()


def call(number, run="a" * 32, **fields):
    return Generation(ts=TS, run=run, id=f"{number:016x}", **fields)


def test_declared_totals_stand_beside_what_calls_add_up_to():
    """A run that declares its cost is taken at its word, the others by their calls."""
    report = tallied(
        RunStarted(ts=TS, run="a" * 32, name="a", attributes={"declared": {"cost_usd": 0.5}}),
        call(1, cost_usd=0.1),
        call(2, cost_usd=0.2),
        call(3, run="b" * 32, cost_usd=0.3),
    )

    assert report.cost_usd_declared == 0.8
    assert report.cost_usd_computed == 0.6


def test_a_cost_nobody_stated_is_null_and_a_declared_one_alone_is_no_computed_one():
    """Absent is not zero."""
    assert tallied(call(1)).cost_usd_declared is None
    report = tallied(
        RunStarted(ts=TS, run="a" * 32, name="a", attributes={"declared": {"cost_usd": 0}})
    )
    assert (report.cost_usd_declared, report.cost_usd_computed) == (0.0, None)


def test_retries_count_once_however_they_are_told():
    """An attempt that is also linked is one retry; a tool's own count is added."""
    link = Link(ts=TS, run="a" * 32, id="9" * 16, link_kind="retry_of", source="1", target="2")
    tool = ToolCall(ts=TS, run="a" * 32, id="8" * 16, tool_name="t", retry_count=2)

    assert tallied(call(1)).retries is None
    assert tallied(call(1, attempt=1)).retries == 0
    assert tallied(call(1, attempt=1), call(2, attempt=2), link).retries == 1
    assert tallied(call(2, attempt=2), link, tool).retries == 3


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0.1, "0.1"), (3, "3"), (True, None), ("1", None), (float("nan"), None), (float("inf"), None)],
)
def test_amounts_are_the_decimals_they_are_written_as(number, expected):
    """0.1 is a tenth."""
    made = decimal(number)

    assert (None if made is None else str(made)) == expected
