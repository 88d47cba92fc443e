"""kopf: signing in to the cluster, and watching it. The only module that knows kopf.

kopf watches and nothing else: its handlers of raw events keep no state, so it adds no finalizer and
writes no annotation. A finalizer would protect nothing, for a WorkerGroup that is gone leaves its
Deployment as it is, and would keep a namespace from ending after the operator was uninstalled.

It runs on a thread and an event loop of its own. It takes the signal handlers of the loop that it
runs on, and cancels every task there when it ends; neither must happen to the loop that scales.
"""

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import kopf

from holdfast_chassis.logs import get_logger
from holdfast_operator import model
from holdfast_operator.kube import Cluster, Json, NoCluster, open_session
from holdfast_operator.mirror import DEPLOYMENT, WORKER_GROUP, Kind
from holdfast_operator.observe import WatchFailed

PREFIX: Final = model.GROUP
FINALIZER: Final = f"{model.GROUP}/operator"

WATCH_S: Final = 300
"""Longest life of one watch; the API server ends it, and the next one goes on where it ended."""
WATCH_GRACE_S: Final = 30
CONNECT_S: Final = 10
REQUEST_S: Final = 30
STOP_S: Final = 10.0

log = get_logger("holdfast_operator.handlers")


class Backoffs:
    """Pauses between attempts of one request, without end: an outage must not end the watch."""

    def __iter__(self) -> Iterator[float]:
        """Begin anew for each request."""
        return itertools.chain((0.5, 1, 2, 4, 8), itertools.repeat(10))


# Signing in


def sign_in() -> Cluster:
    """Find the cluster: that of the pod's service account, else the one that the kubeconfig names.

    Raises `NoCluster`. Blocks for as long as reading files takes. Of a kubeconfig, certificates,
    tokens and passwords are understood; programs that fetch credentials are not.
    """
    settings = kopf.OperatorSettings()
    try:
        info = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(
            settings=settings
        )
        if info is None or not info.server:
            raise NoCluster(
                "there is neither a pod's service account nor a kubeconfig"
                " (KUBECONFIG, ~/.kube/config)"
            )
        return Cluster(
            server=info.server,
            headers=info.as_http_headers(),
            tls=info.as_ssl_context() if info.server.startswith("https:") else None,
            namespace=info.default_namespace,
            proxy=info.proxy_url,
        )
    except (OSError, LookupError, ValueError, TypeError, AttributeError, kopf.LoginError) as error:
        raise NoCluster(f"the kubeconfig cannot be used: {error!r}") from error


# Watching


class Eyes:
    """Tells of every change of a WorkerGroup or a Deployment in one namespace, as it is watched.

    `seen` and `gone` are called on the loop that runs `watch`, in the order of the events of one
    object. What happened while no watch stood is not told: list everything from time to time.
    """

    def __init__(
        self,
        *,
        namespace: str,
        seen: Callable[[Kind, Json], None],
        gone: Callable[[Kind, Json], None],
    ) -> None:
        self._namespace = namespace
        self._seen = seen
        self._gone = gone
        self._kopf_loop: asyncio.AbstractEventLoop | None = None
        self._kopf_task: asyncio.Task[None] | None = None
        self._beat_at = time.monotonic()

    @property
    def silent_s(self) -> float:
        """For how long kopf's event loop has not turned; 0 while nothing is watched."""
        return 0.0 if self._kopf_loop is None else time.monotonic() - self._beat_at

    def ping(self) -> None:
        """Ask kopf's event loop for a sign of life, which `silent_s` then measures."""
        if self._kopf_loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed: kopf has just ended
                self._kopf_loop.call_soon_threadsafe(self._beat)

    async def watch(self) -> None:
        """Watch until cancelled; raises `WatchFailed` when kopf ends by itself."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[BaseException | None] = loop.create_future()
        stopping = threading.Event()

        def work() -> None:
            error: BaseException | None = None
            try:
                asyncio.run(self._run_kopf(loop, stopping))
            except BaseException as caught:  # noqa: BLE001 - carried to the loop that waits
                error = caught
            if not loop.is_closed():
                loop.call_soon_threadsafe(_end, ended, error)

        # A daemon: a process that must end does not wait for a framework that hangs.
        threading.Thread(target=work, name="kopf", daemon=True).start()
        try:
            failure = await asyncio.shield(ended)
        finally:
            stopping.set()
            if not ended.done():
                self._stop_kopf()
                await asyncio.wait({ended}, timeout=STOP_S)
            self._kopf_loop = None
        raise WatchFailed(f"kopf ended: {failure!r}") from failure

    async def _run_kopf(self, loop: asyncio.AbstractEventLoop, stopping: threading.Event) -> None:
        self._beat()
        self._kopf_task = asyncio.current_task()
        self._kopf_loop = asyncio.get_running_loop()
        if stopping.is_set():  # before there was a loop to be told
            return
        async with contextlib.AsyncExitStack() as sessions:
            await kopf.operator(
                registry=self._registry(loop, sessions),
                settings=kopf_settings(),
                namespaces=[self._namespace],
                standalone=True,
                # Otherwise kopf asks the system for a user name, which a container may lack.
                identity=cast("Any", "holdfast-operator"),
            )

    def _stop_kopf(self) -> None:
        """End kopf by cancelling it: asked nicely, it waits seconds for what never ends."""
        if self._kopf_loop is not None and self._kopf_task is not None:
            with contextlib.suppress(RuntimeError):  # it closed between the check and the call
                self._kopf_loop.call_soon_threadsafe(self._kopf_task.cancel)

    def _registry(
        self, loop: asyncio.AbstractEventLoop, sessions: contextlib.AsyncExitStack
    ) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def _(**_: Any) -> kopf.AiohttpSession:  # noqa: ANN401 - kopf's convention
            cluster = await asyncio.to_thread(sign_in)
            # Our own session: kopf does not close its own when it is cancelled.
            session = open_session(cluster)
            sessions.push_async_callback(session.close)
            return kopf.AiohttpSession(server=cluster.server, aiohttp_session=session)

        def on_event(kind: Kind) -> Callable[..., Any]:
            async def told(event: Any, **_: Any) -> None:  # noqa: ANN401 - kopf's convention
                tell = self._gone if event["type"] == "DELETED" else self._seen
                loop.call_soon_threadsafe(tell, kind, event["object"])

            return told

        kopf.on.event(
            model.GROUP, model.VERSION, model.PLURAL, id="worker-groups", registry=registry
        )(on_event(WORKER_GROUP))
        kopf.on.event("apps", "v1", "deployments", id="deployments", registry=registry)(
            on_event(DEPLOYMENT)
        )
        return registry

    def _beat(self) -> None:
        self._beat_at = time.monotonic()


def kopf_settings() -> kopf.OperatorSettings:
    """Choose what kopf may do: watch one namespace, for ever, and leave no trace in the objects."""
    settings = kopf.OperatorSettings()
    # The role of the operator ends at its namespace: namespaces and definitions are not its to see.
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=PREFIX)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=PREFIX)
    settings.watching.server_timeout = WATCH_S
    settings.watching.client_timeout = WATCH_S + WATCH_GRACE_S
    settings.watching.connect_timeout = CONNECT_S
    settings.networking.connect_timeout = CONNECT_S
    settings.networking.request_timeout = REQUEST_S
    settings.networking.error_backoffs = Backoffs()
    settings.process.ultimate_exiting_timeout = None  # the kubelet ends what hangs
    return settings


def quiet_kopf() -> None:
    """Let kopf say what is wrong, and not what it does; call it after logging was set up."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_calm)


def _calm(record: logging.LogRecord) -> bool:
    """Call what kopf tries again a warning; drop what it says about the thread that we chose."""
    if record.name.startswith("kopf."):
        message = record.getMessage()
        if record.levelno == logging.ERROR and "will retry" in message:
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return "OS signals are ignored" not in message
    return True


def _end(ended: "asyncio.Future[BaseException | None]", error: BaseException | None) -> None:
    if not ended.done():
        ended.set_result(error)
