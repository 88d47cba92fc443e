"""What a workflow yields, or awaits: commands, and the futures that they answer.

A command is made by a method of the context and takes its sequence number there. In a generator it
does nothing until it is yielded; in an `async def` it has begun when the method returns. Commands
are immutable by convention (a frozen dataclass would cost more than the rest of the call). The
runtime keeps its bookkeeping of a child in the future itself.
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
Y = TypeVar("Y")
"""What a command answers when it is yielded."""
A = TypeVar("A")
"""What it answers when it is awaited: of one that only begins something, the value as well."""


class Command(Generic[Y, A]):
    """One durable operation that was asked for; `yield` it, or `await` it in an `async def`."""

    __slots__ = ("consumed", "frame", "future", "options_", "seq")

    what = "command"

    def __init__(self, frame: "Frame", options: Options) -> None:
        self.frame = frame
        self.options_ = options
        self.consumed = False
        self.future: DurableFuture[Any] | None = None
        """The child, once it has begun in an `async def`."""
        self.seq = frame.issue(self)

    def __iter__(self) -> Generator[Any, Any, Y]:
        """Let `yield from` work as `yield` does, with the type of the result."""
        if self.future is not None:
            raise TypeError(f"{self.describe()} has begun: `await` it")
        result: Y = yield self
        return result

    def __await__(self) -> Generator[Any, Any, A]:
        """Wait for the value, or raise the exception, of a child that has begun."""
        if self.frame.body is None:
            _not_awaitable(self.describe())
        return self.frame.body.outcome_of(self).__await__()

    @property
    def id(self) -> str:
        """Id of the child's promise; in an `async def`, where the child has begun."""
        if self.future is None:
            raise AttributeError(f"{self.describe()} has not begun, so that it has no id yet")
        return self.future.id

    @property
    def done(self) -> bool:
        """Whether the outcome of a child that has begun is known to this pass."""
        return self.future is not None and self.future.done

    def options(self, **fields: Any) -> Self:  # noqa: ANN401
        """Answer this command with options laid over it: `yield ctx.run(fn).options(timeout=5)`.

        Only before it begins, so not in an `async def`.
        """
        if self.frame.body is not None:
            raise TypeError(
                f"{self.describe()} has begun; options come first: ctx.options(...).{self.what}()"
            )
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


class _Invoke(Command[Y, A]):
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


class LocalCall(_Invoke[Y, A]):
    """`ctx.run`, `ctx.begin_run`: a child that this process executes."""

    __slots__ = ()

    what = "run"


class RemoteCall(_Invoke[Y, A]):
    """`ctx.rpc`, `ctx.begin_rpc`: a child that a worker group executes."""

    __slots__ = ()

    what = "rpc"


class DetachedCall(_Invoke[Y, A]):
    """`ctx.detached`: a remote child that the parent does not wait for."""

    __slots__ = ()

    what = "detached"


class Sleep(Command[None, None]):
    """`ctx.sleep`: a promise that its deadline resolves."""

    __slots__ = ("span_ms", "until_ms")

    what = "sleep"

    def __init__(self, frame: "Frame", *, span_ms: int | None, until_ms: int | None) -> None:
        super().__init__(frame, NO_OPTIONS)
        self.span_ms = span_ms
        self.until_ms = until_ms


class Latent(Command["DurableFuture[Any]", Any]):
    """`ctx.promise`: a promise that somebody outside settles."""

    __slots__ = ("data",)

    what = "promise"

    def __init__(self, frame: "Frame", options: Options, data: object) -> None:
        super().__init__(frame, options)
        self.data = data


class Join(Command[list[Any], list[Any]]):
    """`ctx.all`, `ctx.all_settled`: several children at once; takes no number of its own."""

    __slots__ = ("collects", "parts")

    def __init__(self, frame: "Frame", parts: "tuple[Part, ...]", *, collects: bool) -> None:
        self.frame = frame
        self.seq = -1
        self.options_ = NO_OPTIONS
        self.consumed = False
        self.future = None
        self.parts = parts
        self.collects = collects
        """Whether exceptions are collected, and not raised."""

    @property
    def what(self) -> str:  # type: ignore[override] # of the others it is a constant
        """Name of the context's method."""
        return "all_settled" if self.collects else "all"


class Choice(LocalCall[Any, Any]):
    """`ctx.race`, `ctx.any`, `ctx.select`: one child that counts, recorded by its place."""

    __slots__ = ("cancels", "parts", "what")

    def __init__(
        self,
        frame: "Frame",
        function: "Function",
        parts: "tuple[Part, ...]",
        *,
        what: str,
        cancels: bool,
    ) -> None:
        self.what = what
        self.parts = parts
        self.cancels = cancels
        """Whether the other children are canceled."""
        super().__init__(frame, function, (), {}, NO_OPTIONS, waits=True)

    def describe(self) -> str:
        """Name the command as the workflow wrote it."""
        return f"ctx.{self.what}()"


class Check(Command[None, None]):
    """`ctx.panic` or `ctx.assert_` that found nothing wrong; takes no number, may be dropped."""

    __slots__ = ()

    what = "panic"

    def __init__(self, frame: "Frame") -> None:
        self.frame = frame
        self.seq = -1
        self.options_ = NO_OPTIONS
        self.consumed = True
        self.future = None

    def __await__(self) -> Generator[Any, Any, None]:
        """Return at once."""
        yield from ()


def _not_awaitable(what: str) -> NoReturn:
    raise NonDurableAwait(f"{what} is awaited in a generator: `yield` it instead")


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
        """Whether the outcome is known to this pass; a later one may know more."""
        return self.state is not None

    def __iter__(self) -> Generator[Any, Any, T]:
        """Let `yield from` work as `yield` does, with the type of the result."""
        result: T = yield self
        return result

    def __await__(self) -> NoReturn:
        """Refuse: only generators are given futures."""
        _not_awaitable("a durable future")

    def __repr__(self) -> str:
        return f"<DurableFuture {self.id} {'running' if self.state is None else self.state.value}>"


Part = Command[Any, Any] | DurableFuture[Any]
"""What can be waited for together with others."""
