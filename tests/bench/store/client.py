"""A client that is nothing but operations over one stream."""

import itertools
import secrets
import time
from collections.abc import Mapping
from typing import Final

from holdfast.core.membership import Member, TaskPush
from holdfast.core.records import Promise, PromiseState, Value
from holdfast.core.requests import Done, PromiseCreate, PromiseSettle, Request
from holdfast.rpc import RemoteStore
from tests.bench.closed_loop import Effort, drive
from tests.bench.shapes import Workload
from tests.bench.subject import BatchCounts, WrongResult
from tests.bench.system import System

OPERATIONS: Final = Workload("store", adds=0, durable_steps=1)
"""One unit is one operation, though they come in pairs: create, then resolve."""

PAYLOAD: Final = Value(data=b"eyJmdW5jIjoiYmVuY2guc3RlcCIsImFyZ3MiOlsxXX0=")
LIFE_MS: Final = 3_600_000


class Nobody:
    """Receives what a member without groups never gets."""

    def on_task(self, push: TaskPush) -> None:
        """Never called."""
        raise AssertionError(f"a task without credit: {push}")

    def on_settled(self, promise: Promise) -> None:
        """Never called."""
        raise AssertionError(f"a message that nobody asked for: {promise}")

    def on_connected(self) -> None:
        """Do nothing."""

    def on_disconnected(self) -> None:
        """Do nothing."""


class Client:
    """Drives a store; one operation in each chain, so that the store alone makes the batches."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._store = RemoteStore(system.url)
        self._run_id = secrets.token_hex(4)
        self._numbers = itertools.count()
        self._settling: list[str] = []
        self.name = system.name

    async def start(self) -> None:
        """Connect."""
        await self._store.start(Member(pid=self._run_id, instance=self._run_id), Nobody())

    async def stop(self) -> None:
        """Leave."""
        await self._store.close()

    def pids(self) -> Mapping[str, int]:
        """Tell the processes."""
        return self._system.pids()

    def check_alive(self) -> None:
        """Raise ProcessFailed if anything has ended."""
        self._system.check_alive()

    def counts(self) -> BatchCounts:
        """Ask the store's metrics."""
        return self._system.counts()

    def pause(self) -> None:
        """Do nothing: an idle store is quiet."""

    def resume(self) -> None:
        """Do nothing."""

    async def drive(self, workload: Workload, *, in_flight: int, effort: Effort) -> list[float]:
        """Create and resolve promises; each call of the loop is one operation."""
        return await drive(self._once, in_flight=in_flight, effort=effort)

    async def _once(self) -> None:
        if self._settling:
            id = self._settling.pop()
            await self._apply(PromiseSettle(id=id, state=PromiseState.RESOLVED, value=PAYLOAD))
            return
        id = f"{self._run_id}.{next(self._numbers)}"
        timeout_at_ms = int(time.time() * 1e3) + LIFE_MS
        await self._apply(PromiseCreate(id=id, timeout_at_ms=timeout_at_ms, param=PAYLOAD))
        self._settling.append(id)

    async def _apply(self, request: Request) -> None:
        answer = await self._store.submit([request])
        [outcome] = answer.outcomes
        if not isinstance(outcome, Done):
            raise WrongResult(f"{request}: {outcome}")
