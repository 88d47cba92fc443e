"""What goes wrong, as HTTP: one table, RFC 9457 problem details with our stable `code`.

The original examples document a few answers of their own, such as `{"status": "not_found"}`; the
routes that have one give it. Everything else that is not a success comes from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import HTTPException

from holdfast import errors
from holdfast_chassis.logs import get_logger
from holdfast_gateway.request_id import request_id_of

PROBLEM_JSON: Final = "application/problem+json"
RETRY_SECONDS: Final = "1"  # a store that restarts is back within seconds

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    status: HTTPStatus
    retry_after: str | None = None
    detail: str | None = None  # instead of the error's own message, where that is not for outsiders


_HIDDEN: Final = "The request failed inside; the log of the gateway has it under the request id."

# The first class that fits decides, so the special comes before the general.
_TABLE: Final[tuple[tuple[type[errors.ResonateError], _Rule], ...]] = (
    (errors.PromiseNotFound, _Rule(status=HTTPStatus.NOT_FOUND)),
    (errors.TaskNotFound, _Rule(status=HTTPStatus.NOT_FOUND)),
    (errors.IdempotencyConflict, _Rule(status=HTTPStatus.CONFLICT)),
    (errors.VersionConflict, _Rule(status=HTTPStatus.CONFLICT)),
    (errors.PreconditionFailed, _Rule(status=HTTPStatus.UNPROCESSABLE_ENTITY)),
    (errors.InvalidRequest, _Rule(status=HTTPStatus.BAD_REQUEST)),
    (
        errors.ServerOverloaded,
        _Rule(status=HTTPStatus.SERVICE_UNAVAILABLE, retry_after=RETRY_SECONDS),
    ),
    (
        errors.ServerUnavailable,
        _Rule(
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            retry_after=RETRY_SECONDS,
            detail="The promise store cannot be reached. Send the same request again later.",
        ),
    ),
    (errors.Unauthenticated, _Rule(status=HTTPStatus.UNAUTHORIZED)),
    (errors.PermissionDenied, _Rule(status=HTTPStatus.FORBIDDEN)),
    (errors.NotSupported, _Rule(status=HTTPStatus.NOT_IMPLEMENTED)),
    # All that the gateway encodes comes from a request.
    (errors.EncodeError, _Rule(status=HTTPStatus.BAD_REQUEST)),
    (errors.ResonateError, _Rule(status=HTTPStatus.INTERNAL_SERVER_ERROR, detail=_HIDDEN)),
)

_STATUS_OF_CODE: Final = {"value_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE}

# What the framework itself refuses, before any handler runs.
_FRAMEWORK: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad_request", "The request is malformed."),
    404: ("route_not_found", "There is nothing at this path."),
    405: ("method_not_allowed", "This path does not answer this method."),
    413: ("body_too_large", "The body is too large."),
}


@dataclass(eq=False)  # an exception is equal to itself only
class Problem(Exception):
    """A refusal by the gateway itself.

    `members` are added to the body; they must not be ones that RFC 9457 or this module defines.
    """

    status: HTTPStatus
    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, object] = field(default_factory=dict)


def problem_body(
    *, status: int, code: str, detail: str, request_id: str, members: Mapping[str, object]
) -> dict[str, object]:
    """Return the members of a problem document."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "requestId": request_id,
        **members,
    }


def problem_of(error: Exception) -> Problem:
    """Look an error up in the table; surprises become 500 and say nothing."""
    match error:
        case Problem():
            return error
        case errors.ResonateError():
            rule = next(rule for kind, rule in _TABLE if isinstance(error, kind))
            return Problem(
                status=_STATUS_OF_CODE.get(error.code, rule.status),
                code=error.code,
                detail=rule.detail or error.message,
                headers={} if rule.retry_after is None else {"Retry-After": rule.retry_after},
            )
        case HTTPException() if error.status_code in _FRAMEWORK:
            code, detail = _FRAMEWORK[error.status_code]
            return Problem(
                status=HTTPStatus(error.status_code),
                code=code,
                detail=detail,
                headers=dict(error.headers or {}),
            )
        case _:
            return Problem(status=HTTPStatus.INTERNAL_SERVER_ERROR, code="internal", detail=_HIDDEN)


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, object]]:
    """Answer a request that failed; the one exception handler of the application."""
    problem = problem_of(error)
    request_id = request_id_of(request.scope)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        # The framework calls this while it handles the exception.
        log.exception(  # noqa: LOG004
            "request_failed", request_id=request_id, path=request.scope["path"]
        )
    body = problem_body(
        status=problem.status,
        code=problem.code,
        detail=problem.detail,
        request_id=request_id,
        members=problem.members,
    )
    return Response(
        body,
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers=dict(problem.headers),
    )
