"""Settings of the gateway that cannot be meant together."""

import pytest

from holdfast_chassis.settings import SettingsError, load
from holdfast_gateway.settings import GatewaySettings

TOKEN = {"HOLDFAST_GATEWAY_BRIDGE_PUSH_TOKEN": "s3cret"}


def loaded(environ: dict[str, str]) -> GatewaySettings:
    return load(GatewaySettings, service="GATEWAY", environ=environ, flags={})


def test_a_token_for_whatever_host_somebody_names_is_refused() -> None:
    with pytest.raises(SettingsError, match="bridge_push_allow") as refused:
        loaded(TOKEN)

    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "more",
    [
        {"HOLDFAST_GATEWAY_BRIDGE_PUSH_ALLOW": "*.internal"},
        {"HOLDFAST_GATEWAY_BRIDGE_PUSH_ALLOW": "0.0.0.0/0,::/0"},
        {"HOLDFAST_GATEWAY_BRIDGE_PUSH": "0"},
    ],
)
def test_a_token_for_hosts_that_an_operator_names_is_not(more: dict[str, str]) -> None:
    assert loaded(TOKEN | more).bridge_push_token == "s3cret"
