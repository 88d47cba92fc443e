"""Settings of the operator."""

import pytest

from holdfast_chassis.settings import SettingsError, load
from holdfast_operator.settings import OperatorSettings


def test_the_defaults_serve_the_namespace_of_the_pod() -> None:
    settings = load(OperatorSettings, service="OPERATOR", environ={})

    assert settings.namespace is None
    assert settings.interval_ms == 1_000


@pytest.mark.parametrize("value", ["", "Shop", "a,b", "-a", "a" * 64, "a.b"])
def test_a_namespace_is_one_name(value: str) -> None:
    with pytest.raises(SettingsError, match="HOLDFAST_OPERATOR_NAMESPACE"):
        load(OperatorSettings, service="OPERATOR", environ={"HOLDFAST_OPERATOR_NAMESPACE": value})
