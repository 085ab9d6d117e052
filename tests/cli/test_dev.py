"""`dev.py` offers what a fresh clone needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DEV = Path(__file__).resolve().parents[2] / "dev.py"


@pytest.mark.parametrize("command", ["demo", "test", "serve", "bench", "lint"])
def test_each_command_is_offered_and_documented(command):
    """In the help, and where contributors or users read."""
    said = subprocess.run(
        [sys.executable, str(DEV), "--help"], capture_output=True, text=True, check=True
    ).stdout
    pages = [DEV.with_name(name).read_text() for name in ("README.md", "CONTRIBUTING.md")]

    assert f"\n  {command} " in said
    assert any(f"python3 dev.py {command}" in page for page in pages)
