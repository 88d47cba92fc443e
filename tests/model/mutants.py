"""The model with one rule wrong, once for each rule that is easy to get wrong.

Each must be told from the product by `tests/differential`: a rule whose breach nobody notices is
one that nobody checks. A docstring says what is wrong.
"""

from copy import deepcopy

from tests.model.model import Model
from tests.model.records import (
    ACQUIRED,
    ALL_RESOLVED,
    ALL_SETTLED,
    FULFILLED,
    HALTED,
    PENDING,
    SCOPE,
    SUSPENDED,
    TARGET,
    TIMED_OUT,
    Json,
    Promise,
    Refused,
    Schedule,
    Task,
)

WAITS = (
    *("promise.create", "promise.settle", "task.create", "task.acquire"),
    *("task.suspend", "promise.register_callback"),
)
RELEASES = ("task.create", "task.acquire", "task.release", "task.halt", "task.continue")
DISPATCHES = ("task.create", "task.acquire", "task.release", "debug.tick")
CHAINS = ("promise.create", "promise.settle", "task.create", "task.suspend", "task.fence", "chain")
SCHEDULES = (
    *("schedule.create", "schedule.get", "schedule.delete", "schedule.pause"),
    *("promise.search", "debug.tick"),
)
"""What a mutant may be `about`: its rule shows where several operations of few kinds meet, and no
others come between."""

SET_FORWARD_AT = 1_711_846_800_000
"""When clocks were set forward in Berlin in 2024."""


class DeadlineExcludesItself(Model):
    """A promise is still pending at the instant of its deadline."""

    def is_past(self, promise: Promise, now: int) -> bool:
        return promise.state == PENDING and promise.timeout_at < now


class TimerIsRejected(Model):
    """The deadline of a timer rejects it."""

    def deadline_verdict(self, promise: Promise) -> str:
        return TIMED_OUT


class LateSettleKeepsTheCallersValue(Model):
    """A settle behind the deadline counts if nothing has stored the deadline yet."""

    def settle_once(self, settle: Json, now: int) -> Json:
        promise = self.get_promise(settle["id"])
        if promise.state == PENDING:
            self.settle(promise, state=settle["state"], value=settle["value"], now=now)
        return self.read_promise(promise, now)


class SecondSettleWins(Model):
    """A settle replaces the settlement that is there."""

    def settle_once(self, settle: Json, now: int) -> Json:
        promise = self.get_promise(settle["id"])
        self.settle(promise, state=settle["state"], value=settle["value"], now=now)
        return self.read_promise(promise, now)


class DeadlineIsDatedByTheSweep(Model):
    """A promise that timed out says when that was noticed."""

    def settle_by_deadline(self, promises: list[Promise], now: int) -> None:
        for promise in promises:
            verdict = self.deadline_verdict(promise)
            self.close(promise, state=verdict, value={}, settled_at=now)
            self.discharge(promise, now)


class BornDeadIsDatedNow(Model):
    """A promise that is created behind its deadline says when it was created."""

    def add_promise(self, create: Json, now: int) -> Promise:
        promise = super().add_promise(create, now)
        promise.created_at = now
        return promise


class CreateReplacesTheDeadline(Model):
    """Creating a promise again gives it another deadline."""

    def find_or_create(self, create: Json, now: int) -> Promise:
        promise = super().find_or_create(create, now)
        if promise.state == PENDING:
            promise.timeout_at = create["timeoutAt"]
        return promise


class ReleaseRaisesTheVersion(Model):
    """A task that is given back has another version."""

    def task_release(self, data: Json, now: int) -> Json:
        answer = super().task_release(data, now)
        self.tasks[data["id"]].version += 1
        return answer


class AcquireKeepsTheVersion(Model):
    """A lease does not fence the one before."""

    def acquire(self, task: Task, *, pid: str, ttl: int, now: int) -> None:
        super().acquire(task, pid=pid, ttl=ttl, now=now)
        task.version -= 1


class AcquireKeepsTheResumes(Model):
    """Who acquires is told again what woke the task."""

    def acquire(self, task: Task, *, pid: str, ttl: int, now: int) -> None:
        resumes = task.resumes
        super().acquire(task, pid=pid, ttl=ttl, now=now)
        task.resumes = resumes


class AcquireTakesAnyVersion(Model):
    """A pending task is given to whoever asks, with an old version too."""

    def task_acquire(self, data: Json, now: int) -> Json:
        task = self.tasks.get(data.get("id", ""))
        return super().task_acquire({**data, "version": task.version} if task else data, now)


class FenceIgnoresTheVersion(Model):
    """A late holder still writes while another one holds the lease."""

    def is_running(self, task: Task, version: int, now: int) -> bool:
        return self.view(task, now).state == ACQUIRED


class FenceIgnoresTheDeadline(Model):
    """The holder of a task whose promise has timed out still writes."""

    def is_running(self, task: Task, version: int, now: int) -> bool:
        return task.state == ACQUIRED and task.version == version


class RedirectDropsTheLease(Model):
    """A 300 gives the task back."""

    def redirect(self, task: Task) -> None:
        self.make_pending(task, 0)


class RedirectKeepsTheResumes(Model):
    """A 300 leaves what had been told meanwhile."""

    about = WAITS

    def redirect(self, task: Task) -> None:
        pass


class RedirectRegisters(Model):
    """A 300 registers the callbacks of those that are still open."""

    def must_wait(self, awaited: list[Promise], now: int, mode: str) -> bool:
        waits = super().must_wait(awaited, now, mode)
        for promise in awaited:
            if not waits and self.is_live(promise, now):
                promise.callbacks.add(next(iter(self.tasks)))
        return waits


class SuspendWaitsForAll(Model):
    """A task suspends while anything that it awaits is open."""

    def must_wait(self, awaited: list[Promise], now: int, mode: str) -> bool:
        return any(self.is_live(promise, now) for promise in awaited)


class SuspendKeepsTheResumes(Model):
    """A suspended task still holds what it was told before."""

    about = WAITS

    def suspend(self, task: Task) -> None:
        self.enter(task, SUSPENDED)


class DeadAreWoken(Model):
    """A suspended task is made pending behind its own deadline."""

    def wake(self, awaiter: str, awaited: str, now: int) -> None:
        task = self.tasks[awaiter]
        if task.state == SUSPENDED:
            self.make_pending(task, now)
            task.resumes = {awaited}
        elif task.state != FULFILLED:
            task.resumes.add(awaited)


class WaitingForAllStopsAtAFailure(Model):
    """A task that waits until all are settled goes on when one is rejected."""

    about = WAITS

    def is_enough(self, task: Task, awaited: str) -> bool:
        mode = task.wait_mode
        if mode == ALL_SETTLED:
            task.wait_mode = ALL_RESOLVED
        enough = super().is_enough(task, awaited)
        task.wait_mode = mode
        return enough


class OldCallbacksEndAWaitForAll(Model):
    """What an earlier suspend has left behind counts for a later one."""

    about = WAITS

    def is_enough(self, task: Task, awaited: str) -> bool:
        return awaited not in task.waits_for or super().is_enough(task, awaited)


class ReleaseIsDispatchedAtOnce(Model):
    """A release cannot put the next dispatch off."""

    about = DISPATCHES

    def make_pending(self, task: Task, due_at: int) -> None:
        super().make_pending(task, min(due_at, 0))


class RunningAreNotTold(Model):
    """Only a suspended task learns that something settled."""

    def wake(self, awaiter: str, awaited: str, now: int) -> None:
        if self.tasks[awaiter].state == SUSPENDED:
            super().wake(awaiter, awaited, now)


class WakeRaisesTheVersion(Model):
    """A task that goes on has another version."""

    def wake(self, awaiter: str, awaited: str, now: int) -> None:
        super().wake(awaiter, awaited, now)
        task = self.tasks[awaiter]
        task.version += task.state == PENDING


class SettleLeavesTheTask(Model):
    """A promise that is settled from outside leaves its task as it is."""

    def close(self, promise: Promise, *, state: str, value: Json, settled_at: int) -> None:
        promise.state, promise.value, promise.settled_at = state, value, settled_at


class ListenersAreForgotten(Model):
    """Nobody who listens is told."""

    def discharge(self, promise: Promise, now: int) -> None:
        promise.listeners = set()
        super().discharge(promise, now)


class SettledPromisesTakeCallbacks(Model):
    """A callback on a settled promise wakes at once."""

    def promise_register_callback(self, data: Json, now: int) -> Json:
        answer = super().promise_register_callback(data, now)
        if answer["promise"]["state"] != PENDING:
            self.wake(data["awaiter"], data["awaited"], now)
        return answer


class DeadAwaitersRegister(Model):
    """A callback is kept though its awaiter is over."""

    def promise_register_callback(self, data: Json, now: int) -> Json:
        answer = super().promise_register_callback(data, now)
        if answer["promise"]["state"] == PENDING:
            self.promises[data["awaited"]].callbacks.add(data["awaiter"])
        return answer


class EverythingIsAwaitable(Model):
    """Internal promises may be awaited."""

    def is_awaitable(self, promise: Promise) -> bool:
        return True


class LocalScopeIsInternal(Model):
    """A promise of scope `local` may not be awaited."""

    def is_external(self, promise: Promise) -> bool:
        return super().is_external(promise) and promise.tags.get(SCOPE) != "local"


class OnlyTargetsAreArmed(Model):
    """The deadlines of other promises do not come by themselves."""

    def is_armed(self, promise: Promise) -> bool:
        return super().is_armed(promise) and promise.is_targeted


class ObligationsDoNotArm(Model):
    """The deadline of a promise of scope `local` does not come though somebody waits."""

    def is_armed(self, promise: Promise) -> bool:
        return super().is_armed(promise) and promise.tags.get(SCOPE) != "local"


class LeaseExcludesItsEnd(Model):
    """A lease still holds at the instant of its end."""

    def is_lease_over(self, task: Task, now: int) -> bool:
        return super().is_lease_over(task, now) and task.expires_at != now


class ExpiryClearsTheResumes(Model):
    """What a task was told is lost with its lease."""

    about = (*WAITS, "debug.tick")

    def expire(self, task: Task, now: int) -> None:
        super().expire(task, now)
        task.resumes = set()


class HeartbeatOfAnybody(Model):
    """A heartbeat extends the leases of others."""

    def task_heartbeat(self, data: Json, now: int) -> Json:
        for ref in data.get("tasks") or []:
            task = self.tasks.get(ref["id"])
            if task and self.is_running(task, ref["version"], now):
                self.extend(task, now)
        return super().task_heartbeat(data, now)


class EmptyHeartbeatDoesNothing(Model):
    """A heartbeat that names no task extends none."""

    def all_of(self, pid: str) -> list[tuple[str, int]]:
        return []


class HaltOfTheFulfilled(Model):
    """A task that is over can be halted."""

    def is_over(self, task: Task, now: int) -> bool:
        return False


class ContinueKeepsWaiting(Model):
    """A task that was halted while it was suspended goes back to sleep."""

    about = (*WAITS, "task.halt", "task.continue")

    def task_halt(self, data: Json, now: int) -> Json:
        task = self.tasks.get(data.get("id", ""))
        slept = task is not None and task.state == SUSPENDED
        answer = super().task_halt(data, now)
        if slept and task is not None and task.state == HALTED:
            task.ttl = 0  # remembered here: no halted task has a ttl
        return answer

    def task_continue(self, data: Json, now: int) -> Json:
        task = self.tasks.get(data.get("id", ""))
        slept = task is not None and task.state == HALTED and task.ttl == 0
        answer = super().task_continue(data, now)
        if slept and task is not None:
            self.suspend(task)
        return answer


class TaskCreateTakesTheSuspended(Model):
    """Asking again for a run that waits acquires it."""

    def task_create(self, data: Json, now: int) -> Json:
        try:
            return super().task_create(data, now)
        except Refused as refusal:
            task = self.tasks.get(data["action"]["data"]["id"])
            if refusal.status != 409 or task is None or task.state != SUSPENDED:
                raise
            self.acquire(task, pid=data["pid"], ttl=data["ttl"], now=now)
            return self.hand_out(task, now)


class DelayIsIgnored(Model):
    """The first dispatch does not wait for the delay."""

    def add_promise(self, create: Json, now: int) -> Promise:
        promise = super().add_promise(create, now)
        task = self.tasks.get(promise.id)
        if task and task.retry_at is not None:
            task.retry_at = now
        return promise


class InnerRefusalIsOuter(Model):
    """What a fence does not find is told as if the task were missing."""

    def task_fence(self, data: Json, now: int) -> Json:
        answer = super().task_fence(data, now)
        status = answer["action"]["head"]["status"]
        if status != 200:
            raise Refused(status, "inner")
        return answer


class SearchShowsStoredRows(Model):
    """A search does not see that a deadline has passed."""

    def promise_search(self, data: Json, now: int) -> Json:
        return super().promise_search(data, 0)


class CursorIncludesItself(Model):
    """A page begins with the last record of the one before."""

    def task_search(self, data: Json, now: int) -> Json:
        answer = super().task_search(data, now)
        cursor = data.get("cursor")
        again = [task.record() for task in self.tasks.values() if task.id == cursor]
        return {**answer, "tasks": again + answer["tasks"]}


class ScheduleSkipsWhatItMissed(Model):
    """A schedule that was not looked at for long fires once."""

    def sweep(self, now: int) -> bool:
        late = [s for s in self.schedules.values() if s.next_run_at <= now]
        done = super().sweep(now)
        for schedule in late:
            schedule.next_run_at = self.next_run(schedule.cron, schedule.time_zone, now)
        return done


class ScheduleIsDatedByTheSweep(Model):
    """The deadline of an occurrence runs from when it was noticed."""

    def fire(self, schedule: Schedule) -> None:
        known = set(self.promises)
        super().fire(schedule)
        for promise_id in self.promises.keys() - known:
            self.promises[promise_id].timeout_at += 1


class ScheduleTagsWin(Model):
    """The tags of a schedule come before those of the store."""

    def fire(self, schedule: Schedule) -> None:
        known = set(self.promises)
        super().fire(schedule)
        for promise_id in self.promises.keys() - known:
            self.promises[promise_id].tags |= schedule.promise_tags


class PausedSchedulesFire(Model):
    """A schedule that is paused fires all the same."""

    about = SCHEDULES

    def is_firing(self, schedule: Schedule, now: int) -> bool:
        return schedule.next_run_at <= now


class PausesAreMadeUpFor(Model):
    """A schedule that goes on fires what came while it was paused."""

    about = SCHEDULES

    def resume(self, schedule: Schedule, now: int) -> None:
        pass


class ResumingTwiceSkips(Model):
    """To resume a schedule that is not paused plans it anew."""

    about = SCHEDULES

    def schedule_pause(self, data: Json, now: int) -> Json:
        answer = super().schedule_pause(data, now)
        if not data["paused"]:
            self.resume(self.schedules[data["id"]], now)
        return {"schedule": self.schedules[data["id"]].record()} if answer else answer


class TimeZonesAreIgnored(Model):
    """Every schedule goes by UTC."""

    def next_run(self, cron: str, time_zone: str, instant: int) -> int:
        return super().next_run(cron, "", instant)


class GapsAreLeftOut(Model):
    """A time that clocks skip on a day does not come that day."""

    about = SCHEDULES

    def next_run(self, cron: str, time_zone: str, instant: int) -> int:
        found = super().next_run(cron, time_zone, instant)
        return super().next_run(cron, time_zone, found) if found == SET_FORWARD_AT else found


class UnknownFunctionsGoOnForEver(Model):
    """A task that nobody can run is offered again and again."""

    about = RELEASES

    def is_hopeless(self, task: Task) -> bool:
        return False


class TheHaltComesOneLate(Model):
    """A task is halted at the release behind the last that is allowed."""

    about = RELEASES

    def is_hopeless(self, task: Task) -> bool:
        task.unknown_releases -= 1
        is_hopeless = super().is_hopeless(task)
        task.unknown_releases += 1
        return is_hopeless


class EveryReleaseCountsAsUnknown(Model):
    """A task is halted for releases of any reason, too."""

    about = RELEASES

    def task_release(self, data: Json, now: int) -> Json:
        answer = super().task_release(data, now)
        self.tasks[data["id"]].unknown_releases += data.get("reason") == "overloaded"
        return answer


class SuspendKeepsTheUnknownReleases(Model):
    """A task that got somewhere is still held to be one that nobody can run."""

    about = (*WAITS, "task.release")

    def suspend(self, task: Task) -> None:
        known = task.unknown_releases
        super().suspend(task)
        task.unknown_releases = known


class ContinueKeepsTheUnknownReleases(Model):
    """A task that a person continues is halted again by the next release."""

    about = RELEASES

    def task_continue(self, data: Json, now: int) -> Json:
        task = self.tasks.get(data.get("id", ""))
        known = task.unknown_releases if task else 0
        answer = super().task_continue(data, now)
        self.tasks[data["id"]].unknown_releases = known
        return answer


class HaltIgnoresTheVersion(Model):
    """A late holder halts what another one runs."""

    def read_fence(self, data: Json) -> int | None:
        return None


class ChainsGoOnBehindARefusal(Model):
    """What follows a refused operation is done all the same."""

    def is_end(self, data: Json, status: int, answer: object) -> bool:
        return False


class ChainsGoOnBehindAnInnerRefusal(Model):
    """What follows a fence counts on a write that did not happen."""

    def is_end(self, data: Json, status: int, answer: object) -> bool:
        return status not in {200, 300}


class ChainsGoOnBehindAnotherSettlement(Model):
    """What follows a required settlement counts on it though another one was first."""

    about = CHAINS

    def is_in_vain(self, data: Json, answer: Json) -> bool:
        return False


class EverySettlementIsRequired(Model):
    """A chain ends where a promise was settled in another way before, whoever cares."""

    about = CHAINS

    def is_in_vain(self, data: Json, answer: Json) -> bool:
        return super().is_in_vain({**data, "required": True}, answer)


class ChainsEndAtARedirect(Model):
    """A suspend that need not wait ends the chain."""

    about = CHAINS

    def is_end(self, data: Json, status: int, answer: object) -> bool:
        return status == 300 or super().is_end(data, status, answer)


class ChainsAreAllOrNothing(Model):
    """A refusal undoes what the chain has done before it."""

    def chain(self, data: Json, now: int) -> Json:
        before = deepcopy(self.__dict__)
        answer = super().chain(data, now)
        if any(result["status"] not in {200, 300} for result in answer["results"]):
            self.__dict__.update(before)
        return answer


class ChainsAreCheckedFirst(Model):
    """A malformed operation refuses what comes before it, too."""

    def chain(self, data: Json, now: int) -> Json:
        before = deepcopy(self.__dict__)
        answer = super().chain(data, now)
        if any(result["status"] == 400 for result in answer["results"]):
            self.__dict__.update(before)
        return answer


class UntargetedHaveTasks(Model):
    """Every promise is given a task that nobody can run."""

    def add_promise(self, create: Json, now: int) -> Promise:
        promise = super().add_promise(create, now)
        if TARGET not in promise.tags:
            self.tasks[promise.id] = Task(id=promise.id, state=FULFILLED)
        return promise


MUTANTS: tuple[type[Model], ...] = tuple(Model.__subclasses__())
"""All of them, in the order above."""
