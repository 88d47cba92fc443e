"""Random requests that lead deep: few ids, versions mostly right, instants near what is due."""

import random
from collections.abc import Callable, Sequence

from tests.differential.plays import Json, Step
from tests.model.model import EXTENSIONS, Model
from tests.model.records import (
    ACQUIRED,
    ANY,
    BRANCH,
    DELAY,
    EXTERNAL,
    HALTED,
    PENDING,
    RELEASE_REASONS,
    SCOPE,
    SETTLABLE,
    SETTLED,
    SUSPENDED,
    TARGET,
    TASK_STATES,
    TIMER,
    UNKNOWN_FUNCTION,
    WAIT_MODES,
    Task,
)

NAMES = ("a", "a.1", "a.2", "a:3", "b", "b.1", "é", "z")
NOBODY = "nobody"
ADDRESSES = ("http://l", "poll://uni@g/p", "poll://any@g")
TARGETS = ("poll://any@g", "poll://any@h/p")
PIDS = ("p", "q")
VALUES: Sequence[Json | None] = (
    None,
    {},
    {"data": ""},
    {"data": "MQ=="},
    {"headers": {}},
    {"headers": {"k": "v"}, "data": "é"},
)
SPANS = (-5, 0, 20, 60, 200, *(1_000,) * 4, *(100_000,) * 8)
TTLS = (1, 20, 60, 300, 5_000, 5_000)
CRONS = (
    *("* * * * *", "*/2 * * * * *", "0 0 29 2 *", "15,30 10-20/5 * * * mon", "0 12 1 * 5"),
    *("30 2 * * *", "*/20 2 * * *", "0 */6 * * *", "15 30 2 * * *"),
)
TIME_ZONES = ("", "UTC", "Europe/Berlin", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata")
BEGINNINGS = (1_000, 1_000, 1_000, 1_711_846_770_000, 1_729_990_770_000)
"""Two of them are half a minute before clocks are set forward and back in Berlin."""
ANYTHING: Sequence[object] = (
    *(None, True, False, 0, 1, -1, 1.0, 1.5, 10**20, "", "x", "5", [], [1], {}, {"a": 1}),
    *(["x"], [None], [{}], {"data": 1}, {"headers": []}, {"headers": {"a": 1}}, {"x": "y"}),
)
WEIGHTS = {
    "promise.get": 2,
    "promise.create": 9,
    "promise.settle": 5,
    "promise.register_callback": 4,
    "promise.register_listener": 3,
    "promise.search": 2,
    "task.get": 2,
    "task.create": 8,
    "task.acquire": 12,
    "task.release": 4,
    "task.fulfill": 3,
    "task.suspend": 12,
    "task.fence": 8,
    "task.heartbeat": 4,
    "task.halt": 2,
    "task.continue": 3,
    "task.search": 2,
    "schedule.get": 1,
    "schedule.create": 3,
    "schedule.delete": 1,
    "schedule.pause": 2,
    "schedule.search": 1,
    "chain": 6,
    "debug.tick": 8,
}
KINDS = tuple(WEIGHTS)
HTTP_KINDS = tuple(kind for kind in KINDS if kind not in EXTENSIONS)
LIKINGS = (1e-6, 0.3, 1, 1, 1, 4)
ALONE = ("chain", "debug.tick", "promise.search", "task.search", "schedule.search")
"""What a chain cannot hold."""
IN_STATE = {
    "task.acquire": (PENDING,),
    "task.release": (ACQUIRED,),
    "task.fulfill": (ACQUIRED,),
    "task.suspend": (ACQUIRED,),
    "task.fence": (ACQUIRED,),
    "task.heartbeat": (ACQUIRED,),
    "task.continue": (HALTED,),
    "task.halt": (PENDING, ACQUIRED, SUSPENDED),
}
"""Where an operation on a task succeeds."""


class Dice:
    """One sequence. It looks at the model to know what is worth asking next."""

    def __init__(
        self, seed: int, model: Model, kinds: Sequence[str], *, is_wild: bool = False
    ) -> None:
        self._random = random.Random(seed)
        self._model = model
        self._kinds = kinds
        # What is asked for more or less often, or never, differs too: a rule that takes several
        # operations of few kinds is met sooner where the others do not come between.
        self._weights = [WEIGHTS[kind] * self._random.choice(LIKINGS) for kind in kinds]
        # Few ids at a time: sequences of three get deep, sequences of eight get wide.
        self._ids = self._random.sample(NAMES, self._random.choice([3, 4, 5, 8]))
        self._lives = 0
        mistakes = 0.2 if self._random.random() < 0.2 else 0.0
        self._mistakes = 0.35 if is_wild else mistakes
        self._is_wild = is_wild
        self._held: Json | None = None
        """The lease that a whole chain is about."""
        self._aim = self._random.choice([0.9, 0.9, 0.6, 0.3])
        self.now = self._random.choice(BEGINNINGS)

    def step(self) -> Step:
        """Pass some time, or none, and ask for something."""
        self._pass_time()
        self._renew()
        kind = self._random.choices(self._kinds, self._weights)[0]
        data = self._data(kind)
        if kind != "debug.tick" and self._random.random() < self._mistakes:
            data = self._spoiled(data)
        return Step(kind, data, self.now)

    def _renew(self) -> None:
        """Give an id up, now and then, whose promise is settled: nothing happens to it any more."""
        place = self._random.randrange(len(self._ids))
        promise = self._model.promises.get(self._ids[place])
        if promise and not self._model.is_live(promise, self.now) and self._random.random() < 0.5:
            self._lives += 1
            self._ids[place] = f"{self._random.choice(NAMES)}.{self._lives}"

    def _pass_time(self) -> None:
        roll = self._random.random()
        if roll < 0.78:
            return
        if roll < 0.9:
            self.now += self._random.choice([1, 5, 20])
            return
        instants = sorted(instant for instant in self._instants() if instant > self.now)
        if instants:
            chosen = instants[0] if roll < 0.97 else self._random.choice(instants)
            self.now = max(self.now, chosen + self._random.choice([-1, 0, 0, 1]))

    def _instants(self) -> list[int]:
        """List when something becomes due."""
        model = self._model
        due = [p.timeout_at for p in model.promises.values() if p.state == PENDING]
        for task in model.tasks.values():
            due += [at for at in (task.retry_at, task.expires_at) if at is not None]
        soon = [s.next_run_at for s in model.schedules.values()]
        # Beyond this a schedule of every second would have to catch up with a lot.
        return [at for at in due + soon if at < self.now + 200_000]

    def _data(self, kind: str) -> Json:
        makers: dict[str, Callable[[], Json]] = {
            "promise.get": lambda: {"id": self._id()},
            "promise.create": lambda: self._create(self._id(), targeted=0.45),
            "promise.settle": lambda: self._settle(self._wanted()),
            "promise.register_callback": self._callback,
            "promise.register_listener": self._listener,
            "promise.search": self._promise_search,
            "task.create": self._task_create,
            "task.acquire": lambda: {**self._lease(kind), **self._holder()},
            "task.fulfill": self._fulfill,
            "task.suspend": self._suspend,
            "task.fence": self._fence,
            "task.heartbeat": self._heartbeat,
            "task.release": self._release,
            "task.halt": self._halt,
            "task.search": lambda: self._page(TASK_STATES),
            "schedule.create": self._schedule,
            "schedule.search": lambda: self._page(()),
            "schedule.get": lambda: {"id": self._random.choice(["s", "t"])},
            "schedule.delete": lambda: {"id": self._random.choice(["s", "t"])},
            "schedule.pause": self._pause,
            "chain": self._chain,
            "debug.tick": lambda: {"time": self.now},
        }
        maker = makers.get(kind)
        return maker() if maker else {"id": self._task_id(kind)}

    # What requests are made of

    def _id(self) -> str:
        return self._random.choice([*self._ids, *self._ids, *self._ids, NOBODY])

    def _task_id(self, kind: str) -> str:
        """Pick a task in a state in which the operation succeeds, more often than not."""
        states = IN_STATE.get(kind, TASK_STATES)
        roll = self._random.random()
        if roll > self._aim:  # somewhere else, be it rare or nowhere
            states = (self._random.choice(TASK_STATES),) if roll > self._aim + 0.05 else ()
        model = self._model
        tasks = [t for t in model.tasks.values() if model.view(t, self.now).state in states]
        if self._random.random() < 0.5:
            tasks = [t for t in tasks if is_deep(t)] or tasks
        return self._random.choice(tasks).id if tasks else self._id()

    def _lease(self, kind: str) -> Json:
        if self._held is not None and self._random.random() < 0.95:
            return self._held
        task_id = self._task_id(kind)
        task = self._model.tasks.get(task_id)
        version = task.version if task else 0
        drift = 0 if self._random.random() < self._aim else self._random.choice([-1, 0, 1])
        return {"id": task_id, "version": max(0, version + drift)}

    def _holder(self) -> Json:
        return {"pid": self._random.choice(PIDS), "ttl": self._random.choice(TTLS)}

    def _create(self, promise_id: str, *, targeted: float) -> Json:
        data: Json = {
            "id": promise_id,
            "timeoutAt": max(0, self.now + self._random.choice(SPANS)),
            "tags": self._tags(targeted),
        }
        param = self._random.choice(VALUES)
        return data if param is None else {**data, "param": param}

    def _tags(self, targeted: float) -> dict[str, str]:
        choose = self._random.choice
        tags = {}
        if self._random.random() < targeted:
            tags[TARGET] = choose(TARGETS)
            if self._random.random() < 0.15:
                tags[DELAY] = str(max(0, self.now + choose([-5, 0, 5, 30])))
        else:
            tags = choose(
                [
                    {EXTERNAL: "true"},
                    {EXTERNAL: "true"},
                    {TIMER: "true"},
                    {TIMER: "true"},
                    {SCOPE: "global"},
                    {SCOPE: "local"},
                    {EXTERNAL: "false", TIMER: "no"},
                    {},
                ]
            )
        if self._random.random() < 0.5:
            tags = {**tags, BRANCH: choose(self._ids)}
        return tags

    def _settle(self, promise_id: str) -> Json:
        data: Json = {"id": promise_id, "state": self._random.choice(SETTLABLE)}
        value = self._random.choice(VALUES)
        return data if value is None else {**data, "value": value}

    def _callback(self) -> Json:
        awaiter = self._id() if self._random.random() < 0.3 else self._task_id("task.get")
        return {"awaited": self._awaited(), "awaiter": awaiter}

    def _awaited(self) -> str:
        """Pick a promise that may be awaited, more often than not one that is still open."""
        model = self._model
        known = [p for p in model.promises.values() if model.is_external(p)]
        live = [p for p in known if model.is_live(p, self.now)]
        pool = live
        if self._random.random() > self._aim:
            internal = [p for p in model.promises.values() if not model.is_external(p)]
            pool = self._random.choice([known, known, internal, []])
        return self._random.choice(pool).id if pool else self._id()

    def _wanted(self) -> str:
        """Pick a promise that somebody waits for, more often than not."""
        model = self._model
        wanted = [p.id for p in model.promises.values() if p.callbacks or p.listeners]
        if self._random.random() < 0.5:
            deep = {task.id for task in model.tasks.values() if is_deep(task)}
            wanted = [each for each in wanted if model.promises[each].callbacks & deep] or wanted
        return self._random.choice(wanted) if wanted and self._random.random() < 0.7 else self._id()

    def _known(self) -> str:
        """Pick any promise that there is, or was going to be."""
        return self._random.choice([*self._model.promises, *self._ids])

    def _listener(self) -> Json:
        return {"awaited": self._awaited(), "address": self._random.choice(ADDRESSES)}

    def _task_create(self) -> Json:
        create = self._create(self._id(), targeted=1)
        create["tags"].pop(DELAY, None)
        return {**self._holder(), "action": _action("promise.create", create)}

    def _fulfill(self) -> Json:
        lease = self._lease("task.fulfill")
        return {**lease, "action": _action("promise.settle", self._settle(lease["id"]))}

    def _release(self) -> Json:
        lease = self._lease("task.release")
        if not self._model.profile.extensions or self._random.random() < 0.4:
            return lease
        task = self._model.tasks.get(lease["id"])
        if task and task.unknown_releases and self._random.random() < 0.7:
            return {**lease, "reason": UNKNOWN_FUNCTION}
        if self._random.random() < 0.8:
            reasons = [UNKNOWN_FUNCTION] * 4
            return {**lease, "reason": self._random.choice([*reasons, *RELEASE_REASONS])}
        spans = [-5, 0, 10, 70_000]
        return {**lease, "notBefore": max(0, self.now + self._random.choice(spans))}

    def _halt(self) -> Json:
        if not self._model.profile.extensions or self._random.random() < 0.6:
            return {"id": self._task_id("task.halt")}
        return self._lease("task.release")

    def _suspend(self) -> Json:
        lease = self._lease("task.suspend")
        count = self._random.choice([1, 1, 1, 2, 2, 3])
        awaited = {self._awaited() for _ in range(count)} - {lease["id"]}
        actions = [{"awaited": each, "awaiter": lease["id"]} for each in sorted(awaited)]
        if self._random.random() < 0.02:
            actions += actions[:1]
        actions = [_action("promise.register_callback", each) for each in actions]
        mode = {}
        if self._model.profile.extensions and self._random.random() < 0.4:
            mode = {"waitMode": self._random.choice(WAIT_MODES)}
        return {**lease, "actions": actions, **mode}

    def _fence(self) -> Json:
        lease = self._lease("task.fence")
        promise_id = self._id()
        if self._random.random() < 0.6:
            inner = _action("promise.create", self._create(promise_id, targeted=0.4))
        else:
            settled = self._random.choice([self._wanted(), self._known(), self._id()])
            inner = _action("promise.settle", self._settle(settled))
            if self._random.random() < 0.05:
                inner["data"]["state"] = "rejected_timedout"
        is_required = self._model.profile.extensions and self._random.random() < 0.3
        return {**lease, "action": inner, **({"required": True} if is_required else {})}

    def _heartbeat(self) -> Json:
        leases = [self._lease("task.heartbeat") for _ in range(self._random.choice([0, 1, 1, 2]))]
        return {"pid": self._random.choice(PIDS), "tasks": leases}

    def _promise_search(self) -> Json:
        tags = self._random.choice([{}, {}, {EXTERNAL: "true"}, {TARGET: TARGETS[0]}])
        return {**self._page((PENDING, *SETTLED)), "tags": tags}

    def _page(self, states: Sequence[str]) -> Json:
        data: Json = {}
        if states and self._random.random() < 0.5:
            data["state"] = self._random.choice(states)
        if self._random.random() < 0.5:
            data["limit"] = self._random.choice([1, 2, 1_000])
        if self._random.random() < 0.3:
            data["cursor"] = self._random.choice([*NAMES, "", "a.", "\U0001f600", "\uffff"])
        return data

    def _schedule(self) -> Json:
        # Which of two schedules comes first in a tick is up to the store, so they share no ids.
        schedule_id, taken = self._random.choice([("s", "a"), ("t", "b")])
        data = {
            "id": schedule_id,
            "cron": self._random.choice(CRONS),
            "promiseId": self._random.choice(
                ["{{.id}}-{{.timestamp}}", "{{.id}}.{{.id}}", taken, "{{.timestamp}}/{{.id}}"]
            ),
            "promiseTimeout": self._random.choice([0, 1, 500, 90_000]),
            "promiseParam": self._random.choice(VALUES) or {},
            "promiseTags": {TARGET: self._random.choice(TARGETS), BRANCH: "a"},
        }
        if not self._model.profile.extensions or self._random.random() < 0.4:
            return data
        zone = self._random.choice(TIME_ZONES)
        return {**data, "timeZone": zone, "paused": self._random.random() < 0.3}

    def _pause(self) -> Json:
        schedule_id = self._random.choice(["s", "t"])
        known = self._model.schedules.get(schedule_id)
        paused = known is not None and known.paused
        return {"id": schedule_id, "paused": self._random.choice([not paused, not paused, paused])}

    # Chains

    def _chain(self) -> Json:
        """Ask for several things at once: as a holder does with its task, or for anything."""
        if self._random.random() < 0.4:
            operations = [self._operation(kind) for kind in self._any_kinds()]
            if self._random.random() < 0.3:
                operations = self._spoiled_one(operations)
            return {"operations": operations}
        first = []
        if self._random.random() < 0.3:
            first = [self._operation("task.create")]
            self._held = {"id": first[0]["data"]["action"]["data"]["id"], "version": 1}
        else:
            self._held = self._lease("task.fence")
        operations = [*first, *(self._operation(kind) for kind in self._holders_kinds())]
        self._held = None
        return {"operations": operations}

    def _operation(self, kind: str) -> Json:
        return {"kind": kind, "data": self._data(kind)}

    def _holders_kinds(self) -> list[str]:
        """Settle a step, begin the next one, and end the pass."""
        fences = ["task.fence"] * self._random.choice([1, 2, 2, 3])
        ends = ["task.suspend", "task.fulfill", "task.release", "task.halt", "task.fence"]
        return [*fences, self._random.choice(ends)]

    def _any_kinds(self) -> list[str]:
        kinds = [kind for kind in self._kinds if kind not in ALONE]
        weights = [
            weight
            for kind, weight in zip(self._kinds, self._weights, strict=True)
            if kind not in ALONE
        ]
        return self._random.choices(kinds, weights, k=self._random.choice([2, 3, 4]))

    # Mistakes

    def _spoiled(self, data: Json) -> Json:  # noqa: PLR0911 - one way to spoil each
        """Put something into one member that must not be there, though its type is right."""
        data = data or {"limit": 1}
        name = self._random.choice(sorted(data))
        member = data[name]
        if self._is_wild and self._random.random() < 0.5:
            return self._wild(data, name)
        if isinstance(member, dict) and name in {"action", "data"} and member:
            return {**data, name: self._spoiled(member)}
        wrong: dict[str, Sequence[object]] = {
            "tags": (
                {TARGET: "poll://any@g", TIMER: "true"},
                {TARGET: ""},
                {TARGET: "no uri"},
                {TARGET: "x:"},
                {DELAY: "5"},
                {DELAY: "soon", TARGET: "poll://any@g"},
                {DELAY: str(10**15), TARGET: "poll://any@g"},
                {"k": "\0"},
                {},
            ),
            "state": ("pending", "rejected_timedout"),
            "limit": (0, -1, 1_001),
            "address": ("", "not a uri", "poll:", "a b:c"),
            "cursor": ("\0", "a\0b"),
            "timeZone": ("Nowhere/Land", "../UTC", "europe"),
            "cron": ("", "*", "* * * * * * *", "60 * * * *", "@daily"),
        }
        if name in wrong and not (name == "state" and member not in SETTLABLE):
            return {**data, name: self._random.choice(wrong[name])}
        if isinstance(member, str) and name in {"id", "pid", "awaited", "awaiter"}:
            return {**data, name: self._random.choice(["", "a\0", *self._ids])}
        if name == "operations":
            return {"operations": self._spoiled_one(member)}
        if isinstance(member, int) and not isinstance(member, bool):
            return {**data, name: self._random.choice([-1, 0, 2**53 - 1, 2**53])}
        if name in {"actions", "tasks"}:
            return {**data, name: []}
        return data

    def _spoiled_one(self, operations: Sequence[Json]) -> list[Json]:
        place = self._random.randrange(len(operations))
        chosen = operations[place]
        spoiled = {**chosen, "data": self._spoiled(chosen["data"])}
        return [*operations[:place], spoiled, *operations[place + 1 :]]

    def _wild(self, data: Json, name: str) -> Json:
        """Leave a member out, or let it be of any type, or let a part of it be so."""
        member = data[name]
        if isinstance(member, dict) and member and self._random.random() < 0.7:
            return {**data, name: self._wild(member, self._random.choice(sorted(member)))}
        if isinstance(member, list) and member and self._random.random() < 0.7:
            first = member[0]
            return {**data, name: [self._wild(first, self._random.choice(sorted(first)))]}
        others = {key: each for key, each in data.items() if key != name}
        return self._random.choice([others, {**data, name: self._random.choice(ANYTHING)}])


def is_deep(task: Task) -> bool:
    """Say whether it took several operations to bring a task to where it is."""
    return bool(task.resumes or task.unknown_releases or task.wait_mode != ANY)


def _action(kind: str, data: Json) -> Json:
    return {"kind": kind, "head": {}, "data": data}
