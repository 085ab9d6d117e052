"""What leaves as a trace and comes back through `whence import` is what was recorded."""

from __future__ import annotations

import otlptrip
import pytest

from whence.exports.otlp.model import CONVENTIONS, Options


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_report_names_exactly_what_comes_back_differently(home, tmp_path, convention, content):
    """A field differs after the trip if and only if the report counted it, row by row."""
    otlptrip.record(home)

    back, report = otlptrip.trip(home, tmp_path, Options(convention, content=content))

    assert otlptrip.told(report) == otlptrip.differences(home, back)
