"""A record survives the way into a line and back, and no line breaks the reader."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import JSON, KINDS, TEXTS, UNKNOWN, records

from whence.errors import RecordError
from whence.record import codec
from whence.record.decision import Decision
from whence.record.event import Foreign
from whence.record.generation import Generation

RUN = "0" * 31 + "1"
LINE = codec.encode(Decision(ts="2026-01-01T00:00:00.000000000Z", run=RUN, name="n", what=[1, "a"]))


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
@given(data=st.data())
@settings(max_examples=15)
def test_a_record_is_read_as_it_was_written(kind, data):
    """Every kind, every field, every lawful value."""
    record = data.draw(records(kind))

    assert codec.decode(codec.encode(record)) == msgspec.structs.replace(record, v=1)


@given(record=records(), unknown=UNKNOWN)
def test_unknown_keys_of_a_line_are_written_back(record, unknown):
    """What a newer writer put on a line is there after reading and writing it again."""
    line = json.loads(codec.encode(record)) | unknown

    assert json.loads(codec.encode(codec.decode(json.dumps(line).encode()))) == line


@given(record=records(Generation), unknown=UNKNOWN)
def test_unknown_keys_of_a_usage_are_written_back(record, unknown):
    """They survive inside the usage object too."""
    line = json.loads(codec.encode(record))
    line["usage"] = (line.get("usage") or {}) | unknown

    assert json.loads(codec.encode(codec.decode(json.dumps(line).encode()))) == line


@given(record=records(Decision), unknown=UNKNOWN)
def test_unknown_keys_of_an_option_are_written_back(record, unknown):
    """They survive inside the options of a decision too."""
    line = json.loads(codec.encode(record))
    line["options"] = [*(line.get("options") or []), {"name": "one more"} | unknown]

    assert json.loads(codec.encode(codec.decode(json.dumps(line).encode()))) == line


@given(kind=TEXTS.filter(lambda text: text not in KINDS), others=UNKNOWN)
def test_an_unknown_kind_is_kept_whole(kind, others):
    """A record of a kind of tomorrow is known by its envelope and written back as it was."""
    line = {"v": 1, "seq": 3, "ts": "2026-01-01T00:00:00Z", "run": RUN, "kind": kind} | others

    record = codec.decode(json.dumps(line).encode())

    assert isinstance(record, Foreign)
    assert (record.run, record.seq, record.foreign_kind) == (RUN, 3, kind)
    assert json.loads(codec.encode(record)) == line


@given(record=records(), version=st.integers(2, 2**31), unknown=UNKNOWN)
def test_a_newer_version_is_read_as_far_as_it_is_known(record, version, unknown):
    """Its version and its unknown keys are kept."""
    line = json.loads(codec.encode(record)) | unknown | {"v": version}

    again = codec.decode(json.dumps(line).encode())

    assert type(again) is type(record)
    assert json.loads(codec.encode(again)) == line


def read(line: bytes) -> None:
    try:
        codec.decode(line)
    except RecordError as error:
        assert str(error)  # noqa: PT017 - no error at all is as good


@given(st.binary(max_size=80))
@settings(max_examples=200)
def test_no_bytes_break_the_reader(line):
    """Whatever is on a line, reading it gives a record or a `RecordError`."""
    read(line)


@given(JSON | st.dictionaries(st.sampled_from(["kind", "v", "time", "options", "ts", "run"]), JSON))
@settings(max_examples=200)
def test_no_json_breaks_the_reader(value):
    """JSON that is no record is a `RecordError`, whatever its shape."""
    read(json.dumps(value).encode())
    if isinstance(value, dict):
        read(json.dumps(value | {"kind": "decision"}).encode())


@given(st.integers(0, len(LINE) - 1), st.integers(0, 255))
@settings(max_examples=200)
def test_a_flipped_byte_does_not_break_the_reader(place, byte):
    """One wrong byte anywhere in a good line."""
    read(LINE[:place] + bytes([byte]) + LINE[place + 1 :])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\x00" * 50,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 10_000,
        b'{"kind":"decision","ts":"\\ud800"}',
        b'{"kind":"decision","v":0,"time":1e308,"run_id":"r","name":"n"}',
        b'{"kind":"decision","v":-5,"time":-1e18,"run_id":"r","name":"n"}',
        b'{"kind":"decision","v":1e3}',
        b'{"kind":"score","v":1,"ts":"","run":"","name":"","iteration":99999999999999999999}',
        b'{"kind":7}',
        b'\xef\xbb\xbf{"kind":"event"}',
        b'{"kind":"decision","$extra":5,"ts":"t","run":"r","name":"n"}',
        b'{"kind":"foreign"}',
        b'{"kind":"' + b"x" * 100_000 + b'"}',
    ],
    ids=range(15),
)
def test_a_hostile_line_does_not_break_the_reader(line):
    """Lines that came from elsewhere, or from nowhere."""
    read(line)


def test_a_line_of_kind_foreign_is_kept_whole():
    """The word that stands for unknown kinds is itself an unknown kind."""
    line = {"v": 1, "seq": 1, "ts": "t", "run": RUN, "kind": "foreign", "a": 1}

    assert json.loads(codec.encode(codec.decode(json.dumps(line).encode()))) == line


def test_unknown_keys_cannot_replace_known_ones():
    """A line that hides a run id among the unknown keys keeps its own."""
    line = json.loads(LINE) | {"$extra": {"run": "another", "x": 1}}

    written = json.loads(codec.encode(codec.decode(json.dumps(line).encode())))

    assert (written["run"], written["x"]) == (RUN, 1)
