"""Which history of traces holds now: the home itself, or the database that `configure` named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.dialects.research import embedded, postgres, settings

if TYPE_CHECKING:
    from whence.dialects.research.history import History


def get_history() -> History:
    """Return where rows are kept now.

    Raises:
        MissingExtraError: What it takes to ask there is not installed.
    """
    held = settings.current()
    if held.postgres is None:
        return embedded.EmbeddedHistory()
    return postgres.get_history(held.postgres, held.connect_timeout_s)
