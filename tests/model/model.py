"""The whole store: one method that answers a request, and a picture of what it keeps."""

from typing import Any

from tests.model.chains import Chains
from tests.model.reading import malformed, read_number
from tests.model.records import PENDING, Json, Refused

KINDS = (
    *(
        f"promise.{name}"
        for name in ("get", "create", "settle", "register_callback", "register_listener", "search")
    ),
    *(
        f"task.{name}"
        for name in (
            *("get", "create", "acquire", "release", "fulfill", "suspend", "fence"),
            *("heartbeat", "halt", "continue", "search"),
        )
    ),
    *(f"schedule.{name}" for name in ("get", "create", "delete", "search")),
    *(f"debug.{name}" for name in ("start", "stop", "reset", "tick", "snap")),
)
EXTENSIONS = ("schedule.pause", "chain")
"""What plain HTTP does not know."""

Answer = tuple[int, Any]


class Model(Chains):
    """`handle` is the store."""

    def handle(self, kind: str, data: Any, now: int) -> Answer:
        """Judge one request at one instant; return the status and the data of the answer."""
        try:
            return self.do(kind, data, now)
        except Refused as refusal:
            return refusal.status, refusal.text

    def do(self, kind: str, data: Any, now: int) -> Answer:
        if kind not in KINDS and not (self.profile.extensions and kind in EXTENSIONS):
            malformed(f"unknown kind {kind}")
        if not isinstance(data, dict):
            malformed("data must be an object")
        answer = getattr(self, kind.replace(".", "_"))(data, now)
        return answer if isinstance(answer, tuple) else (200, answer)

    def debug_start(self, data: Json, now: int) -> Json:
        """Nothing happens by itself here, so there is nothing to pause."""
        return {}

    def debug_stop(self, data: Json, now: int) -> Json:
        return {}

    def debug_reset(self, data: Json, now: int) -> Json:
        self.clear()
        return {}

    def debug_tick(self, data: Json, now: int) -> tuple[int, list[Json]]:
        self.tick(read_number(data, "time"))
        return 200, []

    def debug_snap(self, data: Json, now: int) -> Json:
        """Return what is stored, as it is stored: nothing is projected."""
        promises, tasks = self.promises.values(), self.tasks.values()
        return {
            "promises": [promise.record() for promise in promises],
            "promiseTimeouts": [
                {"id": p.id, "timeout": p.timeout_at} for p in promises if self.is_armed(p)
            ],
            "callbacks": [
                {"awaiter": awaiter, "awaited": p.id} for p in promises for awaiter in p.callbacks
            ],
            "listeners": [
                {"id": p.id, "address": address} for p in promises for address in p.listeners
            ],
            "tasks": [task.record() for task in tasks],
            "taskTimeouts": [
                {"id": t.id, "type": 0, "timeout": t.retry_at}
                if t.state == PENDING
                else {"id": t.id, "type": 1, "timeout": t.expires_at}
                for t in tasks
                if t.retry_at is not None or t.expires_at is not None
            ],
            "messages": [*self.execute_messages(), *self.unblock_messages()],
            "schedules": [schedule.record() for schedule in self.schedules.values()],
            "scheduleTimeouts": [
                {"id": s.id, "timeout": s.next_run_at}
                for s in self.schedules.values()
                if not s.paused
            ],
        }

    def execute_messages(self) -> list[Json]:
        return [
            {
                "address": execute["address"],
                "message": {
                    "kind": "execute",
                    "head": {},
                    "data": {"task": {"id": task_id, "version": execute["version"]}},
                },
            }
            for task_id, execute in self.executes.items()
        ]

    def unblock_messages(self) -> list[Json]:
        return [
            {"address": address, "message": {"kind": "unblock", "head": {}, "data": data}}
            for (_, address), data in self.unblocks.items()
        ]
