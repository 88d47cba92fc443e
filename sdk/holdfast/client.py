"""`Resonate`: registers functions, starts them by id, and runs them in this process."""

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from holdfast.calls import Calls
from holdfast.client_calls import ClientOptions
from holdfast.clock import Clock, SystemClock
from holdfast.codec import Codec, Encryptor
from holdfast.core.membership import Member
from holdfast.core.requests import PromiseGet
from holdfast.embedded import MEMORY, open_store
from holdfast.errors import ResonateError, ServerUnavailable
from holdfast.handle import Handle
from holdfast.inside import warn_of_client_call
from holdfast.lineage import listener_address, member_name, prefixed
from holdfast.logs import LIBRARY_LOGGER, EventLog
from holdfast.meter import Meter, NullMeter
from holdfast.options import Options, span_ms
from holdfast.port import Store
from holdfast.promises import Promises
from holdfast.registering import Registering
from holdfast.registry import Registry
from holdfast.retry import STEP_DEFAULT, RetryPolicy
from holdfast.runtime.receiver import Deliveries
from holdfast.runtime.subscriptions import Subscriptions
from holdfast.runtime.worker import Worker, WorkerSettings
from holdfast.schedules import Schedules
from holdfast.settings import read_environment
from holdfast.tasks import Tasks

if TYPE_CHECKING:
    from holdfast.testing.crash_points import Observer

TTL_S_DEFAULT = 60.0
TIMEOUT_S_DEFAULT = 10.0
SLOW_STEP_MS = 5
PARKED_MAX = 512


class Resonate(Registering):
    """A client, and a worker for the functions that were registered before it started.

    Remote with `url`, embedded otherwise: in memory, or durable in a file. Used from one event
    loop. It connects at the first call, at `start()`, or on entering `async with`. A remote one
    tells the store then which functions it runs, so that they must be registered before.

    >>> async with Resonate() as resonate:
    ...     @resonate.register
    ...     def greet(ctx, name):
    ...         return f"Hello {name}"
    ...     print(await resonate.run("greeting/1", greet, "Ada"))
    Hello Ada

    Tasks that the store gives to this process are limited by `max_concurrency`; what `run` and
    `begin_run` start here runs at once and is not counted, since the caller asked for it.
    """

    def __init__(  # noqa: PLR0913 - documented names; all optional
        self,
        url: str | None = None,
        *,
        group: str | None = None,
        groups: Sequence[str] = (),
        pid: str | None = None,
        ttl: float | timedelta | None = None,
        token: str | None = None,
        timeout: float | timedelta | None = None,
        prefix: str | None = None,
        embedded: str | os.PathLike[str] | None = None,
        default_target: str | None = None,
        max_concurrency: int = 64,
        retry_policy: RetryPolicy | None = None,
        encryptor: Encryptor | None = None,
        codec: Codec | None = None,
        logger: logging.Logger | None = None,
        log_level: str | None = None,
        clock: Clock | None = None,
        env: Mapping[str, str] | None = None,
        autostart: bool = True,
        accept_tasks: bool | None = None,
        slow_step_ms: int = SLOW_STEP_MS,
        lease_margin: float | timedelta | None = None,
        parked_max: int = PARKED_MAX,
        store: Store | None = None,
        meter: Meter | None = None,
        observer: "Observer | None" = None,
    ) -> None:
        """Prepare a client; nothing is connected yet.

        `ttl` is the lease length and `timeout` the limit of each request, in seconds. `groups`
        are joined beside `group`. `retry_policy` replaces the default of steps. `accept_tasks`
        says whether the store may give tasks to this process; by default it may if functions are
        registered when it starts. `lease_margin` is how far from its end a lease must be for a
        step to start without a prior write (default a quarter of `ttl`). `store` replaces the
        one that `url` or `embedded` would name. `meter` is told how tasks and steps end.
        """
        environment = read_environment(os.environ if env is None else env)
        if max_concurrency < 1:
            raise ValueError(f"max_concurrency must be from 1 on, it is {max_concurrency}")
        if codec is not None and encryptor is not None:
            raise ValueError("give codec or encryptor, not both: a codec brings its own encryptor")
        ttl_ms = span_ms(
            ttl if ttl is not None else environment.ttl_s or TTL_S_DEFAULT, field="ttl"
        )
        if ttl_ms < 1:
            raise ValueError("ttl must be at least a millisecond")
        self.group = _named("group", group or environment.group or "default")
        self.groups = tuple(dict.fromkeys((self.group, *(_named("groups", g) for g in groups))))
        self.pid = _named("pid", pid or environment.pid or secrets.token_hex(16))
        self.prefix = prefix or environment.prefix
        self.codec = codec or Codec(encryptor)
        self.clock: Clock = clock or SystemClock()
        self.registry = Registry()
        self.logger = logger or logging.getLogger(LIBRARY_LOGGER)
        if log_level is not None:
            self.logger.setLevel(log_level.upper())
        self.promises = Promises(self)
        self.schedules = Schedules(self)
        self.tasks = Tasks(self)
        request_ms = span_ms(
            timeout if timeout is not None else environment.timeout_s or TIMEOUT_S_DEFAULT,
            field="timeout",
        )
        if url is None and embedded is None:
            url, embedded = environment.url, environment.embedded
        self._is_embedded = store is None and url is None
        self._store = store or open_store(
            url, embedded, token=token, environment=environment, timeout_s=request_ms / 1000
        )
        self._max_concurrency = max_concurrency
        self._accept_tasks = accept_tasks
        self._settings = WorkerSettings(
            pid=self.pid,
            group=self.group,
            default_target=default_target or self.group,
            prefix=self.prefix,
            ttl_ms=ttl_ms,
            lease_margin_ms=(
                ttl_ms // 4 if lease_margin is None else span_ms(lease_margin, field="lease_margin")
            ),
            slow_step_ms=slow_step_ms,
            parked_max=parked_max,
            step_threads=max_concurrency,
        )
        self._step_policy = retry_policy or STEP_DEFAULT
        self._meter: Meter = meter or NullMeter()
        self._observer = observer
        self._autostart = autostart
        self._dependencies: dict[str | type, object] = {}
        self._worker: Worker | None = None
        self._subscriptions: Subscriptions | None = None
        self._starting: asyncio.Task[None] | None = None
        self._spawned: set[asyncio.Task[None]] = set()
        self._calls: Calls | None = None
        self._stopped = False

    @classmethod
    def local(cls, **options: Any) -> Self:  # noqa: ANN401
        """Make a client with a store in memory, whatever the environment says."""
        return cls(**{"embedded": MEMORY, "env": {}, **options})

    @classmethod
    def remote(cls, url: str, **options: Any) -> Self:  # noqa: ANN401
        """Make a client of the store at `grpc://host:port`."""
        return cls(url, **options)

    # Calls, beside those of `ClientCalls`

    async def get(self, id: str) -> Handle[Any]:
        """Find a run, or any promise, by id; raises `PromiseNotFound`."""
        warn_of_client_call("resonate.get", instead="use ctx.promise(id=...), or call it in a step")
        calls = await self.joined()
        return calls.handle_of(await calls.ask(PromiseGet(id=prefixed(self.prefix, id))))

    def options(self, **fields: Any) -> ClientOptions:  # noqa: ANN401
        """Options for a call: last positional argument, or prefix.

        >>> await resonate.options(target="db", timeout=30).rpc("row/1", "db.get", 1)
        """
        return ClientOptions(self, Options(**fields))

    @property
    def _resonate(self) -> "Resonate":
        return self

    # Dependencies

    def set_dependency(self, name: str, obj: object) -> None:
        """Give functions of this process an object by name."""
        self._dependencies[name] = obj

    def with_dependency(self, obj: object) -> Self:
        """Give functions of this process an object by its type; answers the client."""
        self._dependencies[type(obj)] = obj
        return self

    # Life

    async def start(self) -> None:
        """Join the store; returns at once, a remote store connects in the background."""
        if self._stopped:
            raise ServerUnavailable("the client is stopped", code="stopped", retriable=False)
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name="resonate-start")
        # Several may wait; one that is cancelled must not take the others' start with it.
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        subscriptions = Subscriptions(self._store, address=listener_address(self.group, self.pid))
        worker = Worker(
            store=self._store,
            registry=self.registry,
            codec=self.codec,
            clock=self.clock,
            settings=self._settings,
            dependencies=self._dependencies,
            subscriptions=subscriptions,
            logger=self.logger,
            step_policy=self._step_policy,
            meter=self._meter,
            observer=self._observer,
        )
        accepts = self._accept_tasks
        if accepts is None:
            accepts = self._is_embedded or len(self.registry) > 0
        if not self._is_embedded:
            self.registry.seal()
        member = Member(
            pid=self.pid,
            instance=secrets.token_hex(16),
            groups=self.groups,
            credits=self._max_concurrency if accepts else 0,
            lease_ttl_ms=self._settings.ttl_ms,
            # The only process of an embedded store may learn functions as it goes.
            functions=self.registry.headers() if accepts and not self._is_embedded else None,
        )
        try:
            await self._store.start(member, Deliveries(worker, subscriptions))
        except BaseException:
            self._starting = None
            raise
        self._subscriptions = subscriptions
        self._worker = worker
        self._calls = Calls(
            store=self._store,
            registry=self.registry,
            codec=self.codec,
            clock=self.clock,
            settings=self._settings,
            worker=worker,
            subscriptions=subscriptions,
        )

    async def stop(self, grace: float | timedelta = 30.0) -> None:
        """Leave: take nothing more, let running steps end within `grace` seconds, give back leases.

        What was not finished goes on at once in another process, or here after a restart.
        """
        if self._stopped:
            return
        self._stopped = True
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._worker is not None:
            self._store.drain()
            seconds = span_ms(grace, field="grace") / 1000
            await self._worker.stop(seconds)
        for task in list(self._spawned):
            task.cancel()
        if self._subscriptions is not None:
            self._subscriptions.close(
                ServerUnavailable("the client is stopped", code="stopped", retriable=False)
            )
        if self._spawned:
            await asyncio.wait(self._spawned)
        await self._store.close()

    @property
    def default_target(self) -> str:
        """Worker group of calls that name none."""
        return self._settings.default_target

    @property
    def held(self) -> int:
        """Tasks that this process holds now; parked workflows do not count."""
        return 0 if self._worker is None else self._worker.held

    async def serve_forever(self, grace: float | timedelta = 30.0) -> None:
        """Work until SIGTERM or SIGINT comes, then stop: what a worker image calls."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        try:
            await self.start()
            await stopping.wait()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            await self.stop(grace)

    async def __aenter__(self) -> Self:
        """Start at the next turn of the loop, so that the body may still register functions."""
        if self._autostart and self._starting is None:
            self._starting = asyncio.create_task(self._start(), name="resonate-start")
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    async def joined(self) -> Calls:
        """Start if need be; for the parts of the client."""
        if self._calls is None or self._stopped:
            if not self._autostart and self._starting is None:
                raise ResonateError("start the client first: autostart is off", code="not_started")
            await self.start()
        assert self._calls is not None
        return self._calls

    def spawn(
        self, coroutine: Coroutine[Any, Any, Any], on_error: Callable[[Exception], object] | None
    ) -> "asyncio.Task[None]":
        """Run something beside the caller, and keep it until it is done."""

        async def watched() -> None:
            try:
                await coroutine
            except Exception as error:  # noqa: BLE001 - handed to whoever asked for it
                if on_error is not None:
                    on_error(error)
                else:
                    EventLog(self.logger).error("spawned_call_failed", error=error)

        task = asyncio.get_running_loop().create_task(watched())
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        return task


def _named(field: str, name: str) -> str:
    try:
        return member_name(name)
    except ValueError as error:
        raise ValueError(f"{field} is {name!r}, but {error}") from error
