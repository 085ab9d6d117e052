"""JSON files are read as far as they go, whatever is in them."""

from __future__ import annotations

import gzip
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence.errors import IngestError
from whence.ingest import json_files, loose
from whence.ingest.base import Skipped, Source
from whence.ingest.timeline import Timeline, told

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=25,
)


def written(folder, content, name="a.json"):
    path = folder / name
    path.write_bytes(content)
    return Source(path)


def is_part(part, whole):
    """Whether a value is the beginning of another one, in the order in which it was written."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return list(part) == list(whole)[: len(part)] and all(
            part[key] == whole[key] or (key == list(part)[-1] and is_part(part[key], whole[key]))
            for key in part
        )
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(
            one == other or (place == len(part) - 1 and is_part(one, other))
            for place, (one, other) in enumerate(zip(part, whole, strict=False))
        )
    return part == whole


@given(value=st.lists(VALUES, min_size=1) | st.dictionaries(st.text(), VALUES), data=st.data())
def test_a_document_that_was_cut_gives_its_beginning(value, data, tmp_path_factory):
    """Every value that was whole is there, nothing is made up, and the cut is named."""
    content = json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode()
    end = data.draw(st.integers(1, len(content) - 1))
    source = written(tmp_path_factory.mktemp("cut"), content[:end])

    found, skipped = json_files.document(source)

    assert is_part(found, value)
    assert len(skipped) == 1
    # What ended before the last comma of the outermost level is whole.
    if isinstance(value, list):
        parts = [json.dumps(item) for item in value]
        length, whole = 1, 0
        for part in parts:
            length += len(json.dumps(json.loads(part), ensure_ascii=content.isascii())) + 2
            whole += length <= end
        if content.isascii():
            assert len(found) >= whole


@given(value=VALUES)
def test_a_document_comes_as_it_was_written(value, tmp_path_factory):
    """Nothing is left out."""
    source = written(tmp_path_factory.mktemp("whole"), json.dumps(value).encode())

    assert json_files.document(source) == (value, [])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xef\xbb\xbf[1]", [1]),
        (b"[NaN]", None),
        (b'["\\ud83d"]', ["\ud83d"]),
        (b'["\xff\xfe"]', ["\udcff\udcfe"]),
        (b"[1" + b"0" * 5_000 + b"]", None),
        (b"[1" + b"0" * 400 + b"]", [10**400]),
    ],
)
def test_what_python_writes_is_read(content, expected, tmp_path):
    """Also where it is not JSON: not-a-numbers, half surrogates, integers of any length."""
    found, skipped = json_files.document(written(tmp_path, content))

    assert skipped == []
    if expected is not None:
        assert found == expected
    elif content == b"[NaN]":
        assert math.isnan(found[0])
    else:
        assert found == ["1" + "0" * 5_000]


@pytest.mark.parametrize("content", [b"", b"hello", b"}", b'"no end', b"\x00\xff"])
def test_what_is_no_json_at_all_is_refused(content, tmp_path):
    """With the name of the file."""
    with pytest.raises(IngestError, match=r"a\.json is not JSON"):
        json_files.document(written(tmp_path, content))


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
def test_what_is_nested_too_deeply_is_refused(content, tmp_path):
    """Whether it ends or not."""
    with pytest.raises(IngestError):
        json_files.document(written(tmp_path, content))


def test_damage_in_the_middle_loses_what_is_behind_it(tmp_path):
    """What is before it is there, and the place is named."""
    found, skipped = json_files.document(written(tmp_path, b'{"a": [1, 2}, "b": 3}'))

    assert found == {"a": [1]}
    assert "character 11" in skipped[0].where


def test_a_document_longer_than_the_limit_is_refused(tmp_path):
    """Also one that is small as long as it is packed."""
    packed = gzip.compress(bytes(json_files.MAX_DOCUMENT_BYTES + 1))

    with pytest.raises(IngestError, match="longer than 256 MiB"):
        json_files.document(written(tmp_path, packed))


def test_lines_that_are_no_objects_are_named(tmp_path):
    """With their numbers, blank lines counted."""
    source = written(tmp_path, b'{"a": 1}\n\n[1]\n{"b"\n{"c": 3}\n' + b"[" * 100_000)

    found = list(json_files.iter_objects(source))

    assert [one for one in found if not isinstance(one, Skipped)] == [(1, {"a": 1}), (5, {"c": 3})]
    assert [one.where.rpartition(":")[2] for one in found if isinstance(one, Skipped)] == [
        "3",
        "4",
        "6",
    ]


@pytest.mark.parametrize(
    ("content", "is_list", "keys"),
    [
        (b'  {"a": {"x": 1}, "b": [{"y": 2}], "c": "z\\": 3', False, {"a", "b", "c"}),
        (b'[{"a": 1, "b": {"x": 2}}, {"c": 3}]', True, {"a", "b"}),
        (b'{"a": 1}\n{"b": 2}', False, {"a"}),
        (b"[1, 2]", True, set()),
        (b'"text"', False, set()),
        (b"", False, set()),
        (b"\x89PNG{", False, set()),
    ],
)
def test_a_file_is_recognized_by_the_keys_of_its_first_object(content, is_list, keys, tmp_path):
    """Those inside of it do not count."""
    begins = json_files.peek(written(tmp_path, content))

    assert (begins.is_list, set(begins.keys)) == (is_list, keys)


@given(value=VALUES)
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(value):
    """Nor on how the JSON was laid out."""
    turned = json.loads(json.dumps(value), object_pairs_hook=lambda pairs: dict(reversed(pairs)))

    assert json_files.fingerprint(turned) == json_files.fingerprint(value)


def test_a_fingerprint_tells_values_apart():
    """A number is not its text, a list not its only item."""
    values = [1, "1", [1], {"1": 1}, None, "", "\ud83d", 1.5, True]

    assert len({json_files.fingerprint(value) for value in values}) == len(values)


@given(value=VALUES | st.just(float("inf")) | st.just(float("nan")) | st.just(2**70))
def test_parts_of_other_types_are_nothing(value):
    """No function raises, and each gives only what it promises."""
    assert isinstance(loose.mapping(value), dict)
    assert isinstance(loose.sequence(value), list)
    assert all(isinstance(item, dict) for item in loose.mappings(value))
    assert isinstance(loose.first(value), dict)
    assert loose.text(value) is None or (isinstance(value, str) and value)
    assert loose.name(value) is None or isinstance(loose.name(value), str)
    number, count = loose.number(value), loose.count(value)
    assert number is None or math.isfinite(number)
    assert count is None or 0 <= count <= 2**53
    for found in (loose.time_ns(value), loose.length_ns(value)):
        assert found is None or 0 <= found < 2**63


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-08-16T18:58:24.010283", 1723834704010283000),
        ("2025-05-12T20:28:13-04:00", 1747096093000000000),
        (1734380806, 1734380806000000000),
        (1740823201.5, 1740823201500000000),
        ("yesterday", None),
        ("9999-12-31T00:00:00Z", None),
        ("1815-12-10", None),
        (-5, None),
        (1e300, None),
        (True, None),
        (None, None),
    ],
)
def test_times_are_those_of_a_calendar(value, expected):
    """A time without an offset is UTC, a number is seconds."""
    assert loose.time_ns(value) == expected


@given(times=st.lists(st.none() | st.integers(0, 5_000), max_size=30))
def test_things_that_come_later_have_later_times(times):
    """Whether their times are stated, equal, or not known, as long as none lies before another."""
    line = Timeline("a" * 32)
    latest, made = 0, []
    for stated in times:
        latest = max(latest, stated or 0)
        made.append(line.at(None if stated is None else latest))

    assert made == sorted(set(made))


def test_a_time_before_the_last_one_is_taken_as_it_is():
    """As the events of parallel branches have it."""
    line = Timeline("a" * 32)
    line.at(5_000_000_000)

    assert line.at(1_000_000_000).endswith("01.000000000Z")
    assert line.at(5_000_000_000).endswith("05.000001000Z")


@pytest.mark.parametrize(
    ("given_to", "expected"),
    [
        ({"command": "ls", "content": "x"}, "Bash: ls"),
        ({"file_path": "a.py"}, "Bash: a.py"),
        ("ls -l", "Bash: ls -l"),
        ({"command": 3}, "Bash"),
        (None, "Bash"),
    ],
)
def test_a_call_is_told_by_what_it_does(given_to, expected):
    """The most telling of its arguments stands for it."""
    assert told("Bash", given_to) == expected
