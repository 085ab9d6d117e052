"""ZIP archives are read within limits, and without their directory if it is missing."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib

import pytest
import zstandard

from whence.ingest import archive
from whence.ingest.base import Skipped

FILES = {
    "one.json": b'{"a": 1}' * 50,
    "two.json": random.Random(2).randbytes(5_000),  # noqa: S311 - no secret
    "three.txt": b"three",
    "folder/four.json": b"4" * 100_000,
}


def zipped(files=FILES, method=zipfile.ZIP_DEFLATED, *, streamed=False):
    """Return an archive; `streamed` as one that is written to a pipe, sizes behind the files."""
    held = io.BytesIO()
    target = Pipe(held) if streamed else held
    with zipfile.ZipFile(target, "w", method) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return held.getvalue()


class Pipe(io.RawIOBase):
    """Something that can be written to but not gone back in."""

    def __init__(self, held):
        self.held = held

    def writable(self):
        return True

    def seekable(self):
        return False

    def write(self, content):
        return self.held.write(content)


def read(folder, content, wanted=lambda _: True):
    path = folder / "a.zip"
    path.write_bytes(content)
    found = list(archive.iter_files(path, "a.zip", wanted))
    files = dict(one for one in found if not isinstance(one, Skipped))
    return files, [one for one in found if isinstance(one, Skipped)]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_files_are_unpacked(method, tmp_path):
    """Those that are wanted, by whatever the standard library knows."""
    files, skipped = read(tmp_path, zipped(method=method), lambda name: name.endswith(".json"))

    assert files == {k: v for k, v in FILES.items() if k != "three.txt"}
    assert skipped == []


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_without_its_directory_an_archive_gives_its_files(method, streamed, tmp_path):
    """Up to the first one of which nobody says where it ends."""
    content = zipped(method=method, streamed=streamed)

    files, skipped = read(tmp_path, content[: content.index(b"PK\x01\x02")])

    known = {} if streamed and method == zipfile.ZIP_STORED else FILES
    assert files == known
    assert "directory is damaged" in skipped[0].why
    assert len(skipped) == (1 if known else 2)


@pytest.mark.parametrize("streamed", [False, True])
def test_wherever_an_archive_was_cut_the_files_before_are_there(streamed, tmp_path):
    """And what is there is as it was."""
    content = zipped(streamed=streamed)
    counts = []
    for end in range(0, len(content), 211):
        files, skipped = read(tmp_path, content[:end])
        assert files.items() <= FILES.items()
        assert skipped
        counts.append(len(files))

    assert counts == sorted(counts)
    assert counts[-1] == len(FILES)


def test_any_damage_is_survived(tmp_path):
    """A byte that is something else costs some files at most."""
    content = zipped()
    rng = random.Random(3)  # noqa: S311 - no secret
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 4))):
            damaged[rng.randrange(len(content))] = rng.randrange(256)
        files, _ = read(tmp_path, bytes(damaged))
        assert len(files) <= len(FILES) + 1


@pytest.mark.parametrize("whole", [True, False])
def test_a_file_that_unpacks_to_too_much_is_left_out(whole, tmp_path):
    """With the directory the others are read; without it nobody knows where they are."""
    bomb = {"bomb": bytes(archive.MAX_FILE_BYTES + 1), "good": b"good"}
    content = zipped(bomb)

    files, skipped = read(tmp_path, content if whole else content[: content.rindex(b"PK\x01\x02")])

    assert files == ({"good": b"good"} if whole else {})
    assert skipped


def test_what_repeats_itself_as_conversations_do_is_no_bomb(tmp_path):
    """Forty megabytes of the same messages are believed."""
    rng = random.Random(4)  # noqa: S311 - no secret
    messages = [rng.randbytes(2_000).hex().encode() for _ in range(5)]
    content = b"".join(messages * 2_000)

    files, skipped = read(tmp_path, zipped({"a": content}))

    assert (files, skipped) == ({"a": content}, [])


def test_what_cannot_be_unpacked_is_named(tmp_path):
    """What is encrypted, and what is packed in a way that nobody knows."""
    content = bytearray(zipped({"a": b"a" * 100, "b": b"b" * 100, "c": b"c" * 100}))
    for name, place, value in ((b"a", 8, 1), (b"b", 10, 93)):
        for sign, extra in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
            at = -1
            while True:
                at = content.index(sign, at + 1)
                length = 30 if not extra else 46
                if content[at + length : at + length + 1] == name:
                    break
            struct.pack_into("<H", content, at + place + extra - 2, value)

    files, skipped = read(tmp_path, bytes(content))

    assert files == {"c": b"c" * 100}
    assert [one.where for one in skipped] == ["a.zip, a", "a.zip, b"]


def test_what_is_no_archive_has_no_files(tmp_path):
    """Whatever it begins with."""
    for content in (b"", b"hello", b"PK\x03\x04", b"PK\x05\x06" + bytes(18)):
        files, _ = read(tmp_path, content)
        assert files == {}


def test_what_zstandard_packed_is_unpacked(tmp_path):
    """As newer logs of Inspect are packed; also where the directory is missing."""
    names = {name: zstandard.compress(content) for name, content in FILES.items()}
    plain = {name: (len(c), zlib.crc32(c)) for name, c in FILES.items()}
    content = relabelled(zipped(names, zipfile.ZIP_STORED), plain)

    files, skipped = read(tmp_path, content)
    assert (files, skipped) == (FILES, [])

    files, skipped = read(tmp_path, content[: content.index(b"PK\x01\x02")])
    assert files == FILES
    assert "directory is damaged" in skipped[0].why


def test_what_zstandard_packed_and_somebody_damaged_is_refused(tmp_path):
    """Told file by file, and the others are read."""
    (whole, content), *_ = FILES.items()
    names = {whole: zstandard.compress(content), "b.json": b"not packed at all"}
    plain = {name: (9, zlib.crc32(content)) for name in names}

    files, skipped = read(tmp_path, relabelled(zipped(names, zipfile.ZIP_STORED), plain))

    assert files == {whole: content}
    assert "b.json" in skipped[0].where


def test_a_bomb_that_zstandard_packed_is_left_alone(tmp_path):
    """What it would unpack to is never held."""
    bomb = zstandard.compress(bytes(archive.MAX_FILE_BYTES + 1))
    content = relabelled(zipped({"b.json": bomb}, zipfile.ZIP_STORED), {"b.json": (9, 0)})

    files, skipped = read(tmp_path, content)

    assert files == {}
    assert "b.json" in skipped[0].where


def relabelled(content, plain):
    """Return an archive of stored files as one that says it is packed with Zstandard."""
    made = bytearray(content)
    for sign, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = made.find(sign)
        while place >= 0:
            name_at = place + (30 if at == 8 else 46)
            (length,) = struct.unpack_from("<H", made, place + (26 if at == 8 else 28))
            size, checksum = plain[made[name_at : name_at + length].decode()]
            struct.pack_into("<H", made, place + at, 93)
            struct.pack_into("<I", made, place + at + 6, checksum)
            struct.pack_into("<I", made, place + at + 14, size)
            place = made.find(sign, place + 1)
    return bytes(made)
