"""The dashboard figures of document 1's Nano Banana part, held to what was recorded."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pytest

import whence
from whence import images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLS = (
    # user, asset type, model, duration in ms, cost in US dollars, type of error
    ("ada", "thumbnail", "pro", 1000, 0.04, None),
    ("ada", "thumbnail", "pro", 3000, 0.06, None),
    ("ada", "emote", "flash", 2000, 0.02, None),
    ("bob", "emote", "flash", 500, None, "content_policy"),
    ("bob", "emote", "pro", 30_000, None, "timeout"),
    ("bob", "emote", "pro", 29_000, None, "timeout"),
    ("cy", "banner", "pro", 8000, 0.05, None),
)


@pytest.fixture(autouse=True)
def recorded(home: Path) -> Iterator[Path]:
    """Image generations of three users, and a chat that is none."""
    whence.configure(home)
    for user, asset, model, duration_ms, cost_usd, error in CALLS:
        with whence.run("worker", user=user) as run:
            run.record_generation(
                operation="image",
                name=asset,
                model=model,
                duration_ms=duration_ms,
                cost_usd=cost_usd,
                error=error and {"type": error, "message": "x"},
            )
    with whence.run("worker", user="ada") as run:
        run.record_generation(operation="chat", model="pro", cost_usd=5.0, duration_ms=1)
    yield home
    whence.configure(home, enabled=False)


def test_cost_is_told_by_asset_type():
    """The costliest first; a type of which nobody knows a cost has none, and is not free."""
    found = images.image_metrics()

    assert [(one.name, one.cost_usd) for one in found.by_asset_type] == [
        ("thumbnail", pytest.approx(0.10)),
        ("banner", 0.05),
        ("emote", 0.02),
    ]
    assert found.by_asset_type[0].cost_per_image_usd == pytest.approx(0.05)
    assert found.total.cost_usd == pytest.approx(0.17)


def test_latency_is_told_in_percentiles():
    """Half, 95 and 99 of 100, of all calls and of each group."""
    total = images.image_metrics().total
    cuts = statistics.quantiles([call[3] for call in CALLS], n=100, method="inclusive")

    assert total.p50_ms == pytest.approx(cuts[49])
    assert total.p95_ms == pytest.approx(cuts[94])
    assert total.p99_ms == pytest.approx(cuts[98])


def test_errors_are_told_by_type():
    """How many of each, and which share of all calls."""
    found = images.image_metrics()

    assert list(found.errors.items()) == [("timeout", 2), ("content_policy", 1)]
    assert found.error_shares == {"timeout": 2 / 7, "content_policy": 1 / 7}
    assert (found.total.generations, found.total.failed) == (7, 3)
    assert found.total.error_share == pytest.approx(3 / 7)


def test_models_are_compared():
    """The most used first, each with cost, latency and errors of its own."""
    pro, flash = images.image_metrics().by_model

    assert (pro.name, pro.generations, pro.failed) == ("pro", 5, 2)
    assert pro.cost_per_image_usd == pytest.approx(0.05)
    assert (flash.name, flash.generations, flash.error_share) == ("flash", 2, 0.5)
    assert flash.p50_ms == pytest.approx(1250)


def test_users_have_patterns():
    """How often each generates, and what."""
    users = images.image_metrics("48h").users

    assert [(one.figures.name, one.figures.generations) for one in users] == [
        ("ada", 3),
        ("bob", 3),
        ("cy", 1),
    ]
    assert list(users[0].asset_types.items()) == [("thumbnail", 2), ("emote", 1)]
    assert [one.per_day for one in users] == [1.5, 1.5, 0.5]
    assert images.image_metrics(None).users[0].per_day is None
    assert len(images.image_metrics(most_users=1).users) == 1


def test_figures_of_a_group_are_asked_for_with_a_filter():
    """The filter is that of the table of generations."""
    found = images.image_metrics(filter='model = "flash" or model = "none"')

    assert found.total.generations == 2
    assert [one.name for one in found.by_asset_type] == ["emote"]


@pytest.mark.parametrize("wrong", ['model = "', "true) or (true", "no_such_field = 1"])
def test_a_filter_that_is_wrong_is_refused(wrong):
    """Its error points into what was given, and it reaches no other model's calls."""
    with pytest.raises(whence.FilterError) as raised:
        images.image_metrics(filter=wrong)

    assert raised.value.text == wrong


def test_of_no_generations_nothing_is_said(tmp_path):
    """No share of nothing, and no cost of nothing."""
    whence.configure(tmp_path / "empty")
    found = images.image_metrics()

    assert found.total.generations == 0
    assert (found.total.error_share, found.total.cost_usd, found.total.p50_ms) == (None,) * 3
    assert (found.by_model, found.users, found.errors) == ([], [], {})
    assert images.image_metrics(filter='model = "none"') == found


def test_every_store_gives_the_same_figures(recorded):
    """The reference store and the embedded one agree."""
    with whence.open(recorded) as one, whence.open(recorded, memory=True) as other:
        figures = [images.image_metrics(store=store).to_dict() for store in (one, other)]

    assert flat(figures[0]) == pytest.approx(flat(figures[1]))


def flat(value, path: str = "") -> dict:
    """Return nested data as one mapping from path to value."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return {path: value}
    return {
        key: found for name, item in items for key, found in flat(item, f"{path}/{name}").items()
    }
