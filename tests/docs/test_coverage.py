"""The page that says which feature is proved by which test names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "coverage.md").read_text("utf-8")


def test_every_test_that_the_page_names_exists() -> None:
    """A row without its test would prove nothing; a name that ends in `_` stands for several."""
    tests = list((ROOT / "tests").rglob("*.py"))
    known = {path.stem for path in tests}
    for path in tests:
        known.update(re.findall(r"def (test_\w+)", path.read_text("utf-8")))
    named = set(re.findall(r"\btest_\w+", PAGE))
    assert len(named) > 200
    missing = [
        name
        for name in named
        if name not in known
        and not (name.endswith("_") and any(one.startswith(name) for one in known))
    ]
    assert missing == []


def test_every_row_names_a_test_or_later_work() -> None:
    """What has no test says so, and says where it will come from."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    assert len(rows) > 150
    unproved = [
        row for row in rows if not re.search(r"\btest|later work|see its rows|same|as above", row)
    ]
    assert unproved == []
