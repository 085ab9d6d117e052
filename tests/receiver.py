"""Starts `whence serve` in a process of its own, and sends to it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

JSON = "application/json"
PROTOBUF = "application/x-protobuf"


@dataclass
class Server:
    """A running server."""

    address: str
    home: Path
    process: subprocess.Popen[str] | None = None

    def send(
        self,
        body: Any = None,
        path: str = "/v1/traces",
        method: str = "POST",
        media: str = JSON,
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request on a connection of its own; return status, headers and body."""
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            given = {"Content-Type": media} | {k.replace("_", "-"): v for k, v in headers.items()}
            connection.request(method, path, content, given)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()


@contextmanager
def started(home: Path):
    """Run `whence serve` until the block ends."""
    command = [sys.executable, "-W", "error", "-m", "whence", "serve", "--port", "0", "--json"]
    with subprocess.Popen(
        [*command, "--home", str(home)], stdout=subprocess.PIPE, stderr=None, text=True
    ) as process:
        try:
            url = json.loads(process.stdout.readline())["url"]
            yield Server(url.removeprefix("http://"), home, process)
        finally:
            process.terminate()
            process.wait(30)
