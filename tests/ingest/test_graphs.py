"""What holds for every importer of graphs of provenance, whatever its syntax."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest
from graphdata import FILES, made, written
from hypothesis import given, settings
from hypothesis import strategies as st
from oddparts import places, put
from otlpdata import contents
from trajectorydata import expected

import whence
from whence.ingest import registry
from whence.ingest.base import Source
from whence.ingest.importer import import_paths
from whence.log import doctor
from whence.log.home import Home

NAMES = sorted(FILES)
JSON = [name for name in NAMES if name != "prov-xml"]
ODD = st.sampled_from(
    [
        None,
        False,
        -1,
        2**80,
        float("nan"),
        "",
        "\udcff",
        "../../etc/passwd",
        "<img src=x onerror=alert(1)>",
        "http://[::1",
        "ex:chart",
        "#run",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        [],
        {},
        ["", None, {}, ["ex:chart"]],
        {"$": None, "type": 3},
        {"@id": "#draw"},
        {"$whence": "blob", "sha256": "x"},
        "y" * 70_000,
    ]
)


def in_order(home):
    """Whether a home has no fault, and every run can be asked why and shown."""
    examined = doctor.examine(Home(home), deep=True)
    assert not [found for found in examined.findings if found.severity != "note"]
    with whence.open(home) as store:
        for run in store.runs(limit=None):
            assert str(store.why(run.id))
            assert str(store.run(run.id))
            assert str(store.lineage(run.id))


@pytest.mark.parametrize("what", NAMES)
def test_its_files_are_recognized(what, tmp_path):
    """By its own format and no other, also when packed or called something else."""
    name, path = made(tmp_path, what)
    packed = tmp_path / f"{path.name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    other = shutil.copy(path, tmp_path / "else")

    for file in (path, packed, other):
        files = [one for one in registry.FORMATS if not one.is_folder]
        assert [one.name for one in files if one.reader.detect(Source(file))] == [name]


@pytest.mark.parametrize("what", NAMES)
def test_a_second_import_changes_nothing(what, home, tmp_path):
    """Also of a copy elsewhere under another name, and of the same file packed."""
    name, path = made(tmp_path, what)
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(path, tmp_path / "elsewhere" / "copy")
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))

    first = import_paths(home, [path])
    before = contents(home)
    again = [import_paths(home, [one]) for one in (path, copy, packed)]

    assert first.format == name
    assert first.new > 0
    assert first.skipped == []
    assert [(one.new, one.already_there) for one in again] == [(0, first.new)] * 3
    assert contents(home) == before
    in_order(home)


@pytest.mark.parametrize("what", NAMES)
def test_the_order_of_a_document_is_not_the_order_of_things(what, home, tmp_path):
    """An output comes after what it was made from, and no record is before its run."""
    import_paths(home, [made(tmp_path, what)[1]])

    with whence.open(home) as store:
        moments = {row.id: row.ts_ns for row in store.rows("outputs", limit=None)}
        moments |= {row.output_id: row.ts_ns for row in store.rows("outputs", limit=None)}
        spans = {row.id: row for row in store.rows("spans", limit=None)}
        checked = 0
        for link in store.rows("links", "kind = 'used' or kind = 'generated'", limit=None):
            if link.kind == "generated" and link.source in spans and link.target in moments:
                assert spans[link.source].started_ns <= moments[link.target]
                checked += 1
            if link.kind == "used" and link.source in moments and link.target in spans:
                assert moments[link.source] <= spans[link.target].ended_ns
                checked += 1
        assert checked
        for run in store.runs(limit=None):
            assert all(one.ts_ns >= run.started_ns for one in store.run(run.id).iter_records())


@pytest.mark.parametrize("what", NAMES)
def test_a_file_that_was_cut_gives_what_it_has(what, tmp_path):
    """Wherever it ends, the import ends with a report, and what was before the cut is there."""
    name, path = made(tmp_path, what)
    content = path.read_bytes().rstrip()
    whole = import_paths(tmp_path / "home", [path])
    found = []
    for place in range(0, len(content), max(1, len(content) // 40)):
        cut = tmp_path / f"cut{place}" / path.name
        cut.parent.mkdir()
        cut.write_bytes(content[:place])

        report = import_paths(tmp_path / f"home{place}", [cut], format_name=name)

        assert report.skipped
        assert all(str(cut) in one.where for one in report.skipped)
        found.append(report.new)
    assert max(found) > whole.new / 2


@pytest.mark.parametrize("what", JSON)
@settings(max_examples=15)
@given(data=st.data())
def test_odd_parts_are_left_out_or_kept_as_they_are(what, data, tmp_path_factory):
    """A part that is something else neither ends an import nor makes it unrepeatable."""
    folder = tmp_path_factory.mktemp("odd")
    name, path = made(folder, what)
    value = json.loads(path.read_text())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.sampled_from(list(places(value))))
        value = put(value, place, data.draw(ODD))
    path = written(folder / "odd.json", value)

    first = import_paths(folder / "home", [path], format_name=name)
    second = import_paths(folder / "home", [path], format_name=name)

    assert (second.new, second.already_there) == (0, first.new)
    assert first.runs or first.skipped
    if first.new:
        in_order(folder / "home")
    shutil.rmtree(folder)


@given(data=st.data())
def test_elements_that_are_torn_end_the_document_with_a_word(data, tmp_path_factory):
    """Whatever stands in the place of some of its bytes, nothing breaks and nothing is hidden."""
    folder = tmp_path_factory.mktemp("torn")
    name, path = made(folder, "prov-xml")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    path.write_bytes(content)

    first = import_paths(folder / "home", [path], format_name=name)
    second = import_paths(folder / "home", [path], format_name=name)

    assert (second.new, second.already_there) == (0, first.new)
    assert first.runs or first.skipped
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["prov", "ro-crate"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x00\xff\xfe\x89PNG", id="binary"),
        pytest.param(b"[" * 200_000, id="deep list"),
        pytest.param(b'{"entity":' * 100_000, id="deep object"),
        pytest.param(b'{"@graph":' * 100_000, id="deep graph"),
        pytest.param(b"<a>" * 200_000, id="deep elements"),
        pytest.param(b"<html><body>prov:document</body></html>", id="another root"),
        pytest.param(b"<?xml version='1.0' encoding='x-none'?><document/>", id="an encoding"),
        pytest.param(b"[1, 2, null]", id="a list"),
        pytest.param(b'{"@graph": {}, "entity": 1}', id="no lists and objects"),
        pytest.param(b'"text"', id="text"),
        pytest.param(b"{}", id="nothing in it"),
        pytest.param(b'{"entity": {"ex:caf\xe9": {}}, "@graph": []}', id="no UTF-8"),
        pytest.param(b'{"entity": {"ex:e": {},}, "@graph": [],}', id="no JSON in its middle"),
    ],
)
def test_what_is_no_graph_is_refused_with_a_reason(name, content, home, tmp_path):
    """Read as a format by force, it ends with a report that names it, and nothing is imported."""
    path = tmp_path / "what"
    path.write_bytes(content)

    report = import_paths(home, [path], format_name=name)

    assert (report.runs, report.new) == (0, 0)
    assert report.skipped
    assert all(str(path) in skipped.where for skipped in report.skipped)


@pytest.mark.parametrize("what", JSON)
def test_a_key_that_stands_twice_is_named(what, home, tmp_path):
    """The last one counts, as for every reader of JSON, and the report says that one was lost."""
    name, path = made(tmp_path, what)
    text = path.read_text()
    sign = '"entity": {' if name == "prov" else '"@graph": ['
    path.write_text(text.replace(sign, f'"twice": 1, "twice": 2, {sign}', 1))

    report = import_paths(home, [path])

    assert [one.why for one in report.skipped] == [
        "the key 'twice' stands twice in an object; the last counts"
    ]
    assert report.runs == import_paths(tmp_path / "other", [made(tmp_path / "o", what)[1]]).runs


def test_names_of_any_length_and_alphabet_stay_tied(home, tmp_path):
    """A name of a megabyte, of control signs or of half surrogates is data like any other."""
    long, odd = "y" * 1_000_000, "\x1b[31m\u202e\x00\ud83d"
    document = {
        "prefix": {"ex": "http://example.org/"},
        "entity": {f"ex:{long}": {}, odd: {}},
        "activity": {odd: {}},
        "used": {"_:u": {"prov:activity": odd, "prov:entity": f"ex:{long}"}},
        "wasGeneratedBy": {"_:g": {"prov:activity": odd, "prov:entity": odd}},
    }

    report = import_paths(home, [written(tmp_path / "long.json", document)])

    assert (report.runs, report.spans, report.skipped) == (1, 1, [])
    in_order(home)
    with whence.open(home) as store:
        (output,) = store.rows("outputs", limit=None)
        labels = [node.table for node in store.lineage(output.id).ancestors]
        assert labels == ["spans", "sources"]


@pytest.mark.parametrize("name", ["w3c-prov", "ro-crate"])
def test_a_corpus_twice_in_a_row_changes_nothing(name, home):
    """The second import writes nothing, reports the same and alters no row."""
    folder, _ = expected(name)
    first = import_paths(home, [folder])
    before = contents(home)

    second = import_paths(home, [folder])

    assert (second.new, second.already_there) == (0, first.new)
    assert (second.runs, second.skipped) == (first.runs, first.skipped)
    assert contents(home) == before
