"""The code of the requirement documents, where they are at hand beside the project."""

from __future__ import annotations

import re
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def find_document(number: int) -> Path | None:
    """Return the requirement document of that number; None if it is not here."""
    for folder in Path(__file__).resolve().parents:
        found = sorted((folder / "shared" / "requirements").glob(f"{number}-*.md"))
        if found:
            return found[0]
    return None


def blocks(path: Path, language: str) -> list[str]:
    """Return the code blocks of a page in that language, in order."""
    return [code for kind, code in _FENCE.findall(path.read_text("utf-8")) if kind == language]
