"""A server in a process of its own, and one in this process whose parts can be chosen."""

from __future__ import annotations

import threading

import pytest
import uvicorn
from receiver import Server, started

from whence.server.app import create_app
from whence.server.intake import Intake


@pytest.fixture
def server(home):
    with started(home) as running:
        yield running


@pytest.fixture
def local(home):
    """Return a function that serves in this process with what may be held in memory."""
    ends = []

    def serve(room=None):
        intake = Intake(home)
        intake.start()
        config = uvicorn.Config(
            create_app(intake, room), port=0, log_level="warning", lifespan="off"
        )
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run)
        thread.start()
        while not running.started:
            assert thread.is_alive()
        port = running.servers[0].sockets[0].getsockname()[1]

        def end():
            running.should_exit = True
            thread.join()
            intake.stop()

        ends.append(end)
        return Server(f"127.0.0.1:{port}", home)

    yield serve
    for end in ends:
        end()
