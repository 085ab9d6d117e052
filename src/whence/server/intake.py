"""The one thread that decodes and writes what was received, in larger batches as the load grows.

Comes in: bodies of OTLP requests. Goes out: for each, how many of its spans or log records were
rejected, once everything else is in the log: what was answered survives the server. Nothing is
dropped: when more comes in than can be written, senders are asked to come back before their bodies
are read (`body.Room`).

A trace whose root span does not come is ended after a while without news, or when the server ends.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING

import msgspec

from whence.errors import IngestError, StoreError, WhenceError
from whence.ingest import logs, otlp_json, otlp_wire
from whence.ingest.sink import Sink
from whence.ingest.traces import Traces
from whence.log.home import Home
from whence.server.body import MAX_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from whence.ingest.otel import Request

SETTLE_AFTER_NS = 60_000_000_000
"""How long a trace without a root has to be silent before it is taken as ended."""
LOOK_S = 5.0
"""How often silent traces are looked for."""
BATCH_BYTES = 8 << 20
"""How much of what waits is written at once."""


class Answer(msgspec.Struct, frozen=True):
    """What became of one request."""

    rejected: int
    """How many spans or log records were left out."""
    why: str
    """Why the last of them was."""


class Job(msgspec.Struct):
    """One request that waits to be written."""

    content: bytes
    """Its body."""
    is_json: bool
    """JSON rather than protobuf."""
    is_gzip: bool
    """Whether the body is packed."""
    has_logs: bool
    """Log records rather than spans."""
    loop: asyncio.AbstractEventLoop
    """Where the answer is awaited."""
    done: asyncio.Future[Answer]
    """Gets the answer."""


class Intake:
    """The way in, from `start` to `stop`.

    Args:
        home: The home folder.
        durable: Bring every batch to the disk before it is answered.
    """

    def __init__(self, home: Path, *, durable: bool = False) -> None:
        self._home = home
        self._durable = durable
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="whence-intake", daemon=True)
        self._ready = threading.Event()
        self._failure: Exception | None = None
        self.records = 0
        """How many records were written."""
        self.trouble: str | None = None
        """Why the last batch could not be written; None if it was."""

    def start(self) -> None:
        """Open the home and begin to write.

        Raises:
            WhenceError: The home cannot be used.
        """
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Write what waits, end what is open, and close the home."""
        self._jobs.put(None)
        self._thread.join()

    async def write(
        self, content: bytes, *, is_json: bool, is_gzip: bool, has_logs: bool
    ) -> Answer:
        """Write the spans or log records of a request.

        Returns:
            What was left out, when the rest is in the log.

        Raises:
            IngestError: It is malformed; nothing of it was written.
            StoreError: The home cannot be written now; nothing of it was written.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Answer] = loop.create_future()
        self._jobs.put(Job(content, is_json, is_gzip, has_logs, loop, done))
        return await done

    def _work(self) -> None:
        try:
            sink = Sink(Home(self._home), durable=self._durable)
        except Exception as error:  # noqa: BLE001 - whoever started the thread raises it
            self._failure = error
            return
        finally:
            self._ready.set()
        traces = Traces(sink)
        with sink:
            more = True
            while more:
                jobs, more = self._next_jobs()
                if jobs:
                    self._write(jobs, sink, traces)
                else:
                    self._settle(sink, traces, 0 if not more else SETTLE_AFTER_NS)

    def _next_jobs(self) -> tuple[list[Job], bool]:
        """Wait for work; return what there is, and whether more may come."""
        jobs: list[Job] = []
        size = 0
        try:
            job = self._jobs.get(timeout=LOOK_S)
            while job is not None:
                jobs.append(job)
                size += len(job.content)
                if size >= BATCH_BYTES:
                    return jobs, True
                job = self._jobs.get_nowait()
        except queue.Empty:
            return jobs, True
        if jobs:  # write these first, and come back for the end
            self._jobs.put(None)
            return jobs, True
        return jobs, False

    def _write(self, jobs: list[Job], sink: Sink, traces: Traces) -> None:
        answers: list[Answer | WhenceError] = []
        before = self.records
        try:
            with sink.batch():
                for job in jobs:
                    try:
                        answers.append(self._take(job, sink, traces))
                    except IngestError as error:
                        answers.append(error)
        except StoreError as error:
            self.trouble = str(error)
            self.records = before
            answers = [error] * len(jobs)
        except Exception as error:  # noqa: BLE001 - a request that we cannot read must not end the thread
            self.records = before
            if len(jobs) > 1:  # find out which one it is
                for job in jobs:
                    self._write([job], sink, traces)
                return
            answers = [IngestError(f"the request cannot be read: {type(error).__name__}: {error}")]
        else:
            self.trouble = None
        for job, answer in zip(jobs, answers, strict=True):
            job.loop.call_soon_threadsafe(_answer, job.done, answer)

    def _take(self, job: Job, sink: Sink, traces: Traces) -> Answer:
        request = _decoded(job)
        for record in traces.records_of(request.spans):
            self.records += sink.take(record)
        for record in logs.records_of(request.logs):
            self.records += sink.take(record)
        return Answer(request.rejected_spans, request.why)

    def _settle(self, sink: Sink, traces: Traces, idle_ns: int) -> None:
        try:
            with sink.batch():
                for record in traces.settle(idle_ns):
                    self.records += sink.take(record)
        except Exception as error:  # noqa: BLE001 - the thread has more to write
            self.trouble = f"{type(error).__name__}: {error}"


def _decoded(job: Job) -> Request:
    content = otlp_wire.unpacked(job.content, MAX_BYTES) if job.is_gzip else job.content
    if job.is_json:
        return otlp_json.of_json(content)
    return otlp_wire.of_protobuf(content, logs=job.has_logs)


def _answer(done: asyncio.Future[Answer], answer: Answer | WhenceError) -> None:
    if done.done():  # whoever asked has gone
        return
    if isinstance(answer, Answer):
        done.set_result(answer)
    else:
        done.set_exception(answer)
