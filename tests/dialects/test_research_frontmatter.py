"""A report names its trace in its front matter, and loses nothing of what it had."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from researching import finish, load, run_pipeline, traced_root  # noqa: F401 - a fixture

from whence.dialects.research.frontmatter import with_fields
from whence.query.reader import open_store
from whence.research import Trace, TraceContext, add_frontmatter, read_frontmatter

FIELDS = {
    "trace_id": "trc_20260213_abc123def",
    "generated_at": "2026-02-13T10:34:22Z",
    "quality_score": "2.4",
    "quality_gate": "passed",
}
BLOCK = (
    b"trace_id: trc_20260213_abc123def\ngenerated_at: 2026-02-13T10:34:22Z\n"
    b"quality_score: 2.4\nquality_gate: passed\n"
)


def front_of(content):
    """Return what a YAML reader finds, and the body."""
    _, front, body = content.split(b"---\n", 2)
    return yaml.safe_load(front), body


def test_a_report_without_front_matter_gets_one():
    """The four keys of the document, then the report as it was."""
    assert with_fields(b"# Report\n", FIELDS) == b"---\n" + BLOCK + b"---\n# Report\n"


def test_other_keys_comments_and_their_order_stay():
    """Keys of ours are replaced where they stand, new ones come last."""
    before = (
        b"---\n# made by hand\ntitle: 'A: b'\ntrace_id: old\ntags:\n  - trace_id: x\n  - b\n"
        b"quality_gate:\n  failed\nauthor: ada\n---\nbody\n"
    )
    assert with_fields(before, FIELDS) == (
        b"---\n# made by hand\ntitle: 'A: b'\ntrace_id: trc_20260213_abc123def\n"
        b"tags:\n  - trace_id: x\n  - b\nquality_gate: passed\nauthor: ada\n"
        b"generated_at: 2026-02-13T10:34:22Z\nquality_score: 2.4\n---\nbody\n"
    )


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"---\n",
        b"---\nno end\n",
        b"----\nrule\n",
        b"\xff\xfe not text\n---\n",
        b"\xef\xbb\xbf# with a mark\r\nand Windows lines\r\n",
        b"---\r\ntitle: x\r\n---\r\nbody\r\n",
        b"---\ntitle: x\n...\nbody",
        b"---  \ntitle: x\n---  \n\n---\nrule in the body\n---\n",
        b"---\n---\nbody",
        b"---\ntitle: x",
    ],
)
def test_the_body_stays_to_the_byte_and_twice_is_once(before):
    """Whatever a file holds, what is no front matter is unchanged."""
    once = with_fields(before, FIELDS)
    assert with_fields(once, FIELDS) == once
    assert b"trace_id: trc_20260213_abc123def" in once
    body = before.split(b"---\r\n")[-1] if b"\r\n---\r\n" in before else before
    if before.startswith((b"---\n---", b"---\ntitle: x\n")):
        body = before.rpartition(b"\n...\n")[2] if b"..." in before else before[8:]
    if before.startswith(b"---  \n"):
        body = b"\n---\nrule in the body\n---\n"
    assert once.endswith(body.removeprefix(b"\xef\xbb\xbf"))
    assert once.startswith(b"\xef\xbb\xbf---") == before.startswith(b"\xef\xbb\xbf")


KEYS = st.text("abcdef", min_size=1, max_size=6)
LINES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@given(
    others=st.dictionaries(KEYS, st.integers() | st.booleans() | LINES, max_size=4),
    body=st.binary(max_size=60),
    id=LINES,
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_front_matter_keeps_its_keys_and_any_id_is_read_back(others, body, id):  # noqa: A002
    """A YAML reader finds the other keys as they were and the id as it is."""
    front = yaml.safe_dump(others, allow_unicode=True) if others else ""
    before = b"---\n" + front.encode() + b"---\n" + body
    after = with_fields(before, {**FIELDS, "trace_id": id})
    found, rest = front_of(after)
    assert {key: found[key] for key in others} == others
    assert (found["trace_id"], found["quality_score"]) == (id, 2.4)
    assert rest == body
    assert with_fields(after, {**FIELDS, "trace_id": id}) == after


@given(id=st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_id_is_known_again(tmp_path, id):  # noqa: A002
    """What was written is what is read, so that a second time changes nothing."""
    report = tmp_path / "report.md"
    report.write_bytes(b"x\n")
    add_frontmatter(report, Trace(trace_id=id))
    assert read_frontmatter(report)["trace_id"] == id
    once = report.read_bytes().replace(b"generated_at: 2", b"generated_at: 1")
    report.write_bytes(once)
    add_frontmatter(report, Trace(trace_id=id))
    assert report.read_bytes() == once


def test_report_and_trace_name_each_other(traced, recording, tmp_path):
    """The report has the four keys; the trace's file and row have the report's path."""
    report = tmp_path / "report.md"
    report.write_text("---\ntitle: Cobots\n---\n# Cobots\n")
    report.chmod(0o640)
    trace = TraceContext.start(project_name="cobot")
    trace.start_stage("quality_gate")
    trace.end_stage("quality_gate", outputs={"overall_score": 2.4, "passed": True})
    trace.mark_complete()

    assert add_frontmatter(report, trace) == report
    result = finish(trace)

    said = read_frontmatter(report)
    assert said == {
        "trace_id": trace.trace_id,
        "generated_at": f"{trace.completed_at[:19]}Z",
        "quality_score": "2.4",
        "quality_gate": "passed",
    }
    assert report.read_text().startswith("---\ntitle: Cobots\ntrace_id: ")
    assert report.stat().st_mode & 0o777 == 0o640
    assert load(result["file_path"])["outputs"]["report_path"] == str(report)
    with open_store(recording) as reader:
        assert reader.run(str(report)).external_id == trace.trace_id
    content = report.read_bytes()
    add_frontmatter(report, trace)
    assert report.read_bytes() == content
    assert traced.exists()


def test_what_a_trace_does_not_know_is_left_out(tmp_path):
    """No verdict, no keys for it; keys of an earlier trace go."""
    report = tmp_path / "report.md"
    report.write_text("---\ntrace_id: trc_old\nquality_score: 1.0\nkeep: me\n---\nx\n")
    add_frontmatter(report, Trace(trace_id="trc_new"))
    assert set(read_frontmatter(report)) == {"trace_id", "generated_at"}
    assert "keep: me" in report.read_text()


def test_a_second_time_changes_nothing_even_without_an_end(tmp_path):
    """The time at which a report was made is not made anew."""
    report = tmp_path / "report.md"
    report.write_text("x\n")
    trace = Trace(trace_id="trc_new")
    add_frontmatter(report, trace)
    content = report.read_bytes().replace(b"generated_at: 2", b"generated_at: 1")
    report.write_bytes(content)
    add_frontmatter(report, trace)
    assert report.read_bytes() == content


def test_a_report_that_is_not_there_is_an_error(tmp_path):
    """The caller named a file."""
    with pytest.raises(FileNotFoundError):
        add_frontmatter(tmp_path / "none.md", Trace(trace_id="trc_1"))


@pytest.mark.usefixtures("traced")
def test_a_path_that_was_set_stays():
    """Adding front matter to another copy does not rename the report."""
    with TraceContext.start(project_name="cobot") as trace:
        run_pipeline(trace)
    assert trace.outputs["report_path"] == "reports/cobots.md"
