#!/usr/bin/env python3
"""Run the project from a fresh clone: make `.venv`, install what a command needs, run it there.

It needs Python 3.11 and the standard library. With uv on PATH the versions of `uv.lock` are
installed, without it pip installs what `pyproject.toml` allows. Nothing is installed twice: a stamp
in `.venv` holds the hash of both files and what was installed for them. It changes nothing outside
the project folder.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - it is what a fresh clone may be started with
    sys.exit(
        "dev.py: Python 3.11 or newer is needed and this is "
        + sys.version.split()[0]
        + ". Run it with a newer one, for example: python3.11 dev.py test"
    )

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
STAMP = VENV / ".dev-stamp.json"

DEV_EXTRAS = ("cli", "server", "otel", "postgres", "prices", "openai", "anthropic", "gemini")
LINT_STEPS: tuple[tuple[str, list[str]], ...] = (
    ("format", ["ruff", "format", "--check"]),
    ("lint", ["ruff", "check"]),
    ("types", ["pyright", "--project", "pyproject.toml"]),
    ("layers", ["lint-imports", "--no-cache"]),
)


def demo(rest: list[str]) -> int:
    """Run the example pipeline on real text and ask it why."""
    ensure_venv(group=None, extras=("cli",))
    return run("whence", "demo", *rest)


def test(rest: list[str]) -> int:
    """Check format, lint, types, layers, then run the tests; arguments go to pytest."""
    ensure_venv(group="dev")
    failed = run_steps(LINT_STEPS)
    if failed:
        return failed
    announce("tests")
    code = run("pytest", "-n", "auto", *rest)
    if code or rest:
        return code and fail("tests", code)
    announce("tests of recording, in Python alone")
    os.environ["WHENCE_COMPILED"] = "0"
    code = run("pytest", "-q", "-n", "auto", "tests/capture", "tests/log")
    return code and fail("tests of recording, in Python alone", code)


def lint(rest: list[str]) -> int:
    """Check format, lint, types and layers."""
    refuse(rest, "lint")
    ensure_venv(group="dev")
    return run_steps(LINT_STEPS)


def serve(rest: list[str]) -> int:
    """Receive OpenTelemetry over HTTP, as `whence serve` does; arguments go to it."""
    ensure_venv(group=None, extras=("cli", "server"))
    return run("whence", "serve", *rest)


def bench(rest: list[str]) -> int:
    """Measure cost, throughput, size and latency; arguments go to `python -m benchmarks`."""
    ensure_venv(group="dev")
    return run("python", "-m", "benchmarks", *rest)


def make_venv(rest: list[str]) -> int:
    """Make or refresh .venv for development, and say where it is."""
    refuse(rest, "venv")
    ensure_venv(group="dev")
    print(VENV)
    return 0


COMMANDS = {
    "demo": demo,
    "test": test,
    "serve": serve,
    "bench": bench,
    "lint": lint,
    "venv": make_venv,
}


def main(arguments: list[str]) -> int:
    """Return the exit code of the command that `arguments` name; the rest is passed on to it."""
    summary = "\n".join(f"  {name:<6} {command.__doc__}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="dev.py",
        usage="python3 dev.py COMMAND [ARGUMENTS...]",
        description=f"commands:\n{summary}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the above")
    command = parser.parse_args(arguments[:1]).command
    return COMMANDS[command](arguments[1:])


def run_steps(steps: tuple[tuple[str, list[str]], ...]) -> int:
    """Run the steps in order, each timed, and return the exit code of the first that fails."""
    for name, command in steps:
        announce(name)
        began = time.perf_counter()
        code = run(*command)
        if code:
            return fail(name, code)
        print(f"   ok, {time.perf_counter() - began:.1f} s", flush=True)
    return 0


def announce(step: str) -> None:
    """Say which step begins."""
    print(f"== {step}", flush=True)


def fail(step: str, code: int) -> int:
    """Say which step failed, and return `code`."""
    print(f"dev.py: {step} failed with exit code {code}", file=sys.stderr)
    return code


def refuse(rest: list[str], command: str) -> None:
    """Stop with a sentence if arguments were given to a command that takes none."""
    if rest:
        sys.exit(f"dev.py: {command} takes no arguments, and was given {' '.join(rest)!r}")


def run(program: str, *arguments: str) -> int:
    """Return the exit code of a program of the virtual environment, run in the project folder."""
    path = os.pathsep.join((str(BIN), os.environ.get("PATH", os.defpath)))
    environment = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(VENV)}
    try:
        return subprocess.call([str(BIN / program), *arguments], cwd=ROOT, env=environment)
    except FileNotFoundError:
        sys.exit(f"dev.py: {BIN / program} is missing. Delete {VENV} and run this again")
    except KeyboardInterrupt:
        return 130


def ensure_venv(*, group: str | None, extras: tuple[str, ...] = DEV_EXTRAS) -> None:
    """Make sure that `.venv` holds the project with extras and the dependency group, or stop."""
    wanted = {*extras} | ({group} if group else set())
    digest = hash_of_inputs()
    installed = read_stamp(digest)
    if wanted <= installed:
        return
    began = time.perf_counter()
    print("== setting up .venv (once, and when the dependencies change)", flush=True)
    uv = shutil.which("uv")
    try:
        if uv:
            install_with_uv(uv, group, extras)
        else:
            install_with_pip(group, extras)
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"dev.py: setting up .venv failed (exit code {error.returncode}); the reason is above"
        )
    STAMP.write_text(json.dumps({"inputs": digest, "installed": sorted(wanted | installed)}))
    print(f"   ok, {time.perf_counter() - began:.1f} s", flush=True)


def install_with_uv(uv: str, group: str | None, extras: tuple[str, ...]) -> None:
    """Install the locked versions; packages that somebody added to the environment stay."""
    command = [
        uv,
        "sync",
        "--quiet",
        "--frozen",
        "--inexact",
        "--python",
        sys.executable,
        *(word for extra in extras for word in ("--extra", extra)),
    ]
    command += ["--group", group] if group else ["--no-default-groups"]
    subprocess.run(
        command, cwd=ROOT, check=True, env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(VENV)}
    )


def install_with_pip(group: str | None, extras: tuple[str, ...]) -> None:
    """Install what `pyproject.toml` allows, with a pip that knows dependency groups."""
    python = BIN / "python"
    if not python.exists():
        venv.create(VENV, with_pip=True, clear=VENV.exists())
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--upgrade", "pip>=25.1"], cwd=ROOT, check=True)
    project = f".[{','.join(extras)}]"
    subprocess.run(
        [*pip, "--editable", project, *(("--group", group) if group else ())], cwd=ROOT, check=True
    )


def hash_of_inputs() -> str:
    """Return the hash of the files that say what must be installed, or that are compiled for it."""
    digest = hashlib.sha256(sys.version.encode())
    for name in ("pyproject.toml", "uv.lock", "hatch_build.py", "src/whence/log/_lines.c"):
        path = ROOT / name
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def read_stamp(digest: str) -> set[str]:
    """Return what `.venv` has installed for these inputs; empty if it was made for others."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return set()
    usable = stamp.get("inputs") == digest and (BIN / "python").exists()
    return set(stamp.get("installed", ())) if usable else set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
