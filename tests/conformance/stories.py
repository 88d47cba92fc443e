"""What a test tells a store, whichever it is: operations one after the other, and time that passes.

A story speaks the protocol's JSON. Spans are long, since one of the systems lives by the wall's
clock: there an operation costs milliseconds, and only what a tick does knows that time has passed.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from tests.traces.traces import Json

SPAN = 600_000
"""A deadline that is not meant to come, unless a story goes there."""
TTL = 60_000
TARGET = {"resonate:target": "poll://any@w1"}
EXTERNAL = {"resonate:external": "true"}
TIMER = {"resonate:timer": "true"}


class System(Protocol):
    """A store that operations can be sent to."""

    async def reset(self) -> int:
        """Forget everything; answer the instant at which a story begins."""

    async def handle(self, kind: str, data: Json, *, at: int) -> tuple[int, Any]:
        """Carry out an operation."""


@dataclass
class Story:
    """One store, and the instant that it has come to."""

    system: System
    now: int = 0

    async def begin(self) -> None:
        self.now = await self.system.reset()

    async def __call__(self, kind: str, **data: Any) -> tuple[int, Any]:
        return await self.system.handle(kind, data, at=self.now)

    async def done(self, kind: str, **data: Any) -> Any:
        """Do what must succeed; answer its data."""
        status, answer = await self(kind, **data)
        assert status == 200, f"{kind} {data}: {status} {answer}"
        return answer

    async def status(self, kind: str, **data: Any) -> int:
        return (await self(kind, **data))[0]

    async def advance(self, span: int) -> None:
        """Let time pass, and with it everything that becomes due."""
        self.now += span
        await self.tick()

    async def tick(self) -> None:
        assert await self.status("debug.tick", time=self.now) == 200

    # Short words for long requests

    async def promise(self, promise_id: str, *, span: int = SPAN, **tags: str) -> Json:
        data = {"id": promise_id, "timeoutAt": self.now + span, "tags": tagged(tags)}
        return await self._promise("promise.create", data)

    async def target(self, promise_id: str, *, span: int = SPAN) -> Json:
        data = {"id": promise_id, "timeoutAt": self.now + span, "tags": TARGET}
        return await self._promise("promise.create", data)

    async def external(self, promise_id: str, *, span: int = SPAN) -> Json:
        data = {"id": promise_id, "timeoutAt": self.now + span, "tags": EXTERNAL}
        return await self._promise("promise.create", data)

    async def timer(self, promise_id: str, *, span: int) -> Json:
        data = {"id": promise_id, "timeoutAt": self.now + span, "tags": TIMER}
        return await self._promise("promise.create", data)

    async def settle(
        self, promise_id: str, state: str = "resolved", data: str | None = None
    ) -> Json:
        value = {} if data is None else {"data": data}
        return await self._promise(
            "promise.settle", {"id": promise_id, "state": state, "value": value}
        )

    async def got(self, promise_id: str) -> Json:
        return await self._promise("promise.get", {"id": promise_id})

    async def _promise(self, kind: str, data: Json) -> Json:
        record: Json = (await self.done(kind, **data))["promise"]
        return record

    async def task(self, task_id: str) -> Json:
        record: Json = (await self.done("task.get", id=task_id))["task"]
        return record

    async def acquire(self, task_id: str, *, version: int = 0, pid: str = "p1") -> Json:
        lease = {"version": version, "pid": pid, "ttl": TTL}
        record: Json = (await self.done("task.acquire", id=task_id, **lease))["task"]
        return record

    async def suspend(self, task_id: str, *awaited: str, version: int = 1) -> tuple[int, Any]:
        return await self("task.suspend", **suspension(task_id, *awaited, version=version))

    async def run(self, task_id: str, *, pid: str = "p1", span: int = SPAN) -> tuple[int, Any]:
        return await self("task.create", **run(task_id, pid=pid, timeout_at=self.now + span))

    async def shown(self, promise_id: str) -> tuple[Any, Any]:
        """Return all that can be seen of a promise and its task."""
        return (
            await self("promise.get", id=promise_id),
            await self("task.get", id=promise_id),
        )


def tagged(tags: dict[str, str]) -> dict[str, str]:
    """Read `resonate_scope` as `resonate:scope`."""
    return {name.replace("_", ":", 1): text for name, text in tags.items()}


def inside(kind: str, data: Json) -> Json:
    return {"kind": kind, "head": {}, "data": data}


def run(task_id: str, *, timeout_at: int, pid: str = "p1") -> Json:
    create = {"id": task_id, "timeoutAt": timeout_at, "tags": TARGET}
    return {"pid": pid, "ttl": TTL, "action": inside("promise.create", create)}


def suspension(task_id: str, *awaited: str, version: int = 1) -> Json:
    pairs = [{"awaited": each, "awaiter": task_id} for each in awaited]
    actions = [inside("promise.register_callback", pair) for pair in pairs]
    return {"id": task_id, "version": version, "actions": actions}


def fulfilment(task_id: str, *, version: int = 1, data: str = "MQ==") -> Json:
    settle = {"id": task_id, "state": "resolved", "value": {"data": data}}
    return {"id": task_id, "version": version, "action": inside("promise.settle", settle)}


def fence(task_id: str, action: Json, *, version: int = 1) -> Json:
    return {"id": task_id, "version": version, "action": action}
