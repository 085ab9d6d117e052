"""A price book holds before the table; one that is wrong is refused whole."""

from __future__ import annotations

import datetime as dt

import pytest

from whence.errors import ConfigError
from whence.prices import book as books
from whence.prices import pricing
from whence.prices.rates import Steps
from whence.record.generation import Usage

BOOK = """
prices:
  - model: "llama-*"
    provider: vllm
    input_mtok: 0.10
    output_mtok: 0.40
    note: our cluster
  - model: "llama-*"
    from: 2026-03-01
    input_mtok: 0.20
    output_mtok: 0.80
  - model: gpt-4o
    input_mtok: {base: 1, tiers: [{start: 100, price: 2}]}
    output_mtok: 3
"""
TOML = """
[[prices]]
model = "llama-*"
from = 2026-03-01
input_mtok = 0.20
output_mtok = 0.80
"""
FALLING = """
prices:
  - model: m
    input_mtok: {base: 1, tiers: [{start: 2, price: 1}, {start: 1, price: 1}]}
"""
USAGE = Usage(input_uncached=1_000_000, output_visible=1_000_000)


def ns(year, month, day):
    return int(dt.datetime(year, month, day, 12, tzinfo=dt.UTC).timestamp()) * 1_000_000_000


@pytest.fixture
def write(tmp_path):
    def written(text, name="prices.yaml"):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return written


def cost(prices, model, when_ns, provider=None, usage=USAGE):
    return prices.cost(pricing.Asked(usage, provider, (model,), when_ns))


def test_an_entry_holds_from_its_day_for_the_models_it_names(write):
    """Of those that hold, the one that began last; the provider has to be the one it names."""
    prices = pricing.load(None, write(BOOK))

    assert cost(prices, "Llama-4", ns(2026, 2, 1), "vllm").cost_usd == pytest.approx(0.5)
    assert cost(prices, "llama-4", ns(2026, 3, 1), "vllm").cost_usd == pytest.approx(1.0)
    assert cost(prices, "llama-4", ns(2026, 3, 1), "other").cost_usd == pytest.approx(1.0)


def test_the_price_that_was_used_is_told(write):
    """With its file and the day from which it holds."""
    path = write(BOOK)
    prices = pricing.load(None, path)

    assert cost(prices, "llama-4", ns(2026, 4, 1)).price == {
        "input_mtok": 0.2,
        "output_mtok": 0.8,
        "model": "llama-*",
        "table": str(path),
        "effective_from": "2026-03-01",
    }


def test_a_book_holds_before_the_table(write):
    """Also for a model that the table knows."""
    prices = pricing.load(None, write(BOOK))
    small, large = (
        Usage(input_uncached=100, output_visible=0),
        Usage(input_uncached=101, output_visible=0),
    )

    assert cost(prices, "gpt-4o", ns(2026, 1, 1), usage=small).cost_usd == pytest.approx(100 / 1e6)
    assert cost(prices, "gpt-4o", ns(2026, 1, 1), usage=large).cost_usd == pytest.approx(202 / 1e6)


@pytest.mark.parametrize("name", books.FILES)
def test_the_book_of_a_home_is_found(write, tmp_path, name):
    """As YAML or TOML."""
    write(TOML if name.endswith("toml") else BOOK, name)

    assert pricing.load(tmp_path).cost(
        pricing.Asked(USAGE, None, ("llama-4",), ns(2026, 4, 1))
    ).cost_usd == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prices: 5", "has no list `prices`"),
        ("[]", "has no list `prices`"),
        ("prices: [", "cannot be read"),
        ("prices: [5]", "entry 1: it is not a mapping"),
        ("prices: [{model: m, input_mtok: 1}, {input_mtok: 1}]", "entry 2: `model`"),
        ("prices: [{model: m}]", "entry 1: it states no price"),
        ("prices: [{model: m, input: 1}]", "entry 1: input is no price"),
        ("prices: [{model: m, input_mtok: -1}]", "a price is 0 or more"),
        ("prices: [{model: m, input_mtok: .nan}]", "a price is 0 or more"),
        ("prices: [{model: m, input_mtok: true}]", "has to be a number"),
        ("prices: [{model: m, input_mtok: '1'}]", "has to be a number"),
        ("prices: [{model: m, input_mtok: 1, from: soon}]", "a day such as 2026-01-31"),
        ("prices: [{model: m, input_mtok: 1, provider: 5}]", "`provider` has to be a text"),
        ("prices: [{model: m, input_mtok: {base: 1}}]", "missing required field `tiers`"),
        (FALLING, "have to go up"),
    ],
)
def test_a_book_that_is_wrong_is_refused(write, text, problem):
    """The sentence names the file, the entry and what is wrong in it."""
    path = write(text)

    with pytest.raises(ConfigError, match=problem) as raised:
        books.read(path)
    assert str(path) in str(raised.value)


def test_a_book_that_is_named_has_to_be_there(tmp_path):
    """It is not taken for an empty one."""
    with pytest.raises(ConfigError, match="there is no price book at"):
        pricing.load(tmp_path, tmp_path / "none.yaml")


def test_steps_are_read(write):
    """A rate may go up with the input of a call."""
    book = books.read(write(BOOK))

    assert isinstance(book.entries[2].rates["input_mtok"], Steps)
    assert book.entries[0].note == "our cluster"
