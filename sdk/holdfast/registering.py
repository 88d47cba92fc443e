"""`resonate.register`: by call and as a decorator."""

from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar, overload

from holdfast.client_calls import ClientCalls
from holdfast.registry import Registered, Registry
from holdfast.retry import RetryPolicy

P = ParamSpec("P")
R = TypeVar("R")


class Registering(ClientCalls):
    """The part of a client that takes functions."""

    registry: Registry

    @overload
    def register(self, fn: Callable[P, R], /) -> Registered[P, R]: ...
    @overload
    def register(
        self,
        name: str,
        fn: Callable[P, R],
        /,
        *,
        version: int = ...,
        retry_policy: RetryPolicy | None = ...,
        kind: Literal["workflow", "step"] | None = ...,
    ) -> Registered[P, R]: ...
    @overload
    def register(
        self,
        fn: Callable[P, R],
        /,
        *,
        name: str | None = ...,
        version: int = ...,
        retry_policy: RetryPolicy | None = ...,
        kind: Literal["workflow", "step"] | None = ...,
    ) -> Registered[P, R]: ...
    @overload
    def register(
        self,
        /,
        *,
        name: str | None = ...,
        version: int = ...,
        retry_policy: RetryPolicy | None = ...,
        kind: Literal["workflow", "step"] | None = ...,
    ) -> Callable[[Callable[P, R]], Registered[P, R]]: ...
    def register(
        self,
        first: str | Callable[..., Any] | None = None,
        second: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        version: int = 1,
        retry_policy: RetryPolicy | None = None,
        kind: Literal["workflow", "step"] | None = None,
    ) -> Any:
        """Register a function by call or as a decorator, before the client starts.

        >>> @resonate.register
        ... def step(ctx, value): ...
        >>> @resonate.register(name="db.save", version=2)
        ... async def save(ctx, row): ...
        >>> resonate.register("db.get", get_row)

        Raises `AlreadyRegistered` for another function under the same name and version.
        """
        fn: Any = first
        if isinstance(first, str) == (second is None) or (second is not None and name is not None):
            raise TypeError("register takes a function, or a name and a function")
        if isinstance(first, str):
            name, fn = first, second
        if fn is None:
            return lambda decorated: self.register(
                decorated, name=name, version=version, retry_policy=retry_policy, kind=kind
            )
        if isinstance(fn, Registered):
            fn = fn.function.fn
        function = self.registry.add(
            fn, name=name, version=version, retry_policy=retry_policy, kind=kind
        )
        return Registered(function, self)
