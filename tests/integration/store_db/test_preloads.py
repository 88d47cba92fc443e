"""What a task's owner is told about the children of its promise."""

from holdfast.core.records import Preload, Promise, Value
from holdfast_store.preloads import counted_bytes
from holdfast_store.storage import Storage
from tests.integration.store_db.records import promise, save, targeted, task


async def preload_of(storage: Storage, task_id: str, *, bytes_max: int = 1_000_000) -> Preload:
    found = await save(storage, preload_of=[task_id], preload_bytes_max=bytes_max)
    return found[task_id]


def root(promise_id: str, *, branch: str | None = "root") -> Promise:
    tags = {} if branch is None else {"resonate:branch": branch}
    return targeted(promise_id, tags=tags)


def ids(preload: Preload) -> list[str]:
    return [p.id for p in preload.promises]


async def test_it_holds_the_branch_and_every_child_of_it_in_the_order_of_ids(
    storage: Storage,
) -> None:
    """A local child shares the branch; a remote one has its own and is found by its parent."""
    await save(
        storage,
        promises_created=[
            root("root"),
            promise("root.2", branch="root", parent="root"),
            promise("root.1", branch="root.1", parent="root"),
            promise("root.2.1", branch="root.2.1", parent="root.2"),
            promise("root.1.1", branch="root.1", parent="root.1"),  # the remote child's business
            promise("elsewhere", branch="elsewhere", parent="elsewhere"),
        ],
        tasks_created=[task("root")],
    )

    found = await preload_of(storage, "root")

    assert ids(found) == ["root.1", "root.2", "root.2.1"]
    assert found.complete


async def test_a_promise_without_a_branch_has_only_the_children_that_name_it(
    storage: Storage,
) -> None:
    await save(
        storage,
        promises_created=[
            root("root", branch=None),
            promise("b", parent="root"),
            promise("a", branch="a", parent="root"),
            promise("loner"),
        ],
        tasks_created=[task("root")],
    )

    assert ids(await preload_of(storage, "root")) == ["a", "b"]


async def test_a_branch_named_after_another_promise_is_searched_too(storage: Storage) -> None:
    """A local child that is a workflow has its parent's branch, not its own id."""
    await save(
        storage,
        promises_created=[
            root("root"),
            promise("root.1", branch="root", parent="root"),
            targeted("root.2", tags={"resonate:branch": "root", "resonate:parent": "root"}),
        ],
        tasks_created=[task("root.2")],
    )

    assert ids(await preload_of(storage, "root.2")) == ["root", "root.1"]


async def test_without_children_it_is_empty_and_complete(storage: Storage) -> None:
    await save(storage, promises_created=[root("root")], tasks_created=[task("root")])

    assert await preload_of(storage, "root") == Preload(promises=(), complete=True)


async def test_the_records_are_whole(storage: Storage) -> None:
    child = promise(
        "root.1",
        branch="root",
        param=Value(data=b"", headers={}),
        value=Value(data=b"\x00", headers={"h": "v"}),
        settled_at_ms=3,
    )
    await save(storage, promises_created=[root("root"), child], tasks_created=[task("root")])

    assert (await preload_of(storage, "root")).promises == (child,)


async def test_it_sees_what_its_own_batch_wrote(storage: Storage) -> None:
    await save(storage, promises_created=[root("root")], tasks_created=[task("root")])

    found = await save(
        storage,
        promises_created=[promise("root.1", branch="root")],
        preload_of=["root"],
    )

    assert ids(found["root"]) == ["root.1"]


async def test_several_tasks_of_a_batch_get_their_own(storage: Storage) -> None:
    await save(
        storage,
        promises_created=[
            root("a", branch="a"),
            root("b", branch="b"),
            root("c", branch="c"),
            promise("a.1", branch="a"),
            promise("b.1", branch="b"),
            promise("shared", branch="a", parent="b"),
        ],
        tasks_created=[task("a"), task("b"), task("c")],
    )

    found = await save(storage, preload_of=["b", "a", "c", "a"])

    assert {key: ids(value) for key, value in found.items()} == {
        "a": ["a.1", "shared"],
        "b": ["b.1", "shared"],
        "c": [],
    }


async def test_the_byte_bound_cuts_at_the_end_and_says_so(storage: Storage) -> None:
    children = [promise(f"root.{n}", branch="root", value=Value(data=b"x" * 100)) for n in range(3)]
    await save(storage, promises_created=[root("root"), *children], tasks_created=[task("root")])
    size = counted_bytes(children[0])

    exactly = await preload_of(storage, "root", bytes_max=3 * size)
    too_small = await preload_of(storage, "root", bytes_max=3 * size - 1)
    nothing = await preload_of(storage, "root", bytes_max=0)

    assert exactly == Preload(promises=tuple(children), complete=True)
    assert too_small == Preload(promises=tuple(children[:2]), complete=False)
    assert nothing == Preload(promises=(), complete=False)


async def test_the_bound_counts_what_an_update_added(storage: Storage) -> None:
    child = promise("root.1", branch="root")
    await save(storage, promises_created=[root("root"), child], tasks_created=[task("root")])
    bytes_max = counted_bytes(child)
    before = await preload_of(storage, "root", bytes_max=bytes_max)

    settled = promise("root.1", branch="root", value=Value(data=b"1"))
    await save(storage, promises_updated=[settled])

    assert before.complete
    assert not (await preload_of(storage, "root", bytes_max=bytes_max)).complete


async def test_the_bound_holds_for_each_task_by_itself(storage: Storage) -> None:
    large = promise("a.1", branch="a", value=Value(data=b"x" * 1000))
    await save(
        storage,
        promises_created=[
            root("a", branch="a"),
            root("b", branch="b"),
            large,
            promise("b.1", branch="b"),
        ],
        tasks_created=[task("a"), task("b")],
    )

    found = await save(storage, preload_of=["a", "b"], preload_bytes_max=500)

    assert not found["a"].complete
    assert found["b"].complete
    assert ids(found["b"]) == ["b.1"]


async def test_more_children_than_can_fit_are_not_all_looked_at(storage: Storage) -> None:
    """The bound on bytes is one on rows too, or a tree of a million would stop the store."""
    children = [promise(f"root.{n:03}", branch="root", parent="root") for n in range(200)]
    await save(storage, promises_created=[root("root"), *children], tasks_created=[task("root")])

    found = await preload_of(storage, "root", bytes_max=1_000)

    assert not found.complete
    assert ids(found) == [child.id for child in children[: len(found.promises)]]
    assert sum(map(counted_bytes, found.promises)) <= 1_000


async def test_sizes_are_counted_in_bytes_of_utf8(storage: Storage) -> None:
    child = promise("root.ü", branch="root", tags={"größe": "🙂"}, param=Value(headers={"ä": "ö"}))
    await save(storage, promises_created=[root("root"), child], tasks_created=[task("root")])
    texts = ["root.ü", "größe", "🙂", "resonate:branch", "root", "ä", "ö"]

    assert counted_bytes(child) == 64 + sum(len(text.encode()) for text in texts)
    assert (await preload_of(storage, "root", bytes_max=counted_bytes(child))).complete


async def test_ids_are_ordered_by_their_bytes(storage: Storage) -> None:
    names = ["a", "B", "b", "ä", "\uff5e", "🙂", "a.10", "a.9", "a1"]
    await save(
        storage,
        promises_created=[root("root"), *(promise(n, branch="root") for n in names)],
        tasks_created=[task("root")],
    )

    assert ids(await preload_of(storage, "root")) == sorted(names, key=str.encode)
