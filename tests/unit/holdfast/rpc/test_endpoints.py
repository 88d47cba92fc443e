"""What a store's URL may look like."""

import pytest

from holdfast.rpc.endpoints import (
    Address,
    Endpoint,
    is_address,
    is_proxied,
    parse_endpoints,
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("grpc://a:1", [Endpoint(host="a", port=1, tls=False)]),
        ("grpcs://a:1", [Endpoint(host="a", port=1, tls=True)]),
        ("grpc://a", [Endpoint(host="a", port=50051, tls=False)]),
        ("grpc://a/", [Endpoint(host="a", port=50051, tls=False)]),
        ("grpc://[::1]:7", [Endpoint(host="::1", port=7, tls=False)]),
        (
            "grpc://a:1, b:2,grpcs://c:3",
            [
                Endpoint(host="a", port=1, tls=False),
                Endpoint(host="b", port=2, tls=False),
                Endpoint(host="c", port=3, tls=True),
            ],
        ),
    ],
)
def test_a_url_names_one_store_or_several(url: str, expected: list[Endpoint]) -> None:
    assert list(parse_endpoints(url)) == expected


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_http_url_is_told_what_to_write_instead(scheme: str) -> None:
    with pytest.raises(ValueError, match=r"write grpcs?://host:50051.*gateway's bridge"):
        parse_endpoints(f"{scheme}://localhost:8001")


@pytest.mark.parametrize(
    "url", ["", "a:1", "redis://a:1", "grpc://", "grpc://a:b", "grpc://a:1/x", "grpc://u@a:1"]
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="a store's URL must"):
        parse_endpoints(url)


def test_an_endpoint_reads_as_its_url() -> None:
    assert str(Endpoint(host="::1", port=7, tls=True)) == "grpcs://[::1]:7"


@pytest.mark.parametrize(
    ("ip", "expected"),
    [("10.0.0.1", "grpc://a:1 (10.0.0.1)"), ("a", "grpc://a:1"), (None, "grpc://a:1")],
)
def test_an_address_reads_as_its_name_and_what_it_stands_for(ip: str | None, expected: str) -> None:
    assert str(Address(endpoint=Endpoint(host="a", port=1, tls=False), ip=ip)) == expected


@pytest.mark.parametrize("host", ["10.0.0.1", "::1", "fe80::1%eth0"])
def test_addresses_are_told_from_names(host: str) -> None:
    assert is_address(host)
    assert not is_address(f"store-{host}")


@pytest.mark.parametrize(
    ("environment", "proxied"),
    [
        ({}, False),
        ({"no_proxy": "other.example"}, False),
        ({"http_proxy": "http://p:3128"}, True),
        ({"https_proxy": "http://p:3128", "no_proxy": "other.example, "}, True),
        ({"grpc_proxy": "http://p:3128", "no_proxy": "other.example, .svc.cluster.local"}, False),
        ({"http_proxy": "http://p:3128", "no_proxy": ".local", "no_grpc_proxy": "x"}, True),
    ],
)
def test_a_proxy_is_left_to_grpc_unless_the_host_is_an_exception(
    environment: dict[str, str],
    proxied: bool,  # noqa: FBT001 - a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert is_proxied("store.svc.cluster.local") is proxied


def test_an_address_may_say_for_which_name_its_certificate_must_be() -> None:
    url = "grpcs://10.0.0.1:7?server=stores.example"
    (endpoint,) = parse_endpoints(url)

    assert (endpoint.host, endpoint.server) == ("10.0.0.1", "stores.example")
    assert str(endpoint) == url


@pytest.mark.parametrize("query", ["server=", "server=a b", "server=a/b", "name=a", "server"])
def test_nothing_else_may_stand_behind_an_address(query: str) -> None:
    with pytest.raises(ValueError, match="a host and perhaps a port"):
        parse_endpoints(f"grpcs://a:7?{query}")
