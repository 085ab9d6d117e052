"""What holds for every importer of one file, be it of trajectories or of a platform's exports."""

from __future__ import annotations

import shutil

import platformdata
import pytest
import trajectorydata
from otlpdata import contents

from whence.ingest.importer import import_paths

MAKERS = {
    **dict.fromkeys(trajectorydata.FILES, trajectorydata.made),
    **dict.fromkeys(platformdata.FILES, platformdata.made),
}
FORMATS = sorted(MAKERS)


def made(folder, name):
    """Return a file of a format."""
    return MAKERS[name](folder, name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_second_import_changes_nothing(name, home, tmp_path):
    """Also of a copy elsewhere: the report says the same, and nothing new is written."""
    path = made(tmp_path, name)
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(path, tmp_path / "elsewhere")

    first = import_paths(home, [path])
    before = contents(home)
    again = [import_paths(home, [one]) for one in (path, copy)]

    assert first.format == name
    assert first.new > 0
    assert first.skipped == []
    assert [(one.new, one.already_there) for one in again] == [(0, first.new)] * 2
    assert contents(home) == before


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_was_cut_gives_what_it_has(name, tmp_path):
    """Wherever it ends, the import ends with a report, and what was before the cut is there."""
    path = made(tmp_path, name)
    content = path.read_bytes()
    whole = import_paths(tmp_path / "home", [path])
    found = []
    for place in range(0, len(content), max(1, len(content) // 30)):
        cut = tmp_path / f"cut{place}" / path.name
        cut.parent.mkdir()
        cut.write_bytes(content[:place])

        report = import_paths(tmp_path / f"home{place}", [cut], format_name=name)

        assert report.skipped or report.new == 0 or content[:place].endswith(b"\n")
        found.append(report.new)
    assert max(found) > whole.new / 2


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x00\xff\xfe\x89PNG", id="binary"),
        pytest.param(b"PAR1 and no more", id="no parquet"),
        pytest.param(b"[" * 200_000, id="deep list"),
        pytest.param(b'{"data":' * 100_000, id="deep object"),
        pytest.param(b'[{"x": ' + b"9" * 100_000 + b"}]", id="huge number"),
        pytest.param(b"[1, 2, null]", id="no objects"),
        pytest.param(b'"text"', id="text"),
        pytest.param(b"{}", id="nothing in it"),
    ],
)
def test_what_is_of_no_format_is_refused_with_a_reason(name, content, home, tmp_path):
    """Read as a format by force, it ends with a report that names it."""
    path = tmp_path / "what"
    path.write_bytes(content)

    report = import_paths(home, [path], format_name=name)

    assert report.generations == 0
    assert report.skipped or not content
    assert all(str(path) in skipped.where for skipped in report.skipped)
    if name in platformdata.FILES:
        assert report.runs == 0
