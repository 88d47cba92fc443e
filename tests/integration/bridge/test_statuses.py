"""What operations are answered over HTTP: the matrix of §3.7, and the rows of §2 and §3."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.bridge.system import (
    FAR,
    Client,
    create,
    inner,
    name,
    settle,
    suspend,
    task_create,
)

STATES = ("none", "pending", "acquired", "suspended", "halted", "fulfilled")
EXTERNAL: dict[str, Any] = {"resonate_external": "true"}

Make = Callable[[Client, str], None]


def _none(client: Client, task_id: str) -> None:
    """Leave it unknown."""


def _pending(client: Client, task_id: str) -> None:
    client("promise.create", create(task_id, resonate_target="poll://any@nobody"))


def _acquired(client: Client, task_id: str) -> None:
    client("task.create", task_create(task_id, target="poll://any@nobody"))


def _suspended(client: Client, task_id: str) -> None:
    _acquired(client, task_id)
    client("promise.create", create(f"{task_id}.w", **EXTERNAL))
    assert client("task.suspend", suspend(task_id, 1, f"{task_id}.w")).status == 200


def _halted(client: Client, task_id: str) -> None:
    _acquired(client, task_id)
    client("task.halt", {"id": task_id})


def _fulfilled(client: Client, task_id: str) -> None:
    _acquired(client, task_id)
    client("promise.settle", settle(task_id))


MAKE: dict[str, Make] = {
    "none": _none,
    "pending": _pending,
    "acquired": _acquired,
    "suspended": _suspended,
    "halted": _halted,
    "fulfilled": _fulfilled,
}


def lease(task_id: str, version: int, **more: Any) -> dict[str, Any]:
    return {"id": task_id, "version": version, **more}


def _fields(  # noqa: PLR0911 - one arm each
    operation: str, task_id: str, version: int
) -> tuple[str, Any]:
    match operation:
        case "get" | "halt" | "continue":
            return f"task.{operation}", {"id": task_id}
        case "create":
            return "task.create", task_create(task_id, pid="p2", target="poll://any@nobody")
        case "acquire":
            return "task.acquire", lease(task_id, version, pid="p2", ttl=1000)
        case "release":
            return "task.release", lease(task_id, version)
        case "fulfill":
            action = inner("promise.settle", settle(task_id))
            return "task.fulfill", lease(task_id, version, action=action)
        case "suspend":
            return "task.suspend", suspend(task_id, version, f"{task_id}.awaited")
        case "fence":
            action = inner("promise.create", create(f"{task_id}.child"))
            return "task.fence", lease(task_id, version, action=action)
        case _:
            return "task.heartbeat", {"pid": "p1", "tasks": [lease(task_id, version)]}


MATRIX: dict[str, tuple[int, ...]] = {
    "get": (404, 200, 200, 200, 200, 200),
    "create": (200, 200, 409, 409, 409, 200),
    "acquire": (404, 200, 409, 409, 409, 409),
    "release": (404, 409, 200, 409, 409, 409),
    "fulfill": (404, 409, 200, 409, 409, 409),
    "suspend": (404, 409, 200, 409, 409, 409),
    "fence": (404, 409, 200, 409, 409, 409),
    "heartbeat": (200, 200, 200, 200, 200, 200),
    "halt": (404, 200, 200, 200, 200, 409),
    "continue": (404, 409, 409, 409, 200, 409),
}
CELLS = [
    (operation, state, status)
    for operation, row in MATRIX.items()
    for state, status in zip(STATES, row, strict=True)
]


@pytest.mark.parametrize(("operation", "state", "status"), CELLS)
def test_each_operation_answers_each_state_as_the_matrix_says(
    operation: str, state: str, status: int, client: Client
) -> None:
    task_id = name()
    MAKE[state](client, task_id)
    client("promise.create", create(f"{task_id}.awaited", **EXTERNAL))
    version = 0 if state in {"none", "pending"} else 1

    answer = client(*_fields(operation, task_id, version))

    assert answer.status == status


@pytest.mark.parametrize("operation", ["acquire", "release", "fulfill", "suspend", "fence"])
def test_a_version_that_is_not_the_tasks_turns_everything_into_a_conflict(
    operation: str, client: Client
) -> None:
    task_id = name()
    MAKE["pending" if operation == "acquire" else "acquired"](client, task_id)
    client("promise.create", create(f"{task_id}.awaited", **EXTERNAL))

    assert client(*_fields(operation, task_id, 7)).status == 409


def test_a_suspend_is_redirected_or_refused_by_what_it_awaits(client: Client) -> None:
    task_id = name()
    _acquired(client, task_id)
    client("promise.create", create(f"{task_id}.done", **EXTERNAL))
    client("promise.settle", settle(f"{task_id}.done"))
    client("promise.create", create(f"{task_id}.internal"))

    assert client("task.suspend", suspend(task_id, 1, f"{task_id}.done")).status == 300
    assert client("task.suspend", suspend(task_id, 1, f"{task_id}.internal")).status == 422
    assert client("task.suspend", suspend(task_id, 1, f"{task_id}.nobody")).status == 422
    assert client("task.get", {"id": task_id}).task == ("acquired", 1, 0)


VALID: dict[str, dict[str, Any]] = {
    "promise.get": {"id": "v"},
    "promise.create": {"id": "v", "timeoutAt": FAR},
    "promise.settle": {"id": "v", "state": "resolved"},
    "promise.register_callback": {"awaited": "v", "awaiter": "w"},
    "promise.register_listener": {"awaited": "v", "address": "poll://uni@g/p"},
    "promise.search": {},
    "task.get": {"id": "v"},
    "task.create": task_create("v"),
    "task.acquire": lease("v", 0, pid="p", ttl=1),
    "task.release": lease("v", 0),
    "task.fulfill": lease("v", 0, action=inner("promise.settle", settle("v"))),
    "task.suspend": suspend("v", 0, "w"),
    "task.fence": lease("v", 0, action=inner("promise.create", create("w"))),
    "task.heartbeat": {"pid": "p", "tasks": [lease("v", 0)]},
    "task.halt": {"id": "v"},
    "task.continue": {"id": "v"},
    "task.search": {},
    "schedule.get": {"id": "v"},
    "schedule.create": {
        "id": "v",
        "cron": "* * * * *",
        "promiseId": "{{.id}}.{{.timestamp}}",
        "promiseTimeout": 1000,
        "promiseTags": {"resonate:target": "poll://any@nobody"},
    },
    "schedule.delete": {"id": "v"},
    "schedule.search": {},
}

TEXTS: tuple[Any, ...] = (None, 7, "", "\0", [], {})
NUMBERS: tuple[Any, ...] = (None, -1, 1.5, 1e3, "1", True, 2**53, 10**30, [])
OBJECTS: tuple[Any, ...] = (7, "x", [1])


def _wrong() -> list[tuple[str, str, Any]]:
    texts = [
        (kind, field, wrong)
        for kind, fields in VALID.items()
        for field, value in fields.items()
        if isinstance(value, str)
        for wrong in TEXTS
    ]
    numbers = [
        (kind, field, wrong)
        for kind, fields in VALID.items()
        for field, value in fields.items()
        if isinstance(value, int)
        for wrong in NUMBERS
    ]
    objects = [
        (kind, field, wrong)
        for kind, field in (
            *(("promise.create", "param"), ("promise.create", "tags"), ("promise.settle", "value")),
            *(("task.create", "action"), ("task.fence", "action"), ("task.fulfill", "action")),
            *(("promise.search", "tags"), ("schedule.search", "tags")),
            *(("schedule.create", "promiseTags"), ("schedule.create", "promiseParam")),
        )
        for wrong in OBJECTS
    ]
    others = [
        ("promise.settle", "state", "rejected_timedout"),
        ("promise.settle", "state", "pending"),
        ("promise.create", "tags", {"a": 7}),
        ("promise.create", "tags", {"a": None}),
        ("promise.create", "tags", {"a\0": "b"}),
        ("promise.create", "param", {"data": 7}),
        ("promise.create", "param", {"headers": {"a": 7}}),
        ("promise.create", "tags", {"resonate:timer": "true", "resonate:target": "poll://any@g"}),
        ("promise.create", "tags", {"resonate:target": ""}),
        ("promise.create", "tags", {"resonate:delay": "5"}),
        ("promise.register_callback", "awaiter", "v"),
        ("promise.register_listener", "address", "not a url"),
        ("task.create", "action", inner("promise.create", create("v"))),
        ("task.create", "ttl", 0),
        ("task.acquire", "ttl", 0),
        ("task.suspend", "actions", []),
        ("task.suspend", "actions", {}),
        ("task.suspend", "actions", [7]),
        ("task.suspend", "actions", suspend("v", 0, "v")["actions"]),
        ("task.suspend", "actions", suspend("v", 0, "w", "w")["actions"]),
        ("task.suspend", "actions", suspend("x", 0, "w")["actions"]),
        ("task.fence", "action", inner("promise.get", {"id": "w"})),
        ("task.fence", "action", inner("promise.create", create("v"))),
        ("task.fence", "action", inner("promise.create", {"id": "", "timeoutAt": 1})),
        ("task.fence", "action", inner("promise.create", {"id": "w"})),
        ("task.fence", "action", inner("promise.create", {"id": "w", "timeoutAt": 2**53})),
        ("task.fulfill", "action", inner("promise.settle", settle("w"))),
        ("task.fulfill", "action", inner("promise.settle", settle("v", "rejected_timedout"))),
        ("task.heartbeat", "tasks", [{"id": "v"}]),
        ("task.heartbeat", "tasks", {"id": "v"}),
        ("promise.search", "state", "settled"),
        ("task.search", "state", "resolved"),
        ("schedule.create", "cron", "every day"),
        ("schedule.create", "promiseTags", {}),
        *((f"{kind}.search", "limit", n) for kind in ("promise", "task") for n in (0, 1001, "1")),
        ("schedule.search", "limit", 0),
    ]
    return [*texts, *numbers, *objects, *others]


@pytest.mark.parametrize(("kind", "field", "wrong"), _wrong())
def test_a_field_that_cannot_be_is_refused_before_anything_is_looked_for(
    kind: str, field: str, wrong: Any, client: Client
) -> None:
    """Nothing of the other names exists, so that any other status would mean that it was asked."""
    assert client(kind, {**VALID[kind], field: wrong}).status == 400


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (kind, field)
        for kind, fields in VALID.items()
        for field in fields
        if (kind, field) not in {("task.heartbeat", "tasks"), ("promise.create", "param")}
    ],
)
def test_a_field_that_is_missing_is_refused(kind: str, field: str, client: Client) -> None:
    fields = {key: value for key, value in VALID[kind].items() if key != field}

    answer = client(kind, fields)

    assert answer.status == 400
    assert field in answer.data or field == "promiseTags"


def test_the_inside_of_a_fence_is_judged_behind_its_guards(client: Client) -> None:
    """A timer with a target and a state that nobody may write: refused inside, and only there."""
    task_id = name()
    both: dict[str, Any] = {"resonate_timer": "true", "resonate_target": "poll://any@g"}
    timer = inner("promise.create", create(f"{task_id}.1", **both))
    state = inner("promise.settle", settle(f"{task_id}.2", "rejected_timedout"))
    unheard = inner("promise.settle", settle(f"{task_id}.2", "done"))
    missing = inner("promise.settle", settle(f"{task_id}.2"))

    assert client("task.fence", lease(task_id, 1, action=timer)).status == 404
    _acquired(client, task_id)
    for action, status in ((timer, 400), (state, 400), (unheard, 400), (missing, 404)):
        answer = client("task.fence", lease(task_id, 1, action=action))
        assert answer.status == 200
        assert answer.data["action"]["head"]["status"] == status
    stale = client("task.fence", lease(task_id, 9, action=state))

    assert stale.status == 409


def test_the_inside_of_a_fence_echoes_its_own_correlation_or_that_of_the_outside(
    client: Client,
) -> None:
    task_id = name()
    _acquired(client, task_id)
    own = {**inner("promise.create", create(f"{task_id}.1")), "head": {"corrId": "k1"}}
    none = inner("promise.create", create(f"{task_id}.2"))

    first = client("task.fence", lease(task_id, 1, action=own))
    second = client("task.fence", lease(task_id, 1, action=none), corrId="outer")

    assert first.data["action"]["head"]["corrId"] == "k1"
    assert second.data["action"]["head"]["corrId"] == "outer"


def test_a_preload_holds_the_mates_of_the_tasks_branch_in_order(client: Client) -> None:
    root = name()
    target: dict[str, Any] = {"resonate_target": "poll://any@nobody", "resonate_branch": root}
    client("promise.create", create(root, **target))
    for child, branch in (("b", root), ("a", root), ("c", "other")):
        tags: dict[str, Any] = {"resonate_branch": branch, "resonate_parent": root}
        client("promise.create", create(f"{root}.{child}", **tags))
    bare = name()
    client("promise.create", create(bare, resonate_target="poll://any@nobody"))

    taken = client("task.acquire", lease(root, 0, pid="p", ttl=60_000))
    fenced = client(
        "task.fence", lease(root, 1, action=inner("promise.settle", settle(f"{root}.a")))
    )
    redirected = client("task.suspend", suspend(root, 1, f"{root}.a"))
    nothing = client("task.acquire", lease(bare, 0, pid="p", ttl=60_000))

    assert [p["id"] for p in taken.data["preload"]] == [f"{root}.a", f"{root}.b"]
    assert [p["id"] for p in fenced.data["preload"]] == [f"{root}.a", f"{root}.b"]
    assert fenced.data["preload"][0]["state"] == "resolved"
    assert redirected.status == 422  # it is internal: nobody but its own execution may await it
    assert nothing.data["preload"] == []


def test_a_redirect_tells_what_the_awaited_came_to(client: Client) -> None:
    root = name()
    client(
        "promise.create",
        create(root, resonate_target="poll://any@nobody", resonate_branch=root),
    )
    tags: dict[str, Any] = {"resonate_branch": root, "resonate_parent": root, **EXTERNAL}
    client("promise.create", create(f"{root}.a", **tags))
    client("promise.settle", settle(f"{root}.a"))
    client("task.acquire", lease(root, 0, pid="p", ttl=60_000))

    redirected = client("task.suspend", suspend(root, 1, f"{root}.a"))

    assert redirected.status == 300
    assert [(p["id"], p["state"]) for p in redirected.data["preload"]] == [
        (f"{root}.a", "resolved")
    ]


def test_listings_page_through_everything_once(client: Client) -> None:
    root = name("page")
    ids = [f"{root}.{index}" for index in range(5)]
    for each in ids:
        client("promise.create", create(each, resonate_origin=root))
    found: list[str] = []
    cursor = None
    while True:
        query = {"tags": {"resonate:origin": root}, "limit": 2, "cursor": cursor}
        page = client("promise.search", query).data
        found += [p["id"] for p in page["promises"]]
        cursor = page.get("cursor")
        if cursor is None:
            break

    assert found == ids


def test_schedules_are_made_found_and_deleted_over_http(client: Client) -> None:
    schedule_id = name("s")
    fields = {**VALID["schedule.create"], "id": schedule_id, "promiseParam": {"data": "MQ=="}}

    made = client("schedule.create", fields)
    again = client("schedule.create", {**fields, "cron": "0 0 * * *"})
    found = client("schedule.get", {"id": schedule_id})
    listed = client("schedule.search", {"tags": {"resonate:target": "poll://any@nobody"}})
    gone = client("schedule.delete", {"id": schedule_id})

    schedule = made.data["schedule"]
    assert made.data == again.data == found.data
    assert schedule["cron"] == "* * * * *"
    assert schedule["promiseParam"] == {"data": "MQ=="}
    assert schedule["nextRunAt"] > schedule["createdAt"]
    assert "lastRunAt" not in schedule
    assert schedule_id in [s["id"] for s in listed.data["schedules"]]
    assert (gone.status, gone.data) == (200, {})
    assert client("schedule.get", {"id": schedule_id}).status == 404
    assert client("schedule.delete", {"id": schedule_id}).status == 404


def test_a_sleep_that_a_client_gives_a_target_is_a_timer_without_one(client: Client) -> None:
    """The client of TypeScript does so from 0.11.5 on; whoever has no scope is refused (D7)."""
    task_id = name()
    _acquired(client, task_id)
    sleep = create(
        f"{task_id}.1",
        resonate_timer="true",
        resonate_target="poll://any@nobody",
        resonate_scope="global",
    )

    fenced = client("task.fence", lease(task_id, 1, action=inner("promise.create", sleep)))

    promise = fenced.data["action"]["data"]["promise"]
    assert promise["state"] == "pending"
    assert "resonate:target" not in promise["tags"]
    assert client("task.get", {"id": f"{task_id}.1"}).status == 404
    assert client("task.suspend", suspend(task_id, 1, f"{task_id}.1")).status == 200


def test_an_instant_that_is_none_is_refused_where_instants_count(
    client: Client, timed: Client
) -> None:
    wrong: Any
    for wrong in (-1, 1.5, "1000", True, [], 2**60, 10**30):
        assert timed("promise.get", {"id": "a"}, more={"resonate:debug_time": wrong}).status == 400
        assert client("promise.get", {"id": "a"}, more={"resonate:debug_time": wrong}).status == 404


@pytest.mark.parametrize("time", [None, -1, 1.5, "1000", True, 2**53])
def test_a_tick_needs_an_instant(time: Any, timed: Client) -> None:
    assert timed("debug.tick", {"time": time}).status == 400


def test_a_tick_at_two_instants_is_refused(timed: Client) -> None:
    assert timed("debug.tick", {}).status == 400
    assert timed("debug.tick", {"time": 5}, at=6).status == 400
    assert timed("debug.tick", {"time": 5}, at=5).data == []


def test_a_snapshot_has_everything_in_its_shape(timed: Client) -> None:
    target: dict[str, Any] = {"resonate_target": "poll://any@nobody"}
    timed("promise.create", create("x", timeout_at=900_000, **target), at=1000)
    timed("promise.create", create("a", timeout_at=900_000, **EXTERNAL), at=1000)
    timed("promise.register_callback", {"awaited": "a", "awaiter": "x"}, at=1000)
    timed("promise.register_listener", {"awaited": "a", "address": "poll://uni@g/p"}, at=1000)
    held = task_create("y", target="poll://any@nobody")
    held["action"]["data"]["timeoutAt"] = 900_000
    timed("task.create", held, at=1000)
    timed("promise.create", create("z", timeout_at=900_000, **EXTERNAL), at=1000)
    timed("promise.register_listener", {"awaited": "z", "address": "poll://uni@g/q"}, at=1000)
    timed("promise.settle", settle("z"), at=1000)

    snap = timed("debug.snap", {}).data

    assert {p["id"] for p in snap["promises"]} == {"a", "x", "y", "z"}
    assert {t["id"]: t["state"] for t in snap["tasks"]} == {"x": "pending", "y": "acquired"}
    assert snap["callbacks"] == [{"awaiter": "x", "awaited": "a"}]
    assert snap["listeners"] == [{"id": "a", "address": "poll://uni@g/p"}]
    assert {"id": "a", "timeout": 900_000} in snap["promiseTimeouts"]
    assert {"id": "y", "type": 1, "timeout": 61_000} in snap["taskTimeouts"]
    assert [t["type"] for t in snap["taskTimeouts"] if t["id"] == "x"] == [0]
    messages = {m["message"]["kind"]: m for m in snap["messages"]}
    assert messages["execute"]["message"] == {
        "kind": "execute",
        "head": {},
        "data": {"task": {"id": "x", "version": 0}},
    }
    assert messages["unblock"]["address"] == "poll://uni@g/q"
    assert messages["unblock"]["message"]["data"]["promise"]["state"] == "resolved"
    assert snap["schedules"] == []
