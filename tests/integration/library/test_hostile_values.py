"""Values, classes and answers that nobody sane would produce must not take a run down."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from msgspec import structs

from holdfast import Context, DecodeError, Never, RemoteError, Resonate, register_error
from holdfast.core.membership import Member, TaskPush
from holdfast.core.records import Preload
from holdfast.core.requests import Done, PromiseGet, Refusal, Request, TaskSuspend
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
from holdfast.embedded import open_embedded
from holdfast.port import Answer, Receiver, Store
from tests.integration.library.world import World, each, held, until

WAIT_S = 20.0

TOO_LARGE = Refusal(status=500, code="answer_too_large", message="read them one by one")


class Forgetful:
    """Drops the records that come with a task."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def on_task(self, push: TaskPush) -> None:
        nothing = Preload(promises=(), complete=False)
        self._receiver.on_task(replace(push, preload=nothing))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._receiver, name)


class ForgetfulStore:
    """A real store that sends no records along, and answers only so many gets in one chain."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.gets_max = 1_000
        self.chains: list[Sequence[Request]] = []

    async def start(self, member: Member, receiver: Receiver) -> None:
        await self._store.start(member, cast("Receiver", Forgetful(receiver)))

    def submit(
        self, chain: Sequence[Request], *, credits: int = 0, timeout: float | None = None
    ) -> "asyncio.Future[Answer]":
        self.chains.append(chain)
        return asyncio.ensure_future(self._answer(chain, credits))

    async def _answer(self, chain: Sequence[Request], credits: int) -> Answer:
        answer = await self._store.submit(chain, credits=credits)
        if sum(isinstance(r, PromiseGet) for r in chain) > self.gets_max:
            return replace(answer, outcomes=[TOO_LARGE] * len(chain))
        outcomes = [
            structs.replace(o, preload=None) if isinstance(o, Done) else o for o in answer.outcomes
        ]
        return replace(answer, outcomes=outcomes)

    async def search_promises(self, search: PromiseSearch) -> PromisePage | Refusal:
        return await self._store.search_promises(search)

    async def search_tasks(self, search: TaskSearch) -> TaskPage | Refusal:
        return await self._store.search_tasks(search)

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage | Refusal:
        return await self._store.search_schedules(search)

    def give_back(self, credits: int) -> None:
        self._store.give_back(credits)

    def drain(self) -> None:
        self._store.drain()

    async def close(self) -> None:
        await self._store.close()

    def count(self, kind: type) -> int:
        return sum(isinstance(r, kind) for c in self.chains for r in c)


@pytest.fixture
def store() -> ForgetfulStore:
    return ForgetfulStore(open_embedded(":memory:"))


@pytest.fixture
async def world(store: ForgetfulStore, tmp_path: Any) -> Any:
    world = World(kind="memory", url=None, file=tmp_path / "unused", replays=False)
    yield world
    await world.close()


@pytest.fixture
def resonate(world: World, store: ForgetfulStore) -> Resonate:
    return world.client(embedded=None, store=store, slow_step_ms=60_000)


@register_error
class Explosive(Exception):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        if args == ("boom",):
            raise SystemError("no such thing")


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@dataclass
class Picky:
    number: int

    def __post_init__(self) -> None:
        assert self.number > 0, "must be positive"


async def test_a_step_is_asked_for_first_when_its_record_may_have_been_left_out(
    resonate: Resonate, store: ForgetfulStore, world: World
) -> None:
    ran: list[str] = []

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(lambda ctx: ran.append(ctx.id)))

    root = world.new_id()
    lineage = {f"resonate:{name}": root for name in ("origin", "branch", "parent")}
    await resonate.promises.create(f"{root}.0", tags={"resonate:scope": "local", **lineage})
    await resonate.promises.resolve(f"{root}.0", "recorded")

    handle = await resonate.begin_rpc(root, workflow)

    assert await handle.result(timeout=WAIT_S) == "recorded"
    assert ran == []


@pytest.mark.parametrize(
    "value",
    [
        {"__type": "aggregate_error", "errors": 5},
        {"__type": "aggregate_error", "errors": {"a": 1}},
        {"__type": "aggregate_error", "message": [], "errors": "ab"},
        {"__type": "error", "name": "Explosive", "module": __name__, "message": "boom"},
        {"__type": "error", "name": "ExceptionGroup", "module": "builtins", "args": [1, 2]},
    ],
)
async def test_whatever_somebody_rejects_a_promise_with_is_an_error_to_catch(
    resonate: Resonate, value: object
) -> None:
    @resonate.register
    def workflow(ctx: Context) -> Any:
        try:
            yield (yield ctx.promise(id="outside"))
        except RemoteError:
            return "caught"

    await resonate.promises.create("outside")
    handle = await resonate.begin_run("run", workflow)
    await until(lambda: held(resonate) == 0)
    await resonate.promises.reject("outside", value)

    assert await handle.result(timeout=WAIT_S) == "caught"


async def test_an_error_without_words_is_recorded_under_its_class(resonate: Resonate) -> None:
    def step(_ctx: Context) -> None:
        raise Speechless

    @resonate.register
    def workflow(ctx: Context) -> Any:
        try:
            yield ctx.run(step, ctx.options(retry_policy=Never()))
        except RemoteError as error:
            return [error.type_name, str(error)]

    handle = await resonate.begin_run("run", workflow)

    type_name, message = await handle.result(timeout=WAIT_S)
    assert type_name == "Speechless"
    assert message.startswith("Speechless")


async def test_a_result_that_its_own_class_refuses_fails_where_it_is_awaited(
    resonate: Resonate,
) -> None:
    @resonate.register
    def child(_ctx: Context) -> Picky:
        return {"number": -1}  # type: ignore[return-value]

    @resonate.register
    def workflow(ctx: Context) -> Any:
        try:
            yield ctx.rpc(child)
        except DecodeError as error:
            return str(error)

    handle = await resonate.begin_run("run", workflow)

    message = await handle.result(timeout=WAIT_S)
    assert "Picky" in message
    assert "must be positive" in message


@pytest.mark.parametrize("when", ["resumed", "looked"])
async def test_a_defect_on_the_way_back_gives_the_run_up(
    resonate: Resonate, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    from holdfast.runtime.execution import Execution  # noqa: PLC0415

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield (yield ctx.promise(id="outside"))

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    await resonate.promises.create("outside")
    await resonate.begin_run("run", workflow)
    await until(lambda: held(resonate) == 0)
    given_up: list[BaseException] = []
    abandon = Execution.abandon

    def noticed(self: Execution, error: BaseException) -> None:
        given_up.append(error)
        abandon(self, error)

    monkeypatch.setattr(Execution, "abandon", noticed)
    monkeypatch.setattr(Execution, "_look" if when == "resumed" else "learn_of", broken)
    await resonate.promises.resolve("outside", 1)

    async with asyncio.timeout(WAIT_S):
        await until(lambda: bool(given_up) and held(resonate) == 0)
    assert isinstance(given_up[0], ZeroDivisionError)


async def test_a_step_that_waits_for_a_thread_does_not_start_after_the_stop(
    world: World, store: ForgetfulStore
) -> None:
    resonate = world.client(embedded=None, store=store, slow_step_ms=60_000, max_concurrency=1)
    going = threading.Event()
    started: list[int] = []

    def step(_ctx: Context, number: int) -> None:
        started.append(number)
        going.wait(WAIT_S)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        futures = yield from each(ctx.begin_run(step, number) for number in range(3))
        yield from each(futures)

    await resonate.begin_run("run", workflow)
    await until(lambda: bool(started))
    await resonate.stop(grace=0)
    going.set()
    await asyncio.sleep(0.1)

    assert started == [0]


async def waiting_on(resonate: Resonate, names: Sequence[str], seen: list[object]) -> Any:
    """Begin a workflow that waits for promises of others, each beside the other."""

    def waiter(ctx: Context, name: str) -> Any:
        seen.append((yield (yield ctx.promise(id=name))))

    @resonate.register
    def workflow(ctx: Context) -> Any:
        futures = yield from each(ctx.begin_run(waiter, name) for name in names)
        yield from each(futures)
        return "done"

    for name in names:
        await resonate.promises.create(name)
    handle = await resonate.begin_run("run", workflow)
    await until(lambda: held(resonate) == 0)
    return handle


async def test_a_promise_far_behind_in_the_line_is_seen(
    resonate: Resonate, store: ForgetfulStore
) -> None:
    names = [f"outside/{number}" for number in range(130)]
    seen: list[object] = []
    handle = await waiting_on(resonate, names, seen)

    worker = resonate._worker
    assert worker is not None
    last = worker._parked["run"]._awaited()[-1].id
    await resonate.promises.resolve(last, "last")
    async with asyncio.timeout(WAIT_S):
        await until(lambda: seen == ["last"])

    for name in names:
        await resonate.promises.resolve(name)
    assert await handle.result(timeout=2 * WAIT_S) == "done"


async def test_an_answer_that_does_not_fit_is_read_in_smaller_parts(
    resonate: Resonate, store: ForgetfulStore
) -> None:
    names = [f"outside/{number}" for number in range(8)]
    seen: list[object] = []
    handle = await waiting_on(resonate, names, seen)
    store.gets_max = 1

    for name in names:
        await resonate.promises.resolve(name, name)

    assert await handle.result(timeout=2 * WAIT_S) == "done"
    assert sorted(map(str, seen)) == names


async def test_a_look_that_teaches_nothing_is_not_repeated_at_full_speed(
    resonate: Resonate, store: ForgetfulStore
) -> None:
    seen: list[object] = []
    handle = await waiting_on(resonate, ["outside"], seen)
    store.gets_max = 0
    before = store.count(TaskSuspend)

    await resonate.promises.resolve("outside", 1)
    await asyncio.sleep(1)
    assert 1 <= store.count(TaskSuspend) - before <= 4

    store.gets_max = 1
    assert await handle.result(timeout=2 * WAIT_S) == "done"
