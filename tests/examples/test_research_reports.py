"""The retrofitted pipeline traces what it really does, and works the same without a trace."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from python_reference import intake, questions, retrieval, rubric, settings
from research_reports import __main__ as program
from research_reports import components, pipeline

import whence
from whence import research
from whence.capture.context import current_scope
from whence.dialects.research import live
from whence.query.reader import open_store
from whence.research import TraceContext, TraceQuery, validate_component

if TYPE_CHECKING:
    from collections.abc import Iterator

ASKED = 4


@pytest.fixture
def recording(home: Path) -> Iterator[Path]:
    """Record into a home of the test's own; nothing is recorded afterwards."""
    tokens = current_scope.set(None), live._current.set(None)
    yield home
    current_scope.reset(tokens[0])
    live._current.reset(tokens[1])
    research.configure()
    whence.configure(home, enabled=False)


def test_every_question_leaves_a_trace_and_a_report_that_name_each_other(
    recording, tmp_path, capsys
):
    """The program runs, and what it prints is what the traces say."""
    arguments = ["--home", str(recording), "--to", str(tmp_path / "b"), "--questions", str(ASKED)]
    assert program.main(arguments) == 0
    printed = capsys.readouterr().out
    folder = tmp_path / "b" / "projects" / pipeline.PROJECT
    assert len(list((folder / "_traces").glob("trc_*.json"))) == ASKED
    found = asyncio.run(TraceQuery.by_project(pipeline.PROJECT))
    assert [one.query for one in reversed(found)] == list(questions.QUESTIONS[:ASKED])
    for one in found:
        assert (one.status, one.query in printed) == ("complete", True)
        document = asyncio.run(TraceQuery.full_trace(one.trace_id))
        report = Path(document["outputs"]["report_path"]).read_text("utf-8")
        front = yaml.safe_load(report.split("---\n")[1])
        assert front["trace_id"] == one.trace_id
        assert front["quality_score"] == pytest.approx(one.overall_quality_score, rel=1e-4)
        assert front["quality_gate"] == ("passed" if one.quality_gate_passed else "failed")
    worst = asyncio.run(TraceQuery.principle_patterns(min_runs=1))[0]
    assert worst["principle_id"] in printed


def test_the_evidence_in_a_trace_is_what_was_judged(recording, tmp_path):
    """Sections kept and dropped, with the scores that the pipeline computed."""
    whence.configure(recording)
    research.configure(root=tmp_path / "b")
    index = retrieval.load_index()
    question = questions.QUESTIONS[0]
    outcome = asyncio.run(pipeline.research(question, index, tmp_path / "reports"))
    brief = intake.read_question(question, index)
    candidates = components.collect(brief, settings.FIRST_ROUND[brief.intent], [], index)
    with open_store(recording) as reader:
        tree = reader.run(outcome.trace_id)
        first = [row for row in tree.sources if row.span == tree.find("collection").row.id]
        assert {row.source_key: (row.kept, row.quality) for row in first} == {
            f"pydoc:{one.section.id}": (one.kept, one.composite) for one in candidates
        }


def test_components_keep_their_contract_and_need_no_trace(recording):
    """The rubric loader records what it promises, and gives the same without a trace."""
    whence.configure(recording)
    index = retrieval.load_index()
    brief = intake.read_question(questions.QUESTIONS[0], index)
    loader = components.RubricLoader()
    trace = TraceContext.start(enabled=False)
    untraced = loader.load(brief, index)
    asyncio.run(TraceContext.finish(trace))
    trace = research.Trace(trace_id="trc_test")
    token = live._current.set(trace)
    assert loader.load(brief, index) == untraced == rubric.build_rubric(brief, index)
    live._current.reset(token)
    assert validate_component(loader, trace) == []
