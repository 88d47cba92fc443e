"""One run: stores over one database, those who use them, and everything that goes wrong."""

import asyncio
import contextlib
import itertools
import logging
import random
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from unittest import mock

from holdfast.core.records import Promise, PromiseState, TaskState, project
from holdfast.core.requests import Outcome, Request
from holdfast_store import members
from tests.simulation.actors import Caller, People, Planner, Worker, ask_any, said_of
from tests.simulation.database import Database
from tests.simulation.faults import RATES, Died, Faults
from tests.simulation.flows import FAR_S, plan_of, rounds_of, workflow
from tests.simulation.judge import Unsafe
from tests.simulation.process import Process
from tests.simulation.sqlite_file import SqliteFile
from tests.simulation.virtual_time import Standstill, VirtualLoop

HEALING_S: Final = 900.0
"""How long everything that was begun may take once nothing goes wrong any more: a row that the
database refused may be set aside for minutes, and a workflow lives for `FAR_S`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is made of."""

    seed: int
    stores: int = 1
    workers: int = 3
    workflows: int = 24
    faulty_s: float = 60.0
    rates: Mapping[str, float] = field(default_factory=lambda: RATES)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of a run."""

    options: Options
    broken: tuple[str, ...]
    """What was wrong, safety first."""
    counts: Counter[str]
    digest: str
    virtual_s: float
    turns: int


class World:
    """Everything of one run."""

    def __init__(self, loop: VirtualLoop, options: Options, *, file: SqliteFile | None) -> None:
        self.loop = loop
        self.options = options
        self.rng = random.Random(options.seed)
        self.faults = Faults(random.Random(options.seed + 1), rates=options.rates)
        self.database = Database(loop, self.faults, file=file)
        self._file = file
        self.counts: Counter[str] = Counter()
        self.people = People(self)
        self._stores: list[Process] = []
        self._up = asyncio.Event()
        self._numbers = itertools.count(1)
        self._workers = [Worker(self, f"w{n}") for n in range(options.workers)]
        self._callers = [Caller(self, f"c{n}") for n in range(2)]
        self._arrive_s = self.rng.choice((1.0, 10.0, 0.8 * options.faulty_s))
        """All workflows at once, or one after the other."""
        self._beside: set[asyncio.Task[Any]] = set()
        self._errors: list[BaseException] = []

    # What actors ask for

    def now_ms(self) -> int:
        """What a clock outside the stores says."""
        return self.database.now_ms()

    def unique(self) -> str:
        """Answer what no other step ever answered: who did it is seen in every copy."""
        return f"#{next(self._numbers)}"

    async def some_store(self) -> Process:
        """Find a store that is alive; wait for one if there is none."""
        while True:
            alive = [each for each in self._stores if each.is_alive]
            if alive:
                return self.rng.choice(alive)
            await asyncio.sleep(0.05)

    async def ask(self, request: Request) -> Outcome:
        """Ask any store, until one has answered."""
        return await ask_any(self, request)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Let something go on beside; a failure ends the run."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._beside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)

    def failed(self, error: BaseException) -> None:
        """Learn that an actor found something that cannot be."""
        self._errors.append(error)

    # The run

    async def run(self) -> list[str]:
        """Run until everything that was begun has ended; say what is wrong."""
        for number in range(self.options.stores):
            self._start(f"s{number}")
        for actor in (*self._workers, *self._callers):
            actor.start()
        results = [self.spawn(self._workflow(n)) for n in range(self.options.workflows)]
        results.append(self.spawn(Planner(self).plan(self.options.faulty_s * 0.7)))
        await self._make_trouble(self.options.faulty_s)
        self._heal()
        _, late = await asyncio.wait(results, timeout=HEALING_S)
        if late:
            return [f"L5: {len(late)} workflows have not ended", *self._open_tasks()]
        await self._wait_for_deadlines()
        self.database.compare()
        return self.database.judge.leftovers(now_ms=self.now_ms())

    async def _workflow(self, number: int) -> None:
        rng = self.rng
        await asyncio.sleep(rng.random() * self._arrive_s)
        is_short = rng.random() < 0.2
        span_s = rng.choice((1, 5, 15)) if is_short else FAR_S
        plan = plan_of(rng)
        deadline_ms = self.now_ms() + span_s * 1_000
        request = workflow(f"r{number}", plan, timeout_at_ms=deadline_ms)
        through = rng.choice(self._workers) if rng.random() < 0.3 else None
        result = await rng.choice(self._callers).result_of(request, through=through)
        self.counts[f"workflows {result.state.value}"] += 1
        if result.state is PromiseState.REJECTED_TIMEDOUT:
            if not is_short and not self.faults.counts["clock set forward"]:
                raise AssertionError(f"{result.id} had {span_s} s and did not end")
            return
        self._compare(result, plan)

    def _compare(self, result: Promise, plan: str) -> None:
        """Hold a result against what is stored of all that it was made of."""
        stored = self.database.rows._rows.promises
        children = [child.id for each in rounds_of(result.id, plan) for child in each]
        read = (project(stored[child], result.settled_at_ms or 0) for child in children)
        expected = "|".join(map(said_of, read))
        if (result.value.data or b"").decode() != expected:
            raise Unsafe(f"{result.id} came to {result.value}, its steps came to {expected}")

    def _open_tasks(self) -> list[str]:
        tasks = self.database.rows._rows.work.tasks.values()
        return [str(task) for task in tasks if task.state is not TaskState.FULFILLED]

    # Trouble

    def _start(self, name: str) -> None:
        process = Process(self.database, name, on_death=self._on_death, file=self._file)
        self._stores = [each for each in self._stores if each.name != name] + [process]
        process.start()

    def _on_death(self, process: Process) -> None:
        pause_s = self.rng.choice((0.1, 1.0, 4.0))
        self.loop.call_later(pause_s, self._start, process.name)

    async def _make_trouble(self, seconds: float) -> None:
        """Throw the dice each second; a crash comes at some turn within it, not at its end."""
        until_s = self.loop.time() + seconds
        while self.loop.time() < until_s:
            await asyncio.sleep(1.0)
            alive = [each for each in self._stores if each.is_alive]
            if alive and self.faults.strikes("store crashed between two turns"):
                self._crash_at_some_turn(self.rng.choice(alive))
            if alive and self.faults.strikes("store restarted in order"):
                self.spawn(self.rng.choice(alive).stop())
            if alive and self.faults.strikes("store stood still"):
                span_s = self.rng.choice((1, 7, 20))
                self.rng.choice(alive).view.stands_still_until_s = self.loop.time() + span_s
            up = [worker for worker in self._workers if worker.is_up]
            if up and self.faults.strikes("worker crashed"):
                self.spawn(self._crash(self.rng.choice(up)))
            if self.options.stores == 1:
                self._set_clock_back(alive)
            if self.faults.strikes("clock set forward"):
                self.database.ahead_ms += self.rng.choice((50, 3_000, 30_000))

    def _crash_at_some_turn(self, process: Process) -> None:
        turns_left = self.rng.randrange(200)

        def on_turn() -> None:
            nonlocal turns_left
            turns_left -= 1
            if turns_left < 0:
                self.loop.on_turn = self.check
                process.crash()

        self.loop.on_turn = on_turn

    async def _crash(self, worker: Worker) -> None:
        worker.crash(peer_closed=self.rng.random() < 0.5)
        await asyncio.sleep(self.rng.choice((0.05, 2.0, 10.0)))
        worker.start()

    def _set_clock_back(self, alive: Sequence[Process]) -> None:
        """Set the clock of a store that is alone: it must not notice, nor the one that follows it.

        Stores that share a database go each by what they knew then; that is documented.
        """
        if self.faults.strikes("clock set back"):
            self.database.ahead_ms -= self.rng.choice((50, 1_000, 20_000))
        if alive and self.faults.strikes("store crashed, its clock was set back"):
            self.database.ahead_ms -= self.rng.choice((5_000, 20_000))
            alive[0].crash()

    def check(self) -> None:
        """Stop the run at the very turn at which something was found."""
        if self.database.judge.broken:
            raise Unsafe(self.database.judge.broken[0])
        if self._errors:
            raise self._errors[0]

    def _heal(self) -> None:
        self.faults.are_on = False
        self.loop.on_turn = self.check

    async def _wait_for_deadlines(self) -> None:
        """Let every deadline pass; what is due then has some seconds."""
        deadlines = [p.timeout_at_ms for p in self.database.rows._rows.promises.values()]
        left_ms = max(deadlines, default=0) - self.now_ms()
        await asyncio.sleep(max(0, left_ms) / 1_000 + 60)


def simulate(options: Options) -> Report:
    """Run a world from its seed to its end."""
    logging.disable(logging.CRITICAL)  # everything that a store complains of happens here
    loop = VirtualLoop()
    # Stores draw lots for pauses, and name connections by chance.
    random.seed(options.seed)
    names = (f"{n:08x}" for n in itertools.count())
    counts: Counter[str] = Counter()
    try:
        named = mock.patch.object(members, "token_hex", side_effect=lambda _bytes: next(names))
        with contextlib.ExitStack() as stack, _loop_of_its_own(loop), named:
            # Alone a store has a file; those that share a database have one with a clock.
            file = stack.enter_context(SqliteFile()) if options.stores == 1 else None
            world = World(loop, options, file=file)
            loop.on_turn = world.check
            with world.database.judge.watching():
                broken = _outcome(loop, world)
            counts = world.counts + world.faults.counts + world.database.judge.counts
            digest = world.database.digest()
    finally:
        logging.disable(logging.NOTSET)
    return Report(
        options=options,
        broken=tuple(broken),
        counts=counts,
        digest=digest,
        virtual_s=loop.time(),
        turns=loop.turns,
    )


def _outcome(loop: VirtualLoop, world: World) -> list[str]:
    try:
        return loop.run_until_complete(world.run())
    except Standstill as error:
        return [f"L5: {error}"]
    except (Unsafe, AssertionError, Died) as error:
        return [f"{type(error).__name__}: {error}"]


def _end_everything(loop: VirtualLoop) -> None:
    """Cancel what is left, and what that begins in turn, until nothing is."""
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        with contextlib.suppress(Standstill, Died):
            loop.run_until_complete(asyncio.wait(tasks, timeout=60))


@contextlib.contextmanager
def _loop_of_its_own(loop: VirtualLoop) -> Iterator[None]:
    loop.set_exception_handler(lambda *_: None)  # tasks of dead stores end in any way
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        loop.on_turn = lambda: None
        _end_everything(loop)
        asyncio.set_event_loop(None)
        loop.close()
