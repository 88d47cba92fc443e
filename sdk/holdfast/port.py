"""The store as the library sees it: chains of operations in, answers, tasks and settlements out.

Implemented by `holdfast.rpc` (a remote store over one gRPC stream) and by the in-process store
that `holdfast.embedded` finds. Both obey the same rules, so the same tests run on both.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from holdfast.core.membership import Member, TaskPush
from holdfast.core.records import Promise
from holdfast.core.requests import Outcome, Refusal, Request
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)


class Answer(Struct, frozen=True, kw_only=True):
    """What a chain was answered, one outcome per operation.

    `resent` says that the chain went out more than once because a stream broke: a refusal with
    status 409 may then mean that the first sending had succeeded.
    """

    outcomes: Sequence[Outcome]
    resent: bool = False


class Receiver(Protocol):
    """Where a store delivers. Calls arrive on the event loop and must return at once."""

    def on_task(self, push: TaskPush) -> None:
        """Take a task that was acquired for this member; costs one credit."""

    def on_settled(self, promise: Promise) -> None:
        """Learn that a promise with a listener at one of this member's addresses is settled."""

    def on_connected(self) -> None:
        """Learn that the store is reachable: for the first time, or again after a break.

        Listeners of handles that still wait are registered again now: a message may be lost.
        """

    def on_disconnected(self) -> None:
        """Learn that the stream is down: leases may be lost, no body may start unwritten."""


class Store(Protocol):
    """One process's connection to a promise store."""

    async def start(self, member: Member, receiver: Receiver) -> None:
        """Join as a member. Returns at once; a remote store connects in the background."""

    def submit(
        self, chain: Sequence[Request], *, credits: int = 0, timeout: float | None = None
    ) -> "asyncio.Future[Answer]":
        """Send operations on one tree as one transaction; one loop turn is one message.

        `credits` are given back together with the chain. The future raises
        `holdfast.errors.ServerUnavailable` when no answer came within `timeout` seconds (default:
        the store's own), and `Unauthenticated` or `PermissionDenied`; every refusal by a rule is
        an outcome. Cancelling the future does not undo what was sent.
        """

    async def search_promises(self, search: PromiseSearch) -> PromisePage | Refusal:
        """List promises; answers a refusal, or raises it as the error that it means."""

    async def search_tasks(self, search: TaskSearch) -> TaskPage | Refusal:
        """List tasks, in the same way."""

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage | Refusal:
        """List schedules, in the same way."""

    def give_back(self, credits: int) -> None:
        """Return credits without a chain."""

    def drain(self) -> None:
        """Take no more tasks."""

    async def close(self) -> None:
        """Leave: send what is buffered, then close the stream."""
