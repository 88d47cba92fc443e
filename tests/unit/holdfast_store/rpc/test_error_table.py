"""Refusals as gRPC statuses."""

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from holdfast.core.requests import Refusal
from holdfast_store.rpc.errors import status_of

TABLE = {
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
    599: grpc.StatusCode.INTERNAL,
}


@pytest.mark.parametrize("number", TABLE)
def test_a_status_has_its_code_and_names_the_reason(number: int) -> None:
    status = status_of(Refusal(status=number, code="some_code", message="A sentence."))

    info = ErrorInfo()
    status.details[0].Unpack(info)
    assert status.code == TABLE[number].value[0]
    assert status.message == "A sentence."
    assert (info.reason, info.domain) == ("some_code", "holdfast.dev")


@pytest.mark.parametrize(("number", "retry_ms"), [(429, 100), (503, 1_000), (400, None)])
def test_only_what_may_pass_says_when_to_try_again(number: int, retry_ms: int | None) -> None:
    status = status_of(Refusal(status=number, code="c", message="m"))

    assert _retry_ms(status) == retry_ms


@pytest.mark.parametrize("character", ["x", "é", "😀"])
def test_a_message_is_cut_so_that_it_fits_into_headers(character: str) -> None:
    status = status_of(Refusal(status=404, code="c", message=character * 5_000))

    assert len(status.message.encode()) < 1_030
    assert status.message.endswith(f"{character}…")


def _retry_ms(status: Status) -> int | None:
    for detail in status.details:
        info = RetryInfo()
        if detail.Unpack(info):
            return int(info.retry_delay.ToMilliseconds())
    return None
