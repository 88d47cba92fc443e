"""A client of the protocol, written from its description and nothing else: envelopes and events.

It needs only Python. Workflows are generators that are run again from their beginning after every
wait; each step is a promise of the run, by number. Started as the other programs here:

    python plain_client.py MODE GROUP PID LOG [FLOW ID ARGUMENTS]

with the modes of `typescript/main.mjs`. The bridge's address is RESONATE_URL.
"""

import base64
import http.client
import itertools
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

VERSION = "2026-04-01"
TTL_MS = int(os.environ.get("TTL_MS", "1500"))
DAY_MS = 86_400_000
RETRY_S = 0.2
DONE = (200, 300)

Json = dict[str, Any]


class Refused(Exception):
    """A definite answer that is no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status


class Suspended(BaseException):
    """The run waits for something; whoever sees it must let it pass."""


class Bridge:
    """`POST /` and `GET /poll/{group}/{id}`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.place = (parts.hostname, parts.port or 80)
        self._numbers = itertools.count(1)

    def __call__(self, kind: str, data: Json) -> Any:
        """Send an operation until there is a definite answer; answer its data."""
        while True:
            try:
                return self._once(kind, data)
            except (OSError, http.client.HTTPException):
                time.sleep(RETRY_S)

    def _once(self, kind: str, data: Json) -> Any:
        corr_id = f"pc-{next(self._numbers)}"
        request = {"kind": kind, "head": {"corrId": corr_id, "version": VERSION}, "data": data}
        connection = http.client.HTTPConnection(*self.place, timeout=10)
        try:
            connection.request("POST", "/", json.dumps(request))
            response = connection.getresponse()
            body = json.loads(response.read())
        finally:
            connection.close()
        head = body["head"]
        assert response.headers["content-type"] == "application/json"
        assert (body["kind"], head["corrId"], head["status"]) == (kind, corr_id, response.status)
        if response.status >= 500:
            raise ConnectionError(body["data"])
        if response.status not in DONE:
            assert isinstance(body["data"], str)
            raise Refused(response.status, body["data"])
        return body["data"]

    def messages(self, group: str, pid: str, connected: threading.Event) -> Iterator[Json]:
        """Yield what is pushed, for ever; connect again after every break."""
        while True:
            connection = http.client.HTTPConnection(*self.place, timeout=60)
            try:
                path = f"/poll/{quote(group, safe='')}/{quote(pid, safe='')}"
                connection.request("GET", path, headers={"accept": "text/event-stream"})
                response = connection.getresponse()
                assert response.headers["content-type"] == "text/event-stream"
                connected.set()
                yield from _events(response)
            except (OSError, http.client.HTTPException):
                pass  # a bridge that goes away is looked for again, as the protocol has it
            finally:
                connection.close()
            time.sleep(RETRY_S)


def _events(response: http.client.HTTPResponse) -> Iterator[Json]:
    while line := response.readline():
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


def encoded(value: object) -> Json:
    """Write a payload as all clients do."""
    return {"data": base64.b64encode(json.dumps(value).encode()).decode()}


def decoded(value: Json) -> Any:
    """Read a payload."""
    return json.loads(base64.b64decode(value["data"])) if value.get("data") else None


@dataclass
class Step:
    """What a workflow asks for."""

    kind: str
    name: str = ""
    arguments: tuple[Any, ...] = ()
    group: str = ""  # the worker's own


@dataclass
class Awaited:
    """A promise that was created, to be yielded by whoever wants its result."""

    id: str


Flow = Callable[..., Generator[Any, Any, Any]]


class Run:
    """One pass over a workflow, under a lease."""

    def __init__(self, worker: "Worker", task: Json, promise: Json) -> None:
        self.worker = worker
        self.id = task["id"]
        self.version = task["version"]
        self.timeout_at = promise["timeoutAt"]
        self.tags = promise["tags"]
        self._numbers = itertools.count()
        self._waits: list[str] = []

    def go(self, call: Json) -> None:
        """Run to the end, or to where something must be waited for."""
        try:
            flow = self.worker.flows[call["func"]]
            value: object = self._drive(flow(self, *call["args"]))
            state = "resolved"
        except Suspended:
            return
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the workflow raises is its outcome
            state, value = "rejected", {"message": str(error)}
        settle = {"id": self.id, "state": state, "value": encoded(value)}
        action = {"kind": "promise.settle", "head": {}, "data": settle}
        fields = {"id": self.id, "version": self.version, "action": action}
        self.worker.bridge("task.fulfill", fields)

    def _drive(self, generator: Generator[Any, Any, Any]) -> Any:
        sent: Any = None
        while True:
            try:
                asked = generator.send(sent)
            except StopIteration as stop:
                return stop.value
            sent = self._await(asked.id) if isinstance(asked, Awaited) else self._step(asked)

    def _step(self, step: Step) -> Any:
        child = f"{self.id}.{next(self._numbers)}"
        now = int(time.time() * 1000)
        tags = {"resonate:scope": "global", "resonate:branch": child}
        timeout_at, param = self.timeout_at, {}
        match step.kind:
            case "local":
                tags = {"resonate:scope": "local", "resonate:branch": self.id}
            case "remote" | "detached":
                tags["resonate:target"] = f"poll://any@{step.group or self.worker.group}"
                param = encoded({"func": step.name, "args": list(step.arguments)})
            case "sleep":
                tags["resonate:timer"] = "true"
                timeout_at = min(timeout_at, now + step.arguments[0])
        tags |= {"resonate:parent": self.id, "resonate:origin": self.tags["resonate:origin"]}
        create = {"id": child, "timeoutAt": timeout_at, "param": param, "tags": tags}
        promise = self._fence("promise.create", create)
        if step.kind == "local":
            if promise["state"] == "pending":
                value = encoded(self.worker.steps[step.name](self, *step.arguments))
                settle = {"id": child, "state": "resolved", "value": value}
                promise = self._fence("promise.settle", settle)
            return decoded(promise["value"])
        return self._await(child) if step.kind == "sleep" else Awaited(child)

    def _fence(self, kind: str, data: Json) -> Json:
        fields = {
            "id": self.id,
            "version": self.version,
            "action": {"kind": kind, "head": {}, "data": data},
        }
        action = self.worker.bridge("task.fence", fields)["action"]
        if action["head"]["status"] != 200:
            raise Refused(action["head"]["status"], action["data"])
        promise: Json = action["data"]["promise"]
        return promise

    def _await(self, promise_id: str) -> Any:
        promise = self.worker.bridge("promise.get", {"id": promise_id})["promise"]
        if promise["state"] == "pending":
            callback = {"awaited": promise_id, "awaiter": self.id}
            actions = [{"kind": "promise.register_callback", "head": {}, "data": callback}]
            fields = {"id": self.id, "version": self.version, "actions": actions}
            answer = self.worker.bridge("task.suspend", fields)
            if "preload" not in answer:
                raise Suspended
            promise = self.worker.bridge("promise.get", {"id": promise_id})["promise"]
        if promise["state"] != "resolved":
            raise RuntimeError(f"{promise_id} is {promise['state']}: {decoded(promise['value'])}")
        return decoded(promise["value"])


class Worker:
    """A process that runs workflows, and waits for results."""

    def __init__(self, group: str, pid: str, log: str) -> None:
        self.group, self.pid, self.log = group, pid, log
        self.bridge = Bridge(os.environ["RESONATE_URL"])
        self.flows: dict[str, Flow] = FLOWS
        self.steps: dict[str, Callable[..., Any]] = {"step": _step, "entry": _entry}
        self.held: dict[str, int] = {}
        self.settled: queue.Queue[Json] = queue.Queue()
        self.work: queue.Queue[Json] = queue.Queue()
        self.connected = threading.Event()
        for target in (self._receive, self._work, self._beat):
            threading.Thread(target=target, daemon=True).start()

    def note(self, *words: object) -> None:
        """Append a line to the log."""
        with open(self.log, "a", encoding="utf-8") as log:  # noqa: PTH123 - one write, one line
            log.write(" ".join(map(str, words)) + "\n")

    def _receive(self) -> None:
        for message in self.bridge.messages(self.group, self.pid, self.connected):
            if message["kind"] == "execute":
                self.work.put(message["data"]["task"])
            else:
                self.settled.put(message["data"]["promise"])

    def _work(self) -> None:
        while True:
            offered = self.work.get()
            lease = {"id": offered["id"], "version": offered["version"]}
            try:
                taken = self.bridge("task.acquire", {**lease, "pid": self.pid, "ttl": TTL_MS})
                self.run(taken["task"], taken["promise"])
            except Refused:
                continue  # somebody else has it, or it is over

    def run(self, task: Json, promise: Json) -> None:
        """Run a task that is held."""
        self.held[task["id"]] = task["version"]
        try:
            Run(self, task, promise).go(decoded(promise["param"]))
        finally:
            self.held.pop(task["id"], None)

    def _beat(self) -> None:
        while True:
            time.sleep(TTL_MS / 3_000)
            tasks = [{"id": key, "version": version} for key, version in [*self.held.items()]]
            if tasks:
                self.bridge("task.heartbeat", {"pid": self.pid, "tasks": tasks})

    # Calls

    def create(self, run_id: str, flow: str, arguments: list[Any], target: str) -> Json:
        """Write the fields of a run."""
        tags = dict.fromkeys(("branch", "parent", "origin"), run_id)
        return {
            "id": run_id,
            "timeoutAt": int(time.time() * 1000) + DAY_MS,
            "param": encoded({"func": flow, "args": arguments}),
            "tags": {"resonate:scope": "global", "resonate:target": target}
            | {f"resonate:{key}": value for key, value in tags.items()},
        }

    def begin(self, run_id: str, flow: str, arguments: list[Any]) -> None:
        """Run a workflow here, unless somebody else does or has."""
        create = self.create(run_id, flow, arguments, f"poll://any@{self.group}/{self.pid}")
        action = {"kind": "promise.create", "head": {}, "data": create}
        try:
            made = self.bridge("task.create", {"pid": self.pid, "ttl": TTL_MS, "action": action})
            if made["task"]["state"] == "acquired":
                self.run(made["task"], made["promise"])
        except Refused as refused:
            if refused.status != 409:
                raise

    def result(self, run_id: str) -> Any:
        """Wait for a promise, by a listener that is registered again now and then."""
        address = f"poll://uni@{self.group}/{self.pid}"
        while True:
            asked = {"awaited": run_id, "address": address}
            promise = self.bridge("promise.register_listener", asked)["promise"]
            while promise["state"] == "pending":
                try:
                    told = self.settled.get(timeout=5)
                except queue.Empty:
                    break
                promise = told if told["id"] == run_id else promise
            if promise["state"] == "resolved":
                return decoded(promise["value"])
            if promise["state"] != "pending":
                return {"error": (decoded(promise["value"]) or {}).get("message")}


def _step(run: Run, i: int) -> int:
    run.worker.note("step", run.id, i)
    return i


def _entry(run: Run, i: int) -> int:
    run.worker.note("entry", run.id, i, int(time.time() * 1000), run.worker.pid)
    time.sleep(0.1)  # so that it can be killed in its middle
    return i


def _sum(run: Run, n: int) -> Generator[Any, Any, int]:
    total = 0
    for i in range(n):
        total += yield Step("local", "step", (i,))
    return total


def _calls(run: Run, n: int) -> Generator[Any, Any, list[int]]:
    pending = []
    for i in range(n):
        pending.append((yield Step("remote", "double", (i,))))  # noqa: PERF401 - it yields
    results = []
    for each in pending:
        results.append((yield each))  # noqa: PERF401 - it yields
    return results


def _fibonacci(run: Run, n: int) -> Generator[Any, Any, int]:
    if n < 2:
        return n
    left = yield Step("remote", "fibonacci", (n - 1,))
    right = yield Step("remote", "fibonacci", (n - 2,))
    first: int = yield left
    second: int = yield right
    return first + second


def _double(run: Run, i: int) -> Generator[Any, Any, int]:
    yield from ()
    return 2 * i


def _sleep(run: Run, ms: int) -> Generator[Any, Any, str]:
    yield Step("sleep", arguments=(ms,))
    return "slept"


def _approval(run: Run) -> Generator[Any, Any, str]:
    approved = yield Step("promise")
    run.worker.note("asked", approved.id)
    return f"approved: {(yield approved)}"


def _failing(run: Run) -> Generator[Any, Any, None]:
    yield from ()
    raise RuntimeError("as asked")


def _interrupted(run: Run, n: int) -> Generator[Any, Any, list[int]]:
    done = []
    for i in range(n):
        done.append((yield Step("local", "step", (i,))))
        yield Step("sleep", arguments=(100,))
    return done


def _order(run: Run, there: str, n: int) -> Generator[Any, Any, list[int]]:
    done = []
    for i in range(n):
        yield Step("local", "entry", (i,))
        done.append((yield (yield Step("remote", "double", (i,), there))))
        yield Step("sleep", arguments=(200,))
    return done


def _parent(run: Run) -> Generator[Any, Any, str]:
    yield Step("detached", "double", (21,))
    return "gone on"


FLOWS: dict[str, Flow] = {
    "sum": _sum,
    "calls": _calls,
    "fibonacci": _fibonacci,
    "double": _double,
    "sleep": _sleep,
    "approval": _approval,
    "failing": _failing,
    "interrupted": _interrupted,
    "order": _order,
    "parent": _parent,
}


def _many(worker: Worker, calls: list[Any]) -> list[Any]:
    for how, there, flow, run_id, arguments in calls:
        if how == "run":
            worker.begin(run_id, flow, arguments)
        else:
            target = f"poll://any@{there}"
            worker.bridge("promise.create", worker.create(run_id, flow, arguments, target))
    return [worker.result(run_id) for _, _, _, run_id, _ in calls]


def main(mode: str, group: str, pid: str, log: str, flow: str, run_id: str, text: str) -> None:
    """Do what the mode says."""
    worker = Worker(group, pid, log)
    worker.connected.wait()
    arguments = json.loads(text)
    target = f"poll://any@{group}"
    result: object = None
    match mode:
        case "work":
            worker.note("working", pid)
            threading.Event().wait()
        case "run":
            worker.begin(run_id, flow, arguments)
            result = worker.result(run_id)
        case "rpc":
            worker.bridge("promise.create", worker.create(run_id, flow, arguments, target))
            result = worker.result(run_id)
        case "get":
            result = worker.result(run_id)
        case "many":
            result = _many(worker, arguments)
        case "plan":
            schedule = {
                "id": run_id,
                "cron": "* * * * * *",
                "promiseId": "{{.id}}-{{.timestamp}}",
                "promiseTimeout": DAY_MS,
                "promiseParam": encoded({"func": flow, "args": arguments}),
                "promiseTags": {"resonate:target": target},
            }
            worker.bridge("schedule.create", schedule)
            result = "planned"
        case "unplan":
            worker.bridge("schedule.delete", {"id": run_id})
            result = "deleted"
        case _:
            raise ValueError(f"no mode {mode}")
    print(f"result {json.dumps(result)}")  # noqa: T201 - whoever started this reads it


if __name__ == "__main__":
    main(*(sys.argv[1:] + ["-", "-", "[]"][len(sys.argv) - 5 :]))
