"""A PostgreSQL of the tests' own: a throw-away cluster from the programs that are installed.

It lives in a folder of its own under the system's temporary folder, speaks over a Unix socket there
and nowhere else, and is gone with the session. PostgreSQL refuses to run as root, so that its
programs then run as another user. Where there are no programs, tests that ask for it are skipped
and say so.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEBIAN = Path("/usr/lib/postgresql")
_SETTINGS = "-c listen_addresses='' -c fsync=off -c synchronous_commit=off -c max_connections=40"
_SECONDS = 60


def find_programs() -> Path | None:
    """Return the folder of `initdb` and `pg_ctl`, the newest of several; None if there is none."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    if _DEBIAN.is_dir():
        versions = sorted(_DEBIAN.iterdir(), key=lambda path: (len(path.name), path.name))
        folders += [path / "bin" for path in reversed(versions)]
    return next((f for f in folders if (f / "initdb").is_file() and (f / "pg_ctl").is_file()), None)


def _user() -> dict[str, Any]:
    """Return as whom the programs run, for `subprocess`: as we do, unless we are root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")


def _run(command: list[str], folder: Path, user: dict[str, Any]) -> None:
    # Not a pipe: the server inherits it from pg_ctl, and waiting for its end would never end.
    log = folder / "programs.log"
    with log.open("ab") as output:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=_SECONDS,
            check=False,
            **user,
        )
    if done.returncode:
        said = log.read_text("utf-8", "replace")
        raise RuntimeError(f"{command[0]} failed with {done.returncode}:\n{said}")


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[str]:
    """The address of a running cluster's database `postgres`, as `psycopg.connect` takes it."""
    programs = find_programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL: neither `initdb` on PATH nor in /usr/lib/postgresql")
    user = _user()
    # Not pytest's own folder: the path of a socket has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="whence-pg-", dir="/tmp"))
    data = folder / "data"
    try:
        if user:
            os.chown(folder, user["user"], user["group"])
        _run(
            [
                str(programs / "initdb"),
                f"--pgdata={data}",
                "--username=whence",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
            ],
            folder,
            user,
        )
        control = [str(programs / "pg_ctl"), f"--pgdata={data}", "--wait", "--silent"]
        options = f"{_SETTINGS} -c unix_socket_directories={folder}"
        _run(
            [*control, "start", f"--options={options}", f"--log={folder / 'server.log'}"],
            folder,
            user,
        )
        try:
            yield f"postgresql://whence@/postgres?host={folder}"
        finally:
            _run([*control, "stop", "--mode=immediate"], folder, user)
    finally:
        shutil.rmtree(folder)


_number = 0


@pytest.fixture
def postgres(postgres_cluster: str) -> Iterator[str]:
    """The address of an empty database, as `psycopg.connect` takes it."""
    import psycopg  # noqa: PLC0415 - an optional package, which not every test needs

    global _number  # noqa: PLW0603 - databases of one cluster need different names
    _number += 1
    name = f"test_{_number}"
    with psycopg.connect(postgres_cluster, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield postgres_cluster.replace("/postgres?", f"/{name}?")
    finally:
        with psycopg.connect(postgres_cluster, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
