import pytest

from holdfast import Resonate
from holdfast.settings import read_environment


def test_an_empty_variable_counts_as_unset() -> None:
    assert read_environment({"RESONATE_URL": "", "RESONATE_PREFIX": ""}) == read_environment({})


def test_host_and_port_make_a_url() -> None:
    assert read_environment({"RESONATE_HOST": "store"}).url == "grpc://store:50051"
    parts = {"RESONATE_HOST": "s", "RESONATE_PORT": "1", "RESONATE_SCHEME": "grpcs"}
    assert read_environment(parts).url == "grpcs://s:1"
    assert read_environment({**parts, "RESONATE_URL": "grpc://u:2"}).url == "grpc://u:2"


def test_the_timeout_is_in_milliseconds_and_the_ttl_in_seconds() -> None:
    environment = read_environment({"RESONATE_TIMEOUT": "2500", "RESONATE_TTL": "30"})

    assert environment.timeout_s == 2.5
    assert environment.ttl_s == 30


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_malformed_number_names_its_variable(text: str) -> None:
    with pytest.raises(ValueError, match="RESONATE_TTL"):
        read_environment({"RESONATE_TTL": text})


def test_a_client_takes_its_names_from_the_environment() -> None:
    env = {"RESONATE_GROUP": "g", "RESONATE_PID": "p", "RESONATE_PREFIX": "x"}

    resonate = Resonate(env=env)
    named = Resonate(env=env, group="own", groups=("own", "more"), pid="q", prefix="y")

    assert (resonate.group, resonate.pid, resonate.prefix) == ("g", "p", "x")
    assert (named.groups, named.pid, named.prefix) == (("own", "more"), "q", "y")


def test_an_http_url_is_refused_naming_the_right_form() -> None:
    with pytest.raises(ValueError, match="grpc://"):
        Resonate("http://localhost:8001", env={})


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="max_concurrency"):
        Resonate(env={}, max_concurrency=0)
    with pytest.raises(ValueError, match="ttl"):
        Resonate(env={}, ttl=0.0001)
