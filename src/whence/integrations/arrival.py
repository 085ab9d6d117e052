"""Observes a library when it is imported, so that nobody pays for one that is not used.

A finder stands before Python's own and passes every question on; for a library that is waited for,
the module that observes it is called once the library's own code has run.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from whence.capture import guard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_waiting: dict[str, str] = {}


def when_imported(library: str, observer: str) -> None:
    """Observe a library: now if it is imported, else when it is.

    Args:
        library: Its name, with dots.
        observer: Name of the module whose `observe` gets the library.
    """
    module = sys.modules.get(library)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        _observe(module, observer)
        return
    _waiting[library] = observer
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def _observe(module: ModuleType, observer: str) -> None:
    try:
        importlib.import_module(observer).observe(module)
    except Exception as error:  # noqa: BLE001 - the user's program only imports its library
        described = guard.describe(error)
        guard.tell_once(observer, f"{module.__name__} cannot be observed. {described}")


class _Finder:
    """Finds what is waited for as the other finders do."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a library that is waited for, with a loader that tells of it."""
        if fullname not in _waiting:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    loader: Any = _Loader(spec.loader)
                    spec.loader = loader
                return spec
        return None


class _Loader:
    """Loads as the real loader does, and has the module observed afterwards."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return the module as the real loader makes it."""
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code, then have it observed."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        module.__loader__ = self._real
        self._real.exec_module(module)
        observer = _waiting.pop(module.__name__, None)
        if observer is not None:
            _observe(module, observer)


_FINDER: Any = _Finder()
