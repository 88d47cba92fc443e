"""Every test that renders runs with each helm on PATH: `helm`, and `helm3` if there is one."""

import pytest

from tests.chart.charts import Helm, helms


@pytest.fixture(params=helms(), ids=lambda helm: helm.program)
def helm(request: pytest.FixtureRequest) -> Helm:
    found: Helm = request.param
    return found
