"""What happens by itself as time passes. A tick does all that is due at its instant."""

from tests.model.records import ACQUIRED, EXTERNAL, PENDING, SCOPE, Promise, Task
from tests.model.schedules import Schedules


class Steps(Schedules):
    """Deadlines, dispatch, leases, schedules: in this order, until nothing is due."""

    def tick(self, now: int) -> None:
        while self.sweep(now):
            pass

    def sweep(self, now: int) -> bool:
        """Do one pass; say whether anything was due."""
        closing = [p for p in self.promises.values() if self.is_armed(p) and self.is_past(p, now)]
        self.settle_by_deadline(closing, now)

        offered = [task for task in self.tasks.values() if self.is_dispatch_due(task, now)]
        for task in offered:
            self.dispatch(task, now)

        lapsed = [task for task in self.tasks.values() if self.is_lease_over(task, now)]
        for task in lapsed:
            self.expire(task, now)

        fired = [schedule for schedule in self.schedules.values() if self.is_firing(schedule, now)]
        for schedule in fired:
            self.fire(schedule)
        return bool(closing or offered or lapsed or fired)

    def is_armed(self, promise: Promise) -> bool:
        """Say whether the deadline comes by itself: where something may wait for it."""
        return promise.state == PENDING and (
            promise.is_targeted
            or promise.is_timer
            or promise.tags.get(EXTERNAL) == "true"
            or promise.tags.get(SCOPE) == "global"
            or bool(promise.callbacks or promise.listeners)
        )

    def is_dispatch_due(self, task: Task, now: int) -> bool:
        if task.state != PENDING or not self.is_live(self.promises[task.id], now):
            return False
        return task.retry_at is not None and task.retry_at <= now

    def is_lease_over(self, task: Task, now: int) -> bool:
        if task.state != ACQUIRED or not self.is_live(self.promises[task.id], now):
            return False
        return task.expires_at is not None and task.expires_at <= now

    def expire(self, task: Task, now: int) -> None:
        """Take the lease away. The version stays: it goes up when the next one acquires."""
        self.make_pending(task, now)
