"""How many requests a client may send, and who a client is."""

from ipaddress import ip_network

import pytest

from holdfast_gateway.rates import NOBODY, Rates, client_of, parse_networks

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def forwarded(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value.encode()) for value in values]


def test_a_client_may_send_a_burst_and_then_waits_for_the_next_token() -> None:
    rates = Rates(per_second=2, burst=3)

    taken = [rates.take("a", now=100.0) for _ in range(5)]

    assert taken == [0, 0, 0, 0.5, 0.5]  # a refusal takes no token
    assert rates.take("a", now=100.5) == 0
    assert rates.take("a", now=100.5) == 0.5


def test_a_bucket_is_full_again_and_no_fuller_after_a_rest() -> None:
    rates = Rates(per_second=2, burst=3)
    for _ in range(3):
        rates.take("a", now=0)

    taken = [rates.take("a", now=1_000) for _ in range(4)]

    assert taken == [0, 0, 0, 0.5]


def test_clients_do_not_take_from_each_other() -> None:
    rates = Rates(per_second=1, burst=1)
    rates.take("a", now=0)

    assert rates.take("b", now=0) == 0
    assert rates.take("a", now=0) == 1


def test_the_client_that_was_seen_longest_ago_is_forgotten_when_there_are_too_many() -> None:
    rates = Rates(per_second=0.001, burst=1, clients_max=2)
    for client in ("a", "b", "c"):
        rates.take(client, now=0)

    assert rates.take("c", now=0) > 0
    assert rates.take("b", now=0) > 0
    assert rates.take("a", now=0) == 0


@pytest.mark.parametrize(
    ("peer", "values", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.7"], "192.0.2.1"),  # anybody may write the header
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),  # what the client itself wrote
        ("10.0.0.1", ["1.1.1.1", "203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["unix-socket"], "unix-socket"),
        ("fd00::1", ["2001:db8:1:2:3::4"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", [], "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        (None, ["203.0.113.7"], NOBODY),
    ],
)
def test_a_client_is_whoever_connects_or_whom_a_trusted_proxy_names(
    peer: str | None, values: list[str], client: str
) -> None:
    assert client_of(peer, forwarded(*values), PROXIES) == client


def test_networks_are_read_with_commas_between() -> None:
    assert parse_networks("10.0.0.0/8, 192.0.2.1,fd00::/8") == (
        "10.0.0.0/8",
        "192.0.2.1/32",
        "fd00::/8",
    )
    assert parse_networks("") == ()


@pytest.mark.parametrize("text", ["proxy", "10.0.0.1/8", "10.0.0.0/33", "*"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be addresses or networks"):
        parse_networks(text)
