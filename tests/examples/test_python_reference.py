"""The example pipeline computes what it says: each law is checked on its own questions."""

from __future__ import annotations

import http.server
import json
import os
import re
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from python_reference import (
    batch,
    corpus,
    evidence,
    formulation,
    intake,
    model,
    quality,
    questions,
    retrieval,
    rubric,
    settings,
    synthesis,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WITH = "How do I write a context manager for the `with` statement?"
HASH = "How do I make instances of my class hashable?"


def draft(question: str, knobs: settings.Settings | None = None) -> tuple[Any, ...]:
    """One round of the pipeline, untraced."""
    index = retrieval.load_index()
    brief = intake.read_question(question, index)
    measure = rubric.build_rubric(brief, index)
    used = knobs or settings.FIRST_ROUND[brief.intent]
    query, _ = formulation.formulate(brief, used, [], index)
    hits = retrieval.search(index, query.terms, used.candidates)
    verdicts = evidence.judge(brief, hits, query.terms, index, used)
    return brief, measure, verdicts, synthesis.write_report(brief, measure, verdicts, used)


def judge(markdown: str, brief: Any, measure: Any, report: Any) -> dict[str, float]:
    taken = quality.take_apart(markdown, report.sources)
    problems = [quality.find_code_problem(code) for code in taken.code]
    verdict = quality.assess(taken, brief, measure, problems)
    return {one.principle: one.value for one in verdict.measures}


def read_log(home: Path) -> list[dict[str, Any]]:
    lines = (line for path in home.glob("log/*/*.jsonl") for line in path.read_text().splitlines())
    return [json.loads(line) for line in lines]


def find_records(records: list[dict[str, Any]], run: str, kind: str) -> list[dict[str, Any]]:
    return [record for record in records if record["run"] == run and record["kind"] == kind]


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[batch.Outcome], list[dict[str, Any]]]:
    """All questions, asked by two processes, and what they recorded."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OPENAI_API_KEY", raising=False)
        outcomes = list(batch.iter_outcomes(questions.QUESTIONS, home, processes=2))
    return outcomes, read_log(home)


@pytest.mark.parametrize("section", corpus.load_sections()[::40], ids=lambda section: section.id)
def test_the_sentences_of_a_section_occur_in_its_text(section):
    """What is quoted from a section can be found in it, and in the page it came from."""
    page = " ".join(corpus._topics[section.topic].split())
    for passage in section.passages:
        for sentence in corpus.split_sentences(passage.text) if passage.kind == "prose" else ():
            assert sentence in section.text
            assert sentence.split("[")[0].strip() in page


def test_sections_have_distinct_ids_and_one_primary_a_text():
    """A section can be cited by its id, and of equal texts exactly one is primary."""
    sections = corpus.load_sections()
    assert len({section.id for section in sections}) == len(sections) > 300
    primary = [section.digest for section in sections if section.primary]
    assert len(primary) == len(set(primary)) == len({section.digest for section in sections})


@pytest.mark.parametrize(
    ("question", "section"),
    [
        (WITH, "with"),
        ("What is the `lambda` expression?", "lambda"),
        ("Explain the `nonlocal` statement", "nonlocal"),
        ("What does `str.casefold` return?", "string-methods#str.casefold"),
    ],
)
def test_a_section_named_by_the_question_is_found_among_the_first(question, section):
    """Retrieval finds the section that defines what is asked about."""
    index = retrieval.load_index()
    query = intake.read_question(question, index).terms
    assert section in [hit.section.id for hit in retrieval.search(index, query, 4)]


def test_a_keyword_is_a_term_only_where_it_is_marked_as_code():
    """English `with` says nothing; `with` in backticks is the subject."""
    assert "`with`" in retrieval.find_terms("what about `with` here")
    assert "`with`" in retrieval.find_terms("the with statement")
    assert "`with`" not in retrieval.find_terms("strings with spaces")


def test_the_probabilities_of_intents_add_up_to_one():
    """An intent is chosen among probabilities, whatever the wording."""
    for question in (*questions.QUESTIONS, "", "banana"):
        probabilities, _ = intake.classify_intent(question)
        assert sum(probabilities.values()) == pytest.approx(1.0)
    assert {max(p, key=p.get) for p, _ in map(intake.classify_intent, questions.QUESTIONS)} == set(
        intake.INTENTS
    )


def test_different_intents_activate_different_principles():
    """A question that asks how is measured by its code, one that asks whether by its limits."""
    index = retrieval.load_index()
    how = rubric.build_rubric(intake.read_question(WITH, index), index)
    whether = rubric.build_rubric(
        intake.read_question("Is a tuple always immutable?", index), index
    )
    assert "gives_code_example" in how.decisive
    assert "gives_code_example" not in whether.weights
    assert "states_limits" in whether.decisive


def test_every_dropped_section_says_why():
    """Evidence is kept from the threshold on, and everything else has a reason that is true."""
    brief, _, verdicts, _ = draft(WITH)
    knobs = settings.FIRST_ROUND[brief.intent]
    assert any(one.kept for one in verdicts)
    assert any(not one.kept for one in verdicts)
    for one in verdicts:
        assert one.reason
        expected = sum(evidence.WEIGHTS[name] * value for name, value in one.scores.items())
        assert one.composite == pytest.approx(expected, abs=1e-3)
        assert all(0 <= value <= 1 for value in one.scores.values())
        if one.kept:
            assert one.composite >= knobs.threshold
        elif "below" in one.reason:
            assert one.composite < knobs.threshold


@pytest.mark.parametrize("question", questions.QUESTIONS)
def test_every_citation_points_to_a_kept_section_that_has_the_sentence(question):
    """A quoted sentence occurs word for word in the section its number stands for."""
    _, _, verdicts, report = draft(question, settings.Settings(threshold=0.3, limits=True))
    kept = {one.section.id for one in verdicts if one.kept}
    claims = re.findall(r"^(.+) \[(\d+)\]$", report.markdown, re.MULTILINE)
    quotes = [(text, int(number)) for text, number in claims if not text.startswith("#")]
    assert len(quotes) == report.quoted > 0 or not kept
    for text, number in quotes:
        section = report.sources[number - 1]
        assert section.id in kept
        assert text in section.text


def test_scores_depend_on_the_report():
    """Taking citations, code or the subject out of a report lowers the score for just that."""
    brief, measure, _, report = draft(WITH)
    full = judge(report.markdown, brief, measure, report)

    uncited = judge(re.sub(r" \[\d+\]", "", report.markdown), brief, measure, report)
    assert full["cites_sources"] == 3.0
    assert uncited["cites_sources"] == 0.0
    assert uncited["answers_key_terms"] == full["answers_key_terms"]

    no_code = re.sub(r"```.*?```", "", report.markdown, flags=re.DOTALL)
    assert judge(no_code, brief, measure, report)["gives_code_example"] == 0.0

    broken = report.markdown.replace("```python\n", "```python\n)(\n")
    worse = judge(broken, brief, measure, report)["gives_code_example"]
    assert 0.0 <= worse < full["gives_code_example"]

    off = "# x\n\n## Answer\n\nBananas are yellow fruit of the tropics. [1]\n"
    assert judge(off, brief, measure, report)["answers_key_terms"] == 0.0

    doubled = report.markdown.replace("## Answer\n\n", "## Answer\n\n" + first_claim(report) * 2)
    assert judge(doubled, brief, measure, report)["no_repetition"] < full["no_repetition"]


def first_claim(report: Any) -> str:
    return report.markdown.split("## Answer\n\n")[1].split("\n")[0] + "\n\n"


def test_the_gate_fails_a_report_without_evidence():
    """Nothing kept, nothing said, nothing passed."""
    brief, measure, verdicts, report = draft(HASH, settings.Settings(threshold=1.0))
    assert not any(one.kept for one in verdicts)
    verdict = quality.assess(quality.take_apart(report.markdown, report.sources), brief, measure)
    assert not verdict.passed
    assert set(measure.decisive) & set(verdict.failed)


def test_a_failing_gate_changes_the_settings_it_has_reason_to():
    """A revision turns the knobs of the failed principles and no others, and says for which."""
    first = settings.FIRST_ROUND["learning"]
    revision = settings.revise(first, ["states_limits", "several_sources"])
    assert revision.settings.limits
    assert revision.settings.threshold < first.threshold
    assert revision.settings.candidates > first.candidates
    assert revision.settings.code == first.code
    assert {c.knob for c in revision.changes} == set(revision.changed)
    assert "states_limits" in revision.why

    untouched = settings.revise(first, [])
    assert untouched.settings == first
    assert not untouched.changes


def test_every_principle_has_a_check_and_a_remedy():
    """The rubric, the measures and the remedies speak of the same principles."""
    ids = {principle.id for principle in rubric.PRINCIPLES}
    assert len(ids) >= 10
    assert ids == set(quality.CHECKS) == set(settings.REMEDIES)


def test_different_questions_give_different_decisions(traced):
    """No two questions have the same key terms or the same report."""
    outcomes, records = traced
    assert len(outcomes) == len(questions.QUESTIONS) >= 24
    assert len({outcome.report for outcome in outcomes}) == len(outcomes)
    terms = [r["what"] for r in records if r["kind"] == "decision" and r["name"] == "key_terms"]
    assert len({tuple(what) for what in terms}) == len(outcomes)
    assert {outcome.intent for outcome in outcomes} == set(intake.INTENTS)


def test_some_reports_pass_at_once_some_after_a_retry_and_some_never(traced):
    """The gate is neither a formality nor a wall."""
    outcomes, _ = traced
    passed = [outcome for outcome in outcomes if outcome.passed]
    assert 0.5 < len(passed) / len(outcomes) < 0.95
    assert any(outcome.rounds > 1 for outcome in passed)
    assert all(outcome.rounds > 1 for outcome in outcomes if not outcome.passed)


def test_several_processes_write_whole_runs_to_one_home(traced):
    """The work is done in other processes than this, and every run is complete in the one home."""
    outcomes, records = traced
    workers = {outcome.process_id for outcome in outcomes}
    assert os.getpid() not in workers
    assert 1 <= len(workers) <= 2  # the first may be done before the second has started
    ended = {r["run"]: r["status"] for r in records if r["kind"] == "run_ended"}
    assert ended == {outcome.run_id: "complete" for outcome in outcomes}


def test_a_run_records_its_five_stages_and_what_was_decided_in_each(traced):
    """Every stage is there, each decision says why, and options not taken say why not."""
    outcomes, records = traced
    for outcome in outcomes:
        spans = find_records(records, outcome.run_id, "span_started")
        stages = [span["name"] for span in spans if span["span_kind"] == "stage"]
        assert stages[:2] == ["intake", "rubric"]
        assert stages[2:] == ["collection", "synthesis", "quality_gate"] * outcome.rounds
        for decision in find_records(records, outcome.run_id, "decision"):
            assert decision["why"]
            assert decision["options"]
        sources = find_records(records, outcome.run_id, "source")
        assert all(source["reason"] for source in sources)
        assert any(source.get("kept", True) is False for source in sources)


def test_a_retry_is_linked_to_its_original_and_says_what_it_changes(traced):
    """Rounds form a chain from the earlier to the later, with one decision and one event each."""
    outcomes, records = traced
    for outcome in outcomes:
        links = find_records(records, outcome.run_id, "link")
        retries = [link for link in links if link["link_kind"] == "retry_of"]
        spans = find_records(records, outcome.run_id, "span_started")
        rounds = [span["span"] for span in spans if span["name"].startswith("round ")]
        assert [(r["source"], r["target"]) for r in retries] == list(pairwise(rounds))
        changed = [
            decision
            for decision in find_records(records, outcome.run_id, "decision")
            if decision["name"] == "retry_settings" and decision["what"]
        ]
        assert len(changed) == outcome.rounds - 1
        assert all(decision["inputs"]["failed"] for decision in changed)


def test_a_run_whose_gate_fails_is_flagged_for_review(traced):
    """A failure is a finding about the report, not about the run."""
    outcomes, records = traced
    for outcome in outcomes:
        flags = find_records(records, outcome.run_id, "annotation")
        assert len(flags) == (0 if outcome.passed else 1)
        updates = find_records(records, outcome.run_id, "update")
        tags = [tag for update in updates for tag in update.get("tags", ())]
        assert ("gate_failed" in tags) is not outcome.passed


class _Model(http.server.BaseHTTPRequestHandler):
    """A server that speaks Chat Completions: it quotes nothing and cites the first excerpt."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {
            "id": "chatcmpl-1",
            "model": f"{asked['model']}-2026",
            "choices": [
                {
                    "message": {"content": "## Answer\n\nWrite `__enter__` and `__exit__` [1]."},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 700, "completion_tokens": 12, "total_tokens": 712},
        }
        failing = asked["model"] == "broken"
        body = json.dumps({"error": "overloaded"} if failing else answer).encode()
        self.send_response(503 if failing else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Be quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Model) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}/v1"
        serving.shutdown()


def ask_with_model(home: Path, url: str, name: str, monkeypatch) -> tuple[batch.Outcome, list[Any]]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("OPENAI_MODEL", name)
    (outcome,) = batch.iter_outcomes([WITH], home, processes=2)
    return outcome, read_log(home)


def test_a_model_writes_the_report_when_one_is_configured(home, server, monkeypatch):
    """Its text is the report, and its call is recorded with what the provider stated."""
    outcome, records = ask_with_model(home, server, "small", monkeypatch)
    assert "Write `__enter__` and `__exit__`" in outcome.report
    calls = find_records(records, outcome.run_id, "generation")
    assert len(calls) == outcome.rounds
    assert calls[0]["usage"]["stated"]["total_tokens"] == 712
    assert calls[0]["response_model"] == "small-2026"
    assert "sk-secret" not in json.dumps(records)


def test_quotations_take_over_when_the_model_fails(home, server, monkeypatch):
    """The failed call is recorded as one, and the report is written all the same."""
    outcome, records = ask_with_model(home, server, "broken", monkeypatch)
    assert 'The "with" statement' in outcome.report
    call = find_records(records, outcome.run_id, "generation")[0]
    assert call["status"] == "error"
    assert "503" in call["error"]["message"]


def test_no_model_is_asked_without_a_key(monkeypatch):
    """Nothing leaves the machine unless the user says so."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert model.find_model() is None
