"""The folders of one home, and nothing about what is in them.

<home>/log/YYYY-MM-DD/<writer>.<n>.jsonl    segments
<home>/hot/YYYY-MM-DD.<writer>.<n>          empty: this segment is not archived yet
<home>/blobs/ab/<sha256>                    large and binary values
<home>/archive/CATALOG.json, *.parquet      what the compactor made of finished segments
"""

from __future__ import annotations

from pathlib import Path

import msgspec


class Home(msgspec.Struct, frozen=True):
    """Paths inside one home folder."""

    root: Path
    """The home itself."""

    @property
    def log(self) -> Path:
        """Folder of the segments, one sub-folder a day."""
        return self.root / "log"

    @property
    def hot(self) -> Path:
        """Folder of markers of segments that are not archived."""
        return self.root / "hot"

    @property
    def blobs(self) -> Path:
        """Folder of large and binary values."""
        return self.root / "blobs"

    @property
    def archive(self) -> Path:
        """Folder of the archive's parts and its catalog."""
        return self.root / "archive"

    @property
    def catalog(self) -> Path:
        """The file whose rename commits a change of the archive."""
        return self.archive / "CATALOG.json"

    @property
    def lock(self) -> Path:
        """The file that whoever changes the archive holds a lock on."""
        return self.archive / ".lock"
