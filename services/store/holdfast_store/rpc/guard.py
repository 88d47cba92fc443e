"""The check at the door of every call: whose token it carries, and what that allows in general.

What is not in the table below is denied, so that a method that is added later is closed until
somebody has decided about it. Ids inside requests are judged where they are read, see
`authorizing`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc

from holdfast.core.requests import Refusal
from holdfast_chassis.authorization import EVERYTHING, Denied, Grant, judge
from holdfast_chassis.keys import KeysUnavailable
from holdfast_chassis.logs import get_logger
from holdfast_chassis.tokens import Verifier, token_in
from holdfast_store.rpc.authorizing import refusal_of
from holdfast_store.rpc.errors import Context, abort

log = get_logger(__name__)

if TYPE_CHECKING:  # not generic when it runs
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
    Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]


class Rule(Enum):
    """What a method demands."""

    OPEN = auto()
    """Nothing: probes have no token, and the contract is no secret."""
    NAMED = auto()
    """A token that covers each id in the request; of a listing it bounds the ids."""
    EVERYTHING = auto()
    """A token that covers every id, or of an administrator."""
    SCALER = auto()
    """The same, unless it is open: KEDA can show a certificate, and cannot send a token."""


def _rules() -> dict[str, Rule]:
    methods: Mapping[str, tuple[Rule, str]] = {
        "grpc.health.v1.Health": (Rule.OPEN, "Check List Watch"),
        "grpc.reflection.v1alpha.ServerReflection": (Rule.OPEN, "ServerReflectionInfo"),
        "holdfast.v1.Promises": (
            Rule.NAMED,
            "Get Create Settle RegisterCallback RegisterListener Search",
        ),
        "holdfast.v1.Tasks": (
            Rule.NAMED,
            "Get Create Acquire Release Fulfill Suspend Fence Heartbeat Halt Continue Search",
        ),
        "holdfast.v1.Schedules": (Rule.NAMED, "Get Create Delete Pause Search"),
        "holdfast.v1.Workers": (Rule.NAMED, "Connect"),
        "holdfast.v1.Admin": (
            Rule.EVERYTHING,
            "GetQueues WatchQueues ListMembers DebugStart DebugStop DebugReset DebugTick DebugSnap",
        ),
        "externalscaler.ExternalScaler": (
            Rule.SCALER,
            "IsActive StreamIsActive GetMetricSpec GetMetrics",
        ),
    }
    return {
        f"/{service}/{name}": rule
        for service, (rule, names) in methods.items()
        for name in names.split()
    }


RULES: Final[Mapping[str, Rule]] = _rules()
"""What each method of each service demands."""

_GRANT: ContextVar[Grant | None] = ContextVar("grant", default=None)


def current_grant() -> Grant | None:
    """Answer what the token of the present call allows; `None` where none are asked for."""
    return _GRANT.get()


class Guard(grpc.aio.ServerInterceptor):
    """Lets calls through that carry a valid token."""

    def __init__(self, verifier: Verifier, *, scaler_is_open: bool = False) -> None:
        self._verifier = verifier
        self._scaler_is_open = scaler_is_open
        self.on_denied: Callable[[str], None] = lambda _code: None
        """Told the code of each refusal."""

    def remaining_s(self, grant: Grant) -> float:
        """How long the token of a grant counts still."""
        return self._verifier.remaining_s(grant)

    async def intercept_service(
        self, continuation: "Continuation", handler_call_details: grpc.HandlerCallDetails
    ) -> "Handler | None":
        """Answer what carries the call out, or what refuses it."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        rule = RULES.get(method)
        if handler is None or rule is Rule.OPEN or (rule is Rule.SCALER and self._scaler_is_open):
            return handler
        found = await self._admit(rule, _token_of(handler_call_details))
        if isinstance(found, Refusal):
            log.debug("call_denied", method=method, code=found.code)
            self.on_denied(found.code)
            return _refusing(handler, found)
        _GRANT.set(found)
        if rule is not Rule.NAMED and handler.response_streaming:
            return _ending(handler, self.remaining_s(found))
        return handler

    async def _admit(self, rule: Rule | None, token: str | None) -> Grant | Refusal:
        try:
            grant = await self._verifier.verify(token)
        except Denied as error:
            return refusal_of(error.denial)
        except KeysUnavailable as error:
            return Refusal(status=503, code="keys_unavailable", message=str(error))
        if rule is None:
            return Refusal(status=403, code="no_rule", message="nobody may call this method")
        denial = judge(grant, () if rule is Rule.NAMED else EVERYTHING)
        return grant if denial is None else refusal_of(denial)


TOKEN_EXPIRED: Final = Refusal(
    status=401,
    code="token_expired",
    message="the token with which this stream was begun has expired: begin another one with a"
    " token whose `exp` lies ahead",
)


def _token_of(details: grpc.HandlerCallDetails) -> str | None:
    for key, value in details.invocation_metadata or ():
        if key == "authorization":
            return token_in(value if isinstance(value, str) else value.decode("latin-1"))
    return None


def _refusing(handler: "Handler", refusal: Refusal) -> "Handler":
    """Answer every call with a refusal, in the form that the method has."""

    async def refuse(_request: object, context: Context) -> None:
        await abort(context, refusal)

    match handler.request_streaming, handler.response_streaming:
        case True, True:
            return grpc.stream_stream_rpc_method_handler(refuse, None, None)
        case True, False:
            return grpc.stream_unary_rpc_method_handler(refuse, None, None)
        case False, True:
            return grpc.unary_stream_rpc_method_handler(refuse, None, None)
    return grpc.unary_unary_rpc_method_handler(refuse, None, None)


def _ending(handler: "Handler", span_s: float) -> "Handler":
    """End a watch when its token expires; whoever watches begins another one."""
    watch: Any = handler.unary_stream

    async def until_then(request: object, context: Context) -> None:
        span = asyncio.timeout(span_s)
        try:
            async with span:
                await watch(request, context)
        except TimeoutError:
            if not span.expired():
                raise
            await abort(context, TOKEN_EXPIRED)

    return grpc.unary_stream_rpc_method_handler(
        until_then, handler.request_deserializer, handler.response_serializer
    )
