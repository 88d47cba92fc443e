"""The ways in which a client calls a function, each under an id, with or without options."""

from typing import TYPE_CHECKING, Any

from holdfast.handle import Call, Handle
from holdfast.inside import warn_of_client_call
from holdfast.options import NO_OPTIONS, Options
from holdfast.registry import Callee
from holdfast.schedules import UTC, FunctionSchedule

if TYPE_CHECKING:
    from holdfast.client import Resonate


class ClientCalls:
    """`run`, `begin_run`, `rpc`, `begin_rpc`, `schedule`, on a client or on options that know it.

    Every one answers an object at once; what it asks for happens when that is awaited or spawned.
    """

    __slots__ = ()

    def run(self, id: str, fn: Callee, /, *args: object, **kwargs: object) -> Call[Any]:
        """Run a registered function in this process under an id; await it for the value.

        A second call with the same id joins the first: the function runs once.
        """
        warn_of_client_call("resonate.run", instead="use ctx.run()")
        client = self._resonate
        return Call(client, _result(client, id, fn, args, kwargs, self._base, here=True))

    def begin_run(
        self,
        id: str,
        fn: Callee,
        /,
        *args: object,
        **kwargs: object,
    ) -> Call[Handle[Any]]:
        """Start a registered function in this process; await it for a handle."""
        warn_of_client_call("resonate.begin_run", instead="use ctx.begin_run()")
        client = self._resonate
        return Call(client, _handle(client, id, fn, args, kwargs, self._base, here=True))

    def rpc(self, id: str, fn: Callee, /, *args: object, **kwargs: object) -> Call[Any]:
        """Run a function in a worker group under an id; await it for the value."""
        warn_of_client_call("resonate.rpc", instead="use ctx.rpc()")
        client = self._resonate
        return Call(client, _result(client, id, fn, args, kwargs, self._base, here=False))

    def begin_rpc(
        self,
        id: str,
        fn: Callee,
        /,
        *args: object,
        **kwargs: object,
    ) -> Call[Handle[Any]]:
        """Start a function in a worker group; await it for a handle. The promise is stored then."""
        warn_of_client_call("resonate.begin_rpc", instead="use ctx.begin_rpc() or ctx.detached()")
        client = self._resonate
        return Call(client, _handle(client, id, fn, args, kwargs, self._base, here=False))

    def schedule(
        self, name: str, cron: str, fn: Callee, /, *args: object, tz: str = UTC, **kwargs: object
    ) -> Call[FunctionSchedule]:
        """Have a function called by a worker group at the instants of a cron expression.

        Await it for the schedule, which outlives this process. It is kept by its name: a second
        call changes nothing and answers the one that exists. Each run has an id of its own,
        `<name>.<planned instant in ms>`, so that it runs once, also if a store or worker was away.
        The timeout of a run counts from its planned instant.

        >>> await resonate.schedule("nightly", "0 3 * * *", report, tz="Europe/Berlin")
        """
        warn_of_client_call("resonate.schedule", instead="call it in a step")
        client = self._resonate
        return Call(
            client,
            client.schedules.of_function(name, cron, fn, args, kwargs, self._base, tz=tz),
        )

    @property
    def _resonate(self) -> "Resonate":
        raise NotImplementedError

    @property
    def _base(self) -> Options:
        return NO_OPTIONS


class ClientOptions(Options, ClientCalls):
    """Options that know their client, so that calls can be made on them."""

    __slots__ = ("_client",)

    def __init__(self, client: "Resonate", options: Options) -> None:
        for name in Options.__dataclass_fields__:
            object.__setattr__(self, name, getattr(options, name))
        object.__setattr__(self, "_client", client)

    @property
    def _resonate(self) -> "Resonate":
        client: Resonate = object.__getattribute__(self, "_client")
        return client

    @property
    def _base(self) -> Options:
        return self


async def _handle(
    client: "Resonate",
    run_id: str,
    fn: Callee,
    args: tuple[object, ...],
    kwargs: dict[str, object],
    base: Options,
    *,
    here: bool,
    awaited: bool = False,
) -> Handle[Any]:
    calls = await client.joined()
    begin = calls.begin_run if here else calls.begin_rpc
    return await begin(run_id, fn, args, kwargs, base, awaited=awaited)


async def _result(
    client: "Resonate",
    run_id: str,
    fn: Callee,
    args: tuple[object, ...],
    kwargs: dict[str, object],
    base: Options,
    *,
    here: bool,
) -> object:
    handle = await _handle(client, run_id, fn, args, kwargs, base, here=here, awaited=True)
    return await handle.result()
