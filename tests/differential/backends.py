"""The product behind the model's interface: the rules alone, and the engine over each storage."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

from holdfast.core import schedule as schedules
from holdfast.core import steps
from holdfast.core.decide import decide, decide_chain
from holdfast.core.profile import Profile
from holdfast.core.records import Schedule
from holdfast.core.requests import SKIPPED, Outcome, Request, ScheduleCreate, Skipped, TaskGet
from holdfast.core.search import (
    PromiseSearch,
    Search,
    TaskSearch,
    flaw_of_search,
    is_schedule_shown,
    promise_shown,
    task_shown,
)
from holdfast.core.stored import StoredState
from holdfast.core.validation import validate
from holdfast.core.working_set import WorkingSet
from holdfast_store.debugging import Debug
from holdfast_store.engine import Engine, EngineSettings
from holdfast_store.storages import open_storage
from tests.differential.looking import looking_at
from tests.differential.pictures import picture_of_state
from tests.differential.plays import Json, Picture, Step
from tests.differential.translation import (
    answer_of,
    chain_answer_of,
    chain_of,
    page_of,
    promise_record,
    request_of,
    schedule_record,
    search_of,
    task_record,
)
from tests.model.model import Answer

DUE_MAX = 3
"""Due rows of one transaction: so few that a tick needs several."""


PROBE = TaskGet(id="probe")
"""Changes nothing, and tells behind a chain whether that has ended before."""


class Core:
    """The rules over one working set that is never saved. Fast, and nothing but the rules."""

    name = "core"
    drops_unblocks = False
    keeps_own_branches = False

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._rows = WorkingSet()
        self._schedules: set[str] = set()

    async def reset(self) -> None:
        self._rows = WorkingSet()
        self._schedules.clear()

    async def handle(self, step: Step) -> Answer:
        if step.kind == "debug.tick":
            while self._sweep(step.now):
                pass
            return 200, []
        if step.kind.endswith(".search"):
            return self._search(step)
        if step.kind == "chain":
            return chain_answer_of(step, self._do_chain(chain_of(step.data), step.now))
        request = request_of(step.kind, step.data)
        self._note(request)
        outcome: Outcome | None = validate(request, self._profile)
        if outcome is None:
            outcome = decide(self._rows, request, now_ms=step.now, profile=self._profile)
        return answer_of(step, outcome)

    def _do_chain(self, chain: Sequence[Request], now: int) -> list[Outcome]:
        """Decide as far as the requests are well formed, as an edge does."""
        flaws = (validate(request, self._profile) for request in chain)
        sound, flaw = next(((n, flaw) for n, flaw in enumerate(flaws) if flaw), (len(chain), None))
        for request in chain[:sound]:
            self._note(request)
        probed = [*chain[:sound], PROBE]
        *outcomes, probe = decide_chain(self._rows, probed, now_ms=now, profile=self._profile)
        tail = [] if flaw is None or isinstance(probe, Skipped) else [flaw]
        return [*outcomes, *tail, *[SKIPPED] * (len(chain) - sound - len(tail))]

    def _note(self, request: Request) -> None:
        if isinstance(request, ScheduleCreate):
            self._schedules.add(request.id)

    def _search(self, step: Step) -> Answer:
        """Filter as the rules say; pages are the storages' business, and are made here."""
        search = search_of(step.kind, step.data)
        flaw = flaw_of_search(search)
        if flaw is not None:
            return page_of(flaw)
        name, shown = self._shown(search, step.now)
        order = sorted(shown, key=lambda record: str(record["id"]).encode())
        found = [each for each in order if each["id"].encode() > search.cursor.encode()]
        more = {"cursor": found[search.limit - 1]["id"]} if len(found) > search.limit else {}
        return 200, {name: found[: search.limit], **more}

    def _shown(self, search: Search, now: int) -> tuple[str, list[Json]]:
        rows = self._rows
        match search:
            case PromiseSearch():
                promises = [promise_shown(search, each, now) for each in rows.promises()]
                return "promises", [promise_record(each) for each in promises if each]
            case TaskSearch():
                seen = [(task, rows.promise(task.id)) for task in rows.tasks()]
                tasks = [task_shown(search, t, p, now) for t, p in seen if p is not None]
                return "tasks", [task_record(each) for each in tasks if each]
        known = [each for each in self._known_schedules() if is_schedule_shown(search, each)]
        return "schedules", [schedule_record(each) for each in known]

    def _sweep(self, now: int) -> int:
        rows, profile = self._rows, self._profile
        armed = [p.id for p in rows.promises() if p.armed]
        done = steps.expire_promises(rows, armed, now_ms=now)
        ids = [task.id for task in rows.tasks()]
        done += steps.dispatch(rows, ids, now_ms=now, profile=profile)
        done += steps.expire_leases(rows, ids, now_ms=now)
        for schedule in list(self._known_schedules()):
            due = schedules.due_by(schedule, now_ms=now, limit=DUE_MAX)
            done += len(schedules.fire(rows, due, now_ms=now))
        return done

    def _known_schedules(self) -> Iterator[Schedule]:
        for schedule_id in sorted(self._schedules):
            schedule = self._rows.schedule(schedule_id)
            if schedule is not None:
                yield schedule

    async def picture(self, now: int) -> Picture:
        rows = self._rows
        ids = [promise.id for promise in rows.promises()]
        state = StoredState.of(
            promises=rows.promises(),
            tasks=rows.tasks(),
            callbacks=[callback for i in ids for callback in rows.callbacks(i)],
            listeners=[(i, address) for i in ids for address in rows.listeners(i)],
            unblocks=rows.unblocks(),
            schedules=self._known_schedules(),
        )
        return picture_of_state(state, now)


class Stored:
    """The store's engine over a storage, in this process: batches, transactions, rows."""

    drops_unblocks = True
    keeps_own_branches = False

    def __init__(self, name: str, engine: Engine, debug: Debug) -> None:
        self.name = name
        self._engine = engine
        self._debug = debug

    async def reset(self) -> None:
        await self._debug.reset()

    async def handle(self, step: Step) -> Answer:
        if step.kind == "debug.tick":
            await self._debug.tick(step.now)
            return 200, []
        if step.kind.endswith(".search"):
            return await self._search(step)
        if step.kind == "chain":
            outcomes = await self._engine.apply(*chain_of(step.data), at_ms=step.now)
            return chain_answer_of(step, outcomes)
        request = request_of(step.kind, step.data)
        (outcome,) = await self._engine.apply(request, at_ms=step.now)
        return answer_of(step, outcome)

    async def _search(self, step: Step) -> Answer:
        search, searching = search_of(step.kind, step.data), self._engine.searching
        match search:
            case PromiseSearch():
                return page_of(await searching.promises(search, at_ms=step.now))
            case TaskSearch():
                return page_of(await searching.tasks(search, at_ms=step.now))
        return page_of(await searching.schedules(search))

    async def picture(self, now: int) -> Picture:
        return picture_of_state(await self._debug.snap(), now)


@asynccontextmanager
async def stored(name: str, url: str, profile: Profile) -> AsyncIterator[Stored]:
    """Run an engine over an empty, migrated database."""
    storage = open_storage(url)
    await storage.open()
    engine = Engine(storage, profile=profile, settings=EngineSettings(due_max=DUE_MAX))
    await engine.start()
    try:
        async with looking_at(url, storage) as look:
            yield Stored(name, engine, Debug(engine, storage, snapshot=look))
    finally:
        await engine.stop()
        await storage.close()
