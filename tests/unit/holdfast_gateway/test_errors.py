import pytest
from litestar.exceptions import (
    ClientException,
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
)

from holdfast import errors
from holdfast_gateway.errors import Problem, problem_body, problem_of


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.PromiseNotFound("no x"), 404, "promise_not_found"),
        (errors.IdempotencyConflict("other"), 409, "idempotency_conflict"),
        (errors.VersionConflict("late"), 409, "version_conflict"),
        (errors.PreconditionFailed("no"), 422, "precondition_failed"),
        (errors.InvalidRequest("id is long", code="invalid_text"), 400, "invalid_text"),
        (errors.InvalidRequest("value is large", code="value_too_large"), 413, "value_too_large"),
        (errors.ServerOverloaded("full"), 503, "overloaded"),
        (errors.ServerUnavailable("gone"), 503, "server_unavailable"),
        (errors.Unauthenticated("token"), 503, "unauthenticated"),
        (errors.PermissionDenied("prefix"), 503, "permission_denied"),
        (errors.NotSupported("later"), 501, "not_supported"),
        (errors.ServerError("disk"), 500, "internal"),
        (errors.EncodeError("set"), 400, "encode_error"),
        (NotFoundException(), 404, "route_not_found"),
        (MethodNotAllowedException(), 405, "method_not_allowed"),
        (ClientException(status_code=413), 413, "body_too_large"),
        (HTTPException(status_code=418), 500, "internal"),
        (KeyError("surprise"), 500, "internal"),
    ],
)
def test_each_error_has_a_status_and_a_code(error: Exception, status: int, code: str) -> None:
    problem = problem_of(error)

    assert (problem.status, problem.code) == (status, code)


@pytest.mark.parametrize(
    "error", [errors.ServerUnavailable("10.0.0.7 refused"), errors.ServerOverloaded("full")]
)
def test_a_store_that_is_away_says_when_to_come_back(error: Exception) -> None:
    problem = problem_of(error)

    assert problem.headers == {"Retry-After": "1"}


@pytest.mark.parametrize("error", [KeyError("secret"), errors.ServerError("secret")])
def test_surprises_keep_their_details_to_themselves(error: Exception) -> None:
    assert "secret" not in problem_of(error).detail


def test_the_methods_that_are_allowed_are_told() -> None:
    problem = problem_of(MethodNotAllowedException(headers={"allow": "POST"}))

    assert problem.headers == {"allow": "POST"}


def test_a_problem_of_our_own_is_taken_as_it_is() -> None:
    problem = Problem(status=400, code="c", detail="d")  # type: ignore[arg-type]

    assert problem_of(problem) is problem


def test_a_problem_document_has_the_members_of_the_standard_and_ours() -> None:
    body = problem_body(status=404, code="c", detail="d", request_id="r", members={"error": "d"})

    assert body == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "c",
        "detail": "d",
        "requestId": "r",
        "error": "d",
    }
