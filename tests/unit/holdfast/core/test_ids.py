import pytest

from holdfast.core.ids import Address, composite_origin, is_absolute_uri, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("poll://any@w1", Address(group="w1", pid="", unicast=False)),
        ("poll://any@w1/p1", Address(group="w1", pid="p1", unicast=False)),
        ("poll://uni@w1/p1", Address(group="w1", pid="p1", unicast=True)),
        ("poll://uni@w1", Address(group="w1", pid="", unicast=True)),
        ("poll://any@a%2Fb/p%201/q", Address(group="a/b", pid="p 1/q", unicast=False)),
        ("poll://bad", Address(group="", pid="", unicast=False)),
        ("https://example.test/hook", Address(group="http:", pid="", unicast=False)),
        ("http://example.test", Address(group="http:", pid="", unicast=False)),
        ("poll://any@http:/p", Address(group="", pid="", unicast=False)),
        ("poll://any@http%3A", Address(group="", pid="", unicast=False)),
        ("gcps://project/topic", Address(group="", pid="", unicast=False)),
    ],
)
def test_addresses_name_a_group_and_perhaps_a_member(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "absolute"),
    [
        ("poll://any@w1", True),
        ("a:b", True),
        ("git+ssh://x", True),
        ("a:", False),
        (":b", False),
        ("ab", False),
        ("", False),
        ("1a:b", False),
        ("ä:b", False),
        ("a b:c", False),
        ("a:b c", False),
        ("a:b\u00a0c", False),
    ],
)
def test_an_absolute_uri_has_a_scheme_a_rest_and_no_white_space(
    text: str, *, absolute: bool
) -> None:
    assert is_absolute_uri(text) == absolute


@pytest.mark.parametrize(
    ("promise_id", "origin"),
    [("ex:t1", "ex"), ("ex:a.b", "ex"), ("a.b:c", "a.b"), ("ghost.3.7", "ghost"), ("root", "root")],
)
def test_the_root_of_a_tree_ends_at_the_first_colon_else_at_the_first_dot(
    promise_id: str, origin: str
) -> None:
    assert composite_origin(promise_id) == origin
