"""One recording: stores that run, clients that race, kills in between, and the judgment."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.integration.postgres import Server
from tests.integration.replicas.stores import Stores
from tests.linearizability.checker import DEFAULTS, Settings, Verdict, check
from tests.linearizability.members import Member, supposed
from tests.linearizability.recording import Event, write
from tests.linearizability.rules import Breach, breaches, promises_in
from tests.linearizability.traffic import Pace, Recorder
from tests.linearizability.wire import clients_of

FLOORS: Final[Mapping[str, int]] = {
    "task.acquire 200": 15,
    "tasks pushed to a member": 10,
    "task.create 200": 10,
    "task.fence 200": 40,
    "task.suspend 200": 10,
    "task.suspend 300": 5,
    "task.heartbeat that extended a lease": 10,
    "task.release 200": 2,
    "task.fulfill 200": 2,
    "task.halt 200": 2,
    "task.continue 200": 2,
    "promise.register_callback 200": 5,
    "promise.register_listener 200": 5,
    "refused with 409": 30,
    "lease expiries": 5,
    "promises that timed out": 10,
    "timers that fired": 2,
    "wake-ups": 10,
}
"""What a thousand requests must contain at least, for the verdict to say anything."""

REQUESTS_PER_S: Final = 100
SLOWEST: Final = 5
"""A machine that manages fewer requests than that gets so many times the time."""

LAST_PUSHES_S: Final = 0.5
"""Time for pushes that are on their way: what they did may have been seen already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a trial does."""

    seconds: float = 10.0
    seed: int = 1
    clients: int = 8
    kill_every_s: float | None = 4.0
    settings: Settings = DEFAULTS


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it."""

    name: str
    plan: Plan
    events: Sequence[Event]
    verdicts: Sequence[Verdict]
    broken: Sequence[Breach]
    counts: Counter[str]
    kills: int
    judged_s: float
    kept: Path | None = None

    @property
    def refuted(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.linearizable is False]

    @property
    def undecided(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.linearizable is None]

    def missing(self) -> dict[str, tuple[int, int]]:
        """Name what happened too rarely: how often it did, and should have."""
        scale = min(1.0, len(self.events) / 1_000)
        floors = {kind: max(1, int(floor * scale)) for kind, floor in FLOORS.items()}
        return {k: (self.counts[k], f) for k, f in floors.items() if self.counts[k] < f}

    def flaws(self) -> list[str]:
        """Say everything that is wrong."""
        found = [str(each) for each in (*self.broken, *self.refuted, *self.undecided)]
        found += [
            f"only {count} of {floor} {kind}" for kind, (count, floor) in self.missing().items()
        ]
        if self.plan.kill_every_s is not None and not self.counts["unanswered"]:
            found.append("no store was killed while it had a request")
        return found

    def table(self) -> str:
        """Show what was recorded, one line for each kind."""
        kinds = "\n".join(f"  {kind:<40}{n:>8}" for kind, n in sorted(self.counts.items()))
        judged = f"{len(self.events)} requests on {len(self.verdicts)} trees, {self.kills} kills"
        sizes = max((v.configurations for v in self.verdicts), default=0)
        return (
            f"{self.name}: {judged}; judged in {self.judged_s:.1f} s, the largest search had"
            f" {sizes} configurations (--seed {self.plan.seed})\n{kinds}"
        )


@dataclass
class _Killer:
    """Ends stores in turn, and starts them again."""

    stores: Stores
    rng: random.Random
    every_s: float
    recorder: Recorder
    plan: Plan
    kills: int = 0

    async def run(self, until_s: float) -> None:
        while True:
            pause_s = self.rng.uniform(0.5, 1.0) * self.every_s
            if time.monotonic() + pause_s > until_s - 1:
                return
            await asyncio.sleep(pause_s)
            number = self.rng.randrange(len(self.stores.all))
            store = self.stores.all[number]
            while not self._is_asked(number) and time.monotonic() < until_s:  # noqa: ASYNC110 - a moment
                await asyncio.sleep(0)  # whoever asks is about to: clients pause for milliseconds
            store.send_kill()
            await asyncio.to_thread(store.kill)
            self.kills += 1
            await asyncio.to_thread(store.start)
            await asyncio.to_thread(store.wait_ready)

    def _is_asked(self, number: int) -> bool:
        """Whether a request to a store is in flight; `clients_of` spreads clients in turn."""
        names = (f"c{n}" for n in range(number, self.plan.clients, len(self.stores.all)))
        return any(self.recorder.asking[name] for name in names)


def on_sqlite(folder: Path, plan: Plan) -> Outcome:
    """Record one store on a SQLite file, and judge."""
    stores = Stores(folder, f"sqlite:///{folder / 'store.db'}", count=1)
    return _run("one store on SQLite", folder, stores, plan)


def on_postgres(folder: Path, server: Server, plan: Plan, *, replicas: int = 3) -> Outcome:
    """Record stores on one PostgreSQL database, and judge."""
    stores = Stores(folder, server.create_database(), count=replicas)
    return _run(f"{replicas} stores on PostgreSQL", folder, stores, plan)


def _run(name: str, folder: Path, stores: Stores, plan: Plan) -> Outcome:
    recorder = Recorder(plan.seed)
    try:
        for store in stores.all:
            store.start()
        for store in stores.all:
            store.wait_ready()
        kills = asyncio.run(_record(stores, recorder, plan))
    finally:
        stores.close()
    return judge(name, folder, recorder, plan, kills=kills)


async def _record(stores: Stores, recorder: Recorder, plan: Plan) -> int:
    began_s = time.monotonic()
    until_s = began_s + plan.seconds
    pace = Pace(
        until_s=until_s,
        latest_s=began_s + SLOWEST * plan.seconds,
        requests_min=int(REQUESTS_PER_S * plan.seconds),
    )
    rng = random.Random(plan.seed)
    killer = _Killer(stores, rng, plan.kill_every_s or 0, recorder=recorder, plan=plan)
    targets = [store.target for store in stores.all]
    clients = clients_of(targets, count=plan.clients)
    members = [Member(target, f"m{n}", plan.seed + n) for n, target in enumerate(targets)]
    async with asyncio.TaskGroup() as group:
        serving = [
            group.create_task(member.run(recorder.now_ns, recorder.pushed)) for member in members
        ]
        if plan.kill_every_s is not None:
            group.create_task(killer.run(until_s))
        await recorder.run(clients, pace)
        await asyncio.sleep(LAST_PUSHES_S)
        for task in serving:
            task.cancel()
    for client in clients:
        await client.close()
    lost = list(supposed(recorder.events, members))
    recorder.events += lost
    recorder.counts["acquires that nobody was told of"] = len(lost) // len(members)
    return killer.kills


def judge(name: str, folder: Path, recorder: Recorder, plan: Plan, *, kills: int) -> Outcome:
    """Search for explanations, count what happened, and keep the recording."""
    began = time.perf_counter()
    events = recorder.events
    verdicts = check(events, plan.settings)
    outcome = Outcome(
        name=name,
        plan=plan,
        events=events,
        verdicts=verdicts,
        broken=breaches(events),
        counts=recorder.counts + counted(events, verdicts),
        kills=kills,
        judged_s=time.perf_counter() - began,
        kept=folder / "recording.history",
    )
    write(folder / "recording.history", events)
    (folder / "recording.ndjson").write_text("".join(_explained(events, verdicts)))
    return outcome


def counted(events: Sequence[Event], verdicts: Sequence[Verdict]) -> Counter[str]:
    """Count what no single answer shows: what the explanations and the records tell."""
    counts: Counter[str] = Counter()
    late: dict[str, str] = {}
    for event in events:
        if event.answer is not None and event.answer.status == 409:
            counts["refused with 409"] += 1
        for promise in promises_in(event):
            if promise.settled_at == promise.timeout_at:
                late[promise.id] = promise.state
    counts["promises that timed out"] = sum(s == "rejected_timedout" for s in late.values())
    counts["timers that fired"] = sum(s == "resolved" for s in late.values())
    for verdict in verdicts:
        trees = [e for e in events if e.origin == verdict.origin]
        for moment in verdict.moments:
            counts["lease expiries"] += sum(i.kind == "lease_expiry" for i in moment.internals)
            counts["wake-ups"] += sum(i.kind == "callback_drain" for i in moment.internals)
            is_heartbeat = trees[moment.index].kind == "task.heartbeat"
            if is_heartbeat and moment.before != moment.after:
                counts["task.heartbeat that extended a lease"] += 1
    return counts


def _explained(events: Sequence[Event], verdicts: Sequence[Verdict]) -> list[str]:
    """Write each tree in the order of its explanation, at its instants: the other format."""
    lines: list[tuple[int, str]] = []
    for verdict in verdicts:
        of_tree = [e for e in events if e.origin == verdict.origin]
        for moment in verdict.moments:
            event = of_tree[moment.index]
            if event.res is not None:
                line = event.line(now=moment.now, with_interval=False)
                lines.append((moment.now, f"{line}\n"))
    lines.sort(key=lambda each: each[0])  # stable: within a tree the order stays
    return [line for _, line in lines]
