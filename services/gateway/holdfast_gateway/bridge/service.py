"""From the body of a request to the body of its answer, in the order of admission (§1.4)."""

import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec

from holdfast.errors import InvalidRequest, NotSupported, ResonateError
from holdfast_chassis.authorization import Denied, Grant
from holdfast_chassis.keys import KeysUnavailable
from holdfast_chassis.logs import get_logger
from holdfast_chassis.tokens import Verifier
from holdfast_gateway.bridge import metrics
from holdfast_gateway.bridge.bodies import BadBody
from holdfast_gateway.bridge.envelope import (
    UNKNOWN_KIND,
    BadEnvelope,
    Envelope,
    answer_of,
    read_envelope,
    written,
)
from holdfast_gateway.bridge.naming import names_in
from holdfast_gateway.bridge.operations import Operations
from holdfast_gateway.bridge.outcomes import Result

log = get_logger(__name__)

_INSTANT_MAX: Final = 2**63
"""Larger integers are no instants, and Python would take its time to write them down."""

NO_INSTANT: Final = "none"
"""What a store is told of a time that is no integer; one with debug on refuses it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it goes out."""

    status: int
    body: bytes


class Service:
    """Answers requests; without a verifier anybody may ask for anything."""

    def __init__(self, operations: Operations, verifier: Verifier | None) -> None:
        self._operations = operations
        self._verifier = verifier

    async def answer(self, body: bytes) -> Answered:
        """Answer one request, whatever it is."""
        try:
            envelope = read_envelope(body)
        except BadEnvelope as error:
            return _answered(error.kind, error.correlation_id, Result(400, error.message))
        began = time.perf_counter()
        result, by_store = await self._judge(envelope)
        kind = envelope.kind if envelope.kind in self._operations.kinds else UNKNOWN_KIND
        seconds = time.perf_counter() - began
        metrics.answered(kind, result.status, seconds, by_store=by_store)
        return _answered(envelope.kind, envelope.correlation_id, result)

    async def _judge(self, envelope: Envelope) -> tuple[Result, bool]:
        """Answer what a request comes to, and whether the store has answered it."""
        try:
            return await self._carried_out(envelope), True
        except Denied as error:
            result = Result(error.denial.status, error.denial.message)
        except BadBody as error:
            result = Result(400, str(error))
        except KeysUnavailable as error:
            result = Result(503, str(error))
        except ResonateError as error:
            result = Result(_status_of(error), error.message)
        except Exception:
            log.exception("bridge_request_failed", kind=envelope.kind[:100])
            result = Result(500, "the gateway could not answer this; its log says why")
        return result, False

    async def _carried_out(self, envelope: Envelope) -> Result:
        grant = await self._authorized(envelope)
        kind = envelope.kind
        if kind not in self._operations.kinds:
            raise BadBody(f"kind {kind[:100]!r} is not known")
        return await self._operations.carry_out(
            kind,
            envelope.data,
            correlation_id=envelope.correlation_id,
            at=_instant(envelope.debug_time),
            prefix="" if grant is None else grant.bound,
        )

    async def _authorized(self, envelope: Envelope) -> Grant | None:
        if self._verifier is None:
            return None
        names = names_in(envelope.kind, envelope.data)
        return await self._verifier.authorize(envelope.token, names)


def _answered(kind: str, correlation_id: str, result: Result) -> Answered:
    answer = answer_of(
        kind=kind, correlation_id=correlation_id, status=int(result.status), data=result.data
    )
    return Answered(int(result.status), written(answer))


def _instant(debug_time: object) -> str | None:
    """Write what a caller says the time is; the store judges it, and may not care."""
    if debug_time is msgspec.UNSET:
        return None
    if isinstance(debug_time, int) and not isinstance(debug_time, bool):
        return str(debug_time) if abs(debug_time) < _INSTANT_MAX else NO_INSTANT
    return NO_INSTANT


def _status_of(error: ResonateError) -> int:
    """Answer what an error of the store means; all but two leave open what happened."""
    match error:
        case InvalidRequest():
            return HTTPStatus.BAD_REQUEST
        case NotSupported():
            return HTTPStatus.NOT_IMPLEMENTED
        case _:
            return HTTPStatus.SERVICE_UNAVAILABLE
