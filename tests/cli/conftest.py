"""A home with real runs in it, and the command line asked about it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

import whence
from whence.cli.app import cli

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = (
    "\x1b[31mred\x1b]8;;http://evil\x07\x1b]52;c;aGk=\x07\u202egnp.exe\n2026 fake line[bold]\x9b1m"
)
"""Colours, a link, a clipboard write, reversed text, a line of its own, rich markup, and a C1
control.
"""


@pytest.fixture
def ask(home):
    """Return a function that runs a command on the test's home and returns click's result."""
    runner = CliRunner()

    def run(*arguments, home=home, text=None):
        where = ["--home", str(home)] if home else []
        return runner.invoke(cli, [*arguments, *where], input=text)

    return run


@pytest.fixture
def ask_json(ask):
    """Return a function that runs a command with `--json` and returns the document it printed."""

    def run(*arguments, **settings):
        result = ask(*arguments, "--json", **settings)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return run


def record(home: Path) -> SimpleNamespace:
    """Record two good runs and a failed one, and return their ids."""
    whence.configure(home=home)
    ids = []
    for number, mood in enumerate(("calm", "bold")):
        with whence.run("weather", project="sky", external_id=f"trc_{number}") as run:
            with whence.stage("collect") as stage:
                stage.source("station", "north", kept=True, scores={"relevance": 0.9})
                stage.source("station", "south", kept=False, reason="too old")
            with whence.stage("judge") as stage:
                stage.decide(
                    "mood",
                    mood,
                    why="The wind says so.",
                    confidence=0.4 + number / 4,
                    options={mood: 0.7, "other": 0.3},
                )
                stage.score("clear", 1.0 + number, threshold=2.0, by="rule", feedback="could be")
            run.output(f"forecast-{number}", kind="report", summary=f"It will be {mood}.")
            run.link("used", f"forecast-{number}", source="north")
        ids.append(run.id)
    with pytest.raises(ValueError, match="no wind"), whence.run("weather", project="sky") as run:
        raise ValueError("no wind")
    whence.flush()
    return SimpleNamespace(home=home, calm=ids[0], bold=ids[1], failed=run.id)


@pytest.fixture
def recorded(home):
    return record(home)


@pytest.fixture
def hostile(home):
    """A run in which every text is out to get the terminal."""
    whence.configure(home=home)
    with whence.run(HOSTILE, project=HOSTILE) as run, whence.stage(HOSTILE) as stage:
        stage.decide(
            HOSTILE, HOSTILE, why=HOSTILE, options=[HOSTILE, "b"], inputs={HOSTILE: HOSTILE}
        )
        stage.source(HOSTILE, HOSTILE, reason=HOSTILE, kept=False)
        stage.score(HOSTILE, 1, feedback=HOSTILE)
        stage.event(HOSTILE)
        stage.flag(HOSTILE)
        stage.tag(HOSTILE)
        stage.tool_call(HOSTILE, output=HOSTILE, error=HOSTILE)
        stage.transformation(HOSTILE, method=HOSTILE)
        stage.record_generation(model=HOSTILE, messages=[{"role": "user", "content": HOSTILE}])
        run.output(HOSTILE, summary=HOSTILE, value=HOSTILE)
        run.link("used", HOSTILE, source=run.id)
    whence.flush()
    return run.id
