"""Where information came from, whether it was kept, and if not, why not."""

from __future__ import annotations

from typing import Any

from whence.record.base import Record


class Source(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="source"):
    """A data source or one piece of evidence."""

    source_type: str
    """What sort of source: `web`, `youtube_cache`, `database`."""
    source_key: str
    """Which one: a URL, a cache key, a document id."""
    records_used: int | None = None
    """How many of its records were used."""
    freshness_s: float | None = None
    """Age of the data when used, in seconds."""
    quality: float | None = None
    """How good it was held to be, 0 to 1."""
    scores: dict[str, Any] | None = None
    """Named scores: `relevance`, `credibility`."""
    kept: bool = True
    """Whether it was used; false for dropped evidence."""
    reason: str | None = None
    """Why it was kept or dropped."""
    sample_ids: list[str] | None = None
    """Ids of some of the records used."""
    digest: str | None = None
    """SHA-256 of the content, hex."""
    locator: str | None = None
    """Where in the source: a section, a page, a byte range."""
    title: str | None = None
    """What a person would call it."""
    attributes: dict[str, Any] | None = None
    """Whatever else the user said about it."""
