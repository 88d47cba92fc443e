"""The Kubernetes API, as far as the operator needs it: a handful of requests over HTTP.

Typed errors, one per decision that a caller can take; no retries in here, for the caller observes
anew before it tries again. Watching is not in here either: `handlers.py` does that with kopf.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from holdfast_operator import model

MERGE_PATCH: Final = "application/merge-patch+json"
RETRY_AFTER_S_MAX: Final = 60.0
LIST_LIMIT: Final = 500
"""Objects in one page of a listing."""

WORKER_GROUPS: Final = f"/apis/{model.API_VERSION}/namespaces/{{namespace}}/{model.PLURAL}"
DEPLOYMENTS: Final = "/apis/apps/v1/namespaces/{namespace}/deployments"
PODS: Final = "/api/v1/namespaces/{namespace}/pods"
EVENTS: Final = "/api/v1/namespaces/{namespace}/events"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where the API server is and how to be let in; `headers` hold the credentials."""

    server: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None
    namespace: str | None
    proxy: str | None = None

    def __repr__(self) -> str:
        return f"Cluster({self.server})"


class KubeError(Exception):
    """The API server did not do what was asked; the message says what, and why not."""


class Unavailable(KubeError):
    """No answer, or one that says "later": whether it happened is unknown."""


class NoCluster(Unavailable):
    """There is no cluster to sign in to; the message says where it was looked for."""


class TooManyRequests(Unavailable):
    """The API server asks for less; nothing happened."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotFound(KubeError):
    """There is no such object, or no such resource."""


class Conflict(KubeError):
    """The object changed since it was read; nothing happened."""


class Forbidden(KubeError):
    """The role of the operator lacks a permission, which the message names."""


class Refused(KubeError):
    """The API server, or an admission webhook, will not do it; asking again does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All objects of a kind, and the version of the collection at which they were read."""

    items: Sequence[Json]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentScale:
    """The `scale` subresource of a Deployment; `version` guards a write that follows."""

    replicas: int
    version: str


def open_session(cluster: Cluster, *, timeout_s: float | None = None) -> aiohttp.ClientSession:
    """Open connections to a cluster, with its credentials; whoever opens them closes them."""
    return aiohttp.ClientSession(
        headers=dict(cluster.headers),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        connector=aiohttp.TCPConnector(ssl=True if cluster.tls is None else cluster.tls),
        proxy=cluster.proxy,
    )


class Kube:
    """A client of one namespace; an async context manager.

    Credentials are read again when the API server does not accept them any more: the token of a
    pod's service account is replaced every hour.
    """

    def __init__(self, sign_in: Callable[[], Cluster], *, namespace: str, timeout_s: float) -> None:
        """Prepare; `sign_in` blocks while it reads files, and raises `NoCluster`."""
        self._sign_in = sign_in
        self._namespace = namespace
        self._timeout_s = timeout_s
        self._cluster: Cluster | None = None
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # Reading

    async def list_worker_groups(self) -> Listing:
        """Read all WorkerGroups of the namespace."""
        return await self._list(WORKER_GROUPS)

    async def list_deployments(self) -> Listing:
        """Read all Deployments of the namespace."""
        return await self._list(DEPLOYMENTS)

    async def list_pods(self, *, selector: str) -> Listing:
        """Read the pods that a label selector matches."""
        return await self._list(PODS, labelSelector=selector)

    async def get_worker_group(self, name: str) -> Json:
        """Read one WorkerGroup."""
        return await self._send("GET", WORKER_GROUPS, name)

    async def get_scale(self, deployment: str) -> CurrentScale:
        """Read how many replicas a Deployment shall have."""
        scale = await self._send("GET", DEPLOYMENTS, deployment, "scale")
        return CurrentScale(
            # Zero is left out of the JSON of a Scale.
            replicas=int(scale["spec"].get("replicas", 0)),
            version=scale["metadata"]["resourceVersion"],
        )

    # Writing

    async def set_scale(self, deployment: str, replicas: int, *, version: str) -> None:
        """Set the replicas of a Deployment unless it changed since `version`."""
        body = {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
        await self._send("PATCH", DEPLOYMENTS, deployment, "scale", body=body)

    async def set_status(self, name: str, status: Json, *, version: str) -> Json:
        """Replace the fields of a WorkerGroup's status unless it changed since `version`."""
        body = {"metadata": {"resourceVersion": version}, "status": status}
        return await self._send("PATCH", WORKER_GROUPS, name, "status", body=body)

    async def annotate_pod(self, name: str, annotations: Mapping[str, str | None]) -> None:
        """Set annotations of a pod; `None` removes one."""
        await self._send("PATCH", PODS, name, body={"metadata": {"annotations": annotations}})

    async def create_event(self, event: Json) -> None:
        """Record an event."""
        await self._send("POST", EVENTS, body=event)

    # Requests

    async def _list(self, path: str, **parameters: str) -> Listing:
        items: list[Json] = []
        parameters |= {"limit": str(LIST_LIMIT)}
        while True:
            page = await self._send("GET", path, parameters=parameters)
            items += page["items"]
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return Listing(items=items, version=metadata["resourceVersion"])
            parameters["continue"] = metadata["continue"]

    async def _send(
        self,
        method: str,
        path: str,
        *segments: str,
        body: Json | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Json:
        url = "/".join([path.format(namespace=self._namespace), *segments])

        async def attempt() -> tuple[int, Mapping[str, str], bytes]:
            session, cluster = await self._opened()
            async with session.request(
                method,
                cluster.server.rstrip("/") + url,
                params=parameters,
                data=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": MERGE_PATCH if method == "PATCH" else "application/json"},
            ) as response:
                return response.status, response.headers, await response.read()

        status, headers, content = await _reach(attempt, what=f"{method} {url}")
        if status == HTTPStatus.UNAUTHORIZED:
            await self.close()  # the next attempt signs in anew
            status, headers, content = await _reach(attempt, what=f"{method} {url}")
        document = _document(content)
        if status >= HTTPStatus.BAD_REQUEST:
            raise _error(status, headers, document, what=f"{method} {url}")
        return document

    async def _opened(self) -> tuple[aiohttp.ClientSession, Cluster]:
        async with self._opening:
            if self._session is None or self._cluster is None:
                # Reading files is quick, but a kubeconfig may be on a network drive.
                self._cluster = await asyncio.to_thread(self._sign_in)
                self._session = open_session(self._cluster, timeout_s=self._timeout_s)
            return self._session, self._cluster


async def _reach(
    attempt: Callable[[], Awaitable[tuple[int, Mapping[str, str], bytes]]], *, what: str
) -> tuple[int, Mapping[str, str], bytes]:
    try:
        return await attempt()
    except TimeoutError as error:
        raise Unavailable(f"{what}: the Kubernetes API did not answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"{what}: the Kubernetes API cannot be reached: {error}") from error


def _document(content: bytes) -> Json:
    try:
        document = json.loads(content)
    except ValueError:  # a proxy's page, or an answer that was cut short
        return {}
    return document if isinstance(document, dict) else {}


def _error(status: int, headers: Mapping[str, str], document: Json, *, what: str) -> KubeError:
    message = f"{what}: {document.get('message') or f'the Kubernetes API answered {status}'}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return TooManyRequests(message, retry_after_s=_retry_after_s(headers))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable(message)
    return _BY_STATUS.get(status, Refused)(message)


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Read how long to be quiet; a date, which the API server never sends, counts as a second."""
    text = headers.get("Retry-After", "")
    return min(float(text), RETRY_AFTER_S_MAX) if text.isdecimal() else 1.0


_BY_STATUS: Final[Mapping[int, type[KubeError]]] = {
    HTTPStatus.UNAUTHORIZED: Forbidden,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Unavailable,  # a listing took longer than its pages are kept
}
