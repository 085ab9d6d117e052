"""Session folders and research traces that whence wrote come back through an import."""

from __future__ import annotations

import json

import pytest
from researching import finish, run_pipeline

import whence
from whence import research
from whence.exports import research_shape, research_trace, sessions
from whence.ingest.importer import import_paths

USED = {"input_tokens": 12, "output_tokens": 7, "cache_read_input_tokens": 4}


@pytest.fixture
def recorded(home):
    """A run with calls of models and of a tool."""
    whence.configure(home=home)
    with whence.run("lookup", kind="agent", external_id="req_1") as run:
        run.tool_call("kegg", input={"id": 7}, output="x", duration_ms=3.25)
        for number in range(3):
            run.record_generation(
                provider="anthropic",
                operation="chat",
                model="claude-sonnet-4-5",
                response_model="claude-sonnet-4-5-20250929",
                usage=USED,
                cost_usd=None if number else 0.25,
                duration_ms=12.625,
                finish_reason="stop",
            )
        run.record_generation(model="gpt-5", error=ValueError("no"))
    whence.flush()
    whence.configure(home, enabled=False)
    return run.id


def exported(home, folder, run, change=None):
    """Write a run's session folder, its files changed by the way, and return where it is."""
    with whence.open(home) as reader:
        files = sessions.render(reader.run(run))
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if change is None else change(content))
    return folder


def told(row):
    """Return what a session folder carries of a model call."""
    names = "provider operation model response_model usage cost_usd cost_source finish_reason"
    more = ("status", "duration_ms", "error_type")
    return {name: getattr(row, name) for name in (*names.split(), *more)}


def without_marks(content: bytes) -> bytes:
    """Return the lines of a version that did not mark model calls, nor told so much of them."""
    return b"\n".join(_without_marks(one) for one in content.split(b"\n"))


def _without_marks(one: bytes) -> bytes:
    if b'"call_type"' not in one:
        return one
    line = json.loads(one)
    for name in ("call_type", "usage", "cost_source", "duration_ms"):
        line["details"].pop(name, None)
    return json.dumps(line).encode()


def test_model_calls_of_a_session_come_back_as_model_calls(recorded, home, tmp_path):
    """With tokens, costs and lengths as they were; the manifest lists the error once more."""
    report = import_paths(tmp_path / "other", [exported(home, tmp_path / "out", recorded)])

    assert (report.generations, report.tool_calls, report.cost_usd_declared) == (4, 1, 0.25)
    with whence.open(home) as mine, whence.open(tmp_path / "other") as theirs:
        (run,) = theirs.runs()
        tree = theirs.run(run.id)
        assert list(map(told, tree.generations)) == list(map(told, mine.run(recorded).generations))
        assert [(c.tool_name, c.duration_ms) for c in tree.tool_calls] == [("kegg", 3.25)]
        assert [event.message for event in tree.events] == ["no"]


def test_model_calls_that_were_not_marked_are_told_by_their_details(recorded, home, tmp_path):
    """Folders of earlier versions say provider and tokens, though no buckets."""
    folder = exported(home, tmp_path / "out", recorded, without_marks)

    report = import_paths(tmp_path / "other", [folder])

    assert (report.generations, report.tool_calls) == (3, 2)
    assert (report.usage_stated.input, report.usage_stated.output) == (48, 21)


def test_a_length_is_that_of_the_times_and_not_of_the_rounded_minutes(recorded, home, tmp_path):
    """A manifest has hundredths of a minute, and times to the microsecond."""
    import_paths(tmp_path / "other", [exported(home, tmp_path / "out", recorded)])

    with whence.open(home) as mine, whence.open(tmp_path / "other") as theirs:
        (was,), (came,) = mine.runs(), theirs.runs()
        assert came.duration_ms == pytest.approx(was.duration_ms, abs=0.01)
        assert came.duration_ms > 0


def test_a_session_that_was_recorded_here_is_there_already(recorded, home, tmp_path):
    """Nothing of it is counted twice, however often it is imported."""
    folder = exported(home, tmp_path / "out", recorded)

    reports = [import_paths(home, [folder]) for _ in range(2)]

    assert [(r.new, r.runs, r.generations) for r in reports] == [(0, 1, 4)] * 2
    assert reports[0].already_there == reports[1].already_there > 0
    with whence.open(home) as reader:
        assert [row.cost_usd for row in reader.runs()] == [0.25]


@pytest.mark.parametrize("by", ["dialect", "export"])
def test_a_trace_that_was_recorded_here_is_there_already(by, home, tmp_path):
    """The file that the research dialect leaves, or the export; in another home it is new."""
    path = tmp_path / "trace.json"
    whence.configure(home=home)
    research.configure(root=tmp_path / "brain")
    trace = research.TraceContext.start(project_name="cobot", query="why?")
    run_pipeline(trace)
    trace.mark_complete()
    written = finish(trace)["file_path"]
    research.configure()
    whence.flush()
    whence.configure(home, enabled=False)
    with whence.open(home) as reader:
        path.write_bytes(research_shape.to_bytes(research_trace.render(reader.run(trace.trace_id))))

    report = import_paths(home, [written if by == "dialect" else path])

    assert (report.new, report.runs, report.generations) == (0, 1, 1)
    assert import_paths(tmp_path / "other", [path]).new > 0
    with whence.open(home) as reader:
        assert [run.external_id for run in reader.runs()] == [trace.trace_id]


@pytest.mark.usefixtures("recorded")
def test_a_name_alone_is_no_reason_to_leave_a_trace_out(home, tmp_path):
    """Another system may call its trace as a run is called here; it began at another time."""
    path = tmp_path / "t.json"
    about = {"query": "q", "started_at": "2026-01-02T03:04:05Z", "status": "complete"}
    path.write_text(
        json.dumps({"schema_version": 1, "trace_id": "req_1", "run": about, "stages": {}})
    )

    assert import_paths(home, [path]).new > 0
