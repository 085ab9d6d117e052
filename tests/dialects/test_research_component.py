"""A component's contract is checked against what it recorded."""

from __future__ import annotations

import pytest

from whence.research import Trace, TracingComponent, validate_component


class RubricLoader(TracingComponent):
    """A component that says what it records."""

    @property
    def component_name(self):
        return "rubric_loader"

    def get_trace_schema(self):
        return {"decisions": ["rubric_loaded"], "outputs": ["total_principles"]}


def recorded(*kinds, stage="rubric", outputs=None, **data):
    """Return a trace in which a stage made these decisions."""
    trace = Trace(trace_id="trc_test")
    for kind in kinds:
        trace.record(stage, kind, {"what": "21", "why": "all of them", **data})
    trace.end_stage(stage, outputs={"total_principles": 21} if outputs is None else outputs)
    return trace


def test_a_component_that_keeps_its_contract_has_no_breaches():
    """Everything promised is there, nothing else is, and each decision is whole."""
    assert validate_component(RubricLoader(), recorded("rubric_loaded")) == []
    assert TracingComponent.validate_component(RubricLoader(), recorded("rubric_loaded")) == []


@pytest.mark.parametrize(
    ("trace", "breach"),
    [
        (
            recorded("rubric_loaded", "intent_activation"),
            "'intent_activation' is not in its schema",
        ),
        (Trace(trace_id="trc_test"), "decision 'rubric_loaded' was not recorded"),
        (recorded("rubric_loaded", outputs={"n": 1}), "output 'total_principles' was not recorded"),
        (recorded("rubric_loaded", why=""), "does not say why"),
        (recorded("rubric_loaded", what=None), "does not say what was decided"),
        (recorded("rubric_loaded", confidence=85), "has the confidence 85; it is from 0 to 1"),
    ],
)
def test_each_breach_is_a_sentence(trace, breach):
    """What was not recorded, not promised, or not whole is told."""
    told = validate_component(RubricLoader(), trace)
    assert [one for one in told if breach in one and one.startswith("rubric_loader: ")], told


def test_other_components_do_not_break_the_contract():
    """Other stages, and decisions that name another maker, are not looked at."""
    trace = recorded("rubric_loaded")
    trace.record("intake", "classified_intent", {"what": "x"})
    trace.record("rubric", "tier", {"what": "x", "made_by": "evidence_scorer"})
    assert validate_component(RubricLoader(), trace) == []


def test_a_component_need_not_inherit():
    """Two members are enough; a stage may be named."""

    class Scorer:
        component_name = "scorer"

        def get_trace_schema(self):
            return {"stage": "collection", "decisions": [], "outputs": []}

    trace = recorded("surprise", stage="collection")
    assert validate_component(Scorer(), trace) == [
        "scorer: decision 'surprise' is not in its schema"
    ]


@pytest.mark.parametrize("schema", [None, {"decisions": "rubric_loaded"}, {"outputs": [1]}])
def test_a_schema_of_another_form_is_told(schema):
    """The contract itself is checked."""

    class Odd(RubricLoader):
        def get_trace_schema(self):
            return schema

    assert any("has to be" in told for told in validate_component(Odd(), recorded("rubric_loaded")))


def test_the_interface_is_abstract():
    """A component has to have both members."""
    with pytest.raises(TypeError):
        TracingComponent()
