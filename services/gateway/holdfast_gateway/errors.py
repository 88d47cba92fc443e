"""What goes wrong, as HTTP: one table, RFC 9457 problem details with our stable `code`.

The original examples document a few answers of their own, such as `{"status": "not_found"}`; the
routes that have one give it. Everything else that is not a success comes from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import Scope, Send

from holdfast import errors
from holdfast_chassis.logs import get_logger
from holdfast_gateway.request_id import request_id_of
from holdfast_gateway.tracing import trace_id_of

PROBLEM_JSON: Final = "application/problem+json"
RETRY_SECONDS: Final = "1"  # a store that restarts is back within seconds

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    status: HTTPStatus
    retry_after: str | None = None
    detail: str | None = None  # instead of the error's own message, where that is not for outsiders


_HIDDEN: Final = "The request failed inside; the log of the gateway has it under the request id."

_REFUSED: Final = _Rule(
    status=HTTPStatus.SERVICE_UNAVAILABLE,
    retry_after=RETRY_SECONDS,
    detail="The promise store refuses this gateway: its operator must give it another token.",
)

# The first class that fits decides, so the special comes before the general.
_TABLE: Final[tuple[tuple[type[errors.ResonateError], _Rule], ...]] = (
    (errors.PromiseNotFound, _Rule(status=HTTPStatus.NOT_FOUND)),
    (errors.TaskNotFound, _Rule(status=HTTPStatus.NOT_FOUND)),
    (errors.ScheduleNotFound, _Rule(status=HTTPStatus.NOT_FOUND)),
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
    # The token is the gateway's own: nothing that the client sends could change the answer.
    (errors.Unauthenticated, _REFUSED),
    (errors.PermissionDenied, _REFUSED),
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
    *,
    status: int,
    code: str,
    detail: str,
    request_id: str,
    members: Mapping[str, object],
    trace_id: str | None = None,
) -> dict[str, object]:
    """Return the members of a problem document."""
    trace = {} if trace_id is None else {"traceId": trace_id}
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "requestId": request_id,
        **trace,
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
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        # The framework calls this while it handles the exception.
        log.exception("request_failed", path=request.scope["path"])  # noqa: LOG004
    return Response(
        _document(problem, request.scope),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers=dict(problem.headers),
    )


async def send_problem(scope: Scope, send: Send, problem: Problem) -> None:
    """Answer a request that never comes to the application."""
    content = msgspec.json.encode(_document(problem, scope))
    headers = {"content-type": PROBLEM_JSON, "content-length": str(len(content)), **problem.headers}
    await send(
        {
            "type": "http.response.start",
            "status": int(problem.status),
            "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": content, "more_body": False})


def _document(problem: Problem, scope: Scope) -> dict[str, object]:
    return problem_body(
        status=problem.status,
        code=problem.code,
        detail=problem.detail,
        request_id=request_id_of(scope),
        trace_id=trace_id_of(scope),
        members=problem.members,
    )
