"""The operations on schedules, and what one does when it is due."""

from tests.model.cron import next_after
from tests.model.fences import Fences
from tests.model.promises import is_after, page
from tests.model.reading import (
    check_target,
    malformed,
    read_flag,
    read_name,
    read_number,
    read_page,
    read_tags,
    read_time_zone,
    read_value,
)
from tests.model.records import (
    BRANCH,
    DELAY,
    LARGEST,
    ORIGIN,
    PARENT,
    PREFIX,
    SCHEDULE,
    TARGET,
    Json,
    Refused,
    Schedule,
)
from tests.model.state import in_order


class Schedules(Fences):
    """`schedule.*`."""

    def get_schedule(self, schedule_id: str) -> Schedule:
        schedule = self.schedules.get(schedule_id)
        if schedule is None:
            raise Refused(404, "schedule not found")
        return schedule

    def schedule_get(self, data: Json, now: int) -> Json:
        return {"schedule": self.get_schedule(read_name(data, "id")).record()}

    def schedule_create(self, data: Json, now: int) -> Json:
        cron, time_zone = read_name(data, "cron"), read_time_zone(data, self.profile)
        schedule = Schedule(
            id=read_name(data, "id"),
            cron=cron,
            promise_id=read_name(data, "promiseId"),
            promise_timeout=read_number(data, "promiseTimeout"),
            promise_param=read_value(data, "promiseParam"),
            promise_tags=read_tags(data, "promiseTags"),
            created_at=now,
            next_run_at=self.next_run(cron, time_zone, now),
            paused=read_flag(data, "paused", self.profile),
            time_zone=time_zone,
        )
        check_target(schedule.promise_tags)
        if TARGET not in schedule.promise_tags or DELAY in schedule.promise_tags:
            malformed("what a schedule creates has a target, and no delay")
        return {"schedule": self.schedules.setdefault(schedule.id, schedule).record()}

    def schedule_delete(self, data: Json, now: int) -> Json:
        """Stop future firings; what was created stays."""
        schedule = self.get_schedule(read_name(data, "id"))
        del self.schedules[schedule.id]
        return {}

    def schedule_pause(self, data: Json, now: int) -> Json:
        """Stop a schedule, or let it go on: with what comes from now on, not with what came."""
        schedule = self.get_schedule(read_name(data, "id"))
        paused = read_flag(data, "paused", self.profile)
        if schedule.paused and not paused:
            self.resume(schedule, now)
        schedule.paused = paused
        return {"schedule": schedule.record()}

    def resume(self, schedule: Schedule, now: int) -> None:
        known = schedule.last_run_at or schedule.created_at
        schedule.next_run_at = self.next_run(schedule.cron, schedule.time_zone, max(known, now))

    def schedule_search(self, data: Json, now: int) -> Json:
        self.check_searchable()
        _, cursor, limit = read_page(data, limit=10)
        tags = read_tags(data, "tags")
        found = [
            schedule.record()
            for schedule in in_order(self.schedules.values())
            if tags.items() <= schedule.promise_tags.items() and is_after(schedule, cursor)
        ]
        return page("schedules", found, limit)

    def fire(self, schedule: Schedule) -> None:
        """Create the promise of the next occurrence, as of that instant, and go on to the next."""
        instant = schedule.next_run_at
        promise_id = schedule.promise_id.replace("{{.timestamp}}", str(instant))
        promise_id = promise_id.replace("{{.id}}", schedule.id)
        lineage = dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), promise_id)
        if promise_id not in self.promises:
            create = {
                "id": promise_id,
                "timeoutAt": min(instant + schedule.promise_timeout, LARGEST),
                "param": schedule.promise_param,
                "tags": {**schedule.promise_tags, SCHEDULE: schedule.id, **lineage},
            }
            self.add_promise(create, instant)
        schedule.last_run_at = instant
        schedule.next_run_at = self.next_run(schedule.cron, schedule.time_zone, instant)

    def is_firing(self, schedule: Schedule, now: int) -> bool:
        return not schedule.paused and schedule.next_run_at <= now

    def next_run(self, cron: str, time_zone: str, instant: int) -> int:
        return next_after(cron, time_zone, instant)
