"""The operations on promises. Each answers 200 with what it returns, or raises what refuses it."""

from tests.model.reading import (
    check_address,
    check_create,
    check_settle,
    read_callback,
    read_create,
    read_name,
    read_page,
    read_settle,
    read_tags,
)
from tests.model.records import (
    DELAY,
    FULFILLED,
    PENDING,
    SETTLED,
    Json,
    Promise,
    Refused,
    Schedule,
    Task,
)
from tests.model.state import State, in_order


class Promises(State):
    """`promise.*`."""

    def promise_get(self, data: Json, now: int) -> Json:
        promise = self.get_promise(read_name(data, "id"))
        return {"promise": self.read_promise(promise, now)}

    def promise_create(self, data: Json, now: int) -> Json:
        create = read_create(data)
        check_create(create, self.profile)
        return {"promise": self.read_promise(self.find_or_create(create, now), now)}

    def find_or_create(self, create: Json, now: int) -> Promise:
        """Return the promise of that id, whatever it was created with, or a new one."""
        return self.promises.get(create["id"]) or self.add_promise(create, now)

    def add_promise(self, create: Json, now: int) -> Promise:
        """Create a promise and a targeted one's task. A passed deadline settles at birth."""
        born_dead = create["timeoutAt"] <= now
        promise = Promise(
            id=create["id"],
            param=create["param"],
            tags=create["tags"],
            timeout_at=create["timeoutAt"],
            created_at=create["timeoutAt"] if born_dead else now,
        )
        self.promises[promise.id] = promise
        if promise.is_targeted:
            first_dispatch = max(int(promise.tags.get(DELAY, "0")), now)
            self.tasks[promise.id] = Task(id=promise.id, retry_at=first_dispatch)
        if born_dead:
            self.settle_by_deadline([promise], now)
        return promise

    def promise_settle(self, data: Json, now: int) -> Json:
        settle = read_settle(data)
        check_settle(settle)
        return {"promise": self.settle_once(settle, now)}

    def settle_once(self, settle: Json, now: int) -> Json:
        """Settle a live promise; a settled one absorbs whatever comes."""
        promise = self.get_promise(settle["id"])
        if self.is_live(promise, now):
            self.settle(promise, state=settle["state"], value=settle["value"], now=now)
        return self.read_promise(promise, now)

    def promise_register_callback(self, data: Json, now: int) -> Json:
        awaited_id, awaiter_id = read_callback(data, self.profile)
        awaited = self.get_promise(awaited_id)
        awaiter = self.promises.get(awaiter_id)
        if awaiter is None or not awaiter.is_targeted:
            raise Refused(422, "the awaiter has no task")
        if not self.is_awaitable(awaited):
            raise Refused(422, "nobody outside settles the awaited promise")
        if self.is_live(awaited, now) and self.is_live(awaiter, now):
            awaited.callbacks.add(awaiter_id)
        return {"promise": self.read_promise(awaited, now)}

    def promise_register_listener(self, data: Json, now: int) -> Json:
        awaited_id, address = read_name(data, "awaited"), read_name(data, "address")
        check_address(address)
        awaited = self.get_promise(awaited_id)
        if not self.is_awaitable(awaited):
            raise Refused(422, "nobody outside settles the promise")
        if self.is_live(awaited, now):
            awaited.listeners.add(address)
        return {"promise": self.read_promise(awaited, now)}

    def promise_search(self, data: Json, now: int) -> Json:
        self.check_searchable()
        state, cursor, limit = read_page(data, limit=100, states=(PENDING, *SETTLED))
        tags = read_tags(data, "tags")
        found = [
            promise
            for promise in in_order(self.promises.values())
            if state in (None, self.project(promise, now).state)
            and tags.items() <= promise.tags.items()
            and is_after(promise, cursor)
        ]
        records = [self.read_promise(promise, now) for promise in found]
        return page("promises", records, limit)

    def check_searchable(self) -> None:
        if not self.profile.search:
            raise Refused(501, "searches are off")

    def is_running(self, task: Task, version: int, now: int) -> bool:
        """Say whether the caller's version still holds the lease."""
        return self.view(task, now).state == "acquired" and task.version == version

    def is_over(self, task: Task, now: int) -> bool:
        return self.view(task, now).state == FULFILLED


def is_after(record: Promise | Task | Schedule, cursor: str) -> bool:
    """Say whether a record lies beyond the position; the empty position is before everything."""
    return record.id.encode() > cursor.encode()


def page(name: str, records: list[Json], limit: int) -> Json:
    """Return the first records, and where to go on if there are more."""
    if len(records) <= limit:
        return {name: records}
    return {name: records[:limit], "cursor": records[limit - 1]["id"]}
