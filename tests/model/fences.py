"""A write that only the holder of the lease may do: guard and write are one step."""

from tests.model.reading import (
    check_create,
    check_settle,
    malformed,
    read_create,
    read_flag,
    read_name,
    read_number,
    read_object,
    read_settle,
)
from tests.model.records import Json, Refused
from tests.model.tasks import Tasks


class Fences(Tasks):
    """`task.fence`."""

    def task_fence(self, data: Json, now: int) -> Json:
        task_id, version = read_name(data, "id"), read_number(data, "version")
        action = read_object(data, "action")
        kind, inner = self.read_action(action)
        read_flag(data, "required", self.profile)  # which is about what comes behind, in a chain
        if inner["id"] == task_id:
            malformed("a fence does not touch the task's own promise")
        task = self.get_held_task(task_id, version, now)
        status, answer = self.do_inside(kind, inner, now)
        return {
            "action": {"kind": kind, "head": {"status": status}, "data": answer},
            "preload": self.preload(task, now),
        }

    def read_action(self, action: Json) -> tuple[str, Json]:
        """Read the shape of the inner operation; its rules come after the guard."""
        match action.get("kind"):
            case "promise.create":
                return "promise.create", read_create(read_object(action, "data"))
            case "promise.settle":
                return "promise.settle", read_settle(read_object(action, "data"))
        return malformed("a fence creates or settles a promise")

    def do_inside(self, kind: str, inner: Json, now: int) -> tuple[int, Json | str]:
        """Do the inner operation. What it is refused for is its own answer, not the fence's."""
        try:
            if kind == "promise.create":
                check_create(inner, self.profile)
                return 200, {"promise": self.read_promise(self.find_or_create(inner, now), now)}
            check_settle(inner)
            return 200, {"promise": self.settle_once(inner, now)}
        except Refused as refusal:
            return refusal.status, refusal.text
