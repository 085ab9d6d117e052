"""Reads JSON that may have any form: what is not of the expected type is as good as absent.

Answers of providers and attributes that anybody may have written are read through these, so that
nothing in them can raise.
"""

from __future__ import annotations

from typing import Any, cast


def as_dict(value: Any) -> dict[str, Any]:
    """Return an object; an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return a list; an empty one for anything else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def as_text(value: Any) -> str | None:
    """Return a text; None for anything else."""
    return value if isinstance(value, str) else None


def as_texts(value: Any) -> list[str]:
    """Return the items of a list as texts; none for anything else."""
    return [str(item) for item in as_list(value)]
