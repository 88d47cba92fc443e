"""Settled promises that wait for a member, while the database fails."""

from collections.abc import Callable, Sequence

from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.records import Promise
from holdfast_store.deliveries import RETRY_PAUSE_S, Deliveries
from holdfast_store.members import Members
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.observer import NullObserver
from holdfast_store.storage import StorageUnavailable

HERE = "poll://uni@w/a"
BESIDE = "poll://uni@w/b"


class AwayStorage(MemoryStorage):
    """Fails until it is back; counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = True
        self.asked: list[Sequence[str]] = []

    async def take_unblocks(
        self, addresses: Sequence[str], *, limit: int, bytes_max: int, prefix: str = ""
    ) -> Sequence[tuple[str, Promise]]:
        self.asked.append(addresses)
        if self.is_away:
            raise StorageUnavailable("away")
        return await super().take_unblocks(
            addresses, limit=limit, bytes_max=bytes_max, prefix=prefix
        )


class Inbox:
    def push_task(self, push: TaskPush) -> None: ...

    def push_offer(self, offer: TaskOffer) -> None: ...

    def push_settled(self, promise: Promise) -> None: ...

    def replaced(self) -> None: ...


async def test_a_database_that_failed_is_asked_again_after_a_pause_whoever_wants_it_meanwhile() -> (
    None
):
    storage, members = AwayStorage(), Members()
    await storage.open()
    for pid in "ab":
        members.join(Member(pid=pid, instance="i", groups=("w",), credits=0), Inbox(), now_ms=0)
    planned: list[tuple[float, Callable[[], None]]] = []
    deliveries = Deliveries(
        storage,
        members,
        observer=NullObserver(),
        later=lambda seconds, call: planned.append((seconds, call)),
    )

    deliveries.want([HERE])
    assert deliveries.working is not None
    await deliveries.working
    for _ in range(3):
        deliveries.want([BESIDE])
        await deliveries.working
    while_away = list(storage.asked)
    storage.is_away = False
    [(seconds, end_rest)] = planned
    end_rest()
    await deliveries.working

    assert while_away == [[HERE]]
    assert seconds == RETRY_PAUSE_S
    assert sorted(storage.asked[-1]) == [HERE, BESIDE]


class ListedStorage(MemoryStorage):
    """Tells what is listed, and calls a hook while it is."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[tuple[str, str]] = []
        self.while_listing: Callable[[], None] = lambda: None

    async def unblock_addresses(self, scheme: str, *, behind: str, limit: int) -> Sequence[str]:
        self.listed.append((scheme, behind))
        found = await super().unblock_addresses(scheme, behind=behind, limit=limit)
        self.while_listing()
        return found


async def test_who_comes_while_http_addresses_are_listed_has_them_all_listed_again() -> None:
    """What was found before may have been left, since nobody was there any more to send it on."""
    storage = ListedStorage()
    await storage.open()
    deliveries = Deliveries(
        storage, Members(), observer=NullObserver(), later=lambda _seconds, _call: None
    )

    def come() -> None:
        storage.while_listing = lambda: None
        deliveries.want_pushes()

    storage.while_listing = come
    deliveries.want_pushes()
    assert deliveries.working is not None
    await deliveries.working

    assert storage.listed == [("http", ""), ("http", ""), ("https", "")]
