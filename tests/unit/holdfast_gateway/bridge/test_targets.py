"""Which hosts messages may be pushed to."""

import pytest

from holdfast_gateway.bridge.settings import BridgeSettings
from holdfast_gateway.bridge.targets import Rules, flaw_of_target, parse_rules

NONE = Rules()
LINK = parse_rules("169.254.0.0/16,fe80::/10")


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fe80:0:0:0::abcd"]
)
def test_an_address_is_denied_in_each_of_its_forms(address: str) -> None:
    assert flaw_of_target("innocent.test", ["10.0.0.1", address], allow=NONE, deny=LINK)


@pytest.mark.parametrize(
    "address",
    [
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
    ],
)
def test_an_address_is_denied_where_a_gateway_would_translate_it(address: str) -> None:
    assert flaw_of_target("innocent.test", [address], allow=NONE, deny=LINK)
    assert flaw_of_target("innocent.test", [address], allow=LINK, deny=NONE)


@pytest.mark.parametrize(
    ("address", "deny"),
    [
        ("0.0.0.0", "127.0.0.0/8"),
        ("::ffff:0.0.0.0", "127.0.0.0/8"),
        ("::", "::1"),
        ("::", "127.0.0.0/8"),
        ("0.0.0.0", "0.0.0.0/32"),
    ],
)
def test_the_address_that_is_none_leads_to_this_machine(address: str, deny: str) -> None:
    """That is where the kernel connects to."""
    assert flaw_of_target("a.test", [address], allow=NONE, deny=parse_rules(deny))


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fe80::1", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200"],
)
def test_the_metadata_services_of_clouds_are_denied_by_default(address: str) -> None:
    deny = BridgeSettings().bridge_push_deny

    assert flaw_of_target("innocent.test", [address], allow=NONE, deny=deny)


def test_everything_is_allowed_where_nothing_is_said() -> None:
    assert flaw_of_target("a.test", ["10.0.0.1", "::1"], allow=NONE, deny=NONE) is None


def test_an_allowed_name_may_stand_for_any_address_that_is_not_denied() -> None:
    allow = parse_rules("Hooks.test,*.internal")

    assert flaw_of_target("hooks.test.", ["10.0.0.1"], allow=allow, deny=LINK) is None
    assert flaw_of_target("A.B.internal", ["10.0.0.1"], allow=allow, deny=LINK) is None
    assert flaw_of_target("internal", ["10.0.0.1"], allow=allow, deny=LINK) is not None
    assert flaw_of_target("evil-internal", ["10.0.0.1"], allow=allow, deny=LINK) is not None
    assert flaw_of_target("hooks.test", ["169.254.1.1"], allow=allow, deny=LINK) is not None


def test_each_address_of_a_name_must_be_allowed() -> None:
    allow = parse_rules("10.0.0.0/8")

    assert flaw_of_target("a.test", ["10.1.1.1"], allow=allow, deny=NONE) is None
    assert flaw_of_target("a.test", ["10.1.1.1", "8.8.8.8"], allow=allow, deny=NONE) is not None


def test_a_denied_name_is_denied_wherever_it_leads() -> None:
    assert flaw_of_target("a.test", ["10.0.0.1"], allow=NONE, deny=parse_rules("*.test"))


@pytest.mark.parametrize("wrong", ["10.0.0.0/99", "a/b", "http://a", "*.", "a:80"])
def test_what_is_neither_a_name_nor_a_network_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="names, names behind"):
        parse_rules(wrong)


def test_rules_are_written_as_they_are_read() -> None:
    text = "*.internal,hooks.test,10.0.0.0/8,fe80::/10"

    assert str(parse_rules(text)) == text
    assert not parse_rules("")
    assert not NONE
