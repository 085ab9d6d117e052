"""What Python runs when it starts under `whence run`: clients are observed, the run is taken up.

Python imports the first `sitecustomize` on its path. A program may have one of its own, so that one
is run afterwards as if this one were not there.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def _is_here(entry: str) -> bool:
    return Path(entry or ".").resolve() == _HERE


def _observe() -> None:
    try:
        from whence.integrations import program  # noqa: PLC0415 - another Python may not have it
    except ImportError as error:
        sys.stderr.write(
            f"whence: {sys.executable} cannot import whence ({error}), so nothing is recorded; "
            "install whence there\n"
        )
        return
    program.take_up()


def _run_the_next() -> None:
    """Run the `sitecustomize` that stands behind this one on the path, if there is one."""
    paths = [entry for entry in sys.path if not _is_here(entry)]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", paths)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


_observe()
_run_the_next()
