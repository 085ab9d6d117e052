"""A live mirror hands finished runs on, and the program does not notice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import otlptrip
import pytest
from loopback import Answer, provider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from receiver import started

import whence
from whence.capture import guard
from whence.errors import ConfigError
from whence.exports.otlp import convert, gather, sdk
from whence.exports.otlp.model import Options, root_id

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def ended():
    """Take the mirror away again after each test."""
    guard._told.clear()
    yield
    whence.configure(enabled=False)


def shape(spans):
    """Return what of SDK spans has to be the same however they were sent."""
    return sorted(
        (
            f"{s.context.span_id:016x}",
            f"{s.parent.span_id:016x}" if s.parent else "",
            s.name,
            s.start_time,
            s.end_time,
            s.status.status_code.value,
            repr(sorted(s.attributes.items(), key=lambda item: item[0])),
            len(s.events),
            len(s.links),
        )
        for s in spans
    )


def exported(home):
    with whence.open(home) as store:
        ids = [row.id for row in store.runs(limit=None)]
        spans = [one for run in ids for one in convert.spans_of(store.run(run), Options())]
    return sdk.readable(spans)


def test_what_is_mirrored_is_what_would_be_exported(home):
    """Every finished span comes once, with the ids, times and attributes of an export."""
    target = InMemorySpanExporter()
    whence.configure(home=home, otel=target)
    _records()

    assert shape(target.get_finished_spans()) == shape(exported(home))


def _records():
    with whence.run("r", project="p", topic="x") as run:
        with whence.stage("one") as one:
            one.decide("d", "a", options=["a", "b"])
            with whence.generation("g") as call:
                call.record_generation(
                    model="m",
                    messages=[{"role": "user", "content": "long " * 20_000}],
                    usage={"input_tokens": 3, "output_tokens": 4},
                )
        with whence.tool("t", input=1) as tool:
            tool.set(output=2)
        run.score("s", 1)
    assert whence.flush().unmirrored == 0


def test_spans_come_while_the_run_goes_on(home):
    """A span that ended is there although its run has not."""
    target = InMemorySpanExporter()
    whence.configure(home=home, otel=target)
    with whence.run("long"):
        with whence.step("first"):
            pass
        deadline = time.monotonic() + 20
        while not target.get_finished_spans() and time.monotonic() < deadline:
            time.sleep(0.02)
        names = [one.name for one in target.get_finished_spans()]

    assert names == ["first"]


def test_what_comes_late_for_its_span_goes_with_the_run(home):
    """An event on a span that was sent is an event of the run's span, which names it."""
    target = InMemorySpanExporter()
    whence.configure(home=home, otel=target)
    with whence.run("r") as run:
        with whence.step("early") as early:
            pass
        whence.flush()
        early.event("afterthought", n=1)

    whence.flush()

    spans = {one.name: one for one in target.get_finished_spans()}
    (event,) = spans["r"].events
    assert spans["r"].context.span_id == int(root_id(run.id), 16)
    assert event.name == "afterthought"
    assert event.attributes["whence.span"] == early.id


def test_what_comes_after_its_run_was_sent_is_counted(home, capsys):
    """It is in the log; the flush and standard error say that the mirror has it not."""
    whence.configure(home=home, otel=InMemorySpanExporter())
    with whence.run("r") as run:
        pass
    whence.flush()
    run.event("too late")

    assert whence.flush().unmirrored == 1
    assert "1 spans or records did not reach" in capsys.readouterr().err
    with whence.open(home) as store:
        assert [row.message for row in store.events()] == ["too late"]


def test_a_receiver_gets_the_runs_over_http(home, tmp_path):
    """An address is all that is needed; the other home then has the same runs."""
    with started(tmp_path / "there") as server:
        whence.configure(home=home, otel=f"http://{server.address}")
        otlptrip.record_here()
        assert whence.flush(30).unmirrored == 0

    with whence.open(home) as mine, whence.open(tmp_path / "there") as there:
        assert {row.id: row.status for row in mine.runs()} == {
            row.id: row.status for row in there.runs()
        }
        assert sum(row.generations for row in there.runs()) == 5


def test_while_a_receiver_is_away_nothing_is_lost(home):
    """What a receiver cannot take now it gets later."""
    with provider() as server:
        server.will_say(
            Answer({}, 503, (("Retry-After", "0"),)), Answer({}, 502), Answer({}), Answer({})
        )
        whence.configure(home=home, otel={"to": server.url, "content": False})
        with whence.run("r"):
            pass
        deadline = time.monotonic() + 20
        while len(server.asked) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        report = whence.flush(20)

    assert report.unmirrored == 0
    assert len({one.content for one in server.asked[:3]}) == 1


class Broken(SpanExporter):
    """An exporter that fails in every way there is."""

    def __init__(self):
        self.calls = 0

    def export(self, spans):  # noqa: ARG002 - the SDK's signature
        self.calls += 1
        if self.calls % 2:
            raise RuntimeError("broken")
        return SpanExportResult.FAILURE


def test_a_broken_exporter_does_not_reach_the_program(home, capsys):
    """The run is recorded, the spans are counted as not handed over, and one sentence says so."""
    whence.configure(home=home, otel=Broken())
    for _ in range(3):
        with whence.run("r"):
            pass
        report = whence.flush()

    assert report.lost == 0
    assert report.unmirrored == 3
    assert capsys.readouterr().err.count("did not reach Broken") == 1
    with whence.open(home) as store:
        assert len(store.runs()) == 3


def test_a_provider_gets_spans_with_its_resource_and_keeps_our_ids(home):
    """Its processors see them as they see its own; the global provider is not touched."""
    target = InMemorySpanExporter()
    own = TracerProvider(resource=Resource({"service.name": "shop"}))
    own.add_span_processor(SimpleSpanProcessor(target))
    whence.configure(home=home, otel=own)
    with whence.run("r", project="p") as run:
        pass
    whence.flush()

    (one,) = target.get_finished_spans()
    assert f"{one.context.trace_id:032x}" == run.id
    assert one.resource.attributes["service.name"] == "shop"
    assert one.resource.attributes["whence.project"] == "p"
    own.shutdown()


@pytest.mark.parametrize(
    "otel",
    [
        7,
        object(),
        "ftp://x",
        "",
        {"headers": {}},
        {"to": "http://x", "colour": "red"},
        {"to": "http://x", "convention": "none"},
    ],
)
def test_what_spans_cannot_be_sent_to_is_refused(home, otel):
    """`configure` says so at once, and what was configured before stays."""
    with pytest.raises(ConfigError):
        whence.configure(home=home, otel=otel)


def test_many_threads_lose_nothing(home):
    """Runs of many threads at once all arrive, whole."""
    target = InMemorySpanExporter()
    whence.configure(home=home, otel=target)

    def work():
        for _ in range(20):
            with whence.run("r"), whence.step("s") as step:
                step.event("e")

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert whence.flush(30).unmirrored == 0

    spans = target.get_finished_spans()
    assert len({one.context.span_id for one in spans}) == len(spans) == 240
    assert sum(len(one.events) for one in spans) == 120


def test_a_run_over_several_segments_is_mirrored_whole(home, monkeypatch):
    """The mirror goes on with the next segment, and puts back what a record refers to."""
    monkeypatch.setattr("whence.log.writer.ROTATE_BYTES", 2_000)
    target = InMemorySpanExporter()
    whence.configure(home=home, otel=target)
    with whence.run("r"):
        history = []
        for number in range(30):
            history.append({"role": "user", "content": f"turn {number} " * 10})
            with whence.generation("g") as call:
                call.record_generation(model="m", messages=list(history))
    whence.flush(30)

    assert shape(target.get_finished_spans()) == shape(exported(home))


def test_what_is_held_has_a_bound(home, monkeypatch):
    """A run with more records than may be held loses them to the mirror, and says so."""
    monkeypatch.setattr(gather, "MAX_RECORDS", 50)
    target = InMemorySpanExporter()
    whence.configure(home=home, otel=target)
    with whence.run("r") as run:
        for _ in range(200):
            run.event("e", n=1)
        whence.flush()
    report = whence.flush()

    (one,) = target.get_finished_spans()
    assert report.unmirrored + len(one.events) == 200
    assert report.unmirrored > 0


PROGRAM = """
import os, sys, whence
whence.configure(home=sys.argv[1], otel=sys.argv[2])
with whence.run("parent"):
    pass
if len(sys.argv) > 3:
    pid = os.fork()
    with whence.run("child" if pid == 0 else "parent again"):
        pass
    if pid:
        os.waitpid(pid, 0)
"""


def test_the_end_of_the_process_sends_what_is_left(home, tmp_path):
    """Also that of a forked child, which sends its own runs and not its parent's again."""
    with started(tmp_path / "there") as server:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(home), f"http://{server.address}", "fork"],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert (done.returncode, done.stderr) == (0, "")
    with whence.open(tmp_path / "there") as store:
        assert sorted(row.name for row in store.runs()) == ["child", "parent", "parent again"]


def test_a_receiver_that_is_not_there_costs_a_sentence(home):
    """The program ends as ever, in bounded time, and learns how to send what the log has."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(home), "http://127.0.0.1:9"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0
    assert "1 spans or records did not reach http://127.0.0.1:9/v1/traces" in done.stderr
    assert "whence export otlp" in done.stderr
    with whence.open(home) as store:
        assert [row.name for row in store.runs()] == ["parent"]


def test_a_program_without_a_mirror_never_imports_it():
    """`import whence` and a run bring in nothing of the exports."""
    code = (
        "import sys, whence, tempfile\n"
        "whence.configure(home=tempfile.mkdtemp())\n"
        "with whence.run('r'): pass\n"
        "whence.flush()\n"
        "assert not [m for m in sys.modules if m.startswith('whence.exports')]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)

    assert done.returncode == 0
