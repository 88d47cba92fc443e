"""What a workflow yields: commands, and the futures that they answer.

A command is made by a method of the context, takes its sequence number there, and does nothing
until it is yielded. Commands are immutable by convention (a frozen dataclass would cost more than
the rest of the call). The runtime keeps its bookkeeping of a child in the future itself.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

from holdfast.core.records import PromiseState
from holdfast.core.requests import PromiseCreate
from holdfast.errors import NonDurableAwait
from holdfast.options import NO_OPTIONS, Options

if TYPE_CHECKING:
    from holdfast.frame import Frame
    from holdfast.lineage import Lineage
    from holdfast.registry import Function
    from holdfast.runtime.execution import Execution
    from holdfast.runtime.waits import Wait

T = TypeVar("T")


def _not_awaitable(what: str) -> NoReturn:
    raise NonDurableAwait(
        f"{what} cannot be awaited: write the workflow as a generator and `yield` it"
    )


class Command(Generic[T]):
    """One durable operation that was asked for; `yield` it."""

    __slots__ = ("consumed", "frame", "options_", "seq")

    what = "command"

    def __init__(self, frame: "Frame", options: Options) -> None:
        self.frame = frame
        self.options_ = options
        self.consumed = False
        self.seq = frame.issue(self)

    def __iter__(self) -> Generator[Any, Any, T]:
        """Let `yield from` work as `yield` does, with the type of the result."""
        result: T = yield self
        return result

    def __await__(self) -> NoReturn:
        """Refuse: a coroutine cannot be a workflow yet."""
        _not_awaitable(f"ctx.{self.what}()")

    def options(self, **fields: Any) -> Self:  # noqa: ANN401
        """Answer this command with options laid over it: `yield ctx.run(fn).options(timeout=5)`."""
        changed = object.__new__(type(self))
        for base in type(self).__mro__:
            for name in getattr(base, "__slots__", ()):
                setattr(changed, name, getattr(self, name))
        changed.options_ = self.options_.updated(Options(**fields))
        self.consumed = True
        if not changed.consumed:
            self.frame.open[self.seq] = changed
        return changed

    def describe(self) -> str:
        """Name the command as the workflow wrote it."""
        return f"ctx.{self.what}()"


class _Invoke(Command[T]):
    """A command that names a function."""

    __slots__ = ("args", "function", "kwargs", "waits")

    def __init__(
        self,
        frame: "Frame",
        function: "Function",
        args: tuple[object, ...],
        kwargs: dict[str, object],
        options: Options,
        *,
        waits: bool,
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.waits = waits
        super().__init__(frame, options)

    def describe(self) -> str:
        """Name the command and its function."""
        prefix = "" if self.waits or self.what == "detached" else "begin_"
        return f"ctx.{prefix}{self.what}({self.function.name})"


class LocalCall(_Invoke[T]):
    """`ctx.run`, `ctx.begin_run`: a child that this process executes."""

    __slots__ = ()

    what = "run"


class RemoteCall(_Invoke[T]):
    """`ctx.rpc`, `ctx.begin_rpc`: a child that a worker group executes."""

    __slots__ = ()

    what = "rpc"


class DetachedCall(_Invoke[T]):
    """`ctx.detached`: a remote child that the parent does not wait for."""

    __slots__ = ()

    what = "detached"


class Sleep(Command[None]):
    """`ctx.sleep`: a promise that its deadline resolves."""

    __slots__ = ("span_ms", "until_ms")

    what = "sleep"

    def __init__(self, frame: "Frame", *, span_ms: int | None, until_ms: int | None) -> None:
        super().__init__(frame, NO_OPTIONS)
        self.span_ms = span_ms
        self.until_ms = until_ms


class Latent(Command["DurableFuture[Any]"]):
    """`ctx.promise`: a promise that somebody outside settles."""

    __slots__ = ("data",)

    what = "promise"

    def __init__(self, frame: "Frame", options: Options, data: object) -> None:
        super().__init__(frame, options)
        self.data = data


class Check(Command[None]):
    """`ctx.panic` or `ctx.assert_` that found nothing wrong; takes no number, may be dropped."""

    __slots__ = ()

    what = "panic"

    def __init__(self, frame: "Frame") -> None:
        self.frame = frame
        self.seq = -1
        self.options_ = NO_OPTIONS
        self.consumed = True


class DurableFuture(Generic[T]):
    """A child that was begun; `yield` it for its value, or its exception.

    Invariant: once `state` is not `None` the outcome never changes. A ticket is the number of a
    write in the order in which the pass sends them; `ticket` belongs to the settlement, and is 0
    when the store already has it.
    """

    __slots__ = (
        "attached",
        "create",
        "error",
        "execution",
        "fresh",
        "function",
        "id",
        "known",
        "lineage",
        "local",
        "running",
        "sent",
        "sent_data",
        "state",
        "ticket",
        "value",
        "waits",
    )

    def __init__(self, execution: "Execution", promise_id: str, *, local: bool) -> None:
        self.execution = execution
        self.id = promise_id
        self.create: PromiseCreate | None = None
        self.lineage: Lineage | None = None
        """Where a local child stands, as its own children will say."""
        self.local = local
        self.attached = True
        self.function: Function | None = None
        self.fresh = False
        """Whether the store is known not to have it: nobody else can make it under our lease."""
        self.known = False
        """Whether the store is known to have it."""
        self.running = False
        self.sent = 0
        """Ticket of the write that creates it."""
        self.ticket = 0
        self.state: PromiseState | None = None
        self.value: Any = None
        self.error: Exception | None = None
        self.sent_data: bytes | None = None
        self.waits: list[Wait] | None = None

    @property
    def done(self) -> bool:
        """Whether the outcome is known to this pass."""
        return self.state is not None

    def __iter__(self) -> Generator[Any, Any, T]:
        """Let `yield from` work as `yield` does, with the type of the result."""
        result: T = yield self
        return result

    def __await__(self) -> NoReturn:
        """Refuse: a coroutine cannot be a workflow yet."""
        _not_awaitable("a durable future")

    def __repr__(self) -> str:
        return f"<DurableFuture {self.id} {'running' if self.state is None else self.state.value}>"
