"""Provenance, usage and budgets: their fields, their defaults, and what is valid.

Source of the rules: document 2 (token provenance).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import whence
from whence.tokens import Budget, TokenProvenance, TokenUsage

NEEDED = {
    "usage_id": "usage_1",
    "request_id": "req_1",
    "agent_id": "agent_1",
    "agent_type": "provider",
    "task_type": "code_generation",
    "intent": "implement_feature",
}
CALL = {"provider": "openai", "model": "gpt-4", "prompt_tokens": 100, "completion_tokens": 50}


def test_a_provenance_has_the_documents_27_fields():
    """No field is missing and none was added."""
    assert len(msgspec.structs.fields(TokenProvenance)) == 27
    assert len(TokenProvenance(**NEEDED).to_dict()) == 27


def test_what_is_not_said_has_the_documents_defaults():
    """A request without a parent is its own root at depth 0."""
    made = TokenProvenance(**NEEDED)

    assert made.id.startswith("prov_")
    assert made.id.removeprefix("prov_").isdigit()
    assert (made.root_request_id, made.depth, made.is_root) == ("req_1", 0, True)
    assert (made.signal_type, made.signal_trail) == ("unknown", [])
    assert (made.system_version, made.environment) == ("unknown", "development")
    assert (made.tags, made.metadata, made.parent_request_id) == ([], {}, None)
    assert (made.in_workflow, made.in_conversation) == (False, False)
    assert made.timestamp.tzinfo is not None


@pytest.mark.parametrize("missing", NEEDED)
def test_six_fields_are_required(missing):
    """Without one there is no provenance, and an empty one is not valid."""
    others = {name: value for name, value in NEEDED.items() if name != missing}

    with pytest.raises(TypeError):
        TokenProvenance(**others)
    assert TokenProvenance(**others, **{missing: ""}).validate() == [f"{missing} is required"]


def test_depth_has_to_fit_the_parent():
    """A root is at depth 0; a child is at depth 1 unless it says otherwise."""
    assert TokenProvenance(**NEEDED, depth=2).validate() == ["depth must be 0 for root requests"]
    assert TokenProvenance(**NEEDED, parent_request_id="req_0").depth == 1
    child = TokenProvenance(**NEEDED, parent_request_id="req_0", depth=4)
    assert (child.depth, child.validate(), child.is_root) == (4, [], False)
    assert TokenProvenance(**NEEDED, parent_request_id="req_0", depth=-1).validate()


def test_a_provenance_is_frozen():
    """A change makes a new one."""
    made = TokenProvenance(**NEEDED, tags=["old", "old"])

    with pytest.raises(AttributeError):
        made.depth = 3
    assert made.tags == ["old"]
    assert made.add_tag("new").tags == ["new", "old"]
    assert made.add_tag("new").add_tag("old").tags == ["old", "new"]
    assert made.add_metadata("error", True).failed  # noqa: FBT003 - a key and its value
    assert (made.tags, made.failed) == (["old"], False)


def test_content_is_hashed_as_the_document_does():
    """16 lowercase hex digits of SHA-256, of the input or of both with two colons between."""
    assert TokenProvenance.content_hash("abc") == hashlib.sha256(b"abc").hexdigest()[:16]
    both = hashlib.sha256("é::out".encode()).hexdigest()[:16]
    assert TokenProvenance.content_hash("é", "out") == both
    assert TokenProvenance.content_hash(b"abc") == TokenProvenance.content_hash("abc")
    assert len(TokenProvenance.content_hash("half \ud800 pair")) == 16


def test_a_provenance_can_be_shown():
    """The trail with arrows; agent, task and lineage in short, without what is not known."""
    made = TokenProvenance(
        **NEEDED, signal_trail=["plan", "generate"], workflow_id="wf", tags=["x"]
    )

    assert made.signal_trail_string() == "plan → generate"
    assert made.summary() == {
        "request_id": "req_1",
        "agent": "provider/agent_1",
        "task": "code_generation/implement_feature",
        "lineage": {"root": "req_1", "depth": 0, "workflow": "wf"},
        "context": {"signal": "unknown", "environment": "development", "tags": ["x"]},
    }


def test_a_provenance_goes_into_json_and_comes_back():
    """With its time, and with keys that are no field among the metadata."""
    made = TokenProvenance(**NEEDED, parent_request_id="p", depth=3, metadata={"a": 1})

    assert TokenProvenance.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    other = TokenProvenance.from_dict({**NEEDED, "cached": True, "metadata": {"a": 1}})
    assert other.metadata == {"cached": True, "a": 1}


def test_usage_has_the_documents_fields_and_defaults():
    """The total is the sum, the currency dollars, and a cost that nobody said is unknown."""
    made = TokenUsage(**CALL)

    assert made.total_tokens == 150
    assert (made.cost, made.currency, made.cost_usd) == (None, "USD", None)
    assert made.id.startswith("usage_")
    assert made.attribution() == {
        "user": "anonymous",
        "project": "default",
        "team": "default",
        "feature": "general",
    }
    assert made.validate() == []


@pytest.mark.parametrize(
    ("cost", "money"), [(0.1, "0.1"), ("0.10", "0.10"), (2, "2"), (Decimal("1e-7"), "1e-7")]
)
def test_a_cost_is_an_exact_decimal(cost, money):
    """However it was given; a tenth is a tenth."""
    made = TokenUsage(**CALL, cost=cost)

    assert made.cost == Decimal(money)
    assert made.to_dict()["cost"] == float(money)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"prompt_tokens": -1}, "prompt_tokens must be non-negative"),
        ({"completion_tokens": -1}, "completion_tokens must be non-negative"),
        ({"total_tokens": 151}, "total_tokens mismatch"),
        ({"cost": -0.1}, "cost must be non-negative"),
        ({"provider": ""}, "provider is required"),
        ({"model": ""}, "model is required"),
    ],
)
def test_usage_that_cannot_be_is_not_valid(fields, error):
    """Each rule has its sentence."""
    assert error in TokenUsage(**{**CALL, **fields}).validate()


def test_efficiency_is_tokens_for_money():
    """What cost nothing, or nobody knows what, has none."""
    assert TokenUsage(**CALL, cost="0.3").efficiency_ratio() == pytest.approx(500)
    assert TokenUsage(**CALL, cost=0).efficiency_ratio() is None
    assert TokenUsage(**CALL).efficiency_ratio() is None


def test_times_may_be_texts_or_datetimes():
    """An offset is honoured; what is no time is left out."""
    east = dt.datetime(2026, 1, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    for given_time in (east, "2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00Z"):
        made = TokenProvenance.from_dict({**NEEDED, "timestamp": given_time})
        assert made.timestamp == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert TokenProvenance.from_dict({**NEEDED, "timestamp": "soon"}).timestamp.year > 2000


def test_usage_is_added_to_a_budget_after_the_fact():
    """Nothing is refused, also beyond the limit; the budget says that it was exceeded."""
    budget = Budget(limit=1, name="team x")

    assert budget.add_usage(0.4) is budget
    assert (budget.spent, budget.remaining, budget.exceeded) == (
        Decimal("0.4"),
        Decimal("0.6"),
        False,
    )
    budget.add_usage(Decimal("0.9")).add_usage(None).add_usage(TokenUsage(**CALL, cost="0.2"))
    assert (budget.spent, budget.remaining, budget.exceeded) == (
        Decimal("1.5"),
        Decimal("-0.5"),
        True,
    )
    assert budget.alerts == [50, 80, 90]
    assert budget.percentage_used == 150
    json.dumps(budget.to_dict())


def test_spending_is_refused_beyond_the_limit():
    """`spend` asks; `add_usage` only counts."""
    budget = Budget(limit="1.00")

    assert budget.spend(1)
    assert not budget.spend("0.01")
    assert budget.would_exceed("0.01")
    assert budget.spent == 1


@pytest.mark.parametrize("amount", [-1, "many", float("nan"), float("inf"), [], True])
def test_a_budget_takes_only_money(amount):
    """Anything else is a mistake of the caller's, and changes nothing."""
    budget = Budget(limit=1)

    with pytest.raises(whence.ConfigError):
        budget.add_usage(amount)
    with pytest.raises(whence.ConfigError):
        Budget(limit=amount)
    assert budget.spent == 0


def test_a_budget_is_for_somebody():
    """Everything, or one user, project or team, in its own currency, while it is active."""
    usage = TokenUsage(**CALL, user_id="ann", team_id="blue")

    assert Budget(1).applies_to(usage)
    assert Budget(1, type="user", entity_id="ann").applies_to(usage)
    assert Budget(1, type="team", entity_id="blue").applies_to(usage)
    assert not Budget(1, type="user", entity_id="bob").applies_to(usage)
    assert not Budget(1, type="project").applies_to(usage)
    assert not Budget(1, currency="EUR").applies_to(usage)
    assert not Budget(1, active=False).applies_to(usage)
    with pytest.raises(whence.ConfigError):
        Budget(1, type="planet")


def test_threads_may_share_a_budget():
    """No amount is lost between them."""
    budget = Budget(limit=1000)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(budget.add_usage, ["0.1"] * 400))

    assert budget.spent == 40


@given(st.lists(st.decimals(0, 100, places=4), max_size=20))
def test_a_budget_adds_up_exactly(amounts):
    """Decimals leave no cents behind."""
    budget = Budget(limit=50)

    for amount in amounts:
        budget.add_usage(str(amount))

    assert budget.spent == sum(amounts, Decimal(0))
    assert budget.spent + budget.remaining == 50
