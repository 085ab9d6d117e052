"""`whence demo` runs the real pipeline and answers from what it recorded."""

from __future__ import annotations

import re
import shlex

import pytest

from whence.cli.commands.demo import find_examples


def test_the_demo_answers_and_every_command_it_proposes_works(ask, home):
    """Runs, a why and what to type next come out, and what it says to type can be typed."""
    result = ask("demo", "--questions", "4")

    assert result.exit_code == 0, result.stderr
    headings = ("The runs", "Why ", "The principles that failed most", "Where to look next")
    assert all(heading in result.stdout for heading in headings)
    proposed = re.findall(r"^[\w ]+:  +whence (.+)$", result.stdout, re.MULTILINE)
    assert len(proposed) >= 4
    for line in proposed:
        arguments = shlex.split(line)
        assert arguments[-2:] == ["--home", str(home)]
        answer = ask(*arguments, home=None)
        assert answer.exit_code == 0, (line, answer.stderr)
        assert answer.stdout


def test_the_demo_as_json_is_one_document(ask_json):
    """What the pipeline says goes to standard error, and the answers are one document."""
    answers = ask_json("demo", "--ask", "Why does the `else` clause of a `for` loop exist?")

    assert len(answers["runs"]) == 1
    assert answers["report"] == answers["runs"][0]["output"]
    assert answers["next"]


def test_one_is_not_told_as_many(ask):
    """One question by one process."""
    said = ask("demo", "--questions", "1", "--processes", "1").stdout

    assert re.search(r"^1 question in [\d.]+ s by 1 process: ", said, re.MULTILINE)


def test_other_questions_give_other_decisions(ask_json):
    """Nothing is canned."""
    first = ask_json("demo", "--ask", "What is a descriptor?")
    other = ask_json("demo", "--ask", "How do I catch an exception with `except`?")

    assert first["report"] != other["report"]
    assert first["runs"][0]["attributes"] != other["runs"][0]["attributes"]
    assert len(other["runs"]) == 1


@pytest.mark.parametrize(
    "arguments", [["--questions", "0"], ["--processes", "none"], ["--ask", " "]]
)
def test_the_demo_refuses_nonsense(ask, home, arguments):
    """Misuse starts nothing."""
    assert ask("demo", *arguments).exit_code == 2
    assert not home.exists()


def test_the_example_is_found():
    """In a checkout it is the folder `examples`."""
    assert (find_examples() / "python_reference" / "pipeline.py").is_file()
