"""Runs a program so that its model calls are recorded without a change to its code.

`python -m whence.integrations.program -- python app.py` opens a run for the whole program, starts
it with a folder of ours first on Python's path, passes signals on, waits, ends the run by the exit
code and leaves with the same. The program, and every Python it starts, takes the run up and
observes the libraries it imports. What the program prints and reads is its own.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from whence import config
from whence.capture import guard
from whence.capture.api import run as open_run
from whence.capture.remote import resume
from whence.capture.scopes import Run, Scope
from whence.capture.state import current as state
from whence.errors import ConfigError
from whence.integrations import calls, instrument

if TYPE_CHECKING:
    from collections.abc import Sequence

_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_SIGNALLED = 128
_PASSED_ON = ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_INTERRUPTIONS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def take_up() -> None:
    """Observe the libraries and take up the run of the program, in a Python that it started."""
    try:
        instrument()
        parent = config.inherited_run()
        if parent is None:
            return
        scope = resume(parent)
        scope.__enter__()
        if isinstance(scope, Scope):
            calls.program.append(scope)
    except Exception as error:  # noqa: BLE001 - the program is the user's, and has not even begun
        guard.tell_once("take up", f"the program is not recorded. {guard.describe(error)}")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a program and leave with its exit code; 127 if there is none of that name.

    Raises:
        SystemExit: Always, with the exit code.
    """
    parser = argparse.ArgumentParser(prog="whence run", add_help=False)
    for option in ("--name", "--project", "--external-id"):
        parser.add_argument(option)
    parser.add_argument("--tell", choices=["text", "json", "nothing"], default="text")
    parser.add_argument("--home-option", default="")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args(arguments)
    command: list[str] = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
    run = open_run(
        asked.name or _name_of(command),
        project=asked.project,
        external_id=asked.external_id,
        kind="program",
        # The rest of the line may hold what is nobody's business.
        command=command[:2],
    )
    code = _run(command, run)
    if isinstance(run, Run) and asked.tell != "nothing":
        _tell(run, code, asked.home_option, as_json=asked.tell == "json")
    raise SystemExit(code)


def _name_of(command: list[str]) -> str:
    """Return what people call a program: its script or module rather than its interpreter."""
    first, *others = command
    if Path(first).name.startswith("python"):
        if "-m" in others[:-1]:
            return others[others.index("-m") + 1]
        script = next((other for other in others if not other.startswith("-")), None)
        if script is not None:
            return Path(script).name
    return Path(first).name


def _run(command: list[str], run: Any) -> int:
    signals = _Signals()
    run.start()
    try:
        process = subprocess.Popen(command, env=_environment(run))  # noqa: S603 - running it is what was asked for
    except OSError as error:
        sys.stderr.write(f"whence: cannot run {command[0]}: {error.strerror}\n")
        run.set(status="failed")
        run.finish()
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
    signals.pass_on_to(process)
    code = process.wait()
    if code:
        by_hand = -code in _INTERRUPTIONS or code - _SIGNALLED in _INTERRUPTIONS
        run.set(status="cancelled" if by_hand else "failed")
    run.set(exit_code=code)
    run.finish()
    return _SIGNALLED - code if code < 0 else code


def _environment(run: Any) -> dict[str, str]:
    """Return the environment of the program: ours, a folder on its path, home and run."""
    if not isinstance(run, Run):
        return dict(os.environ)
    site = str(Path(__file__).parent / "site")
    others = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": f"{site}{os.pathsep}{others}" if others else site,
        **config.for_child(state.load(), f"00-{run.id}-{'0' * 15}1-01"),
    }


class _Signals:
    """What is sent to this process, for the program: kept until there is one, then passed on.

    Signals that whoever started us had ignored, as nohup does, are ignored by the program as well.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._kept: list[int] = []
        self._at_terminal = os.isatty(0)
        for name in _PASSED_ON:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._take)

    def _take(self, number: int, _frame: Any) -> None:
        # A terminal sends its interruptions to the program as well.
        if self._at_terminal and number in {signal.SIGINT, signal.SIGQUIT}:
            return
        if self._process is None:
            self._kept.append(number)
        else:
            self._process.send_signal(number)

    def pass_on_to(self, process: subprocess.Popen[bytes]) -> None:
        """Send the program what came before it was there, and whatever comes from now on."""
        self._process = process
        for number in self._kept:
            process.send_signal(number)


def _tell(run: Run, code: int, home_option: str, *, as_json: bool) -> None:
    """Say on standard error where the run is; standard output is the program's."""
    if as_json:
        home = str(state.load().home)
        said = {"run": run.id, "status": run.status, "exit_code": code, "home": home}
        sys.stderr.write(msgspec.json.encode(said).decode() + "\n")
        return
    shown = f"whence show {run.id[:16]}{home_option}"
    sys.stderr.write(f"whence: recorded as {run.id}; `{shown}` shows it\n")


if __name__ == "__main__":
    try:
        main()
    except ConfigError as error:
        sys.stderr.write(f"whence: {error}\n")
        raise SystemExit(2) from None
