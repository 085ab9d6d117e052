"""The library that the agents know: the source of the modules that this Python ships.

In comes the name of a module, out come its functions and classes with the first line of what is
said about each; or words go in, and out come the modules whose names and texts have them.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(sysconfig.get_paths()["stdlib"])
_WORD = re.compile(r"[a-z]{3,}")


@dataclass(frozen=True)
class Module:
    """One module."""

    name: str
    """What is imported."""
    path: Path
    """Its file."""
    about: str
    """The first paragraph of its docstring."""
    members: dict[str, str]
    """Function or class to the first line of its docstring."""

    @property
    def words(self) -> frozenset[str]:
        """The words that say what it is about."""
        said = f"{self.name} {self.about} {' '.join(self.members)}"
        return frozenset(_WORD.findall(said.lower()))


def names() -> list[str]:
    """Return the names of the modules that are one file, the private ones left out."""
    return sorted(path.stem for path in _FOLDER.glob("*.py") if not path.stem.startswith("_"))


def path_of(name: str) -> Path:
    """Return the file of a module.

    Raises:
        LookupError: There is no such module.
    """
    if name not in names():
        raise LookupError(f"the library has no module {name!r}")
    return _FOLDER / f"{name}.py"


def parse(name: str, source: str) -> Module:
    """Return what the source of a module says about it."""
    tree = ast.parse(source)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    members = {
        node.name: (ast.get_docstring(node) or "").partition("\n")[0]
        for node in tree.body
        if isinstance(node, kinds) and not node.name.startswith("_")
    }
    about = (ast.get_docstring(tree) or "").partition("\n\n")[0]
    return Module(name, path_of(name), " ".join(about.split()), members)


@cache
def load(name: str) -> Module:
    """Return a module, read and parsed once."""
    return parse(name, path_of(name).read_text("utf-8"))


def words_of(query: str) -> frozenset[str]:
    """Return the words of a question that may say what it is about."""
    return frozenset(_WORD.findall(query.lower())) - _COMMON


_COMMON = frozenset(
    _WORD.findall("and are can does find for from how module the there what where which with you")
)
