"""A store and gateways as real processes, and a client that holds every answer against §1.6."""

import asyncio
import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.apps.processes import PORT_0, Process
from tests.integration.bridge.guard import check_response

VERSION = "2026-04-01"
FAR = 9_000_000_000_000
NONE: Mapping[str, str] = MappingProxyType({})

_numbers = itertools.count(1)


@dataclass
class System:
    """What runs, and where it is."""

    directory: Path
    store: Process
    store_url: str
    gateways: list[Process]
    urls: list[str]
    metrics: list[str]

    @property
    def url(self) -> str:
        """Return the address of the first gateway's bridge."""
        return self.urls[0]

    def add_gateway(self, **settings: str) -> str:
        """Start one more gateway; return the address of its bridge."""
        listens = {"LISTEN": PORT_0, "BRIDGE_LISTEN": PORT_0}
        given: dict[str, Any] = {"STORE_URL": self.store_url, **listens, **settings}
        gateway = Process("gateway", self.directory, **given)
        self.gateways.append(gateway)
        asyncio.run(gateway.ready())
        self.urls.append(f"http://{_logged(gateway, 'gateway_started', 'bridge_address')}")
        self.metrics.append(_logged(gateway, "metrics_listening", "address"))
        return self.urls[-1]

    def counted(self, name: str, **labels: str) -> float:
        """Add a metric up over all processes, as a dashboard does."""
        total = 0.0
        for address in self.metrics:
            text = httpx.get(f"http://{address}/metrics", trust_env=False).text
            for family in text_string_to_metric_families(text):
                total += sum(
                    sample.value
                    for sample in family.samples
                    if sample.name == name and labels.items() <= sample.labels.items()
                )
        return total


@contextlib.contextmanager
def running(
    directory: Path,
    *,
    store: Mapping[str, str] = NONE,
    gateway: Mapping[str, str] = NONE,
    gateways: int = 1,
) -> Iterator[System]:
    """Run a store and gateways; kill them on the way out."""
    settings: dict[str, Any] = {"LISTEN": PORT_0, "DATABASE_URL": "memory:", **store}
    process = Process("store", directory, **settings)
    system = System(directory, process, "", [], [], [])
    try:
        asyncio.run(process.ready())
        system.store_url = f"grpc://{_logged(process, 'store_listening', 'address')}"
        system.metrics.append(_logged(process, "metrics_listening", "address"))
        for _ in range(gateways):
            system.add_gateway(**gateway)
        yield system
    finally:
        for each in (*system.gateways, system.store):
            each.kill()


def _logged(process: Process, event: str, key: str) -> str:
    return str(asyncio.run(process.logged(event))[key])


def name(kind: str = "t") -> str:
    """Make an id that no other test uses."""
    return f"{kind}{next(_numbers)}"


def envelope(kind: str, data: Any, *, at: int | None = None, **head: Any) -> dict[str, Any]:
    """Write a request."""
    instant = {} if at is None else {"resonate:debug_time": at}
    return {
        "kind": kind,
        "head": {"corrId": f"c-{next(_numbers)}", "version": VERSION, **instant, **head},
        "data": data,
    }


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    data: Any

    @property
    def task(self) -> tuple[str, int, int]:
        """Return state, version and resumes of the task."""
        task = self.data["task"]
        return task["state"], task["version"], task["resumes"]

    @property
    def promise(self) -> dict[str, Any]:
        """Return the promise."""
        promise: dict[str, Any] = self.data["promise"]
        return promise


class Client:
    """Speaks the protocol to a bridge, one operation at a time."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        self.url = url
        self.token = token
        self.http = httpx.Client(trust_env=False, timeout=30)

    def __call__(
        self,
        kind: str,
        data: Any,
        *,
        at: int | None = None,
        more: Mapping[str, Any] = MappingProxyType({}),
        **head: Any,
    ) -> Answer:
        """Send an operation; the answer must be what every client accepts.

        What stands in the head besides is given by name, or in `more` where it cannot be one.
        """
        head = {**more, **head}
        if self.token is not None:
            head = {"auth": self.token, **head}
        request = envelope(kind, data, at=at, **head)
        answer = self.http.post(self.url, json=request)
        body = answer.json()
        check_response(body)
        assert answer.headers["content-type"] == "application/json"
        assert body["kind"] == kind
        assert body["head"]["corrId"] == request["head"]["corrId"]
        assert body["head"]["status"] == answer.status_code
        return Answer(answer.status_code, body["data"])

    def close(self) -> None:
        """Let go of the connections."""
        self.http.close()

    def post(self, body: bytes) -> httpx.Response:
        """Send a body as it is."""
        return self.http.post(self.url, content=body)


def create(promise_id: str, *, timeout_at: int = FAR, **tags: str) -> dict[str, Any]:
    """Write the fields of a promise; a tag's first underscore stands for the colon."""
    written = {key.replace("_", ":", 1): text for key, text in tags.items()}
    return {"id": promise_id, "timeoutAt": timeout_at, "tags": written}


def task_create(
    task_id: str, *, pid: str = "p1", ttl: int = 60_000, target: str = "poll://any@w1"
) -> dict[str, Any]:
    """Write the fields of a task.create."""
    action = create(task_id, resonate_target=target)
    return {
        "pid": pid,
        "ttl": ttl,
        "action": {"kind": "promise.create", "head": {}, "data": action},
    }


def settle(promise_id: str, state: str = "resolved", data: str = "MQ==") -> dict[str, Any]:
    """Write the fields of a settlement."""
    return {"id": promise_id, "state": state, "value": {"data": data}}


def inner(kind: str, data: Any) -> dict[str, Any]:
    """Write an operation inside another one."""
    return {"kind": kind, "head": {}, "data": data}


def suspend(task_id: str, version: int, *awaited: str) -> dict[str, Any]:
    """Write the fields of a suspend."""
    actions = [
        inner("promise.register_callback", {"awaited": each, "awaiter": task_id})
        for each in awaited
    ]
    return {"id": task_id, "version": version, "actions": actions}
