"""What leaves as a trace and comes back through `whence import` is what was recorded."""

from __future__ import annotations

import homes
import otlptrip
import pytest

from whence.exports.otlp.model import CONVENTIONS, Options
from whence.log.home import Home


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_report_names_exactly_what_comes_back_differently(home, tmp_path, convention, content):
    """A field differs after the trip if and only if the report says it would, row by row."""
    otlptrip.record(home)

    back, report = otlptrip.trip(home, tmp_path, Options(convention, content=content))

    assert otlptrip.told(report) == otlptrip.differences(home, back)


@pytest.mark.parametrize("seed", range(24))
def test_an_odd_home_comes_back_but_for_what_the_report_names(home, tmp_path, seed):
    """Runs and spans without end, odd texts and values, records in unknown spans: row by row."""
    for writer in homes.fill(Home(home), seed):
        writer.close()
    options = Options(CONVENTIONS[seed % 3], content=seed % 2 == 0)

    back, report = otlptrip.trip(home, tmp_path, options, "out.pb" if seed % 4 < 2 else "out.jsonl")

    assert otlptrip.told(report) == otlptrip.differences(home, back)
