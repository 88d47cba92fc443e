"""W8: what a workflow costs when the database is full, a tree is large, or many workflows wait."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from tests.bench.closed_loop import Effort
from tests.bench.databases import Database
from tests.bench.filling import count_suspended, fill
from tests.bench.measuring import WARM_UP_SECONDS
from tests.bench.processes import resident_mib
from tests.bench.shapes import WORKLOADS
from tests.bench.system import Setup, System, fresh_folder, running_system

IN_FLIGHT = 64
PAIRS = 3
SECONDS = 1.5
SETTLED_OF_ONE = 1 + WORKLOADS["w2"].durable_steps
LOOK_EVERY_S = 0.05
LOOK_SECONDS_MAX = 300.0
CHILDREN_SMALL = 1_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the large cases are."""

    settled: Sequence[int]
    """Settled promises in the database; the first is the small case."""
    parked: int
    """Workflows that wait: so many rows in the database."""
    parked_by_worker: int
    """Of workflows that wait, so many have been begun by the worker that is measured."""
    children: int
    """Children of one tree."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The large case beside the small one."""

    case: str
    small: float
    """Of the small case, per second; median."""
    large: float
    ratio: float
    """Large by small, the median of pairs that were measured within the same seconds."""
    worker_mib: float
    """Memory that the worker has more after the large case than before; 0 where it is the same."""


async def measure_sizes(database: Database, folder: Path, *, sizes: Sizes) -> list[Outcome]:
    """Measure each large case in turn with the small one."""
    async with AsyncExitStack() as stack:

        async def filled(name: str, workload: str, count: int) -> System:
            own = fresh_folder(folder, name)
            return await stack.enter_async_context(_filled(database, own, workload, count))

        small = await filled("few", "w2", sizes.settled[0] // SETTLED_OF_ONE)
        outcomes = []
        for count in sizes.settled[1:]:
            large = await filled(f"settled-{count}", "w2", count // SETTLED_OF_ONE)
            outcomes.append(await _compare(f"{count:,} settled promises", small, large))
        waiting = await filled("parked", "parked", sizes.parked)
        outcomes.append(await _compare(f"{sizes.parked:,} parked workflows", small, waiting))
        outcomes.append(await _parked_by_worker(small, sizes.parked_by_worker))
        outcomes.append(await _one_tree(small, sizes.children))
    return outcomes


@asynccontextmanager
async def _filled(
    database: Database, folder: Path, workload: str, count: int
) -> AsyncIterator[System]:
    """Run one workflow, copy its rows while nothing runs, and start again."""
    url = database.create(folder, "store")
    name = f"{database.name}, {folder.name}"
    template = Setup(
        name=name, database_url=url, folder=folder, database_pid=database.pid(), steps="async"
    )
    async with running_system(template) as system:
        root = await system.begin(workload, 0)
        if workload == "parked":
            await _until_suspended(system, 1)
        else:
            await system.result(root, expected=WORKLOADS[workload].adds)
    await asyncio.to_thread(fill, url, root=root, count=count)
    async with running_system(template) as system:
        yield system


async def _compare(case: str, small: System, large: System) -> Outcome:
    """Drive both in turn."""
    workload = WORKLOADS["w2"]

    async def rate(system: System, seconds: float) -> float:
        started = perf_counter()
        effort = Effort(seconds=seconds)
        count = len(await system.drive(workload, in_flight=IN_FLIGHT, effort=effort))
        return count / (perf_counter() - started)

    for system in (small, large):
        await rate(system, WARM_UP_SECONDS)
    pairs = [(await rate(small, SECONDS), await rate(large, SECONDS)) for _ in range(PAIRS)]
    return Outcome(
        case,
        median(each for each, _ in pairs),
        median(each for _, each in pairs),
        ratio=median(full / empty for empty, full in pairs),
        worker_mib=0.0,
    )


async def _parked_by_worker(system: System, count: int) -> Outcome:
    """Begin workflows that wait; the worker must not remember them by memory that grows."""
    pid = system.processes["worker-a"].popen.pid
    before_mib = resident_mib(pid)
    few, many = count // 10, count - count // 10
    rates = [await _begin_many(system, range(1, few + 1))]
    rates.append(await _begin_many(system, range(few + 1, few + many + 1)))
    case = f"{count:,} workflows begun and parked"
    first, rest = rates
    return Outcome(case, first, rest, rest / first, resident_mib(pid) - before_mib)


async def _begin_many(system: System, numbers: range) -> float:
    started = perf_counter()
    limit = asyncio.Semaphore(IN_FLIGHT)

    async def begin(number: int) -> None:
        async with limit:
            await system.begin("parked", number)

    async with asyncio.TaskGroup() as group:
        for number in numbers:
            group.create_task(begin(number))
    await _until_suspended(system, numbers.stop - 1)
    return len(numbers) / (perf_counter() - started)


async def _until_suspended(system: System, count: int) -> None:
    async with asyncio.timeout(LOOK_SECONDS_MAX):
        url = system.setup.database_url
        while await asyncio.to_thread(count_suspended, url) < count:  # noqa: ASYNC110 - a database
            await asyncio.sleep(LOOK_EVERY_S)


async def _one_tree(system: System, children: int) -> Outcome:
    """Run one workflow with few and one with many children; the rate is of children."""

    async def rate(count: int) -> float:
        started = perf_counter()
        root = await system.begin("w4a", 0, count)
        await system.result(root, expected=count)
        return count / (perf_counter() - started)

    small = median([await rate(CHILDREN_SMALL) for _ in range(PAIRS)])
    large = await rate(children)
    return Outcome(f"{children:,} children of one workflow", small, large, large / small, 0.0)
