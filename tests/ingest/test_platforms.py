"""What holds for every importer of exports of platforms, whatever its format."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oddparts import places, put
from platformdata import FILES, TRACE, made
from trajectorydata import document

import whence
from whence.ingest import registry
from whence.ingest.base import Source
from whence.ingest.importer import import_paths
from whence.log import doctor
from whence.log.home import Home

FORMATS = sorted(FILES)
ODD = st.sampled_from(
    [
        None,
        False,
        -1,
        2**80,
        1e308,
        float("inf"),
        "",
        "\udcff",
        "../../etc/passwd",
        "<img src=x onerror=alert(1)>",
        "'; DROP TABLE runs; --",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        [],
        {},
        ["", None, {}],
        {"$whence": "blob", "sha256": "x"},
        {"role": ["user"], "content": {}},
    ]
)


def plain(path):
    """Return what a file holds, its lines as a list."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", FORMATS)
def test_its_files_are_recognized(name, tmp_path):
    """By its own format and no other, also when packed, and also as a list."""
    path = made(tmp_path, name)
    packed = tmp_path / f"{path.name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    listed = plain(path) if isinstance(plain(path), list) else [plain(path)]

    for file in (path, packed, document(tmp_path / "listed.json", listed)):
        source = Source(file)
        found = [one.name for one in registry.FORMATS if one.reader.detect(source)]
        first = registry.find_format(source)
        assert first is not None
        assert first.name == name
        # A span of Phoenix is one of an SDK to whoever does not know Phoenix.
        assert set(found) - {"otel-sdk"} == {name}


@pytest.mark.parametrize("name", FORMATS)
def test_every_run_can_be_asked_why(name, home, tmp_path):
    """By its id and by what its own system calls it, and the home is in order."""
    import_paths(home, [made(tmp_path, name)])

    with whence.open(home) as store:
        runs = list(store.runs(limit=None))
        assert runs
        for run in runs:
            assert store.why(run.id).run.id == run.id
            assert store.why(run.external_id or run.id).run.id == run.id
            assert run.name
            assert run.status in {"complete", "failed"}
            assert run.started_ns >= 1767225600 * 10**9 - 18_000 * 10**9
    examined = doctor.examine(Home(home), deep=True)
    assert not [found for found in examined.findings if found.severity != "note"]


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=20)
@given(data=st.data())
def test_odd_parts_are_left_out_or_kept_as_they_are(name, data, tmp_path_factory):
    """A part that is something else neither ends an import nor makes it unrepeatable."""
    folder = tmp_path_factory.mktemp("odd")
    value = plain(made(folder, name))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(list(places(value))))
        value = put(value, place, data.draw(ODD))
    path = document(folder / "odd.json", value)

    first = import_paths(folder / "home", [path], format_name=name)
    second = import_paths(folder / "home", [path], format_name=name)

    assert (second.new, second.already_there) == (0, first.new)
    if first.new:
        with whence.open(folder / "home") as store:
            for run in store.runs(limit=None):
                assert str(store.why(run.id))
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["langfuse", "phoenix", "mlflow"])
def test_traces_of_one_id_are_one_run(name, home, tmp_path):
    """What another platform, or a collector, said of the same trace comes together."""
    import_paths(home, [made(tmp_path, name)])

    with whence.open(home) as store:
        assert [run.id for run in store.runs(limit=None)] == [TRACE]
        run = store.run(TRACE).run
        assert (run.session, run.user) == ("s-1", "ada")
        assert (run.generations, run.tool_calls, run.errors) == (1, 1, 1)
        assert (run.input_tokens, run.output_tokens, run.cost_usd) == (12, 3, 0.003)


def test_two_platforms_that_saw_one_trace_count_a_call_once(home, tmp_path):
    """The ids of the spans are those of the trace, whoever kept it."""
    import_paths(home, [made(tmp_path, "langfuse")])
    report = import_paths(home, [made(tmp_path, "phoenix")])

    with whence.open(home) as store:
        assert store.run(TRACE).run.generations == 1
    assert report.generations == 1
    assert report.already_there >= report.spans
