"""What holds for every importer of agent trajectories, whatever its format."""

from __future__ import annotations

import gzip
import json
import random
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trajectorydata import FILES, document, inspect_log, made

import whence
from whence.ingest import registry
from whence.ingest.base import Source
from whence.ingest.importer import import_paths

FORMATS = sorted(FILES)
PACKED = {"inspect"}
"""Formats whose file here is an archive."""
JUNK = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        2**70,
        1e300,
        float("nan"),
        "",
        "\ud83d",
        "\x00\x1b[31m",
        "2024-99-99",
        "9" * 50,
        [],
        {},
        [[]],
        [{}],
        [None],
        ["a", "b"],
        {"$whence": "blob"},
        {"a": {"b": [1]}},
    ]
)


def spoiled(value, draw, chance):
    """Return a JSON value in which parts became something else or are gone."""
    if draw(st.integers(0, chance)) == 0:
        return draw(JUNK)
    if isinstance(value, dict):
        return {k: spoiled(v, draw, chance) for k, v in value.items() if draw(st.integers(0, 40))}
    if isinstance(value, list):
        return [spoiled(item, draw, chance) for item in value]
    return value


@pytest.mark.parametrize("name", FORMATS)
def test_its_files_are_recognized(name, tmp_path):
    """By its own format and by no other, also when they are packed or called something else."""
    path = made(tmp_path, name)
    packed = tmp_path / f"{path.name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))

    recognized = [one.name for one in registry.FORMATS if not one.is_folder]
    recognized = [one for one in recognized if registry.get_format(one).reader.detect(Source(path))]
    found = registry.find_format(Source(path))

    assert recognized == [name]
    assert found is not None
    if name not in PACKED:
        again = registry.find_format(Source(packed))
        assert again is not None
        assert again.name == name


@pytest.mark.parametrize("name", FORMATS)
def test_records_are_in_the_order_of_the_source(name, home, tmp_path):
    """No record of a run is before its start, and none has the time of another."""
    import_paths(home, [made(tmp_path, name)])

    with whence.open(home) as store:
        for run in store.runs(limit=None):
            tree = store.run(run.id)
            times = [record.ts_ns for record in tree.iter_records()]
            assert times == sorted(times)
            assert len(set(times)) == len(times)
            assert all(time >= run.started_ns for time in times)


@pytest.mark.parametrize("name", FORMATS)
def test_every_run_can_be_asked_why(name, home, tmp_path):
    """By its id and by what its own system calls it; every span has an end that was told."""
    import_paths(home, [made(tmp_path, name)])

    with whence.open(home) as store:
        for run in store.runs(limit=None):
            why = store.why(run.external_id or run.id)
            assert why.run.id == run.id
            assert str(why)
            assert "incomplete" not in str(store.run(run.id))


@pytest.mark.parametrize("name", sorted(set(FORMATS) - PACKED))
def test_a_packed_file_that_was_cut_gives_what_it_has(name, tmp_path):
    """As a file does that is not packed."""
    path = made(tmp_path, name)
    # Bytes that do not compress, so that the end of the file is not all of it.
    noise = random.Random(1).randbytes(200_000).hex()  # noqa: S311 - no secret
    packed = gzip.compress(path.read_bytes().rstrip() + b"\n" + json.dumps({"x": noise}).encode())
    cut = tmp_path / f"{path.name}.gz"
    cut.write_bytes(packed[: len(packed) // 2])

    report = import_paths(tmp_path / "home", [cut], format_name=name)

    assert report.new > 0
    assert report.skipped


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_parts_of_other_types_are_left_out_or_kept_as_they_are(name, data, tmp_path_factory):
    """A field that is something else neither ends an import nor makes it unrepeatable."""
    folder = tmp_path_factory.mktemp("spoiled")
    path = document(folder / "a.json", inspect_log()) if name in PACKED else made(folder, name)
    chance = data.draw(st.sampled_from([10, 40, 200]))
    if path.suffix == ".jsonl":
        found = [json.loads(line) for line in path.read_text().splitlines()]
        changed = [json.dumps(spoiled(one, data.draw, chance)) for one in found]
        path.write_text("\n".join(changed))
    else:
        path.write_text(json.dumps(spoiled(json.loads(path.read_text()), data.draw, chance)))

    first = import_paths(folder / "home", [path], format_name=name)
    second = import_paths(folder / "home", [path], format_name=name)

    assert (second.new, second.already_there) == (0, first.new)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_forced_on_a_folder_leaves_the_others_alone(name, home, tmp_path):
    """Every file of the folder is tried, and those of other formats are named."""
    for one in FORMATS:
        made(tmp_path, one)

    report = import_paths(home, [tmp_path], format_name=name)

    assert report.new > 0
    assert len({skipped.where for skipped in report.skipped}) >= len(FORMATS) - 2
