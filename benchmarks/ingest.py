"""How fast OpenTelemetry comes in: decoding alone, decoding and writing, and the whole way by HTTP.

The requests hold the workload as an exporter of the OpenTelemetry SDK sends it: a run is a trace of
33 spans with GenAI attributes, a request some 400 spans. Decoding alone is the limit: what a
receiver would take that did nothing. Each figure is of a fresh home, and of the processor time of
one core, since the machine may be busy.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import whence
from benchmarks import homes, workload
from benchmarks.harness import Bench, Spread, spread
from whence.ingest import otlp_wire
from whence.ingest.sink import Sink
from whence.ingest.traces import Traces
from whence.log.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNS_A_REQUEST = 12
STEP_NS = 1_000_000
START_NS = 1_790_000_000_000_000_000
SENDERS = 2


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured."""

    runs: int
    """Traces of 33 spans."""
    repetitions: int


FULL = Sizes(runs=1_200, repetitions=5)
QUICK = Sizes(runs=240, repetitions=2)
TINY = Sizes(runs=13, repetitions=1)


class Way(msgspec.Struct, frozen=True):
    """One way in."""

    name: str
    spans_a_second: Spread
    """By processor time for what runs in this process, by the clock for HTTP."""
    kept: int
    """How many spans are in the home afterwards."""


class Figures(msgspec.Struct, frozen=True):
    """What comes in how fast."""

    sizes: Sizes
    spans: int
    request_bytes: int
    """All requests together."""
    log_bytes: int
    """What they take in the log."""
    ways: list[Way]


def measure(bench: Bench, sizes: Sizes) -> Figures:
    """Return how fast each way in is."""
    bodies = list(requests(sizes.runs))
    spans = sizes.runs * workload.RECORDS_PER_RUN
    otlp_wire.of_protobuf(bodies[0])  # so that no figure includes an import
    taken = [_cpu_s(lambda: _decode(bodies)) for _ in range(sizes.repetitions)]
    ways = [Way("decode alone", _rate(spans, taken), 0)]
    home = Home(bench.fresh("ingest") / "home")
    taken = []
    for number in range(sizes.repetitions):
        home = Home(bench.fresh(f"ingest-{number}") / "home")
        taken.append(_cpu_s(lambda home=home: write(bodies, home)))
    ways.append(Way("decode and write", _rate(spans, taken), _kept(home)))
    log_bytes = homes.size_of(home.log)
    taken = []
    for number in range(sizes.repetitions):
        home = Home(bench.fresh(f"ingest-http-{number}") / "home")
        taken.append(_by_http(bench, bodies, home))
    ways.append(Way("whence serve", _rate(spans, taken), _kept(home)))
    return Figures(sizes, spans, sum(map(len, bodies)), log_bytes, ways)


def _rate(spans: int, taken_s: list[float]) -> Spread:
    return spread(spans / seconds for seconds in taken_s)


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _decode(bodies: list[bytes]) -> int:
    return sum(1 for body in bodies for _ in otlp_wire.of_protobuf(body).spans)


def write(bodies: list[bytes], home: Home) -> None:
    """Write requests to a home as the server does."""
    with Sink(home) as sink:
        traces = Traces(sink)
        for body in bodies:
            with sink.batch():
                for record in traces.records_of(otlp_wire.of_protobuf(body).spans):
                    sink.take(record)


def _kept(home: Home) -> int:
    with whence.open(home.root) as reader:
        return reader.count("spans")


def _by_http(bench: Bench, bodies: list[bytes], home: Home) -> float:
    """Return how many seconds two senders take to send everything to a server."""
    command = [bench.python, "-m", "whence", "serve", "--port", "0", "--json", "--home"]
    with subprocess.Popen(
        [*command, str(home.root)], env=bench.environment(), stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            if server.stdout is None:
                raise RuntimeError("the server has no output")
            address = json.loads(server.stdout.readline())["url"].removeprefix("http://")
            senders = [
                threading.Thread(target=_send, args=(address, bodies[n::SENDERS]))
                for n in range(SENDERS)
            ]
            began = time.perf_counter()
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
            return time.perf_counter() - began
        finally:
            server.terminate()


def _send(address: str, bodies: list[bytes]) -> None:
    connection = http.client.HTTPConnection(address)
    for body in bodies:
        status = 0
        while status != http.HTTPStatus.OK:
            headers = {"Content-Type": "application/x-protobuf"}
            connection.request("POST", "/v1/traces", body, headers)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
    connection.close()


def requests(runs: int) -> Iterator[bytes]:
    """Yield the runs of the workload as requests in protobuf."""
    for first in range(0, runs, RUNS_A_REQUEST):
        message: Any = ExportTraceServiceRequest()
        of_resource = message.resource_spans.add()
        _set(of_resource.resource.attributes, {"service.name": "research"})
        of_scope = of_resource.scope_spans.add()
        of_scope.scope.name = "benchmark"
        for number in range(first, min(first + RUNS_A_REQUEST, runs)):
            _add_run(of_scope.spans, workload.gen_run(number), number)
        yield message.SerializeToString()


def _add_run(spans: Any, run: dict[str, Any], number: int) -> None:
    trace = hashlib.blake2b(f"run {number}".encode(), digest_size=16).digest()
    count = 0

    def add(name: str, parent: bytes, given: dict[str, Any]) -> bytes:
        nonlocal count
        count += 1
        made = spans.add(trace_id=trace, name=name, kind=1, parent_span_id=parent)
        made.span_id = hashlib.blake2b(trace + bytes([count]), digest_size=8).digest()
        made.start_time_unix_nano = START_NS + number * 1_000 * STEP_NS + count * STEP_NS
        made.end_time_unix_nano = made.start_time_unix_nano + STEP_NS // 2
        _set(made.attributes, given)
        return made.span_id

    root = add(run["name"], b"", {"input.value": json.dumps(run["inputs"]), "tenant": "t"})
    for stage in run["stages"]:
        inside = add(f"stage {stage['name']}", root, {"stage.name": stage["name"]})
        for decision in stage["decisions"]:
            given = {f"decision.{key}": _plain(item) for key, item in decision.items()}
            add(f"decision {decision['name']}", inside, given)
        for tool in stage["tools"]:
            given = {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": tool["name"],
                "gen_ai.tool.call.arguments": tool["input"],
                "gen_ai.tool.call.result": tool["output"],
            }
            add(f"execute_tool {tool['name']}", inside, given)
        call = stage["llm"]
        if call:
            given = {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": call["model"],
                "gen_ai.request.temperature": call["temperature"],
                "gen_ai.system_instructions": call["system"],
                "gen_ai.input.messages": call["user"],
                "gen_ai.output.messages": call["completion"],
                "gen_ai.usage.input_tokens": call["prompt_tokens"],
                "gen_ai.usage.output_tokens": call["completion_tokens"],
                "gen_ai.usage.cost": call["cost"],
            }
            add(f"chat {call['model']}", inside, given)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float)) else json.dumps(value)


def _set(attributes: Any, given: dict[str, Any]) -> None:
    for key, value in given.items():
        made = attributes.add(key=key).value
        if isinstance(value, str):
            made.string_value = value
        elif isinstance(value, int):
            made.int_value = value
        else:
            made.double_value = value
