"""The promise store's report of its queues: one stream, begun again whenever it breaks.

Silence is told apart from "nothing waits": there is a report only while the stream that brought it
stands. A quiet stream is not trusted for long: one of several replicas of a store need not know at
once what another one did, and a store that hangs does not say so. So the queues are asked for when
nothing came for a while.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from holdfast.errors import ResonateError, ServerUnavailable
from holdfast.rpc.admin import ConnectedMember, Queue
from holdfast.rpc.endpoints import Endpoint, parse_endpoints
from holdfast_chassis.logs import get_logger
from holdfast_operator import metrics
from holdfast_operator.pacing import pause_s
from holdfast_operator.plan import StoreSilent, Work

QUIET_S_MAX: Final = 3.0
"""Longest time without a report before the store is asked for one."""

log = get_logger("holdfast_operator.store")


class Store(Protocol):
    """What the operator asks of a store; `holdfast.rpc.admin.Admin` is one."""

    def watch_queues(
        self, groups: Sequence[str] = (), *, interval_ms: int = 1_000
    ) -> AsyncGenerator[list[Queue], None]:
        """Read the queues now and whenever they changed."""
        ...

    async def get_queues(self, groups: Sequence[str] = ()) -> list[Queue]:
        """Read the queues now."""
        ...

    async def list_members(self) -> list[ConnectedMember]:
        """Read who is connected."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class QueueWatch:
    """Keeps the latest report of the store.

    Each attempt opens connections of its own: gRPC would wait minutes before it tries an old one
    again.
    """

    def __init__(
        self,
        connect: Callable[[str], Store],
        wake: asyncio.Event,
        *,
        url: str,
        interval_ms: int,
        clock_ms: Callable[[], int],
    ) -> None:
        """Set `wake` whenever the store reports or falls silent."""
        self._connect = connect
        self._url = url
        self._wake = wake
        self._interval_ms = interval_ms
        self._clock_ms = clock_ms
        self._silent = StoreSilent(since_ms=clock_ms(), reason="it was not asked yet")
        self._queues: Mapping[str, Queue] | None = None
        self._reported_at_ms = clock_ms()

    @property
    def is_reporting(self) -> bool:
        """Whether the latest report is current."""
        return self._queues is not None

    def work_of(self, groups: Sequence[str]) -> Work | StoreSilent:
        """Add up the queues of some groups."""
        if self._queues is None:
            return self._silent
        return work_of([self._queues.get(group) or _nothing(group) for group in groups])

    async def list_members(self) -> list[ConnectedMember]:
        """Read who is connected to any replica of the store; raises `ResonateError`.

        A replica that does not answer is passed over as long as another one does: what its members
        hold is then held by nobody known, which keeps every pod.
        """
        urls = await replicas_of(self._url)
        answers = await asyncio.gather(*map(self._members_of, urls))
        failures = [answer for answer in answers if isinstance(answer, ResonateError)]
        if len(failures) == len(answers):
            raise failures[0]
        members: dict[str, ConnectedMember] = {}
        for member in (m for a in answers if not isinstance(a, ResonateError) for m in a):
            # One that moved may be with its old replica still: the more careful answer counts.
            known = members.get(member.pid)
            if known is None or known.held < member.held:
                members[member.pid] = member
        return list(members.values())

    async def list_joined_groups(self) -> frozenset[str]:
        """Read which groups have members at any replica of the store; raises `ResonateError`."""
        return frozenset(group for m in await self.list_members() for group in m.groups)

    async def _members_of(self, url: str) -> list[ConnectedMember] | ResonateError:
        store = self._connect(url)
        try:
            return await store.list_members()
        except ResonateError as error:
            return error
        finally:
            await store.close()

    async def run(self) -> None:
        """Watch until cancelled."""
        failures = 0
        while True:
            store = self._connect(self._url)
            try:
                reason = await self._watch(store)
            finally:
                await store.close()
            failures = 1 if self.is_reporting else failures + 1
            self._fall_silent(reason)
            await asyncio.sleep(pause_s(failures))

    async def _watch(self, store: Store) -> str:
        """Watch until it fails; answer why it did."""
        failed: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(store))
                tasks.create_task(self._ask(store))
        except* ResonateError as errors:
            failed.extend(errors.exceptions)
        return str(failed[0])

    async def _follow(self, store: Store) -> None:
        async for queues in store.watch_queues(interval_ms=self._interval_ms):
            self._report(queues)
        raise ServerUnavailable("it ended its report")

    async def _ask(self, store: Store) -> None:
        while True:
            quiet_s = (self._clock_ms() - self._reported_at_ms) / 1000
            if quiet_s < QUIET_S_MAX:
                await asyncio.sleep(QUIET_S_MAX - quiet_s)
            else:
                self._report(await store.get_queues())

    def _report(self, queues: Sequence[Queue]) -> None:
        if self._queues is None:
            log.info("store_connected")
        self._queues = {queue.group: queue for queue in queues}
        self._reported_at_ms = self._clock_ms()
        metrics.store_reachable.set(1)
        self._wake.set()

    def _fall_silent(self, reason: str) -> None:
        since_ms = self._silent.since_ms
        if self._queues is not None:
            since_ms = self._clock_ms()
            log.warning("store_lost", reason=reason)
        self._queues = None
        self._silent = StoreSilent(since_ms=since_ms, reason=reason.rstrip("."))
        metrics.store_reachable.set(0)
        self._wake.set()


async def replicas_of(url: str) -> list[str]:
    """Find every process behind the addresses of a store: a name may stand for several.

    Where connections are encrypted, the certificate of each is still to be for the name.
    """
    urls: dict[str, None] = {}
    for endpoint in parse_endpoints(url):
        server = endpoint.server or (endpoint.host if endpoint.tls else "")
        for host in await _addresses_of(endpoint):
            named = server if host != server else ""
            urls[str(replace(endpoint, host=host, server=named))] = None
    return list(urls)


async def _addresses_of(endpoint: Endpoint) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except OSError:
        return [endpoint.host]  # let the attempt to connect say what is wrong
    return sorted({str(address[0]) for *_, address in found})


def work_of(queues: Sequence[Queue]) -> Work:
    """Add up the queues of some groups."""
    return Work(
        due=sum(queue.due for queue in queues),
        running=sum(queue.running for queue in queues),
        oldest_due_age_ms=max((queue.oldest_due_age_ms for queue in queues), default=0),
        members=sum(queue.members for queue in queues),
        unknown=tuple(queue.group for queue in queues if not _is_known(queue)),
    )


def _is_known(queue: Queue) -> bool:
    return any((queue.due, queue.running, queue.suspended, queue.halted, queue.members))


def _nothing(group: str) -> Queue:
    return Queue(
        group=group,
        due=0,
        running=0,
        suspended=0,
        halted=0,
        oldest_due_age_ms=0,
        members=0,
        free_credits=0,
    )
