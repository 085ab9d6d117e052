"""Tables on a terminal: whatever its width, nothing is lost without being named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whence
from whence.cli import fitting, output
from whence.query import text

WIDTHS = (40, 60, 80, 100, 120, 200)


@pytest.fixture(params=WIDTHS)
def width(request, monkeypatch):
    """How wide the terminal is that output is printed on, without colours."""
    monkeypatch.setattr("whence.cli.output.is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    return request.param


@pytest.fixture
def costly(home):
    """A home with a dear run, one whose calls have no price, and one that is half priced."""
    whence.configure(home)
    for name, costs in (("dear", [112.34]), ("blind", [None] * 7), ("half", [0.25, None])):
        with whence.run(name, project="a project of many words", external_id=f"ticket-{name}"):
            for cost in costs:
                whence.current_run().record_generation(model="m", cost_usd=cost)
    whence.configure(home, enabled=False)


def columns():
    made = st.builds(
        fitting.Column,
        st.text("ab ", min_size=1, max_size=40),
        right=st.booleans(),
        state=st.booleans(),
        whole=st.booleans(),
        cut=st.booleans(),
        leaves=st.integers(0, 3),
    )
    return st.lists(made, min_size=1, max_size=6)


@given(columns(), st.integers(10, 200), st.data())
def test_a_layout_fits_and_leaves_out_what_it_names(made, width, data):
    """Columns that are never cut keep their widest cell, and the sum is what there is at most."""
    row = st.lists(st.text("xy ", max_size=60), min_size=len(made), max_size=len(made))
    rows = data.draw(st.lists(row, max_size=4))

    layout = fitting.fit(made, rows, width)

    if layout is None:
        assert sum(not column.leaves for column in made)
        return
    gaps = fitting.GAP_COLUMNS * (len(layout.places) - 1)
    assert sum(layout.widths) + gaps <= width
    assert len(layout.places) + len(layout.left_out) == len(made)
    for place, wide in zip(layout.places, layout.widths, strict=True):
        if not made[place].cut and (made[place].right or made[place].whole or made[place].state):
            assert wide >= max((text.columns(one[place]) for one in rows), default=0)


@pytest.mark.usefixtures("costly")
def test_numbers_and_ids_are_whole_or_their_column_is_named_as_left_out(ask, ask_json, width):
    """`$112.34` is not `$11` anywhere, and runs of one millisecond differ by their ids."""
    runs = ask_json("runs")["items"]

    shown = ask("runs").stdout
    said = " ".join(shown.split())

    for run in runs:
        assert run["id"][:16] in shown
        assert run["status"] in shown
    for title, cells in {"cost": ("$112.34", "$0.2500"), "unpriced": ("7 of 7", "1 of 2")}.items():
        is_left_out = "left out: " in said and title in said.split("left out: ")[1]
        assert is_left_out or all(cell in said for cell in cells)
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= width
    assert ("left out: " in said) == (width < 120)


@pytest.mark.usefixtures("width")
def test_sql_on_a_narrow_terminal_shows_records_rather_than_losing_a_column(ask, recorded):
    """All of a query's columns are there, side by side or below each other."""
    shown = ask("sql", "SELECT id, name, project, external_id, started_ns, status FROM runs").stdout

    said = "".join(shown.split())
    for word in (recorded.calm, recorded.bold, "started_ns", "external_id", "trc_0", "weather"):
        assert word in said
    assert "left out" not in shown


@pytest.mark.usefixtures("recorded")
def test_a_query_without_rows_still_names_its_columns(ask, monkeypatch):
    """Where no table fits, there is no record to read the names from."""
    monkeypatch.setattr("whence.cli.output.is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")

    shown = ask("sql", "SELECT id, name, project, external_id FROM runs WHERE 1 = 0").stdout

    assert " ".join(shown.split()) == "id, name, project, external_id"


@pytest.mark.parametrize("arguments", [("--by", "model"), ("--by", "model", "--by", "run.name")])
@pytest.mark.usefixtures("costly", "width")
@pytest.mark.parametrize("command", ["stats", "costs"])
def test_figures_by_group_never_show_a_cost_without_what_is_not_in_it(ask, command, arguments):
    """The count of calls without a price leaves later than the cost."""
    said = " ".join(ask(command, *arguments).stdout.split())

    left_out = said.partition("left out: ")[2].partition(";")[0].split(", ")
    assert ("cost" in left_out) or not {"unpriced_calls", "unpriced"} & set(left_out)


def test_text_is_cut_with_a_mark(monkeypatch, capsys):
    """A name that is too long ends in an ellipsis; what else stands in its row is whole."""
    monkeypatch.setattr("whence.cli.output.is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")

    output.print_table(
        [output.Column("name", cut=True), output.Column("count", right=True)],
        [["a name of far too many words for it", "1,234,567,890"]],
    )

    assert "a name of far…   1,234,567,890" in capsys.readouterr().out
