"""`whence demo`: runs the example pipeline and asks what whence is there to answer.

The pipeline runs in processes of its own, as a user's would, and only its log is read here. Nothing
is canned: other questions give other answers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from whence import _clock, config
from whence.cli import figures, filtering, output
from whence.cli.commands.runs import SHORT_ID
from whence.cli.common import choices, command, home_option, home_path, open_reader, refuse
from whence.errors import StoreError

if TYPE_CHECKING:
    from whence.query.reader import Reader
    from whence.query.why import Why
    from whence.store.rows import DecisionRow, RunRow

EXAMPLE = "python_reference"
PROJECT = "python-reference"
_SHOWN = 5


@dataclass(frozen=True)
class Answers:
    """What was asked of the demo's runs."""

    runs: list[RunRow]
    """All of them, latest first."""
    explained: RunRow
    """The run whose report is explained."""
    why: Why
    """The chain behind its report."""
    failed: list[tuple[str, int, int]]
    """Principle, how often it failed, how often it was judged; most failures first."""
    unsure: list[DecisionRow]
    """The decisions with the lowest confidence."""
    commands: list[tuple[str, str]]
    """What to see next, and what to type for it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the answers as JSON-ready data."""
        return {
            "home": str(home_path()),
            "runs": [run.to_dict() for run in self.runs],
            "report": self.explained.output,
            "why": self.why.to_dict(),
            "failed_principles": [
                {"name": name, "failed": failed, "judged": judged}
                for name, failed, judged in self.failed
            ],
            "least_sure": [decision.to_dict() for decision in self.unsure],
            "next": [{"to_see": to_see, "type": typed} for to_see, typed in self.commands],
        }


@command("demo")
@click.option(
    "--questions", type=click.IntRange(min=1), metavar="N", help="Ask the first N questions only."
)
@click.option("--ask", metavar="QUESTION", help="Ask this about Python instead.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Work in N processes.",
)
def demo(questions: int | None, ask: str | None, processes: int) -> None:
    """Run the example pipeline and ask it why.

    A research pipeline with five stages answers questions about Python from the language reference
    that came with your Python: no model, no network. Its quality gate fails some reports and
    retries. What it recorded is then asked: which runs, why this report, what fails most, what to
    look at next. It takes a few seconds.
    """
    if ask is not None and not ask.strip():
        refuse("--ask needs a question, and this one has no words")
    began_ns = _clock.wall_ns()
    _run_pipeline(questions, ask, processes)
    with open_reader() as reader:
        answers = _ask(reader, began_ns)
    if choices().json:
        output.print_json(answers.to_dict())
    else:
        _show(answers)


def find_examples() -> Path:
    """Return the folder that the example package is in: the installed package's, or the checkout's.

    Raises:
        StoreError: It is in neither.
    """
    here = Path(__file__).resolve()
    for folder in (here.parents[2] / "_examples", here.parents[4] / "examples"):
        if (folder / EXAMPLE / "__main__.py").is_file():
            return folder
    raise StoreError("the example is not in this installation; install whence again from its wheel")


def _run_pipeline(questions: int | None, ask: str | None, processes: int) -> None:
    """Run the example and pass on what it says, but for what to do next.

    Raises:
        StoreError: It did not come to its end.
    """
    arguments = [
        sys.executable,
        "-m",
        EXAMPLE,
        "--home",
        str(home_path()),
        "--processes",
        str(processes),
    ]
    arguments += (
        ["--ask", ask] if ask is not None else ["--questions", str(questions)] if questions else []
    )
    source = str(Path(config.__file__).resolve().parents[1])
    paths = [str(find_examples()), source, os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    with subprocess.Popen(  # noqa: S603 - our own example
        arguments, stdout=subprocess.PIPE, env=environment, encoding="utf-8"
    ) as process:
        for line in process.stdout or ():
            said = output.safe_lines(line.rstrip("\n"))
            if choices().json:
                output.note(said)
            elif not said.startswith("Next:"):
                output.print_lines([said])
                output.flush()
    if process.returncode:
        raise StoreError(
            f"the example ended with exit code {process.returncode}; what it said is above"
        )


def _ask(reader: Reader, began_ns: int) -> Answers:
    """Return the answers about the runs that began after `began_ns`.

    Raises:
        StoreError: There are none.
    """
    runs = reader.runs(
        f"project = {filtering.quote(PROJECT)} and started_ns >= {began_ns}", limit=None
    ).items
    if not runs:
        raise StoreError("the example recorded nothing: is WHENCE_DISABLED set?")
    these = filtering.one_of("run", [run.id for run in runs])
    scores = reader.scores(f'{these} and name != "overall" and passed is not null', limit=None)
    judged = Counter(score.name for score in scores)
    failed = Counter(score.name for score in scores if not score.passed)
    unsure = reader.decisions(
        f"{these} and confidence is not null", order="confidence", limit=_SHOWN
    ).items
    explained = _interesting(runs)
    return Answers(
        runs,
        explained,
        reader.why(str(explained.output)),
        [(name, count, judged[name]) for name, count in failed.most_common()],
        unsure,
        _next_commands(runs, explained, max(failed, key=lambda name: failed[name], default=None)),
    )


def _show(answers: Answers) -> None:
    output.print_heading("The runs")
    _show_runs(answers.runs)
    report, rounds = answers.explained.output, answers.explained.attributes.get("rounds")
    output.print_heading(f"Why {report}: the report that was kept after round {rounds}")
    output.print_text(answers.why.to_text())
    if answers.failed:
        output.print_heading("The principles that failed most, over all rounds")
        output.print_table(
            [
                output.Column("principle"),
                output.Column("failed", right=True),
                output.Column("of", right=True),
                output.Column("share", right=True),
            ],
            [
                [name, failed, judged, figures.share(failed / judged)]
                for name, failed, judged in answers.failed[:_SHOWN]
            ],
        )
    questions = {run.id: run.attributes.get("question") for run in answers.runs}
    output.print_heading("The decisions it was least sure of")
    output.print_table(
        [
            output.Column("confidence", right=True),
            output.Column("decision", whole=True),
            output.Column("chosen"),
            output.Column("why", leaves=1),
            output.Column("question", leaves=2),
        ],
        [
            [d.confidence, d.name, output.text.printable(d.what, 40), d.why, questions.get(d.run)]
            for d in answers.unsure
        ],
    )
    output.print_heading("Where to look next")
    output.print_facts([[f"{to_see}:", typed] for to_see, typed in answers.commands])


def _show_runs(runs: list[RunRow]) -> None:
    short = output.is_terminal()
    output.print_table(
        [
            output.Column("run", whole=True),
            output.Column("question"),
            output.Column("intent", leaves=1),
            output.Column("gate", state=True),
            output.Column("rounds", right=True, leaves=2),
            output.Column("decisions", right=True, leaves=3),
            output.Column("took", right=True, leaves=2),
        ],
        [
            [
                run.id[:SHORT_ID] if short else run.id,
                run.attributes.get("question"),
                run.attributes.get("intent"),
                "passed" if "gate_passed" in run.tags else "failed",
                run.attributes.get("rounds"),
                run.decisions,
                output.text.duration(run.duration_ms),
            ]
            for run in runs
        ],
    )


def _interesting(runs: list[RunRow]) -> RunRow:
    """Return the run to explain: one that passed after a retry, else one that passed."""

    def rank(run: RunRow) -> tuple[bool, bool]:
        rounds = run.attributes.get("rounds")
        return "gate_passed" in run.tags, isinstance(rounds, int) and rounds > 1

    return max(runs, key=rank)


def _next_commands(
    runs: list[RunRow], explained: RunRow, worst: str | None
) -> list[tuple[str, str]]:
    home = home_option()
    failed = next((run for run in runs if "gate_failed" in run.tags), None)
    other = failed or next((run for run in runs if run.id != explained.id), None)
    commands = [("that run step by step", f"whence show {explained.id}{home}")]
    if other is not None:
        commands.append(("where two runs part", f"whence compare {explained.id} {other.id}{home}"))
    if failed is not None:
        commands.append(("why a report never passed", f"whence why {failed.output}{home}"))
    if worst is not None:
        commands.append(("who fails that principle", f"whence runs 'score(\"{worst}\") < 2'{home}"))
    commands.append(
        ("how sure each decision is", f"whence stats --table decisions --by name{home}")
    )
    return commands
