"""What is due next, how much work each group has, and messages for addresses."""

from msgspec.structs import replace

from holdfast.core.records import PromiseState, TaskState, Unblock
from holdfast_store.storage import QueueCounts, Storage
from tests.integration.store_db.records import (
    BYTES_MAX,
    leased,
    load,
    promise,
    queued,
    save,
    save_tasks,
    taken_for,
    targeted,
    task,
)


async def test_nothing_is_due_in_an_empty_storage(storage: Storage) -> None:
    assert await storage.next_due_at_ms() is None
    assert await storage.queued_groups() == frozenset()
    assert list(await storage.queue_counts(now_ms=1)) == []


async def test_the_next_due_instant_is_the_earliest_of_deadlines_leases_and_dispatches(
    storage: Storage,
) -> None:
    seen = []
    await save(
        storage,
        promises_created=[
            promise("p", timeout_at_ms=40, armed=True),
            promise("unarmed", timeout_at_ms=1),
            *(targeted(i, timeout_at_ms=99) for i in ("lease", "dispatch")),
        ],
        tasks_created=[
            leased("lease", pid="p", lease_at_ms=30),
            task("dispatch", dispatch_at_ms=10, paced_until_ms=20),
        ],
    )
    seen.append(await storage.next_due_at_ms())
    await save(storage, tasks_updated=[queued("dispatch", at_ms=20)])
    seen.append(await storage.next_due_at_ms())
    await save(storage, tasks_updated=[leased("lease", pid="p", lease_at_ms=50)])
    seen.append(await storage.next_due_at_ms())
    await save(
        storage,
        promises_updated=[promise("p", timeout_at_ms=40, state=PromiseState.RESOLVED)],
    )
    seen.append(await storage.next_due_at_ms())

    assert seen == [20, 30, 40, 50]


async def test_lease_holders_are_the_process_starts_with_acquired_tasks(storage: Storage) -> None:
    await save(
        storage,
        promises_created=[targeted(i, timeout_at_ms=99) for i in ("a", "b", "c")],
        tasks_created=[
            replace(leased("a", pid="p", lease_at_ms=30), instance="1"),
            replace(leased("b", pid="p", lease_at_ms=30), instance="1"),
            leased("c", pid="without-stream", lease_at_ms=30),
        ],
    )

    assert await storage.lease_holders() == {("p", "1")}


async def test_arming_a_promise_makes_its_deadline_due(storage: Storage) -> None:
    await save(storage, promises_created=[promise("p", timeout_at_ms=7)])
    before = await storage.next_due_at_ms()

    await save(storage, promises_updated=[promise("p", timeout_at_ms=7, armed=True)])

    assert before is None
    assert await storage.next_due_at_ms() == 7


async def test_looking_at_what_is_due_leaves_it_due(storage: Storage) -> None:
    await save(storage, promises_created=[promise("p", timeout_at_ms=7, armed=True)])

    looks = [list((await load(storage, now_ms=7, due_max=5)).due_promises) for _ in range(2)]

    assert looks == [["p"], ["p"]]
    assert await storage.next_due_at_ms() == 7


async def test_groups_with_queued_tasks_are_listed_once(storage: Storage) -> None:
    await save_tasks(
        storage,
        queued("1", at_ms=1, group="b"),
        queued("2", at_ms=1, group="b"),
        queued("3", at_ms=1, group="a"),
        task("4", group="c", dispatch_at_ms=1),
    )

    assert await storage.queued_groups() == {"a", "b"}


async def test_counts_per_group_and_state(storage: Storage) -> None:
    await save_tasks(
        storage,
        queued("queued", at_ms=5, group="a"),
        task("due", group="a", dispatch_at_ms=4),
        task("later", group="a", dispatch_at_ms=11),
        leased("run1", pid="p", lease_at_ms=1, group="a"),
        leased("run2", pid="p", lease_at_ms=99, group="a"),
        task("asleep", group="a", state=TaskState.SUSPENDED),
        task("stopped", group="b", state=TaskState.HALTED),
        task("done", group="c", state=TaskState.FULFILLED),
        task("later2", group="d", dispatch_at_ms=11),
    )

    counts = await storage.queue_counts(now_ms=10)

    assert list(counts) == [
        QueueCounts(group="a", due=2, running=2, suspended=1, halted=0, oldest_due_at_ms=4),
        QueueCounts(group="b", halted=1),
        QueueCounts(group="d"),
    ]


async def test_counts_follow_a_task_through_its_states(storage: Storage) -> None:
    async def counts() -> list[QueueCounts]:
        return list(await storage.queue_counts(now_ms=10))

    await save_tasks(storage, queued("t", at_ms=1))
    seen = [await counts()]
    for after in (
        leased("t", pid="p", lease_at_ms=99),
        task("t", state=TaskState.SUSPENDED),
        task("t", state=TaskState.FULFILLED),
    ):
        await save(storage, tasks_updated=[after])
        seen.append(await counts())

    assert seen == [
        [QueueCounts(group="workers", due=1, oldest_due_at_ms=1)],
        [QueueCounts(group="workers", running=1)],
        [QueueCounts(group="workers", suspended=1)],
        [],
    ]


async def test_a_target_that_names_no_group_counts_under_the_empty_one(storage: Storage) -> None:
    made = task("t", dispatch_at_ms=1, queued_at_ms=1)
    await save_tasks(storage, replace(made, target="gcps://some/where"))

    assert await storage.queued_groups() == {""}
    assert [count.group for count in await storage.queue_counts(now_ms=2)] == [""]


async def test_an_unblock_is_taken_once_by_whoever_has_its_address(storage: Storage) -> None:
    p, q = promise("p", state=PromiseState.RESOLVED), promise("q", state=PromiseState.REJECTED)
    await save(
        storage,
        promises_created=[p, q],
        unblocks=[
            Unblock(promise_id="q", address="http://a", enqueued_at_ms=2),
            Unblock(promise_id="p", address="http://a", enqueued_at_ms=1),
            Unblock(promise_id="p", address="http://b", enqueued_at_ms=1),
        ],
    )

    taken = [
        await taken_for(storage, *addresses)
        for addresses in ([], ["http://c"], ["http://a"], ["http://a"], ["http://b", "http://a"])
    ]

    assert taken == [[], [], [("http://a", p), ("http://a", q)], [], [("http://b", p)]]


async def test_a_promise_that_waits_at_two_of_the_addresses_is_answered_for_both(
    storage: Storage,
) -> None:
    p = promise("p", state=PromiseState.RESOLVED)
    await save(
        storage,
        promises_created=[p],
        unblocks=[
            Unblock(promise_id="p", address="http://a", enqueued_at_ms=1),
            Unblock(promise_id="p", address="http://b", enqueued_at_ms=1),
        ],
    )

    assert await taken_for(storage, "http://a", "http://b") == [("http://a", p), ("http://b", p)]
    assert await taken_for(storage, "http://a", "http://b") == []


async def test_messages_are_taken_so_many_at_a_time_until_none_is_left(storage: Storage) -> None:
    settled = [promise(f"p{n}", state=PromiseState.RESOLVED) for n in range(5)]
    await save(
        storage,
        promises_created=settled,
        unblocks=[Unblock(promise_id=p.id, address="http://a", enqueued_at_ms=1) for p in settled],
    )

    by_count = await storage.take_unblocks(["http://a"], limit=2, bytes_max=BYTES_MAX)
    by_bytes = await storage.take_unblocks(["http://a"], limit=9, bytes_max=1)
    rest = await taken_for(storage, "http://a")

    assert [p.id for _, p in by_count] == ["p0", "p1"]
    assert [p.id for _, p in by_bytes] == ["p2"], "one in any case"
    assert [p.id for _, p in rest] == ["p3", "p4"]
    assert await taken_for(storage, "http://a") == []


async def test_messages_that_nobody_here_may_have_stay_and_hide_no_others(
    storage: Storage,
) -> None:
    names = ["a/1", "a/2", "a0", "b/1", "b/é"]
    settled = [promise(name, state=PromiseState.RESOLVED) for name in names]
    await save(
        storage,
        promises_created=settled,
        unblocks=[Unblock(promise_id=p.id, address="http://a", enqueued_at_ms=1) for p in settled],
    )

    taken = await storage.take_unblocks(["http://a"], limit=1, bytes_max=BYTES_MAX, prefix="b/")
    again = await storage.take_unblocks(["http://a"], limit=9, bytes_max=BYTES_MAX, prefix="b/")
    none = await storage.take_unblocks(["http://a"], limit=9, bytes_max=BYTES_MAX, prefix="b/")
    rest = await taken_for(storage, "http://a")

    assert [[p.id for _, p in each] for each in (taken, again, none)] == [["b/1"], ["b/é"], []]
    assert [p.id for _, p in rest] == ["a/1", "a/2", "a0"]


async def test_addresses_of_a_scheme_are_listed_in_order_and_each_once(storage: Storage) -> None:
    settled = [promise(f"p{n}", state=PromiseState.RESOLVED) for n in range(2)]
    listed = ["http://a", "http://b", "http:c", "https://d"]
    unblocks = [
        Unblock(promise_id=p.id, address=address, enqueued_at_ms=1)
        for p in settled
        for address in (*listed, "poll://uni@g/p", "httpx://e", "http;f", "ftp://g")
    ]
    await save(storage, promises_created=settled, unblocks=unblocks)

    assert list(await storage.unblock_addresses("http", behind="", limit=9)) == listed[:3]
    assert list(await storage.unblock_addresses("https", behind="", limit=9)) == listed[3:]
    first = list(await storage.unblock_addresses("http", behind="", limit=2))
    rest = list(await storage.unblock_addresses("http", behind=first[-1], limit=2))
    assert (first, rest) == (listed[:2], listed[2:3])


async def test_messages_whose_promise_is_gone_hide_no_others(storage: Storage) -> None:
    p = promise("p", state=PromiseState.RESOLVED)
    gone = [Unblock(promise_id=f"a{n}", address="http://a", enqueued_at_ms=1) for n in range(3)]
    there = Unblock(promise_id="p", address="http://a", enqueued_at_ms=2)
    await save(storage, promises_created=[p], unblocks=[*gone, there])

    taken = await storage.take_unblocks(["http://a"], limit=2, bytes_max=BYTES_MAX)

    assert taken == [("http://a", p)]


async def test_the_same_message_again_coalesces(storage: Storage) -> None:
    p = promise("p", state=PromiseState.RESOLVED)
    await save(
        storage,
        promises_created=[p],
        unblocks=[Unblock(promise_id="p", address="http://a", enqueued_at_ms=1)],
    )

    await save(storage, unblocks=[Unblock(promise_id="p", address="http://a", enqueued_at_ms=9)])

    assert await storage.drop_unblocks(before_ms=9) == 0
    assert await taken_for(storage, "http://a") == [("http://a", p)]


async def test_messages_that_nobody_came_for_are_dropped(storage: Storage) -> None:
    p = promise("p", state=PromiseState.RESOLVED)
    await save(
        storage,
        promises_created=[p],
        unblocks=[
            Unblock(promise_id="p", address=f"http://{n}", enqueued_at_ms=n) for n in range(5)
        ],
    )

    dropped = await storage.drop_unblocks(before_ms=3)

    assert dropped == 3
    assert await taken_for(storage, "http://2") == []
    assert await taken_for(storage, "http://3") == [("http://3", p)]
    assert await storage.drop_unblocks(before_ms=3) == 0


async def test_a_storage_that_is_open_answers_a_ping(storage: Storage) -> None:
    await storage.ping()
