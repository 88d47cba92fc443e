"""Which combinations of operation, state and outcome a run has met, and which it has missed.

The universe is the product of what an operation may find and what it may answer. What no correct
store can show is in `unreachable.txt`, each line with its reason.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from itertools import product
from pathlib import Path
from typing import Self

from tests.differential.plays import Step
from tests.model.model import Answer, Model
from tests.model.records import (
    ANY,
    FULFILLED,
    PENDING,
    SUSPENDED,
    UNKNOWN_FUNCTION,
    Json,
    Promise,
    Schedule,
)

Combination = tuple[str, str, str]

UNREACHABLE = Path(__file__).with_name("unreachable.txt")

NATURES = ("internal", "external", "timer", "targeted")
PROMISES = ("absent", *(f"{s} {n}" for s in ("pending", "due", "settled") for n in NATURES))
"""A promise that is due has passed its deadline, and no sweep has stored it yet."""
TASKS = (
    *("absent", "untargeted", "pending", "acquired"),
    *("suspended", "halted", "fulfilled", "dead"),
)
"""A task is dead whose promise is due: it reads fulfilled and is stored as something else."""
SCHEDULES = ("absent", "running", "paused")
UNKNOWN = ("acquired, its, unknown", "acquired, its, unknown too often")
"""Releases for an unknown function: the last of them halts the task."""
VERSIONED = ("absent", "untargeted", *(f"{t}, {v}" for t in TASKS[2:] for v in ("its", "other")))
AWAITERS = ("absent", "untargeted", "live", "over")
AWAITED = ("open", "settled", "all", "internal", "absent")
WAITING = ("pending", "acquired", "suspended", "waiting for all", "halted", "fulfilled", "dead")
INNER = ("create absent", "create known", "settle absent", "settle open", "settle over")
"""What a suspend finds: the worst of what it awaits, or `all` when it waits for all of them."""
DUE = ("deadline", "dispatch", "lease", "schedule")
ENDS = ("nowhere", "first", "middle", "last")
"""Which operation of a chain is refused: at least two of them, and the others are skipped."""
REFUSED = ("400", "404", "409", "422", "200 400", "200 404", "settled otherwise")
CHAINED = (
    *(f"promise.{name}" for name in ("get", "create", "settle")),
    *(f"promise.register_{name}" for name in ("callback", "listener")),
    *(
        f"task.{name}"
        for name in (
            *("get", "create", "acquire", "release", "fulfill", "suspend", "fence"),
            *("heartbeat", "halt", "continue"),
        )
    ),
    *(f"schedule.{name}" for name in ("get", "create", "delete", "pause")),
)
"""What a chain may hold."""

STATES: dict[str, tuple[str, ...]] = {
    **{f"promise.{name}": PROMISES for name in ("get", "create", "settle", "register_listener")},
    "promise.register_callback": tuple(f"{p} <- {a}" for p in PROMISES for a in AWAITERS),
    "promise.search": ("empty", "some"),
    "task.get": TASKS,
    "task.create": TASKS,
    **{f"task.{name}": VERSIONED for name in ("acquire", "fulfill")},
    "task.release": (*VERSIONED, *UNKNOWN),
    "task.suspend": tuple(f"{t} on {a}" for t in VERSIONED for a in AWAITED),
    "task.fence": tuple(f"{t}: {i}" for t in VERSIONED for i in INNER),
    "task.heartbeat": ("all", *(f"{t}, {p}" for t in TASKS for p in ("its pid", "other pid"))),
    "task.halt": (*TASKS, *(f"fenced, {state}" for state in VERSIONED)),
    "task.continue": TASKS,
    "task.search": ("empty", "some"),
    **{f"schedule.{name}": SCHEDULES for name in ("get", "create", "delete")},
    "schedule.pause": tuple(f"{s}, to {aim}" for s in SCHEDULES for aim in ("pause", "resume")),
    "schedule.search": ("empty", "some"),
    "chain": ENDS,
    "in a chain": CHAINED,
    "wake": WAITING,
    "fire": tuple(f"{state}, {zone}" for state in SCHEDULES[1:] for zone in ("UTC", "a zone")),
    "debug.tick": ("",),
}
DERIVED = ("in a chain", "wake", "fire")
"""What comes along with an operation, and is not asked for by itself."""
OUTCOMES: dict[str, tuple[str, ...]] = {
    "promise.get": ("200", "404"),
    "promise.create": ("200",),
    "promise.settle": ("200", "404"),
    "promise.register_callback": ("200", "404", "422"),
    "promise.register_listener": ("200", "404", "422"),
    **{f"{noun}.search": ("200 last", "200 more") for noun in ("promise", "task", "schedule")},
    "task.get": ("200", "404"),
    "task.create": ("200", "409", "422"),
    **{f"task.{name}": ("200", "404", "409") for name in ("acquire", "release", "fulfill")},
    "task.suspend": ("200", "300", "404", "409", "422"),
    "task.fence": ("200 200", "200 400", "200 404", "404", "409"),
    "task.heartbeat": ("200",),
    "task.halt": ("200", "404", "409"),
    "task.continue": ("200", "404", "409"),
    "schedule.create": ("200",),
    "schedule.get": ("200", "404"),
    "schedule.delete": ("200", "404"),
    "schedule.pause": ("200", "404"),
    "chain": ("200", *REFUSED),
    "fire": ("once", "often", "never"),
    "wake": ("resumed", "kept", "buffered", "ignored"),
    "debug.tick": tuple(
        "+".join(name for name, is_due in zip(DUE, dues, strict=True) if is_due) or "nothing"
        for dues in product((False, True), repeat=len(DUE))
    ),
}
BADLY: Combination = ("", "malformed", "400")


def universe() -> Iterator[Combination]:
    """List everything that could be thought of."""
    for kind, states in STATES.items():
        yield from ((kind, state, each) for state in states for each in _outcomes(kind, state))
        if kind not in {*DERIVED, "chain", "debug.tick"}:
            yield (kind, *BADLY[1:])


def _outcomes(kind: str, state: str) -> tuple[str, ...]:
    if kind == "in a chain":
        return (*OUTCOMES[state], BADLY[2], "skipped")
    return OUTCOMES[kind]


@cache
def reasons() -> tuple[tuple[str, str, str, str], ...]:
    """Read the committed list: patterns of operation, state and outcome, and the reason."""
    lines = [line for line in UNREACHABLE.read_text().splitlines() if line[:1] not in {"", "#"}]
    rows = [tuple(cell.strip() for cell in line.split("|")) for line in lines]
    return tuple((kind, state, outcome, why) for kind, state, outcome, why in rows)


def why_unreachable(combination: Combination) -> str | None:
    for *patterns, why in reasons():
        if all(
            any(fnmatchcase(part, each.strip()) for each in pattern.split(" or "))
            for part, pattern in zip(combination, patterns, strict=True)
        ):
            return why
    return None


class Coverage:
    """Counts combinations."""

    def __init__(self) -> None:
        self.seen: Counter[Combination] = Counter()

    def note(
        self, step: Step, state: str, answer: Answer, woken: list[Combination]
    ) -> set[Combination]:
        """Count what a step met, and answer it."""
        combination = (step.kind, state, outcome_of(step.kind, answer))
        if step.kind == "debug.tick":
            combination = (step.kind, "", state)
        if answer[0] == 400:
            combination = (step.kind, *BADLY[1:])
        if combination[2] not in {"200", "200 200"} and step.kind != "debug.tick":
            woken = []
        met = [*chained(step, answer[1]), *woken] if step.kind == "chain" else [combination, *woken]
        self.seen.update(met)
        return {*met}

    def impossible(self) -> list[Combination]:
        """List what was met although the committed list says that it cannot be."""
        return sorted(each for each in self.seen if why_unreachable(each))

    def missed(self, kinds: set[str]) -> list[Combination]:
        """List what was not met although it could be."""
        return [
            each
            for each in universe()
            if each[0] in kinds and not self.seen[each] and not why_unreachable(each)
        ]

    def table(self) -> str:
        rows = sorted(self.seen.items())
        return "\n".join(f"{count:8}  {k:26} {s:44} {o}" for (k, s, o), count in rows)


def outcome_of(kind: str, answer: Answer) -> str:
    status, data = answer
    if kind.endswith(".search") and status == 200:
        return "200 more" if "cursor" in data else "200 last"
    if kind == "task.fence" and status == 200:
        return f"200 {data['action']['head']['status']}"
    return str(status)


def chained(step: Step, answer: Json) -> list[Combination]:
    """Name what became of a chain, and of each operation in it."""
    operations, results = step.data["operations"], answer["results"]
    kinds = [operation["kind"] for operation in operations]
    outcomes = [
        outcome_of(kind, (result["status"], result.get("data"))) if result["status"] else "skipped"
        for kind, result in zip(kinds, results, strict=True)
    ]
    found = [("in a chain", *each) for each in zip(kinds, outcomes, strict=True)]
    return [*found, ("chain", *_end(outcomes))]


def _end(outcomes: list[str]) -> tuple[str, str]:
    """Say where a chain ended, and by what."""
    done = [outcome for outcome in outcomes if outcome != "skipped"]
    last = done[-1]
    if last == "200 200" and len(done) < len(outcomes):
        last = "settled otherwise"
    if last not in REFUSED:
        return "nowhere", "200"
    place = "last" if len(done) == len(outcomes) else "middle"
    return "first" if len(done) == 1 else place, last


# What a step finds.


@dataclass(frozen=True)
class Before:
    """What a model is like that a step is about to be played to."""

    state: str
    awaiters: Sequence[tuple[str, str]] = ()
    """Tasks that will be told by what settles, and their states."""
    due: Sequence[tuple[str, str, int]] = ()
    """Schedules whose time has come, their states and next instants."""

    @classmethod
    def of(cls, model: Model, step: Step) -> Self:
        return cls(situation(model, step), waiting(model, step), firing(model, step))

    def followed_by(self, model: Model) -> list[Combination]:
        """Name what the step has led to, beside its own answer."""
        return [*told(model, self.awaiters), *fired(model, self.due)]


def situation(model: Model, step: Step) -> str:  # noqa: C901, PLR0911, PLR0912 - one arm each
    """Name the state in which a well-formed step finds what it is about."""
    data, now = step.data, step.now
    match step.kind:
        case "debug.tick":
            return due(model, now)
        case "promise.register_callback":
            return f"{_promise(model, data['awaited'], now)} <- {_awaiter(model, data, now)}"
        case "promise.register_listener":
            return _promise(model, data["awaited"], now)
        case "promise.get" | "promise.create" | "promise.settle":
            return _promise(model, data["id"], now)
        case "promise.search":
            return "some" if model.promises else "empty"
        case "task.search":
            return "some" if model.tasks else "empty"
        case "schedule.search":
            return "some" if model.schedules else "empty"
        case "task.create":
            return _task(model, data["action"]["data"]["id"], now)
        case "task.suspend":
            return f"{_versioned(model, data, now)} on {_awaited(model, data, now)}"
        case "task.fence":
            return f"{_versioned(model, data, now)}: {_inner(model, data['action'], now)}"
        case "task.heartbeat":
            return _heartbeat(model, data, now)
        case "task.release":
            return _released(model, data, now)
        case "task.acquire" | "task.fulfill":
            return _versioned(model, data, now)
        case "task.halt" if data.get("version") is not None:
            return f"fenced, {_versioned(model, data, now)}"
        case "task.get" | "task.halt" | "task.continue":
            return _task(model, data["id"], now)
        case "schedule.pause":
            return f"{_schedule(model, data)}, to {'pause' if data['paused'] else 'resume'}"
        case "chain":
            return ""
    return _schedule(model, data)


def due(model: Model, now: int) -> str:
    promises, tasks = model.promises.values(), model.tasks.values()
    dues = {
        "deadline": any(model.is_armed(p) and model.is_past(p, now) for p in promises),
        "dispatch": any(model.is_dispatch_due(task, now) for task in tasks),
        "lease": any(model.is_lease_over(task, now) for task in tasks),
        "schedule": any(model.is_firing(s, now) for s in model.schedules.values()),
    }
    return "+".join(name for name in DUE if dues[name]) or "nothing"


def waiting(model: Model, step: Step) -> list[tuple[str, str]]:
    """Name the tasks that will be told by what settles in a step, and their states before it."""
    return [
        (awaiter, _waiting(model, awaiter, step.now))
        for promise in _settling(model, step)
        for awaiter in promise.callbacks
    ]


def _waiting(model: Model, task_id: str, now: int) -> str:
    state = _task(model, task_id, now)
    waits_for_all = state == "suspended" and model.tasks[task_id].wait_mode != ANY
    return "waiting for all" if waits_for_all else state


def firing(model: Model, step: Step) -> list[tuple[str, str, int]]:
    """Name the schedules whose time has come in a tick, their states and next instants."""
    if step.kind != "debug.tick":
        return []
    return [
        (
            s.id,
            f"{_schedule(model, {'id': s.id})}, {'a zone' if s.time_zone else 'UTC'}",
            s.next_run_at,
        )
        for s in model.schedules.values()
        if s.next_run_at <= step.now
    ]


def fired(model: Model, due: Sequence[tuple[str, str, int]]) -> list[Combination]:
    """Name what they did."""
    return [("fire", state, _fired(model.schedules[i], at)) for i, state, at in due]


def _fired(schedule: Schedule, first: int) -> str:
    if schedule.next_run_at == first:
        return "never"
    return "once" if schedule.last_run_at == first else "often"


def told(model: Model, awaiters: Sequence[tuple[str, str]]) -> list[Combination]:
    """Name what became of those that were told."""
    return [("wake", state, _told(model, task_id, state)) for task_id, state in awaiters]


def _told(model: Model, task_id: str, state: str) -> str:
    if state in {"fulfilled", "dead"}:
        return "ignored"
    if state in {"suspended", "waiting for all"}:
        return "kept" if model.tasks[task_id].state == SUSPENDED else "resumed"
    return "buffered"


def _settling(model: Model, step: Step) -> list[Promise]:
    if step.kind == "debug.tick":
        promises = model.promises.values()
        return [p for p in promises if model.is_armed(p) and model.is_past(p, step.now)]
    action = step.data if step.kind == "promise.settle" else step.data.get("action", {}).get("data")
    settles = step.kind in {"promise.settle", "task.fulfill"} or (
        step.kind == "task.fence" and step.data["action"]["kind"] == "promise.settle"
    )
    promise = model.promises.get(action["id"]) if settles and action else None
    return [promise] if promise and model.is_live(promise, step.now) else []


def _promise(model: Model, promise_id: str, now: int) -> str:
    promise = model.promises.get(promise_id)
    if promise is None:
        return "absent"
    state = "settled"
    if promise.state == PENDING:
        state = "pending" if model.is_live(promise, now) else "due"
    nature = "external" if model.is_external(promise) else "internal"
    nature = "timer" if promise.is_timer else nature
    return f"{state} {'targeted' if promise.is_targeted else nature}"


def _task(model: Model, task_id: str, now: int) -> str:
    task = model.tasks.get(task_id)
    if task is None:
        return "untargeted" if task_id in model.promises else "absent"
    state = model.view(task, now).state
    return "dead" if state == FULFILLED != task.state else state


def _versioned(model: Model, data: Json, now: int) -> str:
    state = _task(model, data["id"], now)
    if state in {"absent", "untargeted"}:
        return state
    right = model.tasks[data["id"]].version == data["version"]
    return f"{state}, {'its' if right else 'other'}"


def _released(model: Model, data: Json, now: int) -> str:
    state = _versioned(model, data, now)
    if state != "acquired, its" or data.get("reason") != UNKNOWN_FUNCTION:
        return state
    before = model.tasks[data["id"]].unknown_releases
    is_last = 0 < model.profile.unknown_releases_max <= before + 1
    return UNKNOWN[is_last]


def _schedule(model: Model, data: Json) -> str:
    schedule = model.schedules.get(data["id"])
    if schedule is None:
        return "absent"
    return "paused" if schedule.paused else "running"


def _awaiter(model: Model, data: Json, now: int) -> str:
    promise = model.promises.get(data["awaiter"])
    if promise is None:
        return "absent"
    if not promise.is_targeted:
        return "untargeted"
    return "live" if model.is_live(promise, now) else "over"


def _awaited(model: Model, data: Json, now: int) -> str:
    """Name the worst among the awaited."""
    worst = "open"
    for action in data["actions"]:
        promise = model.promises.get(action["data"]["awaited"])
        found = "open"
        if promise is None:
            found = "absent"
        elif not model.is_awaitable(promise):
            found = "internal"
        elif not model.is_live(promise, now):
            found = "settled"
        worst = max(worst, found, key=AWAITED.index)
    if worst in {"open", "settled"} and data.get("waitMode", ANY) != ANY:
        return "all"
    return worst


def _inner(model: Model, action: Json, now: int) -> str:
    promise = model.promises.get(action["data"]["id"])
    if action["kind"] == "promise.create":
        return "create absent" if promise is None else "create known"
    if promise is None:
        return "settle absent"
    return "settle open" if model.is_live(promise, now) else "settle over"


def _heartbeat(model: Model, data: Json, now: int) -> str:
    if not data.get("tasks"):
        return "all"
    first = data["tasks"][0]["id"]
    task = model.tasks.get(first)
    mine = task is not None and task.pid == data["pid"]
    return f"{_task(model, first, now)}, {'its pid' if mine else 'other pid'}"
