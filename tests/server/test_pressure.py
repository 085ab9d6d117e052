"""When it cannot write, or holds too much, the server has senders come back and loses nothing."""

from __future__ import annotations

import json

from otlpdata import request, span

import whence
from whence.server.body import Room


def test_too_much_at_once_is_asked_to_come_back(local):
    """Beyond what may be held in memory the answer is 503 with Retry-After, and room comes back."""
    running = local(Room(2_000))
    small, large = request(span("a", None)), request(span("b", None, {"x": "y" * 3_000}))

    refused = running.send(large)
    for _ in range(30):
        running.send(b"{" * 900)
    taken = running.send(small)

    assert (refused[0], refused[1]["retry-after"]) == (503, "1")
    assert taken[0] == 200


def test_a_home_that_cannot_be_written_is_a_reason_to_come_back(local, home):
    """503 with Retry-After until the home is well again; what was refused can be sent again."""
    running = local()
    (home / "hot").write_text("in the way")

    refused = running.send(request(span("a", None)))
    sick = running.send(method="GET", path="/healthz")
    (home / "hot").unlink()
    taken = running.send(request(span("a", None)))
    well = running.send(method="GET", path="/healthz")

    assert (refused[0], refused[1]["retry-after"]) == (503, "5")
    assert (sick[0], json.loads(sick[2])["status"]) == (503, "failing")
    assert (taken[0], well[0]) == (200, 200)
    with whence.open(home) as store:
        assert "a" in {row.name for row in store.spans(limit=None)}
