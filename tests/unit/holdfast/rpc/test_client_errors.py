"""gRPC errors as errors of the library."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from holdfast import errors
from holdfast.core.requests import Refusal
from holdfast.outcomes import error_of
from holdfast.rpc.errors import error_of_call, reason_of


def failed(code: grpc.StatusCode, *, details: bytes | None = None) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata()
    if details is not None:
        trailing.add("grpc-status-details-bin", details)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details="A sentence.")


def with_reason(reason: str) -> bytes:
    packed = Any()
    packed.Pack(ErrorInfo(reason=reason, domain="holdfast.dev"))
    return bytes(Status(details=[packed]).SerializeToString())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, errors.InvalidRequest),
        (grpc.StatusCode.UNAUTHENTICATED, errors.Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, errors.PermissionDenied),
        (grpc.StatusCode.NOT_FOUND, errors.PromiseNotFound),
        (grpc.StatusCode.ABORTED, errors.VersionConflict),
        (grpc.StatusCode.FAILED_PRECONDITION, errors.PreconditionFailed),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.ServerOverloaded),
        (grpc.StatusCode.INTERNAL, errors.ServerError),
        (grpc.StatusCode.UNIMPLEMENTED, errors.NotSupported),
        (grpc.StatusCode.UNAVAILABLE, errors.ServerUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.ServerUnavailable),
        (grpc.StatusCode.DATA_LOSS, errors.ServerError),
    ],
)
def test_each_code_is_the_error_that_a_caller_can_act_upon(
    code: grpc.StatusCode, expected: type[errors.ResonateError]
) -> None:
    error = error_of_call(failed(code), where="grpc://a:1")

    assert type(error) is expected
    assert "A sentence." in error.message


def test_the_stable_code_of_the_store_is_kept() -> None:
    call = failed(grpc.StatusCode.NOT_FOUND, details=with_reason("task_not_found"))

    error = error_of_call(call, where="grpc://a:1")

    assert isinstance(error, errors.TaskNotFound)
    assert error.code == "task_not_found"


@pytest.mark.parametrize("details", [None, b"\xff\xff", Status().SerializeToString()])
def test_an_error_that_is_not_the_stores_has_no_reason(details: bytes | None) -> None:
    assert reason_of(failed(grpc.StatusCode.UNAVAILABLE, details=details)) is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, errors.InvalidRequest),
        (404, errors.PromiseNotFound),
        (409, errors.VersionConflict),
        (422, errors.PreconditionFailed),
        (429, errors.ServerOverloaded),
        (500, errors.ServerError),
        (503, errors.ServerUnavailable),
    ],
)
def test_a_refusal_on_the_stream_is_the_same_error(
    status: int, expected: type[errors.ResonateError]
) -> None:
    error = error_of(Refusal(status=status, code="c", message="m"))

    assert type(error) is expected
    assert (error.code, error.message) == ("c", "m")
