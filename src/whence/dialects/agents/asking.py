"""Questions about the sessions of this process's home, for programs that record into it.

`SessionQueries` knows nothing of recording, so that whoever only reads needs nothing of it; here
the home that `whence.configure` named takes the place of the default one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.dialects.agents.queries import SessionQueries
from whence.dialects.shared import home

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from whence.query.reader import Reader


class ProvenanceQueries(SessionQueries):
    """An open set of sessions to ask about. Use it with `with`.

    Args:
        source: A reader, or a path: of a home, of a provenance folder or a project that has one, or
            of a DuckDB database with the six tables. None for the home of this process.
        folders: Several folders of sessions, together.

    Raises:
        StoreError: There is no such home or database.
        IngestError: There are no sessions in a folder.
        MissingExtraError: DuckDB, or for folders PyYAML, is not installed.
    """

    def __init__(
        self,
        source: Reader | str | os.PathLike[str] | None = None,
        *,
        folders: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        if source is not None or folders:
            super().__init__(source, folders=folders)
            return
        # The tables are files of their own from then on, so the reader is free again at once.
        with home.reading() as reader:
            super().__init__(reader)
