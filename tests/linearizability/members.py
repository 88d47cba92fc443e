"""Members that the store acquires tasks for: each push is recorded as an acquire of theirs.

An acquire on behalf of a member begins, for whoever looks from outside, when the member has room,
and ends when the push arrives. A push that is lost with its stream was an acquire that nobody saw;
`supposed` adds those of which later answers tell, as requests without an answer.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import grpc

from holdfast.v1 import workers_pb2 as workers
from tests.linearizability.recording import Event
from tests.linearizability.tree import TaskSeen
from tests.linearizability.wire import CHANNEL_OPTIONS, envelope, promise_record, task_record

GROUP: Final = "w"
TTL_MS: Final = 400
REST_S: Final = 0.06
"""How long a member has no room after a task, on average: others want to acquire as well."""


class Member:
    """Takes one task at a time, and leaves what to do with it to everybody."""

    def __init__(self, target: str, pid: str, seed: int) -> None:
        self.pid = pid
        self.breaks = 0
        self._rng = random.Random(seed)
        self._channel = grpc.aio.insecure_channel(target, options=list(CHANNEL_OPTIONS))

    async def run(self, now_ns: Callable[[], int], record: Callable[[Event], None]) -> None:
        """Be connected until cancelled, and record what is pushed."""
        connect: Any = self._channel.stream_stream(
            "/holdfast.v1.Workers/Connect",
            request_serializer=workers.ConnectRequest.SerializeToString,
            response_deserializer=workers.ConnectResponse.FromString,
        )
        try:
            while True:
                call = connect()
                try:
                    await self._serve(call, now_ns, record)
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it ended, or before
                    self.breaks += 1
                finally:
                    call.cancel()
                await asyncio.sleep(0.05)
        finally:
            await self._channel.close()

    async def _serve(
        self, call: Any, now_ns: Callable[[], int], record: Callable[[Event], None]
    ) -> None:
        hello = workers.Hello(
            pid=self.pid,
            instance_id=f"{self.pid}-{self.breaks}",
            groups=[GROUP],
            credits=1,
            lease_ttl_ms=TTL_MS,
        )
        since_ns = now_ns()
        await call.write(workers.ConnectRequest(hello=hello))
        while isinstance(message := await call.read(), workers.ConnectResponse):
            for push in message.tasks:
                record(self._event(push, since_ns, now_ns()))
                await asyncio.sleep(self._rng.uniform(0.5, 1.5) * REST_S)
                since_ns = now_ns()
                await call.write(workers.ConnectRequest(credits=1))
        self.breaks += 1

    def _event(self, push: workers.TaskPush, since_ns: int, now_ns: int) -> Event:
        data = {"task": task_record(push.task), "promise": promise_record(push.promise)}
        req = {"id": push.task.id, "version": push.task.version - 1, "pid": self.pid, "ttl": TTL_MS}
        res = envelope("task.acquire", 200, {**data, "preload": []})
        return Event("task.acquire", req, res, since_ns, now_ns, self.pid)


def supposed(events: Sequence[Event], members: Sequence[Member]) -> Iterator[Event]:
    """Yield the acquires that nobody was told of: of versions that were there all the same."""
    if not any(member.breaks for member in members):
        return
    acquired: dict[str, set[int]] = defaultdict(set)
    seen: dict[str, int] = defaultdict(int)
    for event in events:
        task: TaskSeen | None = event.answer.task if event.answer is not None else None
        if task is None:
            continue
        seen[task.id] = max(seen[task.id], task.version)
        if event.kind in {"task.acquire", "task.create"} and task.state == "acquired":
            acquired[task.id].add(task.version)
    began_ns = min((event.call_ns for event in events), default=0)
    for task_id, newest in seen.items():
        for version in sorted(set(range(1, newest + 1)) - acquired[task_id]):
            for member in members:
                req = {"id": task_id, "version": version - 1, "pid": member.pid, "ttl": TTL_MS}
                yield Event("task.acquire", req, None, began_ns, None, member.pid)
