"""The functions that a process runs, by name and version."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar

from holdfast.codec import Codec
from holdfast.conversion import Arguments, Convert, arguments_of, result_of
from holdfast.core.records import Value
from holdfast.errors import (
    AlreadyRegistered,
    FunctionNotRegistered,
    InvalidVersion,
    ResonateError,
)
from holdfast.options import Options
from holdfast.retry import RetryPolicy

UNREGISTERED_REMEMBERED_MAX = 1024
"""Unregistered callables whose description is kept."""

P = ParamSpec("P")
R = TypeVar("R")


class Kind(Enum):
    """How a function is run."""

    GENERATOR = auto()
    """A workflow: its body yields commands."""
    ASYNC = auto()
    """A workflow that is `async def` and was registered as one."""
    COROUTINE = auto()
    """An `async def`: a step on the event loop, and a workflow from its first durable call on."""
    ASYNC_STEP = auto()
    """An `async def` that was registered as a step: it makes no durable calls."""
    PLAIN = auto()
    """A step in a thread."""
    INLINE = auto()
    """A step so short that it runs on the event loop: the clock, a random number."""

    def __init__(self, _number: int) -> None:
        # No properties: each step asks several times.
        self.is_workflow = self.name in ("GENERATOR", "ASYNC")
        """Whether the function is a workflow whatever its body does."""
        self.takes_commands = self.is_workflow or self.name == "COROUTINE"
        """Whether the body may make durable calls."""


class Function:
    """A function with what the runtime needs to know about it. Immutable by convention."""

    __slots__ = ("_converters", "_param", "fn", "header", "kind", "name", "retry_policy", "version")

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str,
        version: int = 1,
        kind: Kind | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        self.fn = fn
        self.name = name
        self.version = version
        self.header = f"{name}@{version}"
        """The function as it is advertised and asked for."""
        self.kind = kind_of(fn) if kind is None else kind
        self.retry_policy = retry_policy
        self._converters: tuple[Arguments | None, Convert | None] | None = None
        self._param: tuple[Codec, Value] | None = None

    @property
    def arguments(self) -> Arguments | None:
        """Conversions of its arguments; read from the annotations when first needed."""
        return self._annotated()[0]

    @property
    def result(self) -> Convert | None:
        """Conversion of what it returns."""
        return self._annotated()[1]

    def local_param(self, codec: Codec) -> Value:
        """Write what a local child records about its function; checked on replay."""
        if self._param is None or self._param[0] is not codec:
            data = codec.encode({"func": self.name, "version": self.version})
            self._param = (codec, Value(data=data))
        return self._param[1]

    def refuses(self, args: Sequence[object], kwargs: Mapping[str, object]) -> bool:
        """Whether a call with these arguments, after the context, cannot even enter the body."""
        try:
            # The callable's own signature: that of one it wraps may ask for more than callers give.
            signature = inspect.signature(self.fn, follow_wrapped=False)
        except (TypeError, ValueError):  # a builtin may have none
            return False
        try:
            signature.bind(None, *args, **kwargs)
        except TypeError:
            return True
        return False

    def _annotated(self) -> tuple[Arguments | None, Convert | None]:
        if self._converters is None:
            self._converters = (arguments_of(self.fn), result_of(self.fn))
        return self._converters


def kind_of(fn: Callable[..., object]) -> Kind:
    """Tell how a callable is run; sees through partials, bound methods and callable objects."""
    inner: object = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not inspect.isroutine(inner) and callable(inner):
        inner = type(inner).__call__
    if inspect.isgeneratorfunction(inner):
        return Kind.GENERATOR
    if inspect.iscoroutinefunction(inner):
        return Kind.COROUTINE
    return Kind.PLAIN


def name_of(fn: Callable[..., object]) -> str:
    """Name a callable for the record, registered or not."""
    inner: object = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = getattr(inner, "__name__", None)
    return name if isinstance(name, str) else type(inner).__name__


class Caller(Protocol):
    """What a stub needs of a client."""

    def run(self, id: str, fn: Function, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        """Run here."""

    def begin_run(self, id: str, fn: Function, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        """Start here."""

    def rpc(self, id: str, fn: Function, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        """Run anywhere."""

    def begin_rpc(self, id: str, fn: Function, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        """Start anywhere."""


class Registered(Generic[P, R]):
    """What `register` returns: still the callable it was given, and startable by id.

    >>> await greet.run("greeting/1", "Ada")
    """

    def __init__(self, function: Function, caller: Caller) -> None:
        functools.update_wrapper(self, function.fn)
        self.function = function
        self._caller = caller

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, without durability."""
        result: R = self.function.fn(*args, **kwargs)
        return result

    def run(self, id: str, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        """As `Resonate.run` with this function."""
        return self._caller.run(id, self.function, *args, **kwargs)

    def begin_run(self, id: str, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        """As `Resonate.begin_run` with this function."""
        return self._caller.begin_run(id, self.function, *args, **kwargs)

    def rpc(self, id: str, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        """As `Resonate.rpc` with this function."""
        return self._caller.rpc(id, self.function, *args, **kwargs)

    def begin_rpc(self, id: str, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        """As `Resonate.begin_rpc` with this function."""
        return self._caller.begin_rpc(id, self.function, *args, **kwargs)

    def options(self, **fields: Any) -> "Registered[P, R]":  # noqa: ANN401
        """As `Resonate.options`, for this function: `stub.options(timeout=5).run(id)`."""
        return Registered(self.function, _WithOptions(self._caller, Options(**fields)))


class _WithOptions:
    """A caller that passes options along."""

    def __init__(self, caller: Caller, options: Options) -> None:
        self._caller = caller
        self._options = options

    def run(self, id: str, fn: Function, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        return self._caller.run(id, fn, *self._with(args), **kwargs)

    def begin_run(self, id: str, fn: Function, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        return self._caller.begin_run(id, fn, *self._with(args), **kwargs)

    def rpc(self, id: str, fn: Function, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        return self._caller.rpc(id, fn, *self._with(args), **kwargs)

    def begin_rpc(self, id: str, fn: Function, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        return self._caller.begin_rpc(id, fn, *self._with(args), **kwargs)

    def _with(self, args: tuple[object, ...]) -> tuple[object, ...]:
        if args and isinstance(args[-1], Options):
            return (*args[:-1], self._options.updated(args[-1]))
        return (*args, self._options)


Callee = Callable[..., Any] | Registered[Any, Any] | Function | str
"""What the calls of client and context accept: a function, its stub, or a registered name."""


class Registry:
    """Functions by (name, version). A name and version never change their meaning."""

    def __init__(self) -> None:
        self._functions: dict[str, dict[int, Function]] = {}
        self._described: dict[object, Function] = {}
        self._recent: dict[object, Function] = {}
        self._sealed = False

    def __len__(self) -> int:
        return sum(len(versions) for versions in self._functions.values())

    def add(
        self,
        fn: Callable[..., Any],
        *,
        name: str | None = None,
        version: int = 1,
        retry_policy: RetryPolicy | None = None,
        kind: Literal["workflow", "step"] | None = None,
    ) -> Function:
        """Register a function; the identical one again is a no-op.

        `kind` matters for `async def`, which may be either: without it the function is a step until
        its first durable call.
        """
        name = _checked_name(fn, name)
        if isinstance(version, bool) or version < 1:
            raise InvalidVersion(
                f"version of {name} must be an integer from 1 on, it is {version!r}"
            )
        function = Function(
            fn, name=name, version=version, retry_policy=retry_policy, kind=_kind(fn, name, kind)
        )
        versions = self._functions.setdefault(name, {})
        existing = versions.get(version)
        if existing is not None:
            if existing.fn == fn:
                return existing
            raise AlreadyRegistered(f"another function is registered as {name} version {version}")
        if self._sealed:
            raise ResonateError(
                f"{name} must be registered before the client starts: the store has been told "
                "which functions this process runs",
                code="registered_too_late",
            )
        versions[version] = function
        self._described[_key(fn)] = function
        return function

    def seal(self) -> None:
        """Refuse new functions from now on."""
        self._sealed = True

    def find(self, name: str, version: int) -> Function | None:
        """Find exactly this version: what a promise that exists already asks for."""
        return self._functions.get(name, {}).get(version)

    def latest(self, name: str) -> Function | None:
        """Find the highest version: what a new call means."""
        versions = self._functions.get(name)
        return versions[max(versions)] if versions else None

    def resolve(self, callee: Callee, *, version: int | None = None) -> Function:
        """Find what a local call names; an unregistered callable is described as it is."""
        if isinstance(callee, Registered):
            callee = callee.function
        if isinstance(callee, Function):
            if version is None or version == callee.version:
                return callee
            callee = callee.name
        if isinstance(callee, str):
            function = self.latest(callee) if version is None else self.find(callee, version)
            if function is None:
                raise FunctionNotRegistered(_not_registered(callee, version))
            return function
        if not callable(callee):
            raise TypeError(f"expected a function or the name of one, got {callee!r}")
        return self._describe(callee, version)

    def resolve_registered(self, callee: Callee, *, version: int | None = None) -> Function:
        """As `resolve`, for calls that only registered functions can serve."""
        function = self.resolve(callee, version=version)
        if self.find(function.name, function.version) is not function:
            raise FunctionNotRegistered(_not_registered(function.name, version))
        return function

    def resolve_remote(self, callee: Callee, *, version: int | None = None) -> Function:
        """Find what a remote call names; a name need not be registered here."""
        if isinstance(callee, str):
            known = self.latest(callee) if version is None else self.find(callee, version)
            return _by_name_only(callee, version or 1) if known is None else known
        return self.resolve_registered(callee, version=version)

    def headers(self) -> frozenset[str]:
        """Every registered function, as it is advertised."""
        return frozenset(
            f.header for versions in self._functions.values() for f in versions.values()
        )

    def _describe(self, fn: Callable[..., Any], version: int | None) -> Function:
        key = _key(fn)
        known = self._described.get(key)
        if known is not None and (version is None or version == known.version):
            return known
        if known is not None and version is not None:
            other = self.find(known.name, version)
            if other is None:
                raise FunctionNotRegistered(_not_registered(known.name, version))
            return other
        recent = self._recent.get(key)
        if recent is not None:
            return recent
        # Lambdas and partials may be new objects in every pass: they must not pile up here. An
        # entry keeps its callable alive, so that no other one can come by the same key.
        if len(self._recent) >= UNREGISTERED_REMEMBERED_MAX:
            self._recent.clear()
        function = self._recent[key] = Function(fn, name=name_of(fn))
        return function


def _key(fn: Callable[..., Any]) -> object:
    method = getattr(fn, "__func__", None)  # each access makes a new bound method
    return id(fn) if method is None else (id(getattr(fn, "__self__", None)), id(method))


def _kind(fn: Callable[..., Any], name: str, asked: Literal["workflow", "step"] | None) -> Kind:
    kind = kind_of(fn)
    if asked is None:
        return kind
    if kind is Kind.COROUTINE:
        return Kind.ASYNC if asked == "workflow" else Kind.ASYNC_STEP
    if asked == "workflow" and kind is not Kind.GENERATOR:
        raise TypeError(f"{name} is no workflow: its body has no `yield`, and it is not async")
    if asked == "step" and kind is Kind.GENERATOR:
        raise TypeError(f"{name} is no step: its body yields")
    return kind


def _checked_name(fn: Callable[..., Any], name: str | None) -> str:
    if not callable(fn):
        raise TypeError(f"only callables can be registered, got {fn!r}")
    if name is None:
        name = getattr(fn, "__name__", None)
        if not isinstance(name, str) or name == "<lambda>":
            raise FunctionNotRegistered(
                f"{fn!r} has no name of its own: register it as register(name, fn)",
                code="function_without_name",
            )
    if not name or "@" in name:
        raise FunctionNotRegistered(
            f"a function's name must not be empty or contain @, it is {name!r}",
            code="invalid_function_name",
        )
    return name


def _not_registered(name: str, version: int | None) -> str:
    which = name if version is None else f"{name} version {version}"
    return f"no function is registered as {which}"


@functools.lru_cache(maxsize=UNREGISTERED_REMEMBERED_MAX)
def _by_name_only(name: str, version: int) -> Function:
    return Function(_elsewhere, name=name, version=version, kind=Kind.PLAIN)


def _elsewhere(*_args: object) -> object:
    raise AssertionError("a function that is known by name only cannot run here")
