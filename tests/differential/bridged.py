"""The gateway's bridge in front of a store: the protocol's own JSON, and its own snapshot."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.differential.pairing import RETRY_MS
from tests.differential.plays import Json, Picture, Step
from tests.integration.bridge.system import Client, running
from tests.model.model import Answer
from tests.model.records import FULFILLED, PENDING, RESOLVED, TIMED_OUT, TIMER


class Bridged:
    """Envelopes over HTTP, to processes of their own."""

    name = "bridge"
    drops_unblocks = True
    keeps_own_branches = True

    def __init__(self, client: Client) -> None:
        self._client = client

    async def reset(self) -> None:
        assert self._client("debug.reset", {}).status == 200

    async def handle(self, step: Step) -> Answer:
        answer = self._client(step.kind, step.data, at=step.now)
        return answer.status, answer.data

    async def picture(self, now: int) -> Picture:
        return picture_of_snap(self._client("debug.snap", {}).data, now)


def picture_of_snap(snap: Json, now: int) -> Picture:
    """Show a snapshot as it reads now. It does not tell which promises are behind the resumes."""
    promises = {record["id"]: _projected(record, now) for record in snap["promises"]}
    live = {each for each, record in promises.items() if record["state"] == PENDING}
    rows = {record["id"]: record for record in snap["tasks"]}
    timeouts = [each for each in snap["taskTimeouts"] if each["id"] in live]
    messages = [(each["address"], each["message"]) for each in snap["messages"]]
    executes = [(to, said["data"]["task"]) for to, said in messages if said["kind"] == "execute"]
    return {
        "promises": promises,
        "tasks": {each: _viewed(record, live) for each, record in rows.items()},
        "rows": {each: record["state"] for each, record in rows.items()},
        "callbacks": {(each["awaited"], each["awaiter"]) for each in snap["callbacks"]},
        "listeners": {(each["id"], each["address"]) for each in snap["listeners"]},
        "leases": {each["id"]: each["timeout"] for each in timeouts if each["type"] == 1},
        "pending": {each["id"] for each in timeouts if each["type"] == 0},
        "executes": {
            (task["id"], task["version"], to) for to, task in executes if task["id"] in live
        },
        "due": set(),
        "unblocks": {
            (said["data"]["promise"]["id"], to)
            for to, said in messages
            if said["kind"] == "unblock"
        },
        "schedules": {record["id"]: record for record in snap["schedules"]},
        "armed": {each["id"] for each in snap["promiseTimeouts"] if each["id"] in live},
    }


def _projected(record: Json, now: int) -> Json:
    if record["state"] != PENDING or record["timeoutAt"] > now:
        return record
    verdict = RESOLVED if record["tags"].get(TIMER) == "true" else TIMED_OUT
    return {**record, "state": verdict, "settledAt": record["timeoutAt"]}


def _viewed(record: Json, live: set[str]) -> Json:
    if record["id"] in live:
        return record
    return {**{name: record[name] for name in ("id", "version")}, "state": FULFILLED, "resumes": 0}


@contextmanager
def bridged(folder: Path) -> Iterator[Bridged]:
    """Run a store with debug on, and a gateway."""
    knobs = {"DEBUG": "1", "RETRY_INTERVAL_MS": str(RETRY_MS), "PACING_MS": "0"}
    with running(folder, store=knobs) as system, closing(Client(system.url)) as client:
        yield Bridged(client)
