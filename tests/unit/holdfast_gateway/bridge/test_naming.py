"""Which names a request contains, before anybody has looked at its fields."""

from typing import Any

import pytest

from holdfast_gateway.bridge.naming import names_in

ACTION = {"kind": "x", "head": {}, "data": {"id": "inner", "awaited": "a", "awaiter": "w"}}


@pytest.mark.parametrize(
    ("kind", "data", "names"),
    [
        ("promise.get", {"id": "p"}, ("p",)),
        ("promise.get", {}, (None,)),
        ("promise.get", {"id": 7}, (None,)),
        ("task.create", {"action": ACTION, "id": "other"}, ("inner",)),
        ("task.fence", {"id": "t", "action": ACTION}, ("t", "inner")),
        ("task.fence", {"id": "t", "action": []}, ("t", None)),
        ("task.fulfill", {"id": "t"}, ("t", None)),
        ("task.suspend", {"id": "t", "actions": [ACTION, 7]}, ("t", "a", "w", None, None)),
        ("task.suspend", {"id": "t", "actions": {}}, ("t",)),
        ("task.heartbeat", {"tasks": [{"id": "a"}, {}, None]}, ("a", None, None)),
        ("task.heartbeat", {"tasks": "a"}, ()),
        ("promise.register_callback", {"awaited": "a", "awaiter": "w"}, ("a", "w")),
        (
            "schedule.create",
            {"id": "s", "promiseId": "{{.id}}.{{.timestamp}}"},
            ("s", "s.{{.timestamp}}"),
        ),
        ("schedule.create", {"promiseId": "p"}, (None, "p")),
        ("promise.search", {"id": "p"}, ("",)),
        ("debug.reset", {}, ("",)),
        ("unheard.of", {"id": "p"}, ("",)),
    ],
)
def test_every_name_counts_and_what_is_none_is_left_to_others(
    kind: str, data: dict[str, Any], names: tuple[str | None, ...]
) -> None:
    assert names_in(kind, data) == names
