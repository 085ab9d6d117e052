"""A file that is replaced is the old one or the new one, whoever writes and reads it at once."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from whence.exports import sessionfolders
from whence.log.replacing import replace, replacing, writing


def test_many_threads_that_replace_one_file_all_succeed_and_one_of_them_stands(tmp_path: Path):
    """Nobody takes away the file that another is writing beside the place."""
    path = tmp_path / "schema.json"
    contents = [bytes([65 + n]) * 20_000 for n in range(16)]
    ready = threading.Barrier(16)

    def write(content: bytes) -> None:
        ready.wait()
        for _ in range(30):
            replace(path, content)
            assert path.read_bytes() in contents

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, contents))

    assert path.read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["schema.json"]


def test_a_provenance_folder_can_be_prepared_by_many_threads_at_once(tmp_path: Path):
    """Sessions that start together find it whole, each of them."""
    ready = threading.Barrier(16)

    def prepare(_: int) -> None:
        ready.wait()
        sessionfolders.prepare(tmp_path / "provenance")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(prepare, range(16)))

    assert list((tmp_path / "provenance").rglob("*.tmp")) == []
    assert (tmp_path / "provenance" / "metadata-schema.json").stat().st_size > 0


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_an_error_in_the_block_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, error: BaseException
):
    """An interrupt is an error like any other here."""
    path = tmp_path / "catalog.json"
    path.write_bytes(b"old")

    def write() -> None:
        with replacing(path, sync=True) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write()

    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_of_the_greatest_length_can_be_replaced(tmp_path: Path):
    """The name beside it is not longer still."""
    path = tmp_path / ("n" * 255)

    replace(path, b"whole", mode=0o640)

    assert path.read_bytes() == b"whole"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_in_a_folder_of_somebody_else_is_replaced_and_not_followed(tmp_path: Path):
    """Whoever made the folder does not choose which of the user's files is written over."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    link = tmp_path / "summary.md"
    link.symlink_to(precious)

    replace(link, b"summary")

    assert precious.read_bytes() == b"mine"
    assert link.read_bytes() == b"summary"
    assert not link.is_symlink()


def test_a_link_that_the_user_names_stays_and_leads_to_the_new_content(tmp_path: Path):
    """As with any program that writes to a path it was given."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)

    with writing(link) as file:
        file.write(b"new")

    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_pipe_that_the_user_names_is_written_to_and_stays_a_pipe(tmp_path: Path):
    """`--to /dev/stdout` prints, and does not put a file in its place."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()

    with writing(pipe) as file:
        file.write(b"through")
    reader.join()

    assert got == [b"through"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("write", [replacing, writing])
def test_an_error_names_the_place_and_not_the_file_beside_it(tmp_path: Path, write):
    """Whether the folder is missing, is none, or the place is a folder itself."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    places = [tmp_path / "nowhere" / "r.md", tmp_path / "file" / "r.md"]
    for place in [*places, *([tmp_path / "folder"] if write is replacing else [])]:
        with pytest.raises(OSError, match=place.name) as caught, write(place) as file:
            file.write(b"new")
        assert caught.value.filename == str(place)
        assert ".tmp" not in str(caught.value)
    assert list(tmp_path.glob("**/*.tmp")) == []
