"""What a function receives as its first argument: the durable operations, and where it is.

Methods of a workflow's context answer commands to `yield` or `await`. A step receives a context as
well, for its identity, its attempt and its dependencies; it has no children.
"""

import random
import time
import uuid
from collections.abc import Awaitable, Callable, Generator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, overload

from holdfast import tracing
from holdfast.commands import (
    Check,
    Choice,
    Command,
    DetachedCall,
    DurableFuture,
    Join,
    Latent,
    LocalCall,
    Part,
    RemoteCall,
    Sleep,
)
from holdfast.errors import DependencyNotFound, Panic
from holdfast.frame import Frame
from holdfast.logs import ReplaySilentLogger
from holdfast.options import NO_OPTIONS, Options, span_ms, split_options
from holdfast.registry import Callee, Function, Kind

R = TypeVar("R")
D = TypeVar("D")
C = TypeVar("C", bound=Command[Any, Any])

_MISSING: Any = object()


class Info:
    """Facts about the running attempt."""

    __slots__ = ("_frame",)

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    @property
    def attempt(self) -> int:
        """Number of the attempt in this process, from 1 on."""
        return self._frame.attempt

    @property
    def deadline(self) -> datetime:
        """Instant at which the promise times out."""
        try:
            return datetime.fromtimestamp(self._frame.deadline_ms / 1000, UTC)
        except (ValueError, OverflowError):  # beyond the calendar
            return datetime.max.replace(tzinfo=UTC)

    @property
    def version(self) -> int:
        """Version of the function."""
        return self._frame.function.version

    @property
    def func(self) -> str:
        """Name of the function."""
        return self._frame.function.name

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags of the promise."""
        return self._frame.tags

    @property
    def traceparent(self) -> str | None:
        """Parent of spans that the function records, as W3C Trace Context writes it."""
        return tracing.traceparent()

    @property
    def trace_id(self) -> str | None:
        """Id of the trace that the run belongs to: that of the request which led to it."""
        return tracing.trace_id()


class Context:
    """The durable world of one function.

    >>> def checkout(ctx, item):
    ...     seat = yield ctx.run(reserve, item)          # a step here; its value
    ...     paid = yield ctx.begin_rpc("db.pay", seat)   # elsewhere; a future
    ...     yield ctx.sleep(2)
    ...     return {"seat": seat, "paid": (yield paid)}

    The same as `async def`, where everything begins as soon as it is asked for:

    >>> async def checkout(ctx, item):
    ...     seat = await ctx.run(reserve, item)
    ...     paid = ctx.begin_rpc("db.pay", seat)
    ...     await ctx.sleep(2)
    ...     return {"seat": seat, "paid": await paid}
    """

    __slots__ = ("_frame", "_log")

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._log: ReplaySilentLogger | None = None

    # Local children

    @overload
    def run(
        self, fn: Callable[..., Generator[Any, Any, R]], /, *args: object, **kwargs: object
    ) -> LocalCall[R, R]: ...
    @overload
    def run(
        self, fn: Callable[..., Awaitable[R]], /, *args: object, **kwargs: object
    ) -> LocalCall[R, R]: ...
    @overload
    def run(self, fn: Callable[..., R], /, *args: object, **kwargs: object) -> LocalCall[R, R]: ...
    @overload
    def run(self, fn: str, /, *args: object, **kwargs: object) -> LocalCall[Any, Any]: ...
    def run(self, fn: Callee, /, *args: object, **kwargs: object) -> LocalCall[Any, Any]:
        """Call a function in this process and wait for its value.

        A generator function is a child workflow; any other function is a step, whose value is
        recorded once. A step that raises is tried again by its retry policy.
        """
        return self._local(fn, args, kwargs, NO_OPTIONS, waits=True)

    @overload
    def begin_run(
        self, fn: Callable[..., Generator[Any, Any, R]], /, *args: object, **kwargs: object
    ) -> LocalCall[DurableFuture[R], R]: ...
    @overload
    def begin_run(
        self, fn: Callable[..., Awaitable[R]], /, *args: object, **kwargs: object
    ) -> LocalCall[DurableFuture[R], R]: ...
    @overload
    def begin_run(
        self, fn: Callable[..., R], /, *args: object, **kwargs: object
    ) -> LocalCall[DurableFuture[R], R]: ...
    @overload
    def begin_run(
        self, fn: str, /, *args: object, **kwargs: object
    ) -> LocalCall[DurableFuture[Any], Any]: ...
    def begin_run(self, fn: Callee, /, *args: object, **kwargs: object) -> LocalCall[Any, Any]:
        """Start a function in this process; yields a future at once."""
        return self._local(fn, args, kwargs, NO_OPTIONS, waits=False)

    lfc = run
    lfi = begin_run

    def _local(
        self,
        fn: Callee,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        base: Options,
        *,
        waits: bool,
    ) -> LocalCall[Any, Any]:
        args, options = split_options(args, base)
        function = self._frame.execution.registry.resolve(fn, version=options.version)
        return self._asked(LocalCall(self._frame, function, args, kwargs, options, waits=waits))

    # Remote children

    def rpc(self, fn: Callee, /, *args: object, **kwargs: object) -> RemoteCall[Any, Any]:
        """Call a function by name, or a registered one, in a worker group; wait for its value."""
        return self._remote(fn, args, kwargs, NO_OPTIONS, waits=True)

    def begin_rpc(
        self, fn: Callee, /, *args: object, **kwargs: object
    ) -> RemoteCall[DurableFuture[Any], Any]:
        """Start a function in a worker group; yields a future at once."""
        return self._remote(fn, args, kwargs, NO_OPTIONS, waits=False)

    rfc = rpc
    rfi = begin_rpc

    def _remote(
        self,
        fn: Callee,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        base: Options,
        *,
        waits: bool,
    ) -> RemoteCall[Any, Any]:
        args, options = split_options(args, base)
        function = self._callee(fn, options)
        return self._asked(RemoteCall(self._frame, function, args, kwargs, options, waits=waits))

    def detached(
        self, fn: Callee, /, *args: object, **kwargs: object
    ) -> DetachedCall[DurableFuture[Any], Any]:
        """Start a function in a worker group with a life of its own; yields its future.

        The parent does not wait for it, and its deadline is independent of the parent's.
        """
        return self._detached(fn, args, kwargs, NO_OPTIONS)

    def _detached(
        self, fn: Callee, args: tuple[object, ...], kwargs: dict[str, object], base: Options
    ) -> DetachedCall[Any, Any]:
        args, options = split_options(args, base)
        function = self._callee(fn, options)
        return self._asked(DetachedCall(self._frame, function, args, kwargs, options, waits=False))

    def _callee(self, fn: Callee, options: Options) -> Function:
        return self._frame.execution.registry.resolve_remote(fn, version=options.version)

    # Time and promises

    def sleep(
        self,
        seconds: float | timedelta | None = None,
        *,
        for_: float | timedelta | None = None,
        until: datetime | None = None,
    ) -> Sleep:
        """Wait durably: `sleep(2)`, `sleep(for_=timedelta(days=1))` or `sleep(until=instant)`.

        Holds no worker meanwhile. Ends at the workflow's own deadline at the latest.
        """
        span = seconds if for_ is None else for_
        if (span is None) == (until is None) or (seconds is not None and for_ is not None):
            raise TypeError("sleep takes exactly one of seconds, for_= and until=")
        if until is not None:
            if until.tzinfo is None:
                raise ValueError("until must have a time zone, or workers would disagree on it")
            until_ms = int(until.timestamp() * 1000)
            return self._asked(Sleep(self._frame, span_ms=None, until_ms=until_ms))
        assert span is not None
        milliseconds = span_ms(span, field="seconds")
        return self._asked(Sleep(self._frame, span_ms=milliseconds, until_ms=None))

    def promise(
        self,
        *,
        id: str | None = None,
        timeout: float | timedelta | None = None,
        data: object = None,
        tags: Mapping[str, str] | None = None,
    ) -> Latent:
        """Make a promise that somebody outside settles; yields its future.

        With an id that exists already the existing promise is adopted.
        """
        options = Options(id=id, timeout=timeout, tags=tags)
        return self._asked(Latent(self._frame, options, data))

    # Several at once

    def all(self, *parts: Part) -> Join:
        """Wait for all; answer their values in order, or raise the first error in that order.

        Commands among the parts begin here: `yield ctx.all(ctx.rpc("a"), ctx.rpc("b"))`.
        """
        return self._asked(Join(self._frame, _checked_parts(parts), collects=False))

    def all_settled(self, *parts: Part) -> Join:
        """Wait for all; answer the value or the exception of each, in order."""
        return self._asked(Join(self._frame, _checked_parts(parts), collects=True))

    def race(self, *parts: Part, cancel_rest: bool = False) -> Choice:
        """Answer the value, or raise the error, of the part that is settled first.

        Which it was is recorded, so that every pass goes the same way. The others go on, and the
        workflow does not end before them; with `cancel_rest` those that do not run in this
        process are canceled.
        """
        return self._choice("race", parts, cancels=cancel_rest)

    def any(self, *parts: Part, cancel_rest: bool = False) -> Choice:
        """As `race` among the parts that succeed; an `ExceptionGroup` if none does."""
        return self._choice("any", parts, cancels=cancel_rest)

    def select(self, *parts: Part, cancel_rest: bool = False) -> Choice:
        """As `race`, but answer the place of the part: which of them it was.

        >>> approval = yield ctx.promise(id="approve/1")
        >>> if (yield ctx.select(approval, ctx.sleep(3600), cancel_rest=True)) == 1:
        ...     return "nobody answered within an hour"
        """
        return self._choice("select", parts, cancels=cancel_rest)

    def _choice(self, what: str, parts: tuple[Part, ...], *, cancels: bool) -> Choice:
        checked = _checked_parts(parts)
        if not checked:
            raise TypeError(f"ctx.{what}() needs at least one part to wait for")
        function = _CHOICES[what]
        return self._asked(Choice(self._frame, function, checked, what=what, cancels=cancels))

    # Recorded readings

    @property
    def date(self) -> "Dates":
        """The recorded clock, as the seeds use it: `yield ctx.date.now()`."""
        return Dates(self)

    @property
    def math(self) -> "Maths":
        """Recorded chance, as the seeds use it: `yield ctx.math.random()`."""
        return Maths(self)

    @property
    def time(self) -> "Times":
        """The recorded clock in seconds: `yield ctx.time.time()`."""
        return Times(self)

    @property
    def random(self) -> "Randoms":
        """Recorded chance, by the names of the standard library's `random`."""
        return Randoms(self)

    def now(self) -> LocalCall[datetime, datetime]:
        """Read the clock once, as an aware datetime in UTC."""
        return self._inline(_NOW_DATETIME)

    def uuid4(self) -> LocalCall[uuid.UUID, uuid.UUID]:
        """Make a random UUID once."""
        return self._inline(_UUID4)

    def _inline(self, function: Function, *args: object) -> LocalCall[Any, Any]:
        return self._asked(LocalCall(self._frame, function, args, {}, NO_OPTIONS, waits=True))

    def _asked(self, command: C) -> C:
        """Answer a command; in an `async def` it begins now."""
        body = self._frame.body
        if body is not None:
            body.begin(command)
        return command

    # Giving up

    def panic(self, condition: object, message: str = "panic") -> Command[None, None]:
        """Halt the task if the condition is true: a person must look before it goes on.

        No `except` in the workflow can prevent it. `yield ctx.panic(...)` and `await` work as well.
        """
        if condition:
            error = Panic(message)
            self._frame.execution.panicked = error
            raise error
        return Check(self._frame)

    def assert_(self, condition: object, message: str = "assertion failed") -> Command[None, None]:
        """Halt the task unless the condition is true."""
        return self.panic(not condition, message)

    # Surroundings

    @overload
    def get_dependency(self, key: type[D], default: D = ...) -> D: ...
    @overload
    def get_dependency(self, key: str, default: Any = ...) -> Any: ...  # noqa: ANN401
    def get_dependency(self, key: str | type[Any], default: Any = _MISSING) -> Any:
        """Answer what the client was given under a name, or as an object of a type."""
        found = self._frame.execution.dependencies.get(key, default)
        if found is _MISSING:
            raise DependencyNotFound(f"no dependency is set under {key!r} in this process")
        return found

    def options(self, **fields: Any) -> "ContextOptions":  # noqa: ANN401
        """Options for a call: last positional argument, or prefix: `ctx.options(...).run()`."""
        return ContextOptions(self, Options(**fields))

    @property
    def id(self) -> str:
        """Id of this function's promise; the natural idempotency key of its side effects."""
        return self._frame.lineage.id

    @property
    def parent_id(self) -> str:
        """Id of the promise whose function called this one; its own id for a root."""
        return self._frame.lineage.parent

    @property
    def origin_id(self) -> str:
        """Id of the tree's root."""
        return self._frame.lineage.origin

    @property
    def branch_id(self) -> str:
        """Id of the promise whose task runs this function."""
        return self._frame.lineage.branch

    @property
    def prefix_id(self) -> str:
        """What the ids of detached children begin with."""
        return self._frame.lineage.prefix

    @property
    def info(self) -> Info:
        """Attempt, deadline, version, tags and function."""
        return Info(self._frame)

    @property
    def is_replaying(self) -> bool:
        """Whether everything so far has been done by an earlier pass."""
        return self._frame.execution.is_replaying

    @property
    def log(self) -> ReplaySilentLogger:
        """A logger that says nothing during replay."""
        if self._log is None:
            execution = self._frame.execution
            self._log = ReplaySilentLogger(
                execution.logger,
                {"promise_id": self.id, "func": self._frame.function.name},
                lambda: execution.is_replaying,
            )
        return self._log


class ContextOptions(Options):
    """Options that know their context, so that calls can be made on them."""

    __slots__ = ("_context",)

    def __init__(self, context: Context, options: Options) -> None:
        for name in Options.__dataclass_fields__:
            object.__setattr__(self, name, getattr(options, name))
        object.__setattr__(self, "_context", context)

    def run(self, fn: Callee, /, *args: object, **kwargs: object) -> LocalCall[Any, Any]:
        """As `Context.run`."""
        return self._ctx._local(fn, args, kwargs, self, waits=True)  # noqa: SLF001

    def begin_run(self, fn: Callee, /, *args: object, **kwargs: object) -> LocalCall[Any, Any]:
        """As `Context.begin_run`."""
        return self._ctx._local(fn, args, kwargs, self, waits=False)  # noqa: SLF001

    lfc = run
    lfi = begin_run

    def rpc(self, fn: Callee, /, *args: object, **kwargs: object) -> RemoteCall[Any, Any]:
        """As `Context.rpc`."""
        return self._ctx._remote(fn, args, kwargs, self, waits=True)  # noqa: SLF001

    def begin_rpc(self, fn: Callee, /, *args: object, **kwargs: object) -> RemoteCall[Any, Any]:
        """As `Context.begin_rpc`."""
        return self._ctx._remote(fn, args, kwargs, self, waits=False)  # noqa: SLF001

    rfc = rpc
    rfi = begin_rpc

    def detached(self, fn: Callee, /, *args: object, **kwargs: object) -> DetachedCall[Any, Any]:
        """As `Context.detached`."""
        return self._ctx._detached(fn, args, kwargs, self)  # noqa: SLF001

    @property
    def _ctx(self) -> Context:
        context: Context = object.__getattribute__(self, "_context")
        return context


class Dates:
    """`ctx.date`."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def now(self) -> LocalCall[int, int]:
        """Read the clock once: milliseconds since the epoch."""
        return self._context._inline(_NOW)  # noqa: SLF001


class Maths:
    """`ctx.math`."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def random(self) -> LocalCall[float, float]:
        """Draw a number from 0 up to 1 once."""
        return self._context._inline(_RANDOM)  # noqa: SLF001


class Times:
    """`ctx.time`."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def time(self) -> LocalCall[float, float]:
        """Read the clock once: seconds since the epoch."""
        return self._context._inline(_TIME)  # noqa: SLF001


class Randoms:
    """`ctx.random`; not for secrets."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def random(self) -> LocalCall[float, float]:
        """Draw a number from 0 up to 1 once."""
        return self._context._inline(_RANDOM)  # noqa: SLF001

    def randint(self, low: int, high: int) -> LocalCall[int, int]:
        """Draw an integer once, both ends included."""
        return self._context._inline(_RANDINT, low, high)  # noqa: SLF001

    def uniform(self, low: float, high: float) -> LocalCall[float, float]:
        """Draw a number between two once."""
        return self._context._inline(_UNIFORM, low, high)  # noqa: SLF001

    def choice(self, items: list[Any]) -> LocalCall[Any, Any]:
        """Pick one item once."""
        return self._context._inline(_CHOICE, items)  # noqa: SLF001


def _checked_parts(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    for part in parts:
        known: object = part  # mypy believes the annotation, callers may not
        if not isinstance(known, (Command, DurableFuture)) or isinstance(known, (Join, Choice)):
            raise TypeError(f"only calls of the context and their futures can be parts: {part!r}")
    return parts


def _now(_ctx: Context) -> int:
    return time.time_ns() // 1_000_000


def _now_datetime(_ctx: Context) -> datetime:
    return datetime.now(UTC)


def _time(_ctx: Context) -> float:
    return time.time()


def _uuid4(_ctx: Context) -> uuid.UUID:
    return uuid.uuid4()


def _random(_ctx: Context) -> float:
    return random.random()  # noqa: S311 - documented as not for secrets


def _randint(_ctx: Context, low: int, high: int) -> int:
    return random.randint(low, high)  # noqa: S311


def _uniform(_ctx: Context, low: float, high: float) -> float:
    return random.uniform(low, high)  # noqa: S311


def _choice(_ctx: Context, items: list[Any]) -> Any:  # noqa: ANN401
    return random.choice(items)  # noqa: S311


# The names are those that the official SDKs write for the same readings, where they have them.
_NOW = Function(_now, name="now", kind=Kind.INLINE)
_NOW_DATETIME = Function(_now_datetime, name="now_datetime", kind=Kind.INLINE)
_TIME = Function(_time, name="time", kind=Kind.INLINE)
_UUID4 = Function(_uuid4, name="uuid4", kind=Kind.INLINE)
_RANDOM = Function(_random, name="random", kind=Kind.INLINE)
_RANDINT = Function(_randint, name="randint", kind=Kind.INLINE)
_UNIFORM = Function(_uniform, name="uniform", kind=Kind.INLINE)
_CHOICE = Function(_choice, name="choice", kind=Kind.INLINE)
_CHOICES = {what: Function(_now, name=what, kind=Kind.INLINE) for what in ("race", "any", "select")}
