"""Rows that are very wide go to several files of one part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import whence
from whence.log.home import Home
from whence.store import compactor

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def record_calls(home: Path, count: int) -> list[str]:
    """Record model calls of 4 KB and return their ids, latest first."""
    whence.configure(home)
    ids: list[str] = []
    for number in range(count):
        with whence.run("wide"):
            ids.append(
                whence.current_run().record_generation(
                    model=f"m{number % 3}", output=f"{number:04d}" * 1000
                )
            )
    whence.flush()
    whence.configure(home)
    return ids[::-1]


def test_wide_rows_are_split_and_listed_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every page over the files of one part has each row once, in order, with its content."""
    monkeypatch.setattr(compactor, "CHUNK_BYTES", 64 << 10)
    ids = record_calls(tmp_path, 100)
    compactor.compact(Home(tmp_path))
    files = sorted(path.name for path in (tmp_path / "archive").glob("generations-*.parquet"))
    assert len(files) > 3
    with whence.open(tmp_path) as store:
        seen: list[str] = []
        after = None
        while True:
            page = store.generations(limit=7, after=after)
            seen += [row.id for row in page.items]
            assert all(row.output == row.output[:4] * 1000 for row in page.items)
            after = page.next
            if after is None:
                break
        assert seen == ids
        assert len(store.generations('model = "m1"', limit=200).items) == 33


def test_a_merge_splits_what_it_merges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches merged into one keep every row, in files of the same width."""
    monkeypatch.setattr(compactor, "CHUNK_BYTES", 64 << 10)
    monkeypatch.setattr(compactor, "MERGE_AT", 3)
    ids: list[str] = []
    for _ in range(4):
        ids = record_calls(tmp_path, 30) + ids
        compactor.compact(Home(tmp_path))
    with whence.open(tmp_path) as store:
        assert [row.id for row in store.generations(limit=500).items] == ids
