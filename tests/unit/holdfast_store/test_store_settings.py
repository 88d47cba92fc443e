"""The settings of the store's commands."""

import pytest

from holdfast.core.profile import DEFAULT_PROFILE, EmptyHeartbeat, OriginCheck
from holdfast_chassis.settings import SettingsError, load
from holdfast_store.engine import EngineSettings
from holdfast_store.rpc.stream import StreamLimits
from holdfast_store.settings import StoreSettings


def settings(**values: str) -> StoreSettings:
    environ = {f"HOLDFAST_STORE_{name.upper()}": value for name, value in values.items()}
    return load(StoreSettings, service="STORE", environ=environ)


def test_defaults_are_those_of_the_parts() -> None:
    default = settings()

    assert str(default.listen) == "127.0.0.1:50051"
    assert str(default.metrics_listen) == "127.0.0.1:9090"
    assert default.database_url == "sqlite:///holdfast.db"
    assert default.profile() == DEFAULT_PROFILE
    assert default.engine() == EngineSettings()
    assert default.server().stream == StreamLimits()


def test_knobs_reach_the_rules() -> None:
    profile = settings(origin_check="composite", empty_heartbeat="ok", pacing_ms="7").profile()

    assert profile.origin_check is OriginCheck.COMPOSITE
    assert profile.empty_heartbeat is EmptyHeartbeat.OK
    assert profile.pacing_ms == 7


@pytest.mark.parametrize(("text", "expected"), [("off", None), ("0", 0), ("250", 250)])
def test_the_grace_after_a_lost_stream_can_be_off(text: str, expected: int | None) -> None:
    assert settings(stream_grace_ms=text).engine().stream_grace_ms == expected


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("stream_grace_ms", "never", "from 0 to 3600000, or off"),
        ("origin_check", "on", "must be one of off, composite"),
        ("retry_interval_ms", "0", "from 1 to"),
        ("value_bytes_max", "1966081", "from 1024 to 1966080"),
        ("stream_chains_max", "2047", "from 2048"),
        ("listen", "50051", "must be host:port"),
    ],
)
def test_a_bad_value_is_named_with_what_it_must_be(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        settings(**{name: value})

    assert f"HOLDFAST_STORE_{name.upper()}" in str(caught.value)
