"""A Kubernetes API server over real HTTP, as far as the operator needs one, that fails on demand.

It keeps versions: of objects, of listings, and of writes that name the one they saw. That is what
the ready-made emulator lacks (kmock 0.8 calls the version of each listing "..." and ignores the one
in a patch), and what the operator relies on. A stand-in for the Deployment controller keeps as many
pods as wanted, and ends those with the lowest deletion cost first. There are no schema, no defaults
and no roles: those are tried on a real cluster.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

NAMESPACE = "ns"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
WORKER_GROUPS = "workergroups"

Json = dict[str, Any]

_GROUPS = {"workergroups": "holdfast.dev/v1alpha1", "deployments": "apps/v1", "pods": "v1"}
_KINDS = {"workergroups": "WorkerGroup", "deployments": "Deployment", "pods": "Pod"}
_PATH = re.compile(
    r"/apis?/(?:(?P<group>[^/]+)/)?v[^/]+/namespaces/(?P<ns>[^/]+)/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?"
)


@dataclass
class Fault:
    """An answer that is given instead of the right one, so many times."""

    method: str
    path: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1


@dataclass
class Request:
    """What was asked."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]


class FakeApi:
    """Objects of one namespace by plural and name."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Json]] = {plural: {} for plural in _GROUPS}
        self.events: list[Json] = []
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.installed = True
        self.unknown_status_fields: set[str] = set()
        """What the schema of the WorkerGroup is too old to know, and the server drops."""
        self._version = 100
        self._oldest = 0
        self._history: list[tuple[int, str, str, Json]] = []
        self._changed = asyncio.Condition()
        self._watches: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._pods_made = 0

    # The server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def up(self) -> None:
        """Listen; at the same port as before."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        assert site._server is not None
        self._port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def down(self) -> None:
        """Stop listening, and break every connection."""
        assert self._runner is not None
        self.break_watches()
        await self._runner.cleanup()

    def break_watches(self) -> None:
        """Cut every watch off in the middle of its answer."""
        for watch in self._watches:
            watch.cancel()

    def forget_history(self) -> None:
        """Let every older version be gone, as a compaction does."""
        self._oldest = self._version

    @property
    def watches(self) -> int:
        """How many watches stand."""
        return len(self._watches)

    def fail(self, method: str, path: str, status: int, *, times: int = 1, **headers: str) -> None:
        """Answer the next requests whose path contains a text with an error."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(method, path, status, named, times))

    def asked(self, method: str, path: str) -> int:
        """Count requests whose path contains a text."""
        return sum(1 for r in self.requests if r.method == method and path in r.path)

    async def wait_for(self, condition: Callable[[], bool], *, seconds: float = 15.0) -> None:
        """Wait until something is true that writes and requests can make true."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    # What tests put in

    async def put(self, plural: str, name: str, **content: Any) -> Json:
        """Create an object, or replace its spec."""
        known = self.objects[plural].get(name)
        if known is None:
            self._version += 1
            made: Json = {
                "apiVersion": _GROUPS[plural],
                "kind": _KINDS[plural],
                "metadata": {
                    "name": name,
                    "namespace": NAMESPACE,
                    "uid": f"uid-{self._version}",
                    "generation": 1,
                    "creationTimestamp": f"2026-01-01T00:{self._version // 60 % 60:02}:"
                    f"{self._version % 60:02}Z",
                },
                **content,
            }
            return await self._store(plural, made, "ADDED")
        generation = known["metadata"]["generation"] + 1
        changed = {**known, **content}
        changed["metadata"] = {**known["metadata"], "generation": generation}
        return await self._store(plural, changed, "MODIFIED")

    async def deployment(self, name: str = "w", *, replicas: int = 0) -> None:
        """Create a Deployment with its pods."""
        selector = {"matchLabels": {"app": name}}
        await self.put("deployments", name, spec={"replicas": replicas, "selector": selector})
        await self._run_pods(name)

    async def worker_group(self, name: str = "w", *, target: str = "w", **fields: Any) -> None:
        """Create or change a WorkerGroup; `fields` are those of autoscaling, or of the spec."""
        rules = {"min": 0, "max": 5, "targetPerReplica": 2, "stabilizationSeconds": 0}
        spec: Json = {
            "groups": fields.pop("groups", ["g"]),
            "replicas": fields.pop("replicas", 1),
            "scaleTargetRef": {"name": target},
            "autoscaling": {**rules, "idleSeconds": 0, **fields},
        }
        await self.put(WORKER_GROUPS, name, spec=spec)

    async def delete(self, plural: str, name: str) -> None:
        """Delete an object at once."""
        await self._store(plural, self.objects[plural][name], "DELETED")

    # What tests look at

    def replicas(self, name: str = "w") -> int:
        """How many replicas a Deployment shall have."""
        return int(self.objects["deployments"][name]["spec"]["replicas"])

    def pods(self, name: str = "w") -> list[str]:
        """The pods of a Deployment."""
        return [p for p in self.objects["pods"] if p.startswith(f"{name}-")]

    def condition(self, kind: str, name: str = "w") -> Json:
        """A condition of a WorkerGroup; empty if there is none."""
        status = self.objects[WORKER_GROUPS][name].get("status", {})
        return next((c for c in status.get("conditions", ()) if c["type"] == kind), {})

    def reason(self, kind: str = "Ready", name: str = "w") -> str | None:
        """The reason of a condition."""
        return self.condition(kind, name).get("reason")

    # Storing

    async def _store(self, plural: str, changed: Json, kind: str) -> Json:
        self._version += 1
        stored: Json = json.loads(json.dumps(changed))
        stored["metadata"]["resourceVersion"] = str(self._version)
        name = stored["metadata"]["name"]
        if kind == "DELETED":
            del self.objects[plural][name]
        else:
            self.objects[plural][name] = stored
        self._history.append((self._version, plural, kind, stored))
        await self._notify()
        return stored

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _run_pods(self, name: str) -> None:
        """Do what the controllers of Deployments and ReplicaSets do."""
        deployment = self.objects["deployments"][name]
        wanted = deployment["spec"]["replicas"]

        def cost(pod: str) -> int:
            marks = self.objects["pods"][pod]["metadata"].get("annotations") or {}
            return int(marks.get(DELETION_COST, 0))

        for pod in sorted(self.pods(name), key=cost)[: max(0, len(self.pods(name)) - wanted)]:
            await self.delete("pods", pod)
        while len(self.pods(name)) < wanted:
            self._pods_made += 1
            await self.put("pods", f"{name}-{self._pods_made}")
        status = {"replicas": wanted, "readyReplicas": wanted}
        await self._store("deployments", {**deployment, "status": status}, "MODIFIED")

    # Answering

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        body: Json = json.loads(content) if content else {}
        path = request.path_qs
        self.requests.append(Request(request.method, path, body, dict(request.headers)))
        await self._notify()
        for fault in self.faults:
            if fault.method == request.method and fault.path in path and fault.times > 0:
                fault.times -= 1
                return _status(fault.status, "on purpose", **fault.headers)
        match = _PATH.fullmatch(request.path)
        if match is None:
            return self._discover(request.path)
        if match["plural"] == "events":
            self.events.append(body)
            await self._notify()
            return web.json_response(body, status=201)
        if match["plural"] == WORKER_GROUPS and not self.installed:
            return _status(404, "the server could not find the requested resource")
        return await self._serve_object(request, match["plural"], match["name"], match["sub"], body)

    async def _serve_object(
        self, request: web.Request, plural: str, name: str | None, sub: str | None, body: Json
    ) -> web.StreamResponse:
        if name is None:
            if request.query.get("watch") == "true":
                return await self._watch(request, plural)
            return self._list(plural)
        known = self.objects[plural].get(name)
        if known is None:
            return _status(404, f'{plural} "{name}" not found')
        if request.method == "GET":
            return web.json_response(_scale_of(known) if sub == "scale" else known)
        return await self._patch(plural, known, sub, body)

    def _list(self, plural: str) -> web.Response:
        items = list(self.objects[plural].values())
        return web.json_response(
            {"metadata": {"resourceVersion": str(self._version)}, "items": items}
        )

    async def _patch(
        self, plural: str, known: Json, sub: str | None, body: Json
    ) -> web.StreamResponse:
        version = body.get("metadata", {}).pop("resourceVersion", None)
        if version not in {None, known["metadata"]["resourceVersion"]}:
            return _status(409, "the object has been modified")
        allowed = {"status": {"status"}, "scale": {"spec"}, None: {"metadata", "spec"}}[sub]
        change = {key: value for key, value in body.items() if key in allowed}
        for dropped in self.unknown_status_fields:
            change.get("status", {}).pop(dropped, None)
        changed = merge(known, change)
        # A patch that changes nothing makes no new version.
        stored = known if changed == known else await self._store(plural, changed, "MODIFIED")
        if sub == "scale":
            await self._run_pods(stored["metadata"]["name"])
            return web.json_response(_scale_of(stored))
        return web.json_response(stored)

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        await self._notify()
        try:
            async for event in self._events(plural, int(request.query["resourceVersion"])):
                await response.write(json.dumps(event).encode() + b"\n")
        except ConnectionResetError:
            pass  # whoever watched has gone
        finally:
            self._watches.discard(task)
        return response

    async def _events(self, plural: str, since: int) -> AsyncIterator[Json]:
        while True:
            if since < self._oldest:
                gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
                yield {"type": "ERROR", "object": gone}
                return
            for version, kind, change, stored in list(self._history):
                if version > since and kind == plural:
                    since = version
                    yield {"type": change, "object": stored}
            async with self._changed:
                await self._changed.wait()

    def _discover(self, path: str) -> web.Response:
        parts = path.strip("/").split("/")
        if parts == ["api"]:
            return web.json_response({"versions": ["v1"]})
        if parts == ["apis"]:
            groups = [_group_entry("apps", "v1")]
            if self.installed:
                groups.append(_group_entry("holdfast.dev", "v1alpha1"))
            return web.json_response({"groups": groups})
        served = [p for p, group in _GROUPS.items() if group == "/".join(parts[1:])]
        verbs = ["get", "list", "watch", "patch"]
        resources = [
            {
                "name": plural,
                "singularName": plural[:-1],
                "kind": _KINDS[plural],
                "namespaced": True,
                "verbs": verbs,
            }
            for plural in served
        ]
        if parts == ["api", "v1"]:
            resources += [
                {"name": n, "singularName": n[:-1], "kind": k, "namespaced": d, "verbs": verbs}
                for n, k, d in (("namespaces", "Namespace", False), ("events", "Event", True))
            ]
        if not resources:
            return _status(404, f"{path} not found")
        return web.json_response({"resources": resources})


@asynccontextmanager
async def fake_api() -> AsyncIterator[FakeApi]:
    """Run a cluster without anything in it."""
    api = FakeApi()
    await api.up()
    try:
        yield api
    finally:
        await api.down()


def merge(known: Json, change: Json) -> Json:
    """Apply a JSON merge patch."""
    merged = dict(known)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            below = known.get(key)
            merged[key] = merge(below if isinstance(below, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def _scale_of(deployment: Json) -> Json:
    replicas = deployment["spec"]["replicas"]
    metadata = {k: deployment["metadata"][k] for k in ("name", "namespace", "resourceVersion")}
    return {
        "kind": "Scale",
        "metadata": metadata,
        "spec": {"replicas": replicas} if replicas else {},
    }


def _group_entry(name: str, version: str) -> Json:
    entry = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "preferredVersion": entry, "versions": [entry]}


def _status(status: int, message: str, **headers: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": status, "message": message}
    return web.json_response(body, status=status, headers=headers)
