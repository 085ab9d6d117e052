"""What stored calls cost: declared and computed apart, history costed again by later records."""

from __future__ import annotations

import json
import random

import pytest
from click.testing import CliRunner

import whence
from whence.analysis import costing, costrows, repricing
from whence.capture.context import current_scope
from whence.cli.app import cli
from whence.log import segment
from whence.log.home import Home
from whence.prices import pricing
from whence.prices.book import Book, Entry
from whence.prices.pricing import Prices
from whence.query.reader import open_store

BOOK = Book("book", [Entry("m*", None, None, {"input_mtok": 10.0, "output_mtok": 20.0})])
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 500}
COST = (1_000 * 10 + 500 * 20) / 1e6
UNKNOWN = "no price is known for the model x of nobody-has-this"


def record(**fields):
    with whence.generation("call") as span:
        span.record_generation(**{"provider": "p", "model": "m-1", "usage": USAGE, **fields})


@pytest.fixture
def recorded(home):
    """A home with calls of every sort, in two runs."""
    whence.configure(home)
    token = current_scope.set(None)
    with whence.run("a", project="one"):
        record()
        record(cost_usd=0.5)
        record(model="x", provider="nobody-has-this")
        record(usage=None, error={"type": "http_429"})
    with whence.run("b", project="two"):
        record(model="m-2", response_model="m-2-0301")
        record(model="x", provider="nobody-has-this", cost_usd=0.25)
    yield home
    current_scope.reset(token)
    whence.configure(home, enabled=False)


@pytest.fixture(params=[False, True], ids=["duckdb", "memory"])
def reader(recorded, request):
    with open_store(recorded, memory=request.param) as store:
        yield store


def test_declared_and_computed_costs_are_kept_apart(reader):
    """Their difference is over the calls that have both, and those with neither are counted."""
    found = costing.costs(reader, Prices(BOOK))

    assert found.by == ["model"]
    figures = {one.key[0]: one for one in found.shares}
    m1 = figures["m-1"]
    assert (m1.calls, m1.declared, m1.computed, m1.both, m1.unpriced_calls) == (3, 1, 2, 1, 1)
    assert (m1.declared_usd, m1.computed_usd) == (0.5, pytest.approx(2 * COST))
    assert m1.difference_usd == pytest.approx(COST - 0.5)
    x = figures["x"]
    assert (x.calls, x.declared, x.computed, x.unpriced_calls) == (2, 1, 0, 1)
    assert (x.declared_usd, x.computed_usd, x.difference_usd) == (0.25, None, None)
    assert (found.total.calls, found.total.unpriced_calls) == (6, 2)
    assert found.notes == {UNKNOWN: 2, pricing.NO_TOKENS: 1}


def test_costs_are_grouped_by_fields_of_calls_and_runs_and_by_day(reader):
    """The dearest group comes first."""
    found = costing.costs(reader, Prices(BOOK), by=("run.project", "day"))

    assert [one.key[0] for one in found.shares] == ["one", "two"]
    assert all(len(one.key[1]) == len("2026-01-01") for one in found.shares)
    assert sum(one.calls for one in found.shares) == 6


def test_a_filter_and_a_window_choose_the_calls(reader):
    """As everywhere."""
    assert costing.costs(reader, Prices(BOOK), filter='model = "x"').total.calls == 2
    assert costing.costs(reader, Prices(BOOK), window="1h").total.calls == 6
    with pytest.raises(whence.FilterError, match="Or take `day`"):
        costing.costs(reader, Prices(BOOK), by=("nothing",))


def test_history_is_costed_again_by_later_records(recorded):
    """Nothing that was written is changed; what is the same is not written again."""
    home = Home(recorded)

    def lines():
        return {str(name): name.path_in(home).read_bytes() for name in segment.iter_all(home)}

    whence.configure(recorded, enabled=False)
    before = lines()
    with whence.open(recorded) as store:
        first = repricing.reprice(store, Prices(BOOK))
        again = repricing.reprice(store, Prices(BOOK))
        kept = costing.costs(store, Prices(), by=())
    dearer = Book("book 2", [Entry("m-1", None, None, {"input_mtok": 20.0, "output_mtok": 40.0})])
    with whence.open(recorded) as store:
        changed = repricing.reprice(store, Prices(dearer))
        after = costing.costs(store, Prices(), by=())
        remarks = store.annotations(f'by = "{costrows.BY}"').items

    assert (first.calls, first.written, again.written) == (6, 3, 0)
    assert kept.total.computed_usd == pytest.approx(3 * COST)
    # Two calls cost twice as much now; the price of the third is gone.
    assert changed.written == 3
    assert after.total.computed_usd == pytest.approx(4 * COST)
    assert {name: content for name, content in lines().items() if name in before} == before
    assert len(remarks) == 6
    latest = remarks[0].attributes["cost"]
    assert all("cost" in one.attributes and one.note for one in remarks)
    assert latest.get("cost_usd") is None or latest["price"]["table"] == "book 2"


def test_a_stored_cost_says_its_price_and_its_day(recorded):
    """So that it can be checked years later."""
    with whence.open(recorded) as store:
        repricing.reprice(store, Prices(BOOK))
        call = store.generations('model = "m-2"').items[0]
        (remark,) = store.annotations(f'target = "{call.id}"').items

    assert remark.attributes["cost"] == {
        "cost_usd": pytest.approx(COST),
        "price": {
            "input_mtok": 10.0,
            "output_mtok": 20.0,
            "model": "m*",
            "table": "book",
            "effective_from": None,
        },
    }
    assert remark.note == "costs $0.0200 by book"


def test_a_remark_under_our_name_that_is_no_cost_is_left_alone(reader):
    """Anybody can write remarks."""
    call = reader.generations('model = "m-2"').items[0]
    for cost in ("much", {"cost_usd": "5"}, None):
        reader.annotate(call.id, by=costrows.BY, note="!", cost=cost)

    assert costing.costs(reader, Prices(BOOK)).total.computed_usd == pytest.approx(3 * COST)


def test_a_call_that_was_left_early_is_priced_by_what_was_stated(home):
    """And the note says so."""
    whence.configure(home)
    with whence.run("r"):
        record(status="cancelled")
    with whence.open(home) as store:
        found = costing.costs(store, Prices(BOOK))

    assert found.total.computed_usd == pytest.approx(COST)
    assert "left early" in next(iter(found.notes))


def test_a_response_in_the_background_is_priced_when_its_usage_is_known(home):
    """The usage came with a look at it, in an event of its span."""
    whence.configure(home)
    with whence.run("r"), whence.generation("call") as span:
        span.record_generation(provider="p", model="m-1", finish_reason="queued")
        span.event(costrows.FINISHED, usage=USAGE)
    for memory in (False, True):
        with open_store(home, memory=memory) as store:
            found = costing.costs(store, Prices(BOOK))
        assert found.total.computed_usd == pytest.approx(COST)


def test_a_result_of_a_batch_that_was_recorded_twice_is_counted_once(home):
    """Two processes fetched the same results."""
    whence.configure(home)
    with whence.run("r"):
        for _ in range(2):
            record(batch_id="b1", custom_id="a", cost_usd=0.5)
        record(batch_id="b1", custom_id="b")
    with whence.open(home) as store:
        found = costing.costs(store, Prices(BOOK))

    assert found.total.computed_usd == pytest.approx(2 * COST)
    assert found.total.declared_usd == 0.5
    assert found.notes == {costing.AGAIN: 1}


def test_a_cost_that_an_import_computed_is_no_declared_one(home):
    """It counts as computed until it is costed again."""
    whence.configure(home)
    with whence.run("r"):
        record(cost_usd=0.7, cost_source="computed")
    with whence.open(home) as store:
        before = costing.costs(store, Prices(BOOK)).total
        repricing.reprice(store, Prices(BOOK))
        after = costing.costs(store, Prices(BOOK)).total

    assert (before.declared_usd, before.computed_usd) == (None, 0.7)
    assert (after.declared_usd, after.computed_usd) == (None, pytest.approx(COST))


def test_both_stores_say_the_same(home):
    """For calls of any shape, whatever stands in their attributes."""
    draw = random.Random(7)  # noqa: S311 - no secret
    whence.configure(home)
    with whence.run("r", project="p"):
        for _ in range(200):
            usage = {
                name: draw.randrange(1000)
                for name in ("input_uncached", "cache_read", "output_visible", "reasoning")
                if draw.random() < 0.8
            }
            record(
                model=draw.choice(["m-1", "m-2", "x", None]),
                usage=usage or None,
                cost_usd=draw.choice([None, 0.1]),
                service_tier=draw.choice([None, "batch", 5]),
                parameters=draw.choice([None, {"speed": "fast"}, {"service_tier": "flex"}]),
                batch_id=draw.choice([None, "b"]),
                custom_id=draw.choice([None, "1", "2"]),
            )
    made = []
    for memory in (False, True):
        with open_store(home, memory=memory) as store:
            found = costing.costs(store, Prices(BOOK), by=("model", "run.project", "status"))
            made.append(json.loads(json.dumps(found.to_dict())))

    assert made[0] == made[1]


def run(*arguments):
    return CliRunner().invoke(cli, ["costs", *arguments])


def test_the_command_shows_costs_and_why_some_have_none(recorded):
    """A line a model, the total, and the reasons."""
    book = recorded / "prices.yaml"
    book.write_text("prices: [{model: 'm*', input_mtok: 10, output_mtok: 20}]")
    done = run("--home", str(recorded))

    lines = done.output.splitlines()
    assert done.exit_code == 0
    assert lines[0].split() == ["model", "calls", "declared", "computed", "difference", "unpriced"]
    assert lines[-3].split()[:2] == ["total", "6"]
    assert f"2 calls: {UNKNOWN}" in lines
    assert f"1 calls: {pricing.NO_TOKENS}" in lines


def test_the_command_reprices_and_fails_on_demand(recorded):
    """`--reprice` stores, `--fail-on unpriced` exits with 1, `--json` says all of it."""
    book = recorded.parent / "book.toml"
    book.write_text("[[prices]]\nmodel = 'm*'\ninput_mtok = 10\noutput_mtok = 20\n")
    done = run("--home", str(recorded), "--prices", str(book), "--reprice", "--json")
    failed = run("--home", str(recorded), "--fail-on", "unpriced", "--by", "run.project")
    said = json.loads(done.stdout)

    assert (done.exit_code, failed.exit_code) == (0, 1)
    assert said["repriced"] == {"calls": 6, "written": 3}
    assert said["total"]["computed_usd"] == pytest.approx(3 * COST)
    assert said["total"]["unpriced_calls"] == 2
    assert said["notes"][UNKNOWN] == 2
    assert {row["model"] for row in said["rows"]} == {"m-1", "m-2", "x"}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--prices", "nowhere.yaml"], "there is no price book at nowhere.yaml"),
        (["--by", "nothing"], "no field `nothing`"),
        (["--window", "soon"], "is not a window"),
    ],
)
def test_misuse_is_a_plain_sentence(recorded, arguments, problem):
    """Exit code 2, on standard error."""
    done = run("--home", str(recorded), *arguments)

    assert done.exit_code == 2
    assert problem in done.stderr


def test_hostile_names_do_not_reach_the_terminal(home):
    """Escape sequences of a model's name are shown as escapes."""
    whence.configure(home)
    with whence.run("r"):
        record(model="\x1b[31mred\u202e", provider="\x1b]52;")
    done = run("--home", str(home))

    assert done.exit_code == 0
    assert "\x1b" not in done.output
    assert "\u202e" not in done.output
