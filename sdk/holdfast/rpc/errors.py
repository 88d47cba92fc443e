"""gRPC errors as the library's own."""

from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf.message import DecodeError as MalformedMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from holdfast.errors import (
    InvalidRequest,
    NotSupported,
    PermissionDenied,
    PreconditionFailed,
    PromiseNotFound,
    ResonateError,
    ServerError,
    ServerOverloaded,
    ServerUnavailable,
    TaskNotFound,
    Unauthenticated,
    VersionConflict,
)

_DETAILS_KEY: Final = "grpc-status-details-bin"

_BY_CODE: Final[Mapping[grpc.StatusCode, type[ResonateError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.NOT_FOUND: PromiseNotFound,
    grpc.StatusCode.ABORTED: VersionConflict,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionFailed,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ServerOverloaded,
    grpc.StatusCode.INTERNAL: ServerError,
    grpc.StatusCode.UNIMPLEMENTED: NotSupported,
    grpc.StatusCode.UNAVAILABLE: ServerUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: ServerUnavailable,
    grpc.StatusCode.CANCELLED: ServerUnavailable,
}

_TOKENS: Final = (
    "a client takes its token from token=, RESONATE_TOKEN or the file RESONATE_TOKEN_FILE,"
    " a service from the file HOLDFAST_<SERVICE>_STORE_TOKEN_FILE"
)

_BY_REASON: Final[Mapping[str, type[ResonateError]]] = {"task_not_found": TaskNotFound}


def error_of_call(error: grpc.aio.AioRpcError, *, where: str) -> ResonateError:
    """Turn a failed call into the error that a caller can act upon; `where` names the store."""
    code = error.code()
    reason = reason_of(error)
    cls = _BY_REASON.get(reason or "") or _BY_CODE.get(code, ServerError)
    details = error.details() or code.name
    if cls is Unauthenticated:
        details = f"the store at {where} refuses this process: {details} ({_TOKENS})"
    if issubclass(cls, ServerUnavailable):
        details = f"the store at {where} is not available: {details}"
    return cls(details, code=reason)


def reason_of(error: grpc.aio.AioRpcError) -> str | None:
    """Find the stable code that a store put into an error; `None` when the error is gRPC's own."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return _reason(Status.FromString(value))
            except MalformedMessage:
                return None  # a proxy's; the code of the call says enough
    return None


def _reason(status: Status) -> str | None:
    for detail in status.details:
        info = ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return None
