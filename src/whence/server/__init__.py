"""The HTTP side of whence: a receiver of OTLP, for programs of this machine.

`app` makes the application of routes; `routes` has one module a subject; `intake` is the one thread
that writes what was received; `body` reads a request within limits; `guard` lets in only requests
that were meant for this server; `run` starts it all. The server writes through `whence.ingest` and
has no store of its own.
"""
