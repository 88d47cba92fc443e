"""Refusals as gRPC errors: the one table from status to code.

Every error carries `google.rpc.ErrorInfo`, whose `reason` is the refusal's stable code, and, where
sending again later may help, `google.rpc.RetryInfo`.
"""

from collections.abc import Mapping
from typing import Any as Anything
from typing import Final, NoReturn, TypeVar

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from holdfast.core.requests import Refusal

Context = grpc.aio.ServicerContext[Anything, Anything]

M = TypeVar("M", bound=Message)

ERROR_DOMAIN: Final = "holdfast.dev"

CODES: Final[Mapping[int, grpc.StatusCode]] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ABORTED,
    422: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
}

_RETRY_AFTER_MS: Final[Mapping[int, int]] = {429: 100, 503: 1_000}
"""A full queue empties within a few transactions; a database that is away takes longer."""

_MESSAGE_BYTES_MAX: Final = 1_024
"""A message travels in a header, twice and escaped; peers refuse more than 8 KiB of headers."""


def status_of(refusal: Refusal) -> Status:
    """Make the rich status of a refusal; one outside the table is a defect and reads as 500."""
    code = CODES.get(refusal.status, grpc.StatusCode.INTERNAL)
    status = Status(code=code.value[0], message=_shortened(refusal.message))
    _add_detail(status, ErrorInfo(reason=refusal.code, domain=ERROR_DOMAIN))
    retry_after_ms = _RETRY_AFTER_MS.get(refusal.status)
    if retry_after_ms is not None:
        delay = Duration()
        delay.FromMilliseconds(retry_after_ms)
        _add_detail(status, RetryInfo(retry_delay=delay))
    return status


def _add_detail(status: Status, detail: ErrorInfo | RetryInfo) -> None:
    packed = Any()
    packed.Pack(detail)
    status.details.append(packed)


def _shortened(message: str) -> str:
    data = message.encode(errors="replace")
    if len(data) <= _MESSAGE_BYTES_MAX:
        return message
    return data[:_MESSAGE_BYTES_MAX].decode(errors="ignore") + "…"


def unavailable(error: Exception) -> Refusal:
    """503 for a database that did not answer a reading."""
    return Refusal(
        status=503, code="database_unavailable", message=f"the database cannot be used: {error}"
    )


async def message_of(request: type[M], data: bytes, context: Context) -> M:
    """Read a message; what is none is a flaw of the caller's, not of the store."""
    try:
        return request.FromString(data)
    except DecodeError:
        name = request.DESCRIPTOR.name
        return await abort(
            context,
            Refusal(status=400, code="invalid_message", message=f"the request is no {name}"),
        )


async def abort(context: Context, refusal: Refusal) -> NoReturn:
    """End a call with a refusal."""
    status = rpc_status.to_status(status_of(refusal))
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError("abort raises")
