"""What the operator believes of the cluster when events and listings come in any order."""

import asyncio
from typing import Any

from holdfast_operator.kube import Listing
from holdfast_operator.mirror import Mirror, selector_text


def group(
    name: str = "w", *, version: int = 1, created: int = 0, **metadata: Any
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "uid": f"{name}-{created}",
            "resourceVersion": str(version),
            "creationTimestamp": f"2026-01-01T00:00:{created:02}Z",
            **metadata,
        },
        "spec": {"groups": ["g"], "scaleTargetRef": {"name": "d"}},
    }


def names(mirror: Mirror) -> list[tuple[str, str]]:
    return [(each.name, each.version) for each in mirror.worker_groups()]


def mirror() -> Mirror:
    return Mirror(asyncio.Event())


def test_an_older_version_never_replaces_a_newer_one() -> None:
    known = mirror()

    known.put("WorkerGroup", group(version=5))
    known.put("WorkerGroup", group(version=4))

    assert names(known) == [("w", "5")]


def test_a_listing_removes_what_it_does_not_hold() -> None:
    known = mirror()
    known.put("WorkerGroup", group(version=5))

    known.replace("WorkerGroup", Listing(items=[], version="6"))

    assert names(known) == []


def test_a_listing_does_not_remove_what_was_created_after_it() -> None:
    known = mirror()
    known.put("WorkerGroup", group(version=7))

    known.replace("WorkerGroup", Listing(items=[], version="6"))

    assert names(known) == [("w", "7")]


def test_a_late_farewell_does_not_remove_a_new_object_of_the_same_name() -> None:
    known = mirror()
    known.put("WorkerGroup", group(version=7, created=2))

    known.remove("WorkerGroup", group(version=6, created=1))
    known.drop("WorkerGroup", "w", uid="w-1")

    assert names(known) == [("w", "7")]


def test_the_oldest_comes_first_and_what_is_being_deleted_not_at_all() -> None:
    known = mirror()
    known.put("WorkerGroup", group("b", created=1))
    known.put("WorkerGroup", group("a", created=2))
    known.put("WorkerGroup", group("c", created=0, deletionTimestamp="2026-01-01T00:00:00Z"))

    assert [each.name for each in known.worker_groups()] == ["b", "a"]


def test_only_a_listing_of_every_kind_makes_it_complete() -> None:
    known = mirror()
    known.replace("WorkerGroup", Listing(items=[], version="1"))
    assert not known.is_complete

    known.replace("Deployment", Listing(items=[], version="1"))

    assert known.is_complete


def test_every_change_wakes_and_nothing_else_does() -> None:
    wake = asyncio.Event()
    known = Mirror(wake)

    known.put("WorkerGroup", group(version=5))
    assert wake.is_set()
    wake.clear()
    known.put("WorkerGroup", group(version=4))
    known.put("WorkerGroup", group(version=5))
    known.remove("WorkerGroup", group("other", version=9))

    assert not wake.is_set()


def test_a_deployment_without_replicas_wants_one() -> None:
    known = mirror()
    known.put(
        "Deployment",
        {
            "metadata": {"name": "d", "resourceVersion": "1"},
            "spec": {"selector": {"matchLabels": {"app": "d"}}},
        },
    )

    target = known.target("d")

    assert target is not None
    assert (target.wanted, target.existing, target.ready) == (1, 0, 0)
    assert target.selector == "app=d"


def test_a_deployment_that_is_being_deleted_is_no_target() -> None:
    known = mirror()
    metadata = {"name": "d", "resourceVersion": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    known.put("Deployment", {"metadata": metadata, "spec": {}})

    assert known.target("d") is None


def test_a_selector_is_written_as_queries_want_it() -> None:
    assert selector_text(
        {
            "matchLabels": {"b": "2", "a": "1"},
            "matchExpressions": [
                {"key": "c", "operator": "In", "values": ["x", "y"]},
                {"key": "d", "operator": "NotIn", "values": ["z"]},
                {"key": "e", "operator": "Exists"},
                {"key": "f", "operator": "DoesNotExist"},
            ],
        }
    ) == ("a=1,b=2,c in (x,y),d notin (z),e,!f")
