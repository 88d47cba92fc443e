import pytest

from holdfast import Resonate
from holdfast.core.ids import parse_address
from holdfast.lineage import (
    Lineage,
    listener_address,
    member_name,
    prefixed,
    run_target,
    target_address,
)


def test_a_detached_id_is_short_and_a_function_of_its_place() -> None:
    root = Lineage("r", parent="r", branch="r", origin="r", prefix="r")
    deep = ".".join(["r", *["0"] * 200])

    assert root.detached_id("r.0") == root.detached_id("r.0")
    assert root.detached_id("r.0") != root.detached_id("r.1")
    assert len(root.detached_id(deep)) == len("r.d") + 16


def test_the_prefix_is_added_once() -> None:
    assert prefixed("t", "a") == "t:a"
    assert prefixed("t", "t:a") == "t:a"
    assert prefixed(None, "a") == "a"


def test_a_bare_target_is_a_group_and_an_address_passes_through() -> None:
    assert target_address("db") == "poll://any@db"
    assert target_address("https://example.com/push") == "https://example.com/push"
    assert target_address("poll://uni@g/p") == "poll://uni@g/p"


@pytest.mark.parametrize("name", ["worker-7d9f-x2x4l", "a.b:c@d", "größe", "x" * 255])
def test_a_name_of_a_member_reads_the_same_in_its_addresses(name: str) -> None:
    assert member_name(name) == name
    for address in (listener_address(name, name), run_target(name, name)):
        assert (parse_address(address).group, parse_address(address).pid) == (name, name)


@pytest.mark.parametrize(
    ("name", "flaw"),
    [
        ("", "empty"),
        ("a b", "white space"),
        ("a\tb", "white space"),
        ("a/b", "white space, / or %"),
        ("a%41", "white space, / or %"),
        ("a\0b", "NUL"),
        ("\ud800", "Unicode"),
        ("ü" * 128, "255 bytes"),
    ],
)
def test_a_name_that_no_address_could_hold_is_refused(name: str, flaw: str) -> None:
    with pytest.raises(ValueError, match=flaw):
        member_name(name)


@pytest.mark.parametrize("field", ["pid", "group", "groups"])
def test_a_client_names_the_name_that_it_refuses(field: str) -> None:
    bad = ["a/b"] if field == "groups" else "a/b"

    with pytest.raises(ValueError, match=f"^{field} is 'a/b', but it must not contain"):
        Resonate(env={}, **{field: bad})  # type: ignore[arg-type]
