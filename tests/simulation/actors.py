"""Those who use the stores: workers that run workflows, clients that start them, people."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from holdfast.core.membership import Member, TaskPush
from holdfast.core.records import TARGET, Promise, PromiseState, TaskState, Value, WaitMode
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
    Request,
    ScheduleCreate,
    ScheduleGet,
    SchedulePause,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskRef,
    TaskRelease,
    TaskSuspend,
)
from tests.simulation.flows import FAR_S, GROUP, Child, creation, rounds_of
from tests.simulation.network import Broken, Connection, Receiver, call, is_passing

if TYPE_CHECKING:
    from tests.simulation.world import World

LEASE_MS: Final = 6_000
CREDITS: Final = 2
"""Little room: tasks wait for it."""
LISTEN_AGAIN_S: Final = 10.0


class GivenUp(Exception):
    """A pass found that its task is somebody else's, or over."""


class Endpoint(Receiver):
    """A process that keeps a connection to some store, for as long as it lives."""

    def __init__(self, world: "World", pid: str) -> None:
        self.world = world
        self.pid = pid
        self.instance = ""
        self.is_up = False
        self._starts = itertools.count(1)
        self._connection: Connection | None = None
        self._connected = asyncio.Event()
        self._tasks: dict[asyncio.Task[None], None] = {}

    def start(self) -> None:
        """Begin to live, with an empty memory."""
        self.is_up = True
        self.instance = f"{self.pid}-{next(self._starts)}"
        self.run(self._stay_connected())

    def run(self, work: "asyncio.Future[None] | object") -> "asyncio.Task[None]":
        """Do something beside, until the process ends."""
        task: asyncio.Task[None] = asyncio.create_task(work)  # type: ignore[arg-type]
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.world.failed(error)

    def crash(self, *, peer_closed: bool) -> None:
        """End at once; the kernel closes the connection, or the machine is gone as well."""
        self.is_up = False
        tasks, self._tasks = self._tasks, {}
        for task in tasks:
            task.remove_done_callback(self._ended)
            task.cancel()
        if self._connection is not None:
            self._connection.cut(peer_closed=peer_closed)
        self._connection = None
        self._connected.clear()

    def member(self) -> Member:
        """Introduce the process."""
        raise NotImplementedError

    async def _stay_connected(self) -> None:
        world = self.world
        while True:
            process = await world.some_store()
            connection = Connection(world.loop, world.faults, process, self)
            connection.open(self.member())
            self._connection = connection
            self._connected.set()
            await connection.ended.wait()
            self._connected.clear()
            await asyncio.sleep(world.rng.choice((0.01, 0.05, 0.5)))

    async def ask(self, *chain: Request) -> tuple[Sequence[Outcome], bool]:
        """Have operations carried out, sent again as often as it takes; say whether they were."""
        resent = False
        while True:
            await self._connected.wait()
            assert self._connection is not None
            try:
                outcomes = await self._connection.ask(chain)
            except Broken:
                await asyncio.sleep(0.01)
            else:
                if not is_passing(outcomes):
                    return outcomes, resent
                await asyncio.sleep(0.3)
            resent = True

    def give_back(self, credits: int) -> None:
        """Return credits; a connection that breaks now says how many there are when it returns."""
        if self._connection is not None:
            self._connection.give_back(credits)


class Worker(Endpoint):
    """Runs workflows: each pass goes through the plan, replays what is there and does the rest."""

    def __init__(self, world: "World", pid: str) -> None:
        super().__init__(world, pid)
        self._held: dict[str, int] = {}

    def start(self) -> None:
        self._held = {}
        super().start()
        self.run(self._beat())

    def member(self) -> Member:
        return Member(
            pid=self.pid,
            instance=self.instance,
            groups=(GROUP,),
            credits=max(0, CREDITS - len(self._held)),
            lease_ttl_ms=LEASE_MS,
            held=frozenset(self._held.items()),
        )

    async def _beat(self) -> None:
        """Keep leases, of those tasks that are known of."""
        while True:
            await asyncio.sleep(LEASE_MS / 3_000)
            refs = tuple(TaskRef(id=i, version=v) for i, v in self._held.items())
            if refs and self._connection is not None:
                beat = TaskHeartbeat(pid=self.pid, tasks=refs)
                self._connection.ask([beat]).add_done_callback(lambda done: done.exception())

    def on_task(self, push: TaskPush) -> None:
        if self._held.get(push.task.id) == push.task.version:
            return
        self._held[push.task.id] = push.task.version
        known = {each.id: each for each in push.preload.promises}
        self.run(self._pass(push.promise, push.task.version, known))

    async def begin(self, request: PromiseCreate) -> None:
        """Start a workflow here: create it and hold its task at once."""
        (outcome,), _ = await self.ask(TaskCreate(pid=self.pid, ttl_ms=LEASE_MS, action=request))
        if not isinstance(outcome, Done) or outcome.task is None or outcome.promise is None:
            return  # it goes on elsewhere
        if outcome.task.state is TaskState.ACQUIRED:
            self._held[outcome.task.id] = outcome.task.version
            known = {p.id: p for p in outcome.preload.promises} if outcome.preload else {}
            self.run(self._pass(outcome.promise, outcome.task.version, known))

    async def _pass(self, promise: Promise, version: int, known: dict[str, Promise]) -> None:
        self.world.counts["passes"] += 1
        try:
            await self._replay(promise, version, known)
        except GivenUp:
            self.world.counts["passes given up"] += 1
        finally:
            if self._held.get(promise.id) == version:
                del self._held[promise.id]
            self.give_back(1)

    async def _replay(self, promise: Promise, version: int, known: dict[str, Promise]) -> None:
        task_id = promise.id
        if self.world.rng.random() < 0.03:
            await self._fenced(TaskRelease(id=task_id, version=version))
            return
        values = []
        for children in rounds_of(task_id, (promise.param.data or b"").decode()):
            for child in children:
                known[child.id] = await self._made(child, promise, version, known.get(child.id))
            while any(known[child.id].state is PromiseState.PENDING for child in children):
                if not await self._redirected(task_id, version, children, known):
                    return
            values += [known[child.id] for child in children]
        value = Value(data="|".join(map(said_of, values)).encode())
        settle = PromiseSettle(id=task_id, state=PromiseState.RESOLVED, value=value)
        await self._fenced(TaskFulfill(id=task_id, version=version, action=settle))

    async def _made(
        self, child: Child, parent: Promise, version: int, known: Promise | None
    ) -> Promise:
        """Create what a workflow needs, unless it is there; a step is done as well."""
        world, fence = self.world, {"id": parent.id, "version": version}
        request = creation(
            world.rng, child, parent.id, now_ms=world.now_ms(), until_ms=parent.timeout_at_ms
        )
        if child.kind == "step" and (known is None or known.state is PromiseState.PENDING):
            known = await self._step(request, fence)
        elif known is None:
            (outcome,) = await self._fenced(TaskFence(**fence, action=request))  # type: ignore[arg-type]
            known = _inner(outcome)
        if child.kind == "wait" and known.state is PromiseState.PENDING:
            world.people.want(child.id)
        return known

    async def _step(self, request: PromiseCreate, fence: dict[str, object]) -> Promise:
        """Do a step: announced before, or recorded when it is over."""
        world = self.world
        state, value = PromiseState.RESOLVED, Value(data=world.unique().encode())
        if world.rng.random() < 0.4:
            record = PromiseRecord(create=request, state=state, value=value)
            (outcome,) = await self._fenced(TaskFence(**fence, action=record))  # type: ignore[arg-type]
            return _inner(outcome)
        await self._fenced(TaskFence(**fence, action=request))  # type: ignore[arg-type]
        await asyncio.sleep(world.rng.choice((0, 0.01, 0.5)))
        settle = PromiseSettle(id=request.id, state=state, value=value)
        (outcome,) = await self._fenced(TaskFence(**fence, action=settle))  # type: ignore[arg-type]
        return _inner(outcome)

    async def _redirected(
        self, task_id: str, version: int, children: Sequence[Child], known: dict[str, Promise]
    ) -> bool:
        """Wait for what is open; `False` when the pass is over, and goes on in another one."""
        waited = [c for c in children if known[c.id].state is PromiseState.PENDING]
        actions = tuple(PromiseRegisterCallback(awaited=c.id, awaiter=task_id) for c in waited)
        mode = WaitMode.ALL_SETTLED if len(waited) > 1 else WaitMode.ANY
        suspend = TaskSuspend(id=task_id, version=version, actions=actions, wait_mode=mode)
        (outcome,) = await self._fenced(suspend)
        assert isinstance(outcome, Done)
        if outcome.status == 200:
            return False
        assert outcome.preload is not None
        known |= {each.id: each for each in outcome.preload.promises}
        return True

    async def _fenced(self, request: Request) -> Sequence[Outcome]:
        outcomes, _ = await self.ask(request)
        if isinstance(outcomes[0], Refusal):
            if outcomes[0].status not in {404, 409}:
                raise AssertionError(f"{request} was refused: {outcomes[0]}")
            raise GivenUp  # also what was sent again and had been done: another pass goes on
        return outcomes


def _inner(outcome: Outcome) -> Promise:
    assert isinstance(outcome, Done)
    assert isinstance(outcome.action, Done), outcome
    assert outcome.action.promise is not None
    return outcome.action.promise


def said_of(promise: Promise) -> str:
    """Say what a promise came to, as its workflow reads it."""
    return f"{promise.id}={promise.state.value}:{(promise.value.data or b'').decode()}"


class Caller(Endpoint):
    """A client that starts workflows and waits for their results."""

    def __init__(self, world: "World", pid: str) -> None:
        super().__init__(world, pid)
        self._results: dict[str, asyncio.Future[Promise]] = {}

    def member(self) -> Member:
        return Member(pid=self.pid, instance=self.instance, groups=("callers",))

    def on_settled(self, promise: Promise) -> None:
        future = self._results.get(promise.id)
        if future is not None and not future.done():
            future.set_result(promise)

    async def result_of(self, request: PromiseCreate, *, through: Worker | None) -> Promise:
        """Start a workflow, at a worker or for anybody, and wait for its end."""
        future: asyncio.Future[Promise] = self.world.loop.create_future()
        self._results[request.id] = future
        if through is not None:
            through.run(through.begin(request))
            await asyncio.sleep(0.5)
        await self.world.ask(request)  # created by then, or now: nothing is compared
        listen = PromiseRegisterListener(
            awaited=request.id, address=f"poll://uni@callers/{self.pid}"
        )
        while True:
            (outcome,), _ = await self.ask(listen)
            assert isinstance(outcome, Done), outcome
            assert outcome.promise is not None
            if outcome.promise.state is not PromiseState.PENDING:
                return outcome.promise
            try:
                async with asyncio.timeout(LISTEN_AGAIN_S):
                    return await asyncio.shield(future)
            except TimeoutError:
                self.world.counts["listened again"] += 1


class People:
    """They answer what workflows wait for, each question after a while of their own."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._asked: set[str] = set()

    def want(self, promise_id: str) -> None:
        """Ask for an answer."""
        if promise_id not in self._asked:
            self._asked.add(promise_id)
            self._world.spawn(self._answer(promise_id))

    async def _answer(self, promise_id: str) -> None:
        world = self._world
        await asyncio.sleep(world.rng.choice((0, 0, 0.02, 1, 5)))
        state = world.rng.choice((PromiseState.RESOLVED, PromiseState.REJECTED))
        value = Value(data=world.unique().encode())
        outcome = await world.ask(PromiseSettle(id=promise_id, state=state, value=value))
        assert isinstance(outcome, Done), outcome
        again = await world.ask(PromiseGet(id=promise_id))
        assert isinstance(again, Done)
        told = [_seen(each.promise) for each in (outcome, again)]
        assert told[0] == told[1], f"{told[0]} was told, and then {told[1]}"


class Planner:
    """Somebody who has a schedule run for a while, and counts what came of it."""

    EVERY_S: Final = 5

    def __init__(self, world: "World") -> None:
        self._world = world

    async def plan(self, seconds: float) -> None:
        """Create a schedule, let it run, delete it, and look for each of its promises (L7)."""
        world, name = self._world, "plan"
        created = await world.ask(
            ScheduleCreate(
                id=name,
                cron=f"*/{self.EVERY_S} * * * * *",
                promise_id="{{.id}}-{{.timestamp}}",
                promise_timeout_ms=FAR_S * 1_000,
                promise_param=Value(data=b"step"),
                promise_tags={TARGET: f"poll://any@{GROUP}"},
            )
        )
        assert isinstance(created, Done), created
        assert created.schedule is not None
        await asyncio.sleep(seconds)
        while not await self._is_up_to_date(name):  # noqa: ASYNC110 - nobody tells when it is
            await asyncio.sleep(0.5)
        paused = await world.ask(SchedulePause(id=name, paused=True))
        assert isinstance(paused, Done), paused
        assert paused.schedule is not None
        await self._count(created.schedule.created_at_ms, paused.schedule.next_run_at_ms)

    async def _is_up_to_date(self, name: str) -> bool:
        """Whether everything was fired whose instant has come."""
        found = await self._world.ask(ScheduleGet(id=name))
        assert isinstance(found, Done), found
        assert found.schedule is not None
        return found.schedule.next_run_at_ms > self._world.now_ms()

    async def _count(self, after_ms: int, before_ms: int) -> None:
        """Look for the promise of each planned instant: between those that were not fired."""
        every_ms = self.EVERY_S * 1_000
        for at_ms in range((after_ms // every_ms + 1) * every_ms, before_ms, every_ms):
            found = await self._world.ask(PromiseGet(id=f"plan-{at_ms}"))
            assert isinstance(found, Done), f"L7: nothing was created for {at_ms}"
            assert found.promise is not None
            assert found.promise.created_at_ms == at_ms
            self._world.counts["occurrences of a schedule"] += 1


def _seen(promise: Promise | None) -> Promise | None:
    """Leave out what no client sees of a promise."""
    return promise and replace(promise, armed=False)


async def ask_any(world: "World", request: Request) -> Outcome:
    """Ask stores, one after the other, until one has an answer."""
    while True:
        process = await world.some_store()
        try:
            outcomes = await call(world.loop, world.faults, process, [request])
        except Broken:
            continue
        if not is_passing(outcomes):
            return outcomes[0]
        await asyncio.sleep(0.3)
