"""Builds the compiled half of the log's writer when whence is installed.

It needs a C compiler and the headers of CPython. Where they are missing, or the platform is one it
is not written for, nothing is built and whence does the same work in Python.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "src/whence/log/_lines.c"
MODULE = "whence.log._lines"


class LinesHook(BuildHookInterface):  # pyright: ignore[reportMissingTypeArgument]
    """Adds the extension module to a wheel, or puts it beside its source for an editable one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the extension module, or say why there is none."""
        if os.name != "posix" or sysconfig.get_config_var("Py_GIL_DISABLED"):
            self.app.display_info("whence: nothing is compiled on this platform")
            return
        folder = Path(tempfile.mkdtemp(prefix="whence-build-"))
        try:
            built = self._compile(folder)
        except Exception as error:  # noqa: BLE001 - whatever a compiler run fails of, there is Python
            shutil.rmtree(folder, ignore_errors=True)
            self.app.display_warning(
                f"whence: no compiled writer, capture will cost about half as much again: {error}"
            )
            return
        if version == "editable":
            shutil.copy2(built, Path(self.root, SOURCE).parent / built.name)
            shutil.rmtree(folder, ignore_errors=True)
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"][str(built)] = f"whence/log/{built.name}"

    def _compile(self, folder: Path) -> Path:
        # Not at the top: on other platforms nothing is built, and setuptools may be missing.
        from setuptools import Distribution, Extension  # noqa: PLC0415
        from setuptools.command.build_ext import build_ext  # noqa: PLC0415

        source = os.path.relpath(Path(self.root, SOURCE))
        module = Extension(MODULE, [source], extra_compile_args=["-O3", "-g0"], libraries=["m"])
        command = build_ext(Distribution({"ext_modules": [module]}))
        command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "temp")
        command.ensure_finalized()
        command.run()
        return Path(command.get_ext_fullpath(MODULE))
