from holdfast.lineage import Lineage, prefixed, target_address


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
